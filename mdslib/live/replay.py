"""A tape folded again, with orders held back: what a restart knows of the lives before it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mdslib.audit.decisions import unfated
from mdslib.audit.sent import MARKET
from mdslib.desk import BY_DESK, ENDING, Desk
from mdslib.errors import ModelRaised, SessionError
from mdslib.events import Kind, Status, Verb
from mdslib.live.batch import HALT, market_events
from mdslib.live.due import FLATTEN
from mdslib.live.tally import Tally, kind_of_rejection
from mdslib.protocols import Records
from mdslib.risk import Denial
from mdslib.store.tapefile import TapeReader
from mdslib.strategy import Fold
from mdslib.strategy.decide import DECISION, count_decisions

Text = Callable[[np.void], str]
_DIGESTS = (int(Kind.CHECKPOINT), int(Kind.CLOSE))


@dataclass(frozen=True, eq=False)
class Replay:
    """What the lives before this one left on the tape.

    Attributes
    ----------
    records : RECORD array
        Of the last header.
    unfated : DECISION array
        Decisions without an INTENT, DENIED or EXPIRED record: they were never sent.
    failure : ModelRaised or None
        The model failed, or answered nonsense; `row` is the sequence of the record that it did so on.
    broken : bool
        It failed: nothing is folded after that.
    opened : bool
        The session had opened; else nothing was traded yet.
    lives : int
        How often the program has begun on this tape.
    last_event : int
        Time of the newest market event, ns UTC; 0 if there is none.
    state : int
        The trading state (0 active, 1 reducing, 2 halted) that holds without the commands of earlier lives' ends.
    flattening : bool
        Likewise, whether the session was going flat.
    tally : Tally
        As the lives before counted, as far as the tape tells.
    """

    records: Records
    unfated: Records
    failure: ModelRaised | None
    broken: bool
    opened: bool
    lives: int
    last_event: int
    state: int
    flattening: bool
    tally: Tally

    @property
    def faulted(self) -> bool:
        """Whether the tape tells of the model's failure already."""
        return bool((self.records["kind"] == int(Kind.FAULT)).any())

    @property
    def opening(self) -> Records:
        """The OPENING records, one an instrument."""
        rows: Records = self.records[self.records["kind"] == int(Kind.OPENING)]
        return rows

    @property
    def opening_cash(self) -> float:
        """Cash before the first order."""
        return float(self.opening["f2"].sum())

    @property
    def newest(self) -> Records:
        """The market events of the newest instant."""
        chosen = np.isin(self.records["kind"], MARKET) & (self.records["ts_event"] == self.last_event)
        rows: Records = self.records[chosen]
        return rows

    def closed_at(self, close: int) -> bool:
        """Whether the session ran to its close; nothing is left but to judge it."""
        ends = self.records["ts_event"][self.records["kind"] == int(Kind.CLOSE)]
        return bool(len(ends)) and int(ends[-1]) >= close


def replay(found: TapeReader, fold: Fold, desk: Desk) -> Replay:
    """Fold a tape into a fresh fold, and give its orders to a fresh desk.

    Parameters
    ----------
    found : TapeReader
        Only the records of its last header are folded: an accepted change of the model began afresh there.
    fold : Fold
        Of that header, before its first event.
    desk : Desk
        Without orders.

    Raises
    ------
    SessionError
        Where state or account differ from what the tape says that they were.
    """
    records = found.runs()[-1][1]
    text = found.text
    decisions, raised = _fold_again(records, fold, text, str(found.folder))
    desk.adopt(found.records(), lambda row: venue_id(text(row)))
    open_ends = unfated(records, decisions)
    state, flattening = trading_state(records)
    market = records["ts_event"][np.isin(records["kind"], MARKET)]
    return Replay(
        records=records,
        unfated=open_ends,
        failure=raised or _nonsense(records, text),
        broken=raised is not None,
        opened=bool((records["kind"] == int(Kind.OPEN)).any()),
        lives=1 + int(np.count_nonzero(found.records()["kind"] == int(Kind.START))),
        last_event=int(market.max(initial=0)),
        state=state,
        flattening=flattening,
        tally=tally_of(records, text, count_decisions(decisions) - count_decisions(open_ends)),
    )


def _fold_again(records: Records, fold: Fold, text: Text, where: str) -> tuple[Records, ModelRaised | None]:
    """Fold up to each digest on the tape and compare it; after a step has raised, nothing more is folded."""
    parts: list[Records] = []
    raised: ModelRaised | None = None
    start = 0
    ends = np.flatnonzero(np.isin(records["kind"], _DIGESTS)).tolist()
    for at in [*ends, len(records) - 1] if len(records) else ():
        piece = np.array(records[start : at + 1])
        start = at + 1
        if raised is None:
            try:
                parts.append(fold.feed(piece))
            except ModelRaised as error:
                parts.append(error.decisions)
                seq = int(piece["seq"][error.row])
                raised = ModelRaised(_said_of(records, Kind.FAULT, text) or str(error), seq)
        last = records[at]
        if int(last["kind"]) in _DIGESTS and (told := text(last)) and told != fold.digest():
            raise SessionError(
                f"{where}: state and account at record {int(last['seq'])} ({Kind(int(last['kind'])).name}) have digest"
                f" {told[:12]} on the tape, {fold.digest()[:12]} when it is folded again; nothing is traded on a state"
                " that can't be trusted: keep this folder, look with `mds audit`, and begin another with --run-dir"
            )
    return np.concatenate(parts) if parts else np.zeros(0, DECISION), raised


def _nonsense(records: Records, text: Text) -> ModelRaised | None:
    """Return the failure of a model that answered nonsense: trading is halted, but it is still folded."""
    denied = (records["kind"] == int(Kind.DENIED)) & (records["code"] == int(Denial.INVALID))
    if not denied.any():
        return None
    return ModelRaised(_said_of(records, Kind.CONTROL, text, "answered nonsense"), int(records["i0"][denied][0]))


def _said_of(records: Records, kind: Kind, text: Text, about: str = "") -> str:
    """Return the first text of a kind that has `about` in it."""
    said = (text(row) for row in records[records["kind"] == int(kind)])
    return next((each for each in said if about in each), "")


def venue_id(text: str) -> str:
    """Return the venue's order id of an UPDATE record's text.

    Examples
    --------
    >>> venue_id('{"order": "9f3c", "execution": ""}'), venue_id("insufficient buying power"), venue_id("")
    ('9f3c', '', '')
    """
    if not text.startswith("{"):
        return ""
    return str(json.loads(text).get("order", ""))


def trading_state(records: Records) -> tuple[int, bool]:
    """Return the trading state that the tape's commands come to, without those that only ended a life.

    Returns
    -------
    tuple of (int, bool)
        0 active, 1 reducing, 2 halted; and whether positions are being closed for good.

    Examples
    --------
    >>> from mdslib.desk import control_record
    >>> going_flat, stopped = control_record(3, 1, 1), control_record(2, 2, 2, ending=True)
    >>> trading_state(going_flat), trading_state(stopped), trading_state(np.concatenate([going_flat, stopped]))
    ((1, True), (0, False), (1, True))
    """
    state, flattening = 0, False
    for row in records[records["kind"] == int(Kind.CONTROL)]:
        code = int(row["code"])
        if int(row["flag"]) == ENDING and code in (HALT, FLATTEN):
            continue
        flattening = code == FLATTEN or (flattening and code != 0)
        state = max(state, 1) if code == FLATTEN else code
    return state, flattening


def tally_of(records: Records, text: Text, decisions: int) -> Tally:
    """Return the counters of a tape's lives."""
    tally = Tally(events=market_events(records), decisions=decisions)
    kind = records["kind"]
    intents = records[kind == int(Kind.INTENT)]
    cancels = int(np.count_nonzero(intents["code"] % 256 == int(Verb.CANCEL)))
    tally.intents, tally.cancels = len(intents) - cancels, cancels
    updates = records[kind == int(Kind.UPDATE)]
    tally.fills = int(np.count_nonzero(updates["f0"]))
    tally.unknown = int(np.count_nonzero(kind == int(Kind.UNKNOWN)))
    for code in records["code"][kind == int(Kind.DENIED)].tolist():
        tally.denied[Denial(code % BY_DESK).name] += 1
    for row in updates[updates["code"] == int(Status.REJECTED)]:
        if row["f0"] == 0.0:
            tally.rejected[kind_of_rejection(text(row))] += 1
    tally.expired = int(np.count_nonzero(kind == int(Kind.EXPIRED)))
    faults = np.flatnonzero(kind == int(Kind.FAULT))
    tally.unfolded = len(records) - int(faults[0]) - 1 if len(faults) else 0
    return tally
