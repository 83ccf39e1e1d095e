"""The first steps of a restart: what was decided but not sent, what was sent but not answered, and the venue's books.

Nothing is sent blindly. An order whose fate the tape does not tell is asked for by its client order id; only where the
venue does not know it, and it is young enough, is it sent, under the same id, which the venue would refuse twice. What
can't be explained is a DIFFERENCE on the tape, and from then on only orders that reduce a position are let through.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mdslib.clock import monotonic_ns
from mdslib.desk import Apart, Order, control_record, mark_record
from mdslib.errors import BrokerError, ModelRaised, SessionError
from mdslib.events import Kind, Status, Verb
from mdslib.live.batch import HALT, REDUCE
from mdslib.live.checkpoint import checkpoint
from mdslib.live.engine import Engine
from mdslib.live.orderflow import Sides
from mdslib.live.replay import Replay
from mdslib.orderid import parse_client_order_id, run_prefix
from mdslib.protocols import Broker, OrderState, Records
from mdslib.risk import TRADING
from mdslib.strategy.decide import count_decisions
from mdslib.tape import Side, SideKind

ASK_EVERY = 1.0  # s between two questions after an order that the venue does not know
LOOKS = 3  # at the venue's positions, before a difference is believed: a fill may be on its way
DID_NOT_RUN = "the program did not run"
DOUBTFUL = (Status.PENDING_NEW, Status.UNKNOWN)


class Patience(NamedTuple):
    """How long a restart waits, and what it still sends; in seconds.

    Attributes
    ----------
    max_age : float
        Decisions up to this age are still sent.
    resolve_within : float
        An order that the venue does not know after this time never arrived.
    """

    max_age: float
    resolve_within: float


class Restart:
    """Closes the open ends of a tape, before the market goes on.

    Parameters
    ----------
    engine : Engine
        Made with `past`; its thread does not run yet, the order stream does.
    broker : Broker
    past : Replay
    patience : Patience

    Notes
    -----
    A lock-step exchange stands still meanwhile: no decision is late, it answers every order before anything else, so
    that one question settles whether it knows an order, and its fills come by the stream in their own time.
    """

    def __init__(self, engine: Engine, broker: Broker, past: Replay, patience: Patience) -> None:
        self._engine, self._broker, self._past, self._patience = engine, broker, past, patience
        self._stands = engine.link is not None and engine.link.lockstep
        intents = past.records[past.records["kind"] == int(Kind.INTENT)]
        self._intents = {(int(row["i0"]), int(row["flag"])): row for row in intents}
        self._pause = threading.Event()

    @property
    def _now(self) -> int:
        return self._engine.clock.now()

    def run(self, text: str, *, hole: bool) -> None:
        """Write START, then bring orders and books together with the venue's.

        Parameters
        ----------
        text : str
            Beside START, for a person.
        hole : bool
            The market went on meanwhile and goes on after this: a GAP holds orders back until it is made up for.
        """
        self._start(text, hole=hole)
        engine, desk = self._engine, self._engine.desk
        engine.flow.cancel(desk.want_canceled([order for order in desk.working() if order.cancel_wanted]))
        self._ask_for_orders()
        self._decide_late()
        self._halt_failed_model()
        self._foreign_orders()
        if not self._stands:
            engine.flow.watch(desk.working())
            self._positions()

    # What the tape is told first ---------------------------------------------------------------------------------

    def _start(self, text: str, *, hole: bool) -> None:
        engine, past, now = self._engine, self._past, self._now
        start, digest = mark_record(Kind.START, now, now), checkpoint(engine.fold, now)
        sides: Sides = [(start, Side(0, SideKind.TEXT, text))]
        parts = [start]
        if not past.broken:
            parts.append(digest[0])
            sides.append(digest)
        parts += [self._command(code, "started again", sides) for code in self._take_back()]
        if hole:
            parts += engine.gaps.records(("gap", DID_NOT_RUN, past.last_event), now, sides)
        self._write(parts, sides)
        engine.log("started-again", life=past.lives + 1, records=len(past.records), orders=len(engine.desk.working()))

    def _take_back(self) -> list[int]:
        """Return the commands that take back what only ended the life before."""
        core, past = self._engine.fold.core, self._past
        held, flattening = int(core.risk[0]["state"]) & TRADING, bool(core.account["flatten"].any())
        if past.broken or (held, flattening) == (past.state, past.flattening):
            return []
        return ([] if past.flattening else [0]) + ([past.state] if past.state else [])

    def _command(self, code: int, why: str, sides: Sides) -> Records:
        record = control_record(code, self._now, self._now)
        sides.append((record, Side(0, SideKind.COMMAND, why)))
        self._engine.log("control", code=code, why=why)
        return record

    def _write(self, parts: Sequence[Records], sides: Sides) -> None:
        found = [part for part in parts if len(part)]
        if found:
            self._engine.writer.write(found, sides, self._now, 0)

    # Orders ------------------------------------------------------------------------------------------------------

    def _ask_for_orders(self) -> None:
        """Ask for every order that may work; in lock-step only for those of which nothing is known."""
        engine = self._engine
        working = engine.desk.working()
        doubtful = [order for order in working if order.status in DOUBTFUL]
        self._mark_unknown(doubtful)
        left, error = self._ask(doubtful if self._stands else working)
        deadline = monotonic_ns() + int(self._patience.resolve_within * 1e9)
        while left and not self._stands and monotonic_ns() < deadline:
            self._pause.wait(ASK_EVERY)
            left, error = self._ask(left)
        if error is not None:
            raise error
        for order in left:
            if order.status in DOUBTFUL and not order.venue_order_id:
                self._never_arrived(order)
            else:
                self._differs(order, 0.0, "works by our books, and the venue does not know it")

    def _mark_unknown(self, orders: Sequence[Order]) -> None:
        parts, sides = list[Records](), Sides()
        for order in orders:
            record = self._engine.desk.unknown(order, self._now)
            if len(record):
                self._engine.tally.unknown += 1
                sides.append((record, Side(0, SideKind.ERROR, "the program ended before it had an answer")))
                parts.append(record)
        self._write(parts, sides)

    def _ask(self, orders: Sequence[Order]) -> tuple[list[Order], BrokerError | None]:
        """Ask for orders and record what the venue says; return those it does not know, and why it can't be asked."""
        engine, left, failed = self._engine, list[Order](), None
        parts, sides = list[Records](), Sides()
        for order in orders:
            state = None
            try:
                state = self._broker.order(order.new.client_order_id)
            except BrokerError as error:
                failed = error
            engine.progress()
            if state is None:
                left.append(order)
                continue
            if engine.desk.named(order, state):
                engine.flow.cancel([order])
            if not self._stands:
                parts.append(engine.flow.from_state(state, self._now, sides))
        self._write(parts, sides)
        return left, failed

    def _never_arrived(self, order: Order) -> None:
        """Send an order that the venue has never seen, under its own id, or end it."""
        engine = self._engine
        intent = self._intents[order.seq, order.leg]
        if self._may_be_sent(int(intent["ts_event"]), int(intent["code"]) % 256, order.instrument):
            engine.log("sent-late", order=order.new.client_order_id)
            engine.workers.send(order)
            return
        record, sides = engine.desk.reject(order, self._now), Sides()
        sides.append((record, Side(0, SideKind.ERROR, "never arrived at the venue: the program ended before")))
        engine.tally.rejected["never arrived"] += 1
        engine.log("never-arrived", order=order.new.client_order_id)
        self._write([record], sides)

    def _may_be_sent(self, decided: int, verb: int, instrument: int) -> bool:
        """Tell whether an order that was decided at a time may still be sent; going flat is never too late."""
        if self._stands:
            return True
        if self._now >= self._engine.close:
            return False
        closing = verb == Verb.RELEASE and int(self._engine.fold.account[instrument]["flatten"]) != 0
        if self._past.failure is not None or self._past.state == HALT:
            return False  # a model that failed does not trade again by itself
        return closing or self._now - decided <= self._patience.max_age * 1e9

    # Decisions ---------------------------------------------------------------------------------------------------

    def _decide_late(self) -> None:
        """Send what was decided just now, and record what is too old as EXPIRED."""
        decisions, engine = self._past.unfated, self._engine
        young = np.array(
            [
                bool(row["denied"])
                or row["verb"] == Verb.CANCEL
                or self._may_be_sent(int(row["ts_event"]), int(row["verb"]), int(row["instrument"]))
                for row in decisions
            ],
            bool,
        )
        if young.any():
            engine.writer.carry_out(decisions[young], self._now)
        old = decisions[~young]
        if not len(old):
            return
        expired = np.zeros(len(old), self._past.records.dtype)
        expired["kind"], expired["ts_event"], expired["ts_init"] = int(Kind.EXPIRED), self._now, self._now
        expired["instrument"], expired["i0"], expired["flag"] = old["instrument"], old["seq"], old["leg"]
        expired["code"] = old["verb"].astype(np.uint32) + 256 * old["tif"].astype(np.uint32)
        expired["f0"], expired["f1"] = old["qty"], old["limit"]
        engine.tally.decisions += count_decisions(old)
        engine.tally.expired += len(old)
        engine.log("expired", decisions=len(old), oldest=(self._now - int(old["ts_event"].min())) / 1e9)
        self._write([expired], [])

    def _halt_failed_model(self) -> None:
        """Keep a model halted that has failed: the session records, and a person looks."""
        past, writer, failure = self._past, self._engine.writer, self._engine.failure
        if isinstance(failure, ModelRaised):
            if past.broken and not past.faulted:
                writer.fault(failure.row, failure, self._now)
            elif past.state != HALT:
                sides: Sides = []
                self._write([self._command(HALT, str(failure), sides)], sides)
        if failure is not None or past.state == HALT:
            self._engine.flow.cancel_working()

    # The venue's books -------------------------------------------------------------------------------------------

    def _foreign_orders(self) -> None:
        """Cancel what works at the venue under this run's ids, and not by our books."""
        desk = self._engine.desk
        prefix = run_prefix(desk.account_id, desk.date, desk.run_name)
        for state in self._broker.open_orders():
            if not state.client_order_id.startswith(prefix):
                continue
            self._check_tape_s_end(state)
            order = desk.orders.get(state.client_order_id)
            if order is not None and not order.done:
                continue
            self._differs(order, state.leaves_qty, "works at the venue, and not by our books", state)
            try:
                self._broker.cancel(state.venue_order_id)
            except BrokerError as error:  # it may have ended meanwhile
                self._engine.log("cancel-failed", order=state.client_order_id, error=str(error))

    def _check_tape_s_end(self, state: OrderState) -> None:
        """Refuse to go on where the venue has an order that the tape does not reach up to."""
        key = parse_client_order_id(state.client_order_id)
        if key is not None and key.seq > int(self._past.records["seq"][-1]):
            raise SessionError(
                f"the venue has order {state.client_order_id}, and the tape ends before record {key.seq}: its end was"
                " lost, as in a power cut, and ids would be used twice. Begin another run, with --run-dir and --option"
                " run_name=NAME; it takes the position over"
            )

    def _differs(self, order: Order | None, theirs: float, why: str, state: OrderState | None = None) -> None:
        """Record that an order differs, and reduce."""
        name = order.new.client_order_id if order is not None else state.client_order_id if state is not None else ""
        record, sides = mark_record(Kind.DIFFERENCE, self._now, self._now), Sides()
        if order is not None:
            record["instrument"], record["i0"], record["flag"] = order.instrument, order.seq, order.leg
            record["f0"] = order.leaves
        elif state is not None:
            symbols = [instrument.symbol for instrument in self._engine.desk.instruments]
            record["instrument"] = symbols.index(state.symbol) if state.symbol in symbols else 0
        record["f1"] = theirs
        sides.append((record, Side(0, SideKind.TEXT, f"order {name} {why}")))
        self._reduce([record], sides, f"order {name} {why}")

    def _reduce(self, parts: list[Records], sides: Sides, why: str) -> None:
        self._engine.log("difference", text=why)
        if int(self._engine.fold.core.risk[0]["state"]) & TRADING == 0:
            parts = [*parts, self._command(REDUCE, why, sides)]
        self._write(parts, sides)

    def _positions(self) -> None:
        """Compare positions; a difference is believed if it is there after some more looks at our orders as well."""
        found = self._apart()
        for _ in range(LOOKS - 1):
            if not found:
                return
            self._pause.wait(ASK_EVERY)
            self._ask(self._engine.desk.working())
            found = self._apart()
        parts, sides = list[Records](), Sides()
        for each in found:
            record = mark_record(Kind.DIFFERENCE, self._now, self._now)
            record["instrument"], record["f0"], record["f1"] = each.instrument, each.ours, each.theirs
            sides.append((record, Side(0, SideKind.TEXT, str(each))))
            parts.append(record)
        if found:
            self._reduce(parts, sides, "; ".join(side.text for _, side in sides))

    def _apart(self) -> list[Apart]:
        return self._engine.desk.apart(self._engine.opening, self._broker.positions())
