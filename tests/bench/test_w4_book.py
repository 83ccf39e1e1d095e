"""W4: 1 M level-2 updates with best bid and ask read after each, beside a hand-written book in the same run.

The hand-written book is two arrays by price tick over the whole range of the day, which a program can only have that
knows the range before; ours has a window that follows the price, and takes any price.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numba
import numpy as np
import pytest

from mdslib.book import OrderBook
from mdslib.book.levels import ASK, BID, FULL, best_ask, best_bid, set_level
from mdslib.events import RECORD, BookFlag, Kind
from mdslib.jit import borrow, jit

pytestmark = pytest.mark.bench

UPDATES, ROUNDS, RANGE = 1_000_000, 9, 1 << 16


@numba.njit(nogil=True)
def hand(bids, asks, side, tick, size):
    """Set each level and add up the best prices."""
    best_bid, best_ask = len(bids) // 2 - 1, len(asks) // 2 + 1
    total = 0
    for i in range(len(tick)):
        at = tick[i]
        if side[i] == 0:
            bids[at] = size[i]
            if size[i] > 0:
                if at > best_bid:
                    best_bid = at
            elif at == best_bid:
                while best_bid >= 0 and bids[best_bid] == 0:
                    best_bid -= 1
        else:
            asks[at] = size[i]
            if size[i] > 0:
                if at < best_ask:
                    best_ask = at
            elif at == best_ask:
                while best_ask < len(asks) and asks[best_ask] == 0:
                    best_ask += 1
        total += best_bid + best_ask
    return total


@jit
def ours(book, side, tick, size):
    book = borrow(book)
    total = 0
    for i in range(len(tick)):
        if set_level(book, side[i], tick[i], size[i]) == FULL:
            return -1
        total += best_bid(book) + best_ask(book)
    return total


def flow(seed: int):
    """Return sides, ticks and sizes of a market that wanders: most changes near the best price, a third deletes."""
    rng = np.random.default_rng(seed)
    middle = RANGE // 2 + np.cumsum(rng.integers(-1, 2, UPDATES) * (rng.random(UPDATES) < 0.1))
    side = rng.integers(0, 2, UPDATES)
    away = 1 + np.minimum(rng.geometric(0.12, UPDATES), 900)
    size = np.where(rng.random(UPDATES) < 0.33, 0, rng.integers(1, 5000, UPDATES))
    return side, middle + np.where(side == BID, -away, away), size


def opening():
    """Return a book that both begin with, so that neither side is ever empty."""
    near = np.arange(1, 1001)
    ticks = np.concatenate([RANGE // 2 - near, RANGE // 2 + near])
    return np.repeat([BID, ASK], 1000), ticks, np.ones(2000, np.int64)


def as_records(sides, ticks, sizes):
    records = np.zeros(len(ticks), RECORD)
    records["kind"], records["flag"] = Kind.BOOK_DELTA, np.where(sides == ASK, BookFlag.ASK, 0) | BookFlag.LAST
    records["f0"], records["i0"] = ticks * 0.01, sizes
    return records


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def test_a_million_updates_cost_at_most_one_and_a_half_times_the_hand_written_book(capsys):
    first, changes = opening(), flow(7)
    begin, records = as_records(*first), as_records(*changes)
    times: dict[str, list[float]] = {"hand": [], "kernel": [], "OrderBook.apply": []}
    for turn in range(ROUNDS + 1):
        bids, asks = np.zeros(RANGE, np.int64), np.zeros(RANGE, np.int64)
        mine, applied = OrderBook(0.01), OrderBook(0.01)
        hand(bids, asks, *first)
        mine.apply(begin)
        applied.apply(begin)
        totals: list[int] = []
        taken = {
            "hand": seconds(lambda: totals.append(hand(bids, asks, *changes))),  # noqa: B023
            "kernel": seconds(lambda: totals.append(ours(mine.levels, *changes))),  # noqa: B023
            "OrderBook.apply": seconds(lambda: applied.apply(records)),  # noqa: B023
        }
        assert totals[0] == totals[1]
        assert np.flatnonzero(bids).tolist() == sorted(
            round(price * 100) for price in mine.top(max(mine.counts)).bid.tolist()
        )
        assert (applied.best_bid, applied.best_ask) == (mine.best_bid, mine.best_ask)
        if turn:  # the first round compiled
            for name, value in taken.items():
                times[name].append(value)
    median = {name: statistics.median(values) for name, values in times.items()}
    ratio = statistics.median(a / b for a, b in zip(times["kernel"], times["hand"], strict=True))
    per = {name: f"{value / UPDATES * 1e9:.1f} ns" for name, value in median.items()}
    with capsys.disabled():
        told = ", ".join(f"{name} {spent}" for name, spent in per.items())
        sys.stdout.write(f"\nW4 an update: {told}; kernel {ratio:.2f} x the hand-written book\n")
    assert ratio <= 1.5
