"""What a check found: one line for each law."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How one law came out."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_CHECKED = "not checked"


_MARK = {Verdict.KEPT: "✓", Verdict.BROKEN: "✗", Verdict.NOT_CHECKED: "-"}


@dataclass(frozen=True)
class Result:
    """One law's outcome; `text` says where it is broken, or why it was not checked."""

    law: str
    verdict: Verdict
    text: str

    def line(self) -> str:
        """Return it as one line of plain text."""
        return f"{_MARK[self.verdict]} {self.law}: {self.text}"


@dataclass(frozen=True)
class CheckReport:
    """All laws of one model.

    Examples
    --------
    >>> report = CheckReport("m", 10, 1, (Result("it runs", Verdict.KEPT, "10 events"),))
    >>> report.ok, report.lines()[-1]
    (True, 'm keeps all 1 laws')
    """

    model: str
    events: int
    seed: int
    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """Whether no law is broken."""
        return not self.broken

    @property
    def broken(self) -> list[Result]:
        """The laws that the model breaks."""
        return [result for result in self.results if result.verdict is Verdict.BROKEN]

    def lines(self) -> list[str]:
        """Return the report as lines of plain text: a line for each law, then the verdict."""
        return [*(result.line() for result in self.results), self._last()]

    def _last(self) -> str:
        left = sum(result.verdict is Verdict.NOT_CHECKED for result in self.results)
        if self.broken:
            return f"{self.model} breaks: {', '.join(result.law for result in self.broken)}"
        if left:
            return f"{self.model} keeps {len(self.results) - left} laws; {left} could not be checked"
        return f"{self.model} keeps all {len(self.results)} laws"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{_MARK[r.verdict]}</td><td>{html.escape(r.law)}</td><td>{html.escape(r.text)}</td></tr>"
            for r in self.results
        )
        return f"<table>{rows}</table><p><b>{html.escape(self._last())}</b></p>"

    def to_json(self) -> str:
        """Return the report as one JSON object."""
        results = [{"law": r.law, "verdict": r.verdict.value, "text": r.text} for r in self.results]
        told = {"model": self.model, "ok": self.ok, "events": self.events, "seed": self.seed, "laws": results}
        return json.dumps(told, ensure_ascii=False)
