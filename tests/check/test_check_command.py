"""`mds check MODEL` answers by its exit code and in plain text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mdslib.cli import run as mds

MODELS = Path(__file__).parent / "models"


@pytest.mark.compiled
def test_a_model_that_keeps_the_laws_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert mds(["check", "volume_modulo", "--events", "500", "--seed", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("✓ ") for line in lines[:-1])
    assert lines[-1] == "volume_modulo keeps all 9 laws"


@pytest.mark.compiled
def test_a_model_that_breaks_one_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert mds(["check", str(MODELS / "nan_one.py"), "--events", "500", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["ok"], told["seed"]) == ("nan_one", False, 1)
    assert [law["outcome"] for law in told["findings"]].count("broken") == 1


def test_an_unknown_model_is_one_line_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert mds(["check", "volume_modulu"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "mds: error: unknown model 'volume_modulu'. Did you mean 'volume_modulo'?\n"
