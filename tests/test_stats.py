"""Each statistic against a hand-worked example and a slow plain reference."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdslib import curve as curves
from mdslib import stats
from mdslib.account import apply_fill, equity, new_account
from mdslib.curve import Fills

MINUTE = 60_000_000_000


def fills_of(*rows: tuple[int, float, float, float, int]) -> Fills:
    """Return fills of (time, qty, px, fee, instrument)."""
    time, qty, px, fee, instrument = zip(*rows, strict=True) if rows else ((),) * 5
    return Fills(
        np.array(time, np.int64), np.array(qty, float), np.array(px, float), np.array(fee, float),
        np.array(instrument, np.int64),
    )  # fmt: skip


NO_FILLS = fills_of()
price = st.integers(100, 9_999).map(lambda cents: cents / 100.0)
fill_rows = st.lists(
    st.tuples(st.integers(0, 50), st.sampled_from([-3.0, -1.0, 1.0, 2.0, 5.0]), price, price, st.integers(0, 1)),
    max_size=30,
).map(sorted)


# ---------------------------------------------------------------- samples
def test_samples_are_an_even_grid_with_both_ends_of_each_span():
    times = curves.sample_times([(30 * MINUTE + 7, 50 * MINUTE), (90 * MINUTE, 95 * MINUTE + 3)], most=50)
    assert times[0] == 30 * MINUTE + 7
    assert times[-1] == 95 * MINUTE + 3
    inside = times[(times > 30 * MINUTE + 7) & (times < 50 * MINUTE)]
    assert (inside % (30 * 1_000_000_000) == 0).all()
    assert not ((times > 50 * MINUTE) & (times < 90 * MINUTE)).any()


@pytest.mark.parametrize(("days", "seconds"), [(1, 15), (5, 60), (250, 3_600)])
def test_a_longer_run_is_sampled_more_coarsely(days, seconds):
    spans = [(d * 86_400 * 10**9, (d * 86_400 + 23_400) * 10**9) for d in range(days)]
    times = curves.sample_times(spans)
    assert len(times) <= curves.MOST_SAMPLES + 3 * days
    assert times[2] - times[1] == seconds * 10**9


def test_no_span_has_no_samples():
    assert curves.sample_times([]).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 20), st.one_of(price, st.just(math.nan))), max_size=20).map(sorted))
def test_last_prices_equal_a_plain_scan(rows):
    times, prices = np.array([t for t, _ in rows], np.int64), np.array([p for _, p in rows], float)
    at = np.arange(-1, 22)
    known = [[p for t, p in rows if t <= a and p == p] for a in at]
    # sorted() puts nan anywhere among equal times, so the plain scan must follow the rows' order too
    assert curves.last_prices(times, prices, at).tolist() == pytest.approx(
        [found[-1] if found else math.nan for found in known], nan_ok=True
    )


# ---------------------------------------------------------------- the curve
def test_curve_of_a_hand_worked_day():
    # Buy 10 at 100 for 1; at 104 it is worth 40 more; sell 4 at 105 for 0.5; the other 6 end at 101.
    fills = fills_of((10, 10.0, 100.0, 1.0, 0), (30, -4.0, 105.0, 0.5, 0))
    curve = curves.equity_curve(
        np.array([0, 10, 20, 30, 40]), fills, np.array([[99.0], [100.0], [104.0], [105.0], [101.0]]), 5_000.0
    )
    assert curve.cash.tolist() == [5_000.0, 3_999.0, 3_999.0, 4_418.5, 4_418.5]
    assert curve.position[:, 0].tolist() == [0.0, 10.0, 10.0, 6.0, 6.0]
    assert curve.equity.tolist() == [5_000.0, 4_999.0, 5_039.0, 5_048.5, 5_024.5]


def test_a_position_without_a_price_counts_at_its_average_entry():
    fills = fills_of((1, 1.0, 10.0, 0.0, 0), (2, 3.0, 14.0, 0.0, 0))
    curve = curves.equity_curve(np.array([1, 2]), fills, np.full((2, 1), np.nan), 100.0)
    assert curve.equity.tolist() == [100.0, 100.0]


@settings(deadline=None)
@given(fill_rows, st.lists(price, min_size=2, max_size=2))
def test_the_curve_equals_the_account_at_every_time_bit_for_bit(rows, last):
    fills, at = fills_of(*rows), np.arange(52)
    curve = curves.equity_curve(at, fills, np.tile(last, (52, 1)), 1_000.0)
    account = new_account(2, 1_000.0)
    account["last_px"] = last
    row = 0
    for t in at:
        while row < len(rows) and rows[row][0] <= t:
            _, qty, px, fee, k = rows[row]
            apply_fill(account, k, qty, px, fee)
            row += 1
        assert curve.equity[t] == equity(account)
        assert curve.position[t].tolist() == account["position"].tolist()


# ---------------------------------------------------------------- round trips
def test_a_trip_runs_from_flat_to_flat_and_pays_all_its_fees():
    fills = fills_of((1, 2.0, 10.0, 0.5, 0), (2, 3.0, 11.0, 0.5, 0), (3, -5.0, 12.0, 1.0, 0), (4, 1.0, 12.0, 0.1, 0))
    trips = stats.round_trips(fills)
    assert trips.profit.tolist() == [60.0 - 20.0 - 33.0 - 2.0]
    assert (trips.opened.tolist(), trips.closed.tolist()) == ([1], [3])


def test_a_flip_ends_one_trip_and_begins_the_next_with_its_fee_divided():
    fills = fills_of((1, 2.0, 10.0, 0.0, 0), (2, -5.0, 12.0, 1.0, 0), (3, 3.0, 11.0, 0.0, 0))
    trips = stats.round_trips(fills)
    assert trips.profit.tolist() == pytest.approx([2 * 2.0 - 0.4, 3 * 1.0 - 0.6])
    assert (trips.opened.tolist(), trips.closed.tolist()) == ([1, 2], [2, 3])


def test_no_fills_have_no_trips():
    assert len(stats.round_trips(NO_FILLS).profit) == 0


def plain_trips(rows: list[tuple[int, float, float, float, int]], k: int) -> list[float]:
    """Return the profits of an instrument's trips, one unit step at a time in order."""
    found, held, profit = [], 0.0, 0.0
    for _, qty, px, fee, instrument in rows:
        if instrument != k:
            continue
        for part in [-held, held + qty] if held * (held + qty) < 0.0 else [qty]:
            profit -= part * px + fee * abs(part) / abs(qty)
            held += part
            if held == 0.0:
                found.append(profit)
                profit = 0.0
    return found


@given(fill_rows)
def test_trips_equal_a_plain_walk(rows):
    trips = stats.round_trips(fills_of(*rows))
    for k in (0, 1):
        assert trips.profit[trips.instrument == k].tolist() == pytest.approx(plain_trips(rows, k), abs=1e-9)
    assert (np.diff(trips.closed) >= 0).all()


def test_hit_rate_and_average_are_nan_without_trips():
    assert math.isnan(stats.hit_rate(np.zeros(0)))
    assert math.isnan(stats.average_trade(np.zeros(0)))
    assert stats.average_trade(np.array([1.0, -4.0])) == -1.5


# ---------------------------------------------------------------- returns and Sharpe
def test_returns_compound_to_the_whole():
    equity_at_closes = np.array([101.0, 99.0, 120.0])
    returns = stats.period_returns(equity_at_closes, 100.0)
    assert np.prod(1.0 + returns) == pytest.approx(1.2)


def test_a_return_on_nothing_is_nan():
    assert np.isnan(stats.period_returns(np.array([0.0, 10.0]), 100.0)).tolist() == [False, True]


@given(
    st.lists(st.floats(-0.1, 0.1).map(lambda r: round(r, 6)), min_size=2, max_size=20).filter(lambda r: len(set(r)) > 1)
)
def test_sharpe_equals_the_statistics_module(returns):
    plain = statistics.fmean(returns) / statistics.stdev(returns) * math.sqrt(252)
    assert stats.sharpe(np.array(returns)) == pytest.approx(plain, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("returns", [[], [0.01], [0.01, 0.01, 0.01], [0.01, math.nan]])
def test_sharpe_is_nan_where_it_has_no_meaning(returns):
    assert math.isnan(stats.sharpe(np.array(returns)))


# ---------------------------------------------------------------- drawdown
@given(st.lists(st.integers(1, 50).map(float), min_size=1, max_size=30))
def test_drawdown_equals_all_pairs(values):
    curve = np.array(values)
    fall = stats.max_drawdown(np.arange(len(curve)), curve)
    falls = [values[i] - values[j] for i in range(len(values)) for j in range(i, len(values))]
    assert fall.amount == max(falls)
    assert values[fall.peak] - values[fall.trough] == fall.amount
    assert fall.peak <= fall.trough <= fall.end
    if fall.amount > 0.0:
        assert all(v < values[fall.peak] for v in values[fall.peak + 1 : fall.end])
        assert values[fall.end] >= values[fall.peak] or fall.end == len(values) - 1
        assert fall.fraction == fall.amount / values[fall.peak]


def test_a_fall_that_is_not_made_good_lasts_to_the_end():
    fall = stats.max_drawdown(np.array([0, 10, 20, 30]), np.array([5.0, 9.0, 4.0, 6.0]))
    assert (fall.amount, fall.duration) == (5.0, 20)


def test_a_curve_that_only_rises_has_no_fall():
    fall = stats.max_drawdown(np.array([0, 1]), np.array([5.0, 6.0]))
    assert (fall.amount, fall.fraction, fall.duration) == (0.0, 0.0, 0)


def test_an_empty_curve_has_no_known_fall():
    assert math.isnan(stats.max_drawdown(np.zeros(0, np.int64), np.zeros(0)).amount)


def test_a_fall_from_debt_has_no_fraction():
    assert math.isnan(stats.max_drawdown(np.array([0, 1]), np.array([-1.0, -2.0])).fraction)


# ---------------------------------------------------------------- trading
def test_notional_counts_both_sides():
    assert stats.traded_notional(fills_of((1, 2.0, 10.0, 0.0, 0), (2, -3.0, 20.0, 0.0, 1))) == 80.0


def test_turnover_is_nan_without_equity():
    assert math.isnan(stats.turnover(10.0, np.zeros(3)))
    assert math.isnan(stats.turnover(10.0, np.zeros(0)))


def test_time_in_market_counts_any_instrument():
    assert stats.time_in_market(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 0.0]])) == 0.5
    assert math.isnan(stats.time_in_market(np.zeros((0, 1))))


def test_exposure_is_gross_over_equity_and_nan_where_unknown():
    fills = fills_of((1, 10.0, 10.0, 0.0, 0), (1, -5.0, 10.0, 0.0, 1))
    curve = curves.equity_curve(np.array([0, 1]), fills, np.full((2, 2), 10.0), 300.0)
    assert stats.exposure(curve) == pytest.approx((0.0 + 150.0 / 300.0) / 2)
    assert math.isnan(stats.exposure(curve._replace(price=np.full((2, 2), np.nan))))
    assert math.isnan(stats.exposure(curve._replace(equity=np.array([1.0, 0.0]))))


def test_fee_share_is_nan_without_a_profit_before_fees():
    assert stats.fee_share(1.0, 3.0) == 0.25
    assert math.isnan(stats.fee_share(1.0, -1.0))
