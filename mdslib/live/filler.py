"""Fills a hole in the feed: from the tape's end to the first frame that was received again, out of the history."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mdslib.clock import Clock, monotonic_ns
from mdslib.errors import ConfigError, CredentialError, DataError, FeedError, FeedRefused, MdsError
from mdslib.events import Kind
from mdslib.feeds.backfill import Backfill, Known, slices
from mdslib.feeds.backoff import Backoff
from mdslib.feeds.rfc3339 import from_ns
from mdslib.instruments import Instrument
from mdslib.protocols import Records
from mdslib.store.tapetail import tape_tail

MARGIN = 10_000_000_000  # ns before the tape's last event: some prints are reported late
OVERLAP = 60_000_000_000  # ns beyond what was fetched for which frames are compared with it
ROOM = 200_000  # events that frames are compared with; beyond, only the last slices are kept
LAG = 2.0  # s that a venue's history may lag behind its stream
WITHIN = 60.0  # s that the history may fail to answer before the hole is left as it is
AGAIN = 0.25  # s between two questions about the last moments
PATIENT = 5.0  # s likewise while a socket that was mute has not said anything yet; the venue takes 200 calls a minute
SYNC = 0.5  # s between two looks at whether the session has ended, while the tape is waited for
FRESH = 5_000_000_000  # ns; a younger event may still be on its way through the stream


@dataclass
class Hole:
    """Events that were missed.

    Attributes
    ----------
    why : str
        For the tape and the person.
    since : int
        Where it begins, ns UTC; 0: at the tape's last event.
    until_real : int
        When the feed was connected again, monotonic.
    mute : bool
        The socket was open and said nothing, so the next may be mute too: only a frame shows that it is not.
    """

    why: str
    since: int = 0
    until_real: int = 0
    mute: bool = False


class Piece(NamedTuple):
    """Some of what was missed: the events, a sentence, and how many of those fetched were there already."""

    records: Records
    why: str
    doubled: int


class Filler:
    """Asks the history, leaves out what is on the tape, and says what came of it. One thread uses it.

    Parameters
    ----------
    make : callable
        Returns the `Backfill`; called once, in the filler's thread, since it imports much. None: there is no history.
    instruments : sequence of Instrument
    folder : Path
        The tape that is being written.
    clock : Clock
    session : tuple of int
        Open and close, ns UTC.
    sync : callable
        ``sync(event)`` sets the event once all that was handed over before is on the tape.
    tally : Counter
        Where events that came twice, and holes that stay, are counted.
    lag : float
        How far the history may lag behind the stream, s; 0 for a local exchange.
    ahead : int
        How far `clock` may be ahead of the venue's, ns: what the history shows of a bar that closes in that time is
        not the whole bar yet.
    """

    def __init__(
        self,
        make: Callable[[], Backfill] | None,
        instruments: Sequence[Instrument],
        folder: Path,
        clock: Clock,
        session: tuple[int, int],
        sync: Callable[[threading.Event], None],
        tally: Counter[str],
        lag: float = LAG,
        ahead: int = 0,
    ) -> None:
        self.closing = threading.Event()
        self.began = 0  # ns UTC; the first connection
        self._make, self._instruments, self._folder, self._clock = make, tuple(instruments), folder, clock
        self._open, self._close = session
        self._sync, self._lag, self._tally = sync, lag, tally
        self._ahead = ahead
        self._backfill: Backfill | None = None
        self._cannot = "" if make is not None else "this feed has no history"
        self._guard = Known()
        self._lately: list[Records] = []  # what the guard knows, by slice
        self._filled: Counter[tuple[int, int]] = Counter()
        self._doubled = 0
        self._gave_up = ""
        self._span = (0, 0)

    def prepare(self) -> None:
        """Make the history's client; where it can't be made, holes stay holes, and the RESYNC says why."""
        if self._make is None:
            return
        try:
            self._backfill = self._make()
        except MdsError as error:
            self._cannot = str(error)

    # Filling -----------------------------------------------------------------------------------------------------

    def fill(self, hole: Hole, stale: Callable[[], bool], waiting: Callable[[], Records | None]) -> Iterator[Piece]:
        """Yield what was missed, in order of time; ends early where `stale` says that it is of no use any more."""
        self._filled, self._doubled, self._gave_up = Counter(), 0, self._cannot
        if not self._synced(stale):
            return
        tail = tape_tail(self._folder, MARGIN, hole.since)
        start = hole.since or (tail.last - MARGIN if tail.last else self.began)
        start, now = max(start, self._open), self._clock.now()
        self._span = (start, now)
        self._guard, self._lately = Known(), []
        known = Known()
        known.add(tail.records)
        self._remember(tail.records)
        if self._backfill is None or not self._backfill.possible or start >= self._close:
            return
        done = start
        for begin, end in slices(start, now, self._close):
            if (piece := self._piece(known, begin, end, hole, stale)) is None:
                return
            done = max(done, known.latest)
            yield piece
        while not stale() and not self._reaches(known, hole, waiting):
            self._pause(hole, stale, waiting)
            if (piece := self._piece(known, max(start, done - MARGIN), self._close, hole, stale)) is None:
                return
            done = max(done, known.latest)
            if len(piece.records):
                yield piece

    def _synced(self, stale: Callable[[], bool]) -> bool:
        """Wait until all that was handed over is on the tape."""
        there = threading.Event()
        self._sync(there)
        while not there.wait(SYNC):
            if stale():
                return False
        return True

    def _piece(self, known: Known, begin: int, end: int, hole: Hole, stale: Callable[[], bool]) -> Piece | None:
        """Return one slice's events, or None where the history gives none of it."""
        now = self._clock.now() - self._ahead
        records = self._fetched(begin, end, now, stale)
        if records is None:
            return None
        fresh = known.without(records)
        doubled = len(records) - len(fresh)
        known.add(records)
        self._remember(records)
        self._filled.update(zip(fresh["instrument"].tolist(), fresh["kind"].tolist(), strict=True))
        self._doubled += doubled
        self._span = (self._span[0], now)
        return Piece(fresh, f"fetched for {_second(begin)} to {_second(min(end, now))}: {hole.why}", doubled)

    def _remember(self, records: Records) -> None:
        """Keep what the stream may still bring: the last slices, since a stream may lag behind the clock by minutes."""
        self._lately.append(records)
        self._guard.add(records)
        if len(self._guard) <= ROOM:
            return
        while len(self._lately) > 2 and sum(map(len, self._lately[1:])) > ROOM // 2:
            self._lately.pop(0)
        self._guard = Known()
        for part in self._lately:
            self._guard.add(part)

    def _fetched(self, begin: int, end: int, now: int, stale: Callable[[], bool]) -> Records | None:
        assert self._backfill is not None
        deadline, backoff = monotonic_ns() + int(WITHIN * 1e9), Backoff(longest=10.0)
        while True:
            try:
                records, asked = self._backfill.fetch_allowed(begin, end, now)
            except (FeedRefused, CredentialError, ConfigError) as error:  # asking again can't help
                self._gave_up = str(error)
                return None
            except (FeedError, DataError) as error:
                wait = backoff.wait(getattr(error, "code", None))
                if stale() or monotonic_ns() + wait * 1e9 > deadline:
                    self._gave_up = str(error)
                    return None
                self._tally["questions to the history that failed"] += 1
                self.closing.wait(wait)
                continue
            if asked < min(end, now):
                self._gave_up = f"the plan's history ends at {_second(asked)}"
            return records

    def _reaches(self, known: Known, hole: Hole, waiting: Callable[[], Records | None]) -> bool:
        """Tell whether what was fetched reaches up to the stream: it has the first frames, or had time to."""
        first, now = waiting(), monotonic_ns()
        if first is not None and known.has_any(first):
            return True
        if hole.mute:
            if first is not None:  # not mute any more; what it left out may be fetched now
                hole.mute, hole.until_real = False, now
            return False
        return now - hole.until_real >= self._lag * 1e9

    def _pause(self, hole: Hole, stale: Callable[[], bool], waiting: Callable[[], Records | None]) -> None:
        """Wait before the next question."""
        until = monotonic_ns() + int((PATIENT if hole.mute else AGAIN) * 1e9)
        while monotonic_ns() < until and not stale() and not (hole.mute and waiting() is not None):
            self.closing.wait(AGAIN)

    def told(self) -> tuple[str, int, int]:
        """Return what came of the last hole: a sentence, events filled in, and those that were there already."""
        start, end = self._span
        parts = [
            f"{count:,} {Kind(kind).name.lower()}s of {self._instruments[k].symbol}"
            for (k, kind), count in sorted(self._filled.items())
        ]
        filled = f"{', '.join(parts) or 'nothing'} filled in from {_second(start)} to {_second(end)}"
        said = [f"{filled}, {self._doubled:,} more were there already"]
        if self._gave_up:
            self._tally["gaps not filled in"] += 1
            said.append(f"not all: {self._gave_up}")
        missing = self._backfill.without_history if self._backfill is not None else ()
        if missing:
            said.append(f"no history of {', '.join(missing)}: those of that time are missing")
        return "; ".join(said), sum(self._filled.values()), self._doubled

    # After it ----------------------------------------------------------------------------------------------------

    def watch(self, records: Records) -> tuple[Records, bool]:
        """Return a frame without what was fetched already, and whether that can't come any more."""
        guard = self._guard
        ts = records["ts_event"]
        if len(ts) and int(ts.min()) > guard.latest + OVERLAP:
            return records, True
        if not (ts <= guard.latest).any():
            return records, False
        fresh = guard.without(records)
        if len(fresh) < len(records):
            self._tally["events that came twice, left out"] += len(records) - len(fresh)
        return fresh, False

    def missed(self, now: int) -> bool | None:
        """Tell whether the history has events that the tape has not; None where it can't say."""
        if self._backfill is None or not self._backfill.possible:
            return None
        tail = tape_tail(self._folder, MARGIN)
        start = max(self._open, tail.last or self.began)
        if now - FRESH <= start:
            return False
        known = Known()
        known.add(tail.records)
        try:
            found = self._backfill.fetch(start, now - FRESH, now)
        except MdsError:
            return None  # the alarm by the lull's length remains
        return len(known.without(found)) > 0

    def close(self) -> None:
        """Free the history's connections."""
        self.closing.set()
        if self._backfill is not None:
            self._backfill.close()


def _second(ts: int) -> str:
    return f"{from_ns(ts)[:19]}Z"
