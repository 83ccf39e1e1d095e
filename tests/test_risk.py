"""The limits, case by case: value, bound and text of each denial, and what may just pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mdslib.account import new_account
from mdslib.errors import ConfigError
from mdslib.jit import records
from mdslib.risk import MINUTE, RISK, Denial, Limits, TradingState, check_order, count_order, denial_text, make_limits

NAN = math.nan
OFF = Limits(0.0, 0.0, 0.0, 0, 0.0, 0.0, 0, 0)


class Desk:
    """One instrument at 100.00, a million in cash."""

    def __init__(self, limits: Limits, **account: float) -> None:
        self.limits = limits
        self.account = new_account(2, 1_000_000.0)
        self.account["last_px"] = 100.0
        for name, value in account.items():
            self.account[0][name] = value
        self.risk = records(1, RISK)
        self.recent = np.zeros(max(1, limits.max_orders_per_minute), np.int64)
        self.hours = np.array([[1000, 2000], [3000, 4000]], np.int64)

    def check(self, qty: float, limit: float = NAN, ts: int = 1500) -> tuple[int, float, float]:
        return check_order(
            self.limits, self.risk, self.recent, self.hours, self.account, ts, 0, float(qty), float(limit)
        )

    def count(self, ts: int, qty: float = 1.0, limit: float = NAN) -> None:
        count_order(self.risk, self.recent, ts, 0, qty, limit)


def limits(**values: Any) -> Limits:
    return OFF._replace(**values)


PASS = (0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("desk", "qty", "limit", "denial", "text"),
    [
        (Desk(OFF), 1e9, NAN, Denial.NONE, ""),
        (Desk(limits(max_order_qty=10.0)), 10, NAN, Denial.NONE, ""),
        (
            Desk(limits(max_order_qty=10.0)),
            -11,
            NAN,
            Denial.ORDER_QTY,
            "ORDER_QTY: max_order_qty is 10, the order's quantity is 11",
        ),
        (Desk(limits(max_order_notional=1000.0)), 10, NAN, Denial.NONE, ""),
        (
            Desk(limits(max_order_notional=1000.0)),
            10,
            100.5,
            Denial.ORDER_NOTIONAL,
            "ORDER_NOTIONAL: max_order_notional is 1,000.00, the order's is 1,005.00",
        ),
        (Desk(limits(max_order_notional=1000.0)), 10, 99.0, Denial.NONE, ""),
        (Desk(limits(max_position=10.0), position=5.0), 5, NAN, Denial.NONE, ""),
        (
            Desk(limits(max_position=10.0), position=5.0),
            6,
            NAN,
            Denial.POSITION,
            "POSITION: max_position is 10, the position would be 11",
        ),
        (
            Desk(limits(max_position=10.0), position=5.0, open_qty=4.0, buys=4.0),
            2,
            NAN,
            Denial.POSITION,
            "POSITION: max_position is 10, the position would be 11",
        ),
        (Desk(limits(max_position=10.0), position=20.0), -5, NAN, Denial.NONE, ""),  # nearer to flat
        (
            Desk(limits(max_position=10.0), position=20.0),
            -31,
            NAN,
            Denial.POSITION,
            "POSITION: max_position is 10, the position would be 11",  # nearer, but on the other side
        ),
        (
            Desk(limits(max_position=10.0), position=5.0, open_qty=0.0, buys=4.0, sells=4.0),
            2,
            NAN,
            Denial.POSITION,  # the sale that works may never fill
            "POSITION: max_position is 10, the position would be 11",
        ),
        (Desk(limits(max_position=10.0), position=5.0, open_qty=0.0, buys=5.0, sells=5.0), -1, NAN, Denial.NONE, ""),
        (
            Desk(limits(max_position=10.0), position=-5.0, sells=3.0, buys=8.0, parked=-2.0, open_qty=3.0),
            -1,
            NAN,
            Denial.POSITION,  # what waits for a close counts as well
            "POSITION: max_position is 10, the position would be 11",
        ),
        (Desk(limits(price_collar=0.05)), 1, 105.0, Denial.NONE, ""),
        (Desk(limits(price_collar=0.05)), 1, NAN, Denial.NONE, ""),
        (
            Desk(limits(price_collar=0.05)),
            1,
            94.0,
            Denial.PRICE_COLLAR,
            "PRICE_COLLAR: price_collar is 5.00%, the limit price is 6.00% from the last price",
        ),
        (Desk(limits(leverage=2.0)), 20_000, NAN, Denial.NONE, ""),
        (
            Desk(limits(leverage=2.0)),
            20_001,
            NAN,
            Denial.BUYING_POWER,
            "BUYING_POWER: leverage allows 2,000,000.00 of gross exposure, it would be 2,000,100.00",
        ),
        (Desk(limits(leverage=0.5), position=9000.0, cash=100_000.0), -1, NAN, Denial.NONE, ""),  # over it, but nearer
        (
            Desk(limits(leverage=2.0), buys=15_000.0, sells=15_000.0),
            5_001,
            NAN,
            Denial.BUYING_POWER,  # nothing that works is set off against what works on the other side
            "BUYING_POWER: leverage allows 2,000,000.00 of gross exposure, it would be 2,000,100.00",
        ),
    ],
)
def test_each_limit_speaks_with_its_value_and_the_orders(
    desk: Desk, qty: float, limit: float, denial: Denial, text: str
) -> None:
    reason, bound, value = desk.check(qty, limit)
    assert Denial(reason) is denial
    if denial:
        assert denial_text(reason, bound, value) == text
    else:
        assert (bound, value) == (0.0, 0.0)


@pytest.mark.parametrize("name", ["max_order_notional", "leverage"])
def test_an_order_that_nothing_prices_yet_does_not_pass_a_limit_on_its_value(name: str) -> None:
    desk = Desk(limits(**{name: 1000.0}), last_px=NAN)
    reason, _, value = desk.check(1.0)
    assert reason in (Denial.ORDER_NOTIONAL, Denial.BUYING_POWER)
    assert math.isnan(value)
    assert desk.check(1.0, 10.0) == PASS


def test_a_close_that_nothing_prices_has_the_price_that_it_was_opened_at() -> None:
    desk = Desk(limits(max_order_notional=1000.0), last_px=NAN, position=20.0, avg_px=80.0)
    assert desk.check(-12.0) == PASS
    assert desk.check(-13.0) == (Denial.ORDER_NOTIONAL, 1000.0, 1040.0)
    assert desk.check(1.0)[0] == Denial.ORDER_NOTIONAL, "what opens has none"


def test_the_order_rate_counts_any_sixty_seconds_exactly() -> None:
    desk = Desk(limits(max_orders_per_minute=2))
    for ts in (0, 10):
        assert desk.check(1.0, ts=ts) == PASS
        desk.count(ts)
    assert desk.check(1.0, ts=MINUTE - 1) == (Denial.ORDER_RATE, 2.0, 3.0)
    assert denial_text(*desk.check(1.0, ts=MINUTE - 1)) == (
        "ORDER_RATE: max_orders_per_minute is 2, this would be order 3 within 60 s"
    )
    assert desk.check(1.0, ts=MINUTE) == PASS
    desk.count(MINUTE)
    assert desk.check(1.0, ts=MINUTE + 9)[0] == Denial.ORDER_RATE
    assert desk.check(1.0, ts=MINUTE + 10) == PASS


def test_a_denied_order_does_not_count_towards_the_rate() -> None:
    desk = Desk(limits(max_orders_per_minute=1, max_order_qty=1.0))
    assert desk.check(2.0, ts=0)[0] == Denial.ORDER_QTY
    assert desk.check(1.0, ts=0) == PASS


@pytest.mark.parametrize(
    ("ts", "denial"),
    [(999, 4), (1000, 0), (1999, 0), (2000, 4), (2999, 4), (3000, 0), (3999, 0), (4000, 4)],
)
def test_orders_pass_from_the_open_to_just_before_the_close(ts: int, denial: int) -> None:
    assert Desk(limits(session=1)).check(1.0, ts=ts)[0] == denial
    assert denial in (0, Denial.SESSION)


def test_sessions_are_followed_through_the_day() -> None:
    desk = Desk(limits(session=1))
    assert [desk.check(1.0, ts=ts)[0] for ts in (1500, 2500, 3500, 4500)] == [0, 4, 0, 4]
    assert denial_text(4, 0.0, 0.0) == "SESSION: the event's time is outside the regular session"


def test_without_sessions_nothing_passes_the_session_limit() -> None:
    desk = Desk(limits(session=1))
    desk.hours = np.zeros((0, 2), np.int64)
    assert desk.check(1.0)[0] == Denial.SESSION


@pytest.mark.parametrize(
    ("position", "buys", "sells", "qty", "passes"),
    [
        (10.0, 0.0, 0.0, -1.0, True),
        (10.0, 0.0, 0.0, -10.0, True),
        (10.0, 0.0, 0.0, -11.0, False),  # through flat
        (10.0, 0.0, 0.0, 1.0, False),
        (10.0, 0.0, 10.0, -1.0, False),  # it is being closed already
        (10.0, 5.0, 0.0, -11.0, False),  # the purchase that works may never fill
        (10.0, 0.0, 4.0, 1.0, False),  # nor the sale
        (0.3, 0.0, 0.2, -0.1, True),  # what floats leave over is nothing
        (-10.0, 0.0, 0.0, 10.0, True),
        (-10.0, 4.0, 0.0, 7.0, False),
        (-10.0, 0.0, 0.0, -1.0, False),
        (0.0, 0.0, 0.0, 1.0, False),
    ],
)
def test_reducing_lets_only_orders_through_that_go_nearer_to_flat(
    position: float, buys: float, sells: float, qty: float, passes: bool
) -> None:
    desk = Desk(OFF, position=position, buys=buys, sells=sells, open_qty=buys - sells)
    desk.risk[0]["state"] = TradingState.REDUCING
    assert desk.check(qty) == (PASS if passes else (Denial.REDUCING, 0.0, qty))


def test_halted_lets_nothing_through() -> None:
    desk = Desk(OFF, position=10.0)
    desk.risk[0]["state"] = TradingState.HALTED
    assert denial_text(*desk.check(-1.0)) == "HALTED: trading is halted"


def test_an_equal_order_within_the_span_is_a_duplicate() -> None:
    desk = Desk(limits(duplicate_ns=100))
    desk.count(1000, 5.0, NAN)
    assert desk.check(5.0, NAN, ts=1100) == (Denial.DUPLICATE, 100.0, 100.0)
    assert desk.check(5.0, NAN, ts=1101) == PASS
    assert desk.check(4.0, NAN, ts=1050) == PASS
    assert desk.check(5.0, 99.0, ts=1050) == PASS
    assert denial_text(11, 100.0, 40.0) == "DUPLICATE: duplicate_ns is 100, an equal order was decided 40 ns before"


def test_every_denial_has_a_sentence() -> None:
    for denial in Denial:
        if denial is not Denial.NONE:
            assert denial_text(denial, 1.0, 2.0).startswith(f"{denial.name}: ")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"max_positon": 1}, "Limits has no field 'max_positon'. Did you mean 'max_position'?"),
        ({"max_position": -1}, "Limits.max_position must be a finite number >= 0, received -1; 0 turns the limit off"),
        ({"max_position": NAN}, "Limits.max_position must be a finite number >= 0, received nan"),
        ({"max_position": math.inf}, "Limits.max_position must be a finite number >= 0, received inf"),
        ({"max_position": "5"}, "Limits.max_position must be a finite number >= 0, received '5'"),
        ({"max_orders_per_minute": 0.5}, "Limits.max_orders_per_minute must be a whole number, received 0.5"),
    ],
)
def test_a_bad_limit_is_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_limits(**values)


def test_limits_take_their_declared_types_and_keep_the_other_defaults() -> None:
    made = make_limits(max_position=10, max_orders_per_minute=20.0)
    assert made == Limits(max_position=10.0, max_orders_per_minute=20)
    assert [type(value) for value in made] == [type(value) for value in Limits()]


def test_the_grid_s_denials_name_the_step_and_the_order_s_value() -> None:
    assert denial_text(Denial.TICK, 0.01, 290.123) == (
        "TICK: prices step by 0.01, the limit price is 290.123; round it to the tick"
    )
    assert denial_text(Denial.LOT, 1.0, 2.5) == (
        "LOT: quantities step by 1, the order's is 2.5; only a fractionable stock takes a fraction, in a DAY order"
    )
