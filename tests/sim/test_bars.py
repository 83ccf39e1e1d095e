"""An exchange that plays trades sends minute bars of them as well, to whoever subscribes to bars."""

from __future__ import annotations

import numpy as np
import pytest

from mdslib.bars import MINUTE, bars_from_trades
from mdslib.events import Kind
from mdslib.sim import Exchange
from mdslib.sim.bars import with_minute_bars

from .days import CLOSE, MS, OPEN, DataClient, day_of, minute_bars, steps
from .lockstep_client import LockstepSession

DAY = day_of(
    (0, "SPY", 10.0, 100), (30_000, "BAC", 5.0, 7), (59_999, "SPY", 10.5, 50),
    (60_000, "SPY", 11.0, 1), (200_000, "SPY", 9.0, 2),
)  # fmt: skip


def played(bars: list[str], trades: list[str], count: int) -> list[dict[str, object]]:
    """Return the first messages that a client of these subscriptions is sent."""
    with Exchange(DAY, mode="free", in_process=True) as exchange:
        client = DataClient(exchange)
        client.login()
        client.subscribe(bars=bars, trades=trades)
        messages = client.take(count)
        client.close()
    return messages


def test_a_minute_s_trades_are_one_bar_stamped_at_its_start_on_the_wire() -> None:
    (first, *_) = played(["SPY"], [], 3)
    assert first == {
        "T": "b", "S": "SPY", "o": 10, "h": 10.5, "l": 10, "c": 10.5, "v": 150, "n": 2, "vw": first["vw"],
        "t": "2013-10-08T13:30:00Z",
    }  # fmt: skip
    assert first["vw"] == pytest.approx((10.0 * 100 + 10.5 * 50) / 150)


def test_a_bar_comes_when_its_minute_is_over_and_before_the_trades_of_that_moment() -> None:
    told = [(message["T"], message["t"]) for message in played(["SPY"], ["SPY"], 7)]
    assert told == [
        ("t", "2013-10-08T13:30:00Z"),
        ("t", "2013-10-08T13:30:59.999Z"),
        ("b", "2013-10-08T13:30:00Z"),
        ("t", "2013-10-08T13:31:00Z"),
        ("b", "2013-10-08T13:31:00Z"),
        ("t", "2013-10-08T13:33:20Z"),
        ("b", "2013-10-08T13:33:00Z"),
    ], "a minute without a trade has no bar"


def test_bars_of_one_symbol_are_of_its_trades_alone() -> None:
    (bar,) = played(["BAC"], [], 1)
    assert (bar["S"], bar["v"], bar["n"]) == ("BAC", 7, 1)


def test_bars_that_were_recorded_are_played_as_they_are() -> None:
    recorded = day_of((0, "SPY", 10.0, 1), bars=minute_bars(2))
    assert with_minute_bars(recorded) is recorded
    only_bars = day_of((0, "SPY", 10.0, 1))
    assert with_minute_bars(only_bars).bars["close"].tolist() == [10.0]


def test_the_bars_are_those_of_research() -> None:
    made = with_minute_bars(steps(500))
    again = bars_from_trades(steps(500).trades, MINUTE)
    assert made.bars.to_records().tobytes() == again.to_records().tobytes()
    kinds, _ = made.order
    assert np.count_nonzero(kinds == int(Kind.BAR)) == 9


def test_in_lock_step_a_bar_that_nobody_asked_for_is_no_instant() -> None:
    with Exchange(DAY, mode="lockstep", in_process=True) as exchange:
        session = LockstepSession(exchange, lambda *_: None).run()  # subscribes to trades
        session.close()
    instants = [now for now, phase in session.instants if phase == "market"]
    assert instants == [OPEN + at * MS for at in (0, 30_000, 59_999, 60_000, 200_000)] + [CLOSE]
