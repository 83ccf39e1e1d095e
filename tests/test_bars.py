"""Bars are stamped at their close, corrected when late news comes, and made of trades exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.bars import MINUTE, SECOND, bars_from_trades, close_stamped, revise_bars, session_stamped
from mdslib.errors import DataError
from mdslib.events import Kind
from mdslib.table import Table, empty, from_columns, trades


def bars(times: list[int], volumes: list[int], instrument: list[int] | None = None) -> Table:
    """Make flat bars at 1.0."""
    flat = dict.fromkeys(("open", "high", "low", "close"), np.ones(len(times)))
    columns = {"ts_event": times, "volume": volumes, "instrument": instrument or [0] * len(times)}
    return from_columns(Kind.BAR, columns | flat)


def test_a_bar_is_stamped_when_it_can_be_known() -> None:
    ours = close_stamped(bars([0, MINUTE], [1, 2]), MINUTE)
    assert ours["ts_event"].tolist() == [MINUTE, 2 * MINUTE]
    assert ours["ts_init"].tolist() == [MINUTE, 2 * MINUTE]


MIDNIGHT = 1_381_190_400 * SECOND  # 2013-10-08 in UTC


def test_a_daily_bar_is_stamped_at_its_sessions_close_half_days_included() -> None:
    half = 1_385_683_200 * SECOND  # 2013-11-29 in UTC
    ours = session_stamped(bars([MIDNIGHT, MIDNIGHT + 4 * 3600 * SECOND, half], [1, 2, 3], [0, 1, 0]))
    four, one = MIDNIGHT + 20 * 3600 * SECOND, half + 18 * 3600 * SECOND
    assert ours["ts_event"].tolist() == ours["ts_init"].tolist() == [four, four, one]
    assert ours["volume"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("stamp", "said"),
    [
        (MIDNIGHT + SECOND, "at midnight of its day, received 2013-10-08T00:00:01 UTC"),
        (MIDNIGHT + 20 * 3600 * SECOND, "bars of another length go through close_stamped"),
        (MIDNIGHT + 4 * 24 * 3600 * SECOND, r"on which NYSE trades, received 2013-10-12T00:00:00 UTC \(Saturday\)"),
    ],
)
def test_a_stamp_that_names_no_session_is_refused(stamp: int, said: str) -> None:
    with pytest.raises(DataError, match=said):
        session_stamped(bars([stamp], [1]))


def test_only_bars_are_session_stamped() -> None:
    with pytest.raises(DataError, match="session_stamped: rows must be bars, received TRADE"):
        session_stamped(trades([0], [1.0], [1]))


def test_a_noted_receipt_is_kept() -> None:
    venue = bars([0], [1]).replace(ts_init=np.array([MINUTE + 7]))
    assert close_stamped(venue, MINUTE)["ts_init"].tolist() == [MINUTE + 7]


def test_a_correction_replaces_inserts_and_the_last_one_wins() -> None:
    revised = revise_bars(bars([60, 180, 240], [1, 2, 3]), bars([60, 120, 240, 240], [10, 20, 30, 31]))
    assert revised["ts_event"].tolist() == [60, 120, 180, 240]
    assert revised["volume"].tolist() == [10, 20, 2, 31]


def test_a_correction_of_another_instrument_changes_nothing() -> None:
    revised = revise_bars(bars([60, 60], [1, 2], [0, 1]), bars([60], [9], [1]))
    assert revised["volume"].tolist() == [1, 9]


prints = st.lists(
    st.tuples(st.integers(0, 400), st.integers(1, 9), st.integers(0, 500), st.integers(0, 2)), max_size=60
)


@given(prints, st.integers(0, 50))
def test_bars_equal_a_plain_loop(rows: list[tuple[int, int, int, int]], origin: int) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    made: dict[tuple[int, int], list[tuple[float, int]]] = {}
    for ts, price, size, instrument in rows:
        made.setdefault((origin + ((ts - origin) // 60 + 1) * 60, instrument), []).append((float(price), size))
    times, prices, sizes, instruments = ([row[i] for row in rows] for i in range(4))
    table = trades(times, np.array(prices, float), sizes, instrument=instruments)
    result = bars_from_trades(table, 60, origin)
    for row, (key, inside) in enumerate(sorted(made.items())):
        only = [price for price, _ in inside]
        assert (result["ts_event"][row], result["instrument"][row]) == key
        got = [result[name][row] for name in ("open", "high", "low", "close", "volume", "trades")]
        assert got == [only[0], max(only), min(only), only[-1], sum(size for _, size in inside), len(inside)]
    assert len(result) == len(made)
    assert int(result["volume"].sum()) == sum(sizes)


def test_an_empty_minute_gives_no_bar_and_a_trade_on_the_boundary_begins_the_next() -> None:
    result = bars_from_trades(trades([0, MINUTE, 5 * MINUTE], [1.0, 2.0, 3.0], [1, 1, 1]), MINUTE)
    assert result["ts_event"].tolist() == [MINUTE, 2 * MINUTE, 6 * MINUTE]


def test_no_volume_has_no_vwap() -> None:
    assert np.isnan(bars_from_trades(trades([0], [1.0], [0]), SECOND)["vwap"][0])
    assert len(bars_from_trades(empty(Kind.TRADE), SECOND)) == 0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: close_stamped(bars([0], [1]), 0), "interval must be > 0 ns, received 0"),
        (lambda: close_stamped(empty(Kind.TRADE), 1), "rows must be bars, received TRADE"),
        (lambda: revise_bars(empty(Kind.TRADE), empty(Kind.BAR)), "rows must be bars, received TRADE"),
        (lambda: bars_from_trades(empty(Kind.BAR), 1), "rows must be trades, received BAR"),
        (lambda: bars_from_trades(empty(Kind.TRADE), -1), "interval must be > 0 ns, received -1"),
    ],
)
def test_bad_input_is_named(call: object, text: str) -> None:
    with pytest.raises(DataError, match=text):
        call()
