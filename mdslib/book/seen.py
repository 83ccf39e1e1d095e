"""The order books that a strategy sees: one for each instrument, and their best levels as arrays, inside a driver.

Each book finds its own price grid: it begins with whole units of currency, and takes on decimal places as prices come
that need them. So the books depend on the records alone, and are bit for bit the same in research, live and after a
restart. What a compiled loop can't do, it leaves to `mend`: more room, and a finer grid.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mdslib.book import levels
from mdslib.book.grid import FINEST, decimal_places
from mdslib.book.levels import DONE, FULL, Levels, clear_side, set_level, top_levels
from mdslib.book.replay import BAD_SIZE, MOST, NEAR, OFF_GRID, set_price
from mdslib.errors import DataError
from mdslib.events import BookFlag
from mdslib.jit import jit_inner, records
from mdslib.protocols import Records

_ASK, _LAST, _CLEAR = int(BookFlag.ASK), int(BookFlag.LAST), int(BookFlag.CLEAR)
_WINDOW, _CAPACITY = 2048, 512

# What `take_delta` answers beside why it stopped: FULL, OFF_GRID, BAD_SIZE.
HIDDEN = 0  # the message goes on, or there is no image of the book yet
SHOWN = -1  # the message has ended: the best levels are in `prices` and `sizes`

PAIR = np.dtype([("per_price", "<f8"), ("imaged", "<i8")])  # ticks in a unit of currency; 1 from the first image on


class Seen(NamedTuple):
    """The arrays of some books.

    Attributes
    ----------
    ring, sides, far_key, far_size : array
        `mdslib.book.levels.Levels` of all books: sides 2 k and 2 k + 1 are instrument k's.
    pairs : array of PAIR, shape (books,)
    prices : array of float64, shape (books, 2, depth)
        Best bids and best asks after the last message, best first; nan beyond the last level.
    sizes : array of int64, shape (books, 2, depth)
        In lots; 0 beyond the last level.
    """

    ring: np.ndarray
    sides: np.ndarray
    far_key: np.ndarray
    far_size: np.ndarray
    pairs: Records
    prices: np.ndarray
    sizes: np.ndarray


def new_seen(books: int, depth: int) -> Seen:
    """Return `books` empty books, of which `depth` levels a side are shown."""
    pairs = records(books, PAIR)
    pairs["per_price"] = 1.0
    shown = books, 2, depth
    return Seen(
        *levels.empty_levels(_WINDOW, _CAPACITY, books), pairs, np.full(shown, np.nan), np.zeros(shown, np.int64)
    )


@jit_inner
def take_delta(
    ring: np.ndarray,
    sides: np.ndarray,
    far_key: np.ndarray,
    far_size: np.ndarray,
    pairs: Records,
    prices: np.ndarray,
    sizes: np.ndarray,
    k: int,
    price: float,
    size: int,
    flags: int,
) -> int:
    """Apply one BOOK_DELTA to book `k`; at the end of its message, show the best levels.

    Returns
    -------
    int
        HIDDEN or SHOWN; or FULL, OFF_GRID, BAD_SIZE where it was not applied: `mend`, then call again.
    """
    book = Levels(ring, sides, far_key, far_size)
    pair = pairs[k]
    if flags & _CLEAR:
        clear_side(book, 2 * k)
        clear_side(book, 2 * k + 1)
        pair.imaged = 1
    else:
        answer = set_price(book, 2 * k + (flags & _ASK), price, size, pair.per_price)
        if answer != DONE:
            return answer
    if not flags & _LAST or pair.imaged == 0:
        return HIDDEN
    for side in range(2):
        found = top_levels(book, 2 * k + side, 1.0, pair.per_price, prices[k, side], sizes[k, side])
        for level in range(found, prices.shape[2]):
            prices[k, side, level] = np.nan
            sizes[k, side, level] = 0
    return SHOWN


def mend(seen: Seen, why: int, k: int, price: float, size: int, symbol: str) -> Seen:
    """Return the same books such that the delta that was not applied can be.

    Parameters
    ----------
    seen : Seen
    why : int
        What `take_delta` answered.
    k : int
        Instrument of the delta.
    price, size : float and int
        Of the delta.
    symbol : str
        The instrument's, for the error.

    Raises
    ------
    DataError
        Where no book can hold the delta: its size is negative, or its price has more decimals than are kept apart.
    """
    if why == FULL:
        return _with(seen, levels.make_room(_levels(seen)))
    if why == OFF_GRID and math.isfinite(price):
        places = decimal_places(np.array([price]), round(math.log10(seen.pairs[k]["per_price"])))
        refined = _refined(seen, k, 10.0**places)
        exact = price * 10.0**places
        if refined is not None and abs(exact) < MOST and abs(exact - round(exact)) <= NEAR * abs(exact):
            return refined
    rule, received = f"prices must have at most {FINEST} decimals, and be below 2**53 of their finest step", repr(price)
    if why == BAD_SIZE:
        rule, received = "a size must be >= 0", f"{size} at price {price!r}"
    raise DataError(
        f"book of {symbol}: {rule}, received {received} in a book delta; the recording is damaged (`mds data verify`"
        " tells), or its decoder is wrong"
    )


def with_capacity(seen: Seen, capacity: int) -> Seen:
    """Return books with room for `capacity` far levels a side, whose contents are about to be replaced."""
    far = np.zeros((2, len(seen.sides), capacity), np.int64)
    return seen._replace(far_key=far[0], far_size=far[1])


def _levels(seen: Seen) -> Levels:
    return Levels(seen.ring, seen.sides, seen.far_key, seen.far_size)


def _with(seen: Seen, book: Levels) -> Seen:
    return Seen(*book, seen.pairs, seen.prices, seen.sizes)


def _refined(seen: Seen, k: int, per_price: float) -> Seen | None:
    """Return the books, that of instrument `k` on a finer grid; None, and nothing changed, where it would not fit."""
    book = _levels(seen)
    ratio = round(per_price / seen.pairs[k]["per_price"])
    held = []
    for side in (2 * k, 2 * k + 1):
        count = int(levels.count_levels(book, side))
        ticks, sizes = np.zeros(count), np.zeros(count, np.int64)
        top_levels(book, side, 1.0, 1.0, ticks, sizes)
        held.append((side, ticks, sizes))
        if np.abs(ticks).max(initial=0.0) * ratio >= MOST:
            return None
    for side, ticks, sizes in held:
        clear_side(book, side)
        for tick, size in zip(ticks.tolist(), sizes.tolist(), strict=True):
            while set_level(book, side, int(tick) * ratio, size) == FULL:
                book = levels.make_room(book)
    seen.pairs["per_price"][k] = per_price
    return _with(seen, book)
