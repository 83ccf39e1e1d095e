"""A check's and an audit's findings have one shape: lines, HTML, JSON, exit code."""

from __future__ import annotations

import json

import pytest

from mdslib.audit.report import AuditReport, Outcome
from mdslib.check.report import CheckReport, Verdict
from mdslib.findings import Finding, Findings

AUDIT = AuditReport(
    "spy, 2013-10-08",
    (Finding("tape", Outcome.PASSED, "3 records"), Finding("state", Outcome.FAILED, "digest <a> is <b>")),
)
CHECK = CheckReport(
    "m", 5, 1, (Finding("runs", Verdict.KEPT, "5 events"), Finding("compiled", Verdict.NOT_CHECKED, "a cell"))
)


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (AUDIT, "audit of spy, 2013-10-08\n✓ tape: 3 records\n✗ state: digest <a> is <b>\nverdict: failed"),
        (CHECK, "✓ runs: 5 events\n- compiled: a cell\nm keeps 1 laws; 1 could not be checked"),
    ],
    ids=["audit", "check"],
)
def test_as_text_there_is_a_line_a_finding_and_the_verdict_last(report: Findings, text: str) -> None:
    assert str(report) == text


@pytest.mark.parametrize(("report", "ok", "code"), [(AUDIT, False, 1), (CHECK, True, 0)], ids=["audit", "check"])
def test_the_exit_code_is_0_for_yes_and_1_for_no(report: Findings, ok: bool, code: int) -> None:
    assert (report.ok, report.exit_code) == (ok, code)


def test_as_json_a_program_finds_the_same_keys_in_both() -> None:
    audit, check = json.loads(AUDIT.to_json()), json.loads(CHECK.to_json())
    assert {"ok", "findings"} <= set(audit) & set(check)
    assert audit["findings"][1] == {"name": "state", "outcome": "failed", "text": "digest <a> is <b>"}
    assert check["findings"][1] == {"name": "compiled", "outcome": "not checked", "text": "a cell"}
    assert (audit["title"], audit["verdict"]) == ("spy, 2013-10-08", "failed")
    assert (check["model"], check["events"], check["seed"]) == ("m", 5, 1)


def test_as_html_what_was_found_is_text_and_never_markup() -> None:
    shown = AUDIT._repr_html_()
    assert "<td>✗</td><td>state</td><td>digest &lt;a&gt; is &lt;b&gt;</td>" in shown
    assert shown.startswith("<p><b>audit of spy, 2013-10-08</b></p><table>")
    assert shown.endswith("</table><p><b>verdict: failed</b></p>")


def test_an_outcome_is_found_by_its_word() -> None:
    assert Outcome("passed") is Outcome.PASSED
    assert (Outcome.NOT_COMPARED.value, Outcome.NOT_COMPARED.mark) == ("not compared", "-")


def test_what_could_not_be_compared_by_nature_leaves_a_verdict_passed_and_is_named_in_it() -> None:
    passed = Finding("tape", Outcome.PASSED, "3 records")
    report = AuditReport("spy", (passed, Finding("sent", Outcome.NOT_COMPARED, "no log")))
    assert report.ok
    assert report.last() == "verdict: passed, but for sent, which could not be compared"
    assert not AuditReport("spy", report.findings[1:]).ok, "nothing at all was compared"
    assert not AuditReport("spy", (passed, Finding("books", Outcome.NOT_COMPARABLE, "venue down"))).ok
