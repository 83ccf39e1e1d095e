"""Every JSON that a person's tools read is strict: a reader that refuses NaN takes all of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.cli import run
from mdslib.clock import WallClock
from mdslib.live.log import SessionLog
from mdslib.live.verdict import ExitCode, Verdict
from mdslib.strictjson import dumps

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def strict(text: str) -> Any:
    """Read JSON as its standard has it."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


@given(VALUES)
def test_whatever_is_written_is_strict_and_finite_values_come_back(value: Any) -> None:
    strict(dumps(value))
    if "nan" not in repr(value) and "inf" not in repr(value):
        assert strict(dumps(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.nan, "null"),
        ([math.inf, -math.inf, 1.5], "[null, null, 1.5]"),
        ((1, 2), "[1, 2]"),
        ({"a": {"b": (np.float32("nan"), np.int64(3), np.bool_(True))}}, '{"a": {"b": [null, 3, true]}}'),
        ({np.int64(3): 1, math.nan: 2}, '{"3": 1, "nan": 2}'),
    ],
)
def test_what_is_no_number_is_null(value: Any, text: str) -> None:
    assert dumps(value) == text


def test_a_verdict_with_nan_is_strict_and_is_read_again(tmp_path: Path) -> None:
    verdict = Verdict(ExitCode.OK, "fine", details={"equity": math.nan, "latency_us": {"p99": math.inf}})
    path = verdict.write(tmp_path)
    assert strict(path.read_text())["details"] == {"equity": None, "latency_us": {"p99": None}}
    assert Verdict.read(tmp_path) is not None


def test_the_session_s_log_is_strict(tmp_path: Path) -> None:
    log = SessionLog(tmp_path / "log.jsonl", WallClock())
    log("opened", cash=math.nan, at=Path("x"))
    log.close()
    told = strict((tmp_path / "log.jsonl").read_text())
    assert (told["cash"], told["at"]) == (None, "x")


@pytest.mark.compiled
def test_what_commands_print_as_json_is_strict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = ["--symbol", "SPY", "--date", "2025-06-12", "--store", str(tmp_path)]
    assert run(["data", "made", "--store", str(tmp_path), "--trades", "40"]) == 0
    capsys.readouterr()
    for command in (
        ["backtest", "volume_modulo", *day, "--cash", "0"],
        ["data", "ls", "--store", str(tmp_path)],
        ["models"],
        ["check", "volume_modulo", "--events", "5"],
    ):
        assert run([*command, "--json"]) == 0
        strict(capsys.readouterr().out)
