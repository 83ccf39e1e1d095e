"""A result's figures, frames and plots agree with the account and with each other."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest

import mdslib
from mdslib import Trade, buy, calendar, hold, sell, strategy
from mdslib.account import equity, total_cash
from mdslib.backtesting import Result
from mdslib.errors import ConfigError
from mdslib.instruments import Instrument
from mdslib.store.made import made_day, made_pair
from mdslib.table import MarketData, trades

SECOND = 1_000_000_000


def spy(date: str = "2025-06-12", count: int = 20_000) -> MarketData:
    session = calendar.session(date)
    assert session is not None
    return MarketData((Instrument("SPY"),), (made_day(date, trades=count),), (session,))


@pytest.fixture(scope="module")
def permissive() -> Result:
    return mdslib.backtest("volume_modulo", spy(), rules="permissive", limits=None, fees=1.0)


@pytest.fixture(scope="module")
def alpaca() -> Result:
    return mdslib.backtest("volume_modulo", spy(), fees=1.0, cash=5_000.0, limits=mdslib.make_limits(max_position=20))


@pytest.fixture(scope="module")
def pairs() -> Result:
    return mdslib.backtest("pairs_zscore", made_pair(trades=4_000), fees=1.0)


class Params(NamedTuple):
    shares: float = 10.0


@strategy(on=Trade, params=Params)
def by_hand(trade, state, account, p):
    """Buy on a size of 1, sell on a size of 2, sell with a limit out of reach on a size of 3."""
    if trade.size == 1:
        return buy(p.shares)
    if trade.size == 2:
        return sell(p.shares)
    if trade.size == 3:
        return sell(p.shares, 999.0)
    return hold()


@pytest.fixture(scope="module")
def worked() -> Result:
    # Decided at second 0, filled at 1 (100.50); sold at second 2, filled at 3 (102.00); then a limit that never fills.
    session = calendar.session("2025-06-12")
    assert session is not None
    times = session.open + np.arange(6) * SECOND
    table = trades(times, [100.0, 100.5, 101.0, 102.0, 102.5, 101.0], [1, 9, 2, 9, 3, 9])
    data = MarketData((Instrument("SPY"),), (table,), (session,))
    return mdslib.backtest(by_hand, data, rules="permissive", limits=None, fees=10.0, cash=10_000.0)


# ---------------------------------------------------------------- the curve
@pytest.mark.parametrize("name", ["permissive", "alpaca", "pairs", "worked"])
@pytest.mark.parametrize("most", [10, 2_000])
def test_the_curve_ends_at_the_account_bit_for_bit(name, most, request):
    result = request.getfixturevalue(name)
    last = result.equity_curve(most).iloc[-1]
    assert (last["equity"], last["cash"]) == (result.equity, result.cash)
    held = result.position if isinstance(result.position, dict) else {"": result.position}
    for symbol, qty in held.items():
        assert last["_".join(["position", symbol]).rstrip("_")] == qty


@pytest.mark.parametrize("name", ["permissive", "alpaca", "pairs", "worked"])
def test_cash_and_equity_are_those_of_the_account_s_kernels(name, request):
    result = request.getfixturevalue(name)
    assert (result.cash, result.equity) == (total_cash(result.account), equity(result.account))


def test_the_curve_is_sampled_evenly_and_lightly(permissive):
    frame = permissive.equity_curve()
    assert 1_500 < len(frame) <= 2_000
    assert len(permissive.equity_curve(100)) <= 102
    assert frame.index.is_monotonic_increasing
    assert str(frame.index.tz) == "UTC"


def test_the_curve_equals_a_plain_walk_over_fills_and_trades(permissive):
    times, prices = permissive.data.trades["ts_event"], permissive.data.trades["price"]
    frame = permissive.equity_curve(50)
    for stamp, row in frame.iterrows():
        cash, held = permissive.cash0, 0.0
        for fill in permissive.fills:
            if fill["ts"] <= stamp.value:
                cash -= fill["qty"] * fill["px"] + fill["fee"]
                held += fill["qty"]
        assert row["equity"] == pytest.approx(cash + held * prices[times <= stamp.value][-1], abs=1e-6)


# ---------------------------------------------------------------- figures
def test_figures_of_a_hand_worked_run(worked):
    found = worked.stats()
    fees = (100.5 + 102.0) * 10 * 0.001
    assert found["profit"] == pytest.approx(15.0 - fees)
    assert found["average_trade"] == pytest.approx(15.0 - fees)
    assert (found["round_trips"], found["hit_rate"]) == (1, 1.0)
    assert found["notional"] == pytest.approx(2_025.0)
    assert found["fee_share"] == pytest.approx(fees / 15.0)
    # Seconds 1 and 2 of six samples hold a position; the fee of each fill is the whole fall.
    assert found["time_in_market"] == pytest.approx(2 / 6)
    assert math.isnan(found["sharpe"])
    assert found["sessions"] == 1


def test_figures_agree_with_the_json(alpaca):
    found, told = alpaca.stats(), alpaca.to_json()
    assert (found["profit"], found["fees"]) == (pytest.approx(told["profit"]), pytest.approx(told["fees"]))


def test_several_sessions_have_a_sharpe_ratio():
    days = ("2025-06-11", "2025-06-12", "2025-06-13")
    parts = [made_day(day, trades=3_000) for day in days]
    data = MarketData((Instrument("SPY"),), (mdslib.table.merge(parts),), calendar.sessions(days[0], days[-1]))
    result = mdslib.backtest("volume_modulo", data, rules="permissive", limits=None)
    curve = result.equity_curve()["equity"]
    closes = curve.groupby(curve.index.tz_convert("America/New_York").date).last()
    returns = np.diff(np.concatenate([[result.cash0], closes])) / np.concatenate([[result.cash0], closes[:-1]])
    assert len(closes) == 3
    assert result.stats()["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * math.sqrt(252))


# ---------------------------------------------------------------- orders
def test_orders_of_a_hand_worked_run(worked):
    orders = worked.orders_frame()
    assert orders["status"].tolist() == ["FILLED", "FILLED", "EXPIRED"]
    assert orders["filled_qty"].tolist() == [10.0, -10.0, 0.0]
    assert orders["avg_px"].tolist()[:2] == [100.5, 102.0]
    assert math.isnan(orders["avg_px"].iloc[2])
    assert orders["sent"].all()


def test_orders_count_what_the_result_counts(alpaca):
    orders = alpaca.orders_frame()
    assert orders["sent"].sum() == alpaca.orders
    assert (orders["status"] == "DENIED").sum() == alpaca.denied > 0
    assert (orders["status"] == "REJECTED").sum() == alpaca.rejected
    assert orders["filled_qty"].sum() == pytest.approx(alpaca.position)
    assert orders["fee"].sum() == pytest.approx(alpaca.fees_paid)
    assert set(orders.loc[orders["status"] == "DENIED", "reason"]) == set(alpaca.denials())
    partial = orders[(orders["status"] == "FILLED")]
    assert (partial["filled_qty"] == partial["qty"]).all()


# ---------------------------------------------------------------- pictures
def test_the_plot_shows_prices_every_fill_position_and_equity(permissive):
    figure = permissive.plot()
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces) == ["SPY price", "SPY buys", "SPY sells", "SPY position", "equity"]
    assert len(traces["SPY price"].x) <= 4_000
    qty = permissive.fills["qty"]
    assert len(traces["SPY buys"].x) == np.count_nonzero(qty > 0)
    assert len(traces["SPY sells"].x) == np.count_nonzero(qty < 0)
    assert traces["SPY position"].y[-1] == permissive.position
    assert traces["equity"].y[-1] == permissive.equity
    prices = permissive.data.trades["price"]
    assert (min(traces["SPY price"].y), max(traces["SPY price"].y)) == (prices.min(), prices.max())
    assert figure.layout.title.text.startswith("volume_modulo on SPY, 2025-06-12: ")


def test_the_plot_of_a_pair_has_a_row_of_prices_each(pairs):
    names = [trace.name for trace in pairs.plot().data]
    assert [name for name in names if name.endswith(("price", "position"))] == [
        "AAA price", "AAA position", "BBB price", "BBB position",
    ]  # fmt: skip


def test_the_plot_of_decisions_counts_every_fate(alpaca):
    bars = {t.name.removesuffix(", a bar"): sum(t.y) for t in alpaca.plot_decisions().data if t.type == "bar"}
    denied = {f"denied {name}": count for name, count in alpaca.denials().items()}
    assert {fate: count for fate, count in bars.items() if fate.startswith("denied")} == denied
    assert bars.get("rejected", 0) == alpaca.rejected
    assert sum(bars.values()) == len(alpaca.decisions)


def test_a_plot_of_a_symbol_that_is_not_there_says_so(pairs):
    assert "AAA" in pairs.plot_decisions("BBB").layout.title.text
    with pytest.raises(ConfigError, match="plot_decisions: 'AAB' is not in this run"):
        pairs.plot_decisions("AAB")


def test_the_table_is_html_in_the_page_s_own_colours(alpaca):
    text = alpaca._repr_html_()
    assert "volume_modulo on SPY, 2025-06-12" in text
    assert f">{alpaca.denied:,}</td>" in text
    assert "–" in text  # a single day has no Sharpe ratio
    assert "background" not in text
    assert "#" not in text


def test_the_fates_of_orders_are_counted_in_the_repr_and_in_the_figures():
    session = calendar.session("2025-06-12")
    times = [session.open + k * SECOND for k in range(1, 6)]
    table = trades(times, [10.0] * 5, [1, 9, 3, 1, 9])  # bought, offered far away, and bought against that offer
    data = MarketData((Instrument("SPY"),), (table,), (session,))
    limits = mdslib.make_limits(max_order_qty=10, price_collar=0)
    result = mdslib.backtest(by_hand, data, limits=limits, latency=0, seed=1)
    told = result.to_json()
    counts = {name: told[name] for name in ("denied", "orders", "rejected", "canceled", "expired", "fills", "working")}
    assert counts == {
        "denied": 0, "orders": 3, "rejected": 1, "canceled": 0, "expired": 1, "fills": 1, "working": 0
    }  # fmt: skip
    assert (result.rejected, result.canceled, result.expired) == (1, 0, 1)
    assert repr(result) == (
        "Result(by_hand on SPY: 5 events, 3 decisions (0 denied), 3 orders (1 rejected, 0 canceled, 1 expired),"
        " 1 fills, position 10.0, profit 0.00)"
    )
    assert ">expired</td>" in result._repr_html_()


def test_a_denial_carries_its_bound_and_the_order_s_value(alpaca):
    frame = alpaca.decisions_frame()
    denied = frame[frame["denied"] == "BUYING_POWER"]
    assert len(denied) == alpaca.denied > 0
    assert (denied["value"] > denied["bound"]).all()
    assert (denied["bound"] > 9_000.0).all(), "twice the equity"
    assert frame.loc[frame["denied"] == "", ["bound", "value"]].isna().all(axis=None)


def test_a_run_without_events_has_views_all_the_same():
    data = MarketData((Instrument("SPY"),), (trades([], np.zeros(0), np.zeros(0, np.int64)),))
    result = mdslib.backtest("volume_modulo", data, rules="permissive", limits=None)
    assert len(result.equity_curve()) == len(result.orders_frame()) == 0
    assert result.stats()["round_trips"] == 0
    assert [len(trace.x) for trace in result.plot().data] == [0, 0, 0, 0, 0]
    assert "<table" in result._repr_html_()
