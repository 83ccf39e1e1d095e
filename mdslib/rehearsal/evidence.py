"""What a rehearsed run left behind, on both sides: the session's tape, log and verdict, the exchange's log."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mdslib.audit.report import AuditReport, Finding, Outcome
from mdslib.errors import MdsError, TapeError
from mdslib.events import RECORD, Kind
from mdslib.live.day_audit import audit_run
from mdslib.live.verdict import Verdict
from mdslib.protocols import Records
from mdslib.sim import read_faults, read_orders, read_played
from mdslib.store.tapereader import TapeReader
from mdslib.strategy import find_model
from mdslib.tape import TapeHeader

_WITH_TEXT = (Kind.GAP, Kind.RESYNC, Kind.UPDATE, Kind.CONTROL, Kind.UNKNOWN)


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict rests on: the files that both sides left.

    The session's own word is among them, in its log and its verdict. It counts for how the session ended, and for
    events that it names as missing by the venue's history; never for what was lost unnamed, or doubled.

    Attributes
    ----------
    records : RECORD array
        The tape.
    header : TapeHeader or None
        None where there is no tape.
    texts : dict of int to str
        Texts beside the tape's records, by sequence.
    played : RECORD array
        The market events that came to be, of the kinds that the model takes; ``instrument`` is the session's.
    orders : list of dict
        The venue's orders in their last state.
    faults : list of dict
        What was thrown.
    log : list of dict
        The session's log.
    verdict : Verdict or None
        The session's.
    audit : AuditReport
        Made anew, after both sides had ended.
    """

    records: Records
    header: TapeHeader | None
    played: Records
    audit: AuditReport
    texts: dict[int, str] = field(default_factory=dict)
    orders: list[dict[str, Any]] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    verdict: Verdict | None = None

    def of(self, *kinds: Kind) -> Records:
        """Return the tape's records of some kinds."""
        found: Records = self.records[np.isin(self.records["kind"], [int(kind) for kind in kinds])]
        return found

    def text(self, row: np.void) -> str:
        """Return the text beside a record; empty where it has none."""
        return self.texts.get(int(row["seq"]), "")


def read_evidence(run_dir: Path) -> Evidence:
    """Read a run's folder, whatever of it is there.

    Parameters
    ----------
    run_dir : Path
        Holds ``tape/`` and ``sent/``, if the run came so far.
    """
    header, records, texts = None, np.zeros(0, RECORD), dict[int, str]()
    sent, symbols, kinds = run_dir / "sent", None, None
    try:
        with TapeReader(run_dir / "tape") as tape:
            header, records = tape.header, np.array(tape.records())
            told = records[np.isin(records["kind"], [int(kind) for kind in _WITH_TEXT])]
            texts = {int(row["seq"]): tape.text(row) for row in told}
        symbols = [instrument.symbol for instrument in header.instruments]
        kinds = [int(kind) for kind in find_model(header.source or header.model).market_kinds]
        audit = audit_run(run_dir)
    except TapeError as error:
        audit = AuditReport("", (Finding("tape", Outcome.FAILED, str(error)),))
    except MdsError as error:
        audit = AuditReport("", (Finding("audit", Outcome.NOT_COMPARABLE, str(error)),))
    played = read_played(sent, symbols)
    return Evidence(
        records=records,
        header=header,
        texts=texts,
        played=played if kinds is None else played[np.isin(played["kind"], kinds)],
        orders=read_orders(sent),
        faults=read_faults(sent),
        log=_lines(run_dir / "log.jsonl"),
        verdict=Verdict.read(run_dir),
        audit=audit,
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
