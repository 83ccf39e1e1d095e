"""A grid as fine as the prices that came."""

from __future__ import annotations

import numpy as np

from mdslib.book.grid import on_grid
from mdslib.events import RECORD, BookFlag, Kind


def deltas(*prices: float) -> np.ndarray:
    records = np.zeros(len(prices), RECORD)
    records["kind"], records["flag"], records["f0"], records["i0"] = int(Kind.BOOK_DELTA), int(BookFlag.LAST), prices, 3
    return records


def test_the_tick_is_the_coarsest_decimal_that_holds_every_price() -> None:
    assert on_grid(None, deltas(100.0, 250.0)).tick == 1.0
    assert on_grid(None, deltas(100.0, 0.125)).tick == 0.001


def test_a_finer_price_makes_the_grid_finer_and_keeps_the_levels() -> None:
    book = on_grid(None, deltas(100.0))
    book.apply(deltas(100.0))
    same = on_grid(book, deltas(100.05))
    assert same is book
    assert (book.tick, book.best_bid) == (0.01, 100.0)
