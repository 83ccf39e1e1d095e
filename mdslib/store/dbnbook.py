"""Books of Databento's ``mbo`` (order by order) and ``mbp-10`` (ten levels after each event) as deltas of levels.

Source: databento.com/docs, Schemas and data formats: MBO, MBP-10; Standards and conventions: action, flags. A trade
and a fill say what happened and change no book; the cancel or the change that follows them does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mdslib.events import BookFlag
from mdslib.store.views import View, deltas_of
from mdslib.table import Array

PRICE = 1e9  # prices are whole counts of 1e-9
UNDEFINED = 2**63 - 1
F_LAST, F_SNAPSHOT, F_MAYBE_BAD_BOOK = 128, 32, 4
_LEVELS = 10
_ASK, _SNAPSHOT, _LAST = int(BookFlag.ASK), int(BookFlag.SNAPSHOT), int(BookFlag.LAST)
_CLEAR = int(BookFlag.CLEAR | BookFlag.SNAPSHOT)

Row = list[Any]  # ts_event, ts_init, price, size, orders, sequence, flags
COLUMNS = ("ts_event", "ts_init", "price", "size", "orders", "sequence", "flags")
_FLAGS = COLUMNS.index("flags")


class OrdersBook:
    """One instrument's resting orders, and the deltas of levels that their changes make.

    Attributes
    ----------
    unknown : int
        Cancels of orders that were there before the file began.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.unknown = 0
        self._orders: dict[int, tuple[int, int, int]] = {}  # side, price, size
        self._levels: tuple[dict[int, list[int]], dict[int, list[int]]] = ({}, {})  # price: size, orders
        self._open = False  # the last row's message has not ended

    def receive(self, record: Any) -> None:
        """Take one record, and note what it changes."""
        action, order, flags = str(record.action), record.order_id, record.flags
        snapshot = _SNAPSHOT if flags & F_SNAPSHOT else 0
        if action == "R":
            self._clear()
            self._note(record, np.nan, 0, np.nan, _CLEAR)
        elif action in ("A", "M"):
            side = {"B": 0, "A": 1}.get(str(record.side))
            if side is not None and record.price != UNDEFINED:
                self._take(record, order, None, snapshot)
                self._orders[order] = (side, record.price, record.size)
                self._change(record, side, record.price, record.size, 1, snapshot)
        elif action == "C":
            self._take(record, order, record.size, snapshot)
        if flags & F_LAST and self._open:
            self.rows[-1][_FLAGS] |= _LAST
            self._open = False

    def image(self, record: Any) -> None:
        """Note the whole book, as a day begins with it."""
        self._note(record, np.nan, 0, np.nan, _CLEAR)
        for side, levels in enumerate(self._levels):
            for price, (size, orders) in levels.items():
                self._note(record, price / PRICE, size, orders, side * _ASK | _SNAPSHOT)
        self.rows[-1][_FLAGS] |= _LAST
        self._open = False

    def _take(self, record: Any, order: int, size: int | None, snapshot: int) -> None:
        """Take so much of an order away; None is all, for the one that comes in its place."""
        held = self._orders.pop(order, None)
        if held is None:
            self.unknown += size is not None
            return
        side, price, before = held
        left = 0 if size is None else max(before - size, 0)
        if left:
            self._orders[order] = (side, price, left)
        if size is None and (side, price) == ({"B": 0, "A": 1}.get(str(record.side)), record.price):
            self._add(side, price, -before, -1)  # the same level gets the order's new size in a moment
            return
        self._change(record, side, price, left - before, 0 if left else -1, snapshot)

    def _change(self, record: Any, side: int, price: int, size: int, orders: int, flags: int) -> None:
        total = self._add(side, price, size, orders)
        self._note(record, price / PRICE, total[0], total[1], side * _ASK | flags)

    def _add(self, side: int, price: int, size: int, orders: int) -> tuple[int, int]:
        level = self._levels[side].setdefault(price, [0, 0])
        level[0] += size
        level[1] += orders
        if level[0] <= 0:
            del self._levels[side][price]
        return max(level[0], 0), max(level[1], 0)

    def _clear(self) -> None:
        self._orders.clear()
        for levels in self._levels:
            levels.clear()

    def _note(self, record: Any, price: float, size: int, orders: float, flags: int) -> None:
        self.rows.append([record.ts_event, record.ts_recv, price, size, orders, record.sequence, flags])
        self._open = True


def columns_of(rows: Sequence[Row]) -> dict[str, Array]:
    """Return noted rows as columns of BOOK_DELTA."""
    types = ("<i8", "<i8", "<f8", "<i8", "<f8", "<i8", "u1")
    told = zip(*rows, strict=True)
    return {name: np.array(values, kind) for name, values, kind in zip(COLUMNS, told, types, strict=True)}


def deltas_of_ten(records: Sequence[Any], images: Sequence[int]) -> dict[str, Array]:
    """Return the deltas that lead from each record's ten levels to the next one's."""
    rows = np.frombuffer(b"".join(map(bytes, records)), np.dtype(type(records[0])._dtypes))
    sides = {}
    for side in ("bid", "ask"):
        price, size, orders = (
            np.stack([rows[f"{side}_{what}_{level:02}"] for level in range(_LEVELS)], axis=1)
            for what in ("px", "sz", "ct")
        )
        sides[side] = View(
            np.where(price == UNDEFINED, np.nan, price / PRICE), size.astype("<i8"), orders.astype("<f8")
        )
    times = {"ts_event": rows["ts_event"].astype("<i8"), "ts_init": rows["ts_recv"].astype("<i8")}
    return deltas_of(times, sides["bid"], sides["ask"], images)


__all__ = ["F_MAYBE_BAD_BOOK", "PRICE", "UNDEFINED", "OrdersBook", "columns_of", "deltas_of_ten"]
