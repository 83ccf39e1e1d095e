"""Every bad model is named by exactly one line that says what is wrong; a good one keeps every law."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mdslib import Trade, buy, hold, strategy
from mdslib.check import Case, check_model, checks, conformance
from mdslib.check.made import made_data
from mdslib.check.report import Verdict
from mdslib.errors import ModelError
from mdslib.events import Kind
from mdslib.strategy import find_model

MODELS = Path(__file__).parent / "models"
pytestmark = pytest.mark.compiled

BAD = [
    ("random_one", "equal events", r"two runs on the same events differ: decision \d+ \(on event \d+\) has seq"),
    ("nan_one", "answers are sane", r"on event \d+ it answers ORDER with quantity nan"),
    ("zero_one", "answers are sane", r"with quantity 0; return hold\(\) for no order"),
    ("absurd_one", "answers are sane", r"with quantity -1e\+15, which nobody means"),
    (
        "off_tick_one",
        "answers are sane",
        r"with limit price [\d.]+, which is off the tick of 0.01; round it to the tick",
    ),
    (
        "off_lot_one",
        "answers are sane",
        r"with quantity 2.5, which is off the lot of 1; round it to the lot",
    ),
    ("stranger_one", "answers are sane", r"with an instrument that is not from 0 to 0"),
    (
        "global_writer",
        "it compiles",
        r"line 12\): it writes an array that it may only read, .* keep what changes in the state",
    ),
    (
        "raiser",
        "it compiles",
        r"model 'raiser' raised ValueError: a hundred is enough - at event 101 in models/raiser.py, line 18;",
    ),
    (
        "far_index",
        "it compiles",
        r"raised IndexError: index \d{11,} is out of bounds .* in models/far_index.py, line 14;",
    ),
    (
        "near_index",
        "it compiles",
        r"IndexError: index 5 is out of bounds .* at event 5 in models/near_index.py, line 15;",
    ),
    (
        "two_types",
        "it compiles",
        r"two_types.py, line \d+\): its branches return different types; return one of buy\(\)",
    ),
    ("module_state", "equal events", r"two runs on the same events differ: decision 0"),
    ("hidden_state", "state saved", r"saved and restored after event \d+, decision"),
    ("account_writer", "events and account", r"it writes the account: cash is \[.*\], the fills alone give \["),
    (
        "numpy_summer",
        "compiled and uncompiled",
        r"compiled against uncompiled: state.one\[0\].mean is [\d.]+ against [\d.]+",
    ),
]


@pytest.mark.filterwarnings("ignore:Code running in object mode")
@pytest.mark.parametrize(("name", "law", "said"), BAD, ids=[name for name, _, _ in BAD])
def test_a_bad_model_is_named_in_one_line(name: str, law: str, said: str) -> None:
    report = check_model(MODELS / f"{name}.py", events=1000)
    assert not report.ok
    (line,) = (result.line() for result in report.broken)
    assert line.startswith(f"✗ {law}")
    assert re.search(said, line), line
    assert "\n" not in line
    assert len(line) < 300
    assert report.lines()[-1] == f"{name} breaks: {report.broken[0].name}"


def test_laws_that_rest_on_a_broken_one_are_not_checked() -> None:
    report = check_model(MODELS / "two_types.py", events=100)
    left = [result for result in report.findings if result.outcome is Verdict.NOT_CHECKED]
    assert len(left) == len(checks) - 1
    assert {result.text for result in left} == {
        "rests on: it compiles and runs",
        "rests on: equal events give equal decisions and state",
    }


# One test a law: four kinds of events, timers, two instruments, two legs; and the models that come with mdslib.
test_a_model_that_uses_the_whole_contract = conformance(MODELS / "good_one.py", events=1200)
test_volume_modulo = conformance("volume_modulo", events=1000)
test_moving_average = conformance("moving_average", events=1000)
test_pairs_zscore = conformance("pairs_zscore", events=3000)


def test_a_model_in_a_notebook_is_checked_but_for_the_uncompiled_run() -> None:
    space: dict[str, object] = {"Trade": Trade, "hold": hold, "strategy": strategy, "__name__": "__main__"}
    exec(
        compile("@strategy(on=Trade)\ndef cell(trade, state, account, p):\n    return hold()\n", "<cell>", "exec"),
        space,
    )
    report = check_model(space["cell"], events=50)  # type: ignore[arg-type]
    assert report.ok
    assert report.lines()[-1] == f"cell keeps {len(checks) - 1} laws; 1 could not be checked"
    assert "save it as one to have this checked, live takes no other" in str(report)


def test_an_index_outside_an_array_in_a_notebook_is_named_and_does_not_end_the_kernel() -> None:
    cell = (
        "@strategy(on=Trade, state=lambda p: zeros(5))\n"
        "def cell(trade, state, account, p):\n"
        "    return buy(state[trade.size * 1_000_000_000])\n"
    )
    space: dict[str, object] = {"Trade": Trade, "buy": buy, "strategy": strategy, "zeros": np.zeros}
    exec(compile(cell, "ipykernel_1/7.py", "exec"), space | {"__name__": "__main__"}, space)
    (line,) = (result.line() for result in check_model(space["cell"], events=50).broken)  # type: ignore[arg-type]
    assert "model 'cell' raised IndexError: index is out of bounds - at event 1;" in line


def test_a_model_can_be_checked_on_data_of_ones_own() -> None:
    model = find_model("volume_modulo")
    data = made_data(model, 300, seed=9)
    report = check_model(model, model.make_params(shares=2.0), data=data)
    assert report.ok
    assert report.events == 300


def test_made_events_are_what_real_days_hold_too() -> None:
    case = Case(find_model(MODELS / "good_one.py"), events=3000)
    tape = case.tape
    kinds = set(tape["kind"].tolist())
    assert kinds == {Kind.TRADE, Kind.QUOTE, Kind.BAR, Kind.TIMER, Kind.UPDATE}
    times = tape["ts_event"]
    assert (times[1:] >= times[:-1]).all()
    assert (times[1:] == times[:-1]).any()
    quotes = tape[tape["kind"] == Kind.QUOTE]
    assert (quotes["f0"] != quotes["f0"]).any()
    assert set(tape["code"][tape["kind"] == Kind.UPDATE].tolist()) >= {2, 3, 4, 7}
    assert tape["seq"].tolist() == list(range(1, len(tape) + 1))


def test_equal_seeds_check_on_equal_events_and_others_on_others() -> None:
    model = find_model("volume_modulo")
    assert Case(model, events=200, seed=4).tape.tobytes() == Case(model, events=200, seed=4).tape.tobytes()
    assert Case(model, events=200, seed=4).tape.tobytes() != Case(model, events=200, seed=5).tape.tobytes()


def test_an_unknown_model_is_one_error() -> None:
    with pytest.raises(ModelError, match=r"unknown model 'volume_modulu'. Did you mean 'volume_modulo'"):
        check_model("volume_modulu")
