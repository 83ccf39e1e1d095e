"""Figures: named traces, counted points, and extremes that survive however much is thinned."""

from __future__ import annotations

import datetime

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib import plot
from mdslib.curve import Fills
from mdslib.plot import Track

SECOND = 1_000_000_000
OPEN = 1_381_239_000 * SECOND  # 2013-10-08 09:30 New York
DAY = 23_400


def fills_of(count: int, seed: int = 0) -> Fills:
    """Return so many fills over a day, two buys for each sell."""
    generator = np.random.default_rng(seed)
    time = OPEN + np.sort(generator.integers(0, DAY * SECOND, count))
    qty = np.where(np.arange(count) % 3 == 2, -5.0, 5.0)
    return Fills(time, qty, generator.uniform(99.0, 101.0, count), np.zeros(count), np.zeros(count, np.int64))


def day(count: int, fills: Fills, **more: str) -> go.Figure:
    generator = np.random.default_rng(1)
    times = OPEN + np.sort(generator.integers(0, DAY * SECOND, count))
    prices = 100.0 + np.cumsum(generator.choice([-0.01, 0.01], count))
    held = Track(fills.time, np.cumsum(fills.qty))
    equity = Track(times[:: max(count // 1_000, 1)], np.full(len(times[:: max(count // 1_000, 1)]), 1e5))
    return plot.figure_day(times, prices, fills, held, equity, "a day", **more)


def points(figure: go.Figure) -> dict[str, int]:
    """Return how many points each trace has, by its name."""
    return {trace.name: len(trace.x) for trace in figure.data}


def titles(figure: go.Figure) -> str:
    return str(figure.layout.title.text)


# ---------------------------------------------------------------- thinning
values = st.lists(st.one_of(st.integers(-50, 50).map(float), st.just(float("nan"))), max_size=200)


@given(values, st.integers(1, 20))
def test_thinning_keeps_first_last_lowest_and_highest(numbers, buckets):
    value, time = np.array(numbers, float), np.arange(len(numbers)) * SECOND
    rows = plot.thinned_rows(time, value, buckets)
    known = value[~np.isnan(value)]
    assert (np.diff(rows) > 0).all()
    assert len(rows) <= 4 * buckets + 4
    if len(known):
        kept = value[rows]
        assert (kept.min(), kept.max()) == (known.min(), known.max())
        assert (kept[0], kept[-1]) == (known[0], known[-1])
    else:
        assert len(rows) == 0


def test_every_stretch_keeps_its_own_extremes():
    generator = np.random.default_rng(3)
    time, value = np.arange(100_000) * SECOND // 10, generator.normal(size=100_000)
    rows = plot.thinned_rows(time, value, 100)
    assert len(rows) <= 400
    # 100,000 even rows in 100 stretches: each is 1,000 rows.
    for part, kept in zip(
        value.reshape(100, 1_000),
        [rows[(rows >= a) & (rows < a + 1_000)] for a in range(0, 100_000, 1_000)],
        strict=True,
    ):
        assert (value[kept].min(), value[kept].max()) == (part.min(), part.max())


def test_a_single_spike_in_a_big_day_survives():
    time = OPEN + np.arange(440_353) * (DAY * SECOND // 440_353)
    value = np.full(440_353, 165.0)
    value[123_456] = 167.51
    rows = plot.thinned_rows(time, value)
    assert len(rows) <= 4_000
    assert 123_456 in rows


def test_nights_take_no_stretches():
    time = np.concatenate([np.arange(50_000), 86_400 + np.arange(50_000)]) * SECOND
    time[50_000:] += 10**6 * SECOND
    rows = plot.thinned_rows(time, np.random.default_rng(0).normal(size=100_000), 1_000)
    assert 1_900 < np.count_nonzero(rows < 50_000) <= 2_000
    assert 1_900 < np.count_nonzero(rows >= 50_000) <= 2_000


def test_few_points_are_all_kept():
    assert plot.thinned_rows(np.arange(3), np.array([1.0, 1.0, 1.0])).tolist() == [0, 1, 2]


# ---------------------------------------------------------------- the day
def test_a_day_has_its_traces_and_every_fill():
    assert points(day(3_000, fills_of(900), symbol="SPY")) == {
        "SPY price": 3_000,
        "SPY buys": 600,
        "SPY sells": 300,
        "SPY position": 900,
        "equity": 1_000,
    }


def test_a_day_of_440_000_trades_is_a_light_figure():
    figure = day(440_353, fills_of(3_602))
    assert points(figure)["price"] <= 4_000
    assert points(figure)["buys"] + points(figure)["sells"] == 3_602
    assert len(figure.to_json()) < 500_000


def test_too_many_fills_are_joined_without_losing_one_and_the_title_says_so():
    fills = fills_of(20_000)
    figure = day(5_000, fills)
    traces = {trace.name: trace for trace in figure.data}
    assert points(figure)["buys"] <= plot.BUCKETS
    for name, chosen in (("buys", fills.qty > 0), ("sells", fills.qty < 0)):
        qty, count = np.array(traces[name].customdata).T
        assert count.sum() == np.count_nonzero(chosen)
        assert qty.sum() == fills.qty[chosen].sum()
        assert (qty * traces[name].y).sum() == pytest.approx((fills.qty * fills.px)[chosen].sum())
    marks = points(figure)["buys"] + points(figure)["sells"]
    assert titles(figure) == f"a day (fills joined in {marks:,} marks)"


def test_the_title_is_plain_where_all_fills_are_drawn():
    assert titles(day(100, fills_of(plot.MOST_FILLS))) == "a day"


def test_rows_share_one_time_axis():
    figure = day(100, fills_of(3))
    assert figure.layout.xaxis.matches == figure.layout.xaxis2.matches == "x3"
    assert [trace.yaxis for trace in figure.data] == ["y", "y", "y", "y2", "y3"]


@pytest.mark.parametrize(("zone", "clock"), [(plot.NEW_YORK, "09:30"), ("UTC", "13:30")])
def test_the_axis_shows_the_exchange_s_own_time(zone, clock):
    figure = plot.figure_day(np.array([OPEN]), np.array([1.0]), fills_of(0), Track(*EMPTY), Track(*EMPTY), zone=zone)
    shown = datetime.datetime.fromtimestamp(figure.data[0].x[0] / 1_000, datetime.UTC)
    assert f"{shown:%H:%M}" == clock
    assert figure.layout.xaxis3.title.text == ("New York time" if zone == plot.NEW_YORK else "UTC time")


def test_the_night_between_sessions_is_cut_out():
    times = np.array([OPEN, OPEN + SECOND, OPEN + 86_400 * SECOND])
    figure = plot.figure_day(times, np.ones(3), fills_of(0), Track(*EMPTY), Track(*EMPTY))
    (cut,) = figure.layout.xaxis.rangebreaks
    assert cut.bounds[1] - cut.bounds[0] == (86_400 - 1) * 1_000


EMPTY = (np.zeros(0, np.int64), np.zeros(0))


def test_a_day_without_anything_is_a_figure_all_the_same():
    figure = plot.figure_day(*EMPTY, fills_of(0), Track(*EMPTY), Track(*EMPTY))
    assert set(points(figure).values()) == {0}


def test_two_instruments_have_a_row_of_prices_each():
    lane = plot.Lane("AAA", Track(np.array([OPEN]), np.ones(1)), fills_of(1), Track(np.array([OPEN]), np.ones(1)))
    figure = plot.figure_lanes([lane, lane._replace(symbol="BBB")], Track(np.array([OPEN]), np.ones(1)))
    axes = {trace.name: trace.yaxis for trace in figure.data}
    assert (axes["AAA price"], axes["BBB price"]) == ("y", "y2")
    assert axes["AAA position"] == axes["BBB position"] == "y3"
    assert axes["equity"] == "y4"


# ---------------------------------------------------------------- decisions, latency, counts
def test_decisions_are_marked_by_fate_and_all_counted_below():
    times = OPEN + np.arange(1_000) * 20 * SECOND
    buys = Track(times[::2], np.ones(500))
    figure = plot.figure_decisions(
        times, np.ones(1_000), {"buy sent": buys, "denied PRICE_COLLAR": Track(times[:1], np.ones(1))}
    )
    assert points(figure)["price"] == 1_000
    assert points(figure)["buy sent"] == 500
    bars = {trace.name: sum(trace.y) for trace in figure.data if trace.type == "bar"}
    assert bars == {"buy sent, a bar": 500, "denied PRICE_COLLAR, a bar": 1}


def test_latency_counts_each_value_once_and_draws_median_and_p99():
    ns = np.arange(1, 100_001) * 1_000
    figure = plot.figure_latency(ns)
    assert [trace.name for trace in figure.data] == ["latency", "p50 50,000.5 µs", "p99 99,000.0 µs"]
    assert sum(figure.data[0].y) == 100_000
    assert titles(figure) == "Decision latency (100,000)"


def test_latency_of_a_single_value_and_of_none():
    assert sum(plot.figure_latency(np.array([0])).data[0].y) == 1
    empty = plot.figure_latency(np.zeros(0, np.int64))
    assert empty.layout.annotations[0].text == "no latencies were measured"


def test_counts_keep_their_order_and_their_zeros():
    (bars,) = plot.figure_counts({"denied": 0, "orders": 3_602}).data
    assert (list(bars.y), list(bars.x), list(bars.text)) == (["denied", "orders"], [0, 3_602], ["0", "3,602"])
