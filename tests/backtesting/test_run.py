"""The back-test, rule by rule: when orders fill, when the model learns of it, what ends a day, what is refused."""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from mdslib import (
    GTC,
    IOC,
    Bar,
    BeforeClose,
    Fees,
    Instrument,
    OrderUpdate,
    Quote,
    Trade,
    backtest,
    buy,
    cancel,
    find_model,
    hold,
    leg,
    load,
    make_limits,
    pair,
    records,
    sell,
    strategy,
    target,
    target_leg,
)
from mdslib.backtesting import run as run_module
from mdslib.calendar import Session
from mdslib.check.made import made_data
from mdslib.errors import ConfigError, DataError, ModelError, ModelRaised
from mdslib.events import Kind, Status, Verb
from mdslib.risk import Denial
from mdslib.strategy import Fold
from mdslib.table import MarketData, Table, from_columns, trades

pytestmark = pytest.mark.compiled
SPY = (Instrument("SPY"),)
DAY = datetime.date(2013, 10, 8)
NAN = math.nan
FREE: dict[str, Any] = {"rules": "permissive", "limits": None, "latency": 0}


class Qty(NamedTuple):
    shares: float = 5.0
    limit: float = NAN
    tif: int = 0


@strategy(on=Trade, params=Qty)
def by_size(trade, state, account, p):  # type: ignore[no-untyped-def]
    if trade.size == 1:
        return buy(p.shares, p.limit, p.tif)
    if trade.size == 2:
        return sell(p.shares, p.limit, p.tif)
    if trade.size == 3:
        return cancel()
    if trade.size == 4:
        return target(-p.shares)
    if trade.size == 8:
        raise ValueError("eight")
    return hold()


SEEN = np.dtype([("position", "<f8", (64,)), ("count", "<i8"), ("told", "<i8", (64,)), ("updates", "<i8")])


@strategy(on=Trade, params=Qty, state=lambda p: records(1, SEEN))
def watching(trade, state, account, p):  # type: ignore[no-untyped-def]
    s = state[0]
    s.position[s.count] = account[0].position
    s.count += 1
    return buy(p.shares) if trade.size == 1 else hold()


def data(*events: tuple[int, float, int], sessions: tuple[Session, ...] = (), k: list[int] | None = None) -> MarketData:
    ts, px, size = zip(*events, strict=True) if events else ((), (), ())
    instruments = SPY if k is None else tuple(Instrument(f"S{i}") for i in range(max(k) + 1))
    table = trades(list(ts), list(px), list(size), instrument=k or [0] * len(ts))
    return MarketData(instruments, (table,), sessions)


def fractions(of: MarketData) -> MarketData:
    """Return the same data of a stock that is traded in fractions."""
    return MarketData((Instrument("SPY", fractionable=True),), of.tables, of.sessions)


def session(start: int, end: int) -> Session:
    return Session(DAY, start, end, start, end)


def fills(result: Any) -> list[tuple[int, float, float]]:
    return result.fills[["ts", "qty", "px"]].tolist()


# ----------------------------------------------------------- when an order fills


@pytest.mark.parametrize(
    ("latency", "expected"), [(0, (101, 5.0, 2.0)), (1, (102, 5.0, 3.0)), ("5ns", None), (10, (111, 5.0, 5.0))]
)
def test_a_market_order_fills_at_the_next_trade_strictly_after_decision_plus_latency(
    latency: Any, expected: tuple[int, float, float] | None
) -> None:
    events = data((100, 1.0, 1), (101, 2.0, 9), (102, 3.0, 9), (110, 4.0, 9), (111, 5.0, 9))
    if expected is None:
        with pytest.raises(
            ConfigError, match="a duration must be a positive number with ms, s, m or h, received '5ns'"
        ):
            backtest(by_size, events, **FREE | {"latency": latency})
        return
    assert fills(backtest(by_size, events, **FREE | {"latency": latency})) == [expected]


def test_trades_of_the_decisions_own_time_do_not_fill_it() -> None:
    result = backtest(by_size, data((100, 1.0, 1), (100, 2.0, 9), (100, 3.0, 9), (101, 4.0, 9)), **FREE)
    assert fills(result) == [(101, 5.0, 4.0)]


def test_the_account_learns_of_a_fill_after_the_last_event_of_its_instant() -> None:
    events = data((1, 1.0, 1), (2, 1.0, 9), (2, 1.0, 9), (3, 1.0, 9))
    run = run_module._Run(
        watching, watching.make_params(), events, run_module.make_venue(run_module.Rules.PERMISSIVE, 0, Fees(), 0),
        run_module.Rules.PERMISSIVE, None, 0.0, None,
    )  # fmt: skip
    run.go()
    assert run.state[0]["position"][:4].tolist() == [0.0, 0.0, 0.0, 5.0]


def test_a_decision_on_the_last_event_still_works_at_the_end() -> None:
    result = backtest(by_size, data((1, 1.0, 9), (2, 1.0, 1)), **FREE)
    assert (result.orders, len(result.fills), len(result.working)) == (1, 0, 1)


def test_a_limit_an_ioc_and_a_cancel() -> None:
    rested = backtest(by_size, data((1, 10.0, 1), (2, 10.0, 9), (3, 9.0, 9)), params={"limit": 9.5}, **FREE)
    assert fills(rested) == [(3, 5.0, 9.5)]
    once = backtest(by_size, data((1, 10.0, 1), (2, 10.0, 9), (3, 9.0, 9)), params={"limit": 9.5, "tif": IOC}, **FREE)
    assert once.events[["ts", "status"]].tolist() == [(2, Status.CANCELED)]
    canceled = backtest(by_size, data((1, 10.0, 1), (2, 10.0, 3), (3, 9.0, 9)), params={"limit": 9.5}, **FREE)
    assert canceled.events[["ts", "status", "leaves"]].tolist() == [(2, Status.CANCELED, 5.0)]
    assert float(canceled.account[0]["open_qty"]) == 0.0


@strategy(on=Trade, params=Qty)
def late_limits(trade, state, account, p):  # type: ignore[no-untyped-def]
    """Send market orders at first, and another order once; nothing in the code says which."""
    if trade.size == 1:
        return buy(p.shares)
    if trade.size == 2:
        return buy(p.shares, p[1], p[2])
    return hold()


@pytest.mark.parametrize("rules", ["permissive", "alpaca"])
@pytest.mark.parametrize(
    "params", [{"limit": 9.5}, {"tif": IOC}, {"limit": 9.5, "tif": IOC}, {"limit": 9.5, "tif": GTC}]
)
def test_a_driver_for_plain_orders_hands_over_at_the_first_other_one(
    rules: str, params: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    events = data(
        (1, 10.0, 1), (2, 10.0, 1), (2, 10.0, 2), (2, 10.0, 1), (3, 10.0, 9), (4, 9.0, 2), (5, 9.0, 1), (6, 8.0, 9)
    )
    knew: list[bool] = []
    load = run_module.load_driver

    def watched(strategy: Any, shape: Any, mark: str = "") -> Any:
        knew.append(not shape.plain)
        return load(strategy, shape, mark)

    monkeypatch.setattr(run_module, "load_driver", watched)
    result = backtest(late_limits, events, params=params, **FREE | {"rules": rules})
    assert knew == [False, True], "begins plain, ends knowing all"
    knew.clear()
    monkeypatch.setattr(run_module, "seems_plain", lambda *_: False)
    whole = backtest(late_limits, events, params=params, **FREE | {"rules": rules})
    assert knew == [True]
    assert result.decisions.tobytes() == whole.decisions.tobytes()
    assert result.events.tobytes() == whole.events.tobytes()
    assert result.account.tobytes() == whole.account.tobytes()
    assert result.working.tobytes() == whole.working.tobytes()
    assert len(result.events) >= 5


def test_a_model_that_names_cancels_or_limits_begins_with_the_driver_that_knows_them() -> None:
    assert run_module.seems_plain(watching, "watching")
    assert run_module.seems_plain(late_limits, "late_limits")
    assert not run_module.seems_plain(by_size, "by_size")


def test_fees_are_charged_on_every_fill() -> None:
    result = backtest(by_size, data((1, 10.0, 1), (2, 10.0, 9)), fees=Fees(bps=10.0, per_share=0.01), **FREE)
    assert result.fees_paid == pytest.approx(50.0 * 0.001 + 0.05)
    assert result.cash == pytest.approx(100_000.0 - 50.0 - result.fees_paid)
    assert backtest(by_size, data((1, 10.0, 1), (2, 10.0, 9)), fees=10.0, **FREE).fees_paid == pytest.approx(0.05)


# ----------------------------------------------------------- what is matched against


@strategy(on=Quote, params=Qty)
def on_quotes(quote, state, account, p):  # type: ignore[no-untyped-def]
    return buy(p.shares) if quote.bid_size == 1 else hold()


@strategy(on=Bar, params=Qty)
def on_bars(bar, state, account, p):  # type: ignore[no-untyped-def]
    return buy(p.shares) if bar.volume == 1 else hold()


def quotes(*rows: tuple[int, float, float, int]) -> Table:
    ts, bid, ask, size = (list(column) for column in zip(*rows, strict=True))
    return from_columns(Kind.QUOTE, {"ts_event": ts, "bid": bid, "ask": ask, "bid_size": size, "ask_size": size})


def test_quotes_alone_fill_a_buy_at_the_ask() -> None:
    table = quotes((1, 9.0, 11.0, 1), (2, 9.0, NAN, 9), (3, 9.0, 12.0, 9))
    result = backtest(on_quotes, MarketData(SPY, (table,)), **FREE)
    assert fills(result) == [(3, 5.0, 12.0)]
    assert float(result.account[0]["last_px"]) == 10.5


def test_where_the_data_has_trades_orders_on_quotes_match_against_trades() -> None:
    both = MarketData(SPY, (trades([2, 3], [50.0, 60.0], [9, 9]), quotes((2, 9.0, 11.0, 1), (3, 9.0, 11.0, 9))))
    assert fills(backtest(on_quotes, both, **FREE)) == [(3, 5.0, 60.0)]


def test_bars_fill_at_the_open_of_the_next_bar() -> None:
    columns = {"ts_event": [10, 20], "open": [1.0, 2.0], "high": [3.0, 4.0], "low": [0.5, 1.5], "close": [2.5, 3.5]}
    bars = from_columns(Kind.BAR, columns | {"volume": [1, 9]})
    assert fills(backtest(on_bars, MarketData(SPY, (bars,)), **FREE)) == [(20, 5.0, 2.0)]


# ----------------------------------------------------------- limits and rules


def test_a_denied_decision_is_no_order() -> None:
    result = backtest(by_size, data((1, 10.0, 1), (2, 10.0, 9)), rules="permissive", latency=0,
                      limits=make_limits(max_order_qty=4.0, session=0))  # fmt: skip
    assert (result.orders, result.denied, result.denials()) == (0, 1, {"ORDER_QTY": 1})
    assert float(result.account[0]["open_qty"]) == 0.0
    assert result.decisions[["denied", "bound", "value"]].tolist() == [(Denial.ORDER_QTY, 4.0, 5.0)]


def test_orders_outside_the_session_are_denied() -> None:
    events = data((5, 10.0, 1), (15, 10.0, 1), (20, 10.0, 1), sessions=(session(10, 20),))
    result = backtest(by_size, events, rules="permissive", latency=0, limits=make_limits())
    assert result.decisions["denied"].tolist() == [Denial.SESSION, 0, Denial.SESSION]


OFF_GRID = [
    (2.5, NAN, 0, (Denial.LOT, 1.0, 2.5)),
    (5.0, 9.505, 0, (Denial.TICK, 0.01, 9.505)),
    (5.0, 0.95001, 0, (Denial.TICK, 0.0001, 0.95001)),
    (5.0, 0.9501, 0, (0, 0.0, 0.0)),
    (5.0, 0.1 + 0.2, 0, (0, 0.0, 0.0)),
    (5.0, 9.5, GTC, (0, 0.0, 0.0)),
]


@pytest.mark.parametrize("rules", ["permissive", "alpaca"])
@pytest.mark.parametrize(("shares", "limit", "tif", "denied"), OFF_GRID)
def test_what_the_venue_has_no_grid_for_is_denied_with_its_step_limits_or_not(
    shares: float, limit: float, tif: int, denied: tuple[int, float, float], rules: str
) -> None:
    params = {"shares": shares, "limit": limit, "tif": tif}
    result = backtest(by_size, data((1, 10.0, 1), (2, 10.0, 9)), params=params, rules=rules, limits=None, latency=0)
    assert result.decisions[["denied", "bound", "value"]].tolist() == [denied]
    assert result.orders == (0 if denied[0] else 1)
    assert float(result.account[0]["open_qty"]) == (0.0 if denied[0] else 5.0) - float(result.account[0]["position"])


@pytest.mark.parametrize(("shares", "tif", "denial"), [(0.5, 0, 0), (0.5, GTC, Denial.LOT), (1e-10, 0, Denial.LOT)])
def test_a_fractionable_stock_takes_fractions_in_day_orders_alone(shares: float, tif: int, denial: int) -> None:
    events = fractions(data((1, 10.0, 1), (2, 10.0, 9)))
    result = backtest(by_size, events, params={"shares": shares, "tif": tif}, limits=None, latency=0)
    assert result.decisions["denied"].tolist() == [denial]
    assert result.position == (0.0 if denial else shares)


def test_a_rejection_releases_the_open_quantity() -> None:
    result = backtest(by_size, data((1, 10.0, 1), (2, 10.0, 9)), limits=None, latency=0, cash=0.0)
    assert (result.orders, result.rejected, len(result.fills)) == (1, 1, 0)
    assert float(result.account[0]["open_qty"]) == 0.0


def test_under_alpacas_rules_a_flip_closes_first_and_opens_after_the_fill() -> None:
    events = data((1, 10.0, 1), (2, 10.0, 9), (3, 10.0, 4), (4, 10.0, 9), (5, 10.0, 9), (6, 10.0, 9))
    result = backtest(by_size, events, limits=None, latency=0, params={"shares": 1.0})
    assert fills(result) == [(2, 1.0, 10.0), (4, -1.0, 10.0), (5, -1.0, 10.0)]
    assert result.decisions["verb"].tolist() == [Verb.ORDER, Verb.TARGET, Verb.RELEASE]
    assert result.decisions[["qty", "parked"]].tolist() == [(1.0, 0.0), (-1.0, -1.0), (-1.0, 0.0)]
    assert result.position == -1.0
    assert (result.buys, result.sells, result.orders) == (1, 1, 3)
    assert fills(backtest(by_size, events, **FREE, params={"shares": 1.0})) == [(2, 1.0, 10.0), (4, -2.0, 10.0)]


# ----------------------------------------------------------- the day's end


def two_days(*events: tuple[int, float, int]) -> MarketData:
    return data(*events, sessions=(session(10, 20), session(30, 40)))


def test_day_orders_expire_at_each_close() -> None:
    events = two_days((11, 10.0, 1), (19, 10.0, 9), (31, 10.0, 1), (39, 10.0, 9), (41, 1.0, 9))
    result = backtest(by_size, events, params={"limit": 9.0}, **FREE)
    assert result.events[["ts", "tag", "status"]].tolist() == [(20, 0, Status.EXPIRED), (40, 1, Status.EXPIRED)]
    assert float(result.account[0]["open_qty"]) == 0.0


@pytest.mark.parametrize("ts", [20, 21, 29, 30])
def test_what_is_decided_at_the_close_or_later_works_from_the_next_open_on(ts: int) -> None:
    events = two_days((ts, 10.0, 1), (max(ts, 22), 8.0, 9), (31, 9.0, 9))
    result = backtest(by_size, events, **FREE)
    assert fills(result) == [(31, 5.0, 9.0)]


def test_what_was_decided_at_the_close_expires_at_the_next_one() -> None:
    result = backtest(by_size, two_days((20, 10.0, 1), (39, 9.0, 9), (41, 1.0, 9)), params={"limit": 5.0}, **FREE)
    assert result.events[["ts", "tag", "status"]].tolist() == [(40, 0, Status.EXPIRED)]


def test_what_is_decided_after_the_last_close_waits_and_does_not_fill() -> None:
    result = backtest(by_size, two_days((40, 10.0, 1), (41, 9.0, 9)), **FREE)
    assert (result.orders, len(result.events), len(result.working)) == (1, 0, 1)


def test_an_ioc_order_that_met_no_event_ends_with_its_session() -> None:
    result = backtest(by_size, two_days((19, 10.0, 1), (31, 9.0, 9)), params={"tif": IOC}, **FREE)
    assert result.events[["ts", "status"]].tolist() == [(20, Status.CANCELED)]


def test_gtc_orders_live_into_the_next_day() -> None:
    events = two_days((11, 10.0, 1), (31, 8.0, 9))
    assert fills(backtest(by_size, events, params={"limit": 9.0, "tif": GTC}, **FREE)) == [(31, 5.0, 8.0)]


@pytest.mark.parametrize(("ts", "filled"), [(19, True), (20, True), (21, False)])
def test_an_event_at_the_very_close_still_fills_a_day_order(ts: int, filled: bool) -> None:
    result = backtest(by_size, two_days((11, 10.0, 1), (ts, 8.0, 9)), params={"limit": 9.0}, **FREE)
    assert fills(result) == ([(ts, 5.0, 8.0)] if filled else [])


def test_days_without_a_break_are_gone_through_once() -> None:
    events = data(*[(ts, 10.0, 9) for ts in range(10, 41)], sessions=(session(10, 20), session(20, 30)))
    run = run_module._Run(
        watching, watching.make_params(), events, run_module.make_venue(run_module.Rules.PERMISSIVE, 0, Fees(), 0),
        run_module.Rules.PERMISSIVE, None, 0.0, 3,
    )  # fmt: skip
    run.go()
    assert int(run.state[0]["count"]) == 31


def test_flatten_closes_before_every_close_and_trades_again_the_next_day() -> None:
    events = two_days(
        (11, 10.0, 1), (12, 11.0, 9), (16, 12.0, 1), (18, 13.0, 9), (31, 10.0, 1), (32, 11.0, 9), (37, 9.0, 9)
    )
    result = _flattened(events, 5)
    assert fills(result) == [(12, 5.0, 11.0), (16, -5.0, 12.0), (32, 5.0, 11.0), (37, -5.0, 9.0)]
    assert result.decisions["denied"].tolist() == [0, 0, Denial.REDUCING, 0, 0]
    assert result.position == 0.0


def _flattened(events: MarketData, lead: int) -> Any:
    rules = run_module.Rules.PERMISSIVE
    run = run_module._Run(
        by_size, by_size.make_params(), events, run_module.make_venue(rules, 0, Fees(), 0), rules, None, 0.0, lead
    )
    run.go()
    return run.result(Fees())


def test_flatten_cancels_what_works_before_it_closes() -> None:
    events = two_days((11, 10.0, 1), (12, 10.0, 9), (13, 10.0, 2), (14, 10.0, 9), (16, 10.0, 9), (17, 10.0, 9))
    rules = run_module.Rules.ALPACA
    run = run_module._Run(
        by_size, by_size.make_params(limit=10.5, shares=1.0), events,
        run_module.make_venue(rules, 0, Fees(), 0), rules, None, 1000.0, 5,
    )  # fmt: skip
    run.go()
    result = run.result(Fees())
    assert result.decisions["verb"].tolist() == [Verb.ORDER, Verb.ORDER, Verb.CANCEL, Verb.RELEASE]
    assert result.position == 0.0


def test_flatten_by_its_public_name() -> None:
    start = 1_381_239_000_000_000_000
    table = trades([start + 10**9, start + 2 * 10**9, start + 23_200 * 10**9], [10.0, 10.0, 11.0], [1, 9, 9])
    result = backtest(by_size, table, instruments=["SPY"], flatten="5m", params={"shares": 1.0})
    assert [qty for _, qty, _ in fills(result)] == [1.0, -1.0]
    assert result.data.sessions[0].date == DAY


# ----------------------------------------------------------- its own updates


@strategy(on=Trade, params=Qty, state=lambda p: records(1, SEEN))
def told_of(trade, state, account, p):  # type: ignore[no-untyped-def]
    return sell(p.shares) if trade.size == 1 else hold()


@told_of.on(OrderUpdate)
def update(update, state, account, p):  # type: ignore[no-untyped-def]
    s = state[0]
    s.told[s.updates] = update.status
    s.updates += 1
    if update.status == 4 and account[0].position < 0.0:
        return target(0.0)
    return hold()


def test_a_model_hears_of_acceptance_and_fill_and_may_answer() -> None:
    result = backtest(told_of, data((1, 10.0, 1), (2, 11.0, 9), (3, 12.0, 9), (4, 12.0, 9)), **FREE)
    assert fills(result) == [(2, -5.0, 11.0), (3, 5.0, 12.0)]
    assert result.decisions[["seq", "ts_event"]].tolist() == [(0, 1), (2, 2)]


@strategy(on=Trade)
def without_end(trade, state, account, p):  # type: ignore[no-untyped-def]
    return sell(0.5)


@without_end.on(OrderUpdate)
def again(update, state, account, p):  # type: ignore[no-untyped-def]
    return sell(0.5)


@pytest.mark.parametrize("rules", ["permissive", "alpaca"])
def test_a_model_that_answers_every_update_with_an_order_is_told_so(rules: str) -> None:
    with pytest.raises(
        ModelError, match=r"model 'without_end' has made [\d,]+ decisions by event 1 of 2, most of them on"
    ):
        backtest(without_end, fractions(data((1, 10.0, 1), (2, 10.0, 1))), rules=rules, limits=None)


# ----------------------------------------------------------- several instruments


@strategy(on=Trade, params=Qty, instruments=2)
def both_legs(trade, state, account, p):  # type: ignore[no-untyped-def]
    if trade.size == 1:
        return pair(leg(0, p.shares), target_leg(1, -p.shares))
    return hold()


def test_both_legs_of_a_pair_fill_each_at_its_own_instruments_price() -> None:
    events = data((1, 10.0, 1), (1, 20.0, 9), (2, 11.0, 9), (3, 21.0, 9), k=[0, 1, 0, 1])
    result = backtest(both_legs, events, **FREE)
    assert result.fills[["ts", "instrument", "qty", "px"]].tolist() == [(2, 0, 5.0, 11.0), (3, 1, -5.0, 21.0)]
    assert result.position == {"S0": 5.0, "S1": -5.0}


def test_a_strategy_needs_its_instruments() -> None:
    with pytest.raises(ModelError, match=r"'both_legs' trades 2 instruments, received 1 \(SPY\); load them together"):
        backtest(both_legs, data((1, 10.0, 1)), **FREE)


# ----------------------------------------------------------- room and memory

MIXED = Path(__file__).resolve().parents[1] / "strategy" / "mixed.py"
MODELS = ["volume_modulo", "moving_average", "pairs_zscore", MIXED]


@pytest.mark.parametrize("rules", ["permissive", "alpaca"])
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_the_room_that_there_was_at_first_does_not_show(
    model: Any, rules: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_model(model)
    made = made_data(found, 1200, 4)
    params = {"moving_average": {"fast": 3, "slow": 9}, "pairs_zscore": {"warm_up": 20}}.get(found.name, {})
    wide = backtest(found, made, rules=rules, limits=None, params=params, flatten="1m")
    monkeypatch.setattr(run_module, "ROOM", -len(made))
    monkeypatch.setattr(run_module, "new_books", lambda n, cash: real_books(n, cash, 1))
    narrow = backtest(found, made, rules=rules, limits=None, params=params, flatten="1m")
    assert len(wide.decisions) > 5
    assert wide.decisions.tobytes() == narrow.decisions.tobytes()
    assert wide.events.tobytes() == narrow.events.tobytes()
    assert wide.account.tobytes() == narrow.account.tobytes()


real_records, real_books = run_module.records, run_module.new_books


@strategy(on=Trade, params=Qty)
def busy(trade, state, account, p):  # type: ignore[no-untyped-def]
    """Order far from the market on every trade, cancel them all at times: many endings in one instant."""
    return cancel() if trade.size == 3 else buy(p.shares, 1.0)


@busy.on(OrderUpdate)
def busy_update(update, state, account, p):  # type: ignore[no-untyped-def]
    if update.status == 6 and update.order % 2 == 0:
        return pair(leg(0, p.shares, 1.0), leg(0, p.shares, 1.1))
    return hold()


@pytest.mark.parametrize("same_time", [False, True])
def test_no_path_writes_beyond_its_room(same_time: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays with a guard behind them: what is written there would show."""
    guards: list[np.ndarray] = []

    def guarded(count: int, dtype: Any) -> Any:
        whole = real_records(count + 512, dtype)
        whole.view(np.ndarray).view("u1")[count * dtype.itemsize :] = 0xA5
        guards.append(whole.view(np.ndarray).view("u1")[count * dtype.itemsize :])
        return whole[:count]

    monkeypatch.setattr(run_module, "records", guarded)
    monkeypatch.setattr(run_module, "ROOM", 600)
    sizes = [3 if row % 700 == 699 else 9 for row in range(2500)]
    table = trades([1] * 2500 if same_time else range(2500), [10.0] * 2500, sizes)
    result = backtest(busy, MarketData(SPY, (table,)), **FREE)
    assert len(result.decisions) > 2500
    assert len(guards) > 2
    for guard in guards:
        assert (guard == 0xA5).all()


# ----------------------------------------------------------- hostile input


def test_no_events_and_one_event() -> None:
    assert backtest(by_size, data(), **FREE).to_json()["events"] == 0
    assert backtest(by_size, data((1, 10.0, 1)), **FREE).orders == 1


def test_no_tables_at_all() -> None:
    with pytest.raises(DataError, match="strategy 'by_size' takes trade events, the data holds nothing"):
        backtest(by_size, MarketData(SPY, ()), **FREE)


@pytest.mark.parametrize("rules", ["permissive", "alpaca"])
def test_a_price_of_nan_fills_nothing(rules: str) -> None:
    events = data((1, 10.0, 1), (2, NAN, 9), (3, 12.0, 9))
    result = backtest(by_size, events, rules=rules, limits=None, latency=0, params={"shares": 1.0})
    assert fills(result) == [(3, 1.0, 12.0)]
    assert math.isfinite(result.equity)


def test_late_and_large_times() -> None:
    result = backtest(by_size, data((2**40, 10.0, 1), (2**62, 11.0, 9)), **FREE)
    assert fills(result) == [(2**62, 5.0, 11.0)]


@pytest.mark.parametrize("shares", [NAN, math.inf, 1e300, 0.0])
def test_an_absurd_quantity_is_denied(shares: float) -> None:
    result = backtest(by_size, data((1, 10.0, 1), (2, 10.0, 9)), params={"shares": shares}, **FREE)
    assert (result.denials(), result.orders) == ({"INVALID": 1}, 0)
    assert len(result.decisions_frame()) == 1


def test_a_model_that_raises_names_the_event_and_keeps_its_decisions() -> None:
    with pytest.raises(ModelRaised, match="model 'by_size' raised ValueError: eight - at event 2 in ") as raised:
        backtest(by_size, data((1, 10.0, 1), (2, 10.0, 2), (3, 10.0, 8)), **FREE)
    assert raised.value.row == 2
    assert raised.value.decisions["qty"].tolist() == [5.0, -5.0]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"cash": -1.0}, ConfigError, r"backtest\(cash=...\) must be a finite number >= 0, received -1.0"),
        ({"cash": math.inf}, ConfigError, r"backtest\(cash=...\) must be a finite number >= 0, received inf"),
        ({"latency": -1}, ConfigError, "latency must be >= 0 ns, received -1"),
        ({"latency": 0.5}, ConfigError, "latency must be whole ns or a duration like '1ms', received 0.5"),
        ({"latency": "soon"}, ConfigError, "a duration must be a positive number .* received 'soon'"),
        ({"fees": -1.0}, ConfigError, "Fees.bps must be >= 0, received -1.0"),
        ({"rules": "alpacca"}, ConfigError, "Did you mean 'alpaca'"),
        ({"params": {"share": 1}}, ModelError, "has no parameter 'share'. Did you mean 'shares'?"),
        ({"flatten": "5"}, ConfigError, "a duration must be a positive number"),
    ],
)
def test_a_bad_option_is_named(options: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        backtest(by_size, data((1, 10.0, 1)), **FREE | options)


def test_a_frame_must_say_what_it_is_of() -> None:
    index = pd.DatetimeIndex(["2013-10-08 14:00", "2013-10-08 14:01"], tz="UTC")
    frame = pd.DataFrame({"price": [10.0, 11.0], "size": [1, 9]}, index=index)
    with pytest.raises(DataError, match=r"a DataFrame does not say what it is of: pass instruments=\['SPY'\]"):
        backtest(by_size, frame)
    with pytest.raises(DataError, match=r"a frame must have the columns price and size \(trades\)"):
        backtest(by_size, frame.rename(columns={"price": "cost"}), instruments=["SPY"])


def test_contracts_that_are_not_worth_quantity_times_price_are_refused() -> None:
    table = trades([0], [60_000.0], [100])
    with pytest.raises(ConfigError, match=r"^backtest: .* received bitmex:XBTUSD, which bitmex counts in contracts"):
        backtest(by_size, table, instruments=["bitmex:XBTUSD"])


def test_a_frame_gets_its_sessions_from_the_calendar() -> None:
    index = pd.DatetimeIndex(["2013-10-08 13:00", "2013-10-08 14:00", "2013-10-08 14:01"], tz="UTC")
    frame = pd.DataFrame({"price": [10.0, 10.0, 11.0], "size": [1, 1, 9]}, index=index)
    result = backtest(by_size, frame, instruments=["SPY"], params={"shares": 1.0})
    assert result.denials() == {"SESSION": 1}
    assert [qty for _, qty, _ in fills(result)] == [1.0]


def test_a_timer_before_the_close_goes_flat() -> None:
    @strategy(on=Trade)
    def closing(trade, state, account, p):  # type: ignore[no-untyped-def]
        return buy(1.0) if trade.size == 1 else hold()

    @closing.on(BeforeClose("1s"))
    def end(timer, state, account, p):  # type: ignore[no-untyped-def]
        return target(0.0)

    s = 10**9
    events = data((s, 10.0, 1), (2 * s, 11.0, 9), (10 * s, 12.0, 9), sessions=(session(0, 10 * s + 1),))
    result = backtest(closing, events, **FREE)
    assert fills(result) == [(2 * s, 1.0, 11.0), (10 * s, -1.0, 12.0)]


# ----------------------------------------------------------- the back-test and the fold


@pytest.mark.parametrize("model", ["volume_modulo", "moving_average"])
def test_without_limits_a_model_that_ignores_its_account_decides_as_in_a_plain_fold(model: str) -> None:
    found = find_model(model)
    made = made_data(found, 2000, 8)
    fold = Fold(found, instruments=made.instruments)
    result = backtest(found, made, **FREE)
    if model == "volume_modulo":
        assert result.decisions[["seq", "qty"]].tolist() == fold.run(made)[["seq", "qty"]].tolist()
    assert result.count == 2000


def test_the_real_day(shared_data: Path, tmp_path: Path) -> None:
    """SPY on 2013-10-08: the counts that the project is measured by."""
    from mdslib.store.lean import import_lean
    from mdslib.store.parquet import ParquetStore

    store = ParquetStore(tmp_path / "store")
    (file,) = sorted((shared_data / "lean_spy_ticks").rglob("20131008*trade*.zip"))
    import_lean(file, "SPY", store)
    day = load("SPY", "2013-10-08", store=store)
    assert len(day) == 440_353
    result = backtest("volume_modulo", day, rules="permissive", limits=None)
    assert (result.sells, result.buys) == (2653, 949)
    assert result.position == -8520.0
    assert result.orders == len(result.fills) == 3602
