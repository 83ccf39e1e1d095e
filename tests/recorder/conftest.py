"""A recorder in the test's own process, and small venues to record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mdslib.clock import Clock
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.replay import decoder_for
from mdslib.protocols import Records
from mdslib.recorder.plan import Plan, parse_wanted
from mdslib.recorder.program import Recorder
from mdslib.sim.venues.made import made_capture
from mdslib.store.tapefile import TapeReader
from tests.venue_servers import until_async

FRAMES = 200


class Run:
    """A recorder that runs until a condition holds; what it told."""

    def __init__(self, plan: Plan, clock: Clock | None = None) -> None:
        self.told: list[str] = []
        self.recorder = Recorder(plan, self.told.append, clock)

    def until(self, done: Callable[[], bool], finish: bool = True) -> Run:
        async def main() -> None:
            stop = asyncio.Event()
            task = asyncio.create_task(self.recorder.run(stop))
            waiting = asyncio.create_task(until_async(done))
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            stop.set()
            await task
            waiting.cancel()

        asyncio.run(main())
        return self


def plan(out: Path, *feeds: str, **options: object) -> Plan:
    return Plan(tuple(map(parse_wanted, feeds)), out, **options)  # type: ignore[arg-type]


def tape_of(out: Path, venue: str, name: str = "tape") -> Records:
    """Return the records of a venue's only day."""
    (folder,) = out.glob(f"{venue}/*/{name}")
    with TapeReader(folder) as tape:
        return np.array(tape.records())


def decoded(venue: str, pairs: list[str], frames: int = FRAMES) -> Records:
    """Return the made market's records, decoded without a socket."""
    decoder = decoder_for(venue)(Pairs(pairs))
    lines = made_capture(venue, pairs, frames)
    return np.concatenate([decoder.receive(line.partition(": ")[2], 0) for line in lines])


def same(records: Records, others: Records) -> bool:
    """Tell whether two records say the same of the market; times of arrival may differ."""
    names = ["kind", "flag", "instrument", "code", "f0", "f1", "i0", "i1"]
    return repr(records[names].tolist()) == repr(others[names].tolist())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "record"
