"""The deciding thread: the one place where a live session decides, and the order in which it does so.

Everything reaches it through one mailbox: market records, order updates, answers of the order workers, commands, and in
lock-step the exchange's barriers. What is made of a batch, from the tape to the order workers, is `writer`'s. Nothing
else touches the fold, the desk or the tape.

A hop from thread to thread costs more than all of that. So where the turn is free the reader takes it and decides on
its frames at once; in a burst on all that it has received at once, so that it gets the faster the more there is to do.
Where turns take long, for a slow model or a slow disk, it only hands over for a while, and reads on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mdslib.clock import Clock, SteppedClock, monotonic_ns
from mdslib.desk import Desk, control_record, mark_record
from mdslib.errors import FeedError, MdsError, SessionError
from mdslib.events import Kind
from mdslib.live.barriers import Barriers
from mdslib.live.batch import HALT, REDUCE, inside
from mdslib.live.checkpoint import Checkpoints
from mdslib.live.closeout import Closeout, Look
from mdslib.live.due import FLATTEN, Due
from mdslib.live.ending import CLOSED, SETTLE, Ending
from mdslib.live.gaps import ITEMS as GAP_ITEMS
from mdslib.live.gaps import Gaps
from mdslib.live.latency import Latency
from mdslib.live.localday import LocalDay
from mdslib.live.look import direct_look
from mdslib.live.mailbox import Item, Mailbox
from mdslib.live.orderflow import Log, OrderFlow, Sides
from mdslib.live.simlink import SimLink
from mdslib.live.tally import Tally
from mdslib.live.workers import Answer, Workers
from mdslib.live.writer import Writer
from mdslib.protocols import Records, Update
from mdslib.store.tapefile import TapeWriter
from mdslib.strategy import Fold
from mdslib.strategy.decide import is_stuck
from mdslib.tape import Side, SideKind

if TYPE_CHECKING:
    from mdslib.live.replay import Replay

T = TypeVar("T")
POLL = 0.02  # s; longest sleep of the deciding thread, so that timers and the close are never late by more
LONG = 5_000_000  # ns; a turn of the reader that takes longer keeps the socket waiting; one alone may be the machine's
READING = 20  # times as long it only reads after two such turns, so that it is late for a tenth of its time at most
FEW = 16  # items that wait; where there are more, they are the deciding thread's


class Engine:
    """Folds, decides, records.

    Parameters
    ----------
    fold : Fold
        Compiled already.
    desk : Desk
    tape : TapeWriter
    clock : Clock
    session : tuple of int
        Open and close, ns UTC; market events outside it are counted and left alone.
    flatten : int or None
        When to go flat, ns UTC.
    log : callable
        ``log(event, **fields)``, one line of the session's log.
    link : SimLink, optional
        To a local exchange.
    flatten_on_stop : bool
        Go flat where the session is ended early, instead of keeping what is held.
    past : Replay, optional
        What earlier lives of this session left; `fold` and `desk` have it already.
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
        *,
        flatten_on_stop: bool = False,
        past: Replay | None = None,
    ) -> None:
        self.fold, self.desk, self.tape, self.clock, self.link = fold, desk, tape, clock, link
        self.open, self.close = session
        self.log = log
        self.tally = Tally() if past is None else past.tally
        self.flow = OrderFlow(desk, self.tally, log, polls=link is None or not link.lockstep)
        self.writer = Writer(fold, desk, tape, clock, self.flow, self.tally, log)
        self.gaps = Gaps(self.tally, log, session, held=not fold.strategy.orders_on_backfill)
        self.handover, self.decision = Latency(), self.writer.decision
        self.opening = np.zeros(len(fold.instruments))
        self.beat = 0  # turns of the loop
        self.progress: Callable[[], None] = lambda: None  # a step before the loop, or after it, is done
        self.finished = threading.Event()
        self._box = Mailbox()
        # A disk is waited for by the deciding thread, never by the reader; in lock-step an instant is dealt with whole.
        self._at_once = tape.durability == "write" and not (link is not None and link.lockstep)
        self._long_turns = 0  # of the reader, one after the other
        self._reading_until = 0  # monotonic time until which it only hands over
        self._heard = 0  # monotonic time of the last frame
        self._handed_over = self._taken_over = 0  # frames that went through the mailbox
        self._due = Due(fold.strategy, session, flatten, lambda: is_stuck(fold.account))
        self._flatten_on_stop = flatten_on_stop
        self._look = direct_look()
        self._checkpoints = Checkpoints(self.writer)
        self._barriers = Barriers(None if past is None else past.newest)
        self.day = LocalDay(self.gaps)
        self._ending = Ending(grace=link is None)
        self.closeout: Closeout | None = None  # set before the thread starts
        if past is not None:
            self._go_on(past)

    def _go_on(self, past: Replay) -> None:
        for row in past.opening:
            self.opening[int(row["instrument"])] = row["f0"]
        self.writer.failure, self.writer.broken = past.failure, past.broken
        self._due.done(past.records)

    @property
    def reason(self) -> str:
        """Why the session ended, or ends."""
        return self._ending.reason

    @property
    def failure(self) -> MdsError | None:
        """The first thing that went wrong."""
        return self.writer.failure

    @failure.setter
    def failure(self, failure: MdsError | None) -> None:
        self.writer.failure = failure

    @property
    def broken(self) -> bool:
        """Whether the model failed: the session records, and folds no more."""
        return self.writer.broken

    @property
    def workers(self) -> Workers:
        """The order workers; set before the thread starts."""
        return self.flow.workers

    @workers.setter
    def workers(self, workers: Workers) -> None:
        self.flow.workers = workers

    # What other threads call -------------------------------------------------------------------------------------

    def on_market(self, records: Records, frames: int = 1) -> None:
        """Take the records of frames that were received at once; the reader's sink. Decides where the turn is free."""
        received = self._heard = monotonic_ns()
        item, box = ("market", records, received, frames), self._box
        free = self._at_once and received > self._reading_until and len(box) <= FEW
        if not (free and box.turn.acquire(blocking=False)):
            self._handed_over += frames
            box.put(item)
            return
        try:
            if len(box):
                self._guarded(self._deal, [*self._waiting(), item])
            else:
                self._guarded(self._deal_alone, item)
        finally:
            box.turn.release()
        self._took(received, monotonic_ns())

    def _took(self, began: int, ended: int) -> None:
        """Note how long a turn of the reader was."""
        if ended - began < LONG:
            self._long_turns = 0
            return
        self._long_turns += 1
        if self._long_turns > 1:
            self._reading_until = ended + READING * (ended - began)

    def on_update(self, update: Update) -> None:
        """Take one order update; the stream's sink."""
        self._box.put(("update", update))

    def on_answer(self, answer: Answer) -> None:
        """Take what came of an order; the workers' sink."""
        self._box.put(("answer", answer))

    def on_look(self, look: Look) -> None:
        """Take what a look at the venue has found, once the session ends."""
        self._box.put(("look", look))

    def on_barrier(self, message: dict[str, Any]) -> None:
        """Take a message of a local exchange's side channel."""
        if message["phase"] == "lost":
            self.fail(FeedError("the local exchange's side channel ended before its day: the exchange has gone"))
        elif message["phase"] == "end" or (self.link is not None and self.link.lockstep):
            self._box.put(("barrier", message))

    def on_stream_back(self) -> None:
        """Take the news that the order stream was away, and is back."""
        self._box.put(("stream-back",))

    def on_gap(self, why: str, since: int) -> None:
        """Take the news that market events were missed, after `since` (ns UTC; 0: the last one on the tape)."""
        self._box.put(("gap", why, since))

    def on_backfill(self, records: Records, why: str, doubled: int) -> None:
        """Take events that were fetched after a gap."""
        self._box.put(("backfill", records, why, doubled))

    def on_resync(self, why: str, recovered: int, doubled: int) -> None:
        """Take the news that the feed is whole again."""
        self._box.put(("resync", why, recovered, doubled))

    def sync(self, there: threading.Event) -> None:
        """Set an event once all that was handed over before is on the tape."""
        self._box.put(("sync", there))

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
        """How many frames, or other items, wait."""
        return max(self._handed_over - self._taken_over, len(self._box))

    # The loop ----------------------------------------------------------------------------------------------------

    def opened(self, records: Records, text: str) -> None:
        """Write and fold what the session begins with; called before the thread starts."""
        now = self.clock.now()
        for row in records:
            self.opening[int(row["instrument"])] = row["f0"]
        batch = np.concatenate([records, mark_record(Kind.OPEN, now, now)])
        self.tape.append(batch, [Side(len(batch) - 1, SideKind.TEXT, text)])
        self.fold.feed(batch)
        self._join(now)

    def went_on(self) -> None:
        """Go on after a restart, its open ends closed; called before the thread starts."""
        self._join(self.clock.now())

    def closed_already(self) -> None:
        """Leave a tape as it is that ends with the session's close."""
        self._ending.begin(CLOSED)
        self.finished.set()

    def _join(self, now: int) -> None:
        """Leave out the timers of a time when nothing ran."""
        skipped = self._due.join(now)
        if skipped:
            self.log("timers-skipped", count=skipped, why="they were due before it began")

    def run(self) -> None:
        """Decide until the session has ended; the deciding thread's body."""
        self._heard = self._heard or monotonic_ns()  # so that a day which is over at once is not taken for a quiet one
        try:
            while not self.finished.is_set():
                self._box.wait(POLL)
                with self._box.turn:
                    self._guarded(self._turn, self._waiting())
                self.handover.sort_in()  # here, where no frame waits for it
                self.decision.sort_in()
        finally:
            self.finished.set()

    def _guarded(self, turn: Callable[[T], None], what: T) -> None:
        """Take a turn, holding the mailbox's; what can't go on ends the session, whichever thread met it."""
        if self.finished.is_set():
            return
        try:
            turn(what)
        except MdsError as error:
            self._abandon(error)
        # A fault of ours must reach the person and leave no order working, whatever it is.
        except Exception as error:
            self._abandon(SessionError(f"deciding failed: {type(error).__name__}: {error}"))

    def _abandon(self, error: MdsError) -> None:
        """End without the tape: nothing can be recorded any more, so nothing may work any more."""
        self.failure = self.failure or error
        self._ending.begin("recording failed")
        self.workers.withhold()
        self.flow.cancel_working()
        self.workers.idle.wait(SETTLE)
        if self.closeout is not None:
            self.closeout.insist()
        self.log("engine-failed", error=str(error))
        self.finished.set()

    def _turn(self, items: list[Item]) -> None:
        """Deal with what has arrived, then look at the close, at silent orders, and at the session's end."""
        self.beat += 1
        if self.link is not None and self.link.lockstep:
            self._lockstep(items)
        else:
            self._deal(items)
            self._watch_close()
            self.flow.ask_silent()
            self._checkpoints.look(self.clock.now())
        if self.reason:
            coming = self._ending.at_close and (len(self._box) > 0 or self.gaps.open)
            busy = not self.workers.idle.is_set() or coming
            if self._ending.settled(busy=busy, working=bool(self.desk.working())):
                self.workers.withhold()  # before the venue is asked what works there
                if self.closeout is None or self.closeout.over():
                    self._finish()

    def _waiting(self) -> list[Item]:
        """Return everything that waits, oldest first."""
        items = self._box.take()
        frames = sum(item[3] for item in items if item[0] == "market")
        self._taken_over += frames
        self.tally.longest_queue = max(self.tally.longest_queue, frames, len(items))
        return items

    def _deal(self, items: list[Item]) -> None:
        """Count frames, move the clock with them where the exchange's time is that of its events, then fold."""
        self.day.frames += sum(item[3] for item in items if item[0] == "market")
        arrived = [item[1] for item in items if item[0] in ("market", "backfill") and len(item[1])]
        if arrived and self.link is not None:
            self.link.advance(int(arrived[-1]["ts_event"][-1]))
        self._batch(items, self.clock.now())

    def _deal_alone(self, item: Item) -> None:
        """Do for one item of the market what `_deal` does, in fewer steps where nothing else is to be done."""
        records, due = item[1], self._due.wake
        now = self.clock.now()
        events = self._look(records, self.open, self.close)
        other = self.link is not None or self.reason or self.flow.lost or (due is not None and due <= now)
        if events < 0 or other or not len(records):
            self._deal([item])
            return
        self.day.frames += item[3]
        self.handover.add(monotonic_ns() - item[2])
        self.writer.write_market(records, events, now, item[2])

    # One batch ---------------------------------------------------------------------------------------------------

    def _batch(self, items: list[Item], now: int) -> None:
        """Write and fold what has arrived, in order of arrival; timers that are due come first."""
        parts, sides = self._due.records(now), list[tuple[Records, Side]]()
        for part in parts:
            if part["kind"][0] == int(Kind.CONTROL) and part["code"][0] == FLATTEN:
                self.log("going-flat", why="positions are closed before the session's end; orders may only reduce now")
        received, taken = 0, monotonic_ns()
        for item in items:
            if item[0] == "market":
                received = received or item[2]
                self.handover.add(taken - item[2])
                parts.append(inside(item[1], (self.open, self.close), self.tally.outside))
                continue
            if item[0] in ("update", "answer"):
                self._ending.heard()
            parts += self._records_of(item, now, sides)
        if self.flow.lost:
            self.flow.lost = False
            parts.append(self._control(REDUCE, "an order never arrived", now, sides))
        parts = [part for part in parts if len(part)]
        if parts:
            if self._ending.at_close:
                self._ending.heard()
            self.writer.write(parts, sides, now, received)
        self.gaps.written()

    def _records_of(self, item: Item, now: int, sides: Sides) -> list[Records]:
        what = item[0]
        if what == "update":
            records = self.flow.from_update(item[1], now, sides)
            if isinstance(self.clock, SteppedClock):
                records["ts_event"] = now  # the exchange's instant: a venue stamp is cut to what its clock shows
            return [records]
        if what == "answer":
            return [self.flow.from_answer(item[1], now, sides)]
        if what in GAP_ITEMS:
            return self.gaps.records(item, now, sides)
        if what == "control":
            return [self._control(item[1], item[2], now, sides)]
        if what == "look":
            return self._looked(item[1], now, sides)
        if what == "stream-back":
            self.flow.ask_working()
        if what == "failure":
            return self._failed(item[1], now, sides)
        if what == "stop" and not self.reason:
            self._begin_end(item[1])
            return [self._control(FLATTEN if self._flatten_on_stop else HALT, item[1], now, sides, ending=True)]
        if what == "barrier" and item[1]["phase"] == "end":
            self.day.ended(item[1])
        return []

    def _control(self, code: int, why: str, now: int, sides: Sides, *, ending: bool = False) -> Records:
        record = control_record(code, now, now, ending=ending)
        sides.append((record, Side(0, SideKind.COMMAND, why)))
        self.log("control", code=code, why=why)
        if code == HALT:
            self.flow.cancel_working()
        return record

    def _failed(self, error: MdsError, now: int, sides: Sides) -> list[Records]:
        """Note the end of the feed, of the order stream, or of a thread; the first one ends the session."""
        self.failure = self.failure or error
        self.log("failure", error=str(error))
        gap = mark_record(Kind.GAP, now, now)
        sides.append((gap, Side(0, SideKind.ERROR, str(error))))
        if self.reason:
            return [gap]
        self._begin_end("the feed or the order stream ended" if isinstance(error, FeedError) else "a thread failed")
        return [gap, self._control(HALT, str(error), now, sides, ending=True)]

    # Lock-step ---------------------------------------------------------------------------------------------------

    def _lockstep(self, items: list[Item]) -> None:
        """Deal at once with what waits for nothing, then with every instant that is complete."""
        urgent = self._barriers.hold(items)
        if urgent:
            self._batch(urgent, self.clock.now())
        while (barrier := self._barriers.complete()) is not None:
            if barrier["phase"] == "end":
                self._begin_end(CLOSED)
            elif barrier["phase"] in ("market", "updates"):
                self._instant(barrier)

    def _instant(self, barrier: dict[str, Any]) -> None:
        assert isinstance(self.clock, SteppedClock)
        assert self.link is not None
        now = int(barrier["now"])
        self.clock.advance(max(now, self.clock.now()))
        self._batch(self._barriers.release(), now)
        while not self.workers.idle.is_set() or len(self._box):  # every order of this instant is answered
            self.beat += 1
            self.workers.idle.wait(1.0)
            urgent = self._barriers.hold(self._waiting())
            if urgent:
                self._batch(urgent, now)
        self._checkpoints.look(now)
        self.link.done(barrier, self._due.wake)

    # The end -----------------------------------------------------------------------------------------------------

    def _watch_close(self) -> None:
        if self.link is None:
            if self.clock.now() >= self.close:
                self._begin_end(CLOSED)
        elif self.day.over(monotonic_ns() - self._heard):
            self.link.advance(self.close)
            self._batch([], self.clock.now())
            self._begin_end(CLOSED)

    def _begin_end(self, why: str) -> None:
        if self._ending.begin(why):
            self.log("ending", why=why)

    def _looked(self, look: Look, now: int, sides: Sides) -> list[Records]:
        """Book what the venue said of our orders; where some still worked, nothing more is to be sent."""
        assert self.closeout is not None
        found = []
        if self.closeout.heard(look):
            found.append(self._control(HALT, "the session has ended: what works is canceled", now, sides, ending=True))
        return found + [self.flow.from_state(state, now, sides) for state in look.states]

    def _finish(self) -> None:
        """Write CLOSE with the state's digest; a session that ended early is closed before its time, and says so."""
        now = self.clock.now()
        self.gaps.left_open()
        ts = now if self._ending.at_close else min(now, self.close - 1)
        self.tape.append(mark_record(Kind.CLOSE, ts, now), [Side(0, SideKind.DIGEST, self.fold.digest())])
        self.log("closed", why=self.reason, records=self.tape.next_seq - 1)
        self.finished.set()

    def never_began(self, why: str) -> None:
        """Close the tape of a session that was stopped before its thread started."""
        self._ending.begin(why)
        self._finish()
