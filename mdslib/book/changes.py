"""How each row of a recorded book changed its level: by how many lots, and how far from the best price."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mdslib.book.book import Ints
from mdslib.book.levels import FULL, Levels, clear_side, empty_levels, make_room, set_level, size_at, top_levels
from mdslib.book.rows import BookRows
from mdslib.events import BookFlag
from mdslib.jit import borrow, jit
from mdslib.table import Array

_ASK, _LAST, _CLEAR = int(BookFlag.ASK), int(BookFlag.LAST), int(BookFlag.CLEAR)
_SNAPSHOT = int(BookFlag.SNAPSHOT)
_WINDOW, _CAPACITY = 4096, 1024


class Changes(NamedTuple):
    """What each row did.

    Attributes
    ----------
    lots : array of int64, shape (n,)
        New size minus old size; 0 for rows of a snapshot, which replace a book that may have been wrong.
    level : array of uint16, shape (n,)
        1 + the number of levels that were better on its side before the row's message; at most ``levels + 1``.
    """

    lots: Ints
    level: Array


def level_changes(rows: BookRows, levels: int) -> Changes:
    """Return how each row changed the book, numbering the best `levels` levels of a side."""
    count = len(rows.tick)
    changes = Changes(np.zeros(count, np.int64), np.full(count, levels + 1, np.uint16))
    book: Any = empty_levels(_WINDOW, _CAPACITY)
    seen = _Seen(
        np.zeros((2, levels), np.int64), np.zeros(levels, np.int64), np.zeros(2, np.int64), np.ones(3, np.int8)
    )
    row = 0
    while True:
        row = int(_changes(book, rows.tick, rows.size, rows.flags, row, seen, changes))
        if row == count:
            return changes
        book = make_room(book)


class _Seen(NamedTuple):
    """The best levels of both sides before a message."""

    tick: Array  # (2, levels)
    size: Array  # (levels,): room for what nobody reads
    held: Array  # (2,): how many there were
    stale: Array  # (3,): whether a side has changed since, and whether the next row begins a message


@jit
def _changes(book: Levels, tick: Ints, size: Ints, flags: Array, first: int, seen: _Seen, changes: Changes) -> int:
    """Apply rows from `first` on; return the row for which the book has no room, or the number of rows."""
    book = borrow(book)
    seen = borrow(seen)
    changes = borrow(changes)
    for row in range(first, len(tick)):
        flag = flags[row]
        if seen.stale[2]:
            for side in (0, 1):
                if seen.stale[side]:
                    seen.held[side] = top_levels(book, side, 1.0, 1.0, seen.tick[side], seen.size)
                    seen.stale[side] = 0
            seen.stale[2] = 0
        if flag & _CLEAR:
            clear_side(book, 0)
            clear_side(book, 1)
            seen.stale[0] = 1
            seen.stale[1] = 1
        else:
            side = int(flag & _ASK)
            before = size_at(book, side, tick[row])
            if set_level(book, side, tick[row], size[row]) == FULL:
                return row
            seen.stale[side] = 1
            if not flag & _SNAPSHOT:
                changes.lots[row] = size[row] - before
                changes.level[row] = _level(seen.tick[side], seen.held[side], side, tick[row])
        if flag & _LAST:
            seen.stale[2] = 1
    return len(tick)


@jit
def _level(best: Ints, held: int, side: int, tick: int) -> int:
    """Return 1 + how many of the best levels are better than `tick`."""
    better = 0
    while better < held and (best[better] > tick if side == 0 else best[better] < tick):
        better += 1
    return better + 1
