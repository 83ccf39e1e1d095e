"""What the shipped models bet on, against slow code in plain Python."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest

from mdslib import Instrument, find_model
from mdslib.book import tops
from mdslib.check.made import OPEN, made_data
from mdslib.events import BookFlag, Kind, Verb
from mdslib.store.madebook import made_books
from mdslib.strategy import Fold
from mdslib.table import MarketData, from_columns, trades

pytestmark = pytest.mark.compiled
SPY = (Instrument("SPY"),)


def decided(model: Any, data: MarketData, **params: Any) -> list[tuple[int, float]]:
    found = find_model(model)
    fold = Fold(found, found.make_params(**params), instruments=data.instruments)
    return [(int(d["seq"]), float(d["qty"])) for d in fold.run(data)]


def sized(*sizes: int) -> MarketData:
    return MarketData(SPY, (trades(range(len(sizes)), [10.0] * len(sizes), sizes),))


def test_volume_modulo_sells_on_seventeen_before_it_buys_on_thirty_one() -> None:
    data = sized(17, 31, 17 * 31, 1, 34, 62, 16)
    assert decided("volume_modulo", data) == [(0, -5.0), (1, 5.0), (2, -5.0), (4, -5.0), (5, 5.0)]
    assert decided("volume_modulo", data, sell_modulus=1000, buy_modulus=16, shares=2.0) == [(6, 2.0)]


def test_volume_modulo_equals_the_rule_on_any_sizes() -> None:
    data = made_data(find_model("volume_modulo"), 3000, 2)
    assert data.trades is not None
    rule = [(i, -5.0 if s % 17 == 0 else 5.0) for i, s in enumerate(data.trades["size"]) if s % 17 == 0 or s % 31 == 0]
    assert decided("volume_modulo", data) == rule


def test_volume_modulo_on_bars_is_the_same_rule_on_their_volume() -> None:
    volume = [17, 31, 1, 34]
    columns = {name: [10.0] * 4 for name in ("open", "high", "low", "close")}
    bars = from_columns(Kind.BAR, {"ts_event": [1, 2, 3, 4], "volume": volume, **columns})
    on_trades = decided("volume_modulo", sized(*volume))
    assert decided("volume_modulo_bars", MarketData(SPY, (bars,))) == on_trades


def test_moving_average_is_long_while_the_fast_mean_is_above_the_slow_one() -> None:
    random = np.random.default_rng(4)
    close = 100 + np.cumsum(random.integers(-2, 3, 400)) * 0.25  # quarters, so that sums have no rounding
    count = len(close)
    columns = dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": [1] * count}
    data = MarketData(SPY, (from_columns(Kind.BAR, {"ts_event": range(count), **columns}),))
    expected, position = [], 0.0
    for i in range(count):
        if i < 15:
            continue
        wanted = 10.0 if close[i - 3 : i + 1].mean() > close[i - 15 : i + 1].mean() else -10.0
        if wanted != position:
            expected.append((i, wanted - position))
            position = wanted
    assert decided("moving_average", data, fast=4, slow=16) == expected
    assert len(expected) > 5


def test_book_imbalance_is_long_while_bids_outweigh_asks_and_leaves_when_asks_do() -> None:
    day = made_books(messages=1_500)
    best, params = tops(day, 10), {"levels": 3, "half_life": 8.0, "entry": 0.05, "leave": -0.05, "units": 0.5}
    expected, position, mean = [], 0.0, 0.0
    ends = np.flatnonzero(day.book_deltas["flags"] & BookFlag.LAST)  # type: ignore[index]
    for count, now in enumerate(best.depth_imbalance(3).tolist(), 1):
        mean += (now - mean) * (1.0 - 0.5 ** (1.0 / 8.0))
        wanted = 0.5 if mean >= 0.05 else 0.0 if mean <= -0.05 else position
        if count >= 8 and wanted != position:
            expected.append((int(ends[count - 1]), wanted - position))
            position = wanted
    deltas = MarketData(day.instruments, day.tables[1:], day.sessions)
    assert decided("book_imbalance", deltas, **params) == expected
    assert len(expected) > 5


def test_pairs_zscore_enters_against_the_spread_and_leaves_when_it_comes_home() -> None:
    random = np.random.default_rng(6)
    spread = np.concatenate([random.normal(0, 0.1, 300), np.full(3, 3.0), random.normal(0, 0.1, 100)])
    ts, px, which = [], [], []
    for i, gap in enumerate(spread):
        ts += [OPEN + 2 * i, OPEN + 2 * i + 1]
        px += [100.0, 100.0 + gap]
        which += [1, 0]
    data = MarketData((Instrument("A"), Instrument("B")), (trades(ts, px, [1] * len(ts), instrument=which),))
    model = find_model("pairs_zscore")
    fold = Fold(model, model.make_params(warm_up=200, half_life=100.0, entry=6.0), instruments=data.instruments)
    decisions = fold.run(data)
    assert decisions["verb"].tolist() == [Verb.TARGET] * 4
    assert decisions[["instrument", "leg", "qty"]].tolist() == [
        (0, 0, -10.0),
        (1, 1, 10.0),
        (0, 0, 10.0),
        (1, 1, -10.0),
    ]
    assert int(decisions[0]["seq"]) == 601
    assert int(decisions[2]["seq"]) > 606


def test_pairs_zscore_keeps_running_mean_and_variance_of_the_spread() -> None:
    model = find_model("pairs_zscore")
    p = model.make_params(half_life=50.0)
    data = made_data(model, 600, 3)
    fold = Fold(model, p, instruments=data.instruments)
    fold.run(data)
    alpha, last, mean, variance, spreads = 1.0 - 0.5 ** (1.0 / 50.0), [0.0, 0.0], None, 0.0, []
    assert data.trades is not None
    for k, price in zip(data.trades["instrument"], data.trades["price"], strict=True):
        last[k] = float(price)
        if 0.0 in last:
            continue
        spread = last[0] - last[1]
        spreads.append(spread)
        mean = spread if mean is None else mean
        gap = spread - mean
        mean += alpha * gap
        variance += alpha * (gap * gap - variance)
    assert float(fold.state[0]["mean"]) == pytest.approx(mean, rel=1e-12)
    assert float(fold.state[0]["variance"]) == pytest.approx(variance, rel=1e-12)
    assert min(spreads) < float(fold.state[0]["mean"]) < max(spreads)
    assert float(fold.state[0]["mean"]) == pytest.approx(
        statistics.fmean(spreads[-50:]), abs=statistics.pstdev(spreads)
    )
