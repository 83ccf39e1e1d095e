"""From a leg of an answer to a decision: resolve, split, check, reserve, write. Compiled, and the same everywhere.

A *decision* is one leg that asks for something. It names the event that it was made on (`seq`) and the leg, and that
pair is what client order ids derive from. What may be sent at once is its `qty`; what has to wait until a position is
closed (a flip, where the venue refuses it in one order) is `parked` and follows later as a RELEASE.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mdslib.account import ACCOUNT, DUST, apply_fill
from mdslib.events import Status, TimeInForce, Verb
from mdslib.jit import jit_hot, jit_inner, jit_quiet
from mdslib.protocols import Records
from mdslib.risk import (
    HELD,
    SOME_HALTED,
    TRADING,
    Limits,
    check_grid,
    check_limits,
    check_order,
    check_state,
    count_order,
)

ORDER, TARGET, CANCEL = int(Verb.ORDER), int(Verb.TARGET), int(Verb.CANCEL)
RELEASE = int(Verb.RELEASE)
IOC = int(TimeInForce.IOC)
CANCELED, ENDED = int(Status.CANCELED), int(Status.EXPIRED)  # canceled, rejected, expired
REPLACING, REPLACED = int(Status.PENDING_REPLACE), int(Status.REPLACED)
RELEASED = 8  # legs from this number on are the desk's own: what it releases, and going flat
RETRY = 15_000_000_000  # ns from a look at a close that was refused to the next; see `is_stuck`
ABSURD = 1e12  # units; no order of that size is meant

DECISION = np.dtype(
    [
        ("seq", "<i8"),  # the event: its tape sequence live, its index in research
        ("ts_event", "<i8"),
        ("instrument", "<u2"),
        ("leg", "u1"),
        ("verb", "u1"),
        ("tif", "u1"),
        ("denied", "u1"),  # risk.Denial
        ("spare", "<u2"),
        ("qty", "<f8"),  # units, signed; what may be sent now
        ("parked", "<f8"),  # units, signed; what follows after a close
        ("limit", "<f8"),  # nan: market
        ("reference", "<f8"),  # last price when it was decided
        ("bound", "<f8"),  # of the limit that denied it
        ("value", "<f8"),
    ]
)


@jit_inner
def asks(verb: int, asked: int, amount: float, account: Records, k: int) -> bool:
    """Tell whether a leg asks for anything: a target that is reached already, which most answers are, does not."""
    if verb == TARGET and asked < 0:
        return bool(amount - account[k].position - account[k].open_qty != 0.0)
    return verb != 0


@jit_inner
def decimal(qty: float) -> float:
    """Return a quantity without what floats leave over beyond nine decimals, which no venue takes: 0.3 - 0.1 is 0.2."""
    near = math.floor(qty * 1e9 + 0.5) / 1e9 if abs(qty) < 4e6 else qty
    return near if abs(near - qty) < 1e-12 * max(1.0, abs(qty)) else qty


@jit_inner
def note(
    verb: int,
    asked: int,
    amount: float,
    limit: float,
    tif: int,
    seq: int,
    ts: int,
    event_k: int,
    number: int,
    account: Records,
    out: Records,
    n: int,
) -> int:
    """Write down what one leg asks for, a target resolved; return how many decisions are written now.

    Its `denied` is 1 where the leg is no valid order: not a number, nothing, absurd, or of an unknown instrument. Off
    the instrument's grid it is denied here too, unless the desk releases it: a fraction held from elsewhere can be
    closed.
    """
    k = asked if asked >= 0 else event_k
    inside = k < len(account)
    if not inside:
        k = event_k
    qty = amount
    if verb == TARGET:
        qty = amount - account[k].position - account[k].open_qty
        if abs(qty) < DUST:
            return n
    qty = decimal(qty)
    known = verb >= ORDER and verb <= CANCEL and tif >= 0 and tif <= IOC
    sane = qty != 0.0 and abs(qty) < ABSURD and not limit <= 0.0 and limit != np.inf
    valid = inside and known and (verb == CANCEL or sane)
    d = out[n]
    d.seq = seq
    d.ts_event = ts
    d.instrument = k
    d.leg = number
    d.verb = verb if known else ORDER
    d.tif = tif if known else 0
    d.denied = 0 if valid else 1
    d.spare = 0
    d.qty = qty
    d.parked = 0.0
    d.limit = limit
    d.reference = account[k].last_px
    d.bound = 0.0
    d.value = 0.0 if valid else qty
    if valid and verb != CANCEL and number < RELEASED:
        reason, bound, value = check_grid(account, k, qty, limit, tif)
        if reason != 0:
            deny(d, reason, bound, value)
    return n + 1


@jit_hot
def reserve(account: Records, k: int, qty: float) -> None:
    """Count a quantity as working from the moment it is decided, so that a target is not ordered twice."""
    a = account[k]
    a.open_qty += qty
    if qty > 0.0:
        a.buys += qty
    else:
        a.sells -= qty


@jit_inner
def free(account: Records, k: int, qty: float) -> None:
    """Undo a reservation: filled, canceled, rejected or denied. What floats leave over is nothing; see `DUST`."""
    a = account[k]
    left = a.open_qty - qty
    a.open_qty = left if abs(left) >= DUST else 0.0
    if qty > 0.0:
        left = a.buys - qty
        a.buys = left if abs(left) >= DUST else 0.0
    else:
        left = a.sells + qty
        a.sells = left if abs(left) >= DUST else 0.0


@jit_quiet
def deny(d: Any, reason: int, bound: float, value: float) -> None:
    """Mark a decision as denied, with the limit's value and the order's."""
    d.denied = reason
    d.bound = bound
    d.value = value


@jit_quiet
def by_state(account: Records, risk: Records, out: Records, n: int) -> None:
    """Deny the last decision if the trading state does not let it through."""
    d = out[n - 1]
    reason = check_state(risk, account, int(d.instrument), d.qty)
    if reason != 0:
        deny(d, reason, 0.0, d.qty)


@jit_quiet
def by_limits(
    account: Records, risk: Records, recent: np.ndarray, hours: np.ndarray, limits: Limits, out: Records, n: int
) -> None:
    """Deny the last decision if a limit speaks; else remember it for the rate and the duplicate limits."""
    d = out[n - 1]
    k = int(d.instrument)
    reason, bound, value = check_order(limits, risk, recent, hours, account, d.ts_event, k, d.qty, d.limit)
    if reason != 0:
        deny(d, reason, bound, value)
    else:
        count_order(risk, recent, d.ts_event, k, d.qty, d.limit)


@jit_quiet
def split_flip(account: Records, out: Records, n: int) -> None:
    """Park the part of the last decision that would flip the position, after taking back what is parked against it."""
    d = out[n - 1]
    a = account[int(d.instrument)]
    left = d.qty
    if a.parked * left < 0.0:
        netted = min(abs(left), abs(a.parked)) * (1.0 if left > 0.0 else -1.0)
        a.parked += netted
        a.open_qty += netted
        left -= netted
    now = left
    if a.position > 0.0 and left < 0.0:
        now = max(left, min(0.0, a.sells - a.position))
    elif a.position < 0.0 and left > 0.0:
        now = min(left, max(0.0, -a.position - a.buys))
    a.parked += left - now
    a.open_qty += left - now
    d.parked = d.qty - now
    d.qty = decimal(now)


@jit_quiet
def drop_parked(account: Records, k: int) -> None:
    """Give up what waits for a close."""
    a = account[k]
    a.open_qty -= a.parked
    a.parked = 0.0


@jit_hot
def book(account: Records, k: int, status: int, last_qty: float, last_px: float, leaves: float, fee: float) -> None:
    """Book one order update: a fill, and the end of an order with quantity left."""
    if last_qty != 0.0:
        free(account, k, last_qty)
        apply_fill(account, k, last_qty, last_px, fee)
    if leaves != 0.0 and ((status >= CANCELED and status <= ENDED) or status == REPLACED):
        free(account, k, leaves)
    elif status == REPLACING and leaves != 0.0:  # somebody's order takes the place of ours, and works
        reserve(account, k, leaves)


@jit_quiet
def at_once(limits: Limits, account: Records, k: int, qty: float) -> float:
    """Return as much of a close as the limits on one order let pass, in whole lots; the rest follows its fill."""
    a = account[k]
    price = a.last_px if a.last_px == a.last_px else a.avg_px
    size = abs(qty)
    if limits.max_order_qty > 0.0:
        size = min(size, limits.max_order_qty)
    if limits.max_order_notional > 0.0 and price > 0.0:
        size = min(size, limits.max_order_notional / price)
    if size < abs(qty):
        lot = a.lot if size >= a.lot else a.fraction
        if lot > 0.0:
            size = math.floor(size / lot + 1e-9) * lot
    if size < DUST:  # not even a lot passes: the limit says so
        return qty
    return size if qty > 0.0 else -size


@jit_quiet
def release(
    account: Records,
    risk: Records,
    recent: np.ndarray,
    hours: np.ndarray,
    limits: Limits,
    k: int,
    seq: int,
    ts: int,
    out: Records,
    n: int,
) -> int:
    """Send what waited for a close, or the close at the end of the day; return how many decisions are written now.

    Both pass the limits like every order, at the prices and the rate of their own moment. Going flat asks for no
    trading state: it is a command, and a gap or a halted instrument is no reason to stay in.
    """
    a = account[k]
    closing = a.flatten != 0
    if closing:
        if a.buys != 0.0 or a.sells != 0.0 or a.position == 0.0:
            return n
        left = decimal(-a.position)
        qty = at_once(limits, account, k, left)
    else:
        qty = decimal(a.parked)
        if a.position * qty < 0.0:
            if a.buys == 0.0 and a.sells == 0.0:  # the close did not happen: the flip is off
                drop_parked(account, k)
            return n
        drop_parked(account, k)
    n = note(ORDER, k, qty, np.nan, 0, seq, ts, k, 8 + k, account, out, n)
    d = out[n - 1]
    d.verb = RELEASE
    reason, bound, value = 0, 0.0, qty
    if not closing:
        reason = check_state(risk, account, k, qty)
    if reason == 0:
        risk[0].last_instrument = -1  # nobody repeats himself here
        reason, bound, value = check_limits(limits, risk, recent, hours, account, ts, k, qty, np.nan)
    if reason != 0:
        deny(d, reason, bound, value)
        return n
    count_order(risk, recent, ts, k, qty, np.nan)
    reserve(account, k, qty)
    return n


@jit_quiet
def flatten(
    account: Records,
    risk: Records,
    recent: np.ndarray,
    hours: np.ndarray,
    limits: Limits,
    seq: int,
    ts: int,
    out: Records,
    n: int,
) -> int:
    """Go flat: cancel what works, close what is held, and let nothing in that opens; one instrument after the other."""
    if risk[0].state & TRADING == 0:
        risk[0].state |= 1
    for k in range(len(account)):
        a = account[k]
        drop_parked(account, k)
        a.flatten = 1
        if a.buys != 0.0 or a.sells != 0.0:
            n = note(CANCEL, k, 0.0, np.nan, 0, seq, ts, k, 8 + k, account, out, n)
        else:
            n = release(account, risk, recent, hours, limits, k, seq, ts, out, n)
    return n


def is_stuck(account: Records) -> bool:
    """Tell whether a position is to be closed and nothing is on its way to close it: a close was refused or denied."""
    left = (account["flatten"] != 0) & (account["position"] != 0.0)
    return bool((left & (account["buys"] == 0.0) & (account["sells"] == 0.0)).any())


@jit_quiet
def restrict(account: Records, risk: Records, code: int) -> None:
    """Reduce only (1) or halt (2); halting ends going flat as well, or a canceled close would be sent once more."""
    risk[0].state = risk[0].state & ~TRADING | code
    if code == 2:
        for k in range(len(account)):
            account[k].flatten = 0


@jit_quiet
def resume(account: Records, risk: Records) -> None:
    """Trade again: the state is ACTIVE, and what was to be closed for good may be opened again."""
    risk[0].state &= ~TRADING
    for k in range(len(account)):
        account[k].flatten = 0


@jit_quiet
def hold_orders(risk: Records, begins: bool) -> None:
    """Keep orders back from a GAP on, or let them flow again from its RESYNC on."""
    if begins:
        risk[0].state |= HELD
    else:
        risk[0].state &= ~HELD


@jit_quiet
def take_status(account: Records, risk: Records, k: int, code: int, luld: int) -> None:
    """Note that the venue halts an instrument (2, H, P) or lets it trade again (3, T); other statuses change nothing.

    Tapes A and B say 2 and 3; tapes C and O say H (halt), P (pause) and T. None of these letters means another thing on
    the other tapes. Source: Alpaca, "Real-time Stock Data", trading statuses.
    """
    if luld != 0:
        return
    if code == 50 or code == 72 or code == 80:
        account[k].halted = 1
    elif code == 51 or code == 84:
        account[k].halted = 0
    risk[0].state &= ~SOME_HALTED
    for i in range(len(account)):
        if account[i].halted != 0:
            risk[0].state |= SOME_HALTED


def count_decisions(decisions: Records) -> int:
    """Return how many decisions the model made itself, denied ones included; releases follow by themselves."""
    return len(decisions) - decisions["verb"].tobytes().count(RELEASE)


__all__ = ["ACCOUNT", "DECISION", "book", "flatten", "note", "release", "reserve", "resume"]
