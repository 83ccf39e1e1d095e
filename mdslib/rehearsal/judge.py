"""The verdict on one rehearsal: what both sides left behind, against what the script asks for."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from mdslib.findings import counted
from mdslib.live.verdict import ExitCode
from mdslib.rehearsal.evidence import Evidence
from mdslib.rehearsal.losses import (
    Books,
    Events,
    Orders,
    compare_books,
    compare_events,
    compare_orders,
    holes_of,
)
from mdslib.rehearsal.words import did, idle, seen, thrown
from mdslib.sim import Script
from mdslib.sim.faults import SEEN
from mdslib.strictjson import dumps

_NAMED = 3  # ids named in a reason
_NEVER_CAME = re.compile(r"([\d,]+) of them never came")


class Verdict(StrEnum):
    """How a rehearsal came out."""

    SURVIVED = "survived"
    ENDED = "ended as it must"  # with the exit code that the script asks for
    IDLE = "nothing thrown"  # nothing of the script could be thrown at this session, so nothing is proved
    FAILED = "FAILED"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    script, about, expect : str
        What was rehearsed.
    thrown, did : str
        What the exchange threw, and what the session did.
    exit : str
        Name of the session's exit code; empty where it left none.
    reason : str
        What the session said of its end.
    events, orders, books
        What was lost or doubled; None where there is no tape.
    audit : str
        ``passed``, ``failed`` or ``not comparable``.
    wrong : tuple of str
        Why it failed.
    verdict : Verdict
    lives : int
        How often the session was run.
    seconds : float
        Real time.
    """

    script: str
    about: str
    expect: str
    thrown: str
    did: str
    exit: str
    reason: str
    events: Events | None
    orders: Orders | None
    books: Books | None
    audit: str
    wrong: tuple[str, ...]
    verdict: Verdict
    lives: int = 1
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong."""
        return self.verdict is not Verdict.FAILED

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    def to_json(self) -> str:
        """Return it as one JSON object."""
        return dumps(self.to_dict(), ensure_ascii=False)


def judge(script: Script, evidence: Evidence, *, flat: bool = False, lives: int = 1, seconds: float = 0.0) -> Row:
    """Judge a rehearsal by what both sides left behind.

    Parameters
    ----------
    script : Script
        What was thrown, and what the session must do.
    evidence : Evidence
    flat : bool
        The session was to end flat.
    lives : int
        How often the session was run.
    seconds : float
        For the row.
    """
    found, header = seen(evidence), evidence.header
    found["restart"] = max(found["restart"], lives - 1)
    events = orders = books = None
    if header is not None:
        close = header.hours[-1][1]
        events = compare_events(evidence.played, evidence.records, holes_of(evidence.records, evidence.texts, close))
        events = _named(events, evidence)
        orders = compare_orders(evidence.records, header, evidence.orders)
        books = compare_books(evidence.records, header, evidence.orders)
    code = None if evidence.verdict is None else evidence.verdict.code
    wrong = [
        *_wrong_end(script, code, evidence),
        *(_wrong_events(script, events) if events is not None else ["it left no tape"]),
        *(_wrong_orders(orders) if orders is not None else []),
        *(_wrong_books(script, books, flat=flat) if books is not None else []),
        *([] if evidence.audit.ok else [f"audit {evidence.audit.verdict}: {_audit_says(evidence)}"]),
        *(f"not seen: {SEEN[name]}" for name in script.must.see if not found[name]),
    ]
    unthrown = idle(script, evidence.faults)
    if len(unthrown) == len(script.faults) and events is not None:
        wrong = [each for each in wrong if not each.startswith("not seen")]
        outcome = Verdict.IDLE
    else:
        wrong += [f"{each} was never thrown" for each in unthrown]
        outcome = Verdict.SURVIVED if code is ExitCode.OK else Verdict.ENDED
    return Row(
        script=script.name,
        about=script.about,
        expect=script.expect,
        thrown=thrown(script, evidence.faults),
        did=did(found),
        exit="" if code is None else code.name,
        reason="" if evidence.verdict is None else evidence.verdict.reason,
        events=events,
        orders=orders,
        books=books,
        audit=evidence.audit.verdict,
        wrong=tuple(wrong),
        verdict=Verdict.FAILED if wrong else outcome,
        lives=lives,
        seconds=round(seconds, 1),
    )


def failed(script: Script, why: str, seconds: float = 0.0) -> Row:
    """Return the row of a rehearsal that left nothing to judge: it crashed, or had to be killed."""
    return Row(
        script.name, script.about, script.expect, "", "", "", "", None, None, None, "", (why,), Verdict.FAILED,
        seconds=round(seconds, 1),
    )  # fmt: skip


def _wrong_end(script: Script, code: ExitCode | None, evidence: Evidence) -> list[str]:
    if code is None:
        return ["it left no verdict"]
    if code.name == script.must.exit:
        return []
    assert evidence.verdict is not None
    return [f"it ended with {code.name}, must be {script.must.exit}: {evidence.verdict.reason}"]


def _wrong_events(script: Script, events: Events) -> list[str]:
    wrong = []
    if events.lost:
        wrong.append(f"{events.lost:,} of {events.played:,} events are missing, and nothing says so")
    if events.told and script.must.lost != "told":
        wrong.append(f"{events.told:,} of {events.played:,} events are missing, as the tape says")
    if events.doubled:
        wrong.append(f"{counted(events.doubled, 'event')} too often on the tape")
    if events.invented:
        wrong.append(f"{counted(events.invented, 'event')} on the tape that never came to be")
    return wrong


def _wrong_orders(orders: Orders) -> list[str]:
    told = (("lost", orders.lost), ("doubled", orders.doubled), ("filled otherwise", orders.misfilled))
    return [
        f"{counted(len(names), 'order')} {word} (first: {', '.join(names[:_NAMED])})" for word, names in told if names
    ]


def _wrong_books(script: Script, books: Books, *, flat: bool) -> list[str]:
    wrong = [f"our position of {symbol} is off by {qty:+g}" for symbol, qty in books.off.items()]
    if flat and script.must.flat:
        wrong += [f"it was to end flat, and holds {qty:+g} {symbol}" for symbol, qty in books.held.items()]
    if script.must.books == "differ" and not books.foreign:
        wrong.append("nobody else traded on the account")
    return wrong


def _audit_says(evidence: Evidence) -> str:
    from mdslib.audit.report import Outcome

    bad = evidence.audit.those(Outcome.FAILED, Outcome.NOT_COMPARABLE)
    return "; ".join(f"{finding.name}: {finding.text}" for finding in bad)


def _named(events: Events, evidence: Evidence) -> Events:
    """Count events as told that the session itself has named after the close, by the venue's own history."""
    details = {} if evidence.verdict is None else evidence.verdict.details
    texts = [finding["text"] for finding in details.get("findings", []) if finding["name"] == "history"]
    found = _NEVER_CAME.search(texts[0]) if texts else None
    if found is None or int(found[1].replace(",", "")) < events.lost:
        return events
    return replace(events, lost=0, told=events.told + events.lost)
