"""A table of findings: a line for each thing looked at, then the verdict; as text, HTML, JSON and exit code."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mdslib.strictjson import dumps

YES, NO = 0, 1  # exit codes


def counted(number: int, what: str) -> str:
    """Return a number of things with their name, which takes an s where there is not one.

    Examples
    --------
    >>> counted(1, "part"), counted(3_000, "fault script"), counted(0, "row")
    ('1 part', '3,000 fault scripts', '0 rows')
    """
    return f"{number:,} {what}{'s' * (number != 1)}"


class Outcome(Enum):
    """How one thing came out, and the mark that its line begins with. Whoever finds has words of his own."""

    mark: str

    def __new__(cls, word: str, mark: str) -> Outcome:
        """Take the word as the value."""
        member = object.__new__(cls)
        member._value_ = word
        member.mark = mark
        return member


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        What it was, in a few words.
    outcome : Outcome
        How it came out.
    text : str
        One line: counts, the first difference, or why nothing can be said.
    """

    name: str
    outcome: Outcome
    text: str

    def line(self) -> str:
        """Return it as one line of plain text."""
        return f"{self.outcome.mark} {self.name}: {self.text}"

    def to_dict(self) -> dict[str, str]:
        """Return it as plain values."""
        return {"name": self.name, "outcome": str(self.outcome.value), "text": self.text}


class Findings(ABC):
    """What a check or an audit found; a frozen dataclass that says how its findings are summed up.

    Attributes
    ----------
    findings : tuple of Finding
        In the order they were made.

    Examples
    --------
    >>> class Asked(Outcome):
    ...     YES, NO = ("yes", "+"), ("no", "-")
    >>> class Answers(Findings):
    ...     def __init__(self, *findings):
    ...         self.findings = findings
    ...     ok = property(lambda self: not self.those(Asked.NO))
    ...     def last(self):
    ...         return "all said yes" if self.ok else "somebody said no"
    >>> answers = Answers(Finding("Ann", Asked.YES, "at once"), Finding("Bob", Asked.NO, "he is away"))
    >>> print(answers)
    + Ann: at once
    - Bob: he is away
    somebody said no
    >>> answers.exit_code
    1
    """

    findings: tuple[Finding, ...]

    @property
    @abstractmethod
    def ok(self) -> bool:
        """Whether the findings sum up to a yes."""

    @abstractmethod
    def last(self) -> str:
        """Return the last line: the verdict."""

    def first(self) -> str:
        """Return the first line, where there is one to say what was looked at."""
        return ""

    def told(self) -> dict[str, Any]:
        """Return what else belongs into JSON, as plain values."""
        return {}

    @property
    def exit_code(self) -> int:
        """Return 0 for yes, 1 for no."""
        return YES if self.ok else NO

    def those(self, *outcomes: Outcome) -> list[Finding]:
        """Return the findings that came out so."""
        return [finding for finding in self.findings if finding.outcome in outcomes]

    def lines(self) -> list[str]:
        """Return the first line, a line for each finding, the verdict."""
        first = self.first()
        return [*([first] if first else []), *(finding.line() for finding in self.findings), self.last()]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        cells = [(each.outcome.mark, each.name, each.text) for each in self.findings]
        rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in cells)
        first = self.first()
        head = f"<p><b>{html.escape(first)}</b></p>" if first else ""
        return f"{head}<table>{rows}</table><p><b>{html.escape(self.last())}</b></p>"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**self.told(), "ok": self.ok, "findings": [finding.to_dict() for finding in self.findings]}

    def to_json(self) -> str:
        """Return it as one JSON object."""
        return dumps(self.to_dict(), ensure_ascii=False)
