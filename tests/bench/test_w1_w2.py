"""W1 and W2: fold and back-test through the public API beside hand-written compiled loops, and one event from Python.

Other work may share the machine, so runs alternate, what counts is the processor time of the one thread that all of
them use, and the bounds are on the median of the ratios of runs side by side. Everything is compiled before that. The
hand loops take their moduli and windows at run time, as a model takes its parameters.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numba
import numpy as np
import pytest

from mdslib import Instrument, backtest, find_model
from mdslib.events import RECORD, Kind
from mdslib.strategy.fold import Fold
from mdslib.table import MarketData, from_columns, trades

pytestmark = pytest.mark.bench

TRADES, BARS, ROUNDS = 10_000_000, 1_000_000, 20


@numba.njit(nogil=True)
def hand_modulo(price, size, sell_modulus, buy_modulus, shares, bps, row, qty, paid):
    """Decide on each trade, fill at the next, keep position and cash, list the orders."""
    position = 0.0
    cash = 0.0
    pending = 0.0
    filled = 0
    count = 0
    for i in range(len(size)):
        if pending != 0.0:
            px = price[i]
            position += pending
            cash -= pending * px + abs(pending) * px * bps * 1e-4
            paid[filled] = px
            filled += 1
            pending = 0.0
        volume = size[i]
        if volume % sell_modulus == 0:
            row[count] = i
            qty[count] = -shares
            count += 1
            pending = -shares
        elif volume % buy_modulus == 0:
            row[count] = i
            qty[count] = shares
            count += 1
            pending = shares
    return count, filled, position, cash


@numba.njit(nogil=True)
def hand_average(open_, close, fast, slow, shares, bps, row, qty, paid):
    """Be long while the fast mean of closes is above the slow one, else short; fill at the next bar's open."""
    ring = np.zeros(slow)
    fast_sum = 0.0
    slow_sum = 0.0
    position = 0.0
    cash = 0.0
    pending = 0.0
    filled = 0
    count = 0
    for i in range(len(close)):
        if pending != 0.0:
            px = open_[i]
            position += pending
            cash -= pending * px + abs(pending) * px * bps * 1e-4
            paid[filled] = px
            filled += 1
            pending = 0.0
        place = i % slow
        left_fast = ring[(i - fast) % slow] if i >= fast else 0.0
        left_slow = ring[place] if i >= slow else 0.0
        ring[place] = close[i]
        fast_sum += close[i] - left_fast
        slow_sum += close[i] - left_slow
        if i + 1 < slow:
            continue
        wanted = shares if fast_sum / fast > slow_sum / slow else -shares
        if wanted != position:
            row[count] = i
            qty[count] = wanted - position
            count += 1
            pending = wanted - position
    return count, filled, position, cash


def interleaved(count: int, **calls: Callable[[], object]) -> dict[str, list[float]]:
    """Time calls of `count` events in turn; return the ns an event of each, one a round."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS * TRADES // count):  # as long for few events as for many: the shorter, the less stable
        for name, call in calls.items():
            begin = time.thread_time_ns()
            kept = call()
            spent[name].append((time.thread_time_ns() - begin) / count)
            del kept
    return spent


def show(capsys: pytest.CaptureFixture[str], *lines: str) -> None:
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(line + "\n" for line in lines))


def told(name: str, spent: dict[str, list[float]]) -> list[str]:
    """Return the table of one workload."""
    return [
        f"{name} {what:<10} {statistics.median(ns):6.2f} ns an event (least {min(ns):6.2f}),"
        f" {ratio(spent, what):5.2f} x hand (of the least {min(ns) / min(spent['hand']):5.2f})"
        for what, ns in spent.items()
    ]


def ratio(spent: dict[str, list[float]], what: str) -> float:
    """Return how many times the hand loop: the median of the rounds' ratios, each of two runs side by side."""
    return statistics.median(ns / hand for ns, hand in zip(spent[what], spent["hand"], strict=True))


def rooms(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the hand loop's lists of orders."""
    return np.empty(count, np.int64), np.empty(count), np.empty(count)


@pytest.fixture(scope="module")
def ticks() -> MarketData:
    generator = np.random.default_rng(1)
    size = np.ceil(generator.lognormal(3.0, 1.5, TRADES)).astype(np.int64)
    table = trades(np.arange(TRADES, dtype=np.int64), generator.random(TRADES) + 100.0, size)
    return MarketData((Instrument("SPY"),), (table,))


@pytest.fixture(scope="module")
def bars() -> MarketData:
    generator = np.random.default_rng(2)
    close = 100.0 + np.cumsum(generator.normal(0.0, 0.02, BARS))
    opens = np.concatenate([[100.0], close[:-1]])
    columns = {
        "ts_event": np.arange(1, BARS + 1) * 60_000_000_000,
        "open": opens,
        "high": np.maximum(opens, close),
        "low": np.minimum(opens, close),
        "close": close,
        "volume": generator.integers(1, 10_000, BARS),
    }
    return MarketData((Instrument("SPY"),), (from_columns(Kind.BAR, columns),))


def test_w1_ten_million_trades_against_a_hand_written_loop(ticks, capsys):
    assert ticks.trades is not None
    price, size = ticks.trades["price"], ticks.trades["size"]
    model = find_model("volume_modulo")

    def hand() -> tuple[tuple[int, int, float, float], tuple[np.ndarray, ...]]:
        lists = rooms(TRADES // 4)
        return hand_modulo(price, size, 17, 31, 5.0, 1.0, *lists), lists

    def tested(data: MarketData = ticks):
        return backtest("volume_modulo", data, rules="permissive", limits=None, latency=0, fees=1.0)

    def folded(data: MarketData = ticks):
        return Fold(model, instruments=data.instruments).run(data)

    tested(ticks.between(0, 1_000))
    folded(ticks.between(0, 1_000))
    (count, filled, position, cash), lists = hand()
    result, decisions = tested(), folded()
    assert (result.orders, len(result.fills), result.position) == (count, filled, position)
    assert result.cash - result.cash0 == pytest.approx(cash, rel=1e-9)
    for found in (result.decisions, decisions):
        assert (found["seq"] == lists[0][:count]).all()
        assert (found["qty"] == lists[1][:count]).all()
    assert (result.fills["px"] == lists[2][:filled]).all()
    del result, decisions, lists
    spent = interleaved(TRADES, hand=hand, backtest=tested, fold=folded)
    show(capsys, *told("W1", spent))
    assert ratio(spent, "fold") <= 1.2
    assert ratio(spent, "backtest") <= 1.2


def test_w2_moving_average_on_a_million_bars_against_a_hand_written_loop(bars, capsys):
    assert bars.bars is not None
    model = find_model("moving_average")
    opens, close = bars.bars["open"], bars.bars["close"]

    def hand() -> tuple[tuple[int, int, float, float], tuple[np.ndarray, ...]]:
        lists = rooms(BARS // 4)
        return hand_average(opens, close, 20, 100, 10.0, 1.0, *lists), lists

    def tested(data: MarketData = bars):
        return backtest(model, data, rules="permissive", limits=None, latency=0, fees=1.0)

    tested(bars.between(0, 10**12))
    (count, filled, position, cash), lists = hand()
    result = tested()
    assert (result.orders, len(result.fills), result.position) == (count, filled, position)
    assert result.cash - result.cash0 == pytest.approx(cash, rel=1e-9)
    assert (result.decisions["seq"] == lists[0][:count]).all()
    assert (result.fills["px"] == lists[2][:filled]).all()
    spent = interleaved(BARS, hand=hand, backtest=tested)
    show(capsys, *told("W2", spent))
    assert ratio(spent, "backtest") <= 1.3


@pytest.mark.parametrize("name", ["volume_modulo", "moving_average"])
def test_one_event_from_python_to_its_decision_within_ten_microseconds(name, capsys):
    model = find_model(name)
    fold = Fold(model, instruments=[Instrument("SPY")])
    record = np.zeros(1, RECORD)
    record["kind"], record["f0"], record["f3"], record["i0"] = int(next(iter(model.steps))), 100.0, 100.0, 17
    for seq in range(200):
        record["seq"] = seq
        fold.feed(record)
    spent = []
    for seq in range(200, 20_200):
        record["seq"] = seq
        begin = time.perf_counter_ns()
        fold.feed(record)
        spent.append(time.perf_counter_ns() - begin)
    median, p99 = statistics.median(spent) / 1e3, statistics.quantiles(spent, n=100)[98] / 1e3
    show(capsys, f"One event, {name}: {median:.2f} us median, {p99:.2f} us p99")
    assert median <= 10.0
