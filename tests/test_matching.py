"""What the exchange's core does with an order, rule by rule, and the kernels against a slow reference."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdslib.account import new_account
from mdslib.errors import ConfigError
from mdslib.events import Status, TimeInForce
from mdslib.matching import NEVER, Fees, MatchingEngine, Reject, Rules, make_venue, parse_rules, works_from
from tests import matching_reference as reference

NAN = math.nan
DAY, GTC, IOC = TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC


def engine(**options: Any) -> MatchingEngine:
    return MatchingEngine(options.pop("instruments", 1), **options)


def alpaca(cash: float = 100_000.0, price: float = 100.0, **options: Any) -> MatchingEngine:
    """Alpaca's rules, instrument 0 last traded at `price`, no fill in part."""
    made = MatchingEngine(options.pop("instruments", 1), "alpaca", cash=cash, **options)
    made.venue = made.venue._replace(partial=0.0)
    made.on_trades([0], [0], [price])
    return made


def hold(made: MatchingEngine, qty: float, price: float = 100.0) -> MatchingEngine:
    assert made.submit(0, 0, qty, NAN, DAY, 1000) is Reject.NONE
    assert len(made.on_trades([1], [0], [price])) == 1
    return made


def told(fills: np.ndarray) -> list[tuple[int, int, float, float, str]]:
    return [
        (int(f["ts"]), int(f["tag"]), float(f["qty"]), float(f["px"]), Status(int(f["status"])).name) for f in fills
    ]


# --------------------------------------------------------------------------- when and at what price


def test_a_market_order_fills_at_the_next_trade_strictly_after_its_time_plus_latency() -> None:
    e = engine(latency=10)
    e.submit(100, 0, 5.0, NAN, DAY, 7)
    fills = e.on_trades([100, 109, 110, 111], [0] * 4, [1.0, 2.0, 3.0, 4.0])
    assert told(fills) == [(111, 7, 5.0, 4.0, "FILLED")]


def test_without_latency_the_trade_of_the_same_time_is_not_met() -> None:
    e = engine()
    e.submit(100, 0, 5.0, NAN, DAY, 7)
    assert told(e.on_trades([100, 101], [0, 0], [1.0, 2.0])) == [(101, 7, 5.0, 2.0, "FILLED")]


@pytest.mark.parametrize(
    ("qty", "limit", "prices", "expected"),
    [
        (5.0, 10.0, [11.0, 10.5], None),
        (5.0, 10.0, [10.0], 10.0),
        (5.0, 10.0, [9.0], 9.0),  # better at once: the event's price
        (5.0, 10.0, [11.0, 9.0], 10.0),  # it has rested: its own limit
        (-5.0, 10.0, [9.0, 9.5], None),
        (-5.0, 10.0, [10.0], 10.0),
        (-5.0, 10.0, [11.0], 11.0),
        (-5.0, 10.0, [9.0, 11.0], 10.0),
    ],
)
def test_a_limit_order_fills_when_trades_reach_it_and_at_its_limit_once_rested(
    qty: float, limit: float, prices: list[float], expected: float | None
) -> None:
    e = engine()
    e.submit(0, 0, qty, limit, DAY, 1)
    fills = e.on_trades(range(1, len(prices) + 1), [0] * len(prices), prices)
    assert [float(f["px"]) for f in fills] == ([] if expected is None else [expected])
    assert len(e.working) == (1 if expected is None else 0)


def test_an_ioc_order_gets_one_chance() -> None:
    e = engine()
    e.submit(0, 0, 5.0, 10.0, IOC, 1)
    assert told(e.on_trades([1, 2], [0, 0], [11.0, 9.0])) == [(1, 1, 0.0, 0.0, "CANCELED")]


def test_day_orders_expire_and_gtc_orders_stay() -> None:
    e = engine()
    e.submit(0, 0, 5.0, 10.0, DAY, 1)
    e.submit(0, 0, 5.0, 10.0, GTC, 2)
    assert told(e.expire(9)) == [(9, 1, 0.0, 0.0, "EXPIRED")]
    assert e.working["tag"].tolist() == [2]


def test_a_day_order_sent_at_the_close_or_later_is_not_of_that_session() -> None:
    e = engine()
    for tag, ts in enumerate((8, 9, 10)):
        e.submit(ts, 0, 5.0, 10.0, DAY, tag)
    assert told(e.expire(9)) == [(9, 0, 0.0, 0.0, "EXPIRED")]
    assert e.working["tag"].tolist() == [1, 2]


def test_an_ioc_order_that_met_no_event_is_canceled_at_the_close() -> None:
    e = engine()
    e.submit(8, 0, 5.0, NAN, IOC, 1)
    e.submit(9, 0, 5.0, NAN, IOC, 2)
    assert told(e.expire(9)) == [(9, 1, 0.0, 0.0, "CANCELED")]
    assert e.working["tag"].tolist() == [2]


@pytest.mark.parametrize(
    ("ts", "begins"), [(5, 10), (10, 10), (19, 19), (20, 30), (25, 30), (30, 30), (39, 39), (40, NEVER), (50, NEVER)]
)
def test_an_order_sent_outside_the_sessions_works_from_the_next_open_on(ts: int, begins: int) -> None:
    assert works_from(np.array([[10, 20], [30, 40]]), ts) == begins


def test_where_sessions_follow_without_a_break_or_there_are_none_an_order_works_at_once() -> None:
    assert works_from(np.array([[10, 20], [20, 30]]), 20) == 20
    assert works_from(np.zeros((0, 2), np.int64), 7) == 7


def test_an_order_that_waits_for_no_session_never_fills() -> None:
    e = engine(latency=1_000_000)
    e.submit(NEVER, 0, 5.0, NAN, DAY, 1)
    assert len(e.on_trades([2**61], [0], [1.0])) == 0


def test_a_cancel_ends_one_order_and_a_second_cancel_nothing() -> None:
    e = engine()
    for tag in (1, 2):
        e.submit(0, 0, 5.0, 10.0, DAY, tag)
    assert told(e.cancel(9, 1)) == [(9, 1, 0.0, 0.0, "CANCELED")]
    assert len(e.cancel(9, 1)) == 0
    assert len(e.cancel(9, -1)) == 0
    assert e.working["tag"].tolist() == [2]


def test_an_order_meets_only_its_own_instrument() -> None:
    e = engine(instruments=2)
    e.submit(0, 1, 5.0, NAN, DAY, 1)
    assert told(e.on_trades([1, 2], [0, 1], [1.0, 2.0])) == [(2, 1, 5.0, 2.0, "FILLED")]


def test_orders_fill_in_the_order_that_they_came_in() -> None:
    e = engine()
    for tag in (3, 1, 2):
        e.submit(0, 0, 5.0, NAN, DAY, tag)
    assert e.on_trades([1], [0], [9.0])["tag"].tolist() == [3, 1, 2]


def test_against_quotes_a_buy_gets_the_ask_and_a_sell_the_bid() -> None:
    e = engine()
    e.submit(0, 0, 5.0, NAN, DAY, 1)
    e.submit(0, 0, -5.0, NAN, DAY, 2)
    assert told(e.on_quotes([1], [0], [9.99], [10.01])) == [(1, 1, 5.0, 10.01, "FILLED"), (1, 2, -5.0, 9.99, "FILLED")]
    assert float(e.account[0]["last_px"]) == 10.0


def test_a_one_sided_quote_fills_one_side_and_marks_nothing() -> None:
    e = engine()
    e.submit(0, 0, 5.0, NAN, DAY, 1)
    e.submit(0, 0, -5.0, NAN, DAY, 2)
    assert e.on_quotes([1], [0], [9.99], [NAN])["tag"].tolist() == [2]
    assert math.isnan(float(e.account[0]["last_px"]))
    assert e.working["tag"].tolist() == [1]


def test_against_bars_a_market_order_gets_the_open_and_a_limit_is_met_by_low_or_high() -> None:
    e = engine()
    e.submit(0, 0, 5.0, NAN, DAY, 1)
    e.submit(0, 0, 5.0, 8.0, DAY, 2)
    e.submit(0, 0, -5.0, 12.0, DAY, 3)
    e.submit(0, 0, -5.0, 12.01, DAY, 4)
    fills = e.on_bars([1], [0], opens=[10.0], low=[8.0], high=[12.0], close=[11.0])
    assert [(int(f["tag"]), float(f["px"])) for f in fills] == [(1, 10.0), (2, 8.0), (3, 12.0)]
    assert float(e.account[0]["last_px"]) == 11.0


def test_a_trade_without_a_price_fills_nothing_and_marks_nothing() -> None:
    e = engine()
    e.submit(0, 0, 5.0, NAN, DAY, 1)
    assert len(e.on_trades([1], [0], [NAN])) == 0
    assert math.isnan(float(e.account[0]["last_px"]))
    assert told(e.on_trades([2], [0], [3.0])) == [(2, 1, 5.0, 3.0, "FILLED")]


def test_fees_are_basis_points_of_the_notional_and_an_amount_a_share() -> None:
    e = engine(fees=Fees(bps=2.0, per_share=0.01), cash=1000.0)
    e.submit(0, 0, 5.0, NAN, DAY, 1)
    (fill,) = e.on_trades([1], [0], [100.0])
    assert float(fill["fee"]) == pytest.approx(5 * (100 * 0.0002 + 0.01))
    assert float(e.account[0]["cash"]) == pytest.approx(1000.0 - 500.0 - 0.15)


# --------------------------------------------------------------------------- fills in part


def partials(seed: int, qty: float = 100.0) -> list[float]:
    e = MatchingEngine(1, "alpaca", cash=1e9, seed=seed)
    e.on_trades([0], [0], [10.0])
    for tag in range(40):
        e.submit(0, 0, qty, NAN, DAY, tag)
    fills = e.on_trades(range(1, 20), [0] * 19, [10.0] * 19)
    for tag in range(40):
        mine = fills[fills["tag"] == tag]
        assert float(mine["qty"].sum()) == qty
        assert mine["status"].tolist() == [int(Status.PARTIALLY_FILLED)] * (len(mine) - 1) + [int(Status.FILLED)]
        left = qty
        for fill in mine:
            left -= float(fill["qty"])
            assert float(fill["leaves"]) == left
    return [float(q) for q in fills["qty"]]


def test_fills_in_part_conserve_the_quantity_and_repeat_with_the_seed() -> None:
    assert partials(1) == partials(1)
    assert partials(1) != partials(2)
    assert any(q != 100.0 for q in partials(1))
    assert all(q == math.floor(q) for q in partials(1, 7.0))


def test_about_a_tenth_of_the_fills_are_in_part() -> None:
    e = MatchingEngine(1, "alpaca", cash=1e12, seed=3)
    e.on_trades([0], [0], [10.0])
    for tag in range(3000):
        e.submit(0, 0, 10.0, NAN, DAY, tag)
    fills = e.on_trades([1], [0], [10.0])
    share = np.count_nonzero(fills["status"] == int(Status.PARTIALLY_FILLED)) / 3000
    assert 0.08 < share < 0.12


def test_permissive_rules_never_fill_in_part() -> None:
    e = engine(seed=3)
    for tag in range(200):
        e.submit(0, 0, 10.0, NAN, DAY, tag)
    assert set(e.on_trades([1], [0], [10.0])["qty"].tolist()) == {10.0}


# --------------------------------------------------------------------------- Alpaca's refusals


def test_no_price_yet_is_refused() -> None:
    assert MatchingEngine(1, "alpaca").submit(0, 0, 5.0, NAN, DAY, 1) is Reject.NO_PRICE
    assert MatchingEngine(1, "alpaca").submit(0, 0, 5.0, 10.0, DAY, 1) is Reject.NONE


@pytest.mark.parametrize(
    ("resting", "new", "reason"),
    [
        ((5.0, 99.0), (-5.0, 99.5), Reject.NONE),
        ((5.0, 99.0), (-5.0, 99.0), Reject.WASH_TRADE),
        ((5.0, 99.0), (-5.0, NAN), Reject.WASH_TRADE),
        ((5.0, NAN), (-5.0, 150.0), Reject.WASH_TRADE),
        ((-5.0, 101.0), (5.0, 100.9), Reject.NONE),
        ((-5.0, 101.0), (5.0, 101.0), Reject.WASH_TRADE),
        ((5.0, 99.0), (5.0, NAN), Reject.NONE),
    ],
)
def test_an_order_that_could_meet_ones_own_is_a_wash_trade(
    resting: tuple[float, float], new: tuple[float, float], reason: Reject
) -> None:
    e = alpaca()
    assert e.submit(1, 0, *resting, DAY, 1) is Reject.NONE
    assert e.check(0, *new) is reason


@pytest.mark.parametrize(
    ("position", "working", "qty", "reason"),
    [
        (10.0, 0.0, -10.0, Reject.NONE),
        (10.0, 0.0, -11.0, Reject.QTY_AVAILABLE),  # would flip
        (10.0, -4.0, -6.0, Reject.NONE),
        (10.0, -4.0, -7.0, Reject.QTY_AVAILABLE),  # four are held for another order
        (-10.0, 0.0, 10.0, Reject.NONE),
        (-10.0, 0.0, 10.5, Reject.QTY_AVAILABLE),
    ],
)
def test_a_close_is_for_no_more_than_is_free(position: float, working: float, qty: float, reason: Reject) -> None:
    e = hold(alpaca(), position)
    if working:
        assert e.submit(2, 0, working, 150.0, DAY, 2) is Reject.NONE
    assert e.check(0, qty, NAN) is reason


def test_what_nobody_lends_can_be_sold_only_while_it_is_held() -> None:
    pair = alpaca()
    pair.account["long_only"] = 1
    assert pair.check(0, -1.0, NAN) is Reject.NOT_SHORTABLE
    assert hold(pair, 2.0).check(0, -2.0, NAN) is Reject.NONE
    assert pair.check(0, -3.0, NAN) is Reject.QTY_AVAILABLE


def test_a_fraction_can_be_bought_but_not_sold_short() -> None:
    assert alpaca().check(0, 0.5, NAN) is Reject.NONE
    assert alpaca().check(0, -0.5, NAN) is Reject.SHORT_FRACTION
    assert hold(alpaca(), 2.5).check(0, -2.5, NAN) is Reject.NONE


@pytest.mark.parametrize(
    ("cash", "qty", "limit", "reason"),
    [
        (1000.0, 40.0, NAN, Reject.NONE),  # four times equity
        (1000.0, 40.01, NAN, Reject.BUYING_POWER),
        (1000.0, 50.0, 80.0, Reject.NONE),
        (1000.0, -38.0, NAN, Reject.NONE),  # a short is priced 3 % above the last price
        (1000.0, -39.0, NAN, Reject.BUYING_POWER),
    ],
)
def test_buying_power_is_the_multiplier_times_equity(cash: float, qty: float, limit: float, reason: Reject) -> None:
    assert alpaca(cash).check(0, qty, limit) is reason


def test_working_orders_and_positions_use_up_buying_power() -> None:
    e = hold(alpaca(1000.0), 20.0)
    assert e.buying_power() == 2000.0
    assert e.submit(2, 0, 10.0, 100.0, GTC, 2) is Reject.NONE
    assert e.check(0, 10.0, NAN) is Reject.NONE
    assert e.check(0, 10.1, NAN) is Reject.BUYING_POWER


def test_a_refused_order_is_not_on_the_books() -> None:
    e = alpaca(10.0)
    assert e.submit(1, 0, 100.0, NAN, DAY, 1) is Reject.BUYING_POWER
    assert len(e.working) == 0


def test_permissive_rules_take_everything() -> None:
    e = engine(cash=0.0)
    e.submit(0, 0, 5.0, NAN, DAY, 1)
    assert e.submit(0, 0, -1e6, NAN, DAY, 2) is Reject.NONE


# --------------------------------------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: parse_rules("alpacca"),
            "one of permissive, alpaca, received 'alpacca'. Did you mean 'alpaca'?",
        ),
        (lambda: make_venue(Rules.ALPACA, -1, Fees(), 0), "latency must be >= 0 ns, received -1"),
        (
            lambda: make_venue(Rules.ALPACA, 0, Fees(bps=-2.0), 0),
            "Fees.bps must be >= 0, received -2.0; rebates",
        ),
        (lambda: make_venue(Rules.ALPACA, 0, Fees(per_share=NAN), 0), "Fees.per_share must be >= 0, received nan"),
        (lambda: engine().submit(0, 1, 5.0, NAN, DAY, 1), "the exchange has instruments 0 to 0, received 1"),
        (lambda: engine().submit(0, -1, 5.0, NAN, DAY, 1), "the exchange has instruments 0 to 0, received -1"),
        (lambda: engine().submit(0, 0, 0.0, NAN, DAY, 1), "qty must be finite and not 0"),
        (lambda: engine().submit(0, 0, NAN, NAN, DAY, 1), "qty must be finite and not 0"),
        (lambda: engine().submit(0, 0, 1.0, 0.0, DAY, 1), "limit > 0 or nan, .* received qty=1.0, limit=0.0"),
        (lambda: engine().submit(0, 0, 1.0, NAN, DAY, -1), "tag >= 0"),
        (lambda: engine().on_trades([1], [5], [1.0]), "the exchange has instruments 0 to 0, received 5"),
        (lambda: engine().on_trades([1, 2], [0], [1.0]), "prices, times and instruments must be equally many"),
    ],
)
def test_a_bad_argument_is_named(call: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        call()


def test_room_for_orders_grows() -> None:
    e = engine()
    for tag in range(1000):
        e.submit(0, 0, 1.0, NAN, DAY, tag)
    assert e.on_trades([1], [0], [1.0])["tag"].tolist() == list(range(1000))


def test_no_events_give_no_fills() -> None:
    assert len(engine().on_trades([], [], [])) == 0


# --------------------------------------------------------------------------- the kernels and the reference

PRICE = st.integers(95, 105).map(float)
ORDER = st.tuples(
    st.just("order"), st.integers(0, 1), st.integers(1, 9), st.booleans(), st.none() | PRICE, st.sampled_from([0, 1, 2])
)
EVENT = st.tuples(st.just("trade"), st.integers(0, 1), PRICE)
QUOTE = st.tuples(st.just("quote"), st.integers(0, 1), st.none() | PRICE, st.none() | PRICE)
BAR = st.tuples(st.just("bar"), st.integers(0, 1), PRICE, st.integers(0, 3), st.integers(0, 3))
END = st.tuples(st.sampled_from(["cancel", "expire"]), st.integers(0, 20))


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.one_of(ORDER, EVENT, EVENT, QUOTE, BAR, END)), max_size=60),
    st.integers(0, 3),
)
def test_fills_equal_those_of_the_slow_reference(script: list[Any], latency: int) -> None:
    fast = MatchingEngine(2, latency=latency, fees=Fees(bps=1.0, per_share=0.005), cash=0.0)
    slow = reference.ReferenceEngine(latency, 1.0, 0.005)
    ts = tag = 0
    for step, (what, *rest) in script:
        ts += step
        mine: Any
        yours: list[Any] = []
        if what == "order":
            k, qty, sells, limit, tif = rest
            args = (ts, k, -float(qty) if sells else float(qty), NAN if limit is None else limit, tif, tag)
            tag += 1
            fast.submit(*args)
            slow.submit(*args)
            continue
        if what == "trade":
            k, px = rest
            mine, yours = fast.on_trades([ts], [k], [px]), slow.event(ts, k, px, px, px, px)
        elif what == "quote":
            k, bid, ask = rest
            bid, ask = (NAN if side is None else side for side in (bid, ask))
            mine, yours = fast.on_quotes([ts], [k], [bid], [ask]), slow.event(ts, k, ask, bid, ask, bid)
        elif what == "bar":
            k, px, down, up = rest
            mine = fast.on_bars([ts], [k], [px], [px - down], [px + up], [px])
            yours = slow.event(ts, k, px, px, px - down, px + up)
        elif what == "cancel":
            mine, yours = fast.cancel(ts, rest[0]), slow.cancel(ts, rest[0])
        else:
            mine, yours = fast.expire(ts), slow.close(ts)
        got = [
            (int(f["ts"]), int(f["tag"]), *map(float, (f["qty"], f["px"], f["leaves"])), int(f["status"])) for f in mine
        ]
        assert got == [(t.ts, t.tag, t.qty, t.px, t.leaves, t.status) for t in yours]
        assert [float(f["fee"]) for f in mine] == pytest.approx([t.fee for t in yours])
    assert fast.working["tag"].tolist() == [order.tag for order in slow.working]


def test_the_venues_books_are_the_sum_of_its_fills() -> None:
    random = np.random.default_rng(5)
    e = engine(cash=1000.0)
    cash, position = 1000.0, 0.0
    for ts in range(1, 200):
        e.submit(ts, 0, float(random.integers(-9, 9)) or 1.0, NAN, DAY, ts)
        for fill in e.on_trades([ts], [0], [float(random.integers(90, 110))]):
            position += float(fill["qty"])
            cash -= float(fill["qty"]) * float(fill["px"])
    assert float(e.account[0]["position"]) == position
    assert float(e.account[0]["cash"]) == cash
    assert len(e.account) == len(new_account(1))
