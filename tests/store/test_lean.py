"""Lean's files: prices, times, order, quotes by side, bars by their close, and every kind of damage named."""

from __future__ import annotations

import datetime
import zipfile
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from mdslib.bars import MINUTE, bars_from_trades
from mdslib.errors import DataError
from mdslib.events import Kind
from mdslib.instruments import Instrument
from mdslib.store.lean import Report, import_lean
from mdslib.store.leancsv import decode_days, decode_quotes, decode_trades
from mdslib.store.load import load
from mdslib.store.parquet import ParquetStore

SPY = Instrument("SPY")
DAY = datetime.date(2013, 10, 8)
OPEN = 1_381_239_000_000_000_000  # 09:30 in New York
MS = 1_000_000
TRADES = "34200000,1656600,200,P,1,0\n34200000,1656600,200,P,1,0\n34200003,1656500,17,K,20000020,1\n"


@pytest.fixture
def store(tmp_path: Path) -> ParquetStore:
    """An empty store."""
    return ParquetStore(tmp_path / "store")


def zipped(folder: Path, name: str, text: str, entry: str = "20131008_spy_Trade_Tick.csv") -> Path:
    """Write a zip of one CSV."""
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(entry, text)
    return path


def only(path: Path, store: ParquetStore, symbol: str = "SPY") -> Report:
    """Import one file."""
    (report,) = import_lean(path, symbol, store)
    return report


def test_trades_keep_price_time_order_and_equal_rows(tmp_path: Path, store: ParquetStore) -> None:
    report = only(zipped(tmp_path, "20131008_tick_trade.zip", TRADES), store)
    table = store.read(SPY, Kind.TRADE, DAY)
    assert table["ts_event"].tolist() == [OPEN, OPEN, OPEN + 3 * MS]
    assert table["price"].tolist() == [165.66, 165.66, 165.65]
    assert table["size"].tolist() == [200, 200, 17]
    assert [chr(letter) for letter in table["exchange"]] == ["P", "P", "K"]
    assert table["conditions"].tolist() == [1, 1, 0x20000020]
    assert (report.rows, report.regular, report.suspicious, report.error) == (3, 3, 1, "")
    assert str(report) == (
        "20131008_tick_trade.zip: 2013-10-08: 3 rows of trade, 3 in regular hours, 1 flagged suspicious (kept)"
    )


@pytest.mark.parametrize(
    ("date", "hour_utc"),
    [((2013, 10, 8), 13), ((2013, 12, 10), 14), ((2024, 3, 8), 14), ((2024, 3, 11), 13), ((2024, 11, 4), 14)],
)
def test_new_york_time_follows_the_season(date: tuple[int, int, int], hour_utc: int) -> None:
    table = decode_trades(b"34200000,1,1,P,0,0", datetime.date(*date), "x").table
    moment = datetime.datetime.fromtimestamp(int(table["ts_event"][0]) // 10**9, datetime.UTC)
    assert (moment.date(), moment.hour, moment.minute) == (datetime.date(*date), hour_utc, 30)


@pytest.mark.parametrize("date", [datetime.date(2024, 3, 10), datetime.date(2024, 11, 3)])
def test_days_on_which_the_clocks_change_are_right_hour_by_hour(date: datetime.date) -> None:
    hours = [0, 1, 4, 12, 23]
    text = "\n".join(f"{hour * 3_600_000},1,1,P,0,0" for hour in hours).encode()
    times = decode_trades(text, date, "x").table["ts_event"]
    zone = ZoneInfo("America/New_York")
    expected = [datetime.datetime.combine(date, datetime.time(hour), zone).timestamp() for hour in hours]
    assert (times // 10**9).tolist() == expected


def test_a_quote_row_tells_one_side_and_the_other_is_carried_forward_whatever_its_exchange() -> None:
    text = b"0,0,0,138700,500,Q,1,0\n1,138600,300,0,0,N,1,0\n1,0,0,138800,200,K,1,0\n2,138700,100,0,0,P,1,1\n"
    table, suspicious = decode_quotes(text, DAY, "x")
    np.testing.assert_array_equal(table["bid"], [np.nan, 13.86, 13.86, 13.87])
    assert table["bid_size"].tolist() == [0, 300, 300, 100]
    assert table["ask"].tolist() == [13.87, 13.87, 13.88, 13.88]
    assert table["ask_size"].tolist() == [500, 500, 200, 200]
    assert suspicious == 1


def test_bars_are_stamped_at_their_close(tmp_path: Path, store: ParquetStore) -> None:
    text = "34200000,1656600,1657000,1656000,1656500,900\n57540000,1,1,1,1,5\n"
    report = only(zipped(tmp_path, "20131008_spy_minute_trade.zip", text, "20131008_spy_minute_trade.csv"), store)
    table = store.read(SPY, Kind.BAR, DAY)
    assert (table["ts_event"] - OPEN).tolist() == [60_000 * MS, 390 * 60_000 * MS]
    assert [table[name][0] for name in ("open", "high", "low", "close")] == [165.66, 165.7, 165.6, 165.65]
    assert table["volume"].tolist() == [900, 5]
    assert report.regular == 2  # the last bar of the day is stamped 16:00 and belongs to it


def test_quote_bars_become_quotes_at_the_end_of_the_bar(tmp_path: Path, store: ParquetStore) -> None:
    text = "34200000,1,1,1,1656600,3,2,2,2,1656800,4\n34201000,0,0,0,0,0,2,2,2,1656900,4\n"
    only(zipped(tmp_path, "20131008_spy_second_quote.zip", text, "20131008_spy_second_quote.csv"), store)
    table = store.read(SPY, Kind.QUOTE, DAY, interval="1s")
    assert (table["ts_event"] - OPEN).tolist() == [1_000 * MS, 2_000 * MS]
    np.testing.assert_array_equal(table["bid"], [165.66, np.nan])
    assert table["bid_size"].tolist() == [3, 0]
    assert table["ask"].tolist() == [165.68, 165.69]


def test_daily_bars_are_stamped_when_the_session_closes(tmp_path: Path, store: ParquetStore) -> None:
    text = "20121231 00:00,1,2,1,2,5\n20131129 00:00,1,2,1,2,6\n"
    report = only(zipped(tmp_path, "spy_daily.zip", text, "spy.csv"), store)
    assert (report.kind, report.date, report.rows) == ("bar_1d", "2012 to 2013", 2)
    half_day = store.read(SPY, Kind.BAR, datetime.date(2013, 11, 29), interval="1d")
    moment = datetime.datetime.fromtimestamp(int(half_day["ts_event"][0]) // 10**9, ZoneInfo("America/New_York"))
    assert moment.strftime("%H:%M") == "13:00"


def test_hourly_bars_are_stamped_at_the_end_of_the_hour(tmp_path: Path, store: ParquetStore) -> None:
    only(zipped(tmp_path, "spy_hour.zip", "20131008 09:00,1,2,1,2,5\n20131008 15:00,1,2,1,2,5\n", "spy.csv"), store)
    table = store.read(SPY, Kind.BAR, DAY, interval="1h")
    assert (table["ts_event"] - OPEN).tolist() == [30 * 60_000 * MS, 390 * 60_000 * MS]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "34200000,1,1,P,1,0\n34200001,1,1,P,1\n",
            "line 2: a line must have 6 fields .*, received 5: '34200001",
        ),
        ("34200000,1.5,1,P,1,0\n", "line 1: price must be a whole number, received '1.5'"),
        ("34200000,1,,P,1,0\n", "line 1: size must be a whole number, received ''"),
        ("34200000,1,1,P,xyz,0\n", "line 1: conditions must be hexadecimal, received 'xyz'"),
        ("34200000,1,1,PQ,1,0\n", "line 1: exchange must be one letter, received 'PQ'"),
        ("34200000,0,1,P,1,0\n", "line 1: price must be > 0, received 0"),
        ("34200000,1,-1,P,1,0\n", "line 1: size must be >= 0, received -1"),
        ("86400000,1,1,P,1,0\n", "line 1: milliseconds since midnight must be 0 to 86399999, received 86400000"),
        ("34200001,1,1,P,1,0\n34200000,1,1,P,1,0\n", "line 2: times must not run backwards, received 34200000 after"),
        ("time,price,size,exchange,x,y\n", "line 1: ms must be a whole number, received 'time'"),
        (" \n", "the CSV must have rows, received none"),
    ],
)
def test_damage_is_named_by_line_and_nothing_is_stored(
    tmp_path: Path, store: ParquetStore, text: str, message: str
) -> None:
    report = only(zipped(tmp_path, "20131008_tick_trade.zip", text), store)
    with pytest.raises(DataError, match=message):
        raise DataError(report.error)
    assert str(report).startswith("20131008_tick_trade.zip: FAILED: ")
    assert store.list() == []


def test_other_rows_that_cannot_be_are_named() -> None:
    with pytest.raises(DataError, match="x, line 1: a row must tell a bid or an ask"):
        decode_quotes(b"0,0,0,0,0,Q,1,0", DAY, "x")
    with pytest.raises(DataError, match=r"x, line 1: a daily bar must be of a day .* received 2013-10-12 \(Saturday\)"):
        decode_days(b"20131012 00:00,1,1,1,1,1", "x")
    with pytest.raises(DataError, match="x, line 1: high must be >= low, received 1"):
        decode_days(b"20131008 00:00,1,1,2,1,1", "x")
    with pytest.raises(DataError, match="must begin with YYYYMMDD HH:MM, received '20131308 00:00'"):
        decode_days(b"20131308 00:00,1,1,1,1,1", "x")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("trades.zip", "the name must be like YYYYMMDD_tick_trade.zip"),
        ("20131308_tick_trade.zip", "the name must begin with a date YYYYMMDD, received 20131308"),
        ("20131008_aapl_minute_trade.zip", "it is of AAPL, and SPY was asked for"),
    ],
)
def test_a_name_that_says_something_else_is_named(tmp_path: Path, store: ParquetStore, name: str, message: str) -> None:
    assert message in only(zipped(tmp_path, name, TRADES), store).error


def test_a_truncated_zip_is_named_and_the_other_files_are_imported(tmp_path: Path, store: ParquetStore) -> None:
    folder = tmp_path / "lean"
    folder.mkdir()
    whole = zipped(folder, "20131008_tick_trade.zip", TRADES * 500)
    zipped(folder, "20131009_tick_trade.zip", TRADES, "20131009_spy_Trade_Tick.csv")
    zipped(folder, "20131009_aapl_minute_trade.zip", TRADES)
    whole.write_bytes(whole.read_bytes()[:-40])
    seen: list[Report] = []
    reports = import_lean(folder, "SPY", store, seen.append)
    assert seen == reports
    assert "must be a whole zip file, received" in reports[0].error
    assert reports[1].skipped == "it is of AAPL, and SPY was asked for"
    assert reports[2].error == ""
    assert [row["date"] for row in store.list()] == ["2013-10-09"]


def test_flipped_bytes_are_caught_by_the_checksum(tmp_path: Path, store: ParquetStore) -> None:
    path = zipped(tmp_path, "20131008_tick_trade.zip", TRADES * 500)
    damaged = bytearray(path.read_bytes())
    damaged[80] ^= 0xFF
    path.write_bytes(bytes(damaged))
    assert "must be a whole zip file" in only(path, store).error


def test_a_failing_file_leaves_the_day_that_was_stored(tmp_path: Path, store: ParquetStore) -> None:
    path = zipped(tmp_path, "20131008_tick_trade.zip", TRADES)
    only(path, store)
    zipped(tmp_path, "20131008_tick_trade.zip", "34200000,1,1,P,1\n")
    assert only(path, store).error
    assert len(store.read(SPY, Kind.TRADE, DAY)) == 3


def test_a_file_of_another_symbol_inside_is_refused(tmp_path: Path, store: ParquetStore) -> None:
    path = zipped(tmp_path, "20131008_tick_trade.zip", TRADES, "20131008_bac_Trade_Tick.csv")
    assert "of BAC, and SPY was asked for; pass --symbol BAC" in only(path, store).error


def test_nothing_to_import_is_an_error(tmp_path: Path, store: ParquetStore) -> None:
    with pytest.raises(DataError, match="does not exist; give a zip file or a folder"):
        import_lean(tmp_path / "absent", "SPY", store)
    with pytest.raises(DataError, match="holds no zip file; Lean's are called"):
        import_lean(tmp_path, "SPY", store)


SPY_DAYS = {
    "2013-10-07": (250_601, 241_504),
    "2013-10-08": (451_545, 440_353),
    "2013-10-09": (439_677, 428_958),
    "2013-10-10": (460_032, 443_171),
    "2013-10-11": (285_605, 275_322),
}


def test_spy_has_the_rows_that_were_counted(shared_data: Path, store: ParquetStore) -> None:
    reports = import_lean(shared_data / "lean_spy_ticks", "SPY", store)
    assert {report.date: (report.rows, report.regular) for report in reports} == SPY_DAYS
    assert [report.suspicious for report in reports] == [0, 0, 0, 10, 0]
    assert all(row["bytes"] / row["rows"] < 3.2 for row in store.list())


def test_bac_quotes_are_never_crossed(shared_data: Path, store: ParquetStore) -> None:
    report = only(shared_data / "lean_bac_ticks" / "20131007_tick_quote.zip", store, "BAC")
    quotes = store.read(Instrument("BAC"), Kind.QUOTE, datetime.date(2013, 10, 7))
    assert (report.rows, report.regular) == (476_855, 472_252)
    regular = quotes.slice(len(quotes) - 472_252, len(quotes))
    spread = np.rint((regular["ask"] - regular["bid"]) * 100)
    assert spread.min() >= 0
    assert (spread == 1).mean() > 0.97


def test_bars_made_of_trades_agree_with_the_venue_bars(shared_data: Path, store: ParquetStore) -> None:
    """Equal volumes minute by minute prove the stamps: one minute off, and none would agree."""
    only(shared_data / "lean_spy_ticks" / "20131008_tick_trade.zip", store)
    only(shared_data / "lean_spy_bars" / "20131008_spy_minute_trade.zip", store)
    ours = bars_from_trades(load("SPY", DAY, store=store).trades, MINUTE)
    theirs = load("SPY", DAY, "bars", store).bars
    assert ours["ts_event"].tolist() == theirs["ts_event"].tolist()
    assert len(ours) == 390
    assert (ours["volume"] == theirs["volume"]).mean() > 0.99
