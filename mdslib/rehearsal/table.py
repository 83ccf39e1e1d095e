"""The verdict table of rehearsals: as text, as Markdown, as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdslib.findings import counted
from mdslib.rehearsal.judge import Row, Verdict
from mdslib.rehearsal.losses import Books, Events
from mdslib.strictjson import dumps

YES, NO = 0, 1
# The verdict first: the table is wider than a page.
HEAD = (
    "fault", "verdict", "events lost, doubled", "orders lost, doubled", "books", "audit", "thrown",
    "what the session did",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Rows, and what they sum up to.

    Attributes
    ----------
    rows : tuple of Row
    """

    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Whether no row failed."""
        return all(row.ok for row in self.rows)

    @property
    def exit_code(self) -> int:
        """Return 0 where no row failed, else 1."""
        return YES if self.ok else NO

    def sorted(self) -> Table:
        """Return the rows by name."""
        return Table(tuple(sorted(self.rows, key=lambda row: row.script)))

    def last(self) -> str:
        """Return the counts by verdict, in a line."""
        counts = Counter(row.verdict for row in self.rows)
        parts = [f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict]]
        return f"{counted(len(self.rows), 'rehearsal')}: {', '.join(parts) or 'none'}"

    def markdown(self) -> str:
        """Return it as a Markdown table."""
        lines: list[Sequence[str]] = [HEAD, ["---"] * len(HEAD)]
        lines += [[f"`{row.script}`", *cells(row)[1:]] for row in self.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

    def write(self, folder: Path) -> None:
        """Write ``table.md`` and ``table.json`` into a folder."""
        (folder / "table.md").write_text(f"{self.markdown()}\n\n{self.last()}\n", encoding="utf-8")
        (folder / "table.json").write_text(self.to_json() + "\n", encoding="utf-8")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"ok": self.ok, "summary": self.last(), "rows": [row.to_dict() for row in self.rows]}

    def to_json(self) -> str:
        """Return it as one JSON object."""
        return dumps(self.to_dict(), ensure_ascii=False)


def cells(row: Row) -> tuple[str, ...]:
    """Return a row's cells, as `HEAD` names them."""
    return (
        row.script,
        row.verdict.value if row.exit in ("", "OK") else f"{row.verdict.value}: {row.exit}",
        "–" if row.events is None else _events(row.events),
        "–" if row.orders is None else f"{len(row.orders.lost)}, {len(row.orders.doubled)} of {row.orders.sent:,}",
        "–" if row.books is None else _books(row.books),
        row.audit or "–",
        row.thrown,
        row.did,
    )


def _events(events: Events) -> str:
    named = f"; {events.told:,} named as missing" if events.told else ""
    return f"{events.lost:,}, {events.doubled + events.invented:,} of {events.played:,}{named}"


def _books(books: Books) -> str:
    off = ", ".join(f"{symbol} {qty:+g}" for symbol, qty in books.off.items())
    foreign = ", ".join(f"{symbol} {qty:+g}" for symbol, qty in books.foreign.items())
    return (f"off by {off}" if off else "equal") + (f"; foreign {foreign}" if foreign else "")


def lines(row: Row) -> Iterable[str]:
    """Return a row as lines for a person: the verdict, what was thrown and done, and why it failed."""
    _, verdict, events, orders, books, audit, thrown, did = cells(row)
    mark = "✗" if not row.ok else "-" if row.verdict is Verdict.IDLE else "✓"
    yield f"{mark} {row.script}: {verdict} ({row.seconds:.0f} s)"
    yield f"    thrown: {thrown}"
    yield f"    did: {did}"
    yield f"    lost and doubled: events {events}; orders {orders}; books {books}; audit {audit}"
    for why in row.wrong:
        yield f"    ✗ {why}"
