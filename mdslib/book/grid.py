"""The price grid of a book whose venue does not say its tick: as fine as the prices that came."""

from __future__ import annotations

import math

import numpy as np

from mdslib.book.book import Floats, OffGrid, OrderBook
from mdslib.book.replay import NEAR
from mdslib.events import BookFlag, Kind
from mdslib.protocols import Records

FINEST = 12  # decimal places of the finest grid that is tried


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
    places = decimal_places(prices, 0 if book is None else round(-math.log10(book.tick)))
    if book is None:
        return OrderBook(_step(places))
    if places > round(-math.log10(book.tick)):
        book.refine(_step(places))
    return book


def apply_on_grid(book: OrderBook | None, records: Records) -> OrderBook:
    """Apply records of one instrument to its book, made finer where a price asks for it; return the book.

    Parameters
    ----------
    book : OrderBook or None
        None makes one.
    records : array of RECORD
        In the tape's order.

    Raises
    ------
    DataError
        If a price is on no grid that can be, or a size negative; what came before it stays applied.

    Examples
    --------
    >>> from mdslib.events import RECORD
    >>> records = np.zeros(2, RECORD)
    >>> records["kind"], records["f0"], records["i0"] = int(Kind.BOOK_DELTA), (10.0, 10.25), 1
    >>> apply_on_grid(OrderBook(1.0), records)
    OrderBook(2 bids up to 10.25, 0 asks from nan)
    """
    made = on_grid(None, records) if book is None else book
    while True:
        try:
            made.apply(records)
        except OffGrid as error:
            tick, records = made.tick, records[error.row :]
            if on_grid(made, records).tick == tick:
                raise
        else:
            return made


def decimal_places(prices: Floats, least: int = 0) -> int:
    """Return how many decimal places hold every price, as `mdslib.book.replay` has it: at least `least`, at most 12.

    Examples
    --------
    >>> decimal_places(np.array([100.0, 0.125]))
    3
    """
    places = least
    while places < FINEST:
        exact = prices * 10.0**places
        if bool((np.abs(exact - np.rint(exact)) <= NEAR * np.abs(exact)).all()):
            break
        places += 1
    return places


def _step(places: int) -> float:
    return float(f"1e-{places}")
