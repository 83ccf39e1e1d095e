"""A quiet socket: when a lull is no alarm, when it is doubtful, and when it is mute."""

from __future__ import annotations

import pytest

from mdslib.feeds.lull import Lull, Quiet

MANY = 1_000  # frames: the instrument's rate is known


def after(lulls: list[float], frames: int = MANY) -> Lull:
    """A watchdog that has seen lulls of these lengths."""
    lull = Lull()
    for length in lulls:
        lull.look(length, frames, trading=True)
        lull.look(0.0, frames, trading=True)
    return lull


@pytest.mark.parametrize(
    ("lulls", "quiet", "verdict"),
    [
        ([0.5], 29.0, Quiet.CALM),
        ([0.5], 31.0, Quiet.MUTE),  # 62 times its longest lull
        ([5.0], 31.0, Quiet.DOUBTFUL),
        ([5.0], 99.0, Quiet.DOUBTFUL),
        ([5.0], 101.0, Quiet.MUTE),
        ([60.0], 239.0, Quiet.CALM),  # an instrument that often rests for a minute
        ([60.0], 241.0, Quiet.DOUBTFUL),
        ([60.0], 1_201.0, Quiet.MUTE),
    ],
)
def test_the_bar_is_the_longest_lull_of_the_day(lulls: list[float], quiet: float, verdict: Quiet) -> None:
    assert after(lulls).look(quiet, MANY, trading=True) is verdict


def test_while_the_rate_is_not_known_five_minutes_are_no_alarm() -> None:
    lull = after([0.5], frames=99)
    assert lull.look(299.0, 99, trading=True) is Quiet.DOUBTFUL
    assert lull.look(301.0, 99, trading=True) is Quiet.MUTE


def test_outside_the_session_nothing_is_an_alarm_and_its_quiet_is_no_lull() -> None:
    lull = after([0.5])
    assert lull.look(10_000.0, MANY, trading=False) is Quiet.CALM
    lull.look(0.0, MANY, trading=True)
    assert lull.longest == 0.5


def test_a_lull_that_the_history_confirms_raises_the_bar() -> None:
    lull = after([5.0])
    assert lull.look(50.0, MANY, trading=True) is Quiet.DOUBTFUL
    lull.confirmed()
    assert lull.look(60.0, MANY, trading=True) is Quiet.CALM
    assert lull.look(201.0, MANY, trading=True) is Quiet.DOUBTFUL


def test_the_quiet_of_a_lost_connection_is_no_lull() -> None:
    lull = after([0.5])
    lull.look(25.0, MANY, trading=True)
    lull.began()
    lull.look(0.0, MANY, trading=True)
    assert lull.longest == 0.5


def test_another_floor_scales_the_rule() -> None:
    lull = Lull(1.0)
    assert lull.look(1.5, MANY, trading=True) is Quiet.MUTE
    assert Lull(1.0).look(9.0, 5, trading=True) is Quiet.DOUBTFUL
