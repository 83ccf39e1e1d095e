"""From a batch to what follows from it: onto the tape, through the fold, out to the order workers.

The order of these is the session's promise. A batch is on the tape before it is folded, an INTENT before its order is
handed to a worker; a model that fails halts trading, and recording goes on. Whoever calls holds the engine's turn.
"""

from __future__ import annotations

import numpy as np

from mdslib.clock import Clock, SteppedClock, monotonic_ns
from mdslib.desk import Desk, control_record
from mdslib.errors import MdsError, ModelRaised, TapeError
from mdslib.live.batch import HALT, fault_records, joined, market_events, placed
from mdslib.live.latency import Latency
from mdslib.live.orderflow import Log, OrderFlow, Sides
from mdslib.live.tally import Tally
from mdslib.protocols import Records
from mdslib.risk import Denial, denial_text
from mdslib.store.tapefile import TapeWriter
from mdslib.strategy import Fold
from mdslib.strategy.decide import count_decisions
from mdslib.tape import Side, SideKind


class Writer:
    """Writes, folds, carries out.

    Parameters
    ----------
    fold : Fold
    desk : Desk
    tape : TapeWriter
    clock : Clock
    flow : OrderFlow
    tally : Tally
    log : callable

    Attributes
    ----------
    decision : Latency
        From a frame's receipt to its decision.
    last_event : int
        Time of the last record of the batch that was decided on last, ns UTC.
    failure : MdsError or None
        The first thing that went wrong.
    broken : bool
        The model failed: batches are recorded, and folded no more.
    """

    def __init__(
        self, fold: Fold, desk: Desk, tape: TapeWriter, clock: Clock, flow: OrderFlow, tally: Tally, log: Log
    ) -> None:
        self.fold, self.desk, self.tape, self.flow, self.tally, self.log = fold, desk, tape, flow, tally, log
        self.decision = Latency()
        self.last_event = 0
        self.failure: MdsError | None = None
        self.broken = False
        self._stepped = isinstance(clock, SteppedClock)

    def write(self, parts: list[Records], sides: Sides, now: int, received: int) -> None:
        """Record a batch, then decide on it.

        Parameters
        ----------
        parts : list of RECORD array
            In order of arrival, none empty.
        sides : list of (RECORD array, Side)
            Texts of records of `parts`.
        now : int
            The session's time, ns UTC.
        received : int
            Monotonic time at which its oldest frame was received; 0 where it has none.
        """
        batch = joined(parts)
        if self._stepped:
            batch["ts_init"] = now
        self.tape.append(batch, placed(parts, sides))
        self._decide(batch, market_events(batch), now, received)

    def write_market(self, records: Records, events: int, now: int, received: int) -> None:
        """Do what `write` does, for one array of `events` market events that nothing came with."""
        self.tape.append(records)
        self._decide(records, events, now, received)

    def _decide(self, batch: Records, events: int, now: int, received: int) -> None:
        """Fold what is on the tape, and see to what follows."""
        self.tally.batches += 1
        self.tally.events += events
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
            self.last_event = _last(batch)
            self.carry_out(decisions, now)

    def carry_out(self, decisions: Records, now: int) -> None:
        """Write intents and denials, then hand the orders to the workers."""
        intents = self.desk.take(decisions, now)
        if len(intents.records):
            try:
                self.tape.append(intents.records)
            except TapeError:
                self.desk.forget(intents.orders)  # what is not on the tape is not sent, so nobody need ask for it
                raise
        self.flow.send(intents.orders, intents.cancels)
        # Counting, and the lines for a person, wait until the orders are on their way.
        self.tally.decisions += count_decisions(decisions)
        for denial in intents.denials:
            self.flow.note_denial(*denial)
        if self.failure is None and any(denial.reason == Denial.INVALID for denial in intents.denials):
            self._answered_nonsense(decisions[decisions["denied"] == int(Denial.INVALID)][0], now)

    def _answered_nonsense(self, decision: np.void, now: int) -> None:
        """Halt trading; the fold goes on, since the model itself still runs."""
        seq, said = int(decision["seq"]), denial_text(int(Denial.INVALID), 0.0, float(decision["value"]))
        text = f"model {self.fold.strategy.name!r} answered nonsense on record {seq}: {said}; trading halted"
        self.failure = ModelRaised(text, seq)
        halt = control_record(HALT, self.last_event, now)
        self.tape.append(halt, [Side(0, SideKind.COMMAND, text)])
        self.fold.feed(halt)
        self.log("model-failed", error=text, record=seq)
        self.flow.cancel_working()

    def _model_failed(self, error: ModelRaised, batch: Records, now: int) -> None:
        """Halt trading, keep recording: decisions before the failing record stand."""
        self.failure = self.failure or error
        self.broken, self.last_event = True, _last(batch)
        if error.decisions is not None and len(error.decisions):
            self.carry_out(error.decisions, now)
        self.fault(int(batch["seq"][error.row]), error, now)

    def fault(self, seq: int, error: ModelRaised, now: int) -> None:
        """Record that the model failed on record `seq`, and cancel what works."""
        self.tape.append(*fault_records(seq, str(error), self.last_event, now))
        self.log("model-failed", error=str(error), record=seq)
        self.flow.cancel_working()


def _last(batch: Records) -> int:
    return int(batch["ts_event"][-1])
