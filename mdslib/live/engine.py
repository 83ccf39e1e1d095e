"""The deciding thread: the one writer of the tape, and the one place where a live session folds and decides.

Everything reaches it through one mailbox: market records, order updates, answers of the order workers, commands, and in
lock-step the exchange's barriers. A batch is written to the tape, then folded; what was decided is written as INTENT or
DENIED, then handed to the workers. Nothing else touches the fold, the desk or the tape.

A hop from thread to thread costs more than all of that. So where nothing waits and the deciding thread sleeps, the
reader takes the turn itself and decides on its frame at once. In a burst it only hands over, so that the socket is read
on while the deciding thread folds many frames in one batch.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mdslib.clock import Clock, SteppedClock, monotonic_ns
from mdslib.desk import Desk, control_record, mark_record
from mdslib.errors import FeedError, MdsError, ModelRaised, OutcomeUnknown, SessionError
from mdslib.events import RECORD, Kind, Status
from mdslib.live.latency import Latency
from mdslib.live.mailbox import Item, Mailbox
from mdslib.live.simlink import SimLink
from mdslib.live.workers import Answer, Workers
from mdslib.protocols import Records, Update
from mdslib.risk import Denial, denial_text
from mdslib.store.tapefile import TapeWriter
from mdslib.strategy import Fold
from mdslib.strategy.market import timer_columns
from mdslib.tape import Side, SideKind

POLL = 0.02  # s; longest sleep of the deciding thread, so that timers and the close are never late by more
PAUSE = 50_000  # ns between two frames, from the end of the one; where it is shorter, the reader hands over
SILENT = 3.0  # s after which an order without a word from the stream is asked for
HALT, FLATTEN = 2, 3

Log = Callable[..., None]


@dataclass
class Tally:
    """Everything that a person wants counted; kept by the deciding thread, read by the display."""

    events: int = 0
    decisions: int = 0
    intents: int = 0
    fills: int = 0
    cancels: int = 0
    outside: Counter[str] = field(default_factory=Counter)  # market events outside the session, by early or late
    denied: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    foreign: int = 0  # updates of orders that are not ours
    unfolded: int = 0  # events recorded after the model failed
    longest_queue: int = 0
    batches: int = 0


class Engine:
    """Folds, decides, records.

    Parameters
    ----------
    fold : Fold
        Compiled already.
    desk : Desk
    tape : TapeWriter
    clock : Clock
    open, close : int
        The session, ns UTC; market events outside it are counted and left alone.
    flatten : int or None
        When to go flat, ns UTC.
    workers : Workers
    log : callable
        ``log(event, **fields)``, one line of the session's log.
    link : SimLink, optional
        To a local exchange.
    """

    def __init__(
        self,
        fold: Fold,
        desk: Desk,
        tape: TapeWriter,
        clock: Clock,
        session: tuple[int, int],
        flatten: int | None,
        log: Log,
        link: SimLink | None = None,
    ) -> None:
        self.fold, self.desk, self.tape, self.clock, self.link = fold, desk, tape, clock, link
        self.open, self.close = session
        self.log = log
        self.workers: Workers | None = None
        self.tally = Tally()
        self.handover, self.decision = Latency(), Latency()
        self.beat = 0
        self.last_event = 0
        self.failure: MdsError | None = None
        self.broken = False  # the model failed: record, but fold no more
        self.finished = threading.Event()
        self._box = Mailbox()
        # A disk is waited for by the deciding thread, never by the reader; in lock-step an instant is dealt with whole.
        self._at_once = tape.durability == "write" and not (link is not None and link.lockstep)
        self._free_since = 0  # monotonic time at which the reader was done with its last frame
        self._due = _schedule(fold, session, flatten)
        self._next_due = 0
        self._frames = self._updates = 0
        self._last_frame: int | None = None  # how many a local exchange has sent in all, once its day is over
        self._held: list[Item] = []
        self._asked: dict[str, int] = {}
        self._quiet = 0
        self._ending: int | None = None  # monotonic time by which what is open must have settled
        self._reason = ""

    # What other threads call -------------------------------------------------------------------------------------

    def on_market(self, records: Records) -> None:
        """Take a frame's records; the reader's sink. Decides at once where the turn is free and frames are apart."""
        now = monotonic_ns()
        item = ("market", records, now)
        if self._at_once and now - self._free_since > PAUSE and self._box.turn.acquire(blocking=False):
            try:
                self._guarded([*self._waiting(), item])
            finally:
                self._box.turn.release()
        else:
            self._box.put(item)
        self._free_since = monotonic_ns()

    def on_update(self, update: Update) -> None:
        """Take one order update; the stream's sink."""
        self._box.put(("update", update))

    def on_answer(self, answer: Answer) -> None:
        """Take what came of an order; the workers' sink."""
        self._box.put(("answer", answer))

    def on_barrier(self, message: dict[str, Any]) -> None:
        """Take a message of a local exchange's side channel."""
        if message["phase"] == "end" or (self.link is not None and self.link.lockstep):
            self._box.put(("barrier", message))

    def command(self, code: int, why: str) -> None:
        """Halt, reduce, resume or go flat, as a person or the session says."""
        self._box.put(("control", code, why))

    def fail(self, error: MdsError) -> None:
        """Report that the feed or the stream has ended for good: trading halts, and the session ends."""
        self._box.put(("failure", error))

    def stop(self, why: str) -> None:
        """End the session early: cancel, settle, close the tape."""
        self._box.put(("stop", why))

    @property
    def queued(self) -> int:
        """How many items wait."""
        return len(self._box)

    # The loop ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Decide until the session has ended; the deciding thread's body."""
        try:
            while not self.finished.is_set():
                self._box.wait(POLL)
                with self._box.turn:
                    self._guarded(self._waiting())
        finally:
            self.finished.set()

    def _guarded(self, items: list[Item]) -> None:
        """Take a turn, holding `turn`; what can't go on ends the session, whichever thread met it."""
        if self.finished.is_set():
            return
        try:
            self._turn(items)
        except MdsError as error:
            self.failure = self.failure or error
            self.log("engine-failed", error=str(error))
            self.finished.set()
        # A fault of ours must reach the person as the session's end, not vanish with a thread.
        except Exception as error:
            self.failure = self.failure or SessionError(f"deciding failed: {type(error).__name__}: {error}")
            self.log("engine-failed", error=str(self.failure))
            self.finished.set()

    def _turn(self, items: list[Item]) -> None:
        self.beat += 1
        if self.link is not None and self.link.lockstep:
            self._lockstep(items)
        else:
            self._follow(items)
            self._batch(items, self.clock.now())
            self._watch_close()
        if self._ending is not None and self._settled():
            self._finish()

    def _waiting(self) -> list[Item]:
        """Return everything that waits, oldest first."""
        items = self._box.take()
        if len(items) > self.tally.longest_queue:
            self.tally.longest_queue = len(items)
        return items

    def _follow(self, items: list[Item]) -> None:
        """Count frames, and where the exchange's time is that of its events, move the clock with them."""
        frames = [item[1] for item in items if item[0] == "market"]
        self._frames += len(frames)
        if frames and self.link is not None:
            self.link.advance(int(frames[-1]["ts_event"][-1]))

    def _batch(self, items: list[Item], now: int) -> None:
        """Write and fold what has arrived, in order of arrival; timers that are due come first."""
        parts, sides = self._due_records(now), list[tuple[Records, Side]]()
        received = 0
        for item in items:
            if item[0] == "market":
                records = self._inside(item[1])
                parts.append(records)
                received = received or item[2]
                self.handover.add(monotonic_ns() - item[2])
            elif item[0] == "update":
                parts.append(self._from_update(item[1], now, sides))
            elif item[0] == "answer":
                parts.append(self._from_answer(item[1], now, sides))
            elif item[0] == "control":
                parts.append(self._from_control(item[1], item[2], now, sides))
            elif item[0] == "failure":
                parts += self._from_failure(item[1], now, sides)
            elif item[0] == "stop":
                self._begin_end(item[1])
            elif item[0] == "barrier" and item[1]["phase"] == "end":
                self._last_frame = int(item[1].get("frames", 0))
        parts = [part for part in parts if len(part)]
        if parts:
            self._fold(parts, sides, now, received)

    def _inside(self, records: Records) -> Records:
        """Return the events of the session: open <= time < close, and the bars that are stamped at the close."""
        ts = records["ts_event"]
        times = ts.tolist()  # a frame is short: looking at plain numbers is quicker than three arrays
        if times and min(times) >= self.open and max(times) < self.close:
            return records
        end = np.where(records["kind"] == int(Kind.BAR), self.close + 1, self.close)
        inside = (ts >= self.open) & (ts < end)
        if inside.all():
            return records
        self.tally.outside["before the open"] += int(np.count_nonzero(ts < self.open))
        self.tally.outside["after the close"] += int(np.count_nonzero(ts >= end))
        return records[inside]

    def _fold(self, parts: list[Records], sides: list[tuple[Records, Side]], now: int, received: int) -> None:
        batch = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if isinstance(self.clock, SteppedClock):
            batch["ts_init"] = now
        self.tape.append(batch, _placed(parts, sides))
        self.tally.batches += 1
        self.tally.events += int(np.count_nonzero(batch["kind"] <= int(Kind.BAR)))
        self.last_event = int(batch["ts_event"][-1])
        if self.broken:
            self.tally.unfolded += len(batch)
            return
        try:
            decisions = self.fold.feed(batch)
        except ModelRaised as error:
            self._model_failed(error, batch, now)
            return
        if received:
            self.decision.add(monotonic_ns() - received)
        if len(decisions):
            self._carry_out(decisions, now)

    def _carry_out(self, decisions: Records, now: int) -> None:
        """Write intents and denials, then hand the orders to the workers."""
        assert self.workers is not None
        intents = self.desk.take(decisions, now)
        self.tally.decisions += len(decisions)
        if len(intents.records):
            denied = intents.records[intents.records["kind"] == int(Kind.DENIED)]
            for row in denied:
                self._note_denial(int(row["code"]), float(row["f2"]), float(row["f3"]))
            self.tape.append(intents.records)
        for order in intents.cancels:
            self.tally.cancels += 1
            self.workers.cancel(order)
        for order in intents.orders:
            self.tally.intents += 1
            self.workers.send(order)
        if bool((decisions["denied"] == int(Denial.INVALID)).any()):
            self._answered_nonsense(decisions[decisions["denied"] == int(Denial.INVALID)][0], now)

    def _answered_nonsense(self, decision: np.void, now: int) -> None:
        """Halt trading; the fold goes on, since the model itself still runs."""
        seq, said = int(decision["seq"]), denial_text(int(Denial.INVALID), 0.0, float(decision["value"]))
        text = f"model {self.fold.strategy.name!r} answered nonsense on record {seq}: {said}; trading halted"
        if self.failure is None:
            self.failure = ModelRaised(text, seq)
            halt = control_record(HALT, self.last_event, now)
            self.tape.append(halt, [Side(0, SideKind.COMMAND, text)])
            self.fold.feed(halt)
            self.log("model-failed", error=text, record=seq)
            self._cancel_working()

    def _note_denial(self, reason: int, bound: float, value: float) -> None:
        text = denial_text(reason, bound, value)
        name = Denial(reason).name
        self.tally.denied[name] += 1
        if self.tally.denied[name] <= 20:  # the tape has them all; the log is for a person
            self.log("denied", limit=name, text=text)

    # Items -------------------------------------------------------------------------------------------------------

    def _due_records(self, now: int) -> list[Records]:
        """Return CONTROL and TIMER records whose time has come, stamped with the time that they were due at."""
        found = []
        while self._next_due < len(self._due) and self._due[self._next_due][0] <= now:
            ts, timer, number = self._due[self._next_due]
            self._next_due += 1
            if timer < 0:
                found.append(control_record(FLATTEN, ts, now))
                self.log("flatten", ts=ts)
                continue
            record = mark_record(Kind.TIMER, ts, now)
            record["flag"], record["i0"] = timer, number
            found.append(record)
        return found

    def _wake(self) -> int | None:
        return self._due[self._next_due][0] if self._next_due < len(self._due) else None

    def _from_update(self, update: Update, now: int, sides: list[tuple[Records, Side]]) -> Records:
        if update.order.client_order_id not in self.desk.orders:
            self.tally.foreign += 1
            self.log("foreign-update", symbol=update.order.symbol, event_name=update.event)
        self._asked.pop(update.order.client_order_id, None)
        records = self.desk.on_update(update, now)
        if isinstance(self.clock, SteppedClock):
            records["ts_event"] = now  # the exchange's instant: a venue stamp is cut to what its clock shows
        self._note_update(records, update.execution_id, update.order.venue_order_id, sides)
        return records

    def _note_update(
        self, records: Records, execution: str, venue_order: str, sides: list[tuple[Records, Side]]
    ) -> None:
        for row in records:
            if row["f0"] != 0.0:
                self.tally.fills += 1
                self.log("fill", qty=float(row["f0"]), px=float(row["f1"]), order=int(row["i0"]))
        if len(records):
            sides.append(
                (
                    records,
                    Side(len(records) - 1, SideKind.ORDER, f'{{"order": "{venue_order}", "execution": "{execution}"}}'),
                )
            )

    def _from_answer(self, answer: Answer, now: int, sides: list[tuple[Records, Side]]) -> Records:
        order = answer.order
        if answer.withheld is not None:
            self._note_denial(int(answer.withheld), 0.0, 0.0)
            return self.desk.withhold(order, answer.withheld, now)
        if isinstance(answer.error, OutcomeUnknown):
            self.tally.unknown += 1
            self.log("unknown-outcome", order=order.new.client_order_id, error=str(answer.error))
            return self.desk.unknown(order, now)
        if answer.error is not None:
            self.tally.rejected[_short(str(answer.error))] += 1
            self.log("rejected", order=order.new.client_order_id, error=str(answer.error))
            if answer.resolved:
                self.command(1, f"order {order.new.client_order_id} never arrived")
            if order.done:
                return np.zeros(0, RECORD)
            record = self.desk.reject(order, now)
            sides.append((record, Side(0, SideKind.ERROR, str(answer.error))))
            return record
        assert answer.state is not None
        if self.desk.named(order, answer.state) and self.workers is not None:
            self.workers.cancel(order)
        if not order.done and self.link is None:
            self._asked[order.new.client_order_id] = monotonic_ns()
        if answer.resolved:
            if order.status is Status.UNKNOWN:
                order.status = Status.PENDING_NEW
            records = self.desk.on_state(answer.state, now)
            self._note_update(records, "", answer.state.venue_order_id, sides)
            return records
        return np.zeros(0, RECORD)

    def _from_control(self, code: int, why: str, now: int, sides: list[tuple[Records, Side]]) -> Records:
        record = control_record(code, now, now)
        sides.append((record, Side(0, SideKind.COMMAND, why)))
        self.log("control", code=code, why=why)
        if code == HALT:
            self._cancel_working()
        return record

    def _from_failure(self, error: MdsError, now: int, sides: list[tuple[Records, Side]]) -> list[Records]:
        self.failure = self.failure or error
        self.log("failure", error=str(error))
        gap = mark_record(Kind.GAP, now, now)
        sides.append((gap, Side(0, SideKind.ERROR, str(error))))
        self._begin_end("the feed or the order stream ended" if isinstance(error, FeedError) else "a thread failed")
        return [gap, self._from_control(HALT, str(error), now, sides)]

    def _model_failed(self, error: ModelRaised, batch: Records, now: int) -> None:
        """Halt trading, keep recording: decisions before the failing record stand."""
        self.failure = self.failure or error
        self.broken = True
        stood = error.decisions
        if stood is not None and len(stood):
            self._carry_out(stood, now)
        seq = int(batch["seq"][error.row])
        fault = mark_record(Kind.FAULT, self.last_event, now)
        fault["i0"] = seq
        halt = control_record(HALT, self.last_event, now)
        both = np.concatenate([fault, halt])
        self.tape.append(both, [Side(0, SideKind.ERROR, str(error)), Side(1, SideKind.COMMAND, "the model failed")])
        self.log("model-failed", error=str(error), record=seq)
        self._cancel_working()

    def _cancel_working(self) -> None:
        for order in self.desk.working():
            order.cancel_wanted = True
            if order.venue_order_id and self.workers is not None:
                self.workers.cancel(order)

    # Lock-step ---------------------------------------------------------------------------------------------------

    def _lockstep(self, items: list[Item]) -> None:
        """Hold what has arrived until the exchange says that the instant is complete, then deal with it and answer."""
        self._held += items
        while True:
            barrier = next((item[1] for item in self._held if item[0] == "barrier"), None)
            if barrier is None or not self._complete(barrier):
                return self._commands()
            self._held = [item for item in self._held if item[0] != "barrier" or item[1] is not barrier]
            if barrier["phase"] == "end":
                self._begin_end("the session closed")
                return None
            if barrier["phase"] not in ("market", "updates"):
                continue
            self._instant(barrier)

    def _complete(self, barrier: dict[str, Any]) -> bool:
        if barrier["phase"] == "end":
            return True
        frames = self._frames + sum(item[0] == "market" for item in self._held)
        updates = self._updates + sum(item[0] == "update" for item in self._held)
        return frames >= barrier.get("frames", 0) and updates >= barrier.get("updates", 0)

    def _commands(self) -> None:
        """Deal at once with what does not wait for an instant."""
        urgent = [item for item in self._held if item[0] in ("control", "failure", "stop")]
        if urgent:
            self._held = [item for item in self._held if item not in urgent]
            self._batch(urgent, self.clock.now())

    def _instant(self, barrier: dict[str, Any]) -> None:
        assert isinstance(self.clock, SteppedClock) and self.link is not None
        now = int(barrier["now"])
        self.clock.advance(max(now, self.clock.now()))
        items = [item for item in self._held if item[0] in ("market", "update")]
        self._held = [item for item in self._held if item[0] not in ("market", "update")]
        self._frames += sum(item[0] == "market" for item in items)
        self._updates += sum(item[0] == "update" for item in items)
        self._batch(items, now)
        self._drain_orders(now)
        self.link.done(barrier, self._wake())

    def _drain_orders(self, now: int) -> None:
        """Wait until every order of this instant is answered, folding the answers in order."""
        assert self.workers is not None
        while self.workers.waiting or len(self._box):
            self.beat += 1
            self._box.wait(POLL)
            for item in self._waiting():
                if item[0] == "answer":
                    self._batch([item], now)
                else:
                    self._held.append(item)

    # The end -----------------------------------------------------------------------------------------------------

    def _watch_close(self) -> None:
        if self.link is None:
            if self.clock.now() >= self.close:
                self._begin_end("the session closed")
        elif self._last_frame is not None and self._frames >= self._last_frame:
            self.link.advance(self.close)
            self._batch([], self.clock.now())
            self._begin_end("the session closed")
        silent = monotonic_ns() - int(SILENT * 1e9)
        for name, since in list(self._asked.items()):
            if since < silent and self.workers is not None:
                self._asked[name] = monotonic_ns()
                order = self.desk.orders[name]
                if order.done:
                    del self._asked[name]
                elif order.status is Status.PENDING_NEW:
                    self.workers.ask(order)

    def _begin_end(self, why: str, within: float = 10.0) -> None:
        if self._ending is None:
            self._reason = why
            self._ending = monotonic_ns() + int(within * 1e9)
            self._quiet = monotonic_ns()
            self.log("ending", why=why)
            if why != "the session closed":
                self._cancel_working()

    def _settled(self) -> bool:
        """Tell whether nothing more is to come: the queue is empty, orders are answered and have ended, or time is up."""
        assert self._ending is not None and self.workers is not None
        if monotonic_ns() > self._ending:
            return True
        if len(self._box) or self.workers.waiting:
            self._quiet = monotonic_ns()
            return False
        calm = monotonic_ns() - self._quiet > 500_000_000
        return calm and (not self.desk.working() or monotonic_ns() - self._quiet > 3_000_000_000)

    def _finish(self) -> None:
        now = self.clock.now()
        close = mark_record(Kind.CLOSE, now, now)
        self.tape.append(close, [Side(0, SideKind.DIGEST, self.fold.digest())])
        self.log("closed", why=self._reason, records=self.tape.next_seq - 1)
        self.finished.set()

    @property
    def reason(self) -> str:
        """Why the session ended."""
        return self._reason

    def opened(self, records: Records, text: str) -> None:
        """Write and fold what the session begins with; called before the thread starts."""
        now = self.clock.now()
        batch = np.concatenate([records, mark_record(Kind.OPEN, now, now)])
        self.tape.append(batch, [Side(len(batch) - 1, SideKind.TEXT, text)])
        self.fold.feed(batch)


def _schedule(fold: Fold, session: tuple[int, int], flatten: int | None) -> list[tuple[int, int, int]]:
    """Return (time, timer, number) of everything that comes by the clock; -1 is going flat, before timers of its time."""
    hours = np.array([session], np.int64)
    due: list[tuple[int, int, int]] = []
    if fold.strategy.timers:
        columns = timer_columns([timer for timer, _ in fold.strategy.timers], hours)
        due = list(zip(columns.ts_event.tolist(), columns.timer.tolist(), columns.number.tolist(), strict=True))
    if flatten is not None:
        due.append((flatten, -1, 0))
    return sorted(due, key=lambda entry: (entry[0], entry[1] >= 0))


def _placed(parts: list[Records], sides: list[tuple[Records, Side]]) -> list[Side]:
    """Return the texts with the row of their record in the joined batch."""
    if not sides:
        return []
    starts: dict[int, int] = {}
    at = 0
    for part in parts:
        starts[id(part)] = at
        at += len(part)
    return [side._replace(row=starts[id(records)] + side.row) for records, side in sides if id(records) in starts]


def _short(text: str) -> str:
    """Return a rejection's kind: its text without numbers, so that equal ones count together."""
    return " ".join(word for word in text.split() if not any(c.isdigit() for c in word))[:80]
