"""The parity audit: fold the tape again, in one piece, and compare decisions and final state bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from mdslib.audit.decisions import Difference, compare_decisions, doubled, first_fates, unfated
from mdslib.audit.report import AuditReport, Finding, Outcome
from mdslib.errors import ModelRaised
from mdslib.events import Kind
from mdslib.protocols import Records
from mdslib.risk import make_limits
from mdslib.strategy import Fold, Strategy
from mdslib.strategy.decide import count_decisions
from mdslib.tape import FIRST_SEQ, TapeHeader, machine_class, versions

PIECE = 50_000  # records folded at once; a model that takes 0.1 ms an event needs 5 s for them


def fold_of(header: TapeHeader, strategy: Strategy) -> Fold:
    """Return the fold that a tape's header describes, before its first event.

    The live session, a restart and the audit all build theirs here, so that none can differ in its set-up.

    Raises
    ------
    ModelError
        If the header's parameters are not the strategy's.
    """
    return Fold(
        strategy,
        strategy.make_params(**header.parameters),
        instruments=header.instruments,
        limits=make_limits(**header.limits) if header.limits else None,
        hours=np.array(header.hours, np.int64).reshape(-1, 2),
        cash=header.cash,
        split_flips=header.split_flips,
    )


def audit(
    records: Records,
    header: TapeHeader,
    strategy: Strategy,
    *,
    digest: str = "",
    since: int = FIRST_SEQ,
    digests: Mapping[int, str] | None = None,
    cut: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> AuditReport:
    """Fold a tape again and compare.

    Parameters
    ----------
    records : RECORD array
        The tape of this header, from where it began.
    header : TapeHeader
        The one to audit under; its decisions begin at `since`.
    strategy : Strategy
        The model as it is now.
    digest : str
        The text beside the CLOSE record: what the live fold said of its state at the close.
    since : int
        Sequence from which on decisions are compared.
    digests : mapping of int to str, optional
        By the sequence of a CHECKPOINT, or of an earlier life's CLOSE: what the live fold said of its state there.
    cut : bool
        The records end where the program was killed: what it decided last may be without a fate.
    progress : callable
        Called after every `PIECE` records that were folded.

    Returns
    -------
    AuditReport
        Findings ``header``, ``decisions`` and ``state``. Where this machine or this code is not the tape's and results
        differ, the verdict is *not comparable*, not *failed*.
    """
    fold = fold_of(header, strategy)
    foreign = _foreign(header, fold.fingerprint)
    again = _refold(fold, records, digests or {}, progress)
    if cut:
        again = again._replace(decisions=_with_fates(records, again.decisions))
    results = [_decided(records, again, since), _state(again, digest)]
    if foreign and all(finding.outcome is Outcome.PASSED for finding in results):
        first = Finding("header", Outcome.PASSED, f"{foreign}; results are bit-equal all the same")
    elif foreign:
        first = Finding("header", Outcome.NOT_COMPARABLE, f"not comparable: {foreign}")
        results = [dataclasses.replace(finding, outcome=Outcome.NOT_COMPARABLE) for finding in results]
    else:
        first = Finding("header", Outcome.PASSED, "same code, versions and machine class")
    return AuditReport(f"{header.run_name}, {header.model}, {header.trading_date.isoformat()}", (first, *results))


class _Again(NamedTuple):
    """A tape folded again.

    Attributes
    ----------
    digest : str
        At the last CLOSE.
    closed : bool
        There is one.
    raised : int
        Sequence of the record that the model raised on; 0 where it did not.
    compared : int
        Digests on the way that were equal.
    apart : str
        The first that was not; empty where there is none.
    """

    decisions: Records
    digest: str
    closed: bool
    raised: int
    compared: int
    apart: str


def _refold(fold: Fold, records: Records, digests: Mapping[int, str], progress: Callable[[], None]) -> _Again:
    """Fold the tape from digest to digest, and on to its end; nothing after a step has raised."""
    closes = np.flatnonzero(records["kind"] == int(Kind.CLOSE))
    end = int(closes[-1]) if len(closes) else -1
    parts: list[Records] = []
    digest, raised, compared, apart, start = "", 0, 0, "", 0
    on_the_way = np.flatnonzero(np.isin(records["seq"], list(digests))).tolist()
    for stop in sorted({*on_the_way, end, len(records)} - {-1}):
        for begin, last in _pieces(start, stop):
            if raised:
                break
            try:
                parts.append(fold.feed(np.array(records[begin:last])))
            except ModelRaised as error:
                parts.append(error.decisions)
                raised = int(records["seq"][begin + error.row])
            progress()
        start = stop
        if stop == end:
            digest = fold.digest()
        elif stop < len(records) and digests[seq := int(records["seq"][stop])] == fold.digest():
            compared += 1
        elif stop < len(records):
            apart = (
                apart or f"digest at record {seq} is {digests[seq][:12]} on the tape, {fold.digest()[:12]} in the fold"
            )
    return _Again(np.concatenate(parts), digest, end >= 0, raised, compared, apart)


def _pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges to fold one after the other; an empty one where there is nothing."""
    yield from ((begin, min(begin + PIECE, stop)) for begin in range(start, max(stop, start + 1), PIECE))


def _with_fates(records: Records, decisions: Records) -> Records:
    """Leave out the decisions after the last fate: the program was killed before it wrote theirs."""
    fates = first_fates(records)
    last = int(fates["seq"][-1]) if len(fates) else 0
    late = unfated(records, decisions)
    late = late[late["seq"] > last]
    kept: Records = decisions[~np.isin(decisions["seq"], late["seq"])]
    return kept


def _decided(records: Records, again: _Again, since: int) -> Finding:
    faults = records[records["kind"] == int(Kind.FAULT)]
    fault = int(faults["i0"][0]) if len(faults) else 0
    difference: Difference | None = None
    if fault != again.raised:
        tape = f"raised on record {fault}" if fault else "did not raise"
        difference = Difference(
            again.raised or fault,
            0,
            "model",
            tape,
            f"raised on record {again.raised}" if again.raised else "did not raise",
        )
    difference = compare_decisions(records, again.decisions, since) or difference or doubled(records)
    if difference is not None:
        return Finding("decisions", Outcome.FAILED, f"first difference: {difference}")
    fates = first_fates(records[records["seq"] >= since])["kind"].tolist()
    counts = ", ".join(f"{fates.count(int(kind))} {word}" for kind, word in _WORDS.items())
    decisions = again.decisions[again.decisions["seq"] >= since]
    made = count_decisions(decisions)
    follow = len(decisions) - made
    by_themselves = f" and {follow:,} that followed by themselves" if follow else ""
    raised = f"; the model raised on record {fault}, there and here" if fault else ""
    return Finding(
        "decisions",
        Outcome.PASSED,
        f"{len(records):,} records folded again, {made:,} decisions{by_themselves} bit-equal ({counts}){raised}",
    )


_WORDS = {Kind.INTENT: "sent", Kind.DENIED: "denied", Kind.EXPIRED: "expired"}


def _state(again: _Again, digest: str) -> Finding:
    if not again.closed:
        return Finding(
            "state",
            Outcome.FAILED,
            "the tape has no CLOSE record: the run was cut short, so how it ended is not known; "
            "started again with the same folder, a run goes on where its tape ends",
        )
    if not digest:
        return Finding(
            "state",
            Outcome.FAILED,
            "the CLOSE record has no digest beside it; the live session did not say how it ended",
        )
    if again.apart:
        return Finding("state", Outcome.FAILED, again.apart)
    if digest != again.digest:
        return Finding(
            "state",
            Outcome.FAILED,
            f"digest at the close is {digest[:12]} on the tape, {again.digest[:12]} in the fold",
        )
    way = f", and at {again.compared:,} checkpoints before it" if again.compared else ""
    return Finding("state", Outcome.PASSED, f"state and account at the close bit-equal (digest {digest[:12]}){way}")


def _foreign(header: TapeHeader, fingerprint: str) -> str:
    """Say what of the header is not true here, or nothing."""
    said = []
    here = machine_class()
    said += [
        f"{name} was {header.machine.get(name, 'unknown')}, is {here[name]}"
        for name in sorted(here)
        if header.machine.get(name) != here[name]
    ]
    now = versions()
    said += [
        f"{name} was {header.versions.get(name, 'unknown')}, is {now[name]}"
        for name in sorted(now)
        if header.versions.get(name) != now[name]
    ]
    if header.fingerprint != fingerprint:
        said.append(f"the model's code was {header.fingerprint}, is {fingerprint}")
    return "; ".join(said)
