"""The fingerprint sees everything that a step reaches, and drivers cached under it never serve old code."""

from __future__ import annotations

import enum
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from numba import njit

from mdslib import Trade, jit, strategy
from mdslib.strategy.driver import strategy_fingerprint
from mdslib.strategy.fingerprint import MOST_WALKED, _walked, fingerprint

ROOT = Path(__file__).resolve().parents[2]


def made(text: str, **names: Any) -> Any:
    """Return the function `f` of a text whose globals hold `names`."""
    space: dict[str, Any] = {"__name__": "made", "np": np, **names}
    exec(compile(text, "made.py", "exec"), space)
    return space["f"]


READS = "def f(x):\n    return x + V"


class Side(enum.IntEnum):
    BUY = 1


class Other(enum.IntEnum):
    BUY = 2


class Plain(enum.Enum):
    BUY = 1


class Two(NamedTuple):
    a: int
    b: float = 1.0


class TwoToo(NamedTuple):
    a: float
    b: float = 1.0


def plus(x: float) -> float:
    return x + 1


def plus_two(x: float) -> float:
    return x + 2


ONE_DTYPE, OTHER_DTYPE = np.dtype([("a", "<f8")]), np.dtype([("a", "<f4")])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, 1.0),
        (0.0, -0.0),
        (True, 1),
        ("a", "b"),
        ((1, 2), (1, 3)),
        (np.zeros(2), np.ones(2)),
        (np.zeros(2), np.zeros(3)),
        (np.zeros(2), np.zeros(2, np.float32)),
        (np.float64(1.0), np.float32(1.0)),
        (ONE_DTYPE, OTHER_DTYPE),
        (Side, Other),
        (Side.BUY, Other.BUY),
        (Two, TwoToo),
        (Two(1, 2.0), Two(1, 3.0)),
        (plus, plus_two),
        (njit(plus), njit(plus_two)),
        pytest.param(njit(plus), njit(plus, fastmath=True), marks=pytest.mark.compiled),
        pytest.param(njit(plus), njit(plus, error_model="numpy"), marks=pytest.mark.compiled),
        ((njit(plus),), (njit(plus_two),)),
        (frozenset({1}), frozenset({2})),
    ],
    ids=lambda value: str(value).partition(" at 0x")[0],  # equal in each process that collects the tests
)
def test_another_value_of_a_captured_global_is_another_fingerprint(one: Any, other: Any) -> None:
    assert fingerprint([made(READS, V=one)]) == fingerprint([made(READS, V=one)])
    assert fingerprint([made(READS, V=one)]) != fingerprint([made(READS, V=other)])


@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n    return x + 2",
        "def f(x):\n    return x - 1",
        "def f(x, y=1):\n    return x + 1",
        "def f(x, *, y=1):\n    return x + 1",
        "def f(x):\n    return x + 1 if x in (1, 2) else x",
        "def f(x):\n    g = lambda y: y + 1\n    return g(x)",
        "def f(x):\n    return abs(x)",
        "def f(x):\n    return np.floor(x)",
    ],
)
def test_other_code_is_another_fingerprint(text: str) -> None:
    assert fingerprint([made(text)]) != fingerprint([made("def f(x):\n    return x + 1")])


def test_where_the_code_lies_is_no_part_of_it() -> None:
    assert fingerprint([made("def f(x):\n    return x + 1")]) == fingerprint(
        [made("\n\n\ndef f(x):\n    return x + 1")]
    )


def test_a_change_two_functions_away_is_seen() -> None:
    def chain(constant: int) -> Any:
        far = made("def f(x):\n    return x + V", V=constant)
        return made("def f(x):\n    return g(x)", g=made("def f(x):\n    return h(x)", h=jit(far)))

    assert fingerprint([chain(1)]) != fingerprint([chain(2)])


def test_a_constant_of_a_module_is_seen_and_modules_may_name_each_other() -> None:
    from types import ModuleType

    def linked(constant: int) -> Any:
        one, two = ModuleType("one"), ModuleType("two")
        one.__dict__.update(two=two, V=constant)
        two.__dict__.update(one=one)
        return made("def f(x):\n    return two.one.V + one.two.one.V", one=one, two=two)

    assert fingerprint([linked(1)]) != fingerprint([linked(2)])


def test_a_value_captured_in_a_closure_is_seen() -> None:
    def closed(constant: int) -> Any:
        return lambda x: x + constant

    assert fingerprint([closed(1)]) != fingerprint([closed(2)])


def test_parameters_kinds_timers_and_state_are_part_of_a_strategys_fingerprint() -> None:
    def declared(**options: Any) -> str:
        def step(trade: Any, state: Any, account: Any, p: Any) -> Any:
            return None

        return strategy_fingerprint(strategy(**{"on": Trade} | options)(step))

    class P(NamedTuple):
        a: int = 1

    class Q(NamedTuple):
        a: float = 1.0

    assert len({declared(), declared(params=P), declared(params=Q), declared(instruments=2)}) == 4
    assert declared() == declared()
    assert declared(state=lambda p: np.zeros(1)) != declared(state=lambda p: np.zeros(2))


# ------------------------------------------------------------------------------------- whole programs, warm cache

FAR = "from mdslib import jit\n\nSHARES = {shares}\n\n\n@jit\ndef amount(x):\n    return x * {factor} + SHARES\n"
NEAR = "from mdslib import jit\nfrom h7_far import amount\n\n\n@jit\ndef doubled(x):\n    return amount(x) * 2.0\n"
MODEL = """\
from typing import NamedTuple
import numpy as np
from mdslib import Trade, buy, records, strategy
from h7_near import doubled

ONE = np.dtype([("seen", "<i8")])

class State(NamedTuple):
    one: np.ndarray
    ring: np.ndarray

@strategy(on=Trade, state=lambda p: State(records(1, ONE), np.zeros(3)))
def edited(trade, state, account, p):
    state.one[0].seen += 1
    return buy(doubled(trade.price))
"""
RUN = """\
import json, sys
import numpy as np
from mdslib import Instrument, find_model
from mdslib.events import RECORD
from mdslib.strategy import Fold
fold = Fold(find_model(sys.argv[1]), instruments=[Instrument("SPY")])
tape = np.zeros(1, RECORD)
tape["kind"], tape["f0"] = 1, 10.0
qty = fold.feed(tape)["qty"].tolist()
hits = sum(fold._live.fold_records.stats.cache_hits.values())
print(json.dumps({"qty": qty, "fingerprint": fold.fingerprint, "hits": hits}))
"""


def write(folder: Path, shares: float, factor: float) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "h7_far.py").write_text(FAR.format(shares=shares, factor=factor))
    (folder / "h7_near.py").write_text(NEAR)
    (folder / "edited.py").write_text(MODEL)
    return folder / "edited.py"


def run(model: Path, cache: Path) -> dict[str, Any]:
    environment = os.environ | {"MDSLIB_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "random"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(model)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_what_was_found_once_is_looked_up_again_each_time() -> None:
    """A second walk is spared only while every look-up gives what it gave."""
    helper = made("def f(x):\n    return x * V", V=2.0)
    step = made("def f(x):\n    return g(x) + m.V + missing", g=helper, m=ModuleType("m"))
    space, module = step.__globals__, step.__globals__["m"]
    module.V = 1.0
    marks = [fingerprint([step], "extra")]

    def differs() -> bool:
        marks.append(fingerprint([step], "extra"))
        assert fingerprint([step], "extra") == marks[-1]
        return marks[-1] not in marks[:-1]

    assert not differs()
    helper.__globals__["V"] = 3.0
    assert differs(), "a global of a helper"
    module.V = 2.0
    assert differs(), "an attribute of a module"
    space["missing"] = 1
    assert differs(), "a name that was not there"
    helper.__code__ = made("def f(x):\n    return x / V").__code__
    assert differs(), "the code of a helper"
    helper.__defaults__ = (4.0,)
    assert differs(), "its defaults"
    space["g"] = plus
    assert differs(), "another helper"
    helper.__globals__["V"] = 5.0
    assert not differs(), "nobody calls the old one any more"


def test_what_changes_in_place_is_walked_each_time() -> None:
    table = np.zeros(2)
    step = made(READS, V=table)
    before = fingerprint([step])
    table[1] = 1.0
    assert fingerprint([step]) != before
    cell = [1.0]

    def closed(x: float) -> float:
        return x + cell[0] + level

    level = 1.0
    before = fingerprint([closed])
    level = 2.0
    assert fingerprint([closed]) != before


def test_walks_that_are_kept_are_few() -> None:
    for number in range(2 * MOST_WALKED):
        fingerprint([plus], number)
    assert len(_walked) <= MOST_WALKED


@pytest.mark.compiled
def test_an_edit_two_files_away_runs_at_once_with_a_warm_cache(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    model = write(tmp_path / "models", 1.0, 1.0)
    cold, warm = run(model, cache), run(model, cache)
    assert (cold["qty"], cold["hits"]) == ([22.0], 0)
    assert (warm["qty"], warm["hits"]) == ([22.0], 1)
    assert warm["fingerprint"] == cold["fingerprint"]
    write(tmp_path / "models", 2.0, 1.0)
    assert run(model, cache)["qty"] == [24.0]
    write(tmp_path / "models", 2.0, 3.0)
    assert run(model, cache)["qty"] == [64.0]


@pytest.mark.compiled
def test_the_same_model_in_another_folder_and_a_moved_one_run_on_a_warm_cache(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = run(write(tmp_path / "one", 1.0, 1.0), cache)
    second = run(write(tmp_path / "two", 1.0, 1.0), cache)
    assert first["fingerprint"] == second["fingerprint"]
    assert first["qty"] == second["qty"] == [22.0]
    shutil.move(tmp_path / "one", tmp_path / "three")
    assert run(tmp_path / "three" / "edited.py", cache)["qty"] == [22.0]


@pytest.mark.compiled
def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    environment = os.environ | {"MDSLIB_CACHE_DIR": str(blocked), "PYTHONPATH": str(ROOT)}
    model = write(tmp_path / "models", 1.0, 1.0)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(model)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "the driver cache " in done.stderr
    assert "can't be written (Not a directory); set MDSLIB_CACHE_DIR to a folder that can" in done.stderr
