"""What waits for the deciding thread: any thread puts items in, and whoever holds the turn takes them all out."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

Item = tuple[Any, ...]


class Mailbox:
    """A queue with a bell. Taking out is for one thread at a time, the one that holds `turn`.

    Waiting does not take anything out, so an item is never in the hands of a thread that has not got the turn yet, and
    the order of arrival holds whoever takes it next.

    Attributes
    ----------
    turn : threading.Lock
        Held while items are taken out and dealt with.

    Examples
    --------
    >>> box = Mailbox()
    >>> box.put(("market", 1)); box.put(("market", 2))
    >>> box.wait(1.0), len(box), box.take(), len(box)
    (True, 2, [('market', 1), ('market', 2)], 0)
    """

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self._items: deque[Item] = deque()
        self._bell = threading.Event()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        """Add an item and ring."""
        self._items.append(item)
        if not self._bell.is_set():
            self._bell.set()

    def wait(self, seconds: float) -> bool:
        """Sleep until something waits, or for so long; tell whether something came."""
        return bool(self._items) or self._bell.wait(seconds)

    def take(self) -> list[Item]:
        """Return all that waits, oldest first."""
        items = self._items
        if not items and not self._bell.is_set():
            return []
        self._bell.clear()  # before taking: what comes later rings again; a bell without an item would never let sleep
        return [items.popleft() for _ in range(len(items))]
