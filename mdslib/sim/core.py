"""The exchange's books: orders with their ids and states around the compiled matching core.

No I/O. Updates for ``trade_updates`` collect in an outbox, in the order in which they came to be; whoever moves time
sends them. Order ids are made from the run's seed and the order's number, so that a repeated run repeats them.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable
from typing import Any, Protocol

import msgspec.json
import numpy as np

from mdslib.events import Kind, Status, TimeInForce
from mdslib.matching import Fees, MatchingEngine, Reject, Rules, parse_rules, works_from
from mdslib.protocols import Records
from mdslib.sim.accepted import EVENTS, OPEN, STATUS_NAMES, Order, make_id
from mdslib.sim.log import RunLog
from mdslib.sim.market import Market
from mdslib.sim.options import SimOptions
from mdslib.sim.orders import (
    FORBIDDEN,
    INVALID,
    NOT_FOUND,
    UNPROCESSABLE,
    Refusal,
    Request,
    changed_body,
    parse_request,
)
from mdslib.sim.wire import CHANNELS, number, stamp


class Troubles(Protocol):
    """What a fault script does to orders."""

    def rejects(self, order: Order) -> str | None:
        """Return why an order that was just accepted is rejected at once."""

    def ignores_cancel(self, order: Order) -> bool:
        """Tell whether a cancel is taken in and forgotten."""


class Core:
    """Orders, account and positions of the exchange.

    Parameters
    ----------
    market : Market
        What is traded.
    options : SimOptions
        Rules, latency, cash, fees, seed.
    log : RunLog
        Where every order event is kept.

    Attributes
    ----------
    now : int
        The exchange's time, ns UTC; only the player moves it. Orders that wait for a session's open begin to work as it
        passes.
    outbox : list of bytes
        ``trade_updates`` messages that have not been sent.
    """

    def __init__(self, market: Market, options: SimOptions, log: RunLog) -> None:
        self.market = market
        self.log = log
        self._now = market.start
        self.seed = options.seed
        self.rules = parse_rules(options.rules)
        fees = Fees(options.fee_bps, options.fee_per_share)
        instruments = market.data.instruments
        self.engine = MatchingEngine(
            len(instruments), self.rules, latency=options.latency, cash=options.cash, fees=fees, seed=options.seed
        )
        self.engine.account["long_only"] = [not instrument.shortable for instrument in instruments]
        self.opening_cash = options.cash
        self.orders: list[Order] = []
        self.by_id: dict[str, Order] = {}
        self.by_client: dict[str, Order] = {}
        self.outbox: list[bytes] = []
        self._queued: list[Order] = []  # those that wait for an open, the earliest first
        self.refused = 0
        self.troubles: Troubles | None = None
        self._positions = [0.0] * len(instruments)
        self._names = {i.symbol: (k, i) for k, i in enumerate(instruments)}
        self._names |= {make_id("asset", i.symbol): (k, i) for k, i in enumerate(instruments)}
        # As in the back-test: orders match against trades where the data has them, else quotes, else bars, else books.
        self.matches_on = next(kind for kind in CHANNELS if kind in market.tables)
        self._told = 0

    def warm(self) -> None:
        """Compile the matching core before the first order needs it."""
        warm(self.rules)

    @property
    def now(self) -> int:  # noqa: D102 - among the attributes above
        return self._now

    @now.setter
    def now(self, ts: int) -> None:
        self._now = ts
        while self._queued and self._queued[0].begins <= ts:
            self._route(self._queued.pop(0))

    # -- market ------------------------------------------------------------

    def on_market(self, hi: int) -> None:
        """Match the working orders against the events up to number `hi` that were not told yet.

        With no working order there is nothing to match, so only the last prices are due, and they can wait.
        """
        if self.engine.books.count[0]:
            self._catch_up(hi)

    def _catch_up(self, hi: int) -> None:
        lo, self._told = self._told, max(hi, self._told)
        if hi <= lo:
            return
        ways: dict[Kind, tuple[tuple[str, ...], Callable[..., Records]]] = {
            Kind.TRADE: (("price",), self.engine.on_trades),
            Kind.QUOTE: (("bid", "ask"), self.engine.on_quotes),
            Kind.BAR: (("open", "low", "high", "close"), self.engine.on_bars),
            Kind.BOOK_DELTA: (("bid", "ask"), self.engine.on_quotes),
        }
        names, match = ways[self.matches_on]
        columns = self.market.columns(self.matches_on, lo, hi, ("ts_event", "instrument", *names))
        if len(columns[0]):
            self._book(match(*columns))

    def settle(self, hi: int) -> None:
        """Tell the engine all events up to number `hi`, so that prices and books are current."""
        self._catch_up(hi)

    def expire(self, ts: int) -> None:
        """End what does not outlive the session that closes at `ts`: DAY orders expire, late IOC orders are canceled.

        An order sent at the close or later is not of that session: it is queued for the next one, or works in extended
        hours.
        """
        self._book(self.engine.expire(ts))

    def finish(self) -> None:
        """End the DAY orders of the extended hours, where the day has been played to its end."""
        if self.now < max(self.market.closes, default=0):
            return
        for order in self.open_orders():
            if order.request.extended_hours and not order.queued:
                self._book(self.engine.cancel(self.now, order.number, Status.EXPIRED))

    def _book(self, fills: Records) -> None:
        for row in fills:
            order = self.orders[int(row["tag"])]
            ts, qty, px, status = int(row["ts"]), float(row["qty"]), float(row["px"]), Status(int(row["status"]))
            order.status, order.updated = status, ts
            if status not in OPEN:
                order.ended[STATUS_NAMES[status]] = ts
                order.queued = False
            if not qty:
                self._announce(order, ts, EVENTS[status])
                continue
            order.filled += qty
            order.paid += qty * px
            order.fees += float(row["fee"])
            order.executions += 1
            k = order.request.instrument
            self._positions[k] += qty
            execution = {
                "execution_id": make_id(self.seed, order.number, "execution", order.executions),
                "price": number(px),
                "qty": number(abs(qty)),
                "position_qty": number(self._positions[k]),
            }
            self._announce(order, ts, EVENTS[status], execution)

    def _announce(self, order: Order, ts: int, event: str, execution: dict[str, Any] | None = None) -> None:
        told = {"event": event, "execution_id": None} | (execution or {})
        snapshot, at = order.to_json(), stamp(ts)
        data = told | {"order": snapshot, "timestamp": at, "at": at}
        self.outbox.append(msgspec.json.encode({"stream": "trade_updates", "data": data}))
        self.log.order({"ts": ts, **told, "order": snapshot})

    # -- orders ------------------------------------------------------------

    def submit(self, body: Any) -> dict[str, Any]:
        """Take an order in; return it as the venue answers the POST.

        Raises
        ------
        Refusal
            The venue's own words; no order was made.
        """
        try:
            return self._submit(body)
        except Refusal as refusal:
            self.refused += 1
            client = body.get("client_order_id") if isinstance(body, dict) else None
            self.log.order({"ts": self.now, "event": "refused", "client_order_id": client, "body": refusal.body})
            raise

    def _submit(self, body: Any) -> dict[str, Any]:
        request = parse_request(body, self._names, self.by_client)
        place = len(self.orders)
        begins = works_from(self.market.extended_hours if request.extended_hours else self.market.hours, self.now)
        self._enter(request, begins, place)
        order = self._keep(place, request, begins)
        if begins > self.now:
            order.status, order.queued = Status.NEW, True
            insort(self._queued, order, key=lambda waiting: waiting.begins)
            self._announce(order, self.now, "accepted")
            return order.to_json()
        answer = order.to_json()
        self._route(order)
        return answer

    def _enter(self, r: Request, begins: int, place: int) -> None:
        """Hand a request to the matching core as order number `place`, or raise the venue's refusal of it."""
        reason = self.engine.submit(begins, r.instrument, r.qty, r.limit, r.tif_of_core, place)
        if reason is not Reject.NONE:
            raise self._refusal(reason, r)

    def _keep(self, place: int, request: Request, begins: int) -> Order:
        client = request.client_order_id or make_id(self.seed, place, "client")
        order = Order(place, make_id(self.seed, place), client, request, self.now, begins, updated=self.now)
        self.orders.append(order)
        self.by_id[order.id] = order
        self.by_client[order.client_order_id] = order
        return order

    def _route(self, order: Order) -> None:
        """Let an order begin to work, and say so."""
        if order.status not in OPEN:
            return  # canceled while it waited
        order.queued, order.status, order.updated = False, Status.PENDING_NEW, order.begins
        self._announce(order, order.begins, "pending_new")
        rejected = None if self.troubles is None else self.troubles.rejects(order)
        if rejected is not None:
            self.reject(order, rejected)
            return
        order.status = Status.NEW
        self._announce(order, order.begins, "new")

    def reject(self, order: Order, reason: str) -> None:
        """Reject an order that was accepted; does nothing where it has ended."""
        if order.status in OPEN:
            self.engine.cancel(self.now, order.number)
            order.status, order.updated, order.ended["rejected"] = Status.REJECTED, self.now, self.now
            self._announce(order, self.now, "rejected", {"reason": reason})

    def _refusal(self, reason: Reject, r: Request) -> Refusal:
        mine = [o for o in self.orders if o.status in OPEN and o.request.instrument == r.instrument]
        if reason is Reject.BUYING_POWER:
            last = float(self.engine.account[r.instrument]["last_px"])
            cost = abs(r.qty) * (last if math.isnan(r.limit) else r.limit)
            return Refusal(
                403,
                FORBIDDEN,
                "insufficient buying power",
                buying_power=number(round(self.buying_power(), 2)),
                cost_basis=number(round(cost, 2)),
            )
        if reason is Reject.WASH_TRADE:
            other = next(o for o in mine if o.request.qty * r.qty < 0)
            market = math.isnan(r.limit) or any(math.isnan(o.request.limit) for o in mine if o.request.qty * r.qty < 0)
            why = "opposite side market/stop order exists" if market else "opposite side limit order exists"
            return Refusal(
                403,
                FORBIDDEN,
                "potential wash trade detected. use complex orders",
                existing_order_id=other.id,
                reject_reason=why,
            )
        if reason is Reject.QTY_AVAILABLE:
            holding = [o for o in mine if o.request.qty * r.qty > 0]
            position, held = abs(self._positions[r.instrument]), sum(abs(o.leaves) for o in holding)
            want, available = number(abs(r.qty)), number(max(0.0, position - held))
            return Refusal(
                403,
                FORBIDDEN,
                f"insufficient qty available for order (requested: {want}, available: {available})",
                available=available,
                existing_qty=number(position),
                held_for_orders=number(held),
                related_orders=[o.id for o in holding],
                symbol=r.symbol,
            )
        if reason is Reject.NOT_SHORTABLE:
            return Refusal(422, UNPROCESSABLE, f'asset "{r.symbol}" cannot be sold short')
        if reason is Reject.SHORT_FRACTION:
            return Refusal(422, UNPROCESSABLE, "fractional orders cannot be sold short")
        return Refusal(422, INVALID, f'asset "{r.symbol}" has no price yet: no event of it has been sent')

    def order(self, name: str) -> Order:
        """Return the order with an id.

        Raises
        ------
        Refusal
            404 where there is none.
        """
        try:
            return self.by_id[name]
        except KeyError:
            raise Refusal(404, NOT_FOUND, f"order not found for {name}") from None

    def cancel(self, name: str) -> None:
        """Cancel an order; the outcome comes by the stream.

        Raises
        ------
        Refusal
            404 for an unknown order, 422 for one that has ended.
        """
        order = self.order(name)
        if order.status not in OPEN:
            raise Refusal(422, UNPROCESSABLE, f'order is already in "{STATUS_NAMES[order.status]}" state')
        if self.troubles is not None and self.troubles.ignores_cancel(order):
            return
        self._book(self.engine.cancel(self.now, order.number))

    def replace(self, name: str, body: Any) -> dict[str, Any]:
        """Let an order with changes take another's place, under an id of its own; return it.

        Raises
        ------
        Refusal
            The venue's own words; the order before works on.
        """
        before = self.order(name)
        if before.status not in OPEN:
            raise Refusal(422, UNPROCESSABLE, f'order is already in "{STATUS_NAMES[before.status]}" state')
        if before.queued or before.status is Status.PENDING_NEW:
            raise Refusal(422, UNPROCESSABLE, "unable to replace order, order isn't sent to exchange yet")
        request = parse_request(changed_body(body, before.to_json()), self._names, self.by_client)
        place = len(self.orders)
        self.engine.cancel(self.now, before.number)  # what it holds is free for the one that takes its place
        try:
            self._enter(request, self.now, place)
        except Refusal:
            old = before.request
            self.engine.put_back(self.now, old.instrument, before.leaves, old.limit, old.tif_of_core, before.number)
            raise
        after = self._keep(place, request, self.now)
        after.status, after.replaces, before.replaced_by = Status.NEW, before.id, after.id
        before.status, before.updated, before.ended["replaced"] = Status.REPLACED, self.now, self.now
        self._announce(before, self.now, EVENTS[Status.REPLACED])
        self._announce(after, self.now, "new")
        return after.to_json()

    def open_orders(self) -> list[Order]:
        """Return the working orders, oldest first."""
        return [order for order in self.orders if order.status in OPEN]

    # -- account ------------------------------------------------------------

    def cash(self) -> float:
        """Return the account's cash."""
        return float(np.sum(self.engine.account["cash"]))

    def position(self, instrument: int) -> float:
        """Return one instrument's net position, signed."""
        return self._positions[instrument]

    def price(self, instrument: int) -> float:
        """Return the last price sent, or the average entry price where none was."""
        account = self.engine.account[instrument]
        last = float(account["last_px"])
        return last if last == last else float(account["avg_px"])

    def market_value(self, side: int) -> float:
        """Return the value of the long (1) or short (-1) positions, signed."""
        held = ((qty, k) for k, qty in enumerate(self._positions) if qty * side > 0)
        return sum(qty * self.price(k) for qty, k in held)

    def equity(self) -> float:
        """Return cash plus positions at their last prices."""
        return self.cash() + self.market_value(1) + self.market_value(-1)

    def buying_power(self) -> float:
        """Return what may still be opened, less what working orders that open reserve."""
        power = self.engine.venue.multiplier * self.equity() - self.market_value(1) + self.market_value(-1)
        for order in self.open_orders():
            k = order.request.instrument
            if self._positions[k] * order.leaves >= 0:
                limit = order.request.limit
                power -= abs(order.leaves) * (self.price(k) if math.isnan(limit) else limit)
        return power


def warm(rules: Rules) -> None:
    """Compile all of the matching core that an exchange with these rules calls."""
    engine = MatchingEngine(1, rules, latency=0)
    engine.on_trades([0], [0], [1.0])
    engine.submit(0, 0, 1.0, math.nan, TimeInForce.DAY, 0)
    engine.cancel(0, 0)
    engine.expire(0)
