"""`MatchingEngine`: the kernels behind a Python face, for the local exchange."""

from __future__ import annotations

import math

import numpy as np

from mdslib.errors import ConfigError
from mdslib.events import Status
from mdslib.jit import as_records, jit, records
from mdslib.matching.kernels import (
    FILL,
    accept,
    buying_power,
    end_orders,
    end_session,
    match,
    new_books,
    refuse,
    with_room,
)
from mdslib.matching.rules import NO_FEES, Fees, Reject, Rules, Venue, make_venue, parse_rules
from mdslib.protocols import Records


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
            n = match(
                work, count, account, venue, True, True, False, ts[i], k,
                px[0, i], px[1, i], px[2, i], px[3, i], fills, n,
            )  # fmt: skip
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
    >>> from mdslib.events import TimeInForce
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
        """Check an order and put it on the books, to work from `ts` on; `tag`, from 0 on, comes back with its fills."""
        self._known(instrument)
        if not 0.0 < abs(qty) < math.inf or limit <= 0.0 or math.isinf(limit) or tag < 0:
            raise ConfigError(
                "submit(): qty must be finite and not 0, limit > 0 or nan, tag >= 0,"
                f" received qty={qty!r}, limit={limit!r}, tag={tag!r}"
            )
        reason = self.check(instrument, qty, limit)
        if reason is Reject.NONE:
            self.put_back(ts, instrument, qty, limit, tif, tag)
        return reason

    def put_back(self, ts: int, instrument: int, qty: float, limit: float, tif: int, tag: int) -> None:
        """Put an order on the books without a check: one that was accepted before."""
        self.books = with_room(self.books, 1)
        accept(self.books.work, self.books.count, ts, instrument, float(qty), float(limit), int(tif), tag)

    def cancel(self, ts: int, tag: int, status: Status = Status.CANCELED) -> Records:
        """End one order by its tag; return its ending as FILL records, empty where it does not work any more."""
        out = self._room()
        if tag < 0:
            return out[:0]
        return out[: end_orders(self.books.work, self.books.count, ts, -1, -1, tag, int(status), out, 0)]

    def expire(self, ts: int) -> Records:
        """End what does not outlive the session that closes at `ts`; return the endings as FILL records."""
        out = self._room()
        return out[: end_session(self.books, ts, out, 0)]

    def _room(self) -> Records:
        return records(int(self.books.count[0]), FILL)

    def _known(self, instrument: int) -> None:
        if not 0 <= instrument < len(self.account):
            raise ConfigError(f"the exchange has instruments 0 to {len(self.account) - 1}, received {instrument}")

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
