"""What an audit found: a few named findings, each passed, failed or not comparable."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """How one comparison ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_COMPARABLE = "not comparable"


_MARK = {Outcome.PASSED: "✓", Outcome.FAILED: "✗", Outcome.NOT_COMPARABLE: "?"}


@dataclass(frozen=True)
class Finding:
    """One comparison.

    Attributes
    ----------
    name : str
        What was compared, in a word or two.
    outcome : Outcome
        How it ended.
    text : str
        One line: counts, or the first difference.
    """

    name: str
    outcome: Outcome
    text: str

    def line(self) -> str:
        """Return the finding as one line of plain text."""
        return f"{_MARK[self.outcome]} {self.name}: {self.text}"


@dataclass(frozen=True)
class AuditReport:
    """The verdict on one session's record.

    Attributes
    ----------
    title : str
        Run, model and date.
    findings : tuple of Finding
        In the order they were made.

    Examples
    --------
    >>> passed = AuditReport("spy", (Finding("decisions", Outcome.PASSED, "3 equal"),))
    >>> passed.ok, passed.verdict
    (True, 'passed')
    >>> (passed + AuditReport("", (Finding("sent", Outcome.FAILED, "1 lost"),))).verdict
    'failed'
    """

    title: str
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """``passed``, ``failed``, or ``not comparable`` where nothing failed but something could not be compared."""
        outcomes = {finding.outcome for finding in self.findings}
        for outcome in (Outcome.FAILED, Outcome.NOT_COMPARABLE):
            if outcome in outcomes:
                return str(outcome.value)
        return str((Outcome.PASSED if outcomes else Outcome.NOT_COMPARABLE).value)

    @property
    def ok(self) -> bool:
        """Whether every comparison was made and passed."""
        return self.verdict == "passed"

    def __add__(self, other: AuditReport) -> AuditReport:
        return AuditReport(self.title or other.title, self.findings + other.findings)

    def lines(self) -> list[str]:
        """Return the report as lines of plain text, the verdict last."""
        return [f"audit of {self.title}", *(finding.line() for finding in self.findings), f"verdict: {self.verdict}"]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{_MARK[each.outcome]}</td><td>{html.escape(each.name)}</td><td>{html.escape(each.text)}</td></tr>"
            for each in self.findings
        )
        return f"<p><b>Audit of {html.escape(self.title)}: {self.verdict}</b></p><table>{rows}</table>"

    def to_dict(self) -> dict[str, object]:
        """Return the report as plain values."""
        findings = [{"name": f.name, "outcome": f.outcome.value, "text": f.text} for f in self.findings]
        return {"title": self.title, "verdict": self.verdict, "ok": self.ok, "findings": findings}

    def to_json(self) -> str:
        """Return the report as one JSON object."""
        return json.dumps(self.to_dict(), ensure_ascii=False)
