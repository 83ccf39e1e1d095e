"""In lock-step, a session over real sockets is the back-test: fill for fill, decision for decision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mdslib.backtesting import backtest
from mdslib.events import Kind
from mdslib.instruments import Instrument
from mdslib.sim.bars import with_minute_bars
from mdslib.table import MarketData

from .rehearsal import (
    DAY,
    LATENCY,
    assert_same_fills,
    lockstep,
    made_bars,
    made_trades,
    of_kind,
    rehearse,
    tape,
)

RULES = pytest.mark.parametrize("rules", ["permissive", "alpaca"])
MODELS = Path(__file__).parent / "models"


def assert_clean(report) -> None:
    assert report.failure is None
    assert report.audit.ok, report.audit.lines()
    assert report.reason == "the session closed"


@RULES
def test_volume_modulo_on_trades(rules: str, tmp_path: Path) -> None:
    report, tested = lockstep(made_trades(1_500), "volume_modulo", tmp_path / "run", rules)
    assert_clean(report)
    assert len(tested.fills) > 40
    assert_same_fills(report, tested)
    assert report.figures()["position"] == {"SPY": 0.0}, "flat before the close"


@RULES
def test_moving_average_on_bars_flips(rules: str, tmp_path: Path) -> None:
    report, tested = lockstep(made_bars(), "moving_average", tmp_path / "run", rules, params={"fast": 3, "slow": 8})
    assert_clean(report)
    assert len(tested.fills) > 20
    assert_same_fills(report, tested)
    assert tape(tmp_path / "run").header.split_flips is (rules == "alpaca"), "as the exchange's rules ask, unsaid"
    if rules == "alpaca":
        held = np.cumsum(tested.fills["qty"])
        assert held.max() > 0 > held.min()
        assert abs(tested.fills["qty"]).max() <= 10.0, "a flip goes out as a close, and an open after its fill"


def test_a_model_on_bars_where_the_exchange_plays_trades(tmp_path: Path) -> None:
    """The exchange makes the minute bars itself; orders match on the trades between them."""
    data = made_trades(6_000)
    params = {"fast": 3, "slow": 8}
    with_bars = with_minute_bars(data)
    report = rehearse(
        data, "moving_average", tmp_path / "run", sim={"mode": "lockstep"}, params=params, split_flips=False
    )
    tested = backtest("moving_average", with_bars, params=params, rules="permissive", latency=LATENCY, flatten="5m")
    assert_clean(report)
    assert report.market["ts_event"].tolist() == with_bars.bars["ts_event"].tolist()
    assert len(tested.fills) > 20
    assert_same_fills(report, tested)


@RULES
def test_pairs_zscore_on_two_instruments(rules: str, tmp_path: Path) -> None:
    params = {"half_life": 20.0, "warm_up": 50, "entry": 1.5}
    report, tested = lockstep(made_trades(900, "SPY", "IVV"), "pairs_zscore", tmp_path / "run", rules, params=params)
    assert_clean(report)
    assert set(tested.fills["instrument"]) == {0, 1}
    assert len(tested.fills) > 20
    assert_same_fills(report, tested)


@RULES
def test_every_kind_of_step_and_order(rules: str, tmp_path: Path) -> None:
    report, tested = lockstep(made_trades(1_500), MODELS / "every_step.py", tmp_path / "run", rules)
    assert_clean(report)
    assert_same_fills(report, tested)
    assert len(of_kind(report, Kind.TIMER)) == 39 + 1
    assert len(tested.fills) > 100
    statuses = set(of_kind(report, Kind.UPDATE)["code"].tolist())
    assert {2, 4, 6} <= statuses, "accepted, filled and canceled orders were all there"


@RULES
def test_what_is_off_the_grid_is_denied_alike_and_never_reaches_the_exchange(rules: str, tmp_path: Path) -> None:
    report, tested = lockstep(made_trades(600), MODELS / "off_grid.py", tmp_path / "run", rules)
    assert_clean(report)
    assert_same_fills(report, tested)
    assert {"TICK", "LOT"} <= tested.denials().keys()
    assert len(tested.fills) > 5
    assert '"refused"' not in (tmp_path / "run" / "sent" / "orders.jsonl").read_text()


@RULES
def test_fractions_trade_alike_where_the_stock_is_fractionable(rules: str, tmp_path: Path) -> None:
    """Bought in halves and more, sold in whole shares, and what is left at the end of the day is closed."""
    spy = Instrument("SPY", fractionable=True)
    data = replace(made_trades(600), instruments=(spy,))
    model = MODELS / "fractions.py"
    report = rehearse(data, model, tmp_path / "run", sim={"mode": "lockstep", "rules": rules}, fractional=True)
    tested = backtest(model, data, rules=rules, latency=LATENCY, flatten="5m")
    assert_clean(report)
    assert_same_fills(report, tested)
    qty = tested.fills["qty"]
    assert (qty % 1.0 != 0.0).sum() > 5
    assert 0.000000001 in abs(qty).round(12).tolist(), "the smallest there is"
    assert report.figures()["position"] == {"SPY": 0.0}
    said = report.counts()["count"].to_dict()
    assert said["denied: LOT"] > 0, "an IOC order takes none"
    assert [name for name in said if name.startswith("rejected")] == []


def test_without_being_told_a_live_session_takes_no_fraction(tmp_path: Path) -> None:
    report, _ = lockstep(made_trades(200), MODELS / "fractions.py", tmp_path / "run")
    assert set(report.tally.denied) == {"LOT"}
    assert report.figures()["fills"] == 0


@RULES
def test_positions_are_kept_where_a_person_says_so(rules: str, tmp_path: Path) -> None:
    report, tested = lockstep(made_trades(600), "volume_modulo", tmp_path / "run", rules, flatten=None)
    assert_clean(report)
    assert_same_fills(report, tested)
    assert report.figures()["position"] == {"SPY": tested.position}
    assert tested.position != 0.0


def test_going_flat_in_the_middle_of_a_flip(tmp_path: Path) -> None:
    report, tested = lockstep(
        made_bars(), "moving_average", tmp_path / "run", "alpaca", flatten="200m", params={"fast": 2, "slow": 5}
    )
    assert (tmp_path / "run" / "log.jsonl").read_text().count('"event": "going-flat"') == 1
    assert_clean(report)
    assert_same_fills(report, tested)
    assert report.figures()["position"] == {"SPY": 0.0}


def test_a_session_can_be_repeated_to_the_last_bit(tmp_path: Path) -> None:
    data = made_trades(400)
    first, _ = lockstep(data, "volume_modulo", tmp_path / "one", "alpaca")
    second, _ = lockstep(data, "volume_modulo", tmp_path / "two", "alpaca")
    assert first.records.tobytes() == second.records.tobytes()


def recorded(shared_data: Path, folder: Path, *symbols: str) -> MarketData:
    """Return the trades of 2013-10-08, imported."""
    from mdslib.store.lean import import_lean
    from mdslib.store.load import load
    from mdslib.store.parquet import ParquetStore

    store = ParquetStore(folder / "store")
    for symbol in symbols:
        import_lean(shared_data / f"lean_{symbol.lower()}_ticks" / "20131008_tick_trade.zip", symbol, store)
    return load(symbols, "2013-10-08", "trades", store)


@pytest.fixture
def real_trades(shared_data: Path, tmp_path: Path) -> MarketData:
    """SPY on 2013-10-08."""
    return recorded(shared_data, tmp_path, "SPY")


@RULES
def test_volume_modulo_on_part_of_a_real_day(rules: str, real_trades: MarketData, tmp_path: Path) -> None:
    opened = real_trades.sessions[0].open
    part = real_trades.between(opened, opened + 60 * 10**9)
    report, tested = lockstep(part, "volume_modulo", tmp_path / "run", rules, in_process=False)
    assert_clean(report)
    assert report.figures()["events"] == len(part) > 1_500
    assert len(tested.fills) > 10
    assert_same_fills(report, tested)


@RULES
def test_pairs_zscore_on_part_of_a_real_day_of_two_stocks(rules: str, shared_data: Path, tmp_path: Path) -> None:
    day = recorded(shared_data, tmp_path, "SPY", "BAC")
    part = day.between(day.sessions[0].open, day.sessions[0].open + 30 * 10**9)
    params = {"half_life": 20.0, "warm_up": 50, "entry": 1.5}
    report, tested = lockstep(part, "pairs_zscore", tmp_path / "run", rules, params=params, in_process=False)
    assert_clean(report)
    assert report.figures()["events"] == len(part) > 1_000
    assert set(tested.fills["instrument"]) == {0, 1}
    assert len(tested.fills) > 100
    # No trade comes after these 30 s, so going flat is not filled, and at the close it is denied.
    assert tested.denials().keys() - {"SESSION"} == {"ORDER_RATE"}
    assert (tested.rejected > 0) is (rules == "alpaca")
    assert_same_fills(report, tested)


def test_moving_average_on_a_real_day_of_bars(shared_data: Path, tmp_path: Path) -> None:
    from mdslib.store.lean import import_lean
    from mdslib.store.load import load
    from mdslib.store.parquet import ParquetStore

    store = ParquetStore(tmp_path / "store")
    list(import_lean(shared_data / "lean_spy_bars" / "20131008_spy_minute_trade.zip", "SPY", store))
    bars = load("SPY", "2013-10-08", "bars", store)
    report, tested = lockstep(bars, "moving_average", tmp_path / "run", "alpaca", params={"fast": 5, "slow": 20})
    assert_clean(report)
    assert len(tested.fills) > 10
    assert_same_fills(report, tested)


def test_the_clock_of_the_tape_is_the_exchange_s(tmp_path: Path) -> None:
    report, _ = lockstep(made_trades(200), "volume_modulo", tmp_path / "run")
    records = report.records
    assert (np.diff(records["ts_init"]) >= 0).all()
    market = report.market
    assert (market["ts_init"] == market["ts_event"]).all(), "an instant is told and taken at its own time"
    assert DAY.open <= int(market["ts_init"][0])
