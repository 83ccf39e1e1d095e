"""A recorded book rebuilt at any time, its best levels after each message, and the figures of both."""

from __future__ import annotations

import datetime
import pkgutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mdslib.book
from mdslib.book import OrderBook, Top, book_at, cut, order_flow, signals, tops
from mdslib.errors import ConfigError, DataError
from mdslib.events import BookFlag, Kind
from mdslib.instruments import Instrument
from mdslib.store.madebook import made_books
from mdslib.table import MarketData, from_columns

LAST, ASK, CLEAR, SNAPSHOT = (int(flag) for flag in (BookFlag.LAST, BookFlag.ASK, BookFlag.CLEAR, BookFlag.SNAPSHOT))
PAIR = Instrument("X-USD", "coinbase", 0.01, 1.0, "USD", "24/7")
LEVELS = 3


def book(*rows):
    """Return data of rows (time in ns, side, price, size[, flags besides the side's]), the first in an image."""
    rows = ((rows[0][0], "bid", 0, 0, CLEAR), *rows)
    filled = [(*row, LAST) if len(row) == 4 else row for row in rows]
    columns = {
        "ts_event": [row[0] for row in filled],
        "price": [float(row[2]) for row in filled],
        "size": [row[3] for row in filled],
        "flags": [row[4] | (row[1] == "ask") for row in filled],
    }
    return MarketData((PAIR,), (from_columns(Kind.BOOK_DELTA, columns),))


@pytest.fixture(scope="module")
def day():
    return made_books(pairs=("BTC/USD", "ETH/USD"), messages=400)


def test_the_book_at_a_messages_time_has_the_levels_that_it_left(day):
    best = tops(day, 5, instrument="ETH/USD")
    assert len(best) == 400
    for row in (0, 1, 57, 399):
        rebuilt = book_at(day, int(best.ts_event[row]), instrument=1).top(5)
        for name in Top._fields:
            found = getattr(best, name)[row]
            kept = getattr(rebuilt, name)
            assert found[: len(kept)].tolist() == kept.tolist()
            assert not np.nan_to_num(found[len(kept) :]).any()


def test_the_book_before_the_first_message_is_empty_and_after_the_last_it_stays(day):
    best = tops(day, 1, instrument=0)
    assert book_at(day, int(best.ts_event[0]) - 1, instrument=0).counts == (0, 0)
    assert book_at(day, "2030-01-01", instrument=0).best_bid == best.bid[-1, 0]


def test_a_message_that_is_not_whole_is_not_shown():
    data = book((1, "bid", 10, 5), (2, "bid", 11, 5, 0), (2, "bid", 10, 0, LAST), (3, "bid", 12, 1, 0))
    assert book_at(data, 2).top(3).bid.tolist() == [11.0]
    assert book_at(data, 3).top(3).bid.tolist() == [11.0]
    assert tops(data, 2).bid.tolist()[1][0] == 11.0
    assert len(tops(data, 2)) == 2


def test_an_image_begins_the_book_anew():
    data = book((1, "bid", 10, 5), (2, "bid", 0, 0, CLEAR), (2, "ask", 12, 5, LAST), (3, "bid", 9, 1))
    assert book_at(data, 3).top(3).bid.tolist() == [9.0]
    assert tops(data, 1).bid[:, 0].tolist()[0] == 10.0
    assert np.isnan(tops(data, 1).bid[1, 0])


@pytest.mark.parametrize(
    "time", ["1970-01-01 00:00:00.000000002", 2, datetime.datetime(1970, 1, 1, 1, 0, 0, 1, tzinfo=datetime.UTC)]
)
def test_a_time_is_a_text_a_number_or_a_datetime(time):
    assert book_at(book((1, "bid", 10, 5), (2, "bid", 11, 5)), time).best_bid == 11.0


def test_what_can_not_be_is_refused():
    data = book((1, "bid", 10, 5))
    with pytest.raises(ConfigError, match=r"book_at: time must be a time, received 'noon'; try '2025-06-12 14:30'"):
        book_at(data, "noon")
    with pytest.raises(ConfigError, match=r"tops\(levels=\.\.\.\) must be a whole number from 1 to 1000, received 0"):
        tops(data, 0)
    with pytest.raises(ConfigError, match=r"Tops\.depth_imbalance\(levels=\.\.\.\) must be .* from 1 to 2, received 3"):
        tops(data, 2).depth_imbalance(3)
    with pytest.raises(DataError, match="the data must have book deltas"):
        tops(MarketData((PAIR,), ()))


def test_a_frame_has_a_column_for_each_level_and_size():
    frame = tops(book((1, "bid", 10, 5), (2, "ask", 11, 6)), 2).to_pandas()
    assert frame.columns.tolist()[:5] == ["bid_1", "bid_size_1", "ask_1", "ask_size_1", "bid_2"]
    assert frame.iloc[1][["bid_1", "ask_1", "ask_size_1"]].tolist() == [10.0, 11.0, 6.0]
    assert str(frame.index[0]) == "1970-01-01 00:00:00.000000001+00:00"


def test_more_far_levels_than_there_is_room_for_are_kept():
    rng = np.random.default_rng(5)
    prices = rng.permutation(6_000) + 1
    best = tops(book(*((k, "ask", price, 2) for k, price in enumerate(prices.tolist()))), 1)
    assert best.ask[:, 0].tolist() == np.minimum.accumulate(prices).tolist()


def test_a_part_of_the_messages_begins_at_its_start_and_ends_before_its_end():
    part = tops(book((1, "bid", 10, 5), (2, "bid", 11, 5), (3, "bid", 12, 5)), 1).between(2, 3)
    assert (part.ts_event.tolist(), part.bid.tolist(), part.ask_size.tolist()) == ([2], [[11.0]], [[0]])


def test_a_cut_part_has_the_same_books_and_begins_with_their_images(day):
    start, end = (int(tops(day, 1, instrument=0).ts_event[row]) for row in (100, 200))
    part = cut(day, start, end)
    assert part.trades.equals(day.trades.between(start, end))
    assert (part.book_deltas["ts_event"] >= start).all()
    assert (part.book_deltas["ts_event"] < end).all()
    for place in (0, 1):
        rows = part.book_deltas["instrument"] == place
        assert part.book_deltas["flags"][rows][0] == CLEAR | int(BookFlag.SNAPSHOT)
        for time in (start, (start + end) // 2, end - 1):
            whole, cut_out = (book_at(data, time, instrument=place).top(100) for data in (day, part))
            assert [side.tolist() for side in whole] == [side.tolist() for side in cut_out]
    with pytest.raises(ConfigError, match="cut: end must be a time, received 'noon'"):
        cut(day, start, "noon")


def test_no_module_hides_a_function_of_its_name():
    """A module that is imported becomes an attribute of its package, in the place of what had the name."""
    assert not {module.name for module in pkgutil.iter_modules(mdslib.book.__path__)} & set(mdslib.book.__all__)


# -- days without an image, and gaps --------------------------------------------------------------------------------


def gaps(*rows, other=()):
    """Return gaps of our instrument at times, and of another one at `other`."""
    place = [0] * len(rows) + [1] * len(other)
    return from_columns(Kind.GAP, {"ts_event": [*rows, *other], "instrument": place, "since": place})


IMAGE = [(5, "bid", 0, 0, CLEAR | SNAPSHOT), (5, "bid", 20, 4, SNAPSHOT), (5, "ask", 21, 4, SNAPSHOT | LAST)]


def test_a_day_without_an_image_is_refused_by_all_as_by_a_back_test():
    whole = book((1, "bid", 10, 5), (2, "bid", 11, 5))
    part = MarketData((PAIR,), (whole.book_deltas.slice(2, 3),))
    for ask in (tops, order_flow, lambda data: book_at(data, 2)):
        with pytest.raises(DataError, match="the book deltas of X-USD begin with no image of the book and hold none"):
            ask(part)


def test_what_comes_before_the_first_image_is_no_book():
    data = book((1, "bid", 10, 5), (2, "ask", 11, 5), *IMAGE, (6, "bid", 20, 5))
    late = MarketData((PAIR,), (data.book_deltas.slice(1, len(data)),))
    best = tops(late, 1)
    assert (best.ts_event.tolist(), best.bid[:, 0].tolist()) == ([5, 6], [20.0, 20.0])
    assert book_at(late, 4).counts == (0, 0)
    assert book_at(late, 6).best_ask == 21.0
    assert order_flow(late, 1, None)["bid"]["limit"][1].tolist() == [0.0, 20.0]  # one lot more at 20


def test_from_a_gap_to_the_next_image_there_is_no_book():
    rows = [(1, "bid", 10, 5), (2, "ask", 11, 5), (4, "bid", 10, 9), *IMAGE, (6, "bid", 20, 5)]
    pairs = (PAIR, Instrument("Y-USD", "coinbase", 0.01, 1.0, "USD", "24/7"))
    deltas = book(*rows).book_deltas
    data = MarketData(pairs, (deltas, gaps(3, 4, other=(6,))))
    best = tops(data, 1, instrument=0)
    assert best.ts_event.tolist() == [1, 2, 3, 5, 6]
    assert np.isnan(best.bid[:, 0]).tolist() == [False, False, True, False, False]
    assert best.image.tolist() == [True, False, True, True, False]
    assert book_at(data, 4, instrument=0).counts == (0, 0)
    assert book_at(data, 2, instrument=0).best_bid == 10.0
    assert book_at(data, 5, instrument=0).best_bid == 20.0
    ended = MarketData(pairs, (deltas, gaps(7)))
    assert book_at(ended, 8, instrument=0).counts == (0, 0)


def test_a_gap_lies_where_it_was_received_though_the_venues_clock_is_late():
    """The image after it bears a venue's time before it, and ends it all the same."""
    deltas = book((1, "bid", 10, 5), *IMAGE).book_deltas.replace(ts_init=np.array([11, 11, 15, 15, 15]))
    gap = gaps(9).replace(ts_init=np.array([12]))
    best = tops(MarketData((PAIR,), (deltas, gap)), 1)
    assert best.ts_event.tolist() == [1, 5, 5]
    assert best.bid[-1, 0] == 20.0


def test_an_image_is_no_order_flow():
    best = tops(book((1, "bid", 10, 5), (2, "ask", 11, 5), (3, "bid", 10, 7), *IMAGE, (6, "bid", 20, 5)), 1)
    assert best.order_flow_imbalance().tolist() == [0, -5, 2, 0, 1]
    assert best.between(5, 7).order_flow_imbalance().tolist() == [0, 1]


# -- the figures ----------------------------------------------------------------------------------------------------


def padded(top):
    """Return a book as a strategy's step gets it: arrays of LEVELS, nan and 0 where there is no level."""
    sides = []
    for price, size in ((top.bid, top.bid_size), (top.ask, top.ask_size)):
        wide = np.full(LEVELS, np.nan), np.zeros(LEVELS, np.int64)
        wide[0][: len(price)], wide[1][: len(size)] = price, size
        sides += wide
    return Top(*sides)


def imbalance_by_paper(before, now, level):
    """Return e_n as Cont, Kukanov and Stoikov write it, missing levels at infinitely bad prices."""

    def best(prices, sizes, worst):
        return (worst, 0) if np.isnan(prices[level - 1]) else (prices[level - 1], int(sizes[level - 1]))

    (bid0, q0), (bid1, q1) = (best(book.bid, book.bid_size, -np.inf) for book in (before, now))
    (ask0, r0), (ask1, r1) = (best(book.ask, book.ask_size, np.inf) for book in (before, now))
    return (bid1 >= bid0) * q1 - (bid1 <= bid0) * q0 - (ask1 <= ask0) * r1 + (ask1 >= ask0) * r0


STEP = st.tuples(st.integers(0, 1), st.integers(1, 5), st.integers(0, 4))


@given(st.lists(STEP, min_size=1, max_size=30))
def test_figures_of_a_step_equal_those_of_all_messages_and_the_papers(steps):
    rows = [(k, ("bid", "ask")[side], 100 + away * (2 * side - 1) * 0.25, n) for k, (side, away, n) in enumerate(steps)]
    best = tops(book(*rows), LEVELS)
    live, before = OrderBook(0.25), padded(OrderBook(0.25).top(1))
    kept = padded(OrderBook(0.25).top(1))
    for k, (_, side, price, size) in enumerate(rows):
        live.set(side, price, size)
        now = padded(live.top(LEVELS))
        figures = signals.mid(now), signals.spread(now), signals.microprice(now)
        for found, all_of_them in zip(figures, (best.mid, best.spread, best.microprice), strict=True):
            np.testing.assert_equal(all_of_them[k], found)
        for level in range(1, LEVELS + 1):
            np.testing.assert_equal(best.depth_imbalance(level)[k], signals.depth_imbalance(now, level))
            flow = signals.order_flow_imbalance(kept, now, level)
            known = before.bid_size[0] or before.ask_size[0]
            assert (
                flow == best.order_flow_imbalance(level)[k] == (imbalance_by_paper(before, now, level) if known else 0)
            )
        signals.remember(kept, now)
        before = now


def test_the_microprice_leans_to_the_thinner_side():
    now = Top(np.array([100.0]), np.array([3]), np.array([101.0]), np.array([1]))
    assert (signals.mid(now), signals.spread(now), signals.microprice(now)) == (100.5, 1.0, 100.75)
    assert signals.depth_imbalance(now, 1) == 0.5


@pytest.mark.parametrize(
    ("was", "now", "flow"),
    [
        ((100.0, 5, 101.0, 5), (100.0, 8, 101.0, 5), 3),  # three lots more bid
        ((100.0, 5, 101.0, 5), (100.5, 2, 101.0, 5), 2),  # a better bid: all of it
        ((100.0, 5, 101.0, 5), (99.5, 9, 101.0, 5), -5),  # the bid is gone: all of what it was
        ((100.0, 5, 101.0, 5), (100.0, 5, 101.0, 8), -3),
        ((100.0, 5, 101.0, 5), (100.0, 5, 100.5, 2), -2),
        ((100.0, 5, 101.0, 5), (100.0, 5, 101.5, 9), 5),
        ((100.0, 5, 101.0, 5), (np.nan, 0, 101.0, 5), -5),  # no bid any more
        ((np.nan, 0, np.nan, 0), (100.0, 5, 101.0, 5), 0),  # the first message
    ],
)
def test_order_flow_imbalance_counts_what_demand_grew_by_less_what_supply_did(was, now, flow):
    before, after = (
        Top(np.array([bid]), np.array([bid_size]), np.array([ask]), np.array([ask_size]))
        for bid, bid_size, ask, ask_size in (was, now)
    )
    assert signals.order_flow_imbalance(before, after, 1) == flow
