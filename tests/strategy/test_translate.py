"""What a model that can't be compiled is told: one line, its own file and line, what is wrong and what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mdslib import Instrument, find_model
from mdslib.errors import ModelError, ModelRaised
from mdslib.events import RECORD, Kind
from mdslib.strategy import Fold

pytestmark = [pytest.mark.compiled, pytest.mark.filterwarnings("ignore::numba.NumbaWarning")]

HEAD = """\
from typing import NamedTuple

import numpy as np

from mdslib import Trade, buy, hold, jit, leg, pair, records, sell, strategy

TABLE = np.zeros(3)
NAMES = {"a": 1.0}
LIST = [1.0, 2.0]


class P(NamedTuple):
    shares: float = 1.0


def plain(x):
    return x + 1.0


@jit
def helper(x):
    return x.missing


@strategy(on=Trade, params=P, state=lambda p: records(1, np.dtype([("mean", "f8")])))
def model(trade, state, account, p):
"""
FIRST = HEAD.count("\n") + 1
DECORATOR = FIRST - 2

CASES = {
    "two types": (
        ["if trade.size == 1:", "    return 5.0", "return hold()"],
        2,
        "its branches return different types; return one",
    ),
    "a number": (["return 5.0"], None, "it returns float64, which is no answer; return buy(), sell()"),
    "nothing": (["return None"], None, "it returns none, which is no answer"),
    "one leg": (["return leg(0, 1.0)"], None, "it returns Leg, which is no answer"),
    "a generator": (["yield buy(1.0)"], None, "it yields its answer; return it instead"),
    "pair of answers": (["return pair(buy(1.0), sell(1.0))"], None, "pair() takes two legs; make them with leg()"),
    "global array": (
        ["TABLE[0] = trade.price", "return hold()"],
        0,
        "it writes an array that it may only read",
    ),
    "global variable": (
        ["global COUNT", "COUNT = 1", "return hold()"],
        1,
        "it writes a global variable; keep it in the state",
    ),
    "global dict": (
        ["return buy(NAMES['a'])"],
        0,
        "it uses the global 'NAMES', a dict, which compiled code can't take",
    ),
    "global list": (["return buy(LIST[0])"], 0, "it uses the global 'LIST', a list, which compiled code can't take"),
    "undefined": (["return buy(shares)"], None, "the name 'shares' is not defined"),
    "event field": (["return buy(trade.prize)"], 0, "it reads 'prize', which Trade has not"),
    "parameter": (["return buy(p.share)"], 0, "it reads 'share', which P has not"),
    "state field": (["return buy(state[0].median)"], None, "it reads 'median', a field that the record has not"),
    "account field": (["return buy(account[0].pos)"], None, "it reads 'pos', a field that the record has not"),
    "event written": (
        ["trade.price = 1.0", "return hold()"],
        None,
        "it writes 'price' of Trade, which can't be changed",
    ),
    "plain function": (["return buy(plain(1.0))"], 0, "it calls 'plain', which is not compiled; decorate it with @jit"),
    "numpy": (
        ["return buy(np.polyfit(TABLE, TABLE, 1)[0])"],
        0,
        "it calls numpy.polyfit, which compiled code does not",
    ),
    "no numpy": (["return buy(np.nonsense(1.0))"], None, "numpy has no 'nonsense'"),
    "arguments": (["return buy()"], 0, "a call does not fit: missing a required argument: 'qty'"),
    "keyword": (["return buy(1.0, price=2.0)"], 0, "a call does not fit: got an unexpected keyword argument 'price'"),
    "text": (
        ["return buy('five')"],
        0,
        "it calls buy with (Literal[str](five)), which compiled code does not",
    ),
    "two types of one name": (
        ["x = 0", "if trade.size:", "    x = TABLE", "return buy(x)"],
        3,
        "'x' has different types in",
    ),
    "import": (
        ["import math", "return buy(math.sqrt(2.0))"],
        0,
        "it imports inside the step; import at the top of the file",
    ),
    "format": (
        ["print(f'{trade.price:.2f}')", "return hold()"],
        0,
        "it formats text, which compiled code does not support",
    ),
    "inside a helper": (["return buy(helper(trade))"], 20 - FIRST + 1, "it reads 'missing', which Trade has not"),
}


def event() -> np.ndarray:
    tape = np.zeros(1, RECORD)
    tape["kind"], tape["i0"] = Kind.TRADE, 2
    return tape


def written(tmp_path: Path, body: list[str]) -> Path:
    file = tmp_path / "bad.py"
    file.write_text(HEAD + "".join(f"    {line}\n" for line in body))
    return file


@pytest.mark.parametrize("name", CASES)
def test_one_line_says_where_and_what(name: str, tmp_path: Path) -> None:
    body, offset, said = CASES[name]
    fold = Fold(find_model(written(tmp_path, body)), instruments=[Instrument("SPY")])
    with pytest.raises(ModelError) as raised:
        fold.feed(event())
    text = str(raised.value)
    line = DECORATOR if offset is None else FIRST + offset
    if name == "inside a helper":
        line = HEAD.splitlines().index("    return x.missing") + 1
    if name == "two types":
        assert text.startswith(f"model 'model' ({tmp_path.name}/bad.py, line ")
    else:
        assert text.startswith(f"model 'model' ({tmp_path.name}/bad.py, line {line}): ")
    assert said in text
    assert "\n" not in text
    assert len(text) < 300
    assert not isinstance(raised.value, ModelRaised)


def test_a_branch_without_an_answer_is_named_where_it_is_met(tmp_path: Path) -> None:
    fold = Fold(
        find_model(written(tmp_path, ["if trade.size == 1:", "    return hold()"])), instruments=[Instrument("SPY")]
    )
    with pytest.raises(
        ModelRaised, match=r"model 'model' returned None: every branch must end with an answer, such as"
    ):
        fold.feed(event())
