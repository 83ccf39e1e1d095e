"""What was thrown and what the session did, counted from what both left behind, and in words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mdslib.desk import ENDING
from mdslib.events import Kind, Status
from mdslib.live.batch import HALT, REDUCE
from mdslib.rehearsal.evidence import Evidence
from mdslib.risk import Denial
from mdslib.sim import Script
from mdslib.sim.faults import Fault, what
from mdslib.sim.faults.kinds import Hitting

_SAID = {
    "gap": ("gap", "gaps"),
    "reconnect": ("reconnection", "reconnections"),
    "tries": ("connection refused", "connections refused"),
    "backfill": ("event fetched", "events fetched"),
    "left-out": ("double left out", "doubles left out"),
    "held": ("order held back", "orders held back"),
    "orders-reconnect": ("reconnection of the order stream", "reconnections of the order stream"),
    "unknown": ("outcome unknown at first", "outcomes unknown at first"),
    "looked-up": ("fill learned by asking", "fills learned by asking"),
    "rejected": ("order rejected", "orders rejected"),
    "canceled": ("order canceled", "orders canceled"),
    "partial": ("partial fill", "partial fills"),
    "denied": ("order denied", "orders denied"),
    "expired": ("decision expired", "decisions expired"),
    "status": ("status message", "status messages"),
    "correction": ("correction", "corrections"),
    "trade-cancel": ("canceled trade", "canceled trades"),
    "foreign": ("update of a foreign order", "updates of foreign orders"),
    "difference": ("difference of the books", "differences of the books"),
    "reduce": ("reduced to closing orders", "reduced to closing orders"),
    "halt": ("trading halted", "trading halted"),
    "restart": ("restart", "restarts"),
}
_FLAGS = ("reduce", "halt")


def seen(evidence: Evidence) -> Counter[str]:
    """Count what the session did, by the words of `mdslib.sim.faults.SEEN` and a few more."""
    found: Counter[str] = Counter()
    kinds = {"gap": Kind.GAP, "unknown": Kind.UNKNOWN, "status": Kind.STATUS, "expired": Kind.EXPIRED}
    kinds |= {"correction": Kind.CORRECTION, "trade-cancel": Kind.CANCEL_ERROR, "difference": Kind.DIFFERENCE}
    kinds |= {"restart": Kind.START}
    for name, kind in kinds.items():
        found[name] = len(evidence.of(kind))
    found["backfill"] = int(evidence.of(Kind.BACKFILL)["i0"].sum())
    for row in evidence.of(Kind.DENIED):
        found["held" if int(row["code"]) % 256 == Denial.BACKFILL else "denied"] += 1
    for row in evidence.of(Kind.CONTROL):
        if row["flag"] != ENDING:
            found["halt"] += int(row["code"]) == HALT
            found["reduce"] += int(row["code"]) == REDUCE
    _see_updates(evidence, found)
    _see_log(evidence, found)
    return +found


def _see_updates(evidence: Evidence, found: Counter[str]) -> None:
    names = {Status.REJECTED: "rejected", Status.CANCELED: "canceled", Status.PARTIALLY_FILLED: "partial"}
    for row in evidence.of(Kind.UPDATE):
        name = names.get(Status(int(row["code"])))
        if name is not None:
            found[name] += 1
        if row["f0"] != 0.0 and not _execution(evidence.text(row)):
            found["looked-up"] += 1


def _execution(text: str) -> str:
    try:
        return str(json.loads(text)["execution"] or "")
    except (ValueError, KeyError, TypeError):  # a refusal's text is the venue's, not ours
        return ""


def _see_log(evidence: Evidence, found: Counter[str]) -> None:
    events = Counter(line["event"] for line in evidence.log)
    found["reconnect"] += events["feed-reconnected"]
    found["orders-reconnect"] += events["orders-reconnected"]
    found["foreign"] += events["foreign-update"]
    # Each loss is followed by a line of its own; the others are tries that failed.
    found["tries"] += events["feed-waits"]
    losses = Counter(line.get("tries") for line in evidence.log if line["event"] == "orders-wait")
    found["tries"] += sum(losses.values()) - events["orders-reconnected"]
    counts = evidence.verdict.details.get("feed", {}) if evidence.verdict is not None else {}
    found["left-out"] += sum(n for name, n in counts.items() if "left out" in name)


def did(found: Mapping[str, int]) -> str:
    """Say what a session did.

    Examples
    --------
    >>> did({"gap": 1, "backfill": 314, "halt": 1})
    '1 gap, 314 events fetched, trading halted'
    """
    parts = []
    for name, (one, many) in _SAID.items():
        count = found.get(name, 0)
        if count:
            parts.append(one if name in _FLAGS else f"{count:,} {one if count == 1 else many}")
    return ", ".join(parts) or "nothing special"


def thrown(script: Script, entries: Sequence[Mapping[str, Any]]) -> str:
    """Say what an exchange threw; a fault that never came, or hit nothing, is said to be so.

    Parameters
    ----------
    script : Script
    entries : sequence of mapping
        As `mdslib.sim.read_faults` returns them.
    """
    parts = []
    for number, fault in enumerate(script.faults, 1):
        count = times(fault, [entry for entry in entries if entry["fault"] == number])
        parts.append(f"{_named(fault)}{f' ×{count}' if count != 1 else ''}" if count else f"no {_named(fault)}")
    return ", ".join(dict.fromkeys(parts))


def idle(script: Script, entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the faults of a script that did nothing, but for those that come by chance."""
    return [
        f"fault {number} ({what(fault)})"
        for number, fault in enumerate(script.faults, 1)
        if getattr(fault, "chance", 1.0) == 1.0 and not times(fault, [e for e in entries if e["fault"] == number])
    ]


def times(fault: Fault, entries: Sequence[Mapping[str, Any]]) -> int:
    """Return how often a fault hit something, or came where it hits nothing singly."""
    if not isinstance(fault, Hitting):
        return len([entry for entry in entries if entry["phase"] == "began"])
    ended = sum(int(entry.get("hits", 0)) for entry in entries if entry["phase"] == "ended")
    return max(ended, len([entry for entry in entries if entry["phase"] == "hit"]))


def _named(fault: Fault) -> str:
    """Name a fault with what matters of it."""
    parts = [what(fault)]
    for name in ("status", "code", "how", "delay", "by", "lasts"):
        value = getattr(fault, name, None)
        if value is not None and not (name == "code" and what(fault) != "socket-error"):
            parts.append(str(value))
    call = getattr(fault, "call", None)
    if call is not None and call != "any":
        parts.append(f"on {call if isinstance(call, str) else ', '.join(call)}")
    socket = getattr(fault, "socket", None)
    parts += [f"of {socket}"] if socket is not None else []
    taken = {"first": "(taken)", "late": "(taken late)"}.get(getattr(fault, "taken", ""), "")
    parts += [taken] if taken else []
    return " ".join(parts)
