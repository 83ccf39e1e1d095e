"""Whatever a public function is called with, it answers, or says in one line what it takes."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mdslib import backtest, check_model, find_model, load, make_limits
from mdslib.arguments import flag, number, whole
from mdslib.check import Case
from mdslib.check.made import made_data
from mdslib.errors import ConfigError, MdsError
from mdslib.instruments import Instrument
from mdslib.matching import Fees
from mdslib.store.load import load as load_from
from mdslib.store.made import made_day
from mdslib.store.parquet import ParquetStore

pytestmark = pytest.mark.compiled
MODEL = find_model("volume_modulo")
DATA = made_data(MODEL, 60, 1)
JUNK: list[Any] = [
    None, "", "x", " ", "5m", "1e9", "nan", b"x", -1, 0, 1.5, -5.0, math.nan, math.inf, 10**30, True, np.int64(-3), [],
    [1], (), (1, 2, 3), {}, {"a": 1}, {1: 2}, set(), object(), np.array([1, 2]), pd.NaT, datetime.date(2024, 1, 2),
    Path("/"), len,
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ParquetStore:
    store = ParquetStore(tmp_path_factory.mktemp("store"))
    store.write(made_day("2025-06-12", trades=100), Instrument("SPY"), datetime.date(2025, 6, 12))
    return store


def answers(call: Callable[[], object]) -> None:
    """Call it; an error must be one of ours, in one line."""
    said = ""
    try:
        call()
    except MdsError as error:
        said = str(error)
    assert "\n" not in said


@pytest.mark.parametrize(
    "name", ["params", "fees", "latency", "rules", "limits", "cash", "seed", "flatten", "instruments"]
)
def test_any_option_of_backtest_is_taken_or_named(name: str) -> None:
    for junk in JUNK:
        answers(lambda junk=junk: backtest(MODEL, DATA, **{name: junk}))  # type: ignore[misc]


def test_any_model_and_data_are_taken_or_named() -> None:
    for junk in JUNK:
        answers(lambda junk=junk: backtest(junk, DATA))  # type: ignore[misc]
        answers(lambda junk=junk: backtest(MODEL, junk))  # type: ignore[misc]
        answers(lambda junk=junk: find_model(junk))  # type: ignore[misc]


@pytest.mark.parametrize("name", ["symbols", "date", "kind", "store", "extended", "columns", "missing"])
def test_any_option_of_load_is_taken_or_named(store: ParquetStore, name: str) -> None:
    good: dict[str, Any] = {"symbols": "SPY", "date": "2025-06-12", "store": store}
    for junk in JUNK:
        answers(lambda junk=junk: load(**good | {name: junk}))  # type: ignore[misc]


@pytest.mark.parametrize("name", ["params", "events", "seed", "data"])
def test_any_option_of_a_check_is_taken_or_named(name: str) -> None:
    for junk in JUNK:
        if junk is not None and not (name == "events" and junk is True):
            answers(lambda junk=junk: Case(MODEL, **{"events": 9} | {name: junk}))  # type: ignore[misc]
    with pytest.raises(MdsError, match="a model must be a name, a module path"):
        check_model(None)  # type: ignore[arg-type]


def test_any_limit_is_taken_or_named() -> None:
    for junk in JUNK:
        answers(lambda junk=junk: make_limits(max_position=junk))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limits": {}}, "backtest(limits=...) must be limits, or None for no limits, received {}; mdslib.make"),
        ({"fees": "x"}, "backtest(fees=...), in basis points, must be a finite number, received 'x'"),
        ({"fees": Fees("x")}, "Fees.bps must be >= 0, received 'x'"),
        ({"params": "x"}, "backtest(params=...) must be a mapping of names to values, received 'x'"),
        ({"latency": math.nan}, "latency must be whole ns or a duration like '1ms', received nan"),
        ({"latency": "9" * 400 + "h"}, "a duration must be a positive number with ms, s, m or h"),
        ({"rules": None}, "rules must be one of permissive, alpaca, received None"),
        ({"cash": "5"}, "backtest(cash=...) must be a finite number >= 0, received '5'"),
        ({"seed": 1.5}, "backtest(seed=...) must be a whole number, received 1.5"),
        ({"flatten": "99h"}, "backtest(flatten=...) must be shorter than the session of 2013-10-08, which lasts 0.5 h"),
        ({"flatten": 5}, "a duration must be a positive number with ms, s, m or h, received 5"),
        ({"instruments": ["SPY"]}, "instruments= is for a table or a frame, and this data says what it is of"),
        ({"instruments": 5}, "instruments must be symbols in a list, like ['SPY'], received 5"),
    ],
)  # fmt: skip
def test_a_wrong_option_of_backtest_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        backtest(MODEL, DATA, **options)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"symbols": None}, "load: a symbol must be text, or several in a list, received None"),
        ({"symbols": [1]}, "an instrument must be a symbol or an Instrument, received 1; write it like 'SPY'"),
        ({"kind": 5}, "load: a kind must be text, or several in a list, received 5"),
        ({"date": ("2025-06-12",)}, "load: a range of dates is its first and last day, received 1 dates"),
        ({"store": 5}, "load: store must be a store or its folder, received 5"),
        ({"extended": "yes"}, "load(extended=...) must be True or False, received 'yes'"),
        ({"columns": 5}, "load: columns must be a list of names, received 5"),
    ],
)
def test_a_wrong_option_of_load_is_named(store: ParquetStore, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_from(**{"symbols": "SPY", "date": "2025-06-12", "store": store} | options)
    assert str(refused.value).startswith(said)


def test_one_column_and_one_instrument_need_no_list(store: ParquetStore) -> None:
    assert "price" in load("SPY", "2025-06-12", store=store, columns="price").trades.columns
    table = load("SPY", "2025-06-12", store=store).trades
    assert backtest(MODEL, table, instruments="SPY").to_json()["symbols"] == ["SPY"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: number("x", math.nan), "x must be a finite number, received nan"),
        (lambda: number("x", 7, 0, 5), "x must be a finite number from 0 to 5, received 7"),
        (lambda: number("x", True), "x must be a finite number, received True"),
        (lambda: number("x", 7, most=5), "x must be a finite number <= 5, received 7"),
        (lambda: whole("x", 1.5, 1), "x must be a whole number >= 1, received 1.5"),
        (lambda: whole("x", 10**30), "x must be a whole number, received 1" + 30 * "0"),
        (lambda: flag("x", 1), "x must be True or False, received 1"),
    ],
)
def test_the_rule_and_what_came_are_said(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        call()
    assert str(refused.value) == said


def test_numpy_s_numbers_are_numbers() -> None:
    assert (number("x", np.float32(0.5)), whole("x", np.int16(3)), whole("x", 4.0)) == (0.5, 3, 4)
    assert flag("x", np.bool_(True)) is True
