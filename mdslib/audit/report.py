"""What an audit found: a few named findings, each passed, failed, not comparable or not compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mdslib import findings
from mdslib.findings import Finding, Findings


class Outcome(findings.Outcome):
    """How one comparison ended."""

    PASSED = "passed", "✓"
    FAILED = "failed", "✗"
    NOT_COMPARABLE = "not comparable", "?"  # it should have been compared, and could not be: nobody has proved the day
    NOTED = "noted", "!"  # found and named; it takes nothing from the record's truth
    NOT_COMPARED = "not compared", "-"  # there is nothing to compare with; what else was compared stands


@dataclass(frozen=True)
class AuditReport(Findings):
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
    >>> (passed + AuditReport("", (Finding("fills", Outcome.NOT_COMPARED, "no log"),))).last()
    'verdict: passed, but for fills, which could not be compared'
    """

    title: str
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """``passed``, ``failed``, or ``not comparable`` where nothing failed but something could not be compared."""
        for outcome in (Outcome.FAILED, Outcome.NOT_COMPARABLE):
            if self.those(outcome):
                return str(outcome.value)
        return str((Outcome.PASSED if self.those(Outcome.PASSED) else Outcome.NOT_COMPARABLE).value)

    @property
    def ok(self) -> bool:
        """Whether every comparison that can be made was made and passed."""
        return self.verdict == "passed"

    def __add__(self, other: AuditReport) -> AuditReport:
        return AuditReport(self.title or other.title, self.findings + other.findings)

    def first(self) -> str:
        """Say what was audited."""
        return f"audit of {self.title}"

    def summary(self) -> str:
        """Return the verdict, and what it does not speak of."""
        left = [finding.name for finding in self.those(Outcome.NOT_COMPARED)]
        return f"{self.verdict}, but for {', '.join(left)}, which could not be compared" if left else self.verdict

    def last(self) -> str:
        """Return the verdict as a line."""
        return f"verdict: {self.summary()}"

    def told(self) -> dict[str, Any]:
        """Return title and verdict."""
        return {"title": self.title, "verdict": self.verdict}


__all__ = ["AuditReport", "Finding", "Outcome"]
