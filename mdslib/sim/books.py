"""The order books of the day that the exchange plays, message by message."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mdslib.events import BookFlag, Kind
from mdslib.table import Table, from_columns

Array = npt.NDArray[Any]
_ASK, _LAST, _SNAPSHOT, _CLEAR = (
    int(flag) for flag in (BookFlag.ASK, BookFlag.LAST, BookFlag.SNAPSHOT, BookFlag.CLEAR)
)


class BookMessages(NamedTuple):
    """Book deltas as the venue's messages can carry them.

    Attributes
    ----------
    table : Table of BOOK_DELTA
        Of each message the CLEAR first, then bids, then asks; numbers of orders, sequences and checksums left out.
    first, stop : int64 arrays, shape (m,)
        Rows of each message.
    of_row : int64 array, shape (n,)
        Message of each row.
    """

    table: Table
    first: Array
    stop: Array
    of_row: Array


def messages_of(deltas: Table) -> BookMessages:
    """Return recorded deltas message by message; one whose end is missing ends where time or instrument change."""
    flags, ts, instrument = deltas["flags"], deltas["ts_event"], deltas["instrument"]
    begins = np.ones(len(deltas), bool)
    begins[1:] = (flags[:-1] & _LAST > 0) | (ts[1:] != ts[:-1]) | (instrument[1:] != instrument[:-1])
    begins |= flags & _CLEAR > 0
    of_row = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    stop = np.append(first[1:], len(deltas)).astype(np.int64)
    clear, side = flags & _CLEAR > 0, flags & _ASK
    image = clear[first][of_row] if len(first) else clear
    order = np.lexsort((np.arange(len(deltas)), side, ~clear, of_row))
    told = side | np.where(image, _SNAPSHOT, 0) | np.where(clear, _CLEAR, 0)
    told = told[order].astype("u1")
    told[stop - 1] |= _LAST
    columns = {"ts_event": ts, "instrument": instrument, "price": deltas["price"][order], "size": deltas["size"][order]}
    return BookMessages(from_columns(Kind.BOOK_DELTA, columns | {"flags": told}), first, stop, of_row)
