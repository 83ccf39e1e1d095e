"""Importers read the documented format of their source, to the last digit, and name what they can't read."""

from __future__ import annotations

import datetime
import gzip
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import mdslib
from mdslib.cli import run
from mdslib.errors import ConfigError, DataError
from mdslib.events import BookFlag, Kind, unpack_conditions
from mdslib.instruments import Instrument, parse_instrument
from mdslib.store.captured import import_capture
from mdslib.store.compact import compact
from mdslib.store.dbn import import_dbn
from mdslib.store.export import export
from mdslib.store.frames import import_csv, import_frame
from mdslib.store.lobster import import_lobster
from mdslib.store.parquet import ParquetStore
from mdslib.store.tardis import import_tardis
from mdslib.table import trades
from tests.store.tapes import BTC, DAY, MIDNIGHT, made_records, make_tape

OPEN = 1_381_239_000_000_000_000  # 2013-10-08 09:30 in New York
TUESDAY = datetime.date(2013, 10, 8)
EVE, NEW_YEAR = datetime.date(2019, 12, 31), datetime.date(2020, 1, 1)

TARDIS_TRADES = """exchange,symbol,timestamp,local_timestamp,id,side,price,amount
bitmex,XBTUSD,1577836799999000,1577836800010000,abc-1,sell,7185.5,20
bitmex,XBTUSD,1577836801000123,1577836801010456,17,buy,7186,300
"""
TARDIS_QUOTES = """exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount
kraken,XBT/USD,1577836800277000,1577836800318000,0.5,7186.1,7186,1.25000001
kraken,XBT/USD,1577836800300000,1577836800320000,,,7186,2
"""
TARDIS_BOOK = """exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount
deribit,BTC-PERPETUAL,1577836800000000,1577836800100000,true,bid,7000,10
deribit,BTC-PERPETUAL,1577836800000000,1577836800100000,true,ask,7001,20
deribit,BTC-PERPETUAL,1577836800200000,1577836800300000,false,bid,7000,0
deribit,BTC-PERPETUAL,1577836800200000,1577836800300000,false,ask,7001,25
deribit,BTC-PERPETUAL,1577836800300000,1577836800400000,false,ask,7002,5
deribit,BTC-PERPETUAL,1577836900000000,1577836900100000,true,ask,7005,1
"""


@pytest.fixture
def store(tmp_path: Path) -> ParquetStore:
    """An empty store."""
    return ParquetStore(tmp_path / "store")


def test_tardis_trades_are_cut_into_days_and_keep_ids_sides_and_both_times(store: ParquetStore, tmp_path: Path) -> None:
    file = tmp_path / "trades.csv.gz"
    file.write_bytes(gzip.compress(TARDIS_TRADES.encode()))
    days = import_tardis(file, store)
    assert [str(day) for day in days] == [
        "bitmex:XBTUSD 2019-12-31: 1 rows of trade",
        "bitmex:XBTUSD 2020-01-01: 1 rows of trade",
    ]
    first, second = (store.read(parse_instrument("bitmex:XBTUSD"), Kind.TRADE, day) for day in (EVE, NEW_YEAR))
    assert (first["size"].tolist(), first["trade_id"].tolist()) == ([20], [0])  # an id that is no number
    assert (second["trade_id"].tolist(), second["price"].tolist()) == ([17], [7186.0])
    assert second["ts_event"].tolist() == [1_577_836_801_000_123_000]
    assert second["ts_init"].tolist() == [1_577_836_801_010_456_000]
    assert unpack_conditions(int(second["conditions"][0])) == ["b"]
    found = store.describe(parse_instrument("bitmex:XBTUSD"), Kind.TRADE, NEW_YEAR)
    assert found["source"][0]["name"] == "trades.csv.gz"


def test_tardis_quotes_become_lots_and_a_missing_side_is_nan(store: ParquetStore, tmp_path: Path) -> None:
    (tmp_path / "quotes.csv").write_text(TARDIS_QUOTES)
    import_tardis(tmp_path / "quotes.csv", store)
    data = mdslib.load("kraken:XBT/USD", NEW_YEAR, store=store)
    assert data.quotes is not None
    assert data.quotes["bid_size"].tolist() == [125_000_001, 200_000_000]
    assert data.quotes["ask"].tolist()[0] == 7186.1
    assert np.isnan(data.quotes["ask"][1])
    assert data.quotes["ask_size"][1] == 0


def test_tardis_books_get_a_clear_before_an_image_and_the_ends_of_messages(store: ParquetStore, tmp_path: Path) -> None:
    (tmp_path / "book.csv").write_text(TARDIS_BOOK)
    import_tardis(tmp_path / "book.csv", store)
    table = mdslib.load(Instrument("BTC-PERPETUAL", "deribit"), NEW_YEAR, "book_deltas", store).tables[0]
    snap, last, ask, clear = BookFlag.SNAPSHOT, BookFlag.LAST, BookFlag.ASK, BookFlag.CLEAR
    assert table["flags"].tolist() == [
        clear | snap, snap, snap | ask | last, 0, ask | last, ask | last, clear | snap, snap | ask | last,
    ]  # fmt: skip
    assert table["size"].tolist() == [0, 10 * 10**8, 20 * 10**8, 0, 25 * 10**8, 5 * 10**8, 0, 10**8]
    assert np.isnan(table["price"][[0, 6]]).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "must be Tardis's trades, quotes, incremental_book_L2 or book_snapshot, received the columns a"),
        (TARDIS_TRADES.replace("7186,300", "x,300"), "x.csv: must be a CSV with the columns"),
        (TARDIS_TRADES.replace("bitmex,XBTUSD,15778368010", "bitmex,ETHUSD,15778368010"), "must hold one symbol"),
        (TARDIS_TRADES.replace("7185.5,20", "7185.5,20.5"), "data row 1: a size must be a whole count of the lot 1 of"),
        (
            TARDIS_BOOK.replace(",ask,7001,20", ",offer,7001,20"),
            "data row 2: side must be bid or ask, received 'offer'",
        ),
    ],
)
def test_what_is_not_tardis_is_named(text: str, said: str, store: ParquetStore, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError) as error:
        import_tardis(tmp_path / "x.csv", store)
    assert said in str(error.value)
    assert store.list() == []


LOBSTER_MESSAGES = """34200.004241176,1,16113575,18,5853300,1
34200.025551909,4,16113584,18,5853200,1
34200.2,5,0,100,5853250,-1
34200.300000001,3,16113594,18,5853100,1
"""
LOBSTER_BOOK = """5859400,200,5853300,18
5859400,200,5853100,18
5859400,200,5853100,18
9999999999,0,5853000,150
"""


def lobster(folder: Path) -> Path:
    message = folder / "AAPL_2012-06-21_34200000_57600000_message_1.csv"
    message.write_text(LOBSTER_MESSAGES)
    message.with_name(message.name.replace("message", "orderbook")).write_text(LOBSTER_BOOK)
    return message


def test_lobster_executions_are_trades_and_the_best_level_is_quotes(store: ParquetStore, tmp_path: Path) -> None:
    found = import_lobster(lobster(tmp_path), store)
    assert (found.messages, found.executions) == (4, 2)
    data = mdslib.load("lobster:AAPL", "2012-06-21", ["trades", "quotes"], store)
    assert data.trades is not None
    assert data.quotes is not None
    assert data.trades["ts_event"].tolist() == [1_340_285_400_025_551_909, 1_340_285_400_200_000_000]
    assert data.trades["price"].tolist() == [585.32, 585.325]
    assert [unpack_conditions(int(code)) for code in data.trades["conditions"]] == [["s"], ["b", "h"]]
    assert data.quotes["bid"].tolist() == [585.33, 585.31, 585.3]  # the third message changed nothing
    assert np.isnan(data.quotes["ask"][2])


def test_lobster_files_of_two_downloads_and_other_names_are_refused(store: ParquetStore, tmp_path: Path) -> None:
    message = lobster(tmp_path)
    message.with_name(message.name.replace("message", "orderbook")).write_text(LOBSTER_BOOK[:23])
    with pytest.raises(
        DataError, match="must have a row for each of the 4 messages, received 1; the two files are not"
    ):
        import_lobster(message, store)
    with pytest.raises(DataError, match="the name must be like AAPL_2012-06-21"):
        import_lobster(tmp_path / "aapl.csv", store)


def test_real_lobster_messages(shared_data: Path, store: ParquetStore) -> None:
    (message,) = (shared_data / "lobster_aapl").glob("*_message_*")
    found = import_lobster(message, store)
    assert (found.messages, found.executions) == (999, 159)


def dbn_file(path: Path, *records: object) -> Path:
    databento = pytest.importorskip("databento_dbn", reason="the extra 'databento' is not installed")
    interval = SimpleNamespace(start_date=TUESDAY, end_date=TUESDAY + datetime.timedelta(days=1), symbol="5")
    metadata = databento.Metadata(
        dataset="XNAS.ITCH", start=OPEN, stype_in=databento.SType.RAW_SYMBOL, stype_out=databento.SType.INSTRUMENT_ID,
        schema=databento.Schema.MBP_1, symbols=["SPY"], partial=[], not_found=[],
        mappings=[SimpleNamespace(raw_symbol="SPY", intervals=[interval])],
    )  # fmt: skip
    path.write_bytes(metadata.encode() + b"".join(bytes(record) for record in records))  # type: ignore[call-overload]
    return path


def test_databento_trades_quotes_and_bars(store: ParquetStore, tmp_path: Path) -> None:
    databento = pytest.importorskip("databento_dbn", reason="the extra 'databento' is not installed")
    level = databento.BidAskPair(bid_px=165_660_000_000, ask_px=databento.UNDEF_PRICE, bid_sz=3, ask_sz=0)
    trade = databento.TradeMsg(
        2, 5, OPEN, 165_665_000_000, 100, databento.Action.TRADE, databento.Side.ASK, 0, OPEN + 9
    )
    quote = databento.MBP1Msg(
        2, 5, OPEN + 1, 165_660_000_000, 3, databento.Action.ADD, databento.Side.BID, 0, OPEN + 10, levels=level
    )
    bar = databento.OHLCVMsg(databento.RType.OHLCV_1M, 2, 5, OPEN, *[165_000_000_000] * 4, 700)
    file = dbn_file(tmp_path / "x.dbn", trade, quote, bar, trade)
    packed = tmp_path / "x.dbn.zst"
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(file.read_bytes())
    found = import_dbn(packed, store)
    assert sorted(day.kind for day in found.days) == ["bar_1m", "quote", "trade"]
    spy = Instrument("SPY", "XNAS.ITCH")
    rows = store.read(spy, Kind.TRADE, TUESDAY)
    assert (rows["price"].tolist(), rows["size"].tolist()) == ([165.665, 165.665], [100, 100])
    assert unpack_conditions(int(rows["conditions"][0])) == ["s"]
    best = store.read(spy, Kind.QUOTE, TUESDAY)
    assert (best["bid"].tolist(), best["bid_size"].tolist()) == ([165.66], [3])
    assert np.isnan(best["ask"][0])
    assert store.read(spy, Kind.BAR, TUESDAY)["ts_event"].tolist() == [OPEN + 60 * 10**9]  # stamped at its close


def test_a_dbn_file_that_is_none_or_cut_off_is_named(store: ParquetStore, tmp_path: Path) -> None:
    databento = pytest.importorskip("databento_dbn", reason="the extra 'databento' is not installed")
    trade = databento.TradeMsg(2, 5, OPEN, 1, 1, databento.Action.TRADE, databento.Side.ASK, 0, OPEN)
    file = dbn_file(tmp_path / "x.dbn", trade)
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"x.dbn: must "):
        import_dbn(file, store)
    file.write_bytes(b"not dbn at all, not dbn at all")
    with pytest.raises(DataError, match="must be a DBN file, received"):
        import_dbn(file, store)


def test_a_csv_by_a_mapping_of_its_columns(store: ParquetStore, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("px,qty,when,note\n165.67,200,1381239001500,b\n165.66,100,1381239000000,a\n")
    columns = {"ts_event": "when", "price": "px", "size": "qty"}
    (day,) = import_csv(tmp_path / "x.csv", Kind.TRADE, columns, "SPY", store, time="ms")
    assert day.rows == 2
    table = store.read(Instrument("SPY"), Kind.TRADE, TUESDAY)
    assert table["price"].tolist() == [165.66, 165.67]  # in order of time, whatever the file's order is
    assert table["ts_event"].tolist() == [OPEN, OPEN + 1_500_000_000]


@pytest.mark.parametrize(
    ("time", "when"),
    [
        ("s", "1381239000.25"),
        ("us", "1381239000250000"),
        ("ns", "1381239000250000000"),
        ("iso", "2013-10-08T13:30:00.250Z"),
        ("iso", "2013-10-08 09:30:00.25-04:00"),
    ],
)
def test_times_of_a_csv_in_every_unit(time: str, when: str, store: ParquetStore, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"{when},165.66,100\n")
    columns = {"ts_event": "t", "price": "p", "size": "s"}
    import_csv(tmp_path / "x.csv", Kind.TRADE, columns, "SPY", store, time=time, names=["t", "p", "s"])
    assert store.read(Instrument("SPY"), Kind.TRADE, TUESDAY)["ts_event"].tolist() == [OPEN + 250_000_000]


def test_a_mapping_that_does_not_fit_is_named(store: ParquetStore, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("t,p,s\n1381239000,165.66,1.5\n")
    good = {"ts_event": "t", "price": "p", "size": "s"}
    for columns, time, said in (
        ({"prize": "p"}, "s", "trades have no column 'prize'. Did you mean 'price'"),
        ({"price": "p"}, "s", "the mapping must say which column is ts_event, received price"),
        (good, "minutes", "time must be one of s, ms, us, ns, iso, received 'minutes'"),
    ):
        with pytest.raises(ConfigError) as wrong:
            import_csv(tmp_path / "x.csv", Kind.TRADE, columns, "SPY", store, time=time)
        assert said in str(wrong.value)
    with pytest.raises(DataError, match="data row 1: a size must be a whole count of the lot 1 of alpaca:SPY"):
        import_csv(tmp_path / "x.csv", Kind.TRADE, good, "SPY", store, time="s")
    with pytest.raises(DataError, match="must be a CSV with the columns"):
        import_csv(tmp_path / "x.csv", Kind.TRADE, good | {"price": "q"}, "SPY", store, time="s")


def test_frames_of_pandas_polars_and_arrow_are_one(store: ParquetStore) -> None:
    polars = pytest.importorskip("polars")
    times = pd.to_datetime([OPEN + 10**9, OPEN], utc=True)
    frame = pd.DataFrame({"price": [165.67, 165.66], "size": [17, 100]}, index=times)
    stamps = pa.array([OPEN + 10**9, OPEN], pa.timestamp("ns", "UTC"))
    arrow = pa.table({"ts_event": stamps, "price": [165.67, 165.66], "size": [17, 100]})
    found = []
    for given in (frame, polars.from_arrow(arrow), arrow):
        import_frame(given, Kind.TRADE, "SPY", store)
        found.append(store.read(Instrument("SPY"), Kind.TRADE, TUESDAY))
    assert found[0]["size"].tolist() == [100, 17]
    assert found[1].equals(found[0])
    assert found[2].equals(found[0])
    with pytest.raises(DataError, match="column 'ts_event' must be times with a time zone, received none"):
        import_frame(arrow.set_column(0, "ts_event", stamps.cast(pa.timestamp("ns"))), Kind.TRADE, "SPY", store)
    with pytest.raises(DataError, match="a frame must be pandas', Polars' or Arrow's, received dict"):
        import_frame({"price": [1.0]}, Kind.TRADE, "SPY", store)  # type: ignore[arg-type]


def test_what_mdslib_recorded_is_not_replaced_by_an_import(store: ParquetStore, tmp_path: Path) -> None:
    make_tape(tmp_path / "tape", made_records(100))
    compact(tmp_path, store)
    frame = trades([MIDNIGHT], [1.0], [1]).to_pandas()
    with pytest.raises(DataError, match="on 2021-04-17 that mdslib recorded; import into another --store"):
        import_frame(frame, Kind.TRADE, BTC, store)


def test_a_capture_is_imported_with_every_message_accounted_for(shared_data: Path, store: ParquetStore) -> None:
    days, report = import_capture(shared_data / "bitfinex_20210417", store)
    figures = report.as_dict()
    assert sum(day.rows for day in days) == figures["records"] == 2_954
    assert figures["messages"] == figures["decoded"] + figures["control"] + figures["ignored"]
    assert len(mdslib.load("bitfinex:tBFTUSD", "2021-04-17", store=store)) == 198


def test_stored_data_are_written_out_as_plain_files(store: ParquetStore, tmp_path: Path) -> None:
    make_tape(tmp_path / "tape", made_records(300))
    compact(tmp_path, store)
    data = mdslib.load("kraken:XBT/USD", DAY, "trades", store)
    assert data.trades is not None
    assert export(data, tmp_path / "out.parquet") == len(data)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["price"].to_pylist() == data.trades["price"].tolist()
    assert table["size_units"].to_pylist() == (data.trades["size"] * 1e-8).tolist()
    assert set(table["symbol"].to_pylist()) == {"kraken:XBT/USD"}
    for name in ("out.csv", "out.csv.gz"):
        export(data, tmp_path / name)
        raw = (tmp_path / name).read_bytes()
        back = pa.csv.read_csv(io.BytesIO(gzip.decompress(raw) if name.endswith("gz") else raw))
        assert back["price"].to_pylist() == data.trades["price"].tolist()
    with pytest.raises(ConfigError, match=r"must end in .parquet, .csv, .csv.gz, received 'out.xlsx'"):
        export(data, tmp_path / "out.xlsx")
    with pytest.raises(DataError, match="a file holds one kind, received trade, quote, book_delta, gap"):
        export(mdslib.load("kraken:XBT/USD", DAY, store=store), tmp_path / "out.csv")


def test_the_commands_import_and_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trades.csv").write_text(TARDIS_TRADES)
    (tmp_path / "x.csv").write_text("px,qty,when\n165.66,100,1381239000\n")
    lobster(tmp_path)
    where = ["--store", "store"]
    assert run(["import", "tardis", "trades.csv", *where]) == 0
    assert run(["import", "lobster", "AAPL_2012-06-21_34200000_57600000_message_1.csv", *where]) == 0
    assert "2 of 4 messages were executions" in capsys.readouterr().out
    mapping = ["--column", "ts_event=when", "--column", "price=px", "--column", "size=qty", "--time", "s"]
    assert run(["import", "csv", "x.csv", "--instrument", "SPY", *mapping, *where]) == 0
    assert "alpaca:SPY 2013-10-08: 1 rows of trade" in capsys.readouterr().out
    assert run(["export", "out.csv", "--symbol", "SPY", "--date", "2013-10-08", *where]) == 0
    assert capsys.readouterr().out == "1 rows of trades in out.csv\n"
    assert run(["import", "csv", "x.csv", "--instrument", "SPY", "--column", "price", *where]) == 2
    assert "--column must be OURS=THEIRS, received 'price'" in capsys.readouterr().err
