"""The desk: the one place where a decision becomes an order. Pure: decisions and venue messages in, records out.

It gives every order its id, remembers what became of it by FIX's statuses, and turns what the broker says into UPDATE
records, each fill once. It sends nothing itself: the session's workers do, after the INTENT is on the tape.
"""

from __future__ import annotations

import datetime
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdslib.account import DUST
from mdslib.events import RECORD, TERMINAL, Kind, Status, TimeInForce, Verb
from mdslib.instruments import Instrument
from mdslib.orderid import client_order_id
from mdslib.protocols import NewOrder, OrderState, Position, Records, Update
from mdslib.risk import Denial

BY_DESK = 256  # added to the reason of a DENIED record where the desk spoke, not the fold
ENDING = 1  # the flag of a CONTROL record that only belongs to a session's end: a restart takes it back

_INTENT, _DENIED, _CANCEL = int(Kind.INTENT), int(Kind.DENIED), int(Verb.CANCEL)
_pack = struct.Struct("<qqqBBHI5dqqII").pack  # the fields of RECORD, in order
assert struct.calcsize("<qqqBBHI5dqqII") == RECORD.itemsize


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
        A cancel was decided; where the venue had not named the order yet, it is sent once it has.
    cancel_asked : bool
        The cancel is with the workers, so that a model that repeats itself does not repeat the call.
    replaced : bool
        Somebody has replaced it at the venue; `new` has the quantity and `venue_order_id` the name since then.
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
    cancel_asked: bool = False
    replaced: bool = False

    @property
    def leaves(self) -> float:
        """What may still fill; 0 once the order has ended."""
        return 0.0 if self.status in TERMINAL else self.new.qty - self.filled

    @property
    def done(self) -> bool:
        """Whether the order has ended."""
        return self.status in TERMINAL


class Denied(NamedTuple):
    """A decision that a limit denied: which limit, its value, and the order's."""

    reason: int
    bound: float
    value: float


class Intents(NamedTuple):
    """What a batch of decisions comes to: records for the tape, then orders and cancels for the workers."""

    records: Records
    orders: list[Order]
    cancels: list[Order]
    denials: list[Denied]


class Apart(NamedTuple):
    """A position that differs, in units."""

    instrument: int
    symbol: str
    ours: float
    theirs: float

    def __str__(self) -> str:
        return f"position of {self.symbol}: ours {self.ours:+g}, the venue's {self.theirs:+g}"


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

    def adopt(self, records: Records, venue_id: Callable[[np.void], str]) -> None:
        """Take over the orders of a tape, as its records left them; for a restart.

        Parameters
        ----------
        records : RECORD array
            In tape order.
        venue_id : callable
            The venue's order id that an UPDATE record's text names; empty where it names none.
        """
        latest: dict[tuple[int, int], Order] = {}
        for row in records[np.isin(records["kind"], _OF_ORDERS)]:
            kind, key = int(row["kind"]), (int(row["i0"]), int(row["flag"]))
            if kind == Kind.INTENT:
                if int(row["code"]) % 256 == Verb.CANCEL:
                    for order in latest.values():
                        order.cancel_wanted |= order.instrument == int(row["instrument"]) and not order.done
                else:
                    latest[key] = self._intended(row)
            elif key in latest:
                _relive(latest[key], kind, row, venue_id)

    def _intended(self, row: np.void) -> Order:
        """Return the order of an INTENT record, as it was before it was sent."""
        k, seq, leg, attempt = int(row["instrument"]), int(row["i0"]), int(row["flag"]), int(row["i1"])
        name = client_order_id(self.account_id, self.date, self.run_name, seq, leg, attempt)
        tif = TimeInForce(int(row["code"]) // 256)
        new = NewOrder(name, self.instruments[k].symbol, float(row["f0"]), float(row["f1"]), tif)
        order = self.orders[name] = Order(new, k, seq, leg, attempt)
        return order

    def take(self, decisions: Records, now: int) -> Intents:
        """Turn decisions into INTENT and DENIED records and the orders that follow once those are on the tape."""
        # Row by row, as plain numbers: a batch decides once or twice, and a dozen calls of numpy take 0.3 ms when the
        # session has just woken.
        packed = bytearray()
        orders: list[Order] = []
        cancels: list[Order] = []
        denials: list[Denied] = []
        rows: list[Any] = decisions.tolist()
        for seq, ts, k, leg, verb, tif, denied, _, qty, _, limit, reference, bound, value in rows:
            if denied:
                packed += _pack(0, ts, now, _DENIED, leg, k, denied, qty, limit, bound, value, 0.0, seq, 0, 0, 0)
                denials.append(Denied(denied, bound, value))
                continue
            if qty == 0.0 and verb != _CANCEL:
                continue
            code = verb + 256 * tif
            packed += _pack(0, ts, now, _INTENT, leg, k, code, qty, limit, reference, 0.0, 0.0, seq, 0, 0, 0)
            if verb == _CANCEL:
                cancels += self._to_cancel(k)
            else:
                orders.append(self._new_order(k, seq, leg, qty, limit, tif))
        records = np.frombuffer(packed, RECORD) if packed else np.zeros(0, RECORD)
        return Intents(records, orders, cancels, denials)

    def _new_order(self, k: int, seq: int, leg: int, qty: float, limit: float, tif: int) -> Order:
        name = client_order_id(self.account_id, self.date, self.run_name, seq, leg, 0)
        new = NewOrder(name, self.instruments[k].symbol, qty, limit, TimeInForce(tif))
        order = self.orders[name] = Order(new, k, seq, leg)
        return order

    def _to_cancel(self, instrument: int) -> list[Order]:
        return self.want_canceled([o for o in self.orders.values() if o.instrument == instrument])

    def forget(self, orders: Iterable[Order]) -> None:
        """Strike out orders that were never sent, because their intents could not be recorded."""
        for order in orders:
            del self.orders[order.new.client_order_id]

    def want_canceled(self, orders: Iterable[Order]) -> list[Order]:
        """Return those that can be canceled now; one that the venue has not named yet is canceled when it has."""
        found = [order for order in orders if not order.done]
        for order in found:
            order.cancel_wanted = True
        now = [order for order in found if order.venue_order_id and not order.cancel_asked]
        for order in now:
            order.cancel_asked = True
        return now

    def named(self, order: Order, state: OrderState) -> bool:
        """Note the venue's answer to a new order; tell whether a cancel has been waiting for it."""
        order.venue_order_id = order.venue_order_id or state.venue_order_id  # not of one that was replaced since
        return order.cancel_wanted and bool(self.want_canceled([order]))

    def on_update(self, update: Update, now: int) -> Records:
        """Return the UPDATE records of one message of the order stream; none for an order of somebody else's.

        The cumulative quantity is the truth: a message that adds nothing to it books nothing, in whatever order
        messages come and however often. A fill that was missed shows in it: it gets a record of its own, at the price
        that the average implies, before the record of this message.
        """
        order = self.orders.get(update.order.client_order_id)
        if order is None or _is_replaced(order, update.order):
            return np.zeros(0, RECORD)
        order.venue_order_id = order.venue_order_id or update.order.venue_order_id
        return _stacked(self._changes(order, update, now))

    def apart(self, opening: np.ndarray, positions: Mapping[str, Position]) -> list[Apart]:
        """Return where the opening positions and our fills are not what the venue holds.

        Parameters
        ----------
        opening : numpy.ndarray, shape (instruments,)
            Units, signed.
        positions : mapping of str to Position
            The venue's.
        """
        ours = opening.astype(np.float64)
        for order in self.orders.values():
            ours[order.instrument] += order.filled
        theirs = [positions[i.symbol].qty if i.symbol in positions else 0.0 for i in self.instruments]
        both = zip(self.instruments, ours.tolist(), theirs, strict=True)
        return [Apart(k, i.symbol, a, b) for k, (i, a, b) in enumerate(both) if abs(a - b) > DUST]

    def successor_of(self, state: OrderState) -> Order | None:
        """Return the order of ours that somebody has replaced, of which a message of the venue tells.

        The message is the last one of the order before, or any of the one that took its place. What they come to
        together is asked for: see `on_state`.
        """
        order = self.orders.get(state.client_order_id)
        if order is not None:
            known = order.venue_order_id in ("", state.venue_order_id)
            return order if known and state.replaced_by and not order.done else None
        names = {state.venue_order_id, state.replaces} - {""}
        return next((order for order in self.orders.values() if order.venue_order_id in names), None)

    def on_state(self, state: OrderState, now: int) -> Records:
        """Return the UPDATE records that bring an order to the state that the venue was asked for.

        Where somebody has replaced it, the state is that of the whole chain: a PENDING_REPLACE record with what the new
        order leaves, a REPLACED one with what the old order left, then what has filled.
        """
        order = self.orders.get(state.client_order_id)
        if order is None:
            return np.zeros(0, RECORD)
        changed = order.venue_order_id not in ("", state.venue_order_id) or abs(state.qty - order.new.qty) > DUST
        replaced = self._replaced(order, state, now) if changed and not order.done else []
        order.venue_order_id = state.venue_order_id
        update = Update(state._replace(replaced_by=""), "polled", "", 0.0, 0.0, math.nan, state.ts_event)
        return _stacked([*replaced, *self._changes(order, update, now)])

    def _replaced(self, order: Order, state: OrderState, now: int) -> list[Records]:
        """Return the records that put the new order in the old one's place; nothing is sent for them."""
        order.cancel_asked, order.replaced = False, True
        before, order.new = order.leaves, order.new._replace(qty=state.qty)
        records = []
        for status, left in ((Status.PENDING_REPLACE, order.leaves), (Status.REPLACED, before)):
            record = self._record(order, status, 0.0, 0.0, state.ts_event, now)
            record["f3"] = left
            records.append(record)
        order.status = Status.PARTIALLY_FILLED if order.filled else Status.NEW
        return records

    def _changes(self, order: Order, update: Update, now: int) -> Iterator[Records]:
        for qty, px in _new_fills(order, update):
            yield self._fill(order, qty, px, update.ts_event, now)
        unpriced = abs(update.order.filled_qty) > abs(order.filled) + DUST
        if order.done or unpriced:
            return
        status = update.order.status
        if status in TERMINAL - {Status.FILLED}:
            yield self._record(order, status, 0.0, 0.0, update.ts_event, now)
        elif status is Status.NEW and order.status in (Status.PENDING_NEW, Status.UNKNOWN):
            yield self._record(order, Status.NEW, 0.0, 0.0, update.ts_event, now)

    def _fill(self, order: Order, qty: float, px: float, ts: int, now: int) -> Records:
        """Book a fill; after the order's end too, since the venue's books have it."""
        if not order.done:
            filled = abs(order.filled + qty - order.new.qty) <= DUST
            return self._record(order, Status.FILLED if filled else Status.PARTIALLY_FILLED, qty, px, ts, now)
        record = self._record(order, order.status, qty, px, ts, now)
        record["f3"] = -qty  # nothing was left when it ended: the fold takes back what the fill frees once more
        return record

    def _record(self, order: Order, status: Status, qty: float, px: float, ts: int, now: int) -> Records:
        order.filled += qty
        order.spent += qty * px
        order.status = status
        record = self._about(order, Kind.UPDATE, ts, now)
        record["code"] = int(status)
        record["f0"], record["f1"], record["f2"], record["f3"] = qty, px, order.filled, order.new.qty - order.filled
        return record

    def _about(self, order: Order, kind: Kind, ts: int, now: int) -> Records:
        record = mark_record(kind, ts, now)
        record["instrument"], record["i0"], record["flag"] = order.instrument, order.seq, order.leg
        return record

    def reject(self, order: Order, ts: int) -> Records:
        """Return the UPDATE record of an order that the venue refused; none where the stream shows it at work."""
        if order.done or order.venue_order_id:
            return np.zeros(0, RECORD)
        return self._record(order, Status.REJECTED, 0.0, 0.0, ts, ts)

    def withhold(self, order: Order, reason: Denial, ts: int) -> Records:
        """Return the DENIED record of an order that the desk stopped after its INTENT was written."""
        order.status = Status.CANCELED
        record = self._about(order, Kind.DENIED, ts, ts)
        record["code"] = BY_DESK + int(reason)
        record["f0"], record["f1"] = order.new.qty, order.new.limit
        return record

    def unknown(self, order: Order, ts: int) -> Records:
        """Return the UNKNOWN record of an order of whose fate no answer came; none where the stream has told it."""
        if order.venue_order_id or order.status is not Status.PENDING_NEW:
            return np.zeros(0, RECORD)
        order.status = Status.UNKNOWN
        record = self._about(order, Kind.UNKNOWN, ts, ts)
        record["f0"] = order.new.qty
        return record


_OF_ORDERS = tuple(int(k) for k in (Kind.INTENT, Kind.DENIED, Kind.UPDATE, Kind.UNKNOWN, Kind.EXPIRED))


def _relive(order: Order, kind: int, row: np.void, venue_id: Callable[[np.void], str]) -> None:
    """Bring an order to the state that a record of it tells."""
    if kind == Kind.UPDATE:
        qty = float(row["f0"])
        order.filled += qty
        order.spent += qty * float(row["f1"])
        order.status = Status(int(row["code"]))
        order.venue_order_id = venue_id(row) or order.venue_order_id
        if order.status is Status.PENDING_REPLACE:
            order.new = order.new._replace(qty=order.filled + float(row["f3"]))
            order.replaced = True
        elif order.status is Status.REPLACED and order.replaced:
            order.status = Status.PARTIALLY_FILLED if order.filled else Status.NEW
    elif kind == Kind.UNKNOWN:
        order.status = Status.UNKNOWN
    else:  # withheld by the desk, or too old to be sent
        order.status = Status.CANCELED


def _is_replaced(order: Order, state: OrderState) -> bool:
    """Tell whether a message of the stream is of an order that another has replaced: the chain is asked for instead."""
    if order.replaced and state.venue_order_id != order.venue_order_id:
        return True
    return bool(state.replaced_by) and state.status is Status.REPLACED


def _new_fills(order: Order, update: Update) -> Iterator[tuple[float, float]]:
    """Yield (quantity, price) of what a message adds to an order's fills: what was missed before, then its own."""
    state, last = update.order, update.last_qty
    new = state.filled_qty - order.filled
    room = order.new.qty - order.filled
    if abs(new) <= DUST or new * order.new.qty < 0.0 or abs(room) <= DUST:
        return
    own = last if last * new > 0.0 and abs(last) <= abs(new) + DUST else 0.0
    missed = new - own
    if abs(missed) > DUST:
        px = (state.avg_px * state.filled_qty - own * update.last_px - order.spent) / missed
        if not math.isfinite(px):  # the venue names no average: nothing to book it at, so it is asked for again
            return
        yield missed, round(px, 9)
    if own != 0.0:
        yield own, update.last_px


def _stacked(parts: Iterable[Records]) -> Records:
    found = list(parts)
    return np.concatenate(found) if found else np.zeros(0, RECORD)


def control_record(code: int, ts: int, now: int, *, ending: bool = False) -> Records:
    """Return a CONTROL record: 0 resume, 1 reduce, 2 halt, 3 go flat; `ending` where only the session's end asks."""
    record = mark_record(Kind.CONTROL, ts, now)
    record["code"], record["flag"] = code, ENDING if ending else 0
    return record


def mark_record(kind: Kind, ts: int, now: int) -> Records:
    """Return a record without a payload: OPEN, CLOSE, GAP and the like."""
    record = np.zeros(1, RECORD)
    record["kind"], record["ts_event"], record["ts_init"] = int(kind), ts, now
    return record


def opening_record(instrument: int, position: float, avg_px: float, cash: float, now: int) -> Records:
    """Return the OPENING record of one instrument."""
    record = mark_record(Kind.OPENING, now, now)
    record["instrument"] = instrument
    record["f0"], record["f1"], record["f2"] = position, avg_px, cash
    return record
