"""Tables keep the vocabulary's names and dtypes, and every form of an event is equal to every other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib import calendar
from mdslib.errors import DataError
from mdslib.events import RECORD, SCHEMAS, Kind
from mdslib.instruments import Instrument
from mdslib.table import MarketData, Table, empty, from_columns, merge, trades

KINDS = sorted(SCHEMAS)


@st.composite
def tables(draw: st.DrawFn, kind: Kind | None = None) -> Table:
    """Any table: every bit pattern of every dtype, nan and infinities included, in order of time."""
    kind = kind or draw(st.sampled_from(KINDS))
    length = draw(st.integers(0, 12))
    seed = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    columns = {}
    for name, field in SCHEMAS[kind].items():
        dtype = np.dtype(field.dtype)
        columns[name] = np.frombuffer(seed.bytes(length * dtype.itemsize), dtype).copy()
    columns["ts_event"] = np.sort(columns["ts_event"] >> 1)
    columns["ts_init"] >>= 1
    return Table(kind, columns)


@given(tables())
def test_records_and_back_keep_every_bit(table: Table) -> None:
    records = table.to_records()
    assert records.dtype == RECORD
    assert (records["kind"] == int(table.kind)).all()
    assert Table.from_records(records, table.kind).equals(table)


@given(tables())
def test_arrow_and_back_keep_every_bit(table: Table) -> None:
    assert Table.from_arrow(table.to_arrow()).equals(table)


@given(tables())
def test_pandas_and_back_keep_every_bit(table: Table) -> None:
    assert Table.from_pandas(table.to_pandas(), table.kind).equals(table)


@given(st.lists(tables(Kind.TRADE), min_size=1, max_size=4))
def test_merge_equals_sorting_by_time_then_table_then_row(several: list[Table]) -> None:
    rows = [(int(ts), rank, row) for rank, t in enumerate(several) for row, ts in enumerate(t["ts_event"])]
    expected = [int(several[rank]["trade_id"][row]) for _, rank, row in sorted(rows)]
    assert merge(several)["trade_id"].tolist() == expected


@given(tables(Kind.TRADE), tables(Kind.QUOTE), tables(Kind.BAR))
def test_merged_order_is_time_then_table_then_row(first: Table, second: Table, third: Table) -> None:
    parts = [t.replace(instrument=np.zeros(len(t), "<u2")) for t in (second, first, third)]
    kinds, rows = MarketData((Instrument("SPY"),), tuple(parts)).order
    expected = sorted((int(ts), rank, row) for rank, t in enumerate(parts) for row, ts in enumerate(t["ts_event"]))
    assert list(zip(kinds.tolist(), rows.tolist(), strict=True)) == [
        (int(parts[rank].kind), row) for _, rank, row in expected
    ]
    assert kinds.dtype == np.uint8
    assert rows.dtype == np.int64


def test_columns_have_one_layout_whatever_they_were_made_from() -> None:
    strided = np.arange(6, dtype="<i8")[::2]
    frozen = np.ones(3)
    frozen.flags.writeable = False
    table = trades(strided, frozen, [1, 2, 3])
    for column in table.columns.values():
        assert column.flags.c_contiguous
        assert column.flags.writeable
        assert column.flags.aligned


def test_slices_are_views_and_between_is_half_open() -> None:
    table = trades([10, 20, 20, 30], [1.0, 2.0, 3.0, 4.0], [1, 1, 1, 1])
    part = table.between(20, 30)
    assert part["price"].tolist() == [2.0, 3.0]
    assert np.shares_memory(part["price"], table["price"])
    assert np.shares_memory(table.slice(1, 3)["ts_event"], table["ts_event"])
    assert len(table.between(31, 40)) == 0


def test_conversions_that_promise_no_copy_make_none() -> None:
    table = trades(np.arange(5), np.ones(5), np.arange(5))
    frame = table.to_pandas()
    assert np.shares_memory(frame["price"].to_numpy(), table["price"])
    address = table.to_arrow()["price"].chunk(0).buffers()[1].address
    assert address == table["price"].ctypes.data


def test_pandas_index_is_utc_in_ns() -> None:
    frame = trades([1_381_239_000_000_000_001], [1.0], [1]).to_pandas()
    assert str(frame.index.dtype) == "datetime64[ns, UTC]"
    assert frame.index[0].nanosecond == 1
    assert frame.index[0].tz_convert("America/New_York").isoformat() == "2013-10-08T09:30:00.000000001-04:00"


def test_from_pandas_converts_zones_and_units_and_fills_defaults() -> None:
    index = pd.DatetimeIndex(["2013-10-08 09:30"], tz="America/New_York").as_unit("s")
    table = Table.from_pandas(pd.DataFrame({"price": [1.5], "size": [5]}, index=index), Kind.TRADE)
    assert table["ts_event"].tolist() == [1_381_239_000_000_000_000]
    assert table["ts_init"].tolist() == table["ts_event"].tolist()
    assert table["trade_id"].tolist() == [0]


def test_records_take_an_instrument_given_from_outside() -> None:
    assert trades([1], [1.0], [1]).to_records(instrument=7)["instrument"].tolist() == [7]


NAIVE = pd.DataFrame({"price": [1.0], "size": [1]}, index=pd.DatetimeIndex(["2013-10-08"]))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: trades([2, 1], [1.0, 1.0], [1, 1]), "ts_event must not run backwards, received 1 after 2 at row 1"),
        (lambda: trades([1], [1.0], [1.5]), r"column 'size' must fit int64, received .*1.5.* at row 0"),
        (lambda: trades([1, 2], [1.0], [1, 2]), "column 'price' must have 2 rows like ts_event, received 1"),
        (lambda: trades([1], [1.0], [1], pricee=[1]), "column 'pricee' is not in the schema. Did you mean 'price'"),
        (lambda: trades([1], ["x"], [1]), "column 'price' must be numbers, received <U1"),
        (lambda: trades([1], [1.0], [1])["prise"], "a table of TRADE has no column 'prise'. Did you mean 'price'"),
        (lambda: from_columns(Kind.TRADE, {"ts_event": [1], "size": [1]}), r"'price' \(currency\) is missing"),
        (lambda: from_columns(Kind.TRADE, {"price": [1.0]}), "column 'ts_event' .* is missing"),
        (lambda: Table(Kind.CONTROL, {}), "Table.kind must have columns"),
        (lambda: Table(Kind.TRADE, {"price": np.ones(1)}), "column 'ts_event' is missing"),
        (lambda: Table(Kind.TRADE, {**empty(Kind.TRADE).columns, "x": np.ones(0)}), "'x' is not in its schema"),
        (
            lambda: Table(Kind.TRADE, {**empty(Kind.TRADE).columns, "size": np.ones(0)}),
            "'size' must be a one-dimensional array of int64, received float64",
        ),
        (lambda: Table.from_pandas(NAIVE, Kind.TRADE), "the index must be times with a time zone"),
        (lambda: merge([]), "at least one table"),
        (lambda: merge([empty(Kind.TRADE), empty(Kind.BAR)]), "must be of one kind, received BAR, TRADE"),
        (lambda: MarketData((), (trades([1], [1.0], [1]),)), "'instrument' must be below 0"),
        (lambda: MarketData((), (empty(Kind.BAR), empty(Kind.BAR))), "at most one table a kind, received BAR, BAR"),
    ],
)
def test_bad_input_is_named(make: object, text: str) -> None:
    with pytest.raises(DataError, match=text):
        make()


def test_arrow_nulls_and_unknown_rows_are_refused() -> None:
    import pyarrow as pa

    with pytest.raises(DataError, match="must say what its rows are"):
        Table.from_arrow(pa.table({"ts_event": [1]}))
    with pytest.raises(DataError, match="column 'price' must have no nulls, received 1"):
        Table.from_arrow(pa.table({"ts_event": [1], "price": [None]}), Kind.TRADE)


def test_a_column_that_was_not_loaded_says_so() -> None:
    columns = empty(Kind.TRADE).columns
    partial = Table(Kind.TRADE, {name: columns[name] for name in ("ts_event", "ts_init", "instrument", "price")})
    with pytest.raises(DataError, match="column 'size' was not loaded; add it to `columns`"):
        partial["size"]


def test_market_data_answers_by_kind_and_shows_itself() -> None:
    data = MarketData((Instrument("SPY"),), (trades([1, 5], [1.0, 2.0], [1, 1]), empty(Kind.QUOTE)))
    assert len(data) == 2
    assert data.trades is data.tables[0]
    assert data.quotes is data.tables[1]
    assert data.bars is None
    assert repr(data) == "MarketData(SPY: 2 trades, 0 quotes; no session)"
    assert "2 trades" in data._repr_html_()
    assert len(data.between(2, 6)) == 1
    assert data.to_pandas()["kind"].tolist() == ["trade", "trade"]


def test_a_table_shows_its_kind_its_length_and_its_span() -> None:
    table = trades([1_381_239_000_000_000_000, 1_381_239_000_000_000_001], [1.0, 2.0], [1, 1])
    assert repr(table) == ("Table(TRADE, 2 rows, 2013-10-08T13:30:00.000000000 to 2013-10-08T13:30:00.000000001 UTC)")
    assert repr(empty(Kind.BAR)) == "Table(BAR, 0 rows)"
    assert "2013-10-08 13:30:00" in table._repr_html_()


def test_chosen_rows_are_copies_and_unequal_tables_are_told_apart() -> None:
    table = trades([1, 2, 3], [1.0, 2.0, 3.0], [1, 1, 1])
    part = table.take(np.array([True, False, True]))
    assert part["price"].tolist() == [1.0, 3.0]
    assert not np.shares_memory(part["price"], table["price"])
    assert not part.equals(table)
    assert not table.equals(table.replace(price=table["price"] + 1))


def test_market_data_of_several_sessions_says_so_and_no_data_is_no_error() -> None:
    sessions = calendar.sessions("2013-10-08", "2013-10-09")
    data = MarketData((Instrument("SPY"), Instrument("BAC")), (), sessions)
    assert repr(data) == "MarketData(SPY, BAC: no events; 2013-10-08 to 2013-10-09 (2 sessions))"
    assert len(data.order[0]) == 0
    assert len(data.to_pandas()) == 0
    assert data.between(sessions[0].open, sessions[0].close).sessions == sessions[:1]
