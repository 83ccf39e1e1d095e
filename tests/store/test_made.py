"""Made days are plausible, repeat byte for byte, and have the rush, the lull and the bursts that the demo needs."""

from __future__ import annotations

import datetime
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdslib import calendar
from mdslib.bars import MINUTE, SECOND
from mdslib.errors import ConfigError, DataError
from mdslib.events import Kind, unpack_conditions
from mdslib.store.made import describe_made, figures, made_bars, made_day, made_pair
from mdslib.table import Table, empty


def digest(table: Table) -> str:
    """Hash every byte of a table."""
    return hashlib.sha256(b"".join(column.tobytes() for column in table.columns.values())).hexdigest()


@pytest.fixture(scope="module")
def day() -> Table:
    """The demo's day."""
    return made_day()


def test_the_demo_day_has_its_published_figures(day: Table) -> None:
    found = figures(day)
    assert found.trades == 200_000
    assert found.odd_share == pytest.approx(0.30, abs=0.005)
    assert found.busy_seconds == 20
    assert 2_000 <= found.busiest_second < 2_100
    assert found.quietest_minute > 50
    assert 590 < found.low < 600 < found.high < 610
    assert describe_made(day).startswith("200,000 trades, 29.9% odd lots, 20 bursts (up to 2,0")


def test_every_trade_is_in_regular_hours_and_in_order(day: Table) -> None:
    session = calendar.session("2025-06-12")
    assert session is not None
    assert session.open <= day["ts_event"][0]
    assert day["ts_event"][-1] < session.close
    assert (day["ts_event"] % 1_000 != 0).mean() > 0.99  # ns, not ms
    assert (np.diff(day["trade_id"]) > 0).all()


def test_prices_move_on_the_cent_by_small_steps(day: Table) -> None:
    cents = day["price"] * 100
    assert (day["price"] == np.rint(cents) / 100).all()
    assert np.abs(np.diff(np.rint(cents))).max() <= 2


def test_odd_lots_are_marked_and_both_rules_of_volume_modulo_are_met(day: Table) -> None:
    odd = day["size"] < 100
    assert set(day["size"][~odd] % 100) == {0}
    assert unpack_conditions(int(day["conditions"][odd][0])) == ["@", "I"]
    assert unpack_conditions(int(day["conditions"][~odd][0])) == ["@"]
    sells = day["size"] % 17 == 0
    buys = ~sells & (day["size"] % 31 == 0)
    assert 2_000 < sells.sum() < 6_000
    assert 1_000 < buys.sum() < 4_000


def test_it_is_busy_at_the_open_and_quiet_at_noon(day: Table) -> None:
    session = calendar.session("2025-06-12")
    assert session is not None
    minutes = np.bincount((day["ts_event"] - session.open) // MINUTE, minlength=390)
    assert np.median(minutes[:10]) > 5 * np.median(minutes[180:200])
    assert np.median(minutes[-10:]) > 2 * np.median(minutes[180:200])


def test_the_same_seed_makes_the_same_bytes_on_every_machine() -> None:
    assert digest(made_day(trades=20_000)) == "cdf8460fab5dce9a9633b3e81bd5e373ba41c7ea0217c81794fbab5ff96490fc"


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30_000), st.integers(0, 5))
def test_any_size_and_seed_gives_exactly_that_many_trades_in_hours(count: int, seed: int) -> None:
    table = made_day("2024-11-29", trades=count, seed=seed)  # a half day
    session = calendar.session("2024-11-29")
    assert session is not None
    assert len(table) == count
    assert session.open <= table["ts_event"].min()
    assert table["ts_event"].max() < session.close


def test_seed_symbol_and_date_all_matter() -> None:
    made = [
        made_day(trades=100),
        made_day(trades=100, seed=8),
        made_day(symbol="QQQ", trades=100),
        made_day("2025-06-13", trades=100),
    ]
    assert (
        len({digest(table.replace(ts_event=table["ts_event"] * 0, ts_init=table["ts_event"] * 0)) for table in made})
        == 4
    )


def test_the_spread_of_a_pair_comes_back_and_its_prices_wander() -> None:
    data = made_pair()
    table = data.trades
    assert table is not None
    assert [instrument.symbol for instrument in data.instruments] == ["AAA", "BBB"]
    first = table["instrument"] == 0
    assert first.sum() == 20_000
    rows = np.arange(len(table))
    last = [np.maximum.accumulate(np.where(mask, rows, 0)) for mask in (first, ~first)]
    spread = (table["price"][last[0]] - table["price"][last[1]])[100:]
    assert abs(spread.mean()) < 0.05
    assert 0.05 < spread.std() < 0.2
    assert (np.diff(np.sign(spread)) != 0).sum() > 200
    assert table["price"][~first].std() > 2 * spread.std()


def test_made_bars_are_the_bars_of_the_made_day() -> None:
    bars = made_bars()
    assert len(bars) == 390
    assert int(bars["trades"].sum()) == 200_000
    assert (np.diff(bars["ts_event"]) == 60 * SECOND).all()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: made_day("2025-06-14"), r"a made day must be a trading day, received 2025-06-14 \(Saturday\)"),
        (lambda: made_day(trades=0), "must have at least 1 trade, received 0"),
        (lambda: made_day(seed=-1), "a seed must be >= 0, received -1"),
    ],
)
def test_bad_arguments_are_named(call: object, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        call()


def test_figures_need_trades() -> None:
    with pytest.raises(DataError, match="needs trades, received 0 rows of QUOTE"):
        figures(empty(Kind.QUOTE))


def test_a_date_object_is_as_good_as_text() -> None:
    assert made_day(datetime.date(2025, 6, 12), trades=10).equals(made_day("2025-06-12", trades=10))
