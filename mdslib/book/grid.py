"""The price grid of a book whose venue does not say its tick: as fine as the prices that came."""

from __future__ import annotations

import math

import numpy as np

from mdslib.book.book import OrderBook
from mdslib.events import BookFlag, Kind
from mdslib.protocols import Records

_FINEST = 12  # decimal places of the finest grid that is tried


def on_grid(book: OrderBook | None, records: Records) -> OrderBook:
    """Return a book whose tick suits the records' prices too: `book` itself, made finer if need be, or a new one.

    Examples
    --------
    >>> from mdslib.events import RECORD
    >>> records = np.zeros(1, RECORD)
    >>> records["kind"], records["f0"] = int(Kind.BOOK_DELTA), 0.25
    >>> on_grid(None, records).tick
    0.01
    """
    rows = (records["kind"] == Kind.BOOK_DELTA) & ((records["flag"] & BookFlag.CLEAR) == 0)
    prices = records["f0"][rows]
    places = 0 if book is None else round(-math.log10(book.tick))
    while places < _FINEST:
        unit = 10.0**places
        if bool((np.rint(prices * unit) / unit == prices).all()):
            break
        places += 1
    if book is None:
        return OrderBook(_step(places))
    if places > round(-math.log10(book.tick)):
        book.refine(_step(places))
    return book


def _step(places: int) -> float:
    return float(f"1e-{places}")
