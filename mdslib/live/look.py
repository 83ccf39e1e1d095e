"""A first look at a frame's records: market events of the session, or something to look at more closely."""

from __future__ import annotations

from collections.abc import Callable

import numba

from mdslib.events import RECORD, Kind
from mdslib.jit import direct, records
from mdslib.protocols import Records

# Part of the tape's format, so never stale.
_TRADE, _QUOTE, _BAR, _DELTA = int(Kind.TRADE), int(Kind.QUOTE), int(Kind.BAR), int(Kind.BOOK_DELTA)

# Cached: a leaf, like those of `mdslib.tape.crc`.
_jit = numba.njit(nogil=True, cache=True)


@_jit
def look(arrived, opened, close):  # type: ignore[no-untyped-def]
    """Return how many market events are among the records, or -1 where a record is not of opened <= time < close.

    Trades, quotes, bars and levels of books count.

    Examples
    --------
    >>> arrived = records(2, RECORD)
    >>> arrived["kind"], arrived["ts_event"] = int(Kind.TRADE), (5, 9)
    >>> look(arrived, 5, 10), look(arrived, 6, 10), look(arrived, 5, 9)
    (2, -1, -1)
    """
    events = 0
    for row in range(len(arrived)):
        ts, kind = arrived[row].ts_event, arrived[row].kind
        if ts < opened or ts >= close:
            return -1
        if kind in (_TRADE, _QUOTE, _BAR, _DELTA):
            events += 1
    return events


def direct_look() -> Callable[[Records, int, int], int]:
    """Return `look` compiled, or loaded, for records and times."""
    nothing = records(0, RECORD)
    look(nothing, 0, 0)
    return direct(look, nothing, 0, 0)
