"""The recording of one venue: its sources, its books, its tape."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from mdslib.clock import monotonic_ns
from mdslib.events import RECORD, BookFlag, Kind
from mdslib.protocols import Records
from mdslib.recorder.books import Books
from mdslib.recorder.days import local_times
from mdslib.recorder.plan import Mode, Plan, Wanted
from mdslib.recorder.source import Source
from mdslib.recorder.tape import DAY, VenueTape

_BACKWARDS = 60_000_000_000  # ns that a clock may be set back at midnight without the day changing again
_MARKET = (int(Kind.TRADE), int(Kind.QUOTE), int(Kind.BOOK_DELTA))


class VenueRecording:
    """Moves a venue's events from its sources to its tape, a turn at a time.

    Parameters
    ----------
    plan : Plan
        What is kept.
    wanted : sequence of Wanted
        The venue's instruments, in the order of the records' `instrument`; all of one calendar, whose days the tape's
        are.
    sources : sequence of Source
        Its connections.
    tape : VenueTape
        Where events go.
    """

    def __init__(self, plan: Plan, wanted: Sequence[Wanted], sources: Sequence[Source], tape: VenueTape) -> None:
        self.plan, self.wanted, self.sources, self.tape = plan, tuple(wanted), tuple(sources), tape
        self.books = None if plan.mode is Mode.LIGHT else Books(len(self.wanted))
        self._day = -1
        self._calendar = self.wanted[0].instrument().session
        self._rates: dict[str, tuple[int, int]] = {}
        # Of each instrument's latest live event: the venue's time and ours, ns UTC.
        self._latest = np.zeros((len(self.wanted), 2), np.int64)
        self._gaps = np.zeros(len(self.wanted), np.int64)
        self._next_image = 0

    def turn(self, now: int) -> None:
        """Take what has come, keep the books, and write; `now` in ns UTC."""
        records = self._taken()
        for day, part in self._by_day(records):
            self._keep(day, part)
        if self.plan.mode is Mode.SNAPSHOT:
            self._snapshot(now)
        self.tape.flush()
        if self.tape.mended():
            self._after_hole(now)

    def close(self, now: int) -> bool:
        """Write what is left; return whether all of it could be written."""
        self.turn(now)
        return self.tape.close()

    def _taken(self) -> Records:
        parts = [part for part in (source.take() for source in self.sources) if len(part)]
        if len(parts) < 2:
            return parts[0] if parts else np.zeros(0, RECORD)
        # Each part stays in its own order, also where the clock was set back within it: a book is its changes in order.
        times = np.concatenate([np.maximum.accumulate(part["ts_init"]) for part in parts])
        return np.concatenate(parts)[np.argsort(times, kind="stable")]

    def _by_day(self, records: Records) -> list[tuple[int, Records]]:
        """Split a batch where the day of arrival changes, and say on which day's tape each part goes."""
        if not len(records):
            return []
        times = local_times(records["ts_init"], self._calendar)
        days = times // DAY
        cuts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(records)]
        parts = []
        for first, last in itertools.pairwise(cuts):
            time = int(times[first])
            day = time // DAY
            if day == self._day - 1 and self._day * DAY - time < _BACKWARDS:
                day = self._day  # the clock was set back a little
            parts.append((day, records[first:last]))
        return parts

    def _keep(self, day: int, records: Records) -> None:
        if day != self._day:
            self._begin(day, int(records["ts_init"][0]))
        gaps = records["kind"] == int(Kind.GAP)
        np.add.at(self._gaps, records["instrument"][gaps], 1)
        live = np.isin(records["kind"], _MARKET) & (
            (records["kind"] != int(Kind.BOOK_DELTA)) | (records["flag"] & BookFlag.SNAPSHOT == 0)
        )
        seen = records[live]
        self._latest[seen["instrument"], 0], self._latest[seen["instrument"], 1] = seen["ts_event"], seen["ts_init"]
        if self.plan.mode is Mode.SNAPSHOT:
            self.tape.add(day, records[gaps])
        else:
            self.tape.add(day, records)
        if self.books is not None:
            for place, why in self.books.apply(records):
                self._resync(self.wanted[place].symbol, why)

    def _begin(self, day: int, time: int) -> None:
        """Begin a day: its tape can be read by itself, from the image of every book."""
        first, self._day = self._day < 0, day
        if self.books is not None and self.plan.mode is Mode.FULL and not first:
            self.tape.add(day, self.books.images(time))

    def _after_hole(self, now: int) -> None:
        """Begin every book on the tape anew, where changes of it were lost for want of space."""
        self._gaps += 1  # the tape's own
        if self.plan.mode is Mode.FULL and self.books is not None:
            self.tape.add(self._day, self.books.images(now))
            self.tape.flush()
        elif self.plan.mode is Mode.LIGHT:
            for wanted in self.wanted:
                self._resync(wanted.symbol, "changes of it were lost for want of space")

    def _snapshot(self, now: int) -> None:
        if now < self._next_image and self._next_image - now <= self.plan.every:
            return
        self._next_image = (now // self.plan.every + 1) * self.plan.every
        if self.books is not None:
            self.tape.add(now // DAY, self.books.images(now, self.plan.levels))

    def _resync(self, symbol: str, why: str) -> None:
        for source in self.sources:
            if symbol in source.states():
                source.resync(symbol, why)

    # ------------------------------------------------------------ what a person is told

    def feeds(self, now: int) -> list[dict[str, Any]]:
        """Return what each pair does, for the status."""
        states = {pair: (state, source) for source in self.sources for pair, state in source.states().items()}
        told = []
        for place, wanted in enumerate(self.wanted):
            state, source = states[wanted.symbol]
            event, arrival = self._latest[place].tolist()
            told.append(
                {"id": wanted.id, "venue": wanted.venue, "symbol": wanted.symbol, "mode": self.plan.mode.value}
                | vars(state)
                | {
                    "gaps": int(self._gaps[place]),
                    "rate": self._rate(wanted.symbol, state.messages),
                    "lag_ms": (arrival - event) / 1e6 if arrival else None,
                    "age": (now - arrival) / 1e9 if arrival else None,
                    "bytes": source.received // max(1, len(source.states())),
                }
                | self._book(place)
            )
        return told

    def _rate(self, symbol: str, messages: int) -> float:
        time = monotonic_ns()
        before, since = self._rates.get(symbol, (messages, time))
        self._rates[symbol] = (messages, time)
        return round((messages - before) / (time - since) * 1e9, 1) if time > since else 0.0

    def _book(self, place: int) -> dict[str, Any]:
        if self.books is None:
            return {"book": "not kept", "crossed": 0, "bid": None, "ask": None, "levels": 0}
        kept = self.books.kept[place]
        if kept.book is None:
            return {"book": "none yet", "crossed": 0, "bid": None, "ask": None, "levels": 0}
        state = "crossed" if kept.book.crossed else "sound" if kept.valid else "not trusted"
        prices = {"bid": kept.book.best_bid, "ask": kept.book.best_ask}
        return {"book": state, "crossed": kept.crossed, "levels": sum(kept.book.counts)} | {
            name: None if price != price else price for name, price in prices.items()
        }
