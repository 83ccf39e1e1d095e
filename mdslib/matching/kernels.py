"""The compiled kernels: working orders, matching, refusals, endings. Both the back-test and the engine call them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mdslib.account import DUST, apply_fill, equity, new_account
from mdslib.events import Status, TimeInForce
from mdslib.jit import jit, jit_hot, jit_inner, jit_quiet, records
from mdslib.matching.rules import Venue
from mdslib.protocols import Records

# One working order. `tag` is the caller's own number for it.
WORK = np.dtype(
    [
        ("tag", "<i8"),
        ("ts", "<i8"),
        ("number", "<i8"),
        ("leaves", "<f8"),
        ("limit", "<f8"),
        ("instrument", "<u2"),
        ("tif", "u1"),
        ("rested", "u1"),
        ("chances", "<i4"),
    ]
)

FILL = np.dtype(
    [
        ("ts", "<i8"),
        ("tag", "<i8"),
        ("qty", "<f8"),  # signed; 0 where an order ended without a fill
        ("px", "<f8"),
        ("fee", "<f8"),
        ("leaves", "<f8"),  # signed
        ("instrument", "<u2"),
        ("status", "u1"),
        ("refusal", "u1"),  # rules.Reject, where the venue refused the order
        ("unused", "<u4"),
    ]
)

_FILLED, _PARTIAL = int(Status.FILLED), int(Status.PARTIALLY_FILLED)
_CANCELED, _EXPIRED, _NEW = int(Status.CANCELED), int(Status.EXPIRED), int(Status.NEW)
_IOC, _DAY = int(TimeInForce.IOC), int(TimeInForce.DAY)
SHORT_MARGIN = 1.03  # Alpaca prices an opening short at 3 % above the ask
NEVER = 2**62  # ns: no session follows


class Books(NamedTuple):
    """The venue's side: working orders (a stack of `count[0]`), its account, `count[1]` orders accepted so far."""

    work: Records
    count: np.ndarray  # type: ignore[assignment]  # hides tuple.count, which nobody asks a book for
    account: Records


def new_books(instruments: int, cash: float, capacity: int = 256) -> Books:
    """Return empty books with room for `capacity` working orders; the caller says what is `long_only`."""
    return Books(records(capacity, WORK), np.zeros(2, np.int64), new_account(instruments, cash))


@jit
def _uniform(seed: int, number: int, chance: int) -> float:
    """Return a number in [0, 1) that depends on nothing but its arguments.

    A few rounds of the Lehmer generator: products stay below 2**62, so compiled and uncompiled runs agree.
    """
    x = (seed * 69621 + number * 48271 + chance * 16807 + 12345) % 2147483647
    for _ in range(4):
        x = (x * 48271 + 11) % 2147483647
    return x / 2147483647.0


@jit_inner
def _fill_qty(venue: Venue, number: int, chance: int, leaves: float) -> float:
    """Return how much of an order fills now: all, or under partial fills a random whole part of it."""
    if venue.partial > 0.0 and abs(leaves) >= 2.0:
        drawn = _uniform(venue.seed, number, 2 * chance)
        if drawn < venue.partial:
            share = _uniform(venue.seed, number, 2 * chance + 1)
            part = 1.0 + math.floor(share * (abs(leaves) - 1.0))
            return part if leaves > 0.0 else -part
    return leaves


@jit_inner
def match(
    work: Records,
    count: np.ndarray,
    account: Records,
    venue: Venue,
    own: bool,
    partial: bool,
    plain: bool,
    ts: int,
    k: int,
    ask: float,
    bid: float,
    low: float,
    high: float,
    fills: Records,
    n: int,
) -> int:
    """Match the working orders of instrument `k` against one event; return how many fills are written now.

    Parameters
    ----------
    own : bool
        Keep the venue's own account; False where nobody reads it.
    partial : bool
        Some fills may be in part; False where the venue's `partial` is 0.
    plain : bool
        All orders are market orders that wait until they are filled.
    ask, bid, low, high : float
        What a buy and a sell get first, and the lowest and highest price that a resting order meets. A trade has its
        price in all four; a bar its open, its open, low and high; a quote ask, bid, ask and bid. nan: no price.
    """
    kept = 0
    for i in range(count[0]):
        o = work[i]
        done = False
        if o.instrument == k and ts > o.ts + venue.latency:
            leaves = o.leaves
            if plain:
                px = ask if leaves > 0.0 else bid
            elif leaves > 0.0:
                px = _buy_price(o.limit, o.rested, ask, low)
            else:
                px = _sell_price(o.limit, o.rested, bid, high)
            if px == px:
                if partial:
                    qty = _fill_qty(venue, o.number, o.chances, leaves)
                    left = leaves - qty
                    done = left == 0.0
                else:
                    qty = leaves
                    left = 0.0
                    done = True
                o.chances += 1
                o.leaves = left
                fee = abs(qty) * (px * venue.bps * 1e-4 + venue.per_share)
                n = write_fill(fills, n, ts, o.tag, k, qty, px, fee, left, _FILLED if done else _PARTIAL)
                if own:
                    apply_fill(account, k, qty, px, fee)
            if not plain and not done and o.tif == _IOC:
                n = write_fill(fills, n, ts, o.tag, k, 0.0, 0.0, 0.0, o.leaves, _CANCELED)
                done = True
            o.rested = 1
        if not done:
            if kept != i:
                work[kept] = work[i]
            kept += 1
    count[0] = kept
    return n


@jit_inner
def _buy_price(limit: float, rested: int, ask: float, low: float) -> float:
    """Return the price at which a buy fills in an event, or nan."""
    if limit != limit:
        return ask
    if ask <= limit:
        return limit if rested != 0 else ask
    return limit if low <= limit else np.nan


@jit_inner
def _sell_price(limit: float, rested: int, bid: float, high: float) -> float:
    """Return the price at which a sell fills in an event, or nan."""
    if limit != limit:
        return bid
    if bid >= limit:
        return limit if rested != 0 else bid
    return limit if high >= limit else np.nan


@jit_inner
def write_fill(
    fills: Records, n: int, ts: int, tag: int, k: int, qty: float, px: float, fee: float, leaves: float, status: int
) -> int:
    """Write one fill or ending; return the new count."""
    f = fills[n]
    f.ts = ts
    f.tag = tag
    f.instrument = k
    f.qty = qty
    f.px = px
    f.fee = fee
    f.leaves = leaves
    f.status = status
    f.refusal = 0
    f.unused = 0
    return n + 1


@jit_hot
def accept(work: Records, count: np.ndarray, ts: int, k: int, qty: float, limit: float, tif: int, tag: int) -> None:
    """Put an order on the books; there must be room. It works from `ts` on: see `works_from`."""
    o = work[count[0]]
    o.tag = tag
    o.ts = ts
    o.number = count[1]
    o.leaves = qty
    o.limit = limit
    o.instrument = k
    o.tif = tif
    o.rested = 0
    o.chances = 0
    count[0] += 1
    count[1] += 1


@jit_hot
def works_from(hours: np.ndarray, ts: int) -> int:
    """Return when an order sent at `ts` begins to work: at once in a session, else at the next one's open.

    Source: alpaca.markets, Placing Orders: an order sent after the close is queued for the next session.

    Parameters
    ----------
    hours : numpy.ndarray of int64, shape (n, 2)
        Sessions, open and close, ns, ascending; without any, every moment is in session. `NEVER` after the last.
    """
    low, high = 0, len(hours)
    if high == 0:
        return ts
    while low < high:  # the first session that closes after ts
        middle = (low + high) // 2
        if hours[middle, 1] <= ts:
            low = middle + 1
        else:
            high = middle
    if low == len(hours):
        return NEVER
    opens = hours[low, 0]
    return opens if opens > ts else ts


@jit
def refuse(work: Records, count: np.ndarray, account: Records, venue: Venue, k: int, qty: float, limit: float) -> int:
    """Return why Alpaca would refuse an order, or 0. Source: alpaca.markets, Placing Orders; User Protection."""
    a = account[k]
    if qty < 0.0 and a.position <= 0.0 and a.long_only != 0:
        return 6
    held = 0.0
    reserved = 0.0
    wash = False
    for i in range(count[0]):
        o = work[i]
        if o.instrument == k and o.leaves * qty < 0.0:
            market = limit != limit or o.limit != o.limit
            crossing = limit >= o.limit if qty > 0.0 else limit <= o.limit
            wash = wash or market or crossing
        if o.instrument == k and o.leaves * qty > 0.0:
            held += abs(o.leaves)
        b = account[o.instrument]
        if b.position * o.leaves >= 0.0:
            cost = _cost(o.leaves, o.limit, b.last_px)
            reserved += cost
    if wash:
        return 2
    if a.position * qty < 0.0:
        return 3 if abs(qty) > abs(a.position) - held + DUST else 0  # the venue counts in decimals, floats only nearly
    if qty < 0.0 and qty != math.floor(qty):
        return 4
    price = limit if limit == limit else a.last_px
    if price != price:
        return 5
    cost = _cost(qty, limit, a.last_px)
    power = buying_power(account, venue.multiplier)
    if cost > power - reserved:
        return 1
    return 0


@jit_quiet
def _cost(qty: float, limit: float, last: float) -> float:
    price = limit if limit == limit else last
    if qty < 0.0 and last == last:
        above = last * SHORT_MARGIN
        price = above if above > price else price
    return abs(qty) * price


@jit
def buying_power(account: Records, multiplier: float) -> float:
    """Return multiplier x equity less the gross value of the positions."""
    gross = 0.0
    for j in range(len(account)):
        a = account[j]
        if a.position != 0.0:
            gross += abs(a.position) * (a.last_px if a.last_px == a.last_px else a.avg_px)
    worth = equity(account)
    return multiplier * worth - gross


@jit
def end_orders(
    work: Records, count: np.ndarray, ts: int, k: int, tif: int, tag: int, status: int, fills: Records, n: int
) -> int:
    """End working orders without a fill; return how many fills are written now.

    Parameters
    ----------
    k, tif, tag : int
        Only orders of this instrument, time in force, tag; -1 is any. A time in force runs out: then only orders that
        have worked before `ts` end, and those that wait for the next session stay.
    """
    kept = 0
    for i in range(count[0]):
        o = work[i]
        ripe = tif < 0 or (o.tif == tif and o.ts < ts)
        if ripe and (k < 0 or o.instrument == k) and (tag < 0 or o.tag == tag):
            n = write_fill(fills, n, ts, o.tag, o.instrument, 0.0, 0.0, 0.0, o.leaves, status)
        else:
            if kept != i:
                work[kept] = work[i]
            kept += 1
    count[0] = kept
    return n


def end_session(books: Books, ts: int, fills: Records, n: int) -> int:
    """End what does not outlive a session that closes at `ts`; return how many fills are written now.

    DAY orders expire, and IOC orders that no event gave their chance are canceled. What was sent at the close or later
    waits for the next session; see `works_from`.
    """
    for tif, status in ((_DAY, _EXPIRED), (_IOC, _CANCELED)):
        n = end_orders(books.work, books.count, ts, -1, tif, -1, status, fills, n)
    return n


def with_room(books: Books, more: int) -> Books:
    """Return books with room for `more` orders; the same ones where there is room already."""
    need = int(books.count[0]) + more
    if need <= len(books.work):
        return books
    work = records(max(need, 2 * len(books.work)), WORK)
    work[: len(books.work)] = books.work
    return books._replace(work=work)
