"""What keeps orders back in the fold: a gap until its resync, a halted instrument until it trades again."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mdslib import (
    Instrument,
    Trade,
    backtest,
    buy,
    cancel,
    find_model,
    hold,
    make_limits,
    pair,
    sell,
    strategy,
    target,
)
from mdslib.check.made import made_data, records_of
from mdslib.events import RECORD, Kind, Status, Verb
from mdslib.risk import Denial, TradingState, denial_text
from mdslib.strategy import Fold
from mdslib.strategy.answers import leg
from mdslib.strategy.driver import driver_source
from mdslib.strategy.market import market_of
from mdslib.strategy.shape import Shape
from mdslib.table import MarketData, from_columns, trades

MIXED = Path(__file__).parent / "mixed.py"
SPY = (Instrument("SPY"),)
TWO = (Instrument("SPY"), Instrument("QQQ"))
DENIED, HALTED = int(Denial.BACKFILL), int(Denial.INSTRUMENT_HALTED)


@strategy(on=Trade)
def by_size(trade, state, account, p):  # type: ignore[no-untyped-def]
    """Do what the size says, and count what it has seen."""
    state[0] += 1
    if trade.size == 1:
        return buy(5.0)
    if trade.size == 2:
        return sell(5.0)
    if trade.size == 3:
        return cancel()
    if trade.size == 4:
        return target(50.0)
    if trade.size == 5:
        return buy(math.nan)
    if trade.size == 6:
        return pair(leg(0, 1.0), leg(1, 2.0))
    return hold()


def record(kind: Kind, code: int = 0, **slots: float) -> np.ndarray:
    made = np.zeros(1, RECORD)
    made["kind"], made["code"] = kind, code
    for name, value in slots.items():
        made[name] = value
    return made


def trade(size: int, instrument: int = 0) -> np.ndarray:
    return record(Kind.TRADE, i0=size, f0=100.0, instrument=instrument)


def update(status: Status, last: float = 0.0, leaves: float = 0.0) -> np.ndarray:
    return record(Kind.UPDATE, int(status), f0=last, f1=100.0, f3=leaves)


GAP, RESYNC = record(Kind.GAP, 1), record(Kind.RESYNC)


def denied(fold: Fold, *records: np.ndarray) -> list[int]:
    decisions: list[int] = fold.feed(np.concatenate(records))["denied"].tolist()
    return decisions


@pytest.mark.parametrize("limits", [None, make_limits(session=0)])
def test_between_gap_and_resync_an_order_is_denied_and_reserves_nothing(limits: object) -> None:
    fold = Fold(by_size, instruments=SPY, limits=limits, cash=1e6)  # type: ignore[arg-type]
    assert denied(fold, trade(1), GAP, trade(1), trade(4), trade(4), RESYNC, trade(1)) == [0, DENIED, DENIED, DENIED, 0]
    assert float(fold.account[0]["open_qty"]) == 10.0
    assert int(fold.core.risk[0]["sent"]) == (0 if limits is None else 2)


def test_a_denial_by_a_gap_says_so() -> None:
    assert denial_text(DENIED, 0.0, 5.0) == (
        "BACKFILL: market events were missed and are being filled in; orders flow again once the feed is whole"
    )
    assert denial_text(HALTED, 0.0, 5.0) == "INSTRUMENT_HALTED: the venue has halted trading in this instrument"


def test_the_model_sees_what_is_filled_in() -> None:
    fold = Fold(by_size, instruments=SPY)
    denied(fold, trade(9), GAP, trade(9), trade(9), RESYNC)
    assert int(fold.state[0]) == 3
    assert float(fold.account[0]["last_px"]) == 100.0


def test_a_gap_of_another_code_keeps_nothing_back() -> None:
    fold = Fold(by_size, instruments=SPY)
    assert denied(fold, record(Kind.GAP, 0), trade(1)) == [0]


def test_a_cancel_passes_in_a_gap() -> None:
    fold = Fold(by_size, instruments=SPY)
    decisions = fold.feed(np.concatenate([trade(1), GAP, trade(3)]))
    assert decisions[["verb", "denied"]].tolist() == [(Verb.ORDER, 0), (Verb.CANCEL, 0)]


def test_nonsense_is_still_called_nonsense() -> None:
    assert denied(Fold(by_size, instruments=SPY), GAP, trade(5)) == [int(Denial.INVALID)]


def test_both_legs_of_a_pair_are_held() -> None:
    assert denied(Fold(by_size, instruments=TWO), GAP, trade(6)) == [DENIED, DENIED]


def test_a_second_gap_ends_with_the_same_resync() -> None:
    assert denied(Fold(by_size, instruments=SPY), GAP, GAP, RESYNC, trade(1)) == [0]


def test_a_fill_is_booked_in_a_gap() -> None:
    fold = Fold(by_size, instruments=SPY)
    denied(fold, trade(1), GAP, update(Status.FILLED, 5.0))
    a = fold.account[0]
    assert (float(a["position"]), float(a["open_qty"])) == (5.0, 0.0)


def test_a_command_and_a_gap_do_not_undo_each_other() -> None:
    fold = Fold(by_size, instruments=SPY)
    halt, resume, reduce = (record(Kind.CONTROL, code) for code in (2, 0, 1))
    assert denied(fold, halt, GAP, trade(1), RESYNC, trade(1)) == [int(Denial.HALTED)] * 2
    assert denied(fold, GAP, resume, trade(1), RESYNC, trade(1)) == [DENIED, 0]
    assert denied(fold, GAP, reduce, trade(1), RESYNC, trade(1)) == [DENIED, int(Denial.REDUCING)]
    assert int(fold.core.risk[0]["state"]) == TradingState.REDUCING


def test_going_flat_is_not_held_up_by_a_gap() -> None:
    fold = Fold(by_size, instruments=SPY)
    decisions = fold.feed(np.concatenate([record(Kind.OPENING, f0=7.0), GAP, record(Kind.CONTROL, 3)]))
    assert decisions[["verb", "qty", "denied"]].tolist() == [(Verb.RELEASE, -7.0, 0)]


def test_a_flip_whose_close_fills_in_a_gap_does_not_open() -> None:
    fold = Fold(by_size, instruments=SPY, split_flips=True)
    fold.feed(np.concatenate([record(Kind.OPENING, f0=3.0), trade(2)]))
    assert float(fold.account[0]["parked"]) == -2.0
    assert denied(fold, GAP, update(Status.FILLED, -3.0), RESYNC) == [DENIED]
    assert (float(fold.account[0]["parked"]), float(fold.account[0]["open_qty"])) == (0.0, 0.0)


def test_a_strategy_says_that_it_wants_orders_on_backfilled_events() -> None:
    @strategy(on=Trade, orders_on_backfill=True)
    def eager(trade, state, account, p):  # type: ignore[no-untyped-def]
        return hold()

    assert (by_size.orders_on_backfill, eager.orders_on_backfill) == (False, True)


# ------------------------------------------------------------------------------------------------ halted instruments


def status(letter: str, instrument: int = 0, luld: int = 0) -> np.ndarray:
    return record(Kind.STATUS, ord(letter), instrument=instrument, i1=luld)


@pytest.mark.parametrize(("halt", "resume"), [("2", "3"), ("H", "T"), ("P", "T")])
def test_a_halted_instrument_takes_no_orders_until_it_trades_again(halt: str, resume: str) -> None:
    fold = Fold(by_size, instruments=TWO)
    records = [status(halt, 1), trade(1, 1), trade(1, 0), trade(3, 1), status(resume, 1), trade(1, 1)]
    assert denied(fold, *records) == [HALTED, 0, 0, 0]


@pytest.mark.parametrize("letter", ["Q", "E", "F", "5", "A"])
def test_other_statuses_change_nothing(letter: str) -> None:
    fold = Fold(by_size, instruments=SPY)
    assert denied(fold, status(letter), trade(1), status("H"), status(letter), trade(1)) == [0, HALTED]


def test_a_price_band_is_no_halt() -> None:
    assert denied(Fold(by_size, instruments=SPY), status("H", luld=1), trade(1)) == [0]


def test_each_instrument_resumes_for_itself() -> None:
    fold = Fold(by_size, instruments=TWO)
    assert denied(fold, status("H", 0), status("H", 1), status("T", 0), trade(1, 0), trade(1, 1)) == [0, HALTED]
    assert denied(fold, status("T", 1), trade(1, 1)) == [0]
    assert int(fold.core.risk[0]["state"]) == TradingState.ACTIVE


def test_a_status_of_a_stranger_is_refused() -> None:
    from mdslib.errors import DataError

    with pytest.raises(DataError, match="an event names instrument 3, but the fold of 'by_size' has 1"):
        Fold(by_size, instruments=SPY).feed(status("H", 3))


# ------------------------------------------------------------------------------------------------- research, back-test


def marked(data: MarketData, marks: int = 40) -> MarketData:
    """Return the data with gaps and halts all over it."""
    random = np.random.default_rng(7)
    first, last = int(data.tables[0]["ts_event"][0]), int(data.tables[0]["ts_event"][-1])
    times = np.sort(random.integers(first, last, marks))
    held = np.resize([1, 1, 0, 1], marks // 2)
    letters = np.resize([ord(letter) for letter in "HT2P3Q"], marks)
    which = np.resize(np.arange(len(data.instruments)), marks)
    status = {
        "tape": which * 0,
        "status": letters,
        "reason": which * 0,
        "luld": which % 2,
        "limit_up": which * math.nan,
    }
    tables = (
        from_columns(Kind.GAP, {"ts_event": times[::2], "held": held, "since": times[::2]}),
        from_columns(Kind.RESYNC, {"ts_event": times[1::2], "recovered": held, "doubled": held}),
        from_columns(
            Kind.STATUS, {"ts_event": times + 1, "instrument": which, "limit_down": which * math.nan, **status}
        ),
    )
    return MarketData(data.instruments, (*data.tables, *tables), data.sessions)


@pytest.mark.parametrize("model", ["volume_modulo", "moving_average", "pairs_zscore", MIXED])
def test_research_over_columns_holds_the_orders_that_the_tape_s_fold_holds(model: str | Path) -> None:
    found = find_model(model)
    quick = {"moving_average": {"fast": 3, "slow": 9}, "pairs_zscore": {"warm_up": 20, "half_life": 30.0}}
    params = found.make_params(**quick.get(found.name, {}))
    data = marked(made_data(found, 1_500, 3))
    research, live = (Fold(found, params, instruments=data.instruments, cash=1e6) for _ in range(2))
    columns = research.run(data)
    records = live.feed(records_of(market_of(found, data, found.market_kinds)))
    columns["seq"] += 1
    assert columns.tobytes() == records.tobytes()
    assert research.digest() == live.digest()
    assert DENIED in columns["denied"].tolist()


def test_a_back_test_holds_orders_in_the_gaps_of_its_data() -> None:
    ts = np.arange(1, 7, dtype=np.int64) * 10**9
    table = trades(ts, [100.0] * 6, [1, 1, 1, 1, 9, 9])
    gap = from_columns(Kind.GAP, {"ts_event": [ts[1]], "held": [1], "since": [ts[0]]})
    resync = from_columns(Kind.RESYNC, {"ts_event": [ts[3]], "recovered": [2], "doubled": [0]})
    data = MarketData(SPY, (table, gap, resync))
    result = backtest(by_size, data, rules="permissive", limits=make_limits(session=0), cash=1e6)
    assert result.decisions["denied"].tolist() == [0, DENIED, DENIED, 0]
    assert (result.position, result.denials()) == (10.0, {"BACKFILL": 2})
    whole = backtest(by_size, MarketData(SPY, (table,)), rules="permissive", limits=make_limits(session=0), cash=1e6)
    assert whole.position == 20.0


def test_without_gaps_nothing_of_them_is_compiled() -> None:
    shape = Shape((Kind.TRADE,), limited=True, single=True, backtest=True, match_on=Kind.TRADE)
    assert "hold_orders" not in driver_source(by_size, shape)
    assert "hold_orders" in driver_source(by_size, shape._replace(marks=True))
