"""A first look at a frame's records: market events of the session, or something to look at more closely."""

from __future__ import annotations

from collections.abc import Callable

import numba

from mdslib.events import RECORD, Kind
from mdslib.jit import direct, records
from mdslib.protocols import Records

_TRADE, _QUOTE, _BAR = int(Kind.TRADE), int(Kind.QUOTE), int(Kind.BAR)  # part of the tape's format, so never stale

# Cached: a leaf, like those of `mdslib.tape.crc`.
_jit = numba.njit(nogil=True, cache=True)


@_jit
def look(arrived, opened, close):  # type: ignore[no-untyped-def]
    """Return how many trades, quotes and bars are among the records, or -1 where one is not of opened <= time < close.

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
        if kind in (_TRADE, _QUOTE, _BAR):
            events += 1
    return events


def direct_look() -> Callable[[Records, int, int], int]:
    """Return `look` compiled, or loaded, for records and times."""
    nothing = records(0, RECORD)
    look(nothing, 0, 0)
    return direct(look, nothing, 0, 0)
