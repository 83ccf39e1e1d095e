"""Order flow by level: each rule by itself, then a slow plain reference and what is conserved on any book."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.book.flow import flow_rows, order_flow
from mdslib.book.rows import book_rows
from mdslib.errors import ConfigError, DataError
from mdslib.events import BookFlag, Kind, pack_conditions
from mdslib.feeds.replay import replay_capture
from mdslib.instruments import Instrument, parse_instrument
from mdslib.store.madebook import made_books
from mdslib.table import MarketData, Table, from_columns, trades

SECOND = 1_000_000_000
LAST, ASK, CLEAR, SNAPSHOT = (int(flag) for flag in (BookFlag.LAST, BookFlag.ASK, BookFlag.CLEAR, BookFlag.SNAPSHOT))
PAIR = Instrument("X-USD", "coinbase", 0.01, 0.5, "USD", "24/7")  # two lots make a unit


def book(*rows):
    """Return deltas of rows (time in s, side, price, size[, flags besides the side's]); a CLEAR comes before them."""
    rows = ((rows[0][0], "bid", 0, 0, CLEAR), *rows)
    filled = [(*row, LAST) if len(row) == 4 else row for row in rows]
    times = [round(row[0] * SECOND) for row in filled]
    columns = {"price": [float(row[2]) for row in filled], "size": [row[3] for row in filled]}
    return from_columns(
        Kind.BOOK_DELTA, {"ts_event": times, **columns, "flags": [row[4] | (row[1] == "ask") for row in filled]}
    )


def prints(*rows):
    """Return trades of rows (time in s, letter, price, size)."""
    times, letters, prices, sizes = zip(*rows, strict=True)
    codes = [ord(letter) if letter else 0 for letter in letters]
    return trades([round(time * SECOND) for time in times], prices, sizes, conditions=codes)


def data(deltas, taken=None, pair=PAIR):
    return MarketData((pair,), (deltas,) if taken is None else (taken, deltas))


def flow(deltas, taken=None, levels=3, every="100s", pair=PAIR, **options):
    return order_flow(data(deltas, taken, pair), levels, every, **options)


def told(frame):
    """Return what is not 0, summed over time: {(side, flow, level): notional}."""
    total = frame.sum()
    return {place: value for place, value in total.items() if value}


def test_a_level_that_grows_got_limit_orders_and_one_that_shrinks_lost_them_to_cancels():
    found = told(flow(book((0, "bid", 10, 6), (1, "bid", 10, 4), (2, "ask", 11, 2), (3, "ask", 11, 0))))
    assert found == {
        ("bid", "limit", 1): 30.0,  # 6 lots of 0.5 at 10
        ("bid", "cancel", 1): 10.0,
        ("ask", "limit", 1): 11.0,
        ("ask", "cancel", 1): 11.0,
    }


def test_what_trades_explain_is_market_and_the_rest_is_cancel():
    shrinks = book((0, "ask", 10, 8), (5, "ask", 10, 2))
    found = told(flow(shrinks, prints((5.2, "b", 10, 4))))
    assert (found["ask", "market", 1], found["ask", "cancel", 1]) == (20.0, 10.0)


@pytest.mark.parametrize(
    ("when", "letter", "price", "explains"),
    [
        (4.0, "b", 10.0, True),  # a whole second before
        (6.0, "b", 10.0, True),  # and after
        (3.9, "b", 10.0, False),
        (6.1, "b", 10.0, False),
        (5.0, "s", 10.0, False),  # it hit a bid
        (5.0, "", 10.0, True),  # nobody says what it hit
        (5.0, "B", 10.0, True),  # nobody says whose letter it is
        (5.0, "b", 10.01, False),
        (5.0, "b", 10.001, False),  # off the grid of the book
    ],
)
def test_a_trade_explains_its_own_price_and_side_within_a_second(when, letter, price, explains):
    found = flow(book((0, "ask", 10, 8), (1, "ask", 10.01, 1), (5, "ask", 10, 2)), prints((when, letter, price, 6)))
    assert ((found["ask"]["market"][1].sum() > 0), (found["ask"]["cancel"][1].sum() > 0)) == (explains, not explains)
    assert found.attrs["explained"] == (30.0 if explains else 0.0)
    assert found.attrs["traded"] == pytest.approx(3 * price)


def test_capitals_say_who_took_at_alpaca():
    alpaca = Instrument("BTC/USD", "alpaca", 0.01, 0.5, "USD", "24/7")
    shrinks = book((0, "ask", 10, 8), (5, "ask", 10, 2))
    assert flow(shrinks, prints((5, "B", 10, 6)), pair=alpaca).attrs["explained"] == 30.0
    assert flow(shrinks, prints((5, "S", 10, 6)), pair=alpaca).attrs["explained"] == 0.0


def test_a_trade_with_a_hidden_order_explains_nothing():
    shrinks, hit = book((0, "ask", 10, 8), (5, "ask", 10, 2)), prints((5, "b", 10, 6))
    hit = hit.replace(conditions=np.array([pack_conditions(["b", "h"])], "<u4"))
    assert flow(shrinks, hit).attrs == {"traded": 30.0, "explained": 0.0}


def test_the_nearest_change_is_explained_first_and_at_equal_distance_the_later_one():
    shrinks = book((0, "ask", 10, 9), (5.0, "ask", 10, 6), (5.4, "ask", 10, 3), (5.6, "ask", 10, 0))
    found = flow(shrinks, prints((5.5, "b", 10, 3)), every=None)
    assert found["ask"]["market"][1].tolist() == [0, 0, 0, 15.0]
    found = flow(shrinks, prints((5.41, "b", 10, 4)), every=None)
    assert found["ask"]["market"][1].tolist() == [0, 0, 15.0, 5.0]


def test_no_lot_is_explained_twice():
    shrinks = book((0, "ask", 10, 8), (5, "ask", 10, 2))
    found = flow(shrinks, prints((5, "b", 10, 4), (5, "b", 10, 4)))
    assert found["ask"]["market"][1].sum() == 30.0
    assert (found.attrs["traded"], found.attrs["explained"]) == (40.0, 30.0)


def test_levels_are_numbered_by_the_book_before_the_message():
    swept = book(
        (0, "ask", 10, 2), (0, "ask", 11, 2), (0, "ask", 12, 2), (0, "ask", 13, 2),
        (1, "ask", 10, 0, 0), (1, "ask", 11, 0, 0), (1, "ask", 12, 0, 0), (1, "ask", 13, 1, LAST),
    )  # fmt: skip
    found = flow(swept, prints((1, "b", 10, 2), (1, "b", 11, 2), (1, "b", 12, 2), (1, "b", 13, 1)))
    assert found["ask"]["market"].iloc[0].tolist() == [10.0, 11.0, 12.0]  # the fourth is deeper than was asked for
    assert found.attrs["explained"] == 10 + 11 + 12 + 6.5
    assert found["ask"]["limit"].iloc[0].tolist() == [10.0, 11.0, 12.0]


def test_a_new_best_price_is_level_one_and_a_price_between_takes_its_place():
    grown = book((0, "bid", 10, 2), (1, "bid", 8, 2), (2, "bid", 11, 2), (3, "bid", 9, 2))
    assert flow(grown, every=None)["bid"]["limit"].to_numpy().tolist() == [[10, 0, 0], [0, 8, 0], [11, 0, 0], [0, 0, 9]]


def test_the_image_of_a_book_is_no_flow_and_what_follows_is_measured_from_it():
    image = [(5, "bid", 0, 0, CLEAR | SNAPSHOT), (5, "bid", 10, 4, SNAPSHOT), (5, "ask", 11, 4, SNAPSHOT | LAST)]
    found = told(flow(book((0, "bid", 10, 1), *image, (6, "bid", 10, 6))))
    assert found == {("bid", "limit", 1): 5.0 + 10.0}


def test_an_interval_takes_its_start_and_is_stamped_at_its_end_and_there_are_no_holes():
    found = flow(book((1, "bid", 10, 2), (1.999, "bid", 10, 4), (2, "bid", 10, 6), (4.5, "bid", 10, 8)), every="1s")
    assert (found.index.asi8 // SECOND).tolist() == [2, 3, 4, 5]
    assert found["bid"]["limit"][1].tolist() == [20.0, 10.0, 0.0, 10.0]
    assert found.columns.names == ["side", "flow", "level"]


def test_a_table_that_ends_in_a_message_counts_it():
    found = flow(book((1, "bid", 10, 2), (2, "bid", 10, 4, 0), (2, "bid", 9, 4, 0)), every=None)
    assert (found.index.asi8 // SECOND).tolist() == [1, 2]
    assert told(found)["bid", "limit", 2] == 18.0


def test_of_several_instruments_one_is_taken():
    both = made_books(pairs=("BTC/USD", "ETH/USD"), messages=300)
    alone = made_books(pairs=("ETH/USD",), messages=300)
    found = order_flow(both, instrument="ETH/USD", every=None)
    assert found.equals(order_flow(both, instrument=1, every=None))
    assert found.to_numpy().tolist() == order_flow(alone, every=None).to_numpy().tolist()
    with pytest.raises(DataError, match="instrument= must say which one, the data have alpaca:BTC/USD, alpaca:ETH/USD"):
        order_flow(both)
    with pytest.raises(DataError, match=r"no instrument 'ETH-USD'\. Known: alpaca:BTC/USD, alpaca:ETH/USD"):
        order_flow(both, instrument="ETH-USD")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"levels": 0}, r"order_flow\(levels=\.\.\.\) must be a whole number from 1 to 1000, received 0"),
        ({"every": "1 fortnight"}, r"order_flow\(every=\.\.\.\) must be a length of time > 0, received '1 fortnight'"),
        ({"within": "-1s"}, r"order_flow\(within=\.\.\.\) must be a length of time > 0, received '-1s'; try '1s'"),
    ],
)
def test_an_option_out_of_range_is_named(options, text):
    with pytest.raises(ConfigError, match=text):
        flow(book((0, "bid", 10, 1)), **options)


@pytest.mark.parametrize(
    ("deltas", "text"),
    [
        (book((0, "bid", 10, 1), (0, "bid", 10, -1)), "a size must be >= 0, received -1 at row 2; 0 deletes the level"),
        (book((0, "bid", np.nan, 1)), "a price must lie on a decimal grid, received nan at row 1"),
        (book((0, "bid", 1 / 3, 1)), r"a price must lie on a decimal grid, received 0\.333"),
    ],
)
def test_rows_that_no_book_can_hold_are_refused(deltas, text):
    with pytest.raises(DataError, match=text):
        flow(deltas)


def test_data_without_a_book_say_so():
    with pytest.raises(DataError, match="order books: the data must have book deltas, received MarketData"):
        order_flow(MarketData((PAIR,), (prints((1, "b", 10, 1)),)))


# -- any book: a slow plain reference, and what is conserved --------------------------------------------------------


def slow(rows, taken, levels, within):
    """Return (limit, market, cancel, level) of every row, with dictionaries and sorting."""
    sides, starts, found, fresh = ({}, {}), ({}, {}), [], True
    for tick, size, flags in zip(rows.tick.tolist(), rows.size.tolist(), rows.flags.tolist(), strict=True):
        if fresh:
            starts = ({**sides[0]}, {**sides[1]})
        fresh = bool(flags & LAST)
        if flags & CLEAR:
            sides[0].clear()
            sides[1].clear()
            found.append([0, 0, 0, levels + 1])
            continue
        side = flags & ASK
        change = size - sides[side].pop(tick, 0)
        if size:
            sides[side][tick] = size
        better = sum(other < tick if side else other > tick for other in starts[side])
        level = min(better, levels) + 1
        found.append([0, 0, 0, levels + 1] if flags & SNAPSHOT else [max(change, 0), 0, max(-change, 0), level])
    for when, price, lots, letter in taken:
        near = [
            (abs(time - when), time < when, row if time >= when else -row, row)
            for row, time in enumerate(rows.ts_event.tolist())
            if abs(time - when) <= within and rows.prices(rows.tick[row]) == price and found[row][2]
            and letter in ("", "b" if rows.flags[row] & ASK else "s")
        ]  # fmt: skip
        for *_, row in sorted(near):
            part = min(lots, found[row][2])
            found[row][1] += part
            found[row][2] -= part
            lots -= part
    return found


ROW = st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(-6, 6), st.integers(0, 4), st.sampled_from([0, LAST]))
TAKEN = st.tuples(st.integers(0, 60), st.sampled_from(["b", "s", ""]), st.integers(-6, 6), st.integers(1, 5))


@given(st.lists(ROW, max_size=40), st.lists(TAKEN, min_size=1, max_size=12), st.integers(0, 40), st.integers(1, 4))
def test_flow_equals_the_slow_reference_and_conserves_every_lot(steps, taken, image, levels):
    time, rows = 0, []
    for step, (wait, side, away, size, last) in enumerate(steps):
        time += wait
        if step == image:
            rows.append((time, "bid", 0.0, 0, CLEAR | SNAPSHOT | LAST))
        rows.append((time, ("bid", "ask")[side], 100 + away * 0.5, size, last))
    rows.append((time, "bid", 100.0, 1, LAST))
    marks = sorted(taken)
    both = data(book(*rows), prints(*((when, letter, 100 + away * 0.5, size) for when, letter, away, size in marks)))
    found = flow_rows(book_rows(both), both.trades, levels, 3 * SECOND)
    wanted = slow(
        book_rows(both),
        [(when * SECOND, 100 + away * 0.5, lots, letter) for when, letter, away, lots in marks],
        levels,
        3 * SECOND,
    )
    assert np.stack([found.limit, found.market, found.cancel, found.level], axis=1).tolist() == wanted
    # At fixed prices: what came, less what went, is what is there; but an image begins anew.
    kept = book_rows(both)
    since = 1 + max((row for row, flags in enumerate(kept.flags.tolist()) if flags & CLEAR), default=-1)
    held: dict[tuple[int, int], int] = {}
    for row in range(since, len(kept.tick)):
        place = int(kept.flags[row]) & ASK, int(kept.tick[row])
        held[place] = held.get(place, 0) + int(found.limit[row] - found.market[row] - found.cancel[row])
    ends: dict[tuple[int, int], int] = {}
    for row in range(since, len(kept.tick)):
        ends[int(kept.flags[row]) & ASK, int(kept.tick[row])] = int(kept.size[row])
    assert held == ends
    assert (np.stack(found[:3]) >= 0).all()
    assert found.explained <= found.traded + 1e-9


def test_a_made_days_market_orders_are_its_trades_and_the_intervals_add_up_to_the_messages():
    day = made_books(messages=2_000)
    by_message, by_minute = (order_flow(day, levels=50, every=every) for every in (None, "1min"))
    assert by_message.attrs["explained"] == pytest.approx(by_message.attrs["traded"])
    assert by_message.shape == (2_000, 300)
    assert by_minute.sum().to_numpy() == pytest.approx(by_message.sum().to_numpy())
    market = by_message.T.groupby(level="flow").sum().T["market"].sum()
    assert market == pytest.approx(by_message.attrs["traded"])


def test_more_far_levels_than_there_is_room_for_are_kept():
    rng = np.random.default_rng(3)
    prices = rng.permutation(6_000) + 1.0
    found = told(
        flow(book(*((k, "ask", price, 2) for k, price in enumerate(prices.tolist()))), levels=1, every="10000s")
    )
    best = np.minimum.accumulate(prices)
    assert found == {("ask", "limit", 1): best[np.r_[True, best[1:] < best[:-1]]].sum()}


@pytest.mark.parametrize("capture", ["bitmex_20210722", "coinbase_20210417", "kraken_20210417"])
def test_every_trade_of_a_recorded_book_finds_the_change_that_it_made(shared_data: Path, capture: str):
    kept: list[np.ndarray] = []
    report = replay_capture(shared_data / capture, sink=kept.append)
    records = np.concatenate(kept)
    records = records[np.argsort(records["ts_event"], kind="stable")]
    pairs = tuple(parse_instrument(f"{report.venue}:{symbol}") for symbol in report.symbols)
    tables = tuple(Table.from_records(records, kind) for kind in (Kind.TRADE, Kind.BOOK_DELTA))
    for place in range(len(pairs)):
        found = order_flow(MarketData(pairs, tables), instrument=place).attrs
        assert found["explained"] == pytest.approx(found["traded"])
