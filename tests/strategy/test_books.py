"""Strategies on order books: what a step is shown, in research and live alike, against a book of two dictionaries."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdslib import Book, Instrument, Timer, Trade, backtest, find_model, hold, strategy, target
from mdslib.calendar import Session
from mdslib.check import check_model
from mdslib.check.made import DAY, OPEN
from mdslib.errors import DataError, ModelError
from mdslib.events import RECORD, BookFlag, Kind
from mdslib.instruments import parse_instrument
from mdslib.strategy import Every, Fold
from mdslib.table import MarketData, Table, from_columns

PAIRS = (Instrument("BTC/USD", lot=1e-8), Instrument("ETH/USD", lot=1e-8))
DEPTH = 4
BID, ASK = 0, int(BookFlag.ASK)
LAST, CLEAR = int(BookFlag.LAST), int(BookFlag.CLEAR)
NAN = math.nan
SECOND = 1_000_000_000

Row = tuple[int, float, int, int]  # instrument, price, size, flags


@pytest.fixture(scope="module")
def model() -> Any:
    return find_model(Path(__file__).parent / "onlooker.py")


def deltas(rows: list[Row]) -> np.ndarray:
    """Records of rows; each message has a second of its own."""
    made = np.zeros(len(rows), RECORD)
    made["kind"], made["seq"] = Kind.BOOK_DELTA, np.arange(1, len(rows) + 1)
    for record, (k, price, size, flags) in zip(made, rows, strict=True):
        record["instrument"], record["f0"], record["i0"], record["flag"] = k, price, size, flags
    ends = np.r_[0, np.cumsum(made["flag"] & LAST > 0)[:-1]] if len(rows) else np.zeros(0)
    made["ts_event"] = OPEN + ends * SECOND
    return made


def data_of(records: np.ndarray, *others: Table) -> MarketData:
    columns = {"ts_event": records["ts_event"], "instrument": records["instrument"], "flags": records["flag"]}
    table = from_columns(Kind.BOOK_DELTA, columns | {"price": records["f0"], "size": records["i0"]})
    session = Session(DAY, OPEN, OPEN + 86_400 * SECOND, OPEN, OPEN + 86_400 * SECOND)
    return MarketData(PAIRS, (*others, table), (session,))


def plain(rows: list[Row]) -> list[tuple[int, list[list[tuple[float, int]]]]]:
    """What the steps are shown, by dictionaries: (instrument, best bids and best asks with their sizes)."""
    books: list[tuple[dict[float, int], dict[float, int]]] = [({}, {}) for _ in PAIRS]
    imaged, shown = set(), []
    for k, price, size, flags in rows:
        if flags & CLEAR:
            books[k] = ({}, {})
            imaged.add(k)
        elif size:
            books[k][flags & ASK][price] = size
        else:
            books[k][flags & ASK].pop(price, None)
        if flags & LAST and k in imaged:
            sides = [sorted(books[k][0].items(), reverse=True)[:DEPTH], sorted(books[k][1].items())[:DEPTH]]
            shown.append((k, sides))
    return shown


def seen_by(fold: Fold) -> list[tuple[int, list[list[tuple[float, int]]]]]:
    """What the steps of the model onlooker were shown."""
    state, shown = fold.state, []
    for n in range(int(state.told["count"][0])):
        sides = []
        for side in (0, 1):
            levels = list(zip(state.price[n, side].tolist(), state.size[n, side].tolist(), strict=True))
            held = [level for level in levels if level[1] > 0]
            assert all(math.isnan(price) and size == 0 for price, size in levels[len(held) :])
            sides.append(held)
        shown.append((int(state.head[n, 1]), sides))
    return shown


IMAGES: list[Row] = [(0, NAN, 0, CLEAR | LAST), (1, NAN, 0, CLEAR | LAST)]
# Around a price, far from it, and with more and fewer decimals: the grid is refined, and levels lie off the ring.
PRICE = st.one_of(
    st.integers(9_990, 10_010).map(lambda cents: cents / 100),
    st.integers(1, 400_000).map(lambda cents: cents / 100),
    st.integers(1, 50).map(lambda eighths: 100 + eighths / 8),
)
STEP = st.tuples(
    st.integers(0, 1), PRICE, st.integers(0, 5), st.sampled_from([BID, ASK, BID | LAST, ASK | LAST, BID | LAST, CLEAR])
)


@given(steps=st.lists(STEP, max_size=150), cuts=st.lists(st.integers(0, 150), max_size=5), imaged=st.booleans())
@settings(max_examples=60, deadline=None)
def test_steps_see_the_best_levels_after_each_message_however_the_records_arrive(
    model: Any, steps: list[Row], cuts: list[int], imaged: bool
) -> None:
    rows = [*(IMAGES if imaged else []), *steps]
    records, fold = deltas(rows), Fold(model, instruments=PAIRS)
    ends = sorted({*(min(cut, len(rows)) for cut in cuts), len(rows)})
    for start, end in zip([0, *ends], ends, strict=False):
        fold.feed(records[start:end])
    assert seen_by(fold) == plain(rows)
    whole = Fold(model, instruments=PAIRS)
    whole.feed(records)
    assert whole.digest() == fold.digest()
    if imaged:
        research = Fold(model, instruments=PAIRS)
        research.run(data_of(records))
        assert research.digest() == fold.digest()


def test_the_contracts_laws_hold_for_a_model_on_books() -> None:
    report = check_model(Path(__file__).parent / "onlooker.py", events=1000)
    assert report.ok, str(report)


def test_a_book_without_an_image_is_not_shown_and_as_data_refused(model: Any) -> None:
    records = deltas([(0, 100.0, 5, LAST), (0, 101.0, 5, ASK | LAST)])
    fold = Fold(model, instruments=PAIRS)
    fold.feed(records)
    assert seen_by(fold) == []
    with pytest.raises(DataError, match=r"the book deltas of BTC/USD begin with no image of the book and hold none"):
        Fold(model, instruments=PAIRS).run(data_of(records))


def test_more_far_levels_than_there_is_room_for_are_kept(model: Any) -> None:
    rows = [
        *IMAGES,
        *((0, (10_000 - cents) / 100, 1 + cents, BID) for cents in range(9_000)),
        (0, 100.5, 7, ASK | LAST),
    ]
    rows += [(0, (10_000 - cents) / 100, 0, BID | LAST) for cents in range(8_000)]
    fold = Fold(model, model.make_params(keep=9_000), instruments=PAIRS)
    fold.feed(deltas(rows))
    assert seen_by(fold) == plain(rows)


def test_a_fold_with_grown_books_is_restored(model: Any) -> None:
    rows = [*IMAGES, *((0, (10_000 - cents) / 100, 1, BID) for cents in range(6_000)), (0, 100.5, 7, ASK | LAST)]
    rest = deltas([*rows, (0, 100.0, 0, BID | LAST)])[-1:]
    first, second = Fold(model, instruments=PAIRS), Fold(model, instruments=PAIRS)
    first.feed(deltas(rows))
    second.restore(first.save())
    for fold in (first, second):
        fold.feed(rest)
    assert first.digest() == second.digest()
    assert seen_by(second)[-1][1][0][0] == (99.99, 1)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((1, 5.0, -1, BID), r"book of ETH/USD: a size must be >= 0, received -1 at price 5\.0 in a book delta"),
        (
            (0, 1 / 3, 1, BID),
            r"book of BTC/USD: prices must have at most 12 decimals, and be below 2\*\*53 of .* step, rec.* 0\.33",
        ),
        ((0, 4e16, 1, BID), r"at most 12 decimals, .* step, received 4e\+16 in a book delta"),
        ((0, NAN, 1, BID), r"at most 12 decimals, .* step, received nan in a book delta"),
    ],
)
def test_a_delta_that_no_book_can_hold_is_an_error(model: Any, row: Row, said: str) -> None:
    records = deltas([*IMAGES, row])
    for run in (lambda f: f.feed(records), lambda f: f.run(data_of(records))):
        with pytest.raises(DataError, match=said):
            run(Fold(model, instruments=PAIRS))


def test_prices_too_far_apart_for_one_grid_are_an_error(model: Any) -> None:
    for near, far in ((0.001, 3e14), (0.00001234, 1e10), (1e-6, 1e14)):
        for first, second in ((near, far), (far, near)):
            rows = [*IMAGES, (0, first, 1, BID), (0, second, 1, ASK)]
            with pytest.raises(
                DataError, match=rf"below 2\*\*53 of their finest step, received {re.escape(repr(second))}"
            ):
                Fold(model, instruments=PAIRS).feed(deltas(rows))


ROWS: list[Row] = [
    *IMAGES,
    (0, 100.0, 50, BID),
    (0, 101.0, 10, ASK | LAST),  # the heavier bid: it buys 1
    (0, 102.0, 5, ASK | LAST),
    (0, 101.0, 90, ASK | LAST),
    (0, 99.0, 5, BID | LAST),
]


def test_without_trades_orders_fill_at_the_best_prices_of_the_next_message(model: Any) -> None:
    result = backtest(model, data_of(deltas(ROWS)), limits=None)
    fills = result.fills
    assert fills["px"].tolist()[:1] == [101.0], "the ask, after the message that follows the decision"
    assert fills["qty"].tolist()[:1] == [1.0]
    assert result.account["last_px"][0] == 100.5, "the middle marks the position"


def test_a_curve_of_a_run_on_books_is_marked_by_the_middles_of_whole_books(model: Any) -> None:
    rows = [*ROWS, (0, 101.0, 0, ASK | LAST), (0, 102.0, 0, ASK | LAST), (0, 104.0, 1, ASK | LAST)]
    result = backtest(model, data_of(deltas(rows)), limits=None)
    assert result.account["last_px"][0] == 102.0
    assert result.equity_curve()["equity"].iloc[-1] == pytest.approx(result.equity)


def test_with_trades_orders_fill_at_the_next_trade(model: Any) -> None:
    records = deltas(ROWS)
    times = records["ts_event"][[3, 5]] + 1
    trades = from_columns(
        Kind.TRADE, {"ts_event": times, "price": np.array([100.25, 100.75]), "size": np.array([1, 1])}
    )
    result = backtest(model, data_of(records, trades), limits=None, latency="2ms", rules="permissive")
    assert result.fills["px"].tolist() == [100.75], "the first trade comes sooner than the order arrives"


def test_timers_and_books_of_one_model_come_in_order_of_time() -> None:
    @strategy(on=Book, depth=1)
    def waits(book, state, account, p):  # type: ignore[no-untyped-def]
        state[0] = state[0] * 10 + 1
        return hold()

    @waits.on(Every("2s"))
    def tick(timer: Timer, state: Any, account: Any, p: Any) -> Any:
        state[0] = state[0] * 10 + 2
        return hold()

    data = data_of(deltas([(0, NAN, 0, CLEAR | LAST), *((0, 1.0, n, BID | LAST) for n in range(1, 5))]))
    fold = Fold(waits, instruments=PAIRS[:1])
    session = data.sessions[0]._replace(close=OPEN + 5 * SECOND)
    fold.run(MarketData(PAIRS[:1], data.tables, (session,)))
    assert fold.state[0] == 1_121_121, "a timer comes before the message of its time"


@pytest.mark.parametrize("depth", [0, 1001, 2.5])
def test_a_depth_is_a_whole_number_of_levels(depth: Any) -> None:
    with pytest.raises(ModelError, match=r"strategy\(depth=\.\.\.\) must be from 1 to 1000, received"):
        strategy(on=Book, depth=depth)


def test_a_depth_is_for_a_step_on_books_wherever_it_is_added() -> None:
    @strategy(on=Trade, depth=5)
    def later(trade, state, account, p):  # type: ignore[no-untyped-def]
        return hold()

    with pytest.raises(ModelError, match=r"strategy 'later': depth=5 is for a step on Book, and it has none"):
        Fold(later, instruments=PAIRS[:1])

    @later.on(Book)
    def shown(book: Book, state: Any, account: Any, p: Any) -> Any:
        return hold()

    assert Fold(later, instruments=PAIRS[:1]).core.prices.shape == (1, 2, 5)


def test_a_step_can_not_write_the_arrays_that_it_is_shown() -> None:
    @strategy(on=Book, depth=1)
    def writes(book, state, account, p):  # type: ignore[no-untyped-def]
        book.bid[0] = 1.0
        return hold()

    said = "it writes an array that it may only read|ValueError: assignment destination is read-only"
    with pytest.raises(ModelError, match=said):
        Fold(writes, instruments=PAIRS[:1]).feed(deltas([(0, NAN, 0, CLEAR | LAST)]))


def test_a_rejected_order_says_why(model: Any) -> None:
    records = deltas(ROWS)
    times = records["ts_event"][[5]] + 1
    trades = from_columns(Kind.TRADE, {"ts_event": times, "price": np.array([100.25]), "size": np.array([1])})
    orders = backtest(model, data_of(records, trades), limits=None).orders_frame()
    assert orders["status"].tolist()[0] == "REJECTED"
    assert orders["reason"].tolist()[0] == "NO_PRICE"


def test_a_pair_is_not_sold_short_and_a_step_can_see_that_it_would_be_refused() -> None:
    @strategy(on=Book, depth=1)
    def sells(book, state, account, p):  # type: ignore[no-untyped-def]
        return target(-float(account[0].long_only))

    pair = parse_instrument("BTC/USD")
    data = data_of(deltas([row for row in ROWS if row[0] == 0]))
    orders = backtest(sells, MarketData((pair,), data.tables, data.sessions), limits=None).orders_frame()
    assert set(orders["qty"]) == {-1.0}
    assert set(orders["reason"]) == {"NOT_SHORTABLE"}
