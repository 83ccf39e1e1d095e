"""Apply records to a book: a whole message, or a whole day of them, in one compiled call."""

from __future__ import annotations

from typing import Any

import numpy as np

from mdslib.book.levels import BEST, DONE, NONE, Levels, clear_side, set_level, truncate_side
from mdslib.events import BookFlag, Kind
from mdslib.jit import borrow, jit, jit_hot

_DELTA, _ASK, _LAST, _CLEAR = int(Kind.BOOK_DELTA), int(BookFlag.ASK), int(BookFlag.LAST), int(BookFlag.CLEAR)

# What `set_price` answers beside `levels.DONE` and `levels.FULL`.
OFF_GRID = 2
BAD_SIZE = 3
# A price on the grid is off it by rounding errors only: of the price, of the factor, and of their product.
NEAR = 1e-15
MOST = 2.0**53  # beyond it a float can't tell one tick from the next


@jit_hot
def set_price(book: Levels, side: int, price: float, size: int, per_price: float) -> int:
    """Give the level at a price the absolute size (0 deletes it); return DONE, FULL, OFF_GRID or BAD_SIZE.

    Unless it is DONE, nothing has changed.
    """
    exact = price * per_price
    tick = np.rint(exact)
    if not (abs(exact) < MOST and abs(exact - tick) <= NEAR * abs(exact)):
        return OFF_GRID
    if size < 0:
        return BAD_SIZE
    return set_level(book, side, int(tick), size)


@jit
def apply_deltas(book: Levels, records: Any, first: int, per_price: float, depth: int, tally: Any) -> tuple[int, int]:
    """Apply the BOOK_DELTA records from `first` on; other kinds are passed over.

    Parameters
    ----------
    book : Levels
        Changed in place.
    records : array of RECORD, shape (n,)
        In the order of the tape, all of this book's instrument.
    first : int
        Where to begin.
    per_price : float
        Ticks in one unit of price.
    depth : int
        Levels kept on each side after each message; 0 keeps all.
    tally : array of int64, shape (3,)
        Grows by levels applied, messages ended, and messages that ended with a crossed book.

    Returns
    -------
    tuple of int
        Row that stopped it (n if none) and why: DONE, FULL, OFF_GRID or BAD_SIZE. That row was not applied.
    """
    book = borrow(book)
    state = book.state
    for row in range(first, len(records)):
        record = records[row]
        if record.kind != _DELTA:
            continue
        flags = record.flag
        if flags & _CLEAR:
            clear_side(book, 0)
            clear_side(book, 1)
        else:
            answer = set_price(book, flags & _ASK, record.f0, record.i0, per_price)
            if answer != DONE:
                return row, answer
            tally[0] += 1
        if flags & _LAST:
            if depth > 0:
                truncate_side(book, 0, depth)
                truncate_side(book, 1, depth)
            tally[1] += 1
            bid = state[0, BEST]
            ask = state[1, BEST]
            if bid != NONE and ask != NONE and bid >= -ask:
                tally[2] += 1
    return len(records), DONE
