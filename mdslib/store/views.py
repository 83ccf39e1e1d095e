"""Deltas of a book from rows that each show the top of it: what changed from row to row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mdslib.events import BookFlag
from mdslib.table import Array

_SIDES = (0, int(BookFlag.ASK))


class View(NamedTuple):
    """One side of a book in each row, shape (rows, levels); a level that is not there has the price nan.

    Attributes
    ----------
    price : array of float64
        In currency.
    size : array of int64
        In lots.
    orders : array of float64
        How many orders, nan where that is not told.
    """

    price: Array
    size: Array
    orders: Array


class _Changes(NamedTuple):
    """Levels that changed: the row that shows it, and what they are now; a size of 0 where they are gone."""

    row: Array
    price: Array
    size: Array
    orders: Array
    flags: Array


def deltas_of(times: dict[str, Array], bid: View, ask: View, images: Sequence[int] = (0,)) -> dict[str, Array]:
    """Return the columns of BOOK_DELTA that lead from each row's view to the next one's.

    A level that falls out of a view is deleted, so the book that results has the view's levels and no others.

    Parameters
    ----------
    times : dict of str to array of int64
        ``ts_event`` and, where it is known, ``ts_init`` of each row, in order.
    bid, ask : View
        What each row shows.
    images : sequence of int
        Rows at which a whole image begins, such as each day's first; the first row among them.

    Examples
    --------
    >>> def side(*prices): return View(np.array(prices)[:, None], np.full((2, 1), 5), np.full((2, 1), np.nan))
    >>> told = deltas_of({"ts_event": np.array([1, 2])}, side(9.0, 9.0), side(10.0, 11.0))
    >>> told["price"].tolist(), told["size"].tolist()
    ([nan, 9.0, 10.0, 10.0, 11.0], [0, 5, 5, 0, 5])
    """
    begins = np.zeros(len(times["ts_event"]), bool)
    begins[list(images)] = True
    rows = np.flatnonzero(begins)
    nothing = np.full(len(rows), np.nan)
    clear = np.full(len(rows), int(BookFlag.CLEAR | BookFlag.SNAPSHOT))
    parts = [_Changes(rows, nothing, np.zeros(len(rows), "<i8"), nothing, clear)]
    parts += [_changes(view, flag, begins) for view, flag in zip((bid, ask), _SIDES, strict=True)]
    found = _Changes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    # In a message the CLEAR comes first, then what is gone, then what is new: no side of it is ever too long.
    order = np.lexsort((found.size > 0, found.flags & int(BookFlag.CLEAR) == 0, found.row))
    found = _Changes(*(column[order] for column in found))
    last = np.append(found.row[1:] != found.row[:-1], True)
    columns = {name: column[found.row] for name, column in times.items()}
    flags = (found.flags | np.where(last, int(BookFlag.LAST), 0)).astype("u1")
    return columns | {"price": found.price, "size": found.size, "orders": found.orders, "flags": flags}


def _changes(view: View, flag: int, begins: Array) -> _Changes:
    """Compare each row's levels with those of the row before, by one sorted key of row and price."""
    known = np.isfinite(view.price) & (view.size > 0)
    price, size, orders = view.price[known], view.size[known], view.orders[known]
    row = np.nonzero(known)[0]
    distinct, rank = np.unique(price, return_inverse=True)
    count = max(len(distinct), 1)
    key = row * count + rank
    order = np.argsort(key)
    price, size, orders, row, key = price[order], size[order], orders[order], row[order], key[order]
    at, held = _find(key, key - count)
    same = held & (size[at] == size) & ((orders[at] == orders) | np.isnan(orders)) & ~begins[row]
    follows = row < len(begins) - 1
    gone = follows & ~_find(key, key + count)[1]
    gone[follows] &= ~begins[row[follows] + 1]
    flags = np.where(begins[row], flag | int(BookFlag.SNAPSHOT), flag)
    new = _Changes(row[~same], price[~same], size[~same], orders[~same], flags[~same])
    left = int(gone.sum())
    none = np.where(np.isnan(orders[gone]), np.nan, 0.0)
    empty = _Changes(row[gone] + 1, price[gone], np.zeros(left, "<i8"), none, np.full(left, flag))
    return _Changes(*(np.concatenate(pair) for pair in zip(new, empty, strict=True)))


def _find(keys: Array, wanted: Array) -> tuple[Array, Array]:
    """Return where each wanted key lies among sorted ones, and whether it does."""
    at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    return at, keys[at] == wanted


__all__ = ["View", "deltas_of"]
