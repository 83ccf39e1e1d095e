"""Daily bars: decided at a session's close, filled at the next bar's open, and never denied for the hour."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from mdslib import GTC, IOC, Bar, Instrument, backtest, buy, hold, strategy
from mdslib.bars import session_stamped
from mdslib.calendar import sessions
from mdslib.errors import ConfigError, DataError
from mdslib.events import Kind, Status
from mdslib.table import MarketData, Table, from_columns

pytestmark = pytest.mark.compiled
DAYS = sessions("2013-11-27", "2013-12-03")  # with a half day, the 29th
SPY = (Instrument("SPY"),)


class Params(NamedTuple):
    limit: float = float("nan")
    tif: int = 0


@strategy(on=Bar, params=Params)
def buys_on_one(bar, state, account, p):  # type: ignore[no-untyped-def]
    return buy(5.0, p.limit, p.tif) if bar.volume == 1 else hold()


def daily(volumes: list[int], opens: list[float], times: list[int] | None = None) -> Table:
    price = np.array(opens)
    columns = {"open": price, "high": price + 1.0, "low": price - 1.0, "close": price + 0.5, "volume": volumes}
    stamps = [day.close for day in DAYS[: len(volumes)]] if times is None else times
    return from_columns(Kind.BAR, {"ts_event": stamps, **columns})


def run(table: Table, **options: Any) -> Any:
    return backtest(buys_on_one, MarketData(SPY, (table,), DAYS), **options)


def test_what_is_decided_on_a_daily_bar_fills_at_the_next_ones_open_under_the_default_limits_and_rules() -> None:
    result = run(daily([1, 9, 1, 9], [10.0, 11.0, 12.0, 13.0]))
    fills = result.fills[["ts", "qty", "px"]].tolist()
    assert fills == [(DAYS[1].close, 5.0, 11.0), (DAYS[3].close, 5.0, 13.0)]
    assert result.denied == 0


def test_what_is_decided_on_the_last_bar_still_waits() -> None:
    result = run(daily([9, 9, 9, 1], [10.0, 11.0, 12.0, 13.0]))
    assert (result.orders, len(result.fills), len(result.working)) == (1, 0, 1)


@pytest.mark.parametrize(
    ("tif", "ending"), [(0, [(2, Status.EXPIRED)]), (IOC, [(2, Status.CANCELED)]), (GTC, [])], ids=["day", "ioc", "gtc"]
)
def test_a_limit_that_the_next_day_does_not_reach_ends_with_it(tif: int, ending: list[tuple[int, int]]) -> None:
    result = run(daily([9, 1, 9, 9], [100.0] * 4), params={"limit": 98.0, "tif": tif})
    assert result.events[["ts", "status"]].tolist() == [(DAYS[day].close, status) for day, status in ending]


def test_a_limit_fills_in_the_next_days_range() -> None:
    result = run(daily([1, 9], [100.0, 101.0]), params={"limit": 100.5})
    assert result.fills[["ts", "px"]].tolist() == [(DAYS[1].close, 100.5)]


def test_shorter_bars_are_denied_at_the_close_as_ever() -> None:
    times = [DAYS[0].close - 60 * 10**9, DAYS[0].close]
    result = run(daily([9, 1], [10.0, 10.0], times))
    assert result.denials() == {"SESSION": 1}


def test_going_flat_before_the_close_has_no_meaning_on_daily_bars() -> None:
    with pytest.raises(ConfigError, match=r"flatten=...\) must be None on daily bars, .* leave it out"):
        run(daily([1, 9], [10.0, 10.0]), flatten="5m")


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_bars_stamped_at_midnight_are_refused_until_they_are_converted(zone: str) -> None:
    index = pd.DatetimeIndex([str(day.date) for day in DAYS]).tz_localize(zone).tz_convert("UTC")
    stamps = np.array(index.as_unit("ns").asi8)
    table = daily([1, 9, 9, 9], [10.0, 11.0, 12.0, 13.0], stamps.tolist())
    with pytest.raises(DataError, match=r"session's close, received 2013-11-27T.* mdslib.bars.session_stamped"):
        backtest(buys_on_one, table, instruments=SPY)
    converted = session_stamped(table)
    assert converted["ts_event"].tolist() == [day.close for day in DAYS]
    assert backtest(buys_on_one, converted, instruments=SPY).fills["px"].tolist() == [11.0]


def test_years_of_real_daily_bars_trade_as_a_frame_of_pandas_says(shared_data: Path, tmp_path: Path) -> None:
    from mdslib import load
    from mdslib.store.lean import import_lean
    from mdslib.store.parquet import ParquetStore

    store = ParquetStore(tmp_path / "store")
    import_lean(shared_data / "lean_bars_multiyear" / "spy_daily.zip", "SPY", store)
    data = load("SPY", ("2010-01-01", "2013-12-31"), "bars_1d", store)
    result = backtest("moving_average", data, rules="permissive")
    frame = data.to_pandas()
    fast, slow = (frame["close"].rolling(n).mean() for n in (20, 100))
    held = pd.Series(np.where(fast > slow, 10.0, -10.0), frame.index).where(slow.notna(), 0.0).shift(1, fill_value=0.0)
    traded = held.diff().fillna(0.0)
    expected = [(qty, frame["open"][time]) for time, qty in traded[traded != 0.0].items()]
    assert len(expected) == 10
    assert result.fills[["qty", "px"]].tolist() == expected
    assert result.denied == 0
