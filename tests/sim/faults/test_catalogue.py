"""The scripts that come with mdslib: all can be read, say what they throw, and do it on a small day."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mdslib.sim.faults import KINDS, Script, catalogue, what
from mdslib.sim.floor import Floor
from mdslib.sim.market import Market
from mdslib.sim.options import SimOptions
from mdslib.sim.player import Player

from ..days import steps

SCRIPTS = catalogue()


def test_there_are_enough_of_them_and_each_kind_of_fault_is_in_one() -> None:
    assert len(SCRIPTS) > 25
    assert {what(fault) for script in SCRIPTS for fault in script.faults} == set(KINDS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_each_says_in_a_sentence_what_it_throws_and_what_is_to_become_of_it(script: Script) -> None:
    for words in (script.about, script.expect):
        assert words.endswith(".")
        assert len(words) < 110
    assert script.lines[0] > 0


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_each_comes_within_the_first_minutes_of_a_day(script: Script) -> None:
    async def play() -> list[dict[str, Any]]:
        day = Market(steps(200))
        floor = Floor(day, SimOptions(wait_for_client=False, faults=script))
        floor.core.now, floor.sent = int(day.ts[0]), 1
        floor.core.settle(1)
        for _ in range(3):
            floor.core.submit({"symbol": "SPY", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"})
        await Player(floor).play()
        assert floor.thrower is not None
        return floor.thrower.log.entries

    log = asyncio.run(play())
    came = {entry["fault"] for entry in log if entry["phase"] == "began"}
    if script.name != "storm":  # which is for a whole day
        assert came == set(range(1, len(script.faults) + 1))
    assert all(entry["phase"] in ("began", "hit", "ended", "never") for entry in log)
