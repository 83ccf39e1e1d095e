"""Best prices of recorded books after each message."""

from __future__ import annotations

import heapq

import numpy as np

from mdslib.events import BookFlag, Kind
from mdslib.table import Table, from_columns

_ASK, _LAST, _CLEAR = int(BookFlag.ASK), int(BookFlag.LAST), int(BookFlag.CLEAR)


def tops_of(deltas: Table) -> Table:
    """Return the best bid and ask of each book as quotes, one after each message.

    Plain Python, about a microsecond a row: nothing is compiled for a look at a day.

    Parameters
    ----------
    deltas : Table of BOOK_DELTA
        Of any number of instruments; a message ends with the flag LAST.

    Returns
    -------
    Table of QUOTE
        A row a message, with its time and instrument. A side without levels has price nan and size 0.

    Examples
    --------
    >>> columns = {"ts_event": [1, 1, 2], "price": [9.5, 10.0, 9.5], "size": [3, 4, 0], "flags": [0, 3, 2]}
    >>> quotes = tops_of(from_columns(Kind.BOOK_DELTA, columns))
    >>> quotes["bid"].tolist(), quotes["ask"].tolist(), quotes["ask_size"].tolist()
    ([9.5, nan], [10.0, 10.0], [4, 4])
    """
    books: dict[int, tuple[_Side, _Side]] = {}
    told: list[tuple[float, int, float, int]] = []
    columns = (deltas[name].tolist() for name in ("instrument", "price", "size", "flags"))
    for k, price, size, flags in zip(*columns, strict=True):
        if flags & _CLEAR or k not in books:
            books[k] = (_Side(), _Side())
        bids, asks = books[k]
        if not flags & _CLEAR:
            (asks if flags & _ASK else bids).put(price if flags & _ASK else -price, size)
        if flags & _LAST:
            bid, ask = bids.best(), asks.best()
            told.append((-bid[0], bid[1], *ask))
    ends = np.flatnonzero(deltas["flags"] & _LAST)
    best = {name: [row[at] for row in told] for at, name in enumerate(("bid", "bid_size", "ask", "ask_size"))}
    return from_columns(
        Kind.QUOTE, {"ts_event": deltas["ts_event"][ends], "instrument": deltas["instrument"][ends]} | best
    )


class _Side:
    """One side's levels; the best has the smallest key."""

    def __init__(self) -> None:
        self.sizes: dict[float, int] = {}
        self.keys: list[float] = []  # a heap; keys of levels that have gone are passed over

    def put(self, key: float, size: int) -> None:
        if not size:
            self.sizes.pop(key, None)
            return
        if key not in self.sizes:
            heapq.heappush(self.keys, key)
        self.sizes[key] = size

    def best(self) -> tuple[float, int]:
        while self.keys and self.keys[0] not in self.sizes:
            heapq.heappop(self.keys)
        return (self.keys[0], self.sizes[self.keys[0]]) if self.keys else (float("nan"), 0)
