"""Figures of an order book, for a strategy's step: mid, spread, microprice, imbalance of depth and of order flow.

Each takes a book as the step gets it: anything with the arrays `bid`, `bid_size`, `ask` and `ask_size`, best level
first, price nan and size 0 where there is none. They must have as many levels as are asked for: compiled code does not
look. For all messages of a day at once, see `mdslib.book.history.Tops`.
"""

from __future__ import annotations

import math
from typing import Any

from mdslib.jit import jit


@jit
def mid(book: Any) -> float:
    """Return the middle of best bid and best ask, in currency; nan where a side is empty.

    Examples
    --------
    >>> from mdslib.book import OrderBook
    >>> book = OrderBook(tick=0.5)
    >>> book.set("bid", 100.0, 3), book.set("ask", 101.0, 1)
    (None, None)
    >>> top = book.top(1)
    >>> mid(top), spread(top), microprice(top), depth_imbalance(top, 1)
    (100.5, 1.0, 100.75, 0.5)
    """
    return float((book.bid[0] + book.ask[0]) / 2.0)


@jit
def spread(book: Any) -> float:
    """Return best ask minus best bid, in currency; nan where a side is empty."""
    return float(book.ask[0] - book.bid[0])


@jit
def microprice(book: Any) -> float:
    """Return the mean of best bid and ask, each weighted by the *other* side's size; nan where a side is empty.

    It leans towards the side that is the thinner, and so the likelier to go. Also called weighted mid-price; Stoikov's
    microprice (2018) is an estimate that begins from it.
    """
    bid_size, ask_size = book.bid_size[0], book.ask_size[0]
    if bid_size + ask_size == 0:
        return math.nan
    return float((book.bid[0] * ask_size + book.ask[0] * bid_size) / (bid_size + ask_size))


@jit
def depth_imbalance(book: Any, levels: int) -> float:
    """Return (bids - asks) / (bids + asks) of the sizes of the best levels: 1 is bids only, nan an empty book."""
    bids = 0
    asks = 0
    for level in range(levels):
        bids += book.bid_size[level]
        asks += book.ask_size[level]
    if bids + asks == 0:
        return math.nan
    return float((bids - asks) / (bids + asks))


@jit
def order_flow_imbalance(before: Any, book: Any, level: int) -> int:
    """Return what demand grew by, less what supply grew by, from one book to the next, in lots, at one level.

    A bid that got better counts its whole size, one that got worse minus the size it had, one that stayed its change;
    an ask the other way round. A level that was or is not there counts as worse than any. From an empty book nothing is
    counted: the first message is no flow. A later image, as after a gap, is counted, since a step is not told of it;
    `Tops.order_flow_imbalance` leaves it out.

    Parameters
    ----------
    before, book : book
        As it was, and is; see `remember`.
    level : int
        1 is the best price, as in the paper; deeper levels as Xu, Gould and Howison, "Multi-level order-flow imbalance
        in a limit order book" (2018).

    Notes
    -----
    Source: R. Cont, A. Kukanov, S. Stoikov, "The price impact of order book events", Journal of Financial Econometrics
    12 (2014), 47-88.

    Examples
    --------
    >>> from mdslib.book import OrderBook
    >>> book = OrderBook(tick=0.5)
    >>> book.set("bid", 100.0, 3), book.set("ask", 101.0, 1)
    (None, None)
    >>> before = book.top(1)
    >>> book.set("bid", 100.5, 7), book.set("ask", 101.0, 5)  # 7 lots more to buy, 4 more to sell
    (None, None)
    >>> order_flow_imbalance(before, book.top(1), 1)
    3
    """
    if before.bid_size[0] == 0 and before.ask_size[0] == 0:
        return 0
    at = level - 1
    was, now = before.bid[at], book.bid[at]
    flow = 0
    if not was > now:  # true too where there was none
        flow += book.bid_size[at]
    if not now > was:
        flow -= before.bid_size[at]
    was, now = before.ask[at], book.ask[at]
    if not was < now:
        flow -= book.ask_size[at]
    if not now < was:
        flow += before.ask_size[at]
    return int(flow)


@jit
def remember(before: Any, book: Any) -> None:
    """Copy a book into `before`, for the next message; of a state with the same four arrays, made with `no_book`."""
    for level in range(len(before.bid)):
        before.bid[level] = book.bid[level]
        before.ask[level] = book.ask[level]
        before.bid_size[level] = book.bid_size[level]
        before.ask_size[level] = book.ask_size[level]
