"""W4 beside hftbacktest, in one process and run: the same million updates, best bid and ask read after each.

hftbacktest is no dependency of ours. In an environment of its own: ``pip install hftbacktest pytest hypothesis``, then
this file with our package on ``PYTHONPATH``. It has no call that only sets a level, so its back-test's loop is timed:
with the exchange's book and the strategy's, as in any back-test, and, which is the least it can do, with the
strategy's book alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numba
import numpy as np
import pytest

from mdslib.book import OrderBook
from tests.bench.test_w4_book import RANGE, UPDATES, as_records, flow, hand, opening, ours

pytestmark = pytest.mark.bench

ROUNDS, TICK = 9, 0.01


def seconds(run: Callable[[], object]) -> float:
    """Return the processor's time: other work on the machine counts less."""
    start = time.process_time()
    run()
    return time.process_time() - start


@numba.njit
def uncross(bids, asks, side, tick, size):
    """Move what would cross next to the other side's best: hftbacktest takes away what is crossed, and we keep it."""
    best_bid, best_ask = len(bids) // 2 - 1, len(asks) // 2 + 1
    for i in range(len(tick)):
        if side[i] == 0:
            tick[i] = min(tick[i], best_ask - 1)
            bids[tick[i]] = size[i]
            best_bid = max(best_bid, tick[i])
            while bids[best_bid] == 0:
                best_bid -= 1
        else:
            tick[i] = max(tick[i], best_bid + 1)
            asks[tick[i]] = size[i]
            best_ask = min(best_ask, tick[i])
            while asks[best_ask] == 0:
                best_ask += 1


def events(hft, sides, ticks, sizes, both):
    """Return updates as hftbacktest takes them, a microsecond apart, for the strategy's book or for both."""
    rows = np.zeros(len(ticks), hft.types.event_dtype)
    rows["ev"] = hft.DEPTH_EVENT | hft.LOCAL_EVENT | (hft.EXCH_EVENT if both else 0)
    rows["ev"] |= np.where(sides == 0, np.uint64(hft.BUY_EVENT), np.uint64(hft.SELL_EVENT))
    rows["exch_ts"] = rows["local_ts"] = 1_000_000_000 + 1_000 * np.arange(len(ticks))
    rows["px"], rows["qty"] = ticks * TICK, sizes
    return rows


@numba.njit
def loop(hbt, skip):
    """Add up the best ticks after each update but the first `skip`."""
    total, seen = 0, 0
    depth = hbt.depth(0)
    while hbt.wait_next_feed(False, 10**18) == 2:
        seen += 1
        if seen > skip:
            total += depth.best_bid_tick + depth.best_ask_tick
    return total


def engine(hft, kind, rows):
    asset = hft.BacktestAsset().data([rows]).linear_asset(1.0).constant_order_latency(0, 0)
    asset = asset.risk_adverse_queue_model().no_partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
    asset = asset.tick_size(TICK).lot_size(1.0)
    if kind == "ROI":
        return hft.ROIVectorMarketDepthBacktest([asset.roi_lb(0.0).roi_ub(RANGE * TICK)])
    return hft.HashMapMarketDepthBacktest([asset])


def test_a_million_updates_are_at_least_five_times_as_fast_as_hftbacktests(capsys):
    hft = pytest.importorskip("hftbacktest", reason="hftbacktest is not installed: pip install hftbacktest")
    first, changes = opening(), flow(7)
    bids, asks = np.zeros(RANGE, np.int64), np.zeros(RANGE, np.int64)
    hand(bids, asks, *first)
    uncross(bids, asks, *changes)
    # hftbacktest says of the last update that the data have ended: so one more, which nobody looks at.
    every = [np.concatenate([*pair, pair[1][-1:]]) for pair in zip(first, changes, strict=True)]
    times: dict[str, list[float]] = {}
    for turn in range(ROUNDS + 1):
        bids, asks, mine = np.zeros(RANGE, np.int64), np.zeros(RANGE, np.int64), OrderBook(TICK)
        hand(bids, asks, *first)
        mine.apply(as_records(*first))
        totals: list[int] = []
        taken = {
            "hand": seconds(lambda: totals.append(hand(bids, asks, *changes))),  # noqa: B023
            "ours": seconds(lambda: totals.append(ours(mine.levels, *changes))),  # noqa: B023
        }
        for kind in ("ROI", "hash map"):
            for both in (False, True):
                rows = events(hft, *every, both)  # kept by this name: hftbacktest holds its address only
                theirs = engine(hft, kind, rows)
                name = f"hftbacktest {kind}, {'both books' if both else 'one book'}"
                taken[name] = seconds(lambda: totals.append(loop(theirs, len(first[0]))))  # noqa: B023
                theirs.close()
        assert len(set(totals)) == 1  # the same best prices, every one
        for name, value in taken.items() if turn else ():  # the first round compiled
            times.setdefault(name, []).append(value)
    fastest = {name: min(took) / UPDATES * 1e9 for name, took in times.items()}
    told = "\n".join(f"  {name:<32} {ns:6.1f} ns {ns / fastest['ours']:6.1f} x ours" for name, ns in fastest.items())
    with capsys.disabled():
        sys.stdout.write(f"\nW4 an update\n{told}\n")
    assert min(fastest[f"hftbacktest {kind}, both books"] for kind in ("ROI", "hash map")) >= 5.0 * fastest["ours"]
