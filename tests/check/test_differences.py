"""A difference is named by decision and field, or by the array, row and field of the state."""

from __future__ import annotations

import numpy as np

from mdslib.check.outcome import differ_decisions, differ_state
from mdslib.check.report import CheckReport, Finding, Verdict
from mdslib.strategy import DECISION


def decisions(*sequences: int) -> np.ndarray:
    made = np.zeros(len(sequences), DECISION)
    made["seq"], made["qty"] = sequences, 5.0
    return made


def test_equal_decisions_do_not_differ_and_nan_equals_nan() -> None:
    one, other = decisions(1, 2), decisions(1, 2)
    one["limit"] = other["limit"] = np.nan
    assert differ_decisions(one, other) == ""


def test_the_first_field_that_differs_is_named() -> None:
    one, other = decisions(1, 2), decisions(1, 2)
    other["qty"][1] = np.nextafter(5.0, 6.0)
    assert differ_decisions(one, other) == "decision 1 (on event 2) has qty 5.0 against 5.000000000000001"


def test_a_missing_decision_is_named_by_its_event() -> None:
    assert differ_decisions(decisions(1, 2, 9), decisions(1, 2)) == "3 decisions against 2, apart from event 9 on"


def test_state_is_named_by_array_row_and_field() -> None:
    one = {"state": np.zeros(2, [("a", "f8"), ("b", "i8")]), "window": np.zeros(3)}
    other = {name: array.copy() for name, array in one.items()}
    assert differ_state(one, other) == ""
    other["window"][2] = 1.0
    assert differ_state(one, other) == "window[2] is 0.0 against 1.0 at the end"
    other["state"]["b"][1] = 7
    assert differ_state(one, other) == "state[1].b is 0 against 7 at the end"
    other["state"] = np.zeros(3)
    assert differ_state(one, other).startswith("state has shape (2,)")


def test_a_report_is_text_and_html() -> None:
    report = CheckReport(
        "m", 5, 1, (Finding("runs", Verdict.KEPT, "5 events"), Finding("sane", Verdict.BROKEN, "qty < 0"))
    )
    assert str(report) == "✓ runs: 5 events\n✗ sane: qty < 0\nm breaks: sane"
    assert "<td>✗</td><td>sane</td><td>qty &lt; 0</td>" in report._repr_html_()
