"""Digests on the tape: what state and account were, so that a restart and an audit can tell theirs from them."""

from __future__ import annotations

from mdslib.desk import mark_record
from mdslib.events import Kind
from mdslib.live.writer import Writer
from mdslib.protocols import Records
from mdslib.strategy import Fold
from mdslib.tape import Side, SideKind

EVERY = 60_000_000_000  # ns of the session's time


class Checkpoints:
    """Writes a CHECKPOINT record about once a minute of the session's time.

    Parameters
    ----------
    writer : Writer
        Has folded all that is on its tape.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._due = 0

    def look(self, now: int) -> None:
        """Write one if it is time; the first look only begins to count."""
        if now < self._due:
            return
        began, self._due = self._due, now + EVERY
        if began and not self._writer.broken:
            record, side = checkpoint(self._writer.fold, now)
            self._writer.tape.append(record, [side])


def checkpoint(fold: Fold, now: int) -> tuple[Records, Side]:
    """Return a CHECKPOINT record of a fold and its text."""
    return mark_record(Kind.CHECKPOINT, now, now), Side(0, SideKind.DIGEST, fold.digest())
