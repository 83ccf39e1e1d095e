"""Coinbase's channel `full`: a book of single orders by id, told as the sizes of its levels.

Source: Coinbase, "Exchange WebSocket Channels", `full`, and "Get product book", level 3. The channel has no snapshot of
its own: messages are kept until the book of orders was fetched by REST, then those that are newer are applied to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from mdslib.feeds.venue import Level

SIDES = {"buy": 0, "sell": 1}
_KEPT = 200_000  # messages that wait for the snapshot: some minutes of a busy pair
Lots = Callable[[str], int]


class Order(NamedTuple):
    """A resting order; `size` in lots."""

    side: int
    price: float
    size: int


class Orders:
    """One pair's resting orders.

    Attributes
    ----------
    sequence : int or None
        Of the latest message that is in the book; None before the snapshot.
    waiting : deque of dict
        Messages that came before the snapshot.

    Examples
    --------
    >>> orders = Orders(int)
    >>> snapshot = {"sequence": 5, "bids": [["100.5", "3", "a"], ["100.5", "4", "b"]], "asks": []}
    >>> [(level.price, level.size) for level in orders.load(snapshot)]
    [(100.5, 7)]
    >>> done = {"type": "done", "order_id": "a", "sequence": 6}
    >>> [(level.price, level.size) for level in orders.apply(done)]
    [(100.5, 4)]
    """

    def __init__(self, lots: Lots) -> None:
        self._lots = lots
        self._orders: dict[str, Order] = {}
        self._levels: dict[tuple[int, float], int] = {}
        self.sequence: int | None = None
        self.waiting: deque[dict[str, Any]] = deque(maxlen=_KEPT)

    def load(self, snapshot: dict[str, Any]) -> list[Level]:
        """Replace all orders by those of a level-3 snapshot; return the levels."""
        self._orders.clear()
        self._levels.clear()
        for side, key in ((0, "bids"), (1, "asks")):
            for price, size, number, *_ in snapshot[key]:
                self._put(number, Order(side, float(price), self._lots(size)))
        self.sequence = int(snapshot["sequence"])
        return [Level(side, price, size) for (side, price), size in self._levels.items()]

    def forget(self) -> None:
        """Drop everything; messages wait for a snapshot again."""
        self._orders.clear()
        self._levels.clear()
        self.sequence = None
        self.waiting.clear()

    def apply(self, message: dict[str, Any]) -> list[Level]:
        """Apply one message; return the levels that it changed, with their new sizes.

        Raises
        ------
        LookupError
            If a match is with an order that is not in the book, which is then not the venue's.
        """
        kind = message["type"]
        if kind == "open":
            order = Order(SIDES[message["side"]], float(message["price"]), self._lots(message["remaining_size"]))
            return self._put(message["order_id"], order)
        if kind == "done":
            return self._drop(message["order_id"])
        if kind == "match":
            return self._reduce(message["maker_order_id"], self._lots(message["size"]))
        return self._change(message) if kind == "change" else []

    def _put(self, number: str, order: Order) -> list[Level]:
        self._orders[number] = order
        return [self._move(order, order.size)]

    def _drop(self, number: str) -> list[Level]:
        order = self._orders.pop(number, None)  # an order that never rested is not in the book
        return [] if order is None else [self._move(order, -order.size)]

    def _reduce(self, number: str, size: int) -> list[Level]:
        order = self._orders.get(number)
        if order is None or order.size < size:
            raise LookupError(f"a match must be with an order of the book, received maker {number} for {size} lots")
        if order.size == size:
            return self._drop(number)
        self._orders[number] = order._replace(size=order.size - size)
        return [self._move(order, -size)]

    def _change(self, message: dict[str, Any]) -> list[Level]:
        number = message["order_id"]
        before = self._orders.get(number)
        if before is None:  # not resting yet: its `open` will tell the new size
            return []
        price = float(message.get("new_price") or before.price)
        size = self._lots(message["new_size"]) if "new_size" in message else before.size
        levels = self._drop(number)
        return levels + self._put(number, Order(before.side, price, size)) if size else levels

    def _move(self, order: Order, lots: int) -> Level:
        key = (order.side, order.price)
        size = self._levels.get(key, 0) + lots
        if size:
            self._levels[key] = size
        else:
            self._levels.pop(key, None)
        return Level(order.side, order.price, size)
