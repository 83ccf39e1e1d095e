"""The recorder's process: one event loop, every venue, until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from typing import Any

from mdslib.clock import Clock, WallClock, monotonic_ns
from mdslib.errors import RecordError, fault_of
from mdslib.feeds.backoff import Backoff
from mdslib.feeds.endpoints import Channel, Endpoint, endpoint
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.venue_connection import VenueConnection
from mdslib.recorder.claim import claimed
from mdslib.recorder.plan import ALPACA, Mode, Plan, Wanted
from mdslib.recorder.raw import RawCapture
from mdslib.recorder.source import Source
from mdslib.recorder.stamps import Microseconds
from mdslib.recorder.status import write_status
from mdslib.recorder.tape import VenueTape
from mdslib.recorder.venue import VenueRecording
from mdslib.recorder.venue_source import VenueSource

TURN = 0.025  # s between two writes: an event is on the tape within 100 ms, on a machine that is busy too
STATUS_EVERY = 1.0  # s
RESTART = (1.0, 60.0)  # s, the first and the longest wait before a source that failed runs again
GOODBYE = 5.0  # s that the connections have to end, and to give what was on its way
Tell = Callable[[str], None]


def channels_of(mode: Mode) -> tuple[Channel, ...]:
    """Return what a mode asks of a pair."""
    return (Channel.BOOK,) if mode is Mode.SNAPSHOT else tuple(Channel)


class Recorder:
    """Records what a plan wants.

    Parameters
    ----------
    plan : Plan
        What, how and where to.
    tell : callable
        Takes one line for a person.
    clock : Clock, optional
        Stamps every event, in whole microseconds; the machine's by default.

    Raises
    ------
    ConfigError, CredentialError
        If what is wanted can't be: before anything is opened.
    """

    def __init__(self, plan: Plan, tell: Tell, clock: Clock | None = None) -> None:
        self.plan, self._tell, self._clock = plan, tell, Microseconds(clock or WallClock())
        self._raws: list[RawCapture] = []
        self.venues = [self._venue(wanted) for wanted in plan.by_tape()]
        self._began = self._clock.now()
        self._trouble = ""

    def _venue(self, wanted: Sequence[Wanted]) -> VenueRecording:
        plan, venue = self.plan, wanted[0].venue
        instruments = [each.instrument() for each in wanted]
        tape = VenueTape(
            plan.out / venue, plan.tape_name(wanted), instruments, plan.mode.value, plan.durability, self._tell
        )  # fmt: skip
        sources = self._alpaca(wanted) if venue == ALPACA else self._crypto(wanted)
        return VenueRecording(plan, wanted, sources, tape)

    def _crypto(self, wanted: Sequence[Wanted]) -> list[Source]:
        places = Pairs([each.symbol for each in wanted], {each.symbol: each.instrument().lot for each in wanted})
        channels = channels_of(self.plan.mode)
        sources: list[Source] = []
        for dialect in dict.fromkeys(each.dialect for each in wanted):
            point = endpoint(dialect)
            pairs = [each.symbol for each in wanted if each.dialect == dialect]
            most = point.pairs_together(channels)
            for first in range(0, len(pairs), most):
                sources.append(self._connection(point, pairs[first : first + most], places, len(sources) + 1))
        return sources

    def _connection(self, point: Endpoint, pairs: Sequence[str], places: Pairs, number: int) -> VenueSource:
        plan, raw = self.plan, None
        if plan.raw:
            name = f"{point.dialect}-{number}" if not plan.alone else plan.name
            raw = RawCapture(plan.out / point.venue, name, self._tell)
        connection = VenueConnection(
            point, pairs, places, channels_of(plan.mode), tell=self._tell, wire=raw, clock=self._clock,
            url=plan.urls.get(point.dialect) or plan.urls.get(point.venue) or "",
        )  # fmt: skip
        return VenueSource(connection, raw)

    def _alpaca(self, wanted: Sequence[Wanted]) -> list[Source]:
        from mdslib.errors import ConfigError
        from mdslib.recorder.alpaca_source import AlpacaSource

        stocks = [each.symbol for each in wanted if "/" not in each.symbol]
        if self.plan.mode is Mode.SNAPSHOT and stocks:
            raise ConfigError(
                f"mds record: alpaca has no books of stocks to take snapshots of, received {', '.join(stocks)};"
                " use --mode full or light for them"
            )
        url = self.plan.urls.get(ALPACA) or "wss://stream.data.alpaca.markets"
        instruments = [each.instrument() for each in wanted]
        return [AlpacaSource(instruments, range(len(wanted)), self.plan.feed, url, self._tell, self._clock)]

    # ------------------------------------------------------------ the loop

    async def run(self, stop: asyncio.Event) -> None:
        """Record until `stop` is set.

        Raises
        ------
        RecordError
            If at the end something could not be written; it says how much.
        """
        self._warm()
        sources = [source for venue in self.venues for source in venue.sources]
        tasks = [asyncio.create_task(self._keep(source, stop)) for source in sources]
        stopping = asyncio.create_task(stop.wait())
        told = 0
        try:
            while not stopping.done():
                await asyncio.wait({stopping}, timeout=TURN)
                self._turn()
                if monotonic_ns() - told >= STATUS_EVERY * 1e9:
                    told = monotonic_ns()
                    self._second(sources, running=True)
                for task in tasks:
                    if task.done():
                        task.result()
        finally:
            stopping.cancel()
            await self._end(sources, tasks)

    async def _keep(self, source: Source, stop: asyncio.Event) -> None:
        """Run a source to its end, and again where it failed: a fault in one must not end what the others record."""
        backoff = Backoff(*RESTART)
        while not stop.is_set():
            began = monotonic_ns()
            try:
                await source.run()
                return
            except Exception as error:
                source.failed(fault_of(error))
            backoff.held((monotonic_ns() - began) / 1e9)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), backoff.wait())

    def _warm(self) -> None:
        """Compile what the first batch needs before anything is received: it takes seconds."""
        if self.plan.mode is Mode.LIGHT:
            return
        import numpy as np

        from mdslib.events import RECORD, BookFlag, Kind
        from mdslib.recorder.books import Books

        records = np.zeros(3, RECORD)
        records["kind"], records["f0"], records["i0"] = int(Kind.BOOK_DELTA), [np.nan, 1.0, 0.25], 1
        records["flag"] = int(BookFlag.SNAPSHOT)
        records["flag"][0] |= int(BookFlag.CLEAR)
        records["flag"][2] |= int(BookFlag.LAST | BookFlag.ASK)
        books = Books(1)
        books.apply(np.frombuffer(bytearray(records.tobytes()), RECORD))
        books.images(0)

    def _turn(self) -> None:
        now = self._clock.now()
        for venue in self.venues:
            venue.turn(now)

    def _second(self, sources: Sequence[Source], *, running: bool) -> None:
        for source in sources:
            source.flush()
        try:
            write_status(self.plan.out, self.plan.name, self.status(running=running))
            self._trouble = ""
        except OSError as error:
            if not self._trouble:
                self._tell(f"status in {self.plan.out}: {error.strerror or error}; the recording goes on")
            self._trouble = str(error)

    async def _end(self, sources: Sequence[Source], tasks: Sequence[asyncio.Task[None]]) -> None:
        """Say goodbye everywhere, keep what was still on its way, and close the tapes."""
        goodbyes = [asyncio.create_task(source.close()) for source in sources]
        await asyncio.wait([*goodbyes, *tasks], timeout=GOODBYE)
        for task in [*goodbyes, *tasks]:
            task.cancel()
        await asyncio.gather(*goodbyes, *tasks, return_exceptions=True)
        now = self._clock.now()
        left = 0
        for venue in self.venues:
            venue.close(now)
            left += venue.tape.waiting + venue.tape.lost
        self._second(sources, running=False)
        if left:
            why = next((venue.tape.why for venue in self.venues if venue.tape.why), "")
            why = why.removesuffix(".") or f"the disk of {self.plan.out} had taken nothing for too long"
            raise RecordError(f"mds record: {left} records could not be written and are lost: {why}")

    def status(self, *, running: bool) -> dict[str, Any]:
        """Return what the recorder does now, ready for JSON."""
        import os

        now = self._clock.now()
        feeds = [feed for venue in self.venues for feed in venue.feeds(now)]
        tapes = [venue.tape for venue in self.venues]
        sources = [source for venue in self.venues for source in venue.sources]
        return {
            "time": now,
            "running": running,
            "pid": os.getpid(),
            "began": self._began,
            "mode": self.plan.mode.value,
            "records": sum(tape.written for tape in tapes),
            "tape_bytes": sum(tape.bytes for tape in tapes),
            "raw_bytes": sum(source.raw_bytes for source in sources),
            "raw_lost": sum(source.raw_lost for source in sources),
            "waiting": sum(tape.waiting for tape in tapes),
            "lost": sum(tape.lost for tape in tapes),
            "trouble": next((tape.trouble for tape in tapes if tape.trouble), ""),
            "feeds": feeds,
        }


def record(plan: Plan, tell: Tell) -> None:
    """Record until SIGINT or SIGTERM.

    Parameters
    ----------
    plan : Plan
        What, how and where to.
    tell : callable
        Takes one line for a person.

    Raises
    ------
    ConfigError, CredentialError
        If what is wanted can't be, or the folder can't be written: before anything is connected.
    TapeError
        If another recorder writes what this one would: before anything is connected.
    RecordError
        If at the end something could not be written.
    """
    recorder = Recorder(plan, tell)

    async def main() -> None:
        stop = asyncio.Event()
        for ending in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(ending, stop.set)
        tell(f"recording {', '.join(each.id for each in plan.wanted)} ({plan.mode.value}) to {plan.out}")
        await recorder.run(stop)

    with claimed(plan), contextlib.suppress(asyncio.CancelledError):
        asyncio.run(main())
    tell(f"stopped: {sum(venue.tape.written for venue in recorder.venues):,} records are on the tapes")
