"""Pre-trade limits: one compiled check, spoken by the fold, the back-test and the desk alike.

A denial is ours; a rejection is the venue's. Each names the limit, its value, and the order's.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from mdslib.account import DUST, equity, gross_exposure
from mdslib.errors import ConfigError, did_you_mean
from mdslib.instruments import on_grid
from mdslib.jit import jit, jit_inner, jit_quiet
from mdslib.protocols import Records

MINUTE = 60_000_000_000

# What RISK's `state` holds: a `TradingState` in its lowest two bits, and above them what else keeps orders back. One
# number, so that one comparison with 0 tells that nothing does.
TRADING = 3
HELD = 4  # market events were missed, and the feed is not whole again
SOME_HALTED = 8  # the venue has halted some instrument; the account says which


class Denial(IntEnum):
    """Why an order was not sent. Codes are part of the tape's format."""

    NONE = 0
    INVALID = 1  # not a number, zero, absurd, or an instrument that the session does not have
    HALTED = 2
    REDUCING = 3
    SESSION = 4
    ORDER_QTY = 5
    ORDER_NOTIONAL = 6
    POSITION = 7
    ORDER_RATE = 8
    PRICE_COLLAR = 9
    BUYING_POWER = 10
    DUPLICATE = 11
    HALT_FILE = 12
    BACKFILL = 13  # between a GAP and its RESYNC
    INSTRUMENT_HALTED = 14
    TICK = 15
    LOT = 16
    REQUEST_RATE = 17  # the venue takes no more requests for now


class TradingState(IntEnum):
    """The desk's switch: REDUCING lets only orders through that bring a position nearer to flat."""

    ACTIVE = 0
    REDUCING = 1
    HALTED = 2


class Limits(NamedTuple):
    """The limits of a session; quantities in units, amounts in currency, 0 turns a limit off.

    Attributes
    ----------
    max_order_qty : float
        Largest absolute quantity of one order.
    max_order_notional : float
        Largest quantity x reference price of one order.
    max_position : float
        Largest absolute position that may result in one instrument, if all orders on that side fill and none on the
        other.
    max_orders_per_minute : int
        Orders in any 60 s of event time; the venue allows 200 requests.
    price_collar : float
        Largest distance of a limit price from the last price, as a fraction of it.
    leverage : float
        Largest gross exposure over equity, counted likewise.
    duplicate_ns : int
        An equal order (instrument, quantity, limit) within so many ns is denied; off, since a model may mean it.
    session : int
        1 denies orders outside the instruments' regular session; in a back-test on daily bars the close is inside.
    """

    max_order_qty: float = 1_000.0
    max_order_notional: float = 100_000.0
    max_position: float = 5_000.0
    max_orders_per_minute: int = 150
    price_collar: float = 0.05
    leverage: float = 2.0
    duplicate_ns: int = 0
    session: int = 1


def make_limits(**values: float) -> Limits:
    """Return limits with some of the defaults replaced; an unknown name or a negative value raises `ConfigError`.

    Examples
    --------
    >>> make_limits(max_position=10).max_position
    10.0
    """
    typed: dict[str, float] = {}
    for name, value in values.items():
        if name not in Limits._fields:
            raise ConfigError(f"Limits has no field {name!r}. {did_you_mean(name, Limits._fields)}")
        if not isinstance(value, int | float | np.number) or not 0 <= value < float("inf"):
            raise ConfigError(f"Limits.{name} must be a finite number >= 0, received {value!r}; 0 turns the limit off")
        typed[name] = type(Limits._field_defaults[name])(value)
        if typed[name] != value:
            raise ConfigError(f"Limits.{name} must be a whole number, received {value!r}; 0 turns the limit off")
    return Limits(**typed)  # type: ignore[arg-type]


# Running state of the limits: what keeps orders back, orders counted, pointer into the sessions, last order.
RISK = np.dtype(
    [
        ("state", "<i8"),
        ("sent", "<i8"),
        ("hour", "<i8"),
        ("last_ts", "<i8"),
        ("last_instrument", "<i8"),
        ("last_qty", "<f8"),
        ("last_limit", "<f8"),
    ]
)


# A kernel calls another in a statement by itself, never in a condition: so its text can be put in place of the call
# (`mdslib.strategy.inline`).
@jit_quiet
def check_state(risk: Records, account: Records, k: int, qty: float) -> int:
    """Return the denial of the trading state alone."""
    state = risk[0].state
    if state == 0:
        return 0
    if state & TRADING == 2:
        return 2
    if state & HELD:
        return 13
    if state & SOME_HALTED and account[k].halted != 0:
        return 14
    if state & TRADING == 1:
        nearer = _reduces(account, k, qty)
        if not nearer:
            return 3
    return 0


@jit_quiet
def _reduces(account: Records, k: int, qty: float) -> bool:
    """Tell whether an order can only bring the position nearer to flat, whichever of our orders fill."""
    a = account[k]
    if qty < 0.0:
        return bool(a.position - a.sells + qty >= -DUST)
    return bool(a.position + a.buys + qty <= DUST)


@jit_quiet
def in_session(risk: Records, hours: np.ndarray, ts: int) -> bool:
    """Tell whether `ts` lies in a session; `hours` is int64 of shape (n, 2), open and close, ascending."""
    h = risk[0].hour
    while h < len(hours) and ts >= hours[h, 1]:
        h += 1
    risk[0].hour = h
    return bool(h < len(hours) and ts >= hours[h, 0])


_on_grid = jit_inner(on_grid)


@jit_inner
def check_grid(account: Records, k: int, qty: float, limit: float, tif: int) -> tuple[int, float, float]:
    """Check an order against the instrument's lot and tick; they are the venue's, and no setting lifts them.

    Returns
    -------
    tuple of (int, float, float)
        `Denial`, the step, the order's quantity or price; (0, 0, 0) where it lies on the grid.
    """
    a = account[k]
    fits = True
    lot = a.fraction if tif == 0 else a.lot
    if lot > 0.0:
        fits = _on_grid(qty, lot)
    if not fits:
        return 16, lot, qty
    if limit == limit:
        tick = a.tick if limit >= 1.0 else a.subtick
        if tick > 0.0:
            fits = _on_grid(limit, tick)
        if not fits:
            return 15, tick, limit
    return 0, 0.0, 0.0


@jit
def check_order(
    limits: Limits,
    risk: Records,
    recent: np.ndarray,
    hours: np.ndarray,
    account: Records,
    ts: int,
    k: int,
    qty: float,
    limit: float,
) -> tuple[int, float, float]:
    """Check one order against the trading state and every limit.

    Parameters
    ----------
    recent : numpy.ndarray of int64, shape (max(1, max_orders_per_minute),)
        Ring of the times of the last orders.
    hours : numpy.ndarray of int64, shape (n, 2)
        Sessions, open and close, ns.
    ts : int
        Time of the event that the order was decided on, ns.
    qty : float
        Units, signed.
    limit : float
        Limit price; nan for a market order.

    Returns
    -------
    tuple of (int, float, float)
        `Denial`, the limit's value, the order's value; (0, 0, 0) where it may go.
    """
    reason = check_state(risk, account, k, qty)
    bound, value = 0.0, qty
    if reason == 0:
        reason, bound, value = check_limits(limits, risk, recent, hours, account, ts, k, qty, limit)
    return reason, bound, value


@jit
def check_limits(
    limits: Limits,
    risk: Records,
    recent: np.ndarray,
    hours: np.ndarray,
    account: Records,
    ts: int,
    k: int,
    qty: float,
    limit: float,
) -> tuple[int, float, float]:
    """Check one order against the limits alone, as `check_order` does; going flat asks for no more."""
    a = account[k]
    last = a.last_px
    price = limit if limit == limit else last
    if price != price and a.position * qty < 0.0:  # what closes has at least the price that it was opened at
        price = a.avg_px
    inside = True
    if limits.session != 0:
        inside = in_session(risk, hours, ts)
    if not inside:
        return 4, 0.0, 0.0
    if limits.max_order_qty > 0.0 and abs(qty) > limits.max_order_qty:
        return 5, limits.max_order_qty, abs(qty)
    # Written as `not <=`: an order that nothing prices yet is nan here, and is not let through.
    if limits.max_order_notional > 0.0 and not abs(qty) * price <= limits.max_order_notional:
        return 6, limits.max_order_notional, abs(qty) * price
    if limits.max_position > 0.0:
        # The worst that may come: all that works on this side fills, and nothing on the other.
        if qty > 0.0:
            reach = a.position + a.buys + max(a.parked, 0.0) + qty
        else:
            reach = a.sells - a.position - min(a.parked, 0.0) - qty
        if reach > limits.max_position:
            return 7, limits.max_position, reach
    if limits.max_orders_per_minute > 0:
        n = risk[0].sent
        if n >= len(recent) and ts - recent[n % len(recent)] < MINUTE:
            return 8, float(limits.max_orders_per_minute), float(limits.max_orders_per_minute + 1)
    if limits.price_collar > 0.0 and limit == limit and last == last and abs(limit - last) > limits.price_collar * last:
        return 9, limits.price_collar, abs(limit - last) / last
    if limits.leverage > 0.0:
        gross = gross_exposure(account, k, qty, price)
        worth = equity(account)
        allowed = limits.leverage * worth
        if not gross <= allowed:
            already = gross_exposure(account, k, 0.0, price)
            if not gross <= already:
                return 10, allowed, gross
    if limits.duplicate_ns > 0 and risk[0].sent > 0:
        r = risk[0]
        same = r.last_limit == limit or (limit != limit and r.last_limit != r.last_limit)
        if same and r.last_instrument == k and r.last_qty == qty and ts - r.last_ts <= limits.duplicate_ns:
            return 11, float(limits.duplicate_ns), float(ts - r.last_ts)
    return 0, 0.0, 0.0


@jit
def count_order(risk: Records, recent: np.ndarray, ts: int, k: int, qty: float, limit: float) -> None:
    """Remember an order that passed, for the rate and the duplicate limits."""
    r = risk[0]
    recent[r.sent % len(recent)] = ts
    r.sent += 1
    r.last_ts = ts
    r.last_instrument = k
    r.last_qty = qty
    r.last_limit = limit


_SENTENCES = {
    Denial.INVALID: "the answer is not a valid order (quantity {value:g})",
    Denial.HALTED: "trading is halted",
    Denial.REDUCING: "only orders that reduce a position are let through; this one is for {value:+g}",
    Denial.SESSION: "the event's time is outside the regular session",
    Denial.ORDER_QTY: "max_order_qty is {bound:g}, the order's quantity is {value:g}",
    Denial.ORDER_NOTIONAL: "max_order_notional is {bound:,.2f}, the order's is {value:,.2f}",
    Denial.POSITION: "max_position is {bound:g}, the position would be {value:g}",
    Denial.ORDER_RATE: "max_orders_per_minute is {bound:g}, this would be order {value:g} within 60 s",
    Denial.PRICE_COLLAR: "price_collar is {bound:.2%}, the limit price is {value:.2%} from the last price",
    Denial.BUYING_POWER: "leverage allows {bound:,.2f} of gross exposure, it would be {value:,.2f}",
    Denial.DUPLICATE: "duplicate_ns is {bound:g}, an equal order was decided {value:g} ns before",
    Denial.TICK: "prices step by {bound:g}, the limit price is {value:.9g}; round it to the tick",
    Denial.LOT: "quantities step by {bound:g}, the order's is {value:.9g}; only a fractionable stock takes a fraction,"
    " in a DAY order",
    Denial.HALT_FILE: "a person halted trading (mds halt)",
    Denial.BACKFILL: "market events were missed and are being filled in; orders flow again once the feed is whole",
    Denial.REQUEST_RATE: "the venue took no more requests in time, and later it is not the order that was meant",
    Denial.INSTRUMENT_HALTED: "the venue has halted trading in this instrument",
}


def denial_text(reason: int, bound: float, value: float) -> str:
    """Say which limit denied an order, its value and the order's.

    Examples
    --------
    >>> denial_text(Denial.POSITION, 10.0, 15.0)
    'POSITION: max_position is 10, the position would be 15'
    """
    denial = Denial(reason)
    return f"{denial.name}: {_SENTENCES[denial].format(bound=bound, value=value)}"
