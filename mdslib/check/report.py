"""What a check found: one line for each law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mdslib.findings import Finding, Findings, Outcome


class Verdict(Outcome):
    """How one law came out."""

    KEPT = "kept", "✓"
    BROKEN = "broken", "✗"
    NOT_CHECKED = "not checked", "-"


@dataclass(frozen=True)
class CheckReport(Findings):
    """All laws of one model; a finding's text says where the law is broken, or why it was not checked.

    Examples
    --------
    >>> report = CheckReport("m", 10, 1, (Finding("it runs", Verdict.KEPT, "10 events"),))
    >>> report.ok, report.lines()[-1]
    (True, 'm keeps all 1 laws')
    """

    model: str
    events: int
    seed: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no law is broken."""
        return not self.broken

    @property
    def broken(self) -> list[Finding]:
        """The laws that the model breaks."""
        return self.those(Verdict.BROKEN)

    def last(self) -> str:
        """Say how many laws it keeps, or which it breaks."""
        if self.broken:
            return f"{self.model} breaks: {', '.join(finding.name for finding in self.broken)}"
        left, kept = len(self.those(Verdict.NOT_CHECKED)), len(self.those(Verdict.KEPT))
        if left:
            return f"{self.model} keeps {kept} laws; {left} could not be checked"
        return f"{self.model} keeps all {kept} laws"

    def told(self) -> dict[str, Any]:
        """Return what was checked on what."""
        return {"model": self.model, "events": self.events, "seed": self.seed}


__all__ = ["CheckReport", "Finding", "Verdict"]
