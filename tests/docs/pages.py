"""The documentation's pages as blocks that can be run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").rglob("*.md") if "_build" not in p.parts)]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"^(?:% |<!-- )(not run|save): (.+?)(?: -->)?$")


class Block(NamedTuple):
    """One fenced block.

    Attributes
    ----------
    line : int
        Of its opening fence, from 1.
    language : str
        ``python`` and ``console`` are run; ``text`` directly after a ``python`` block is what it prints.
    text : str
        Between the fences.
    mark, why : str
        What the comment on the line above says: ``not run`` and the reason, or ``save`` and a file's name.
    follows : bool
        Whether nothing but blank lines stands between this block and the one before.
    """

    line: int
    language: str
    text: str
    mark: str
    why: str
    follows: bool


def blocks(page: Path) -> list[Block]:
    """Return a page's fenced blocks in order."""
    text, end, found = page.read_text("utf-8"), 0, []
    for match in FENCE.finditer(text):
        between = text[end : match.start()]
        last = between.rstrip("\n").rpartition("\n")[2]
        mark = MARK.match(last)
        found.append(
            Block(
                line=text.count("\n", 0, match.start()) + 1,
                language=match[1],
                text=match[2],
                mark=mark[1] if mark else "",
                why=mark[2] if mark else "",
                follows=bool(found) and not between.strip(),
            )
        )
        end = match.end()
    return found


def name(page: Path) -> str:
    """Return a page's name for a person."""
    return page.relative_to(ROOT).as_posix()
