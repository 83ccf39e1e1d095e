"""The texts of a book's levels as the venue wrote them, in order of price: what its checksums are computed over."""

from __future__ import annotations

from bisect import bisect_left


class WireBook:
    """One text for each level of both sides. Prices are floats: each decimal price has exactly one.

    Examples
    --------
    >>> book = WireBook()
    >>> for price in (99.5, 100.0, 98.0):
    ...     book.put(0, price, str(price))
    >>> book.best(0, 2), book.truncate(0, 1), book.best(0, 2)
    (['100.0', '99.5'], [98.0, 99.5], ['100.0'])
    """

    def __init__(self) -> None:
        self._texts: tuple[dict[float, str], dict[float, str]] = ({}, {})
        # Ascending by goodness: a bid's key is its price, an ask's minus its price; the best is the last.
        self._keys: tuple[list[float], list[float]] = ([], [])

    def __len__(self) -> int:
        return len(self._texts[0]) + len(self._texts[1])

    def put(self, side: int, price: float, text: str) -> None:
        """Set the text of a level; side 0 is bids, 1 asks."""
        texts = self._texts[side]
        if price not in texts:
            keys = self._keys[side]
            key = -price if side else price
            keys.insert(bisect_left(keys, key), key)
        texts[price] = text

    def drop(self, side: int, price: float) -> bool:
        """Delete a level; return whether it was there."""
        if self._texts[side].pop(price, None) is None:
            return False
        keys = self._keys[side]
        del keys[bisect_left(keys, -price if side else price)]
        return True

    def best(self, side: int, count: int) -> list[str]:
        """Return the texts of the best levels, best first."""
        texts = self._texts[side]
        keys = self._keys[side][: -count - 1 : -1]
        return [texts[-key] for key in keys] if side else [texts[key] for key in keys]

    def truncate(self, side: int, depth: int) -> list[float]:
        """Drop the worst levels beyond `depth`; return their prices, worst first."""
        keys = self._keys[side]
        excess = len(keys) - depth
        if excess <= 0:
            return []
        dropped = [-key if side else key for key in keys[:excess]]
        del keys[:excess]
        for price in dropped:
            del self._texts[side][price]
        return dropped

    def deeper(self, depth: int) -> bool:
        """Tell whether a side has more levels than `depth`."""
        return len(self._keys[0]) > depth or len(self._keys[1]) > depth

    def clear(self) -> None:
        """Drop every level."""
        for side in (0, 1):
            self._texts[side].clear()
            self._keys[side].clear()
