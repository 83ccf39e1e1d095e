"""From a leg of an answer to a decision: resolve, split, check, reserve, write. Compiled, and the same everywhere.

A *decision* is one leg that asks for something. It names the event that it was made on (`seq`) and the leg, and that
pair is what client order ids derive from. What may be sent at once is its `qty`; what has to wait until a position is
closed (a flip, where the venue refuses it in one order) is `parked` and follows later as a RELEASE.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdslib.account import ACCOUNT, apply_fill, ends, new_account
from mdslib.events import Verb
from mdslib.jit import jit, records
from mdslib.protocols import Records
from mdslib.risk import RISK, Limits, check_order, check_state, count_order

ORDER, TARGET, CANCEL = int(Verb.ORDER), int(Verb.TARGET), int(Verb.CANCEL)
RELEASE = int(Verb.RELEASE)
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
        ("pad", "u1", (2,)),
        ("qty", "<f8"),  # units, signed; what may be sent now
        ("parked", "<f8"),  # units, signed; what follows after a close
        ("limit", "<f8"),  # nan: market
        ("reference", "<f8"),  # last price when it was decided
        ("bound", "<f8"),  # of the limit that denied it
        ("value", "<f8"),
    ]
)


class Core(NamedTuple):
    """Everything beside the strategy's own state that decisions depend on.

    Kernels take its arrays one by one: Numba counts references to what it takes out of a tuple, 5 ns a time.
    """

    account: Records  # ACCOUNT, (instruments,)
    risk: Records  # RISK, (1,)
    recent: np.ndarray  # int64, times of the last orders
    hours: np.ndarray  # int64, (sessions, 2)


def new_core(instruments: int, limits: Limits | None, hours: np.ndarray, *, cash: float, split: bool) -> Core:
    """Return the state before the first event."""
    rate = limits.max_orders_per_minute if limits is not None else 0
    risk = records(1, RISK)
    risk[0]["split"] = split
    recent = np.zeros(max(1, rate), np.int64)
    hours = np.ascontiguousarray(hours, np.int64).reshape(-1, 2)
    return Core(new_account(instruments, cash), risk, recent, hours)


@jit
def _write(
    out: Records,
    n: int,
    seq: int,
    ts: int,
    k: int,
    number: int,
    verb: int,
    qty: float,
    limit: float,
    tif: int,
    last: float,
) -> int:
    d = out[n]
    d.seq = seq
    d.ts_event = ts
    d.instrument = k
    d.leg = number
    d.verb = verb
    d.tif = tif
    d.denied = 0
    d.qty = qty
    d.parked = 0.0
    d.limit = limit
    d.reference = last
    d.bound = 0.0
    d.value = 0.0
    return n + 1


@jit
def reserve(account: Records, k: int, qty: float) -> None:
    """Count a quantity as working from the moment it is decided, so that a target is not ordered twice."""
    account[k].open_qty += qty
    if qty > 0.0:
        account[k].buys += qty
    else:
        account[k].sells -= qty


@jit
def free(account: Records, k: int, qty: float) -> None:
    """Undo a reservation: filled, canceled, rejected or denied."""
    account[k].open_qty -= qty
    if qty > 0.0:
        account[k].buys -= qty
    else:
        account[k].sells += qty


@jit
def _sendable(account: Records, k: int, qty: float) -> float:
    """Return the part of an order that does not flip the position; what closing orders already hold counts."""
    position = account[k].position
    if position > 0.0 and qty < 0.0:
        return max(qty, min(0.0, account[k].sells - position))
    if position < 0.0 and qty > 0.0:
        return min(qty, max(0.0, -position - account[k].buys))
    return qty


@jit
def _net_parked(account: Records, k: int, qty: float) -> float:
    """Let an order first take back what is parked on the other side; return what is left of it."""
    w = account[k]
    if w.parked * qty < 0.0:
        netted = min(abs(qty), abs(w.parked)) * (1.0 if qty > 0.0 else -1.0)
        w.parked += netted
        account[k].open_qty += netted
        return qty - netted
    return qty


@jit
def _drop_parked(account: Records, k: int) -> None:
    account[k].open_qty -= account[k].parked
    account[k].parked = 0.0


@jit
def _place(account: Records, risk: Records, out: Records, n: int, k: int, qty: float) -> None:
    """Reserve decision `n - 1`, splitting a flip where the venue needs that."""
    d = out[n - 1]
    now = qty
    if risk[0].split != 0:
        left = _net_parked(account, k, qty)
        now = _sendable(account, k, left)
        rest = left - now
        account[k].parked += rest
        account[k].open_qty += rest
        d.parked = qty - now
    d.qty = now
    if now != 0.0:
        reserve(account, k, now)


@jit
def _quantity(verb: int, qty: float, account: Records, k: int) -> float:
    if verb == TARGET:
        return qty - account[k].position - account[k].open_qty
    return qty


@jit
def _valid(verb: int, k: int, qty: float, limit: float, count: int) -> bool:
    if k < 0 or k >= count or verb < ORDER or verb > CANCEL:
        return False
    if verb == CANCEL:
        return True
    return qty == qty and qty != 0.0 and abs(qty) < ABSURD and not (limit <= 0.0) and limit != np.inf


@jit
def _deny(out: Records, n: int, reason: int, bound: float, value: float) -> None:
    d = out[n - 1]
    d.denied = reason
    d.bound = bound
    d.value = value


@jit
def decide_free(
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
    risk: Records,
    recent: np.ndarray,
    hours: np.ndarray,
    limits: Limits,
    out: Records,
    n: int,
) -> int:
    """Decide one leg without limits; return how many decisions are written now."""
    k = asked if asked >= 0 else event_k
    inside = 0 <= k < len(account)
    qty = _quantity(verb, amount, account, k) if inside else amount
    if verb == TARGET and qty == 0.0:
        return n
    last = account[k].last_px if inside else np.nan
    n = _write(out, n, seq, ts, k if inside else 0, number, verb, qty, limit, tif, last)
    if not _valid(verb, k, qty, limit, len(account)):
        _deny(out, n, 1, 0.0, qty)
    elif verb == CANCEL:
        _drop_parked(account, k)
    elif risk[0].state != 0 and check_state(risk, account, k, qty) != 0:
        _deny(out, n, check_state(risk, account, k, qty), 0.0, qty)
    else:
        _place(account, risk, out, n, k, qty)
    return n


@jit
def decide_limited(
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
    risk: Records,
    recent: np.ndarray,
    hours: np.ndarray,
    limits: Limits,
    out: Records,
    n: int,
) -> int:
    """Decide one leg under the limits; return how many decisions are written now."""
    k = asked if asked >= 0 else event_k
    inside = 0 <= k < len(account)
    qty = _quantity(verb, amount, account, k) if inside else amount
    if verb == TARGET and qty == 0.0:
        return n
    last = account[k].last_px if inside else np.nan
    n = _write(out, n, seq, ts, k if inside else 0, number, verb, qty, limit, tif, last)
    if not _valid(verb, k, qty, limit, len(account)):
        _deny(out, n, 1, 0.0, qty)
        return n
    if verb == CANCEL:
        _drop_parked(account, k)
        return n
    reason, bound, value = check_order(limits, risk, recent, hours, account, ts, k, qty, limit)
    if reason != 0:
        _deny(out, n, reason, bound, value)
    else:
        count_order(risk, recent, ts, k, qty, limit)
        _place(account, risk, out, n, k, qty)
    return n


@jit
def apply_update(
    account: Records,
    risk: Records,
    k: int,
    status: int,
    last_qty: float,
    last_px: float,
    leaves: float,
    fee: float,
    seq: int,
    ts: int,
    number: int,
    out: Records,
    n: int,
) -> int:
    """Book one order update, then send what waited for it; return how many decisions are written now."""
    if last_qty != 0.0:
        free(account, k, last_qty)
        apply_fill(account, k, last_qty, last_px, fee)
    if ends(status):
        free(account, k, leaves)
    if account[k].parked != 0.0 or account[k].flatten != 0:
        n = _release(account, risk, k, seq, ts, number, out, n)
    return n


@jit
def _release(account: Records, risk: Records, k: int, seq: int, ts: int, number: int, out: Records, n: int) -> int:
    w = account[k]
    position = account[k].position
    if w.flatten != 0:
        if w.buys != 0.0 or w.sells != 0.0 or position == 0.0:
            return n
        qty = -position
    else:
        qty = w.parked
        if position * qty < 0.0:
            if w.buys == 0.0 and w.sells == 0.0:  # the close did not happen: the flip is off
                _drop_parked(account, k)
            return n
        _drop_parked(account, k)
        if risk[0].state != 0:
            return n
    n = _write(out, n, seq, ts, k, number, RELEASE, qty, np.nan, 0, account[k].last_px)
    reserve(account, k, qty)
    return n


@jit
def flatten(account: Records, risk: Records, seq: int, ts: int, out: Records, n: int) -> int:
    """Go flat: cancel what works, close what is held, and let nothing in that opens; one instrument after the other."""
    if risk[0].state == 0:
        risk[0].state = 1
    for k in range(len(account)):
        w = account[k]
        _drop_parked(account, k)
        w.flatten = 1
        if w.buys != 0.0 or w.sells != 0.0:
            n = _write(out, n, seq, ts, k, k, CANCEL, 0.0, np.nan, 0, account[k].last_px)
        else:
            n = _release(account, risk, k, seq, ts, k, out, n)
    return n


__all__ = ["ACCOUNT", "DECISION", "Core", "apply_update", "decide_free", "decide_limited", "flatten", "new_core"]
