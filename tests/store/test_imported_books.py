"""Books of LOBSTER, Databento and Tardis: after every message they are what the source shows, level by level."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mdslib
from mdslib.errors import DataError
from mdslib.events import BookFlag, Kind
from mdslib.instruments import Instrument, parse_instrument
from mdslib.store.dbn import import_dbn
from mdslib.store.lobster import import_lobster
from mdslib.store.parquet import ParquetStore
from mdslib.store.tardis import import_tardis
from mdslib.store.views import View, deltas_of
from mdslib.table import Table
from tests.store.test_imports import OPEN, TUESDAY, dbn_file, lobster

Sides = tuple[dict[float, int], dict[float, int]]
SPY = Instrument("SPY", "XNAS.ITCH")
CENT = 10_000_000  # of Databento's prices


@pytest.fixture
def store(tmp_path: Path) -> ParquetStore:
    """An empty store."""
    return ParquetStore(tmp_path / "store")


def replayed(columns: Any) -> Iterator[tuple[int, Sides]]:
    """Yield each message's end and the book then: the plain reference."""
    book: Sides = ({}, {})
    for time, price, size, flags in zip(
        *(np.asarray(columns[name]).tolist() for name in ("ts_event", "price", "size", "flags")), strict=True
    ):
        side = book[1] if flags & BookFlag.ASK else book[0]
        if flags & BookFlag.CLEAR:
            book[0].clear()
            book[1].clear()
        elif size:
            side[price] = size
        else:
            del side[price]  # a level that is not there can't be taken away
        if flags & BookFlag.LAST:
            yield time, (dict(book[0]), dict(book[1]))


def stored(store: ParquetStore, instrument: Instrument, date: datetime.date = TUESDAY) -> Table:
    return store.read(instrument, Kind.BOOK_DELTA, date)


@pytest.mark.parametrize("seed", range(5))
def test_deltas_of_views_lead_to_each_view(seed: int) -> None:
    chance = np.random.default_rng(seed)
    price = np.cumsum(chance.integers(1, 3, (60, 2, 4)), axis=2) * np.array([-1, 1])[:, None] + 100.0
    price[chance.random(price.shape) < 0.1] = np.nan
    price[1::3] = price[:-1:3]  # rows that hardly differ
    size = chance.integers(1, 4, price.shape)
    sides = [View(price[:, side], size[:, side], np.full((60, 4), np.nan)) for side in (0, 1)]
    told = deltas_of({"ts_event": np.arange(60)}, *sides, images=[0, 30])
    shown = [
        tuple(
            {p: z for p, z in zip(price[row, s].tolist(), size[row, s].tolist(), strict=True) if p == p} for s in (0, 1)
        )
        for row in range(60)
    ]
    found = dict(replayed(told))
    now = found[0]
    for row in range(60):
        now = found.get(row, now)  # a row that changes nothing has no message
        assert now == shown[row]
    images = np.flatnonzero(told["flags"] & BookFlag.CLEAR)
    assert told["ts_event"][images].tolist() == [0, 30]
    for begin in images.tolist():
        end = begin + int(np.flatnonzero(told["flags"][begin:] & BookFlag.LAST)[0])
        assert (told["flags"][begin : end + 1] & BookFlag.SNAPSHOT > 0).all()


def test_lobsters_order_book_file_is_the_book_after_each_message(store: ParquetStore, tmp_path: Path) -> None:
    import_lobster(lobster(tmp_path), store)
    table = stored(store, Instrument("AAPL", "lobster"), datetime.date(2012, 6, 21))
    assert [book for _, book in replayed(table.columns)] == [
        ({585.33: 18}, {585.94: 200}),
        ({585.31: 18}, {585.94: 200}),  # the third message changed nothing
        ({585.30: 150}, {}),
    ]
    assert np.unique(table["ts_event"]).tolist()[0] == 1_340_285_400_004_241_176


def test_a_real_lobster_book_is_its_files_rows(shared_data: Path, store: ParquetStore) -> None:
    (message,) = (shared_data / "lobster_aapl").glob("*_message_*")
    import_lobster(message, store)
    table = stored(store, Instrument("AAPL", "lobster"), datetime.date(2012, 6, 21))
    rows = np.loadtxt(message.with_name(message.name.replace("_message_", "_orderbook_")), delimiter=",")
    shown = [
        (dict(zip(row[2::4] / 1e4, row[3::4], strict=True)), dict(zip(row[0::4] / 1e4, row[1::4], strict=True)))
        for row in rows
    ]
    distinct = [book for book, before in zip(shown, [None, *shown], strict=False) if book != before]
    assert [book for _, book in replayed(table.columns)] == distinct


LEVEL = "asks[{0}].price,asks[{0}].amount,bids[{0}].price,bids[{0}].amount"
TARDIS_SNAPSHOTS = f"""exchange,symbol,timestamp,local_timestamp,{LEVEL.format(0)},{LEVEL.format(1)}
bitmex,XBTUSD,1577836799900000,1577836799910000,7186.5,300,7186,20,7187,40,7185.5,10
bitmex,XBTUSD,1577836800000000,1577836800010000,7186.5,300,7186,25,7187,40,7185.5,10
bitmex,XBTUSD,1577836800100000,1577836800110000,7187,40,7186,25,,,7185.5,10
"""


def test_tardis_snapshots_are_an_image_a_day_and_what_changed(store: ParquetStore, tmp_path: Path) -> None:
    (tmp_path / "book_snapshot_2.csv").write_text(TARDIS_SNAPSHOTS)
    days = import_tardis(tmp_path / "book_snapshot_2.csv", store)
    assert [(day.date, day.rows) for day in days] == [("2019-12-31", 5), ("2020-01-01", 6)]
    table = stored(store, parse_instrument("bitmex:XBTUSD"), datetime.date(2020, 1, 1))
    assert [book for _, book in replayed(table.columns)] == [
        ({7186.0: 25, 7185.5: 10}, {7186.5: 300, 7187.0: 40}),
        ({7186.0: 25, 7185.5: 10}, {7187.0: 40}),
    ]
    assert table["flags"].tolist()[-1] == BookFlag.ASK | BookFlag.LAST
    assert (table["ts_init"] - table["ts_event"]).tolist() == [10_000_000] * 6
    assert mdslib.load("bitmex:XBTUSD", "2020-01-01", store=store).tables[0].equals(table)


def test_a_tardis_snapshot_with_a_column_missing_is_named(store: ParquetStore, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(TARDIS_SNAPSHOTS.replace("bids[1].amount", "other"))
    with pytest.raises(DataError, match=r"must have a column bids\[1\].amount beside the others, received none"):
        import_tardis(tmp_path / "x.csv", store)


def flow(databento: Any, messages: int) -> Iterator[tuple[list[Any], Sides]]:
    """Yield the records of each message of a made market, order by order, and the levels after it."""
    chance, resting = random.Random(7), dict[int, tuple[str, int, int]]()
    action, side = databento.Action, databento.Side

    def record(what: Any, of: str, order: int, price: int, size: int, flags: int) -> Any:
        time = OPEN + number * 1_000_000
        name = {"B": side.BID, "A": side.ASK}.get(of, side.NONE)
        return databento.MBOMsg(2, 5, time, order, price, size, what, name, time + 77, flags, 0, 0, number)

    number = 0
    yield [record(action.CLEAR, "N", 0, databento.UNDEF_PRICE, 0, 128)], ({}, {})
    for number in range(1, messages):
        made, kind = [], chance.random()
        if kind < 0.5 or len(resting) < 4:
            of = chance.choice("BA")
            price = (16_500 + (-1 if of == "B" else 1) * chance.randint(1, 9)) * CENT
            resting[number] = (of, price, chance.randint(2, 9))
            made.append(record(action.ADD, of, number, price, resting[number][2], 128))
        else:
            order = chance.choice(sorted(resting))
            of, price, size = resting.pop(order)
            if kind < 0.7:
                made.append(record(action.CANCEL, of, order, price, size, 128))
            elif kind < 0.85:  # a trade: what happened, then what is left of the order
                taken = chance.randint(1, size)
                made += [record(action.TRADE, "A" if of == "B" else "B", 0, price, taken, 0)]
                made += [record(action.FILL, of, order, price, taken, 0)]
                made += [record(action.CANCEL, of, order, price, taken, 128)]
                if taken < size:
                    resting[order] = (of, price, size - taken)
            else:
                moved = price + chance.choice([0, CENT if of == "A" else -CENT])
                resting[order] = (of, moved, chance.randint(1, 9))
                made.append(record(action.MODIFY, of, order, moved, resting[order][2], 128))
        levels: Sides = ({}, {})
        for of, price, size in resting.values():
            at = levels[of == "A"]
            at[price / 1e9] = at.get(price / 1e9, 0) + size
        yield made, levels


def test_databento_orders_become_levels_with_their_counts_and_its_trades(store: ParquetStore, tmp_path: Path) -> None:
    databento = pytest.importorskip("databento_dbn", reason="the extra 'databento' is not installed")
    made = list(flow(databento, 400))
    found = import_dbn(dbn_file(tmp_path / "x.mbo.dbn", *(each for records, _ in made for each in records)), store)
    assert found.left_out == {}
    table = stored(store, SPY)
    books = {time: book for time, book in replayed(table.columns)}
    assert [books[OPEN + number * 1_000_000] for number in range(400)] == [levels for _, levels in made]
    assert (table["ts_init"] - table["ts_event"] == 77).all()
    assert table["orders"][1] == 1
    traded = [each for records, _ in made for each in records if str(each.action) == "T"]
    trades = store.read(SPY, Kind.TRADE, TUESDAY)
    assert trades["size"].tolist() == [each.size for each in traded]
    assert trades["trade_id"].tolist() == [each.sequence for each in traded]


def test_databentos_ten_levels_are_quotes_and_the_book_after_each_event(store: ParquetStore, tmp_path: Path) -> None:
    databento = pytest.importorskip("databento_dbn", reason="the extra 'databento' is not installed")
    none = databento.BidAskPair()

    def level(bid: int, ask: int, size: int) -> Any:
        return databento.BidAskPair(bid * CENT, ask * CENT, size, size, 1, 2)

    def event(number: int, day: int, *levels: Any, flags: int = 128) -> Any:
        time = OPEN + day * 86_400 * 10**9 + number
        told = [*levels, *[none] * (10 - len(levels))]
        return databento.MBP10Msg(
            2, 5, time, 16_500 * CENT, 3, databento.Action.ADD, databento.Side.BID, 0, time + 9, flags, 0, number, told
        )

    first, second = level(16_500, 16_501, 3), level(16_499, 16_502, 7)
    events = [event(0, 0, first, second), event(1, 0, first), event(2, 0, first, flags=132), event(3, 1, first, second)]
    import_dbn(dbn_file(tmp_path / "x.dbn", *events), store)
    table = stored(store, SPY)
    assert [book for _, book in replayed(table.columns)] == [
        ({165.0: 3, 164.99: 7}, {165.01: 3, 165.02: 7}),
        ({165.0: 3}, {165.01: 3}),
    ]
    assert table["orders"].tolist()[1:] == [1.0, 1.0, 2.0, 2.0, 0.0, 0.0]
    wednesday = stored(store, SPY, TUESDAY + datetime.timedelta(days=1))
    assert len(wednesday) == 5  # each day begins with an image
    assert store.read(SPY, Kind.QUOTE, TUESDAY)["bid_size"].tolist() == [3, 3, 3]
    assert store.read(SPY, Kind.GAP, TUESDAY)["since"].tolist() == [OPEN + 1]  # a book that may be bad is told


def test_databentos_books_of_two_publishers_are_refused(store: ParquetStore, tmp_path: Path) -> None:
    databento = pytest.importorskip("databento_dbn", reason="the extra 'databento' is not installed")
    action, side = databento.Action, databento.Side
    orders = [databento.MBOMsg(who, 5, OPEN, who, 16_500 * CENT, 3, action.ADD, side.BID, OPEN, 128) for who in (2, 3)]
    with pytest.raises(
        DataError, match="must hold one book of SPY, received mbo of publisher 2 and mbo of 3; split the"
    ):
        import_dbn(dbn_file(tmp_path / "x.dbn", *orders), store)


def test_a_databento_book_goes_on_over_midnight_and_counts_cancels_of_orders_it_never_saw(
    store: ParquetStore, tmp_path: Path
) -> None:
    databento = pytest.importorskip("databento_dbn", reason="the extra 'databento' is not installed")
    action, side = databento.Action, databento.Side
    times = (OPEN, OPEN + 1, OPEN + 86_400 * 10**9)
    orders = [
        databento.MBOMsg(2, 5, times[0], 1, 16_500 * CENT, 3, action.ADD, side.BID, times[0], 128 | 32),
        databento.MBOMsg(2, 5, times[1], 9, 16_400 * CENT, 3, action.CANCEL, side.BID, times[1], 128),
        databento.MBOMsg(2, 5, times[2], 2, 16_501 * CENT, 4, action.ADD, side.ASK, times[2], 128),
    ]
    found = import_dbn(dbn_file(tmp_path / "x.dbn", *orders), store)
    assert found.left_out == {"cancels of orders from before the file": 1}
    wednesday = stored(store, SPY, TUESDAY + datetime.timedelta(days=1))
    assert [book for _, book in replayed(wednesday.columns)] == [({165.0: 3}, {}), ({165.0: 3}, {165.01: 4})]
