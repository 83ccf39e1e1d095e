"""The texts of a book's levels as the venue wrote them, in order of price: what its checksums are computed over."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from mdslib.events import RECORD
from mdslib.feeds import wire_levels as kernels
from mdslib.feeds.form import FormReader
from mdslib.feeds.form_scan import COUNTS
from mdslib.jit import as_records, direct

_CAPACITY = 64  # levels of a side at first


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
        self._levels = kernels.empty(_CAPACITY)

    def __len__(self) -> int:
        return int(self._levels.count.sum())

    def put(self, side: int, price: float, text: str) -> None:
        """Set the text of a level; side 0 is bids, 1 asks.

        Raises
        ------
        ValueError
            If the text is longer than any number's.
        """
        data = text.encode()
        if len(data) >= kernels.WIDTH:
            raise ValueError(f"a level's text must be shorter than {kernels.WIDTH} bytes, received {text[:80]!r}")
        if self._levels.count[side] == self._levels.key.shape[1]:
            self._levels = kernels.larger(self._levels)
        kernels.put(self._levels, side, price, data)

    def drop(self, side: int, price: float) -> bool:
        """Delete a level; return whether it was there."""
        return bool(kernels.drop(self._levels, side, price))

    def best(self, side: int, count: int) -> list[str]:
        """Return the texts of the best levels, best first."""
        levels = self._levels
        last = int(levels.count[side])
        slots = levels.slot[side, max(0, last - count) : last][::-1]
        return [bytes(text[1 : 1 + text[0]]).decode() for text in levels.text[side, slots]]

    def truncate(self, side: int, depth: int) -> list[float]:
        """Drop the worst levels beyond `depth`; return their prices, worst first."""
        excess = int(self._levels.count[side]) - max(0, depth)  # a depth comes from the venue, and may be nonsense
        if excess <= 0:
            return []
        keys = self._levels.key[side, :excess].tolist()
        kernels.drop_worst(self._levels, side, excess)
        return [-key if side else key for key in keys]

    def deeper(self, depth: int) -> bool:
        """Tell whether a side has more levels than `depth`."""
        return bool((self._levels.count > depth).any())

    def clear(self) -> None:
        """Drop every level."""
        self._levels.count[:] = 0

    def keep(
        self,
        data: bytes,
        reader: FormReader,
        style: int,
        *,
        depth: int = 0,
        precision: tuple[int, int] = (kernels.AS_SENT, kernels.AS_SENT),
    ) -> bool:
        """Put the levels that `reader` found in a frame into the book.

        Parameters
        ----------
        data : bytes
            The frame.
        reader : FormReader
            After it has read the frame. Levels that fall out of the depth become records of it, too.
        style : int
            `wire_levels.KRAKEN` or `wire_levels.BITFINEX`. With the first, the checksum that the book has now is in
            the reader's `found`, if the frame has one.
        depth : int
            Levels kept of each side; 0 keeps all.
        precision : tuple of int
            Decimal places that the checksum's digits of price and size have; as sent, if negative.

        Returns
        -------
        bool
            False if the levels can't be kept exactly; then the book is as it was.
        """
        keep = _direct_keep()
        while True:
            answer = keep(
                self._levels, data, reader.block, reader.spans, reader.words, reader.first, depth, style, *precision
            )
            if answer != kernels.NO_ROOM:
                return answer == kernels.KEPT
            self._levels = kernels.larger(self._levels)


@cache
def _direct_keep() -> Callable[..., int]:
    arguments = (
        kernels.empty(1), b"{}", as_records(np.zeros(1, RECORD)), np.zeros((1, 6), np.int64),
        np.full(COUNTS + 3, COUNTS, np.int64), 0, 0, kernels.BITFINEX, kernels.AS_SENT, kernels.AS_SENT,
    )  # fmt: skip
    kernels.keep(*arguments)
    return direct(kernels.keep, *arguments)
