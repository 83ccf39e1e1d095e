"""The desk: the one place where a decision becomes an order. Pure: decisions and venue messages in, records out.

It gives every order its id, remembers what became of it by FIX's statuses, and turns what the broker says into UPDATE
records, each fill once. It sends nothing itself: the session's workers do, after the INTENT is on the tape.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mdslib.events import RECORD, TERMINAL, Kind, Status, TimeInForce, Verb
from mdslib.instruments import Instrument
from mdslib.orderid import client_order_id
from mdslib.protocols import NewOrder, OrderState, Records, Update
from mdslib.risk import Denial

BY_DESK = 256  # added to the reason of a DENIED record where the desk spoke, not the fold
EPSILON = 1e-9  # units; quantities are whole or have nine decimals at most


@dataclass(slots=True)
class Order:
    """One order of ours, and what is known of it. Quantities are signed units.

    Attributes
    ----------
    seq, leg : int
        The decision: tape sequence of its event, and leg.
    filled : float
        What the UPDATE records on the tape add up to.
    cancel_wanted : bool
        A cancel was decided before the venue had named the order.
    """

    new: NewOrder
    instrument: int
    seq: int
    leg: int
    attempt: int = 0
    status: Status = Status.PENDING_NEW
    filled: float = 0.0
    spent: float = 0.0
    venue_order_id: str = ""
    cancel_wanted: bool = False

    @property
    def leaves(self) -> float:
        """What may still fill; 0 once the order has ended."""
        return 0.0 if self.status in TERMINAL else self.new.qty - self.filled

    @property
    def done(self) -> bool:
        """Whether the order has ended."""
        return self.status in TERMINAL


@dataclass(frozen=True, slots=True)
class Intents:
    """What a batch of decisions comes to: records for the tape, then orders and cancels for the workers."""

    records: Records
    orders: list[Order]
    cancels: list[Order]


class Desk:
    """The books of one session's orders.

    Parameters
    ----------
    account_id, run_name : str
    date : datetime.date
        With the decision, these make the client order id.
    instruments : sequence of Instrument
        In the session's order.

    Examples
    --------
    >>> desk = Desk("PA1", "spy", datetime.date(2013, 10, 8), [Instrument("SPY")])
    >>> desk.working()
    []
    """

    def __init__(self, account_id: str, run_name: str, date: datetime.date, instruments: Sequence[Instrument]) -> None:
        self.account_id, self.run_name, self.date = account_id, run_name, date
        self.instruments = tuple(instruments)
        self.orders: dict[str, Order] = {}

    def working(self) -> list[Order]:
        """Return the orders that have not ended, oldest first."""
        return [order for order in self.orders.values() if not order.done]

    def take(self, decisions: Records, now: int) -> Intents:
        """Turn decisions into INTENT and DENIED records and the orders that follow once those are on the tape."""
        kept = decisions[(decisions["qty"] != 0.0) | (decisions["verb"] == Verb.CANCEL) | (decisions["denied"] != 0)]
        records = np.zeros(len(kept), RECORD)
        records["kind"] = np.where(kept["denied"] != 0, int(Kind.DENIED), int(Kind.INTENT))
        records["ts_event"], records["ts_init"] = kept["ts_event"], now
        records["instrument"], records["i0"], records["flag"] = kept["instrument"], kept["seq"], kept["leg"]
        records["f0"], records["f1"] = kept["qty"], kept["limit"]
        denied = kept["denied"] != 0
        code = kept["verb"].astype(np.uint32) + 256 * kept["tif"].astype(np.uint32)
        records["code"] = np.where(denied, kept["denied"], code)
        records["f2"] = np.where(denied, kept["bound"], kept["reference"])
        records["f3"] = np.where(denied, kept["value"], 0.0)
        orders: list[Order] = []
        cancels: list[Order] = []
        for decision in kept[~denied]:
            if decision["verb"] == Verb.CANCEL:
                cancels += self._to_cancel(int(decision["instrument"]))
            else:
                orders.append(self._new_order(decision))
        return Intents(records, orders, cancels)

    def _new_order(self, decision: np.void) -> Order:
        k, seq, leg = int(decision["instrument"]), int(decision["seq"]), int(decision["leg"])
        name = client_order_id(self.account_id, self.date, self.run_name, seq, leg, 0)
        tif = TimeInForce(int(decision["tif"]))
        new = NewOrder(name, self.instruments[k].symbol, float(decision["qty"]), float(decision["limit"]), tif)
        order = self.orders[name] = Order(new, k, seq, leg)
        return order

    def _to_cancel(self, instrument: int) -> list[Order]:
        """Return the orders that can be canceled now; one that the venue has not named yet is canceled when it has."""
        found = [o for o in self.orders.values() if o.instrument == instrument and not o.done]
        for order in found:
            order.cancel_wanted = True
        return [order for order in found if order.venue_order_id]

    def named(self, order: Order, state: OrderState) -> bool:
        """Note the venue's answer to a new order; tell whether a cancel has been waiting for it."""
        order.venue_order_id = state.venue_order_id
        return order.cancel_wanted and not order.done

    def on_update(self, update: Update, now: int) -> Records:
        """Return the UPDATE records of one message of the order stream; none for an order of somebody else's.

        A fill that was missed shows in the cumulative quantity: it gets a record of its own, at the price that the
        average implies, before the record of this message.
        """
        order = self.orders.get(update.order.client_order_id)
        if order is None or order.done:
            return np.zeros(0, RECORD)
        order.venue_order_id = order.venue_order_id or update.order.venue_order_id
        return _stacked(self._changes(order, update, now))

    def on_state(self, state: OrderState, now: int) -> Records:
        """Return the UPDATE records that bring an order to the state that the venue was asked for."""
        return self.on_update(Update(state, "polled", "", 0.0, 0.0, math.nan, state.ts_event), now)

    def _changes(self, order: Order, update: Update, now: int) -> Iterator[Records]:
        state = update.order
        missed = state.filled_qty - order.filled - update.last_qty
        if abs(missed) > EPSILON and missed * order.new.qty > 0.0:
            value = state.avg_px * state.filled_qty - update.last_qty * update.last_px
            px = (value - order.spent) / missed
            yield self._record(order, Status.PARTIALLY_FILLED, missed, px, update.ts_event, now)
        if update.last_qty != 0.0 and abs(order.filled + update.last_qty) <= abs(order.new.qty) + EPSILON:
            filled = abs(order.filled + update.last_qty - order.new.qty) <= EPSILON
            status = Status.FILLED if filled else Status.PARTIALLY_FILLED
            yield self._record(order, status, update.last_qty, update.last_px, update.ts_event, now)
        elif abs(order.filled - order.new.qty) <= EPSILON:
            order.status = Status.FILLED
        elif state.status in TERMINAL - {Status.FILLED}:
            yield self._record(order, state.status, 0.0, 0.0, update.ts_event, now)
        elif state.status is Status.NEW and order.status is Status.PENDING_NEW:
            yield self._record(order, Status.NEW, 0.0, 0.0, update.ts_event, now)

    def _record(self, order: Order, status: Status, qty: float, px: float, ts: int, now: int) -> Records:
        order.filled += qty
        order.spent += qty * px
        leaves = order.new.qty - order.filled
        order.status = status
        record = np.zeros(1, RECORD)
        record["kind"], record["ts_event"], record["ts_init"] = int(Kind.UPDATE), ts, now
        record["instrument"], record["i0"], record["flag"] = order.instrument, order.seq, order.leg
        record["code"] = int(status)
        record["f0"], record["f1"], record["f2"], record["f3"] = qty, px, order.filled, leaves
        return record

    def reject(self, order: Order, ts: int) -> Records:
        """Return the UPDATE record of an order that the venue refused outright."""
        return self._record(order, Status.REJECTED, 0.0, 0.0, ts, ts)

    def withhold(self, order: Order, reason: Denial, ts: int) -> Records:
        """Return the DENIED record of an order that the desk stopped after its INTENT was written."""
        order.status = Status.CANCELED
        record = np.zeros(1, RECORD)
        record["kind"], record["ts_event"], record["ts_init"] = int(Kind.DENIED), ts, ts
        record["instrument"], record["i0"], record["flag"] = order.instrument, order.seq, order.leg
        record["code"] = BY_DESK + int(reason)
        record["f0"], record["f1"] = order.new.qty, order.new.limit
        return record

    def unknown(self, order: Order, ts: int) -> Records:
        """Return the UNKNOWN record of an order of whose fate no answer came."""
        order.status = Status.UNKNOWN
        record = np.zeros(1, RECORD)
        record["kind"], record["ts_event"], record["ts_init"] = int(Kind.UNKNOWN), ts, ts
        record["instrument"], record["i0"], record["flag"] = order.instrument, order.seq, order.leg
        record["f0"] = order.new.qty
        return record


def _stacked(parts: Iterable[Records]) -> Records:
    found = list(parts)
    return np.concatenate(found) if found else np.zeros(0, RECORD)


def control_record(code: int, ts: int, now: int) -> Records:
    """Return a CONTROL record: 0 resume, 1 reduce, 2 halt, 3 go flat."""
    record = np.zeros(1, RECORD)
    record["kind"], record["ts_event"], record["ts_init"], record["code"] = int(Kind.CONTROL), ts, now, code
    return record


def mark_record(kind: Kind, ts: int, now: int) -> Records:
    """Return a record without a payload: OPEN, CLOSE, GAP and the like."""
    record = np.zeros(1, RECORD)
    record["kind"], record["ts_event"], record["ts_init"] = int(kind), ts, now
    return record


def opening_record(instrument: int, position: float, avg_px: float, cash: float, now: int) -> Records:
    """Return the OPENING record of one instrument."""
    record = np.zeros(1, RECORD)
    record["kind"], record["ts_event"], record["ts_init"], record["instrument"] = int(Kind.OPENING), now, now, instrument
    record["f0"], record["f1"], record["f2"] = position, avg_px, cash
    return record
