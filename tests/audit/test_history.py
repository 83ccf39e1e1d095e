"""The tape against the venue's own history: what never came is named, and takes nothing from the verdict."""

from __future__ import annotations

import numpy as np

from mdslib.audit.history import compare_history
from mdslib.audit.report import Outcome
from mdslib.events import RECORD, Kind
from mdslib.instruments import Instrument

SPY = (Instrument("SPY"),)


def day(*ids: int, kind: Kind = Kind.TRADE) -> np.ndarray:
    made = np.zeros(len(ids), RECORD)
    made["kind"], made["ts_event"], made["f0"] = kind, ids, 100.0
    made["i1"] = ids if kind is Kind.TRADE else 5
    return made


def test_a_whole_tape_passes_whatever_else_is_on_it() -> None:
    report = compare_history(np.concatenate([day(1, 2, 3), day(9, kind=Kind.GAP)]), day(1, 2, 3), SPY)
    assert report.lines()[1] == "✓ history: 3 events in the venue's history, all on the tape"


def test_what_never_came_is_named_and_does_not_fail_the_audit() -> None:
    report = compare_history(day(1, 4), day(1, 2, 3, 4), SPY)
    (finding,) = report.findings
    assert finding.outcome is Outcome.NOTED
    assert finding.text.startswith("4 events in the venue's history, 2 of them never came; first: TRADE of SPY at 1970")
    passed = compare_history(day(1), day(1), SPY)
    assert (passed + report).ok


def test_events_of_the_tape_that_the_history_has_not_are_no_matter() -> None:
    assert compare_history(day(1, 2, 3), day(2)).ok


def test_bars_are_compared_by_their_close() -> None:
    assert "1 of them never came" in str(compare_history(day(60, kind=Kind.BAR), day(60, 120, kind=Kind.BAR), SPY))


def test_a_corrected_trade_was_told_by_its_correction() -> None:
    correction = day(7, kind=Kind.CORRECTION)
    correction["i1"] = 77
    assert compare_history(np.concatenate([day(1), correction]), day(1, 77)).ok


def test_trades_without_an_id_can_not_be_looked_for() -> None:
    nameless = day(1, 2)
    nameless["i1"] = 0
    assert compare_history(day(5), nameless).findings[0].text == "0 events in the venue's history, all on the tape"
