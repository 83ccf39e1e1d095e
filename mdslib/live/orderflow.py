"""What comes back about our orders: stream updates and workers' answers become records, counts and log lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import numpy as np

from mdslib.clock import monotonic_ns
from mdslib.desk import Desk, Order
from mdslib.errors import OutcomeUnknown
from mdslib.events import RECORD, Status
from mdslib.live.tally import Tally, kind_of_rejection
from mdslib.live.workers import Answer, Workers
from mdslib.protocols import OrderState, Records, Update
from mdslib.risk import Denial, denial_text
from mdslib.tape import Side, SideKind

Log = Callable[..., None]
Sides = list[tuple[Records, Side]]  # texts, each with the records of which it belongs to one

SILENT = 3.0  # s after which a market order, or a cancel, without a word from the stream is asked for; then twice, ...
PATIENT = 60.0  # s likewise for a limit order, and the longest pause; the venue takes 200 calls a minute
SHOWN = 20  # denials of one kind in the log; the tape has them all


class OrderFlow:
    """The deciding thread's dealings with orders after they were decided.

    Parameters
    ----------
    desk : Desk
    tally : Tally
    log : callable
        ``log(event, **fields)``.
    polls : bool
        Ask for an order when the stream is silent; a lock-step exchange never is.

    Attributes
    ----------
    workers : Workers
        Set once there are any.
    lost : bool
        An order never arrived although nobody refused it; trading should only reduce.
    """

    workers: Workers

    def __init__(self, desk: Desk, tally: Tally, log: Log, *, polls: bool) -> None:
        self.desk, self.tally, self.log = desk, tally, log
        self.lost = False
        self._polls = polls
        self._pauses: dict[str, tuple[int, float]] = {}  # by client order id: last word (monotonic ns), pause (s)

    def send(self, orders: list[Order], cancels: list[Order]) -> None:
        """Hand what was decided to the workers, cancels first."""
        self.cancel(cancels)
        for order in orders:
            self.tally.intents += 1
            self.workers.send(order)

    def cancel(self, orders: list[Order]) -> None:
        """Hand cancels to the workers; each is followed up soon."""
        for order in orders:
            self.tally.cancels += 1
            self.workers.cancel(order)
            self._heard(order)

    def cancel_working(self) -> None:
        """Cancel every order that works; one that the venue has not named yet as soon as it has."""
        self.cancel(self.desk.want_canceled(self.desk.working()))

    def from_update(self, update: Update, now: int, sides: Sides) -> Records:
        """Return the records of one message of the order stream."""
        order = self.desk.orders.get(update.order.client_order_id)
        changed = self.desk.successor_of(update.order)
        if changed is not None:  # the venue is asked what the old and the new order come to
            self.workers.ask(changed)
        if order is None and changed is not None:
            return np.zeros(0, RECORD)
        if order is None:
            self.tally.foreign += 1
            self.log("foreign-update", symbol=update.order.symbol, event_name=update.event)
            return np.zeros(0, RECORD)
        records = self.desk.on_update(update, now)
        self._heard(order)
        self._note_update(records, update.execution_id, update.order.venue_order_id, sides)
        return records

    def from_answer(self, answer: Answer, now: int, sides: Sides) -> Records:
        """Return the records of what a worker has to say of an order."""
        order = answer.order
        if answer.withheld is not None:
            self.note_denial(int(answer.withheld), 0.0, 0.0)
            return self.desk.withhold(order, answer.withheld, now)
        if isinstance(answer.error, OutcomeUnknown):
            self.tally.unknown += 1
            self.log("unknown-outcome", order=order.new.client_order_id, error=str(answer.error))
            record = self.desk.unknown(order, now)
            if len(record):
                sides.append((record, Side(0, SideKind.ERROR, str(answer.error))))
            return record
        if answer.error is not None:
            return self._refused(answer, now, sides)
        assert answer.state is not None
        if self.desk.named(order, answer.state):
            self.cancel([order])
        if not answer.resolved:
            self._heard(order)
            return np.zeros(0, RECORD)
        return self.from_state(answer.state, now, sides)

    def from_state(self, state: OrderState, now: int, sides: Sides) -> Records:
        """Return the records that bring an order to the state that the venue was asked for."""
        records = self.desk.on_state(state, now)
        self._note_update(records, "", state.venue_order_id, sides)
        if len(records) and int(records["code"][0]) == Status.PENDING_REPLACE:
            self._note_replaced(state, records)
        return records

    def _note_replaced(self, state: OrderState, records: Records) -> None:
        """Tell that somebody has replaced an order, and cancel what took its place if that was wanted."""
        order = self.desk.orders[state.client_order_id]
        self.tally.replaced += 1
        self.log("replaced", order=order.new.client_order_id, by=state.venue_order_id, left=float(records["f3"][1]),
                 leaves=float(records["f3"][0]))  # fmt: skip
        if order.cancel_wanted:
            self.cancel(self.desk.want_canceled([order]))

    def _refused(self, answer: Answer, now: int, sides: Sides) -> Records:
        order = answer.order
        record = self.desk.reject(order, now)
        self.log("rejected", order=order.new.client_order_id, error=str(answer.error), believed=bool(len(record)))
        if not len(record):  # the stream has shown it at work, so the venue is asked
            if not order.done:
                self.workers.ask(order)
            return record
        self.tally.rejected[kind_of_rejection(str(answer.error))] += 1
        self.lost = self.lost or answer.resolved
        sides.append((record, Side(0, SideKind.ERROR, str(answer.error))))
        return record

    def _note_update(self, records: Records, execution: str, venue_order: str, sides: Sides) -> None:
        for row in records:
            if row["f0"] != 0.0:
                self.tally.fills += 1
                self.log("fill", qty=float(row["f0"]), px=float(row["f1"]), order=int(row["i0"]))
        if len(records):
            text = json.dumps({"order": venue_order, "execution": execution})
            sides.append((records, Side(len(records) - 1, SideKind.ORDER, text)))

    def note_denial(self, reason: int, bound: float, value: float) -> None:
        """Count and log one denial."""
        name = Denial(reason).name
        self.tally.denied[name] += 1
        if self.tally.denied[name] <= SHOWN:
            self.log("denied", limit=name, text=denial_text(reason, bound, value))
        elif self.tally.denied[name] == SHOWN + 1:
            self.log("denied-more", limit=name, text=f"after {SHOWN} of them the tape and the counts tell the rest")

    def _heard(self, order: Order) -> None:
        """Note that the venue has spoken of an order."""
        if not self._polls:
            return
        name = order.new.client_order_id
        if order.done:
            self._pauses.pop(name, None)
        else:
            soon = order.cancel_asked or order.new.limit != order.new.limit
            self._pauses[name] = monotonic_ns(), SILENT if soon else PATIENT

    def ask_working(self) -> None:
        """Ask for every order that works: the stream was away, and what it would have told is lost."""
        for order in self.desk.working():
            self.tally.asked += 1
            self.workers.ask(order)

    def watch(self, orders: Iterable[Order]) -> None:
        """Ask for these from now on where the stream is silent; they were sent by an earlier life."""
        for order in orders:
            self._heard(order)

    def ask_silent(self) -> None:
        """Ask for the orders of which the stream has told nothing for a while, ever more rarely.

        What should have been canceled by now is canceled once more: a venue can take a cancel, and not carry it out.
        """
        now = monotonic_ns()
        for name, (since, pause) in list(self._pauses.items()):
            if now - since < pause * 1e9:
                continue
            order = self.desk.orders[name]
            if order.done:
                del self._pauses[name]
                continue
            if order.cancel_asked:
                order.cancel_asked = False
                self.cancel(self.desk.want_canceled([order]))
            self._pauses[name] = now, min(2 * pause, PATIENT)
            self.tally.asked += 1
            self.workers.ask(order)
