"""A recorded order book again: as it was at any time, and its best levels after every message."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mdslib.arguments import whole
from mdslib.book.book import Floats, Ints, OrderBook
from mdslib.book.images import image_of
from mdslib.book.levels import FULL, Levels, clear_side, empty_levels, make_room, set_level, top_levels
from mdslib.book.rows import book_rows
from mdslib.errors import ConfigError
from mdslib.events import BookFlag, Kind
from mdslib.jit import borrow, jit
from mdslib.table import Array, MarketData, merge

if TYPE_CHECKING:
    import pandas as pd

Prices = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Sizes = np.ndarray[tuple[int, int], np.dtype[np.int64]]

_ASK, _LAST, _CLEAR = int(BookFlag.ASK), int(BookFlag.LAST), int(BookFlag.CLEAR)
_SNAPSHOT = int(BookFlag.SNAPSHOT)
_WINDOW, _CAPACITY = 4096, 1024
_MOST_LEVELS = 1000
_CHUNK = 100_000  # rows that are records at a time, of 96 bytes each


@dataclass(frozen=True, eq=False)
class Tops:
    """The best levels of an order book after each message, and the figures of `mdslib.book.signals` for all of them.

    Attributes
    ----------
    ts_event : array of int64, shape (n,)
        Times of the messages, ns UTC.
    bid, ask : array of float64, shape (n, levels)
        Prices, best first; nan where the book has no such level.
    bid_size, ask_size : array of int64, shape (n, levels)
        Sizes in lots; 0 where there is no such level.
    image : array of bool, shape (n,)
        Whether the message is a whole image, or a gap: from a gap to the next image there is no book.
    """

    ts_event: Ints
    bid: Prices
    bid_size: Sizes
    ask: Prices
    ask_size: Sizes
    image: Array

    def __len__(self) -> int:
        return len(self.ts_event)

    def __repr__(self) -> str:
        return f"Tops({len(self):,} messages, {self.bid.shape[1]} levels)"

    @property
    def mid(self) -> Floats:
        """Middle of best bid and ask, shape (n,); nan where a side is empty."""
        found: Floats = (self.bid[:, 0] + self.ask[:, 0]) / 2.0
        return found

    @property
    def spread(self) -> Floats:
        """Best ask minus best bid, shape (n,); nan where a side is empty."""
        found: Floats = self.ask[:, 0] - self.bid[:, 0]
        return found

    @property
    def microprice(self) -> Floats:
        """Mean of best bid and ask, each weighted by the other side's size, shape (n,); nan where a side is empty."""
        bid_size, ask_size = self.bid_size[:, 0], self.ask_size[:, 0]
        with np.errstate(invalid="ignore"):
            found: Floats = (self.bid[:, 0] * ask_size + self.ask[:, 0] * bid_size) / (bid_size + ask_size)
        return found

    def depth_imbalance(self, levels: int = 1) -> Floats:
        """Return (bids - asks) / (bids + asks) of the sizes of the best levels, shape (n,); nan for an empty book."""
        levels = self._level("depth_imbalance(levels=...)", levels)
        bids, asks = (sizes[:, :levels].sum(axis=1) for sizes in (self.bid_size, self.ask_size))
        with np.errstate(invalid="ignore"):
            found: Floats = (bids - asks) / (bids + asks)
        return found

    def order_flow_imbalance(self, level: int = 1) -> Ints:
        """Return each message's order-flow imbalance at one level, in lots, shape (n,); 0 for the first and an image.

        See `mdslib.book.signals.order_flow_imbalance`, whose sums over time are what Cont, Kukanov and Stoikov set
        against the change of the price.
        """
        at = self._level("order_flow_imbalance(level=...)", level) - 1
        flow = np.zeros(len(self), np.int64)
        # A bid counts where it is not worse than before, what was there where it is not better; nan is neither.
        for price, size, sign in ((self.bid, self.bid_size, 1), (self.ask, self.ask_size, -1)):
            was, now = price[:-1, at] * sign, price[1:, at] * sign
            flow[1:] += sign * np.where(was > now, 0, size[1:, at])
            flow[1:] -= sign * np.where(now > was, 0, size[:-1, at])
        flow[1:][(self.bid_size[:-1, 0] == 0) & (self.ask_size[:-1, 0] == 0)] = 0
        flow[self.image] = 0
        return flow

    def between(self, start: int, end: int) -> Tops:
        """Return the messages with ``start <= ts_event < end`` (ns UTC), as views."""
        rows = slice(*np.searchsorted(self.ts_event, [start, end], side="left").tolist())
        bids, asks = (self.bid[rows], self.bid_size[rows]), (self.ask[rows], self.ask_size[rows])
        return Tops(self.ts_event[rows], *bids, *asks, self.image[rows])

    def to_pandas(self) -> pd.DataFrame:
        """Return a frame by ``ts_event`` (UTC) of ``bid_1``, ``bid_size_1``, ``ask_1``, ``ask_size_1``, ..."""
        import pandas as pd

        index = pd.DatetimeIndex(self.ts_event.view("M8[ns]"), name="ts_event").tz_localize("UTC")
        columns = {
            f"{name}_{at + 1}": getattr(self, name)[:, at]
            for at in range(self.bid.shape[1])
            for name in ("bid", "bid_size", "ask", "ask_size")
        }
        return pd.DataFrame(columns, index=index)

    def _level(self, where: str, level: int) -> int:
        return whole(f"Tops.{where}", level, 1, self.bid.shape[1])


def tops(data: MarketData, levels: int = 10, *, instrument: str | int | None = None) -> Tops:
    """Return the best levels of a recorded order book after each of its messages, from the first image on.

    A gap is a message that leaves no levels.

    Parameters
    ----------
    data : MarketData
        With book deltas, and gaps where there may be any.
    levels : int
        How many of each side; a message takes 32 bytes for each.
    instrument : str or int, optional
        Which one, where the data have several.

    Raises
    ------
    DataError
        There is no order book in the data, no image of it, or it is not said which one.

    Examples
    --------
    >>> from mdslib.store.madebook import made_books
    >>> best = tops(made_books(messages=500), levels=3)
    >>> best, best.spread.mean().item(), best.order_flow_imbalance()[:3].tolist()
    (Tops(500 messages, 3 levels), 2.338, [0, -5700000, 0])
    """
    levels = whole("tops(levels=...)", levels, 1, _MOST_LEVELS)
    rows = book_rows(data, instrument)
    last = (rows.flags & BookFlag.LAST) != 0
    count = int(last.sum())
    tick: Any = np.zeros((2, count, levels), np.int64)
    size = np.zeros_like(tick)
    book: Any = empty_levels(_WINDOW, _CAPACITY)
    at = np.zeros(2, np.int64)
    while not _tops(book, rows.tick, rows.size, rows.flags, at, tick, size):
        book = make_room(book)
    prices = np.where(size > 0, rows.prices(tick), np.nan)
    ends = np.flatnonzero(last)
    images = np.cumsum((rows.flags & (_CLEAR | _SNAPSHOT)) != 0)[ends]
    image = np.diff(images, prepend=0) > 0
    return Tops(rows.ts_event[last], prices[0], size[0], prices[1], size[1], image)


@jit
def _tops(book: Levels, tick: Ints, size: Ints, flags: Array, at: Ints, ticks: Any, sizes: Any) -> bool:
    """Apply the rows and copy the best levels after each message; False: stopped since the book had no room.

    `at` has the row and the message to go on with.
    """
    book = borrow(book)
    while at[0] < len(tick):
        row = at[0]
        flag = flags[row]
        if flag & _CLEAR:
            clear_side(book, 0)
            clear_side(book, 1)
        elif set_level(book, int(flag & _ASK), tick[row], size[row]) == FULL:
            return False
        if flag & _LAST:
            for side in (0, 1):
                top_levels(book, side, 1.0, 1.0, ticks[side, at[1]], sizes[side, at[1]])
            at[1] += 1
        at[0] += 1
    return True


def book_at(data: MarketData, time: str | datetime.datetime | int, *, instrument: str | int | None = None) -> OrderBook:
    """Return the order book as it was at a time: after the last message that was not later.

    Parameters
    ----------
    data : MarketData
        With book deltas, and gaps where there may be any.
    time : str, datetime or int
        ``"2025-06-12 14:30:00.5"`` (UTC unless it says otherwise), a time with a zone, or ns UTC.
    instrument : str or int, optional
        Which one, where the data have several.

    Returns
    -------
    OrderBook
        Empty where the time is before the first image, or between a gap and the next image.

    Raises
    ------
    DataError
        There is no order book in the data, no image of it, or it is not said which one.
    ConfigError
        The time is none.

    Examples
    --------
    >>> from mdslib.store.madebook import made_books
    >>> book = book_at(made_books(messages=500), "2025-06-12 12:00")
    >>> book, book.top(2).bid.tolist()
    (OrderBook(22 bids up to 90000.5, 18 asks from 90003.0), [90000.5, 90000.0])
    """
    until = _moment(time)
    rows = book_rows(data, instrument)
    ends = np.flatnonzero(((rows.flags & BookFlag.LAST) != 0) & (rows.ts_event <= until))
    stop = int(ends[-1]) + 1 if len(ends) else 0
    images = np.flatnonzero((rows.flags[:stop] & BookFlag.CLEAR) != 0)  # what came before an image is gone
    book = OrderBook(float(f"1e-{rows.places}"))
    for start in range(int(images[-1]) if len(images) else 0, stop, _CHUNK):
        book.apply(rows.table.slice(start, min(start + _CHUNK, stop)).to_records())
    return book


def cut(data: MarketData, start: str | datetime.datetime | int, end: str | datetime.datetime | int) -> MarketData:
    """Return a part of recorded data whose order books begin with an image of what they were.

    `MarketData.between` leaves out the image at the day's beginning, without which no book can be rebuilt.

    Parameters
    ----------
    data : MarketData
        With book deltas of any number of instruments.
    start, end : str, datetime or int
        As in `book_at`: events with ``start <= ts_event < end`` are kept, and each image has the time `start`.

    Raises
    ------
    DataError
        There is no order book in the data.
    ConfigError
        A time is none.

    Examples
    --------
    >>> from mdslib.store.madebook import made_books
    >>> noon = cut(made_books(messages=500), "2025-06-12 12:00", "2025-06-12 13:00")
    >>> len(noon.book_deltas), book_at(noon, "2025-06-12 12:00").best_bid
    (67, 90000.5)
    """
    first, last = _moment(start, "cut: start"), _moment(end, "cut: end")
    kept = data.between(first, last)
    images = [
        image_of(book_rows(data, place).table.between(0, first), place, first) for place in range(len(data.instruments))
    ]
    tables = [merge([*images, table]) if table.kind == Kind.BOOK_DELTA else table for table in kept.tables]
    return MarketData(kept.instruments, tuple(tables), kept.sessions)


def _moment(time: str | datetime.datetime | int, where: str = "book_at: time") -> int:
    import pandas as pd

    if isinstance(time, int):
        return time
    try:
        stamp = pd.Timestamp(time)
        stamp = stamp.tz_localize("UTC") if stamp.tz is None else stamp
        return int(stamp.as_unit("ns").value)
    except (ValueError, TypeError) as wrong:
        raise ConfigError(f"{where} must be a time, received {time!r}; try '2025-06-12 14:30'") from wrong
