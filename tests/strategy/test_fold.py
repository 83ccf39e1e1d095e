"""The fold: any cut of the events gives the same decisions, state and account; what own records do; what is refused."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdslib import Every, Instrument, Trade, buy, cancel, find_model, hold, leg, pair, records, sell, strategy, target
from mdslib.check.made import made_data, records_of, with_fills
from mdslib.errors import DataError, ModelError, ModelRaised
from mdslib.events import RECORD, Kind, Status, Verb
from mdslib.risk import Denial, Limits, TradingState, make_limits
from mdslib.strategy import Fold, Strategy
from mdslib.strategy.answers import Answer, Leg
from mdslib.strategy.decide import is_stuck
from mdslib.strategy.market import market_of
from mdslib.table import MarketData, trades

SPY = (Instrument("SPY"),)
MIXED = Path(__file__).parent / "mixed.py"
MODELS = ["volume_modulo", "moving_average", "pairs_zscore", MIXED]
NAN = math.nan
CASH = 100_000.0
EVENTS = 1500


class Case(NamedTuple):
    model: Strategy
    data: MarketData
    tape: np.ndarray

    def fold(self, limits: Limits | None = None) -> Fold:
        return Fold(self.model, self.params, instruments=self.data.instruments, cash=CASH, limits=limits)

    @property
    def params(self) -> Any:
        quick = {"moving_average": {"fast": 3, "slow": 9}, "pairs_zscore": {"warm_up": 20, "half_life": 30.0}}
        return self.model.make_params(**quick.get(self.model.name, {}))


def case(model: Any) -> Case:
    found = find_model(model)
    data = made_data(found, EVENTS, 3)
    return Case(found, data, records_of(market_of(found, data, found.market_kinds)))


def own_records(made: Case) -> np.ndarray:
    """The events with fills, rejections, an opening, trading states and a denial by the desk among them."""
    tape = with_fills(made.fold(), made.tape, 5)
    opening = np.zeros(len(made.data.instruments), RECORD)
    opening["kind"], opening["instrument"] = Kind.OPENING, np.arange(len(opening))
    opening["f0"], opening["f1"] = 3.0, 99.0
    opening["f2"][0] = 5000.0
    control = np.zeros(4, RECORD)
    control["kind"], control["code"] = Kind.CONTROL, [2, 0, 1, 3]
    desk = np.zeros(1, RECORD)
    desk["kind"], desk["code"], desk["f0"] = Kind.DENIED, 256 + int(Denial.HALT_FILE), 2.0
    fifth = len(tape) // 5
    parts = [opening]
    held = np.zeros(4, RECORD)
    held["kind"], held["code"] = [Kind.GAP, Kind.RESYNC, Kind.STATUS, Kind.STATUS], [1, 0, ord("H"), ord("T")]
    for place, extra in enumerate(
        np.concatenate([a, b])
        for a, b in zip(
            [desk, control[:1], control[1:2], control[2:3], control[3:]],
            [held[:1], held[1:2], held[2:3], held[3:], held[:1]],
            strict=True,
        )
    ):
        parts += [tape[place * fifth : (place + 1) * fifth], extra]
    joined = np.concatenate([*parts, tape[5 * fifth :]])
    joined["seq"] = np.arange(1, len(joined) + 1)
    return joined


CASES = {str(model): case(model) for model in MODELS}
FULL = {name: own_records(made) for name, made in CASES.items()}
pytestmark = pytest.mark.compiled


def fed(fold: Fold, tape: np.ndarray, ends: list[int]) -> np.ndarray:
    start, parts = 0, []
    for end in [*ends, len(tape)]:
        parts.append(fold.feed(tape[start:end].copy()))
        start = end
    return np.concatenate(parts)


# ------------------------------------------------------------------------------------------------------- any cut


@pytest.mark.parametrize("name", CASES)
def test_research_over_columns_equals_live_over_records(name: str) -> None:
    made = CASES[name]
    research, live = made.fold(), made.fold()
    by_columns = research.run(made.data)
    by_records = live.feed(made.tape)
    by_columns["seq"] += 1
    assert len(by_columns) > 0
    assert by_columns.tobytes() == by_records.tobytes()
    assert research.digest() == live.digest()
    assert research.position == live.position == len(made.tape)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, EVENTS), max_size=30))
def test_any_cut_gives_bit_equal_decisions_state_and_account(name: str, cuts: list[int]) -> None:
    made, tape = CASES[name], FULL[name]
    limits = make_limits(max_position=50.0, max_orders_per_minute=40, session=0)
    whole, cut = made.fold(limits), made.fold(limits)
    together = whole.feed(tape)
    apart = fed(cut, tape, sorted(cuts))
    assert together.tobytes() == apart.tobytes()
    assert whole.digest() == cut.digest()


@pytest.mark.parametrize("name", CASES)
def test_one_event_at_a_time_gives_the_same(name: str) -> None:
    made, tape = CASES[name], FULL[name]
    whole, single = made.fold(), made.fold()
    assert whole.feed(tape).tobytes() == fed(single, tape, list(range(1, len(tape)))).tobytes()
    assert whole.digest() == single.digest()


@pytest.mark.parametrize("name", CASES)
def test_saved_and_restored_in_the_middle_it_goes_on_alike(name: str) -> None:
    made, tape = CASES[name], FULL[name]
    whole, first, second = made.fold(), made.fold(), made.fold()
    together = whole.feed(tape)
    before = first.feed(tape[:700])
    second.restore(first.save())
    assert second.position == 700
    assert together.tobytes() == np.concatenate([before, second.feed(tape[700:])]).tobytes()
    assert whole.digest() == second.digest()


def test_a_state_of_other_code_or_other_sizes_is_not_restored() -> None:
    average = find_model("moving_average")
    saved = Fold(average, instruments=SPY).save()
    with pytest.raises(
        ModelError, match=r"the saved state is of fingerprint .* fold the tape again with this code instead"
    ):
        Fold(find_model("volume_modulo"), instruments=SPY).restore(saved)
    with pytest.raises(
        ModelError, match="the saved state of strategy 'moving_average' has other sizes; restore it into"
    ):
        Fold(average, average.make_params(slow=50), instruments=SPY).restore(saved)


def test_room_for_decisions_grows_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    made = CASES["volume_modulo"]
    p = made.model.make_params(sell_modulus=1)
    wide, narrow = (Fold(made.model, p, instruments=SPY) for _ in range(2))
    expected = wide.run(made.data)
    monkeypatch.setattr(Fold, "_new_out", lambda self, room: records(70 if room < 300 else room, expected.dtype))
    narrow._out = narrow._new_out(1)
    assert len(expected) == EVENTS
    got = narrow.feed(made.tape)
    got["seq"] -= 1
    assert got.tobytes() == expected.tobytes()


# ---------------------------------------------------------------------------------------- what a decision reserves


class Qty(NamedTuple):
    shares: float = 5.0


@strategy(on=Trade, params=Qty)
def to_target(trade, state, account, p):  # type: ignore[no-untyped-def]
    return target(p.shares)


@strategy(on=Trade, params=Qty)
def by_size(trade, state, account, p):  # type: ignore[no-untyped-def]
    if trade.size == 1:
        return buy(p.shares)
    if trade.size == 2:
        return sell(p.shares)
    if trade.size == 3:
        return cancel()
    if trade.size == 9:
        raise ValueError("nine")
    return hold()


def market(*sizes: int, price: float = 100.0, start: int = 1) -> np.ndarray:
    tape = np.zeros(len(sizes), RECORD)
    tape["kind"], tape["i0"], tape["f0"] = Kind.TRADE, sizes, price
    tape["seq"] = np.arange(start, start + len(sizes))
    tape["ts_event"] = tape["seq"] * 1_000_000_000
    return tape


def update(status: Status, last: float = 0.0, px: float = 0.0, leaves: float = 0.0, fee: float = 0.0) -> np.ndarray:
    made = np.zeros(1, RECORD)
    made["kind"], made["code"] = Kind.UPDATE, status
    made["f0"], made["f1"], made["f3"], made["f4"] = last, px, leaves, fee
    return made


def other(kind: Kind, code: int = 0, **slots: float) -> np.ndarray:
    made = np.zeros(1, RECORD)
    made["kind"], made["code"] = kind, code
    for name, value in slots.items():
        made[name] = value
    return made


def test_a_target_is_not_ordered_twice_in_one_batch() -> None:
    fold = Fold(to_target, instruments=SPY)
    decisions = fold.feed(market(1, 1, 1, 1))
    assert decisions[["seq", "qty", "verb"]].tolist() == [(1, 5.0, Verb.TARGET)]
    assert float(fold.account[0]["open_qty"]) == 5.0


def test_a_target_is_ordered_again_after_a_rejection() -> None:
    fold = Fold(to_target, instruments=SPY)
    fold.feed(market(1))
    fold.feed(update(Status.REJECTED, leaves=5.0))
    assert float(fold.account[0]["open_qty"]) == 0.0
    assert fold.feed(market(1, start=3))["qty"].tolist() == [5.0]


@pytest.mark.parametrize(
    ("updates", "position", "open_qty"),
    [
        ([update(Status.NEW, leaves=5.0)], 0.0, 5.0),
        ([update(Status.PARTIALLY_FILLED, 2.0, 100.0, 3.0)], 2.0, 3.0),
        ([update(Status.PARTIALLY_FILLED, 2.0, 100.0, 3.0), update(Status.CANCELED, leaves=3.0)], 2.0, 0.0),
        ([update(Status.FILLED, 5.0, 100.0)], 5.0, 0.0),
        ([update(Status.EXPIRED, leaves=5.0)], 0.0, 0.0),
        ([other(Kind.DENIED, 256 + Denial.HALT_FILE, f0=5.0)], 0.0, 0.0),
        ([other(Kind.DENIED, Denial.POSITION, f0=5.0)], 0.0, 5.0),  # the fold's own: it never reserved anything
        ([other(Kind.EXPIRED, f0=5.0)], 0.0, 0.0),
        ([other(Kind.UNKNOWN, f0=5.0)], 0.0, 5.0),  # it may have landed
    ],
)
def test_open_quantity_follows_the_fate_of_the_order(
    updates: list[np.ndarray], position: float, open_qty: float
) -> None:
    fold = Fold(by_size, instruments=SPY, cash=1000.0)
    fold.feed(np.concatenate([market(1), *updates]))
    a = fold.account[0]
    assert (float(a["position"]), float(a["open_qty"]), float(a["buys"])) == (position, open_qty, open_qty)
    assert float(a["cash"]) == 1000.0 - 100.0 * position


def test_fractions_leave_no_dust_behind() -> None:
    fold = Fold(to_target, to_target.make_params(shares=0.3), instruments=[Instrument("SPY", fractionable=True)])
    fold.feed(market(1))
    fold.feed(np.concatenate([update(Status.PARTIALLY_FILLED, 0.1, 1.0, 0.2), update(Status.FILLED, 0.2, 1.0)]))
    assert float(fold.account[0]["buys"]) == float(fold.account[0]["open_qty"]) == 0.0
    assert len(fold.feed(market(1, start=4))) == 0


def test_a_fill_books_its_fee() -> None:
    fold = Fold(by_size, instruments=SPY, cash=1000.0)
    fold.feed(np.concatenate([market(1), update(Status.FILLED, 5.0, 100.0, fee=0.5)]))
    assert float(fold.account[0]["cash"]) == 499.5


def test_an_opening_sets_position_average_and_cash() -> None:
    fold = Fold(to_target, instruments=SPY)
    fold.feed(other(Kind.OPENING, f0=4.0, f1=90.0, f2=1234.0))
    a = fold.account[0]
    assert (float(a["position"]), float(a["avg_px"]), float(a["cash"])) == (4.0, 90.0, 1234.0)
    assert fold.feed(market(1))["qty"].tolist() == [1.0]


# ----------------------------------------------------------------------------------------------- trading states


def test_halted_denies_and_resumed_lets_through() -> None:
    fold = Fold(by_size, instruments=SPY)
    fold.feed(other(Kind.CONTROL, 2))
    (denied,) = fold.feed(market(1))
    assert (int(denied["denied"]), float(denied["value"])) == (Denial.HALTED, 5.0)
    assert float(fold.account[0]["open_qty"]) == 0.0
    fold.feed(other(Kind.CONTROL, 0))
    assert fold.feed(market(1))["denied"].tolist() == [0]


def test_a_control_code_that_nobody_knows_halts() -> None:
    fold = Fold(by_size, instruments=SPY)
    fold.feed(other(Kind.CONTROL, 77))
    assert int(fold.core.risk[0]["state"]) == TradingState.HALTED


def test_reducing_lets_a_cancel_and_a_close_through() -> None:
    fold = Fold(by_size, instruments=SPY)
    fold.feed(np.concatenate([other(Kind.OPENING, f0=5.0), other(Kind.CONTROL, 1)]))
    decisions = fold.feed(market(1, 3, 2, 2))
    assert decisions["denied"].tolist() == [Denial.REDUCING, 0, 0, Denial.REDUCING]


def flat(fold: Fold) -> np.ndarray:
    return fold.feed(other(Kind.CONTROL, 3, seq=50))


def test_go_flat_closes_what_is_held_and_lets_nothing_open() -> None:
    fold = Fold(by_size, instruments=SPY)
    fold.feed(other(Kind.OPENING, f0=7.0))
    assert flat(fold)[["seq", "leg", "verb", "qty", "denied"]].tolist() == [(50, 8, Verb.RELEASE, -7.0, 0)]
    assert fold.feed(market(1))["denied"].tolist() == [Denial.REDUCING]


def test_go_flat_cancels_first_and_closes_when_nothing_works_any_more() -> None:
    fold = Fold(by_size, instruments=SPY)
    fold.feed(np.concatenate([market(1), update(Status.PARTIALLY_FILLED, 2.0, 100.0, 3.0)]))
    assert flat(fold)["verb"].tolist() == [Verb.CANCEL]
    (close,) = fold.feed(update(Status.CANCELED, leaves=3.0))
    assert (int(close["verb"]), float(close["qty"])) == (Verb.RELEASE, -2.0)


def test_a_close_passes_the_limits_on_one_order_in_pieces() -> None:
    """At 100.00, 450.00 is worth 4 shares; the rest follows each fill."""
    fold = Fold(by_size, instruments=SPY, limits=make_limits(max_order_notional=450.0, session=0))
    fold.feed(np.concatenate([other(Kind.OPENING, f0=-9.0, f1=100.0, f2=CASH), market(4)]))
    assert flat(fold)[["qty", "denied"]].tolist() == [(4.0, 0)]
    assert fold.feed(update(Status.PARTIALLY_FILLED, 1.0, 100.0, 3.0))["qty"].tolist() == []
    assert fold.feed(update(Status.FILLED, 3.0, 100.0))["qty"].tolist() == [4.0]
    assert fold.feed(update(Status.FILLED, 4.0, 100.0))["qty"].tolist() == [1.0]
    assert len(fold.feed(update(Status.FILLED, 1.0, 100.0))) == 0
    assert float(fold.account[0]["position"]) == 0.0


def test_a_fraction_that_is_held_is_closed_in_whole_lots_first() -> None:
    spy = [Instrument("SPY", fractionable=True)]
    fold = Fold(by_size, instruments=spy, limits=make_limits(max_order_qty=2.0, session=0))
    fold.feed(np.concatenate([other(Kind.OPENING, f0=2.25, f1=100.0, f2=CASH), market(4)]))
    assert flat(fold)["qty"].tolist() == [-2.0]
    assert fold.feed(update(Status.FILLED, -2.0, 100.0))["qty"].tolist() == [-0.25]


def test_a_close_of_which_no_lot_passes_is_denied_by_the_limit_that_speaks() -> None:
    fold = Fold(by_size, instruments=SPY, limits=make_limits(max_order_notional=50.0, session=0))
    fold.feed(np.concatenate([other(Kind.OPENING, f0=3.0, f1=100.0, f2=CASH), market(4)]))
    assert flat(fold)[["verb", "qty", "denied", "bound", "value"]].tolist() == [
        (Verb.RELEASE, -3.0, Denial.ORDER_NOTIONAL, 50.0, 300.0)
    ]
    assert is_stuck(fold.account), "so it is looked at again"
    assert float(fold.account[0]["sells"]) == 0.0


def test_going_flat_is_stuck_only_where_nothing_is_on_its_way() -> None:
    fold = Fold(by_size, instruments=SPY)
    fold.feed(other(Kind.OPENING, f0=7.0))
    assert not is_stuck(fold.account), "nobody wants it flat"
    flat(fold)
    assert not is_stuck(fold.account), "the close works"
    fold.feed(update(Status.REJECTED, leaves=-7.0))
    assert is_stuck(fold.account)
    fold.feed(other(Kind.CONTROL, 2))
    assert not is_stuck(fold.account), "a halt ends it"


def test_a_close_that_was_rejected_is_not_sent_again_by_itself() -> None:
    fold = Fold(by_size, instruments=SPY)
    fold.feed(other(Kind.OPENING, f0=7.0))
    flat(fold)
    assert len(fold.feed(update(Status.REJECTED, leaves=-7.0))) == 0
    assert flat(fold)["qty"].tolist() == [-7.0]


def test_a_halt_ends_going_flat_so_that_a_canceled_close_is_not_sent_once_more() -> None:
    fold = Fold(by_size, instruments=SPY)
    fold.feed(other(Kind.OPENING, f0=7.0))
    flat(fold)
    fold.feed(other(Kind.CONTROL, 2))
    assert len(fold.feed(update(Status.CANCELED, leaves=-7.0))) == 0
    assert flat(fold)["qty"].tolist() == [-7.0], "who says so again is heard"


def test_resumed_after_going_flat_positions_may_be_held_again() -> None:
    fold = Fold(by_size, instruments=SPY)
    flat(fold)
    fold.feed(other(Kind.CONTROL, 0))
    fold.feed(market(1))
    assert len(fold.feed(update(Status.FILLED, 5.0, 100.0))) == 0
    assert float(fold.account[0]["position"]) == 5.0


def test_a_fraction_that_is_held_from_elsewhere_can_be_closed() -> None:
    fold = Fold(by_size, instruments=SPY)
    closing = fold.feed(np.concatenate([other(Kind.OPENING, f0=0.5), other(Kind.CONTROL, 3)]))
    assert closing[["verb", "qty", "denied"]].tolist() == [(Verb.RELEASE, -0.5, 0)]


def test_going_flat_in_many_instruments_numbers_every_leg_otherwise() -> None:
    many = [Instrument(f"S{k}") for k in range(200)]
    fold = Fold(by_size, instruments=many)
    opening = np.zeros(200, RECORD)
    opening["kind"], opening["instrument"], opening["f0"] = Kind.OPENING, np.arange(200), 1.0
    fold.feed(opening)
    decisions = flat(fold)
    assert decisions["leg"].tolist() == list(range(8, 208))
    assert decisions["qty"].tolist() == [-1.0] * 200


# --------------------------------------------------------------------------------------------- flips that are split


def test_a_flip_is_split_into_a_close_and_an_open_after_its_fill() -> None:
    fold = Fold(to_target, to_target.make_params(shares=-5.0), instruments=SPY, split_flips=True)
    fold.feed(other(Kind.OPENING, f0=8.0))
    assert fold.feed(market(1, 1))[["qty", "parked"]].tolist() == [(-8.0, -5.0)]
    assert float(fold.account[0]["open_qty"]) == -13.0
    assert len(fold.feed(update(Status.PARTIALLY_FILLED, -3.0, 100.0, -5.0))) == 0
    (release,) = fold.feed(update(Status.FILLED, -5.0, 100.0))
    assert (int(release["verb"]), float(release["qty"])) == (Verb.RELEASE, -5.0)
    assert (float(fold.account[0]["open_qty"]), float(fold.account[0]["parked"])) == (-5.0, 0.0)


def test_the_second_half_of_a_flip_passes_the_limits_of_its_own_moment() -> None:
    limits = make_limits(max_orders_per_minute=1, session=0)
    fold = Fold(
        to_target, to_target.make_params(shares=-5.0), instruments=SPY, split_flips=True, limits=limits, cash=CASH
    )
    fold.feed(other(Kind.OPENING, f0=8.0, f2=CASH))
    fold.feed(market(1))
    filled = update(Status.FILLED, -8.0, 100.0)
    filled["ts_event"] = 10 * 10**9
    assert fold.feed(filled)[["verb", "qty", "denied"]].tolist() == [(Verb.RELEASE, -5.0, Denial.ORDER_RATE)]
    assert (float(fold.account[0]["open_qty"]), float(fold.account[0]["parked"])) == (0.0, 0.0)
    assert fold.feed(market(1, start=62))[["verb", "qty", "denied"]].tolist() == [(Verb.TARGET, -5.0, 0)]


@pytest.mark.parametrize(
    "fate", [update(Status.REJECTED, leaves=-8.0), other(Kind.DENIED, 256 + Denial.HALT_FILE, f0=-8.0)]
)
def test_where_the_close_does_not_happen_the_flip_is_off(fate: np.ndarray) -> None:
    fold = Fold(to_target, to_target.make_params(shares=-5.0), instruments=SPY, split_flips=True)
    fold.feed(other(Kind.OPENING, f0=8.0))
    fold.feed(market(1))
    assert len(fold.feed(fate)) == 0
    a = fold.account[0]
    assert (float(a["open_qty"]), float(a["parked"]), float(a["sells"])) == (0.0, 0.0, 0.0)


def test_a_later_order_takes_back_what_is_parked() -> None:
    fold = Fold(by_size, by_size.make_params(shares=12.0), instruments=SPY, split_flips=True)
    fold.feed(other(Kind.OPENING, f0=8.0))
    fold.feed(market(2))
    assert float(fold.account[0]["parked"]) == -4.0
    (taken,) = fold.feed(market(1))
    assert (float(taken["qty"]), float(taken["parked"])) == (8.0, 4.0)
    assert float(fold.account[0]["parked"]) == 0.0
    assert float(fold.account[0]["open_qty"]) == 0.0


# ---------------------------------------------------------------------------------------- answers that are no orders


class Odd(NamedTuple):
    verb: int = 1
    instrument: int = -1
    qty: float = 1.0
    limit: float = NAN
    tif: int = 0


@strategy(on=Trade, params=Odd)
def odd(trade, state, account, p):  # type: ignore[no-untyped-def]
    return Answer(Leg(p.verb, p.instrument, p.qty, p.limit, p.tif), Leg(0, -1, 0.0, NAN, 0))


@pytest.mark.parametrize(
    "values",
    [
        {"qty": NAN},
        {"qty": 0.0},
        {"qty": math.inf},
        {"qty": 1e12},
        {"qty": -1e300},
        {"verb": 2, "qty": NAN},
        {"verb": 2, "qty": math.inf},
        {"limit": 0.0},
        {"limit": -1.0},
        {"limit": math.inf},
        {"limit": -math.inf},
        {"instrument": 1},
        {"instrument": 70_000},
        {"instrument": 2**40},
        {"verb": 99},
        {"verb": 4},
        {"verb": -1},
        {"verb": 257},
        {"tif": 3},
        {"tif": -1},
        {"tif": 256},
        {"verb": 3, "instrument": 1},
    ],
    ids=str,
)
def test_an_answer_that_is_no_order_is_denied_as_invalid(values: dict[str, float]) -> None:
    fold = Fold(odd, odd.make_params(**values), instruments=SPY, limits=make_limits(session=0))
    (decision,) = fold.feed(market(5))
    assert int(decision["denied"]) == Denial.INVALID
    assert int(decision["instrument"]) == 0
    assert Verb(int(decision["verb"])) in (Verb.ORDER, Verb.TARGET, Verb.CANCEL)
    a = fold.account[0]
    assert (float(a["open_qty"]), float(a["buys"]), float(a["sells"])) == (0.0, 0.0, 0.0)
    assert int(fold.core.risk[0]["sent"]) == 0


def test_a_leg_of_another_instrument_that_the_session_has_is_its_own() -> None:
    @strategy(on=Trade, instruments=2)
    def two(trade, state, account, p):  # type: ignore[no-untyped-def]
        return pair(leg(1, 2.0), leg(0, -1.0))

    fold = Fold(two, instruments=[Instrument("A"), Instrument("B")])
    assert fold.feed(market(1))[["instrument", "leg", "qty"]].tolist() == [(1, 0, 2.0), (0, 1, -1.0)]


# ------------------------------------------------------------------------------------------------------ hostile input


def test_a_record_of_an_instrument_that_the_session_lacks_is_an_error_and_writes_nothing() -> None:
    fold = Fold(by_size, instruments=SPY)
    tape = market(1, 1)
    tape["instrument"][1] = 60_000
    with pytest.raises(DataError, match=r"an event names instrument 60000, but the fold of 'by_size' has 1 \(SPY\)"):
        fold.feed(tape)
    data = MarketData((*SPY, Instrument("QQQ")), (trades([1, 2], [1.0, 1.0], [1, 1], instrument=[0, 1]),))
    with pytest.raises(DataError, match="an event names instrument 1, but the fold of 'by_size' has 1"):
        Fold(by_size, instruments=SPY).run(data)


def test_nothing_gives_no_decisions() -> None:
    fold = Fold(by_size, instruments=SPY)
    assert len(fold.feed(market())) == 0
    assert len(fold.run(MarketData(SPY, (trades([], [], []),)))) == 0


@pytest.mark.parametrize("ts", [2**40, 0, -(2**40), 2**62])
def test_any_time_is_taken(ts: int) -> None:
    tape = market(1)
    tape["ts_event"] = ts
    assert int(Fold(by_size, instruments=SPY).feed(tape)[0]["ts_event"]) == ts


def test_a_price_of_nan_is_kept_from_a_limit_on_value() -> None:
    fold = Fold(by_size, instruments=SPY, limits=make_limits(session=0))
    (decision,) = fold.feed(market(1, price=NAN))
    assert int(decision["denied"]) == Denial.ORDER_NOTIONAL


def test_a_model_that_raises_names_the_row_and_keeps_what_it_had_decided() -> None:
    fold = Fold(by_size, instruments=SPY)
    with pytest.raises(ModelRaised) as raised:
        fold.feed(market(1, 5, 2, 9, 1))
    said = r"model 'by_size' raised ValueError: nine - at event 3 in strategy/test_fold.py, line \d+; the dec.*"
    assert re.fullmatch(said, str(raised.value))
    assert raised.value.row == 3
    assert raised.value.decisions["qty"].tolist() == [5.0, -5.0]
    assert float(fold.account[0]["buys"]) == 5.0


def test_timers_need_sessions() -> None:
    @strategy(on=Every("1s"))
    def ticking(timer, state, account, p):  # type: ignore[no-untyped-def]
        return hold()

    with pytest.raises(DataError, match="strategy 'ticking' has timers, but the data has no sessions"):
        Fold(ticking, instruments=SPY).run(MarketData(SPY, (trades([1], [1.0], [1]),)))


def test_a_kind_that_the_data_lacks_is_named() -> None:
    with pytest.raises(DataError, match="strategy 'moving_average' takes bar events, the data holds trade; load them"):
        Fold(find_model("moving_average"), instruments=SPY).run(MarketData(SPY, (trades([1], [1.0], [1]),)))
