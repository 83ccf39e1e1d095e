"""The exchange's core: working orders, matching, the venue's own rules and its own books. No I/O.

The back-test inlines these kernels; the local exchange calls them through `MatchingEngine`. That they are the same
compiled code is why a rehearsal over real sockets and a back-test agree fill for fill.

An order sent at time S can match from the first event after S + latency on. A market order fills at that event's
price, whole. A limit order fills when an event's price reaches its limit: at the event's price on its first chance, at
its limit once it has rested. IOC orders get one chance.

Rules PERMISSIVE let everything through. Rules ALPACA refuse what Alpaca refuses (buying power, wash trades, orders
that flip or oversell a position, fractional shorts), and fill a tenth of the fills in part, at random from a seed.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from mdslib.account import apply_fill, equity, new_account
from mdslib.errors import ConfigError, did_you_mean
from mdslib.events import Status, TimeInForce
from mdslib.jit import as_records, jit, jit_hot, jit_inner, jit_quiet, records
from mdslib.protocols import Records


class Rules(IntEnum):
    """Rule profile of a venue."""

    PERMISSIVE = 0
    ALPACA = 1


def parse_rules(text: str | Rules) -> Rules:
    """Return the profile that a name like ``alpaca`` means."""
    if isinstance(text, Rules):
        return text
    try:
        return Rules[text.upper()]
    except KeyError:
        known = [rule.name.lower() for rule in Rules]
        raise ConfigError(
            f"rules must be one of {', '.join(known)}, received {text!r}. {did_you_mean(text, known)}"
        ) from None


class Reject(IntEnum):
    """Why a venue refuses an order outright."""

    NONE = 0
    BUYING_POWER = 1
    WASH_TRADE = 2
    QTY_AVAILABLE = 3  # more than the position that is not yet held for other orders: a flip, or an oversell
    SHORT_FRACTION = 4
    NO_PRICE = 5  # no event yet to price the order by


class Fees(NamedTuple):
    """What a fill costs: `bps` of its notional plus `per_share` currency a unit; both may be 0."""

    bps: float = 0.0
    per_share: float = 0.0


NO_FEES = Fees()


class Venue(NamedTuple):
    """The numbers that matching depends on; compiled code takes it as one argument."""

    latency: int
    bps: float
    per_share: float
    multiplier: float
    partial: float
    seed: int


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
        ("pad", "u1", (5,)),
    ]
)

_FILLED, _PARTIAL = int(Status.FILLED), int(Status.PARTIALLY_FILLED)
_CANCELED, _EXPIRED, _NEW = int(Status.CANCELED), int(Status.EXPIRED), int(Status.NEW)
_IOC, _DAY = int(TimeInForce.IOC), int(TimeInForce.DAY)
SHORT_MARGIN = 1.03  # Alpaca prices an opening short at 3 % above the ask


class Books(NamedTuple):
    """The venue's side: working orders (a stack of `count[0]`), its account, `count[1]` orders accepted so far."""

    work: Records
    count: np.ndarray  # type: ignore[assignment]  # hides tuple.count, which nobody asks a book for
    account: Records


def new_books(instruments: int, cash: float, capacity: int = 256) -> Books:
    """Return empty books with room for `capacity` working orders."""
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
    if venue.partial > 0.0 and abs(leaves) >= 2.0 and _uniform(venue.seed, number, 2 * chance) < venue.partial:
        part = 1.0 + math.floor(_uniform(venue.seed, number, 2 * chance + 1) * (abs(leaves) - 1.0))
        return part if leaves > 0.0 else -part
    return leaves


@jit_inner
def match(
    work: Records,
    count: np.ndarray,
    account: Records,
    venue: Venue,
    own: bool,
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
    ask, bid, low, high : float
        What a buy and a sell get first, and the lowest and highest price that a resting order meets. A trade has its
        price in all four; a bar its open, its open, low and high; a quote ask, bid, ask and bid. nan: no price.
    """
    kept = 0
    for i in range(count[0]):
        o = work[i]
        done = False
        if o.instrument == k and ts > o.ts + venue.latency:
            px = (
                _buy_price(o.limit, o.rested, ask, low) if o.leaves > 0.0 else _sell_price(o.limit, o.rested, bid, high)
            )
            qty = 0.0
            if px == px:
                qty = _fill_qty(venue, o.number, o.chances, o.leaves)
                o.chances += 1
                o.leaves -= qty
                done = o.leaves == 0.0
                fee = abs(qty) * (px * venue.bps * 1e-4 + venue.per_share)
                n = write_fill(fills, n, ts, o.tag, k, qty, px, fee, o.leaves, _FILLED if done else _PARTIAL)
                if own:
                    apply_fill(account, k, qty, px, fee)
            if not done and o.tif == _IOC:
                n = write_fill(fills, n, ts, o.tag, k, 0.0, 0.0, 0.0, o.leaves, _CANCELED)
                done = True
            o.rested = 1
        if not done:
            if kept != i:
                move(work, i, kept)
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
    return n + 1


@jit_quiet
def move(work: Records, source: int, to: int) -> None:
    """Copy a working order to another place."""
    a = work[source]
    b = work[to]
    b.tag = a.tag
    b.ts = a.ts
    b.number = a.number
    b.leaves = a.leaves
    b.limit = a.limit
    b.instrument = a.instrument
    b.tif = a.tif
    b.rested = a.rested
    b.chances = a.chances


@jit_hot
def accept(work: Records, count: np.ndarray, ts: int, k: int, qty: float, limit: float, tif: int, tag: int) -> None:
    """Put an order on the books; there must be room."""
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


@jit
def refuse(work: Records, count: np.ndarray, account: Records, venue: Venue, k: int, qty: float, limit: float) -> int:
    """Return why Alpaca would refuse an order, or 0. Source: alpaca.markets, Placing Orders; User Protection."""
    a = account[k]
    held = 0.0
    reserved = 0.0
    for i in range(count[0]):
        o = work[i]
        if o.instrument == k and o.leaves * qty < 0.0:
            market = limit != limit or o.limit != o.limit
            crossing = limit >= o.limit if qty > 0.0 else limit <= o.limit
            if market or crossing:
                return 2
        if o.instrument == k and o.leaves * qty > 0.0:
            held += abs(o.leaves)
        b = account[o.instrument]
        if b.position * o.leaves >= 0.0:
            reserved += _cost(o.leaves, o.limit, b.last_px)
    if a.position * qty < 0.0:
        return 3 if abs(qty) > abs(a.position) - held else 0
    if qty < 0.0 and qty != math.floor(qty):
        return 4
    price = limit if limit == limit else a.last_px
    if price != price:
        return 5
    if _cost(qty, limit, a.last_px) > buying_power(account, venue.multiplier) - reserved:
        return 1
    return 0


@jit_quiet
def _cost(qty: float, limit: float, last: float) -> float:
    price = limit if limit == limit else last
    if qty < 0.0 and last == last:
        price = max(price, last * SHORT_MARGIN)
    return abs(qty) * price


@jit
def buying_power(account: Records, multiplier: float) -> float:
    """Return multiplier x equity less the gross value of the positions."""
    gross = 0.0
    for j in range(len(account)):
        a = account[j]
        if a.position != 0.0:
            gross += abs(a.position) * (a.last_px if a.last_px == a.last_px else a.avg_px)
    return multiplier * equity(account) - gross


@jit
def end_orders(
    work: Records, count: np.ndarray, ts: int, k: int, tif: int, tag: int, status: int, fills: Records, n: int
) -> int:
    """End working orders without a fill; return how many fills are written now.

    Parameters
    ----------
    k, tif, tag : int
        Only orders of this instrument, time in force, tag; -1 is any.
    """
    kept = 0
    for i in range(count[0]):
        o = work[i]
        chosen = (k < 0 or o.instrument == k) and (tif < 0 or o.tif == tif) and (tag < 0 or o.tag == tag)
        if chosen:
            n = write_fill(fills, n, ts, o.tag, o.instrument, 0.0, 0.0, 0.0, o.leaves, status)
        else:
            if kept != i:
                move(work, i, kept)
            kept += 1
    count[0] = kept
    return n


@jit
def _match_many(
    work: Records,
    count: np.ndarray,
    account: Records,
    venue: Venue,
    ts: np.ndarray,
    instrument: np.ndarray,
    px: np.ndarray,
    fills: Records,
    start: np.ndarray,
) -> int:
    n = 0
    for i in range(start[0], len(ts)):
        if n + count[0] * 2 > len(fills):
            break
        k = instrument[i]
        if count[0] > 0:
            n = match(work, count, account, venue, True, ts[i], k, px[0, i], px[1, i], px[2, i], px[3, i], fills, n)
        last = px[4, i]
        if last == last:
            account[k].last_px = last
        start[0] = i + 1
    return n


class MatchingEngine:
    """The exchange's core behind a Python face: what the local exchange calls.

    Parameters
    ----------
    instruments : int
        How many instruments it trades.
    rules : Rules
        Profile.
    latency : int
        ns from the submission to the earliest match.
    cash : float
        Opening cash.
    fees : Fees
        Of a fill.
    seed : int
        Of the partial fills.
    multiplier : float
        Margin multiplier of the ALPACA profile.

    Examples
    --------
    >>> engine = MatchingEngine(1, latency=1)
    >>> engine.submit(0, 0, 5.0, math.nan, TimeInForce.DAY, tag=7)
    <Reject.NONE: 0>
    >>> fills = engine.on_trades([1, 2], [0, 0], [100.0, 101.0])
    >>> float(fills[0]["px"]), int(fills[0]["tag"])
    (101.0, 7)
    """

    def __init__(
        self,
        instruments: int,
        rules: Rules | str = Rules.PERMISSIVE,
        *,
        latency: int = 0,
        cash: float = 100_000.0,
        fees: Fees = NO_FEES,
        seed: int = 0,
        multiplier: float = 4.0,
    ) -> None:
        self.rules = parse_rules(rules)
        self.venue = make_venue(self.rules, latency, fees, seed, multiplier)
        self.books = new_books(instruments, cash)

    @property
    def account(self) -> Records:
        """The venue's books: ACCOUNT records, one an instrument."""
        return self.books.account

    @property
    def working(self) -> Records:
        """The working orders, oldest first: a copy of WORK records."""
        return self.books.work[: self.books.count[0]].copy()

    def buying_power(self) -> float:
        """Return what the account may still open."""
        return float(buying_power(self.books.account, self.venue.multiplier))

    def check(self, instrument: int, qty: float, limit: float) -> Reject:
        """Return why the venue would refuse an order now."""
        if self.rules is Rules.PERMISSIVE:
            return Reject.NONE
        return Reject(refuse(*self.books, self.venue, instrument, qty, limit))

    def submit(self, ts: int, instrument: int, qty: float, limit: float, tif: int, tag: int) -> Reject:
        """Check an order and put it on the books; `tag`, from 0 on, comes back with its fills."""
        self._known(instrument)
        if not 0.0 < abs(qty) < math.inf or limit <= 0.0 or math.isinf(limit) or tag < 0:
            raise ConfigError(
                "submit(): qty must be finite and not 0, limit > 0 or nan, tag >= 0,"
                f" received qty={qty!r}, limit={limit!r}, tag={tag!r}"
            )
        reason = self.check(instrument, qty, limit)
        if reason is Reject.NONE:
            self.books = with_room(self.books, 1)
            accept(self.books.work, self.books.count, ts, instrument, float(qty), float(limit), int(tif), tag)
        return reason

    def cancel(self, ts: int, tag: int) -> Records:
        """Cancel one order by its tag; return its ending as FILL records, empty where it does not work any more."""
        return self._ended(ts, -1, tag, _CANCELED) if tag >= 0 else records(0, FILL)

    def expire(self, ts: int) -> Records:
        """Expire the DAY orders; return their endings as FILL records."""
        return self._ended(ts, _DAY, -1, _EXPIRED)

    def _known(self, instrument: int) -> None:
        if not 0 <= instrument < len(self.account):
            raise ConfigError(f"the exchange has instruments 0 to {len(self.account) - 1}, received {instrument}")

    def _ended(self, ts: int, tif: int, tag: int, status: int) -> Records:
        out = records(int(self.books.count[0]), FILL)
        return out[: end_orders(self.books.work, self.books.count, ts, -1, tif, tag, status, out, 0)]

    def on_trades(self, ts: object, instrument: object, price: object) -> Records:
        """Match against trades, in order; return FILL records in order."""
        return self._run(ts, instrument, price, price, price, price, price)

    def on_quotes(self, ts: object, instrument: object, bid: object, ask: object) -> Records:
        """Match against quotes: buys at the ask, sells at the bid; nan is no price."""
        mid = (np.asarray(bid, np.float64) + np.asarray(ask, np.float64)) / 2.0
        return self._run(ts, instrument, ask, bid, ask, bid, mid)

    def on_bars(
        self, ts: object, instrument: object, opens: object, low: object, high: object, close: object
    ) -> Records:
        """Match against bars stamped at their close: market orders fill at the open."""
        return self._run(ts, instrument, opens, opens, low, high, close)

    def _run(self, ts: object, instrument: object, *prices: object) -> Records:
        px = np.ascontiguousarray([np.asarray(p, np.float64) for p in prices])
        times, ks = np.ascontiguousarray(ts, np.int64), np.ascontiguousarray(instrument, np.uint16)
        if not px.shape[1] == len(times) == len(ks):
            raise ConfigError(
                f"prices, times and instruments must be equally many, received {px.shape[1]}, {len(times)}, {len(ks)}"
            )
        self._known(int(ks.max(initial=0)))
        start, parts = np.zeros(1, np.int64), []
        while start[0] < len(times):
            out = records(4 * int(self.books.count[0]) + 16, FILL)
            count = _match_many(*self.books, self.venue, times, ks, px, out, start)
            parts.append(out[:count])
        return as_records(np.concatenate(parts)) if parts else records(0, FILL)


def make_venue(rules: Rules, latency: int, fees: Fees, seed: int, multiplier: float = 4.0) -> Venue:
    """Validate and return what the matching kernels take."""
    if latency < 0:
        raise ConfigError(f"latency must be >= 0 ns, received {latency}")
    for name, value in fees._asdict().items():
        if not 0.0 <= value < 1e4:
            raise ConfigError(f"Fees.{name} must be >= 0, received {value!r}; rebates are not modelled")
    return Venue(
        int(latency),
        float(fees.bps),
        float(fees.per_share),
        float(multiplier),
        0.1 if rules is Rules.ALPACA else 0.0,
        seed,
    )


def with_room(books: Books, more: int) -> Books:
    """Return books with room for `more` orders; the same ones where there is room already."""
    need = int(books.count[0]) + more
    if need <= len(books.work):
        return books
    work = records(max(need, 2 * len(books.work)), WORK)
    work[: len(books.work)] = books.work
    return books._replace(work=work)
