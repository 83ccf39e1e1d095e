"""The Parquet store gives back every bit, stays small, replaces atomically, and says what it has."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdslib.errors import DataError
from mdslib.events import Kind
from mdslib.instruments import Instrument, parse_instrument
from mdslib.protocols import Store
from mdslib.store import parquetparts
from mdslib.store.encoding import decode, encode
from mdslib.store.fileformat import schema_of
from mdslib.store.parquet import ParquetStore
from mdslib.store.tickstore import Source
from mdslib.table import Table, empty, from_columns, trades
from tests.test_table import tables

SPY = Instrument("SPY")
DAY = datetime.date(2013, 10, 8)
OPEN = 1_381_239_000_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> ParquetStore:
    """An empty store."""
    return ParquetStore(tmp_path / "store")


def bars(times: list[int], volume: int) -> Table:
    """Make flat bars at 1.0."""
    flat = dict.fromkeys(("open", "high", "low", "close"), np.ones(len(times)))
    return from_columns(Kind.BAR, {"ts_event": times, "volume": [volume] * len(times)} | flat)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(tables())
def test_whatever_bits_are_written_come_back(store: ParquetStore, table: Table) -> None:
    table = table.replace(instrument=np.zeros(len(table), "<u2")) if "instrument" in table.columns else table
    store.write(table, SPY, DAY)
    assert store.read(SPY, table.kind, DAY).equals(table)


decimals = st.builds(lambda i, digits: i / 10.0**digits, st.integers(0, 10**12), st.sampled_from([0, 2, 3, 4, 8, 9]))
odd = st.sampled_from([0.1 + 0.2, 1 / 3, -0.0, float("nan"), float("inf"), 1e300, 5e-324, -1.25])


@given(st.lists(st.one_of(decimals, odd), max_size=20))
def test_every_price_survives_its_encoding_bit_for_bit(prices: list[float]) -> None:
    table = trades(np.arange(len(prices)), np.array(prices, float), np.ones(len(prices), "<i8"))
    encoded = encode(table, open_always=True)
    back = decode(Kind.TRADE, len(table), encoded.arrow, encoded.layout, set(table.columns))
    assert back.equals(table)


@pytest.mark.parametrize(
    ("prices", "tick", "stored"),
    [
        ([165.66, 165.67], 0.01, {"stored": "decimal", "digits": 4}),
        ([165.66, 165.6601], 0.01, {"stored": "decimal", "digits": 4}),  # a sub-penny print
        ([165.66, 165.660001], 0.01, {"stored": "decimal", "digits": 6}),
        ([np.nan, 0.000000001], 1e-9, {"stored": "decimal", "digits": 9}),
        ([60_000.5, 60_000.25], 1e-9, {"stored": "decimal", "digits": 9}),
        ([60_000_000.5, 60_000_000.25], 1e-9, {"stored": "decimal", "digits": 8}),
        ([1 / 3, 2 / 3], 0.01, {"stored": "float"}),
    ],
)
def test_prices_have_the_usual_digits_unless_more_are_needed(
    prices: list[float], tick: float, stored: dict[str, object]
) -> None:
    layout = encode(trades([1, 2], prices, [1, 1]), tick).layout["price"]
    assert stored.items() <= layout.items()


@pytest.mark.parametrize(
    ("symbol", "step", "stored", "unit"),
    [
        ("kraken:XBT/USD", 1_000, "microseconds", "us"),
        ("kraken:XBT/USD", 1_001, "timestamp", "ns"),
        ("SPY", 1_000, "timestamp", "ns"),  # its feed counts in ns, so days of one unit can be read together
    ],
)
def test_times_of_a_market_that_never_closes_are_microseconds_where_all_are_whole(
    store: ParquetStore, symbol: str, step: int, stored: str, unit: str
) -> None:
    whose, table = parse_instrument(symbol), trades([OPEN, OPEN + step], [1.0, 2.0], [1, 2])
    store.write(table, whose, DAY)
    assert store.describe(whose, Kind.TRADE, DAY)["columns"]["ts_event"]["stored"] == stored
    assert (
        str(pq.read_schema(next(store.root.rglob("part.parquet"))).field("ts_event").type)
        == f"timestamp[{unit}, tz=UTC]"
    )
    assert store.read(whose, Kind.TRADE, DAY).equals(table)


def test_columns_that_never_change_cost_nothing(store: ParquetStore) -> None:
    store.write(trades([OPEN, OPEN + 10**6], [1.0, 2.0], [1, 2]), SPY, DAY)
    schema = pq.read_schema(next(store.root.rglob("part.parquet")))
    assert schema.names == ["ts_event", "price", "size"]
    assert str(schema.field("ts_event").type) == "timestamp[ns, tz=UTC]"
    assert str(schema.field("price").type) == "decimal128(18, 4)"


def test_other_tools_read_the_file_as_it_lies(store: ParquetStore) -> None:
    store.write(trades([OPEN, OPEN + 10**6], [165.66, 165.67], [1, 2]), SPY, DAY)
    frame = pq.read_table(next(store.root.rglob("part.parquet"))).to_pandas()
    assert [float(price) for price in frame["price"]] == [165.66, 165.67]
    assert frame["ts_event"].iloc[0].isoformat() == "2013-10-08T13:30:00+00:00"


def test_many_days_are_read_as_one_table(store: ParquetStore) -> None:
    for day, price, step in ((DAY, 165.66, 10**6), (datetime.date(2013, 10, 9), 165.6601, 1)):
        store.write(trades([OPEN, OPEN + step], [price, price + 0.01], [1, 2]), SPY, day)
    table = pq.read_table(store.root, partitioning="hive")
    assert table.num_rows == 4
    assert table["symbol"].to_pylist() == ["SPY"] * 4


def test_metadata_says_what_whence_and_in_which_units(store: ParquetStore) -> None:
    store.write(trades([OPEN], [1.0], [1]), SPY, DAY, source=[Source("a.zip", "00ff")])
    found = store.describe(SPY, Kind.TRADE, DAY)
    assert found["source"] == [{"name": "a.zip", "sha256": "00ff"}]
    assert found["instrument"] == {
        "symbol": "SPY",
        "venue": "alpaca",
        "tick": 0.01,
        "lot": 1.0,
        "currency": "USD",
        "session": "NYSE",
        "shortable": True,
        "fractionable": False,
    }
    assert (found["rows"], found["first"], found["last"]) == (1, OPEN, OPEN)
    assert found["columns"]["ts_event"]["unit"] == "ns UTC, venue"
    assert found["mdslib"]


def test_partitions_are_named_and_a_slash_is_escaped(store: ParquetStore) -> None:
    pair = parse_instrument("BTC/USD")
    store.write(trades([OPEN], [60_000.5], [12_345_678_901]), pair, DAY)
    (file,) = store.root.rglob("part.parquet")
    assert file.relative_to(store.root).parent.as_posix() == "kind=trade/venue=alpaca/symbol=BTC%2FUSD/date=2013-10-08"
    assert store.list()[0]["symbol"] == "BTC/USD"
    assert store.read(pair, Kind.TRADE, DAY)["size"].tolist() == [12_345_678_901]
    assert store.instrument(Instrument("BTC/USD"), Kind.TRADE) == pair


def test_writing_replaces_the_day_and_leaves_no_partial_file(store: ParquetStore) -> None:
    for price in (1.0, 2.0):
        store.write(trades([OPEN], [price], [1]), SPY, DAY)
    assert store.read(SPY, Kind.TRADE, DAY)["price"].tolist() == [2.0]
    assert [path.name for path in store.root.rglob("*") if path.is_file()] == ["part.parquet"]


def test_a_full_disk_leaves_what_was_there(store: ParquetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(trades([OPEN], [1.0], [1]), SPY, DAY)

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(DataError, match=r"trade of SPY \(date=2013-10-08\) can't be written: No space left on device"):
        store.write(trades([OPEN], [2.0], [1]), SPY, DAY)
    assert store.read(SPY, Kind.TRADE, DAY)["price"].tolist() == [1.0]
    assert len(list(store.root.rglob("*artial"))) == 0


def test_a_store_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"can't be written: Not a directory; .* choose another --store"):
        ParquetStore(tmp_path / "file").write(trades([OPEN], [1.0], [1]), SPY, DAY)


def test_it_is_a_store_by_the_protocol(store: ParquetStore) -> None:
    seam: Store = store
    seam.write(trades([OPEN], [1.0], [1]), SPY, DAY)
    assert len(seam.read(SPY, Kind.TRADE, DAY)) == len(seam.list()) == 1


def test_a_damaged_file_is_named(store: ParquetStore) -> None:
    store.write(trades([OPEN], [1.0], [1]), SPY, DAY)
    (file,) = store.root.rglob("part.parquet")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"part.parquet can't be read: .*; import that day again, which replaces it"):
        store.read(SPY, Kind.TRADE, DAY)
    with pytest.raises(DataError, match="can't be read"):
        store.list()


def rewritten(store: ParquetStore, **changes: Any) -> None:
    """Store a day, and let its file say something else of itself; None takes a word out."""
    store.write(trades([OPEN, OPEN + 1], [1.0, 2.0], [1, 2]), SPY, DAY)
    (file,) = store.root.rglob("part.parquet")
    table = pq.read_table(file)
    told = {k: v for k, v in (json.loads(table.schema.metadata[b"mdslib"]) | changes).items() if v is not None}
    pq.write_table(table.replace_schema_metadata({b"mdslib": json.dumps(told).encode()}), file)


SCHEMA = schema_of(Kind.TRADE)
OTHERS = [
    ({"format": 9, "mdslib": "7.1"}, "must have format 2, received format 9, written by mdslib 7.1; import that day"),
    ({"format": 1, "schema": None, "units": None}, "must have format 2, received format 1, written by mdslib"),
    ({"format": None, "mdslib": None}, "must have format 2, received format unsaid, written by an unknown version"),
    (
        {"units": {"time": "s UTC", "price": "currency", "size": "lots"}},
        "must have units time in ns UTC, price in currency, size in lots, received time in s UTC, price in currency",
    ),
    ({"schema": SCHEMA | {"size": "<f8"}}, "must have column size of type <i8, received type <f8"),
    ({"schema": {k: v for k, v in SCHEMA.items() if k != "exchange"}}, "column exchange of type u1, received none"),
    ({"schema": SCHEMA | {"mood": "u1"}}, "must have no column mood, received type u1"),
]


@pytest.mark.parametrize(("changes", "said"), OTHERS)
def test_a_file_of_another_format_schema_or_unit_is_refused_and_never_read(
    changes: dict[str, Any], said: str, store: ParquetStore
) -> None:
    rewritten(store, **changes)
    for look in (lambda: store.read(SPY, Kind.TRADE, DAY), store.list, lambda: store.instrument(SPY, Kind.TRADE)):
        with pytest.raises(DataError) as error:
            look()
        assert str(error.value).startswith(f"stored file {store.root}")
        assert said in str(error.value)


def test_importing_the_day_again_replaces_a_file_of_another_format(store: ParquetStore) -> None:
    rewritten(store, format=1)
    store.write(trades([OPEN], [3.0], [1]), SPY, DAY)
    assert store.read(SPY, Kind.TRADE, DAY)["price"].tolist() == [3.0]


@pytest.mark.parametrize("changes", [{"rows": 3}, {"first": OPEN // 10**9}, {"last": OPEN + 2}])
def test_a_file_that_does_not_hold_what_it_says_is_refused(changes: dict[str, int], store: ParquetStore) -> None:
    rewritten(store, **changes)
    with pytest.raises(DataError, match=r"must hold \d rows from \d+ to \d+ ns, received 2 from \d+ to \d+; import"):
        store.read(SPY, Kind.TRADE, DAY)


def test_a_file_of_another_writer_is_refused(store: ParquetStore) -> None:
    store.write(trades([OPEN], [1.0], [1]), SPY, DAY)
    (file,) = store.root.rglob("part.parquet")
    pq.write_table(pq.read_table(file).replace_schema_metadata({}), file)
    with pytest.raises(DataError, match="was not written by mdslib"):
        store.read(SPY, Kind.TRADE, DAY)


def test_what_is_not_there_names_what_is(store: ParquetStore) -> None:
    with pytest.raises(DataError, match="It is empty: import data with `mds import`"):
        store.read(SPY, Kind.TRADE, DAY)
    store.write(trades([OPEN], [1.0], [1]), SPY, DAY)
    with pytest.raises(DataError, match=r"no trade of SPZ on 2013-10-08: the symbol is not there. Did you mean 'SPY'"):
        store.read(Instrument("SPZ"), Kind.TRADE, DAY)
    with pytest.raises(DataError, match=r"on 2013-10-09. Nearest: 2013-10-08 \(1 stored in all\)"):
        store.read(SPY, Kind.TRADE, datetime.date(2013, 10, 9))
    with pytest.raises(DataError, match=r"on 2013-10-12: NYSE is closed that day \(Saturday\). Nearest: 2013-10-08"):
        store.read(SPY, Kind.TRADE, datetime.date(2013, 10, 12))
    with pytest.raises(DataError, match=r"has no quote of SPY on 2013-10-08. There are only: trade"):
        store.read(SPY, Kind.QUOTE, DAY)


def test_only_the_columns_asked_for_are_read(store: ParquetStore) -> None:
    store.write(trades([OPEN, OPEN + 1], [1.0, 2.0], [1, 2]), SPY, DAY)
    part = store.read(SPY, Kind.TRADE, DAY, ["size"])
    assert list(part.columns) == ["ts_event", "ts_init", "instrument", "size"]
    with pytest.raises(DataError, match=r"trades have no column 'sise'. Did you mean 'size'"):
        store.read(SPY, Kind.TRADE, DAY, ["sise"])


def test_list_has_one_row_a_part(store: ParquetStore) -> None:
    store.write(trades([OPEN, OPEN + 7], [1.0, 2.0], [1, 2]), SPY, DAY)
    store.write(empty(Kind.QUOTE), SPY, DAY)
    quotes, found = store.list()
    assert (quotes["kind"], quotes["rows"], quotes["first"]) == ("quote", 0, None)
    size = found.pop("bytes")
    assert isinstance(size, int)
    assert size > 100
    assert found == {
        "venue": "alpaca",
        "symbol": "SPY",
        "kind": "trade",
        "date": "2013-10-08",
        "rows": 2,
        "first": OPEN,
        "last": OPEN + 7,
    }


def test_bars_of_a_day_lie_in_one_file_a_year_and_one_day_can_be_replaced(store: ParquetStore) -> None:
    closes = [1_381_176_000 * 10**9, 1_381_262_400 * 10**9, 1_381_348_800 * 10**9]  # 7, 8, 9 October, 16:00
    store.write_year(bars(closes, 5), SPY, 2013, "1d")
    store.write(bars(closes[1:2], 9), SPY, DAY, interval="1d")
    assert [path.parent.name for path in store.root.rglob("part.parquet")] == ["year=2013"]
    assert store.read_year(SPY, DAY, "1d")["volume"].tolist() == [5, 9, 5]
    assert store.read(SPY, Kind.BAR, DAY, interval="1d")["volume"].tolist() == [9]
    with pytest.raises(DataError, match="has no bar_1d of SPY on 2013-10-10"):
        store.read(SPY, Kind.BAR, datetime.date(2013, 10, 10), interval="1d")
    with pytest.raises(DataError, match="interval must be one of 1d, 1h, received '1m'"):
        store.write_year(bars(closes, 5), SPY, 2013, "1m")


def test_a_long_day_is_decoded_by_several_threads_and_comes_back(tmp_path: Path) -> None:
    store = ParquetStore(tmp_path, chunk_rows=1_000)
    count = np.arange(12_345)
    price = np.where(count % 7 == 0, np.nan, count / 100.0)
    table = trades(OPEN + count * 1_000, price, count % 50, trade_id=count * 3)
    store.write(table, SPY, DAY)
    assert pq.ParquetFile(next(tmp_path.rglob("part.parquet"))).num_row_groups == 13
    assert store.read(SPY, Kind.TRADE, DAY).equals(table)
    assert store.read(SPY, Kind.TRADE, DAY, ["size"])["size"].tolist() == table["size"].tolist()


def test_each_column_gets_the_encoding_that_is_smallest_for_it(tmp_path: Path) -> None:
    store = ParquetStore(tmp_path)
    random = np.random.default_rng(1)
    ids = random.choice([5, 7**20], 20_000)  # they do not rise, so deltas of them are no smaller
    store.write(
        trades(OPEN + np.arange(20_000) * 10**6, np.ones(20_000), random.integers(1, 9, 20_000), trade_id=ids), SPY, DAY
    )
    columns = pq.ParquetFile(next(tmp_path.rglob("part.parquet"))).metadata.row_group(0)
    found = {columns.column(n).path_in_schema: columns.column(n).encodings for n in range(columns.num_columns)}
    assert "DELTA_BINARY_PACKED" in found["ts_event"]
    assert "DELTA_BINARY_PACKED" not in found["trade_id"]
    assert "RLE_DICTIONARY" in found["size"]


def test_a_day_that_is_replaced_while_it_is_read_is_read_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ParquetStore(tmp_path, chunk_rows=1_000)
    count = np.arange(9_000)
    table = trades(OPEN + count, count / 100.0, count)
    store.write(table, SPY, DAY)
    fill = parquetparts._fill

    def slow(*arguments: Any) -> None:
        """Stand for a compaction that comes between the first look at a file and its rows."""
        store.write(trades(OPEN + count, count / 50.0, count), SPY, DAY)
        fill(*arguments)

    monkeypatch.setattr(parquetparts, "_fill", slow)
    assert store.read(SPY, Kind.TRADE, DAY).equals(table)
