"""Kernels written into a driver's text do what calls of them do, and only what constants leave to do."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib import find_model
from mdslib.events import Kind
from mdslib.strategy import driver
from mdslib.strategy.inline import kernel_of, reached_objects, write_out
from mdslib.strategy.shape import Shape

LIMIT = 3.0
NOTHING = math.nan


def early(x: float, y: float) -> float:
    """Return from the middle, from a branch, and at the end."""
    if x < 0.0:
        return -x
    if y > LIMIT:
        y = y - LIMIT
        if y > x:
            return y
    return x + y


def summed(values: list[float], start: float, whole: bool) -> float:
    """Go through a loop, change a parameter, call another kernel."""
    for value in values:
        part = early(value, start)
        start = start + part if whole or part > 1.0 else start
    return start


def both(x: float, y: float) -> tuple[float, float]:
    """Return two things."""
    if x > y:
        return x, y
    return y, x


def store(cells: list[float], place: int, value: float) -> None:
    """Return nothing, and end early."""
    if value != value:
        return
    cells[place] = value


def missing(value: float, here: bool) -> float:
    """Mention a float that has no literal, and a branch that a constant decides."""
    if here:
        return value
    return NOTHING


def searched(values: list[float], wanted: float) -> int:
    """Return from within a loop: it stays a call."""
    for place, value in enumerate(values):
        if value == wanted:
            return place
    return -1


KERNELS = (early, summed, both, store, missing, searched)
LIBRARY = {kernel.__name__: kernel for kernel in KERNELS} | reached_objects(KERNELS)
SOURCE = """\
@hot
def twice(x, y):
    x = early(x, y)
    x = early(x, y)
    return x

def run(values, x, y, cells):
    start = x
    total = summed(values, start, False)
    low = summed(values, start, True)
    high, least = both(total, low)
    far = twice(x - 1.0, y)
    store(cells, 0, x)
    store(cells, 1, y * 0.5)
    gone = missing(x, False)
    same = both(x + y, x + y)
    found = searched(values, x)
    return total, low, high, least, far, gone, same, found, start
"""


def compiled(source: str) -> Callable[..., Any]:
    scope: dict[str, Any] = dict(LIBRARY) | {"hot": lambda function: function, "int64": int}
    scope["apart"] = scope["hot"]
    exec(source, scope)
    run: Callable[..., Any] = scope["run"]
    return run


NUMBERS = st.floats(-5.0, 5.0) | st.sampled_from([0.0, 1.0, 3.0, math.nan])


@given(st.lists(NUMBERS, max_size=5), NUMBERS, NUMBERS)
def test_text_with_kernels_in_place_does_what_calls_do(values: list[float], x: float, y: float) -> None:
    called, written = [9.0, 9.0], [9.0, 9.0]
    wanted = compiled(SOURCE)(values, x, y, called)
    found = compiled(write_out(SOURCE, LIBRARY))(values, x, y, written)
    assert repr((found, written)) == repr((wanted, called))
    written = [9.0, 9.0]
    found = compiled(write_out(SOURCE, LIBRARY, ("early", "summed", "store")))(values, x, y, written)
    assert repr((found, written)) == repr((wanted, called))


def test_only_a_kernel_that_returns_from_within_a_loop_stays_a_call() -> None:
    written = write_out(SOURCE, LIBRARY)
    assert {name for name in (*LIBRARY, "twice") if f"{name}(" in written} == {"searched"}


def test_a_kernel_that_is_kept_apart_is_one_function_that_every_call_of_it_calls() -> None:
    written = write_out(
        "def run(values, cells):\n    store(cells, 0, 1.0)\n    a = summed(values, 2.0, True)\n"
        "    b = summed(values, a, False)\n",
        LIBRARY,
        ("summed", "store", "both"),
    )
    assert written.startswith("@apart\ndef ")
    assert "store_apart(cells, int64(0), 1.0)" in written, "whole numbers in one type, for one compilation"
    assert written.count("def summed_apart(values, start, whole):") == 1
    assert "both" not in written, "nobody calls it"
    assert written.count("early(") == 0, "what a function apart calls is put in place"


def test_what_constants_decide_is_left_out() -> None:
    source = "def run(x):\n    y = missing(x, True)\n    z = missing(x, False)\n    return y\n"
    written = write_out(source, LIBRARY)
    assert written.split() == ["def", "run(x):", "y", "=", "x", "z", "=", "nan", "return", "y"]


def test_equal_arguments_are_read_once_unless_the_kernel_changes_them() -> None:
    written = write_out("def run(p):\n    a, b = both(p[0], p[0])\n    c = early(p[0], p[0])\n", LIBRARY)
    assert written.count("p[0]") == 3  # once for both; twice for early, which changes its second


def test_a_file_that_was_edited_since_it_was_loaded_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    edited = inspect.getsource(both).replace("x > y", "x >= y")
    kernel_of.cache_clear()
    monkeypatch.setattr(inspect, "getsource", lambda _: edited)
    assert kernel_of(both) is None
    kernel_of.cache_clear()


def test_a_kernel_whose_file_is_gone_stays_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object) -> str:
        raise OSError("could not get source code")

    kernel_of.cache_clear()
    monkeypatch.setattr(inspect, "getsource", gone)
    assert "early(" in write_out("def run(x):\n    y = early(x, x)\n", LIBRARY)
    kernel_of.cache_clear()


def test_two_things_of_one_name_are_refused() -> None:
    def other() -> object:
        return early

    scope = {"early": lambda: 0}
    clash = type(other)(early.__code__.replace(co_names=("early",)), scope)
    with pytest.raises(ValueError, match="two kernels mean different things by 'early'; rename one of them"):
        reached_objects([summed, clash])


@pytest.mark.compiled
@pytest.mark.parametrize("rules", ["permissive", "alpaca"])
@pytest.mark.parametrize("limited", [False, True])
def test_a_driver_calls_few_functions_beside_its_steps(rules: str, limited: bool) -> None:
    alpaca = rules == "alpaca"
    shape = Shape(
        (Kind.TRADE,), limited, True, split=alpaca, backtest=True, alpaca=alpaca, match_on=Kind.TRADE, plain=not alpaca
    )
    text = write_out(driver.driver_source(find_model("volume_modulo"), shape), driver._reached())
    called = {name for name in driver._reached() if f" {name}(" in text or f"({name}(" in text}
    assert called == set()


def test_the_text_of_a_back_test_with_plain_orders_has_no_cancels_and_no_limits() -> None:
    shape = Shape((Kind.TRADE,), False, True, backtest=True, match_on=Kind.TRADE)
    model = find_model("volume_modulo")
    plain, full = (driver.driver_source(model, shape._replace(plain=p)) for p in (True, False))
    loops = [text.partition("def end_day")[0] for text in (plain, full)]
    assert ["end_orders" in loop for loop in loops] == [False, True]
    assert len(write_out(plain, driver._reached())) < 0.85 * len(write_out(full, driver._reached()))
