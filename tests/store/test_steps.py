"""A pair's price step is told from its prices: from many, and never coarser than they are."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.events import Kind
from mdslib.instruments import UNTOLD_TICK, Instrument, on_grid, parse_instrument
from mdslib.store.frames import import_frame
from mdslib.store.load import load
from mdslib.store.parquet import ParquetStore
from mdslib.store.steps import LEAST, common_step, with_step
from mdslib.table import Array, trades

PAIR = parse_instrument("kraken:XBT/USD")
DAYS = (datetime.date(2021, 4, 17), datetime.date(2021, 4, 18))
MIDNIGHT = 1_618_617_600_000_000_000


@pytest.mark.parametrize(
    ("prices", "step"),
    [
        (np.round(60_000 + np.arange(LEAST) * 0.1, 1), 0.1),
        (60_000 + np.arange(LEAST) * 0.5, 0.5),
        (np.arange(LEAST) * 1_000.0, 1_000.0),  # won
        (np.arange(1, LEAST + 1) / 10.0**8, 1e-8),
        (np.append(np.arange(LEAST) * 0.25, np.nan), 0.25),  # a CLEAR has no price
        (np.arange(LEAST - 1) * 0.5, UNTOLD_TICK),
        (np.arange(LEAST) / 3.0, UNTOLD_TICK),
        (np.full(10_000, 5.0), UNTOLD_TICK),
        (np.append(np.arange(20_000) * 0.5, 0.3), 0.1),  # one price among many is finer
        (np.repeat(np.arange(LEAST) * 0.5, [20_000, *[1] * (LEAST - 1)]), 0.5),  # most are alike
    ],
)
def test_the_step_is_the_coarsest_that_all_prices_lie_on(prices: Array, step: float) -> None:
    assert with_step(PAIR, [prices[: len(prices) // 2], prices[len(prices) // 2 :]]).tick == step


def test_a_tick_that_is_known_stays() -> None:
    stock = Instrument("SPY")
    assert with_step(stock, [np.arange(100.0)]) is stock


@given(
    st.lists(st.sampled_from([1e-9, 1e-8, 0.0005, 0.01, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.5, 5.0, 1_000.0]), min_size=1)
)
def test_a_common_step_holds_every_ones_grid(ticks: list[float]) -> None:
    step = common_step(ticks)
    assert step <= min(ticks)
    assert all(on_grid(tick, step) for tick in ticks)


def test_days_that_are_loaded_together_have_a_step_that_suits_all(tmp_path: Path) -> None:
    store = ParquetStore(tmp_path)
    for day, tick in zip(range(2), (0.5, 0.2), strict=True):
        times = MIDNIGHT + day * 86_400 * 10**9 + np.arange(LEAST) * 10**9
        table = trades(times, np.round(np.arange(LEAST) * tick, 1), np.ones(LEAST, "<i8"))
        import_frame(table.to_pandas(), Kind.TRADE, PAIR, store)
    assert [load(PAIR, day, store=store).instruments[0].tick for day in DAYS] == [0.5, 0.2]
    assert load(PAIR, DAYS, store=store).instruments[0].tick == 0.1
