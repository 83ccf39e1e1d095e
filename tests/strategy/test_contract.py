"""What a declaration may say, and the text of every error where it breaks a rule."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest

from mdslib import (
    DAY,
    IOC,
    Bar,
    BeforeClose,
    Every,
    Instrument,
    OrderUpdate,
    Quote,
    Trade,
    buy,
    cancel,
    cancel_leg,
    find_model,
    hold,
    leg,
    pair,
    records,
    sell,
    strategy,
    target,
    target_leg,
)
from mdslib.account import new_account
from mdslib.errors import ConfigError, ModelError
from mdslib.events import Kind, Verb
from mdslib.strategy import Fold
from mdslib.strategy.contract import no_state
from mdslib.strategy.timers import duration_ns, schedule


class Params(NamedTuple):
    modulus: int = 7
    shares: float = 5.0
    long_only: bool = False


def step(event: Any, state: Any, account: Any, p: Any) -> Any:
    return hold()


def declared(**options: Any) -> Any:
    return strategy(**{"on": Trade, "params": Params} | options)(step)


# ---------------------------------------------------------------------------------------------------- declaration


class Untyped(NamedTuple):
    text: str = ""


class Bare(NamedTuple):
    needed: int
    given: int = 1


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (
            lambda: strategy(on=Trade, params=dict),  # type: ignore[arg-type]
            r"strategy\(params=...\) must be a NamedTuple class with at least one field, received <class 'dict'>",
        ),
        (
            lambda: strategy(on=Trade, params=Params()),  # type: ignore[arg-type]
            r"strategy\(params=...\) must be a NamedTuple class with at least one field, received Params\(",
        ),
        (
            lambda: declared(params=Untyped),
            "parameter 'text' of Untyped must be declared int, float or bool, received 'str'",
        ),
        (lambda: declared(instruments=0), r"strategy\(instruments=...\) must be from 1 to 200, received 0"),
        (lambda: declared(instruments=201), r"strategy\(instruments=...\) must be from 1 to 200, received 201"),
        (lambda: declared(instruments="2"), r"strategy\(instruments=...\) must be from 1 to 200, received '2'"),
        (lambda: declared(state=None), r"strategy\(state=...\) must be a function of the parameters, received None"),
        (lambda: strategy(step), "strategy 'step' does not say what it takes; write @strategy"),  # type: ignore[arg-type]
        (
            lambda: declared(on="trade"),
            r"strategy 'step', step 'step': on= must be Trade, Quote, Bar, Book, OrderUpdate, Every\('1s'\) or"
            r" BeforeClose\('5m'\), received 'trade'",
        ),
        (lambda: declared(on=[Trade, Quote]), "on= must be Trade, Quote, Bar, .* received .<class"),
        (lambda: declared(on=Trade).on(Trade)(step), "TRADE has a step already; one step function for each kind"),
        (
            lambda: strategy(on=Trade)(lambda trade, state, account: None),
            r"must take \(event, state, account, p\), received 3 parameters",
        ),
        (lambda: declared().on(Quote)(Params), "step 'Params' must be a function, received type"),
    ],
)
def test_a_declaration_that_breaks_a_rule_is_named(declare: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        declare()


@pytest.mark.parametrize("text", ["", "5", "5 minutes", "-1s", "0s", "1e3s", "nan s"])
def test_a_timer_needs_a_duration(text: str) -> None:
    with pytest.raises(ConfigError, match="a duration must be a positive number with ms, s, m or h, received"):
        declared(on=Every(text))


def test_a_strategy_takes_at_most_eight_timers() -> None:
    model = declared()
    for _ in range(8):
        model.on(Every("1s"))(step)
    with pytest.raises(ModelError, match="a strategy takes at most 8 timers"):
        model.on(BeforeClose("1s"))(step)


def test_a_strategy_knows_its_name_kinds_and_place() -> None:
    model = declared(on=Bar)
    model.on(Trade)(step)
    model.on(OrderUpdate)(step)
    model.on(Every("1s"))(step)
    assert (model.name, model.instruments, len(model.timers)) == ("step", 1, 1)
    assert model.market_kinds == (Kind.TRADE, Kind.BAR)
    assert model.file == __file__


def test_a_step_can_be_called_by_itself() -> None:
    model = find_model("volume_modulo")
    trade = Trade(0, 0, 10.0, 34, 0, 0, 0)
    answer = model(trade, no_state(None), new_account(1), model.make_params())
    assert answer.first == sell(5.0).first or math.isnan(answer.first.limit)
    assert (answer.first.verb, answer.first.qty) == (Verb.ORDER, -5.0)


# ----------------------------------------------------------------------------------------------------- parameters


def test_parameters_are_converted_to_their_declared_types() -> None:
    p = declared().make_params(modulus="9", shares=7, long_only="true")
    assert p == Params(9, 7.0, True)
    assert [type(value) for value in p] == [int, float, bool]


@pytest.mark.parametrize("value", [np.int64(3), np.float64(3.0), 3.0, "3", True + 2])
def test_whole_numbers_of_any_kind_are_ints(value: Any) -> None:
    p = declared().make_params(modulus=value)
    assert (p.modulus, type(p.modulus)) == (3, int)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"share": 1}, "strategy 'step' has no parameter 'share'. Did you mean 'shares'?"),
        ({"zzz": 1}, "strategy 'step' has no parameter 'zzz'. Known: long_only, modulus, shares."),
        ({"modulus": 7.5}, "parameter 'modulus' of strategy 'step' must be int, received 7.5"),
        ({"modulus": "7.5"}, "parameter 'modulus' of strategy 'step' must be int, received '7.5'"),
        ({"modulus": "seven"}, "parameter 'modulus' of strategy 'step' must be int, received 'seven'"),
        ({"modulus": None}, "parameter 'modulus' of strategy 'step' must be int, received None"),
        ({"modulus": math.inf}, "parameter 'modulus' of strategy 'step' must be int, received inf"),
        ({"modulus": 2**63}, "parameter 'modulus' of strategy 'step' must be int, received 9223372036854775808"),
        ({"shares": "nan"}, "parameter 'shares' of strategy 'step' must be a finite number, received 'nan'; only one"),
        ({"shares": "many"}, "parameter 'shares' of strategy 'step' must be float, received 'many'"),
        ({"shares": 10**400}, "parameter 'shares' of strategy 'step' must be float, received 1000"),
        ({"shares": [1.0]}, r"parameter 'shares' of strategy 'step' must be float, received \[1.0\]"),
        ({"long_only": "maybe"}, "parameter 'long_only' of strategy 'step' must be bool, received 'maybe'"),
        ({"long_only": 2}, "parameter 'long_only' of strategy 'step' must be bool, received 2"),
    ],
)
def test_a_bad_parameter_is_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        declared().make_params(**values)


def test_a_parameter_without_a_default_must_be_given() -> None:
    model = declared(params=Bare)
    with pytest.raises(ModelError, match="strategy 'step' needs a value for needed; pass it, or give it a default"):
        model.make_params()
    assert model.make_params(needed=2) == Bare(2, 1)


def test_a_fold_takes_the_strategys_own_parameters_only() -> None:
    with pytest.raises(ModelError, match=r"parameters of strategy 'step' must be its Params, received {'modulus': 3}"):
        Fold(declared(), {"modulus": 3}, instruments=[Instrument("SPY")])
    assert Fold(declared(), Params(shares=3), instruments=[Instrument("SPY")]).params == Params(shares=3.0)


# ---------------------------------------------------------------------------------------------------------- state


class Pair(NamedTuple):
    one: Any
    two: Any


def broken(p: Any) -> Any:
    raise KeyError("window")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (lambda p: {}, "must be a numpy array, or a NamedTuple of numpy arrays, received dict"),
        (lambda p: None, "must be a numpy array, or a NamedTuple of numpy arrays, received NoneType"),
        (lambda p: Pair(np.zeros(1), 0.0), "a NamedTuple of numpy arrays, received float"),
        (lambda p: (np.zeros(1), np.zeros(1)), "a NamedTuple of numpy arrays, received a plain tuple of 2"),
        (lambda p: np.array([None]), r"numpy arrays of numbers, received one with Python objects \(object\)"),
        (lambda p: np.array(0.0), r"numpy arrays of numbers, received one with no dimension \(float64\)"),
        (broken, r"state\(params\) of strategy 'step' raised KeyError: 'window'"),
    ],
)
def test_a_state_that_cannot_be_saved_bit_for_bit_is_refused(state: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        Fold(declared(state=state), instruments=[Instrument("SPY")])


KEPT = np.zeros(3)


def test_two_folds_do_not_share_a_state_that_the_model_keeps() -> None:
    model = declared(state=lambda p: KEPT)
    one, two = (Fold(model, instruments=[Instrument("SPY")]) for _ in range(2))
    one.state[0] = 5.0
    assert two.state[0] == KEPT[0] == 0.0


def test_a_record_state_is_read_by_attributes() -> None:
    state = records(1, np.dtype([("mean", "<f8"), ("count", "<i8")]))
    assert state.shape == (1,)
    assert float(state[0]["mean"]) == 0.0


# ------------------------------------------------------------------------------------------------------ instruments


def test_a_fold_needs_as_many_instruments_as_the_strategy_trades() -> None:
    with pytest.raises(
        ModelError, match=r"strategy 'step' trades 2 instruments, received 1 \(SPY\); load them together"
    ):
        Fold(declared(instruments=2), instruments=[Instrument("SPY")])
    with pytest.raises(ModelError, match=r"strategy 'step' trades 1 instruments, received 0 \(none\)"):
        Fold(declared(), instruments=[])
    with pytest.raises(ModelError, match="a session has at most 200 instruments, received 201"):
        Fold(declared(), instruments=[Instrument(f"S{k}") for k in range(201)])


# ---------------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("answer", "verb", "instrument", "qty", "tif"),
    [
        (buy(5), Verb.ORDER, -1, 5.0, DAY),
        (sell(5, 10.0, IOC), Verb.ORDER, -1, -5.0, IOC),
        (target(-3), Verb.TARGET, -1, -3.0, DAY),
        (cancel(), Verb.CANCEL, -1, 0.0, DAY),
        (hold(), Verb.HOLD, -1, 0.0, DAY),
        (pair(leg(1, -2), hold().second), Verb.ORDER, 1, -2.0, DAY),
        (pair(target_leg(1, 2), hold().second), Verb.TARGET, 1, 2.0, DAY),
        (pair(cancel_leg(1), hold().second), Verb.CANCEL, 1, 0.0, DAY),
    ],
)
def test_every_answer_is_two_legs_of_one_form(answer: Any, verb: Verb, instrument: int, qty: float, tif: int) -> None:
    first, second = answer
    assert (first.verb, first.instrument, first.qty, first.tif) == (verb, instrument, qty, tif)
    assert second.verb == Verb.HOLD
    assert type(first.qty) is float


# ------------------------------------------------------------------------------------------------------------ timers

SECOND = duration_ns("1s")


def test_every_fires_after_the_open_up_to_the_close_of_each_session() -> None:
    sessions = np.array([[0, 3 * SECOND], [10 * SECOND, 12 * SECOND]])
    assert (schedule(Every("1s"), sessions) // SECOND).tolist() == [1, 2, 3, 11, 12]
    assert (schedule(Every("2s"), sessions) // SECOND).tolist() == [2, 12]


def test_before_close_fires_once_a_session_and_never_before_the_open() -> None:
    sessions = np.array([[0, 3 * SECOND], [10 * SECOND, 20 * SECOND]])
    assert (schedule(BeforeClose("5s"), sessions) // SECOND).tolist() == [15]
    assert schedule(BeforeClose("5s"), np.zeros((0, 2), np.int64)).tolist() == []
