"""`OrderBook`: an order book by price level (L2), for people and for feeds."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from mdslib.book import levels as kernels
from mdslib.book.replay import MOST, NEAR, OFF_GRID, apply_deltas
from mdslib.errors import ConfigError, DataError
from mdslib.jit import as_records
from mdslib.protocols import Records

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
Ints = np.ndarray[tuple[int], np.dtype[np.int64]]

_WINDOW = 4096
_CAPACITY = 1024


class Top(NamedTuple):
    """The best levels of a book, best first.

    Attributes
    ----------
    bid, ask : array of float64
        Prices, in currency. A side is shorter than asked for where the book is.
    bid_size, ask_size : array of int64
        Sizes, in lots.
    """

    bid: Floats
    bid_size: Ints
    ask: Floats
    ask_size: Ints


class OffGrid(DataError):
    """A price that is no whole number of ticks; `row` is its record, the first that was not applied."""

    def __init__(self, text: str, row: int) -> None:
        super().__init__(text)
        self.row = row


class OrderBook:
    """An order book: the size at every price, best bid and ask known after every change.

    Prices are kept as whole ticks, sizes as whole lots. A change near the best price costs a few nanoseconds in
    compiled code; levels farther away than about `window` ticks are kept too, in a sorted list.

    Parameters
    ----------
    tick : float
        Smallest price step, in currency.
    depth : int
        Levels kept on each side after each message, where the venue drops what falls out of sight without a word; 0
        keeps all.
    window : int
        Ticks around the best price that are looked up directly; a power of two.

    Attributes
    ----------
    levels : mdslib.book.levels.Levels
        The arrays, for compiled code.

    Examples
    --------
    >>> book = OrderBook(tick=0.5)
    >>> book.set("bid", 100.0, 3), book.set("ask", 101.5, 2), book.set("bid", 99.5, 8)
    (None, None, None)
    >>> book.best_bid, book.best_ask, book.top(5).bid_size.tolist()
    (100.0, 101.5, [3, 8])
    >>> book.set("bid", 100.0, 0)
    >>> book.best_bid, book.crossed
    (99.5, False)
    """

    def __init__(self, tick: float, *, depth: int = 0, window: int = _WINDOW) -> None:
        if not (math.isfinite(tick) and tick > 0):
            raise ConfigError(f"OrderBook.tick must be > 0, received {tick!r}; take it from the venue's specification")
        if window < 16 or window & (window - 1):
            raise ConfigError(f"OrderBook.window must be a power of two and >= 16, received {window!r}; try {_WINDOW}")
        if depth < 0:
            raise ConfigError(f"OrderBook.depth must be >= 0, received {depth!r}; 0 keeps every level")
        self.depth = depth
        self._set_tick(Decimal(repr(float(tick))))
        self.levels: Any = kernels.empty_levels(window, _CAPACITY)
        self._tally = np.zeros(3, np.int64)

    def __repr__(self) -> str:
        bids, asks = self.counts
        return f"OrderBook({bids} bids up to {self.best_bid}, {asks} asks from {self.best_ask})"

    @property
    def tick(self) -> float:
        """Smallest price step, in currency."""
        return float(self._tick)

    @property
    def best_bid(self) -> float:
        """The highest bid, in currency; nan where there is none."""
        best = int(self.levels.state[0, kernels.BEST])
        return math.nan if best == kernels.NONE else best * self._up / self._down

    @property
    def best_ask(self) -> float:
        """The lowest ask, in currency; nan where there is none."""
        best = int(self.levels.state[1, kernels.BEST])
        return math.nan if best == kernels.NONE else -best * self._up / self._down

    @property
    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask, which no venue's book is between messages."""
        bid, ask = (int(best) for best in self.levels.state[:, kernels.BEST])
        return kernels.NONE not in (bid, ask) and bid >= -ask

    @property
    def counts(self) -> tuple[int, int]:
        """Number of bid levels and of ask levels."""
        return int(kernels.count_levels(self.levels, 0)), int(kernels.count_levels(self.levels, 1))

    @property
    def applied(self) -> int:
        """Levels that `apply` has set."""
        return int(self._tally[0])

    @property
    def messages(self) -> int:
        """Messages that `apply` has seen the end of."""
        return int(self._tally[1])

    @property
    def times_crossed(self) -> int:
        """Messages that `apply` has seen end with a crossed book."""
        return int(self._tally[2])

    def set(self, side: str, price: float, size: int) -> None:
        """Give one level its absolute size; 0 deletes it.

        Parameters
        ----------
        side : {"bid", "ask"}
            Which side.
        price : float
            In currency, on the tick grid.
        size : int
            In lots.

        Raises
        ------
        DataError
            If the price is off the grid or the size is negative.
        """
        if side not in ("bid", "ask"):
            raise DataError(f"OrderBook.set: side must be 'bid' or 'ask', received {side!r}")
        ticks = float(price) * self._per_price
        if not (abs(ticks) < MOST and abs(ticks - round(ticks)) <= NEAR * abs(ticks)):
            raise self._off_grid(price)
        if size < 0:
            raise _bad_size(price, size)
        number = int(side == "ask")
        while kernels.set_level(self.levels, number, round(ticks), int(size)) == kernels.FULL:
            self.levels = kernels.make_room(self.levels)

    def apply(self, records: Records) -> int:
        """Apply the BOOK_DELTA records of this book's instrument; others are passed over.

        Parameters
        ----------
        records : array of RECORD, shape (n,)
            In the tape's order.

        Returns
        -------
        int
            How many levels were set.

        Raises
        ------
        DataError
            If a price is off the grid (`OffGrid`) or a size negative; what came before it stays applied.
        """
        before = self.applied
        records = as_records(records)
        row, why = self._apply_from(records, 0)
        while row < len(records):
            record = records[row]
            if why == kernels.FULL:
                self.levels = kernels.make_room(self.levels)
            elif why == OFF_GRID:
                raise OffGrid(str(self._off_grid(record["f0"].item())), row)
            else:
                raise _bad_size(record["f0"].item(), record["i0"].item())
            row, why = self._apply_from(records, row)
        return self.applied - before

    def top(self, count: int) -> Top:
        """Return the best `count` levels of each side, as copies."""
        sides: list[Any] = []
        for side in (kernels.BID, kernels.ASK):
            price, size = np.zeros(count), np.zeros(count, np.int64)
            found = int(kernels.top_levels(self.levels, side, float(self._up), float(self._down), price, size))
            sides += [price[:found], size[:found]]
        return Top(*sides)

    def truncate(self, depth: int) -> None:
        """Drop the worst levels of each side beyond `depth`."""
        for side in (kernels.BID, kernels.ASK):
            kernels.truncate_side(self.levels, side, depth)

    def clear(self) -> None:
        """Drop every level."""
        for side in (kernels.BID, kernels.ASK):
            kernels.clear_side(self.levels, side)

    def refine(self, tick: float) -> None:
        """Change to a finer tick that divides the present one; levels keep their prices.

        A venue that quotes so many significant figures has a finer grid once its price has fallen.

        Raises
        ------
        ConfigError
            If it does not divide the present tick.
        DataError
            If a level's price would not be below 2**53 of the new ticks. The book stays as it was.
        """
        finer = Decimal(repr(float(tick)))
        ratio = self._tick / finer
        if ratio != ratio.to_integral_value() or ratio < 1:
            raise ConfigError(f"OrderBook.refine: the new tick must divide {self.tick!r}, received {tick!r}")
        full = self.top(max(self.counts))
        farthest = max(np.r_[full.bid, full.ask].tolist(), key=abs, default=0.0)
        if abs(farthest) / float(finer) >= MOST:
            raise DataError(
                f"OrderBook.refine: a price must be below 2**53 ticks, received the tick {tick!r} where a level lies at"
                f" {farthest!r}; keep the coarser one"
            )
        self.clear()
        self._set_tick(finer)
        for side, prices, sizes in (("bid", full.bid, full.bid_size), ("ask", full.ask, full.ask_size)):
            for price, size in zip(prices.tolist(), sizes.tolist(), strict=True):
                self.set(side, price, size)

    def _apply_from(self, records: Records, first: int) -> tuple[int, int]:
        row, why = apply_deltas(self.levels, records, first, self._per_price, self.depth, self._tally)
        return int(row), int(why)

    def _set_tick(self, tick: Decimal) -> None:
        self._tick = tick
        self._up, self._down = tick.as_integer_ratio()
        self._per_price = self._down / self._up

    def _off_grid(self, price: float) -> DataError:
        if abs(price) * self._per_price >= MOST:
            return DataError(
                f"OrderBook: a price must be below 2**53 ticks of {self.tick!r}, received {price!r}; "
                "make the book with the venue's tick, which is coarser"
            )
        return DataError(
            f"OrderBook: a price must be a multiple of the tick {self.tick!r}, received {price!r}; "
            "make the book with the venue's tick, or call refine() with a finer one"
        )


def _bad_size(price: float, size: int) -> DataError:
    return DataError(f"OrderBook: a size must be >= 0, received {size} at price {price!r}; 0 deletes the level")
