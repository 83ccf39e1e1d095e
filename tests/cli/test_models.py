"""`mds models` and `mds new-model`."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from mdslib.cli import run
from mdslib.strategy.discovery import find_model


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_shipped_models_are_listed_with_events_parameters_and_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("volume_modulo "))
    assert lines[place].endswith("on trade  sell_modulus=17 buy_modulus=31 shares=5.0")
    assert lines[place + 1].strip().startswith("The reference model")


def test_json_lists_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "--json"]) == 0
    found = {model["name"]: model for model in json.loads(capsys.readouterr().out)}
    assert found["pairs_zscore"]["instruments"] == 2
    assert found["volume_modulo"]["params"] == {"sell_modulus": 17, "buy_modulus": 31, "shares": 5.0}


def test_a_file_that_cannot_be_used_is_listed_with_its_reason(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "models").mkdir()
    (elsewhere / "models" / "broken.py").write_text("import no_such_thing\n")
    assert run(["models"]) == 0
    assert "broken" in (out := capsys.readouterr().out)
    assert "unusable: model file broken.py can't be imported: ModuleNotFoundError" in out


def test_a_new_model_is_found_and_runs(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new-model", "my_first"]) == 0
    out = capsys.readouterr().out
    assert "wrote models/my_first.py\nnext:\n  mds check my_first\n" in out
    model = find_model("my_first")
    params = model.make_params(window=1)
    state = model.state(params).view(np.recarray)
    prices = [10.0, 11.0, 10.5]
    answers = [model(_Print(price), state, np.zeros(1), params) for price in prices]
    assert len(answers) == 3
    assert state[0]["count"] == 3


def test_a_new_model_passes_the_conformance_suite(capsys: pytest.CaptureFixture[str]) -> None:
    if find_spec("mdslib.cli.check") is None:
        pytest.skip("mds check has not landed yet: mdslib.cli.check is not there")
    assert run(["new-model", "my_first"]) == 0
    assert run(["check", "my_first"]) == 0, capsys.readouterr()


class _Print:
    def __init__(self, price: float) -> None:
        self.price = price


def test_a_model_is_never_overwritten(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "models").mkdir()
    (elsewhere / "models" / "mine.py").write_text("precious\n")
    assert run(["new-model", "mine"]) == 2
    assert "models/mine.py is there already and is never overwritten" in capsys.readouterr().err
    assert (elsewhere / "models" / "mine.py").read_text() == "precious\n"


def test_a_word_of_python_is_no_name(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new-model", "class"]) == 2
    assert "must not be a word of Python's own, received 'class'; choose another" in capsys.readouterr().err
    assert not (elsewhere / "models").exists()


@pytest.mark.parametrize("name", ["1st", "Mine", "a-b", "_x", "../x"])
def test_a_name_that_cannot_be_a_function_is_refused(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run(["new-model", name]) == 2
    message = f"new-model NAME must be lower case letters, digits and underscores, received {name!r}"
    assert message in capsys.readouterr().err
    assert not (elsewhere / "models").exists()
