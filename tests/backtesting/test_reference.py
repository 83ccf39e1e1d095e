"""The compiled back-test against a slow one in plain Python, on random data: decisions, fills and account are equal."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdslib import Trade, backtest, buy, hold, sell, strategy, target
from mdslib.events import Status
from mdslib.table import trades
from tests.backtest_reference import Reference

pytestmark = pytest.mark.compiled


class Params(NamedTuple):
    shares: float = 5.0


@strategy(on=Trade, params=Params)
def by_size(trade, state, account, p):  # type: ignore[no-untyped-def]
    if trade.size == 1:
        return buy(p.shares)
    if trade.size == 2:
        return sell(p.shares)
    if trade.size == 3:
        return target(p.shares)
    if trade.size == 4:
        return target(-p.shares)
    if trade.size == 5:
        return target(0.0)
    return hold()


def rule(shares: float) -> Any:
    answers = {1: ("order", shares), 2: ("order", -shares), 3: ("target", shares), 4: ("target", -shares)}
    return (answers | {5: ("target", 0.0)}).get


EVENTS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(50, 150), st.sampled_from([1, 2, 3, 4, 5, 9, 9, 9])), max_size=80
)


@pytest.mark.parametrize("rules", ["permissive", "alpaca"])
@settings(max_examples=200)
@given(
    events=EVENTS,
    latency=st.integers(0, 3),
    cash=st.sampled_from([0.0, 300.0, 1e6]),
    shares=st.sampled_from([1.0, 5.0, 12.0]),
    bps=st.sampled_from([0.0, 2.0]),
    seed=st.integers(0, 9),
)
def test_it_equals_the_slow_reference(
    rules: str, events: list[Any], latency: int, cash: float, shares: float, bps: float, seed: int
) -> None:
    ts = np.cumsum([step for step, _, _ in events], dtype=np.int64)
    px, size = [float(p) for _, p, _ in events], [s for _, _, s in events]
    fast = backtest(
        by_size,
        trades(ts, px, size),
        params={"shares": shares},
        rules=rules,
        limits=None,
        latency=latency,
        cash=cash,
        fees=bps,
        seed=seed,
        instruments=["SPY"],
    )
    slow = Reference(rule(shares), alpaca=rules == "alpaca", latency=latency, cash=cash, bps=bps, seed=seed)
    slow.run(ts.tolist(), px, size)
    assert fast.decisions[["seq", "qty", "parked"]].tolist() == [tuple(d) for d in slow.decisions]
    assert fast.events[["ts", "tag", "qty", "px", "leaves"]].tolist() == slow.told
    assert set(fast.events["status"][fast.events["qty"] == 0].tolist()) <= {int(Status.REJECTED)}
    assert fast.position == slow.position
    assert fast.cash == pytest.approx(slow.cash, abs=1e-6)
    assert float(fast.account[0]["parked"]) == slow.parked
    assert float(fast.account[0]["open_qty"]) == slow.parked + sum(leaves for _, leaves in slow.open)
