"""Ids that were seen lately, so that a trade which a venue sends twice counts once."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Id = TypeVar("Id", int, str)


class Recent(Generic[Id]):
    """The latest ids, at most `size` of them.

    Examples
    --------
    >>> seen = Recent[int](2)
    >>> [seen.add(number) for number in (7, 7, 8, 9, 7)]
    [True, False, True, True, True]
    """

    def __init__(self, size: int = 10_000) -> None:
        self._order: deque[Id] = deque()
        self._known: set[Id] = set()
        self._size = size

    def add(self, number: Id) -> bool:
        """Remember an id; return whether it is new."""
        if number in self._known:
            return False
        self._known.add(number)
        self._order.append(number)
        if len(self._order) > self._size:
            self._known.discard(self._order.popleft())
        return True
