"""The compiled book against a dictionary and `sorted`, and the rules of snapshots, deltas and depth one by one."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.book import OrderBook
from mdslib.book.levels import NONE, best_ask, best_bid
from mdslib.errors import ConfigError, DataError
from mdslib.events import RECORD, BookFlag, Kind


class PlainBook:
    """The slow reference: a dictionary a side."""

    def __init__(self, depth: int = 0) -> None:
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.depth = depth

    def set(self, side: int, tick: int, size: int) -> None:
        if size:
            self.sides[side][tick] = size
        else:
            self.sides[side].pop(tick, None)

    def ordered(self, side: int) -> list[tuple[int, int]]:
        return sorted(self.sides[side].items(), reverse=side == 0)

    def truncate(self) -> None:
        for side in (0, 1):
            for tick, _ in self.ordered(side)[self.depth or len(self.sides[side]) :]:
                del self.sides[side][tick]

    def clear(self) -> None:
        self.sides[0].clear()
        self.sides[1].clear()


def delta(side: int, price: float, size: int, flags: int = int(BookFlag.LAST)) -> np.ndarray:
    record = np.zeros(1, RECORD)
    record["kind"], record["flag"], record["f0"], record["i0"] = Kind.BOOK_DELTA, flags | side, price, size
    return record


def contents(book: OrderBook, side: int) -> list[tuple[int, int]]:
    top = book.top(max(book.counts))
    prices, sizes = (top.bid, top.bid_size) if side == 0 else (top.ask, top.ask_size)
    return [(round(price / book.tick), size) for price, size in zip(prices.tolist(), sizes.tolist(), strict=True)]


def assert_same(book: OrderBook, plain: PlainBook) -> None:
    for side in (0, 1):
        assert contents(book, side) == plain.ordered(side)
        assert book.counts[side] == len(plain.sides[side])
    bids, asks = plain.ordered(0), plain.ordered(1)
    assert best_bid(book.levels) == (bids[0][0] if bids else NONE)
    assert best_ask(book.levels) == (asks[0][0] if asks else -NONE)


# Ticks crowd around a price that wanders, and some lie far off: every way between ring and list is taken.
NEAR = st.integers(-12, 12)
FAR = st.integers(-400, 400)
STEP = st.tuples(st.integers(0, 1), st.one_of(NEAR, NEAR, FAR), st.integers(0, 3))


@given(
    st.lists(st.tuples(st.integers(-150, 150), st.lists(STEP, max_size=25)), max_size=12), st.sampled_from([0, 1, 5])
)
def test_book_equals_dictionary_and_sort_after_every_message(moves, depth):
    book, plain = OrderBook(1.0, depth=depth, window=16), PlainBook(depth)
    for centre, steps in moves:
        records = [delta(side, centre + away, size, 0) for side, away, size in steps]
        records.append(delta(0, centre, 1))
        book.apply(np.concatenate(records))
        for side, away, size in steps:
            plain.set(side, centre + away, size)
        plain.set(0, centre, 1)
        plain.truncate()
        assert_same(book, plain)


@given(st.lists(STEP, max_size=60), st.integers(0, 8))
def test_sizes_are_conserved_when_levels_are_set_one_by_one_then_truncated(steps, depth):
    book, plain = OrderBook(0.25, window=16), PlainBook(depth)
    for side, tick, size in steps:
        book.set("ask" if side else "bid", tick * 0.25, size)
        plain.set(side, tick, size)
        assert_same(book, plain)
    total = sum(size for side in (0, 1) for _, size in contents(book, side))
    assert total == sum(sum(levels.values()) for levels in plain.sides)
    book.truncate(depth)
    if depth:
        plain.truncate()
    else:
        plain.clear()
    assert_same(book, plain)


def test_more_far_levels_than_there_is_room_for_make_room():
    book, plain = OrderBook(1.0, window=16), PlainBook()
    rng = np.random.default_rng(4)
    ticks = rng.permutation(6000)
    book.apply(np.concatenate([delta(1, float(tick), 1 + tick % 7) for tick in ticks.tolist()]))
    for tick in ticks.tolist():
        plain.set(1, tick, 1 + tick % 7)
    assert_same(book, plain)


def test_a_snapshot_replaces_the_whole_book():
    book = OrderBook(0.5)
    book.apply(delta(0, 99.0, 5))
    snapshot = [
        delta(0, math.nan, 0, int(BookFlag.CLEAR | BookFlag.SNAPSHOT)),
        delta(0, 10.0, 2, int(BookFlag.SNAPSHOT)),
    ]
    snapshot.append(delta(1, 10.5, 3, int(BookFlag.SNAPSHOT | BookFlag.LAST)))
    assert book.apply(np.concatenate(snapshot)) == 2
    assert (book.best_bid, book.best_ask, book.counts) == (10.0, 10.5, (1, 1))


def test_an_empty_snapshot_leaves_an_empty_book():
    book = OrderBook(0.5)
    book.apply(delta(0, 99.0, 5))
    book.apply(delta(0, math.nan, 0, int(BookFlag.CLEAR | BookFlag.LAST)))
    assert book.counts == (0, 0)
    assert math.isnan(book.best_bid)
    assert not book.crossed


def test_deleting_a_level_that_is_not_there_changes_nothing():
    book = OrderBook(0.5)
    book.apply(np.concatenate([delta(0, 10.0, 1), delta(0, 9.0, 0), delta(1, 3.0, 0), delta(0, 11.0, 0)]))
    assert book.counts == (1, 0)


def test_crossed_is_judged_at_the_end_of_a_message_only():
    book = OrderBook(0.5)
    crossing = [delta(0, 10.0, 1), delta(1, 10.5, 1), delta(0, 10.5, 1, 0), delta(1, 10.5, 0)]
    book.apply(np.concatenate(crossing))
    assert (book.crossed, book.times_crossed, book.messages) == (False, 0, 3)
    book.apply(delta(1, 10.5, 4))
    assert (book.crossed, book.times_crossed) == (True, 1)


def test_depth_drops_what_a_new_level_pushes_out_but_only_after_the_message():
    book = OrderBook(1.0, depth=2)
    book.apply(np.concatenate([delta(0, 10.0, 1), delta(0, 9.0, 1)]))
    book.apply(np.concatenate([delta(0, 8.0, 1, 0), delta(0, 10.0, 0)]))
    assert book.top(5).bid.tolist() == [9.0, 8.0]
    book.apply(delta(0, 10.0, 1))
    assert book.top(5).bid.tolist() == [10.0, 9.0]


def test_prices_come_back_as_the_floats_that_went_in():
    book = OrderBook(0.1)
    prices = [round(n * 0.1, 1) for n in range(1, 2000)]
    book.apply(np.concatenate([delta(1, price, 1) for price in prices]))
    assert book.top(5000).ask.tolist() == prices


def test_records_of_other_kinds_are_passed_over():
    trade = delta(0, 10.0, 1)
    trade["kind"] = Kind.TRADE
    assert OrderBook(0.5).apply(trade) == 0


def test_a_price_off_the_grid_is_refused_and_what_came_before_it_stays():
    book = OrderBook(0.5)
    text = r"OrderBook: a price must be a multiple of the tick 0\.5, received 10\.25; .* refine\(\) with a finer one"
    with pytest.raises(DataError, match=text):
        book.apply(np.concatenate([delta(0, 10.0, 1), delta(0, 10.25, 1)]))
    assert book.best_bid == 10.0
    with pytest.raises(DataError, match=r"received 10\.25"):
        book.set("bid", 10.25, 1)


def test_a_price_far_finer_than_the_tick_is_off_the_grid_too():
    for price in (0.0001, 100.0001):
        with pytest.raises(DataError, match="multiple of the tick"):
            OrderBook(0.5).apply(delta(0, price, 1))


@given(st.integers(1, 2**50), st.sampled_from([1e-8, 1e-5, 0.01, 0.05, 0.1, 0.25, 1.0, 5.0]))
def test_every_price_on_the_grid_is_taken_and_comes_back(ticks, tick):
    price = float(Decimal(ticks) * Decimal(repr(tick)))
    book = OrderBook(tick)
    book.apply(delta(0, price, 1))
    assert book.best_bid == price


@pytest.mark.parametrize(
    ("price", "text"),
    [(math.nan, "multiple of the tick"), (math.inf, r"below 2\*\*53 ticks"), (1e300, r"below 2\*\*53 ticks of 0\.5")],
)
def test_a_price_that_is_no_number_or_too_large_for_ticks_is_refused(price, text):
    with pytest.raises(DataError, match=text):
        OrderBook(0.5).apply(delta(0, price, 1))
    with pytest.raises(DataError, match=text):
        OrderBook(0.5).set("bid", price, 1)


def test_a_negative_size_is_refused():
    with pytest.raises(
        DataError, match=r"OrderBook: a size must be >= 0, received -1 at price 10\.0; 0 deletes the level"
    ):
        OrderBook(0.5).apply(delta(0, 10.0, -1))


def test_refine_keeps_every_level_on_a_finer_grid():
    book = OrderBook(0.1)
    book.apply(np.concatenate([delta(0, 0.7, 3), delta(1, 0.8, 4), delta(0, 0.1, 9)]))
    book.refine(0.001)
    book.set("bid", 0.705, 1)
    assert book.top(9).bid.tolist() == [0.705, 0.7, 0.1]
    with pytest.raises(ConfigError, match=r"OrderBook\.refine: the new tick must divide 0\.001, received 0\.3"):
        book.refine(0.3)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tick": 0.0}, r"OrderBook\.tick must be > 0, received 0\.0; take it from the venue's specification"),
        ({"tick": 1.0, "window": 100}, r"OrderBook\.window must be a power of two and >= 16, received 100; try 4096"),
        ({"tick": 1.0, "depth": -1}, r"OrderBook\.depth must be >= 0, received -1; 0 keeps every level"),
    ],
)
def test_bad_options_say_what_is_wrong(options, text):
    with pytest.raises(ConfigError, match=text):
        OrderBook(**options)


def test_a_side_has_a_name():
    with pytest.raises(DataError, match=r"OrderBook\.set: side must be 'bid' or 'ask', received 'buy'"):
        OrderBook(1.0).set("buy", 1.0, 1)


def test_a_grid_that_a_level_does_not_fit_is_refused_and_the_book_stays() -> None:
    book = OrderBook(1.0)
    book.set("ask", 1e10, 3)
    with pytest.raises(
        DataError, match=r"OrderBook\.refine: .* received the tick 1e-08 where a level lies at 10000000000\.0"
    ):
        book.refine(1e-8)
    assert (book.best_ask, book.counts, book.tick) == (1e10, (0, 1), 1.0)
