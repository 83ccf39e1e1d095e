"""`load` gives regular hours unless asked, merges instruments by time, and says what there is instead."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

import mdslib
from mdslib import calendar
from mdslib.errors import ConfigError, DataError
from mdslib.events import Kind
from mdslib.instruments import Instrument, parse_instrument
from mdslib.store.lean import import_lean
from mdslib.store.load import load
from mdslib.store.parquet import ParquetStore
from mdslib.table import Table, from_columns, trades

DAY = datetime.date(2013, 10, 8)
SPY, BAC = Instrument("SPY"), Instrument("BAC")
SECOND = 10**9


def prints(day: datetime.date, symbol: str) -> Table:
    """Make one trade before the open, at the open, in the last nanosecond, at the close and in the evening."""
    session = calendar.session(day)
    assert session is not None
    offset = 0 if symbol == "SPY" else 5
    times = [session.pre_open, session.open, session.close - 1, session.close, session.post_close - 10]
    return trades([ts + offset for ts in times[:2]] + times[2:], np.arange(1.0, 6.0) + offset, [1, 2, 3, 4, 5])


def bars(times: list[int]) -> Table:
    """Make flat bars."""
    flat = dict.fromkeys(("open", "high", "low", "close"), np.ones(len(times)))
    return from_columns(Kind.BAR, {"ts_event": times, "volume": list(range(len(times)))} | flat)


@pytest.fixture
def store(tmp_path: Path) -> ParquetStore:
    """Two days of SPY and BAC."""
    made = ParquetStore(tmp_path / "store")
    for day in (DAY, datetime.date(2013, 10, 9)):
        made.write(prints(day, "SPY"), SPY, day)
        made.write(prints(day, "BAC"), BAC, day)
    return made


def test_regular_hours_include_the_open_and_exclude_the_close(store: ParquetStore) -> None:
    data = load("SPY", "2013-10-08", store=store)
    assert data.trades is not None
    assert data.trades["size"].tolist() == [2, 3]
    assert [session.date for session in data.sessions] == [DAY]
    assert data.instruments == (SPY,)


def test_extended_keeps_everything_recorded(store: ParquetStore) -> None:
    data = load("SPY", DAY, store=store.root, extended=True)
    assert data.trades is not None
    assert data.trades["size"].tolist() == [1, 2, 3, 4, 5]


def test_several_symbols_become_several_instruments_merged_by_time(store: ParquetStore) -> None:
    data = load(["BAC", "SPY"], ("2013-10-08", "2013-10-09"), store=store)
    assert data.trades is not None
    assert [instrument.symbol for instrument in data.instruments] == ["BAC", "SPY"]
    assert data.trades["instrument"].tolist() == [1, 0, 0, 1] * 2
    assert (np.diff(data.trades["ts_event"]) >= 0).all()
    assert len(data.sessions) == 2


def test_a_bar_stamped_at_the_close_belongs_to_the_day_and_one_stamped_at_the_open_does_not(
    store: ParquetStore,
) -> None:
    session = calendar.session(DAY)
    assert session is not None
    store.write(bars([session.open, session.open + 60 * SECOND, session.close, session.close + 60 * SECOND]), SPY, DAY)
    data = load("SPY", DAY, "bars", store)
    assert data.bars is not None
    assert data.bars["volume"].tolist() == [1, 2]


def test_bars_of_a_day_are_loaded_over_years(store: ParquetStore) -> None:
    days = calendar.sessions("2012-12-27", "2013-01-04")
    for year in (2012, 2013):
        closes = [session.close for session in days if session.date.year == year]
        store.write_year(bars(closes), SPY, year, "1d")
    data = load("SPY", ("2012-12-28", "2013-01-03"), "bars_1d", store)
    assert data.bars is not None
    assert data.bars["ts_event"].tolist() == [session.close for session in days[1:-1]]
    with pytest.raises(DataError, match="has no bar_1d of SPY on 2013-01-07"):
        load("SPY", ("2013-01-03", "2013-01-07"), "bars_1d", store)


def test_extended_bars_of_a_half_day_keep_the_evening(store: ParquetStore) -> None:
    session = calendar.session("2013-11-29")
    assert session is not None
    closes = [session.close, session.close + 3_600 * SECOND, session.post_close + 3_600 * SECOND]
    store.write_year(bars(closes), SPY, 2013, "1h")
    assert len(load("SPY", "2013-11-29", "bars_1h", store)) == 1
    assert len(load("SPY", "2013-11-29", "bars_1h", store, extended=True)) == 3


def test_several_kinds_keep_their_rank(store: ParquetStore) -> None:
    session = calendar.session(DAY)
    assert session is not None
    store.write(bars([session.open + 5 * SECOND]), SPY, DAY, interval="5s")
    data = load("SPY", DAY, ["bars_5s", "trades"], store)
    assert [table.kind for table in data.tables] == [Kind.BAR, Kind.TRADE]
    assert data.order[0].tolist() == [Kind.TRADE, Kind.BAR, Kind.TRADE]


def test_only_the_columns_asked_for_are_loaded(store: ParquetStore) -> None:
    data = load("SPY", DAY, store=store, columns=["size"])
    assert data.trades is not None
    assert "price" not in data.trades.columns
    with pytest.raises(DataError, match=r"column 'sizes' is in none of the kinds asked for. Did you mean 'size'"):
        load("SPY", DAY, store=store, columns=["sizes"])


def test_a_pair_that_never_closes_is_cut_at_midnight_utc(store: ParquetStore) -> None:
    pair = parse_instrument("BTC/USD")
    midnight = 1_381_190_400 * SECOND
    store.write(trades([midnight, midnight + 86_400 * SECOND - 1], [1.5, 2.5], [1, 2]), pair, DAY)
    data = load("BTC/USD", DAY, store=store)
    assert len(data) == 2
    assert data.instruments[0].session == "24/7"
    with pytest.raises(DataError, match="must share one trading calendar, received 24/7 and NYSE; load them apart"):
        load(["BTC/USD", "SPY"], DAY, store=store)


def test_an_instrument_comes_back_as_it_was_stored(store: ParquetStore) -> None:
    penny = Instrument("PENNY", tick=0.0001)
    store.write(prints(DAY, "SPY"), penny, DAY)
    assert load("PENNY", DAY, store=store).instruments == (penny,)


@pytest.mark.parametrize(
    ("symbols", "date", "kind", "text"),
    [
        ("SPZ", "2013-10-08", "trades", "has no trade of SPZ on 2013-10-08: .* Did you mean 'SPY'"),
        ("SPY", "2013-10-10", "trades", "has no trade of SPY on 2013-10-10. Nearest: 2013-10-08, 2013-10-09"),
        ("SPY", "2013-10-12", "trades", r"NYSE is closed that day \(Saturday\). Nearest: 2013-10-08"),
        ("SPY", ("2013-10-08", "2013-10-10"), "trades", "has no trade of SPY on 2013-10-10"),
        ("SPY", "2013-10-08", "quotes", "has no quote of SPY on 2013-10-08. There are only: trade"),
    ],
)
def test_what_is_not_there_is_an_error_that_lists_what_is(
    store: ParquetStore, symbols: str, date: object, kind: str, text: str
) -> None:
    with pytest.raises(DataError, match=text):
        load(symbols, date, kind, store)


def test_missing_days_may_be_skipped_on_purpose(store: ParquetStore) -> None:
    data = load("SPY", ("2013-10-07", "2013-10-10"), store=store, missing="skip")
    assert len(data) == 4
    with pytest.raises(DataError, match="has no trades of SPY in the days asked for"):
        load("SPY", ("2013-10-10", "2013-10-11"), store=store, missing="skip")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"kind": "tradez"}, "kind 'tradez' is not known. Did you mean 'trades'"),
        ({"kind": "trades_1s"}, "trades have no spacing, received 'trades_1s'; use 'trades' or 'bars_1s'"),
        ({"kind": []}, "at least one kind is needed"),
        ({"symbols": ["SPY", "SPY"]}, "every symbol must be named once, received SPY, SPY"),
        ({"missing": "ignore"}, "missing must be 'error' or 'skip', received 'ignore'"),
        ({"date": "yesterday"}, "a date must be YYYY-MM-DD and exist, received 'yesterday'"),
    ],
)
def test_bad_arguments_are_named(store: ParquetStore, arguments: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        load(**({"symbols": "SPY", "date": "2013-10-08", "store": store} | arguments))


def test_the_settings_name_the_store_unless_one_is_given(
    store: ParquetStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MDS_STORE", str(store.root))
    assert len(mdslib.load("SPY", "2013-10-08")) == 2


def test_two_decades_of_daily_and_hourly_bars(shared_data: Path, tmp_path: Path) -> None:
    store = ParquetStore(tmp_path / "real")
    for report in import_lean(shared_data / "lean_bars_multiyear", "SPY", store):
        assert not report.error
    span = ("1998-01-02", "2021-03-31")
    assert len(load("SPY", span, "bars_1d", store)) == 5_849
    assert len(load("SPY", span, "bars_1h", store, extended=True)) == 40_832
    assert len(load("SPY", span, "bars_1h", store)) == 40_784  # without those after the close of half days


def test_spy_has_440353_trades_in_regular_hours(shared_data: Path, tmp_path: Path) -> None:
    store = ParquetStore(tmp_path / "real")
    import_lean(shared_data / "lean_spy_ticks" / "20131008_tick_trade.zip", "SPY", store)
    data = load("SPY", "2013-10-08", store=store)
    assert data.trades is not None
    assert len(data) == 440_353
    assert int((data.trades["size"] % 17 == 0).sum()) == 2_653  # volume_modulo's sells
    assert int(((data.trades["size"] % 17 != 0) & (data.trades["size"] % 31 == 0)).sum()) == 949
    assert len(load("SPY", "2013-10-08", store=store, extended=True)) == 451_545


def test_a_day_whose_rows_all_lie_outside_regular_hours_is_an_error_and_no_empty_table(tmp_path: Path) -> None:
    session = calendar.session(DAY)
    assert session is not None
    store = ParquetStore(tmp_path)
    store.write(trades([session.pre_open, session.post_close - 1], [1.0, 2.0], [1, 2]), SPY, DAY)
    with pytest.raises(DataError) as error:
        load("SPY", DAY, store=store)
    assert str(error.value) == (
        "load: SPY on 2013-10-08 has 2 rows of trades, received none of them in regular hours: they lie from"
        " 2013-10-08T08:00:00 to 2013-10-08T23:59:59 UTC; pass extended=True (--extended), or import the day again"
    )
    assert len(load("SPY", DAY, store=store, extended=True)) == 2


def test_days_whose_sizes_are_counted_in_different_lots_are_not_mixed(tmp_path: Path) -> None:
    store = ParquetStore(tmp_path)
    midnight = 1_381_190_400 * SECOND
    for number, lot in enumerate((1e-8, 1e-4)):
        pair = Instrument("BTC-USD", "coinbase", 0.01, lot, "USD", "24/7")
        rows = trades([midnight + number * 86_400 * SECOND], [1.5], [1])
        store.write(rows, pair, DAY + datetime.timedelta(days=number))
    assert len(load("coinbase:BTC-USD", DAY, store=store)) == 1
    with pytest.raises(DataError) as error:
        load("coinbase:BTC-USD", (DAY, DAY + datetime.timedelta(days=1)), store=store)
    assert str(error.value).startswith(
        "load: the sizes of coinbase:BTC-USD on 2013-10-09 are counted in lots of 0.0001, and elsewhere in"
    )


def test_the_settings_may_name_a_bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MDS_STORE", "s3://ticks/store")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(ConfigError, match="a bucket needs AWS_ACCESS_KEY_ID"):
        mdslib.load("SPY", "2013-10-08")
