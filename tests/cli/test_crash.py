"""Compiled code that ends the process leaves one line and an exit code, not silence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mdslib.cli import run

MODELS = Path(__file__).parents[1] / "check" / "models"
pytestmark = pytest.mark.compiled


def mds(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mdslib.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


@pytest.fixture
def day(tmp_path: Path) -> list[str]:
    assert run(["data", "made", "--store", str(tmp_path), "--trades", "100"]) == 0
    return ["--symbol", "SPY", "--date", "2025-06-12", "--store", str(tmp_path)]


def test_a_back_test_whose_model_reads_outside_its_arrays_says_so_in_one_line(day: list[str]) -> None:
    model = str(MODELS / "far_index.py")
    done = mds("backtest", model, *day)
    assert (done.returncode, done.stdout) == (139, "")
    assert done.stderr == (
        f"mds: error: compiled code has ended this process; most likely model {model!r} uses an index outside an "
        f"array, at which compiled code does not look: run mds check {model}, which names the line\n"
    )


def test_with_bounds_checked_by_numba_the_same_back_test_names_the_event(day: list[str]) -> None:
    done = mds("backtest", str(MODELS / "far_index.py"), *day, NUMBA_BOUNDSCHECK="1")
    assert done.returncode == 2
    assert "model 'far_index' raised IndexError: index is out of bounds - at event 0;" in done.stderr


def test_a_check_that_only_compiled_code_fails_says_so_and_is_1() -> None:
    done = mds("check", str(MODELS / "grown_index.py"), "--events", "50")
    assert done.returncode == 1
    assert "grown_index.py' breaks: it compiles and runs: compiled, it uses an index outside an array" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_abort_is_told_as_well_and_in_any_thread() -> None:
    code = (
        "import os, threading; from mdslib.cli.crash import say_on_crash\n"
        "say_on_crash('gone', code=77)\n"
        "worker = threading.Thread(target=os.abort); worker.start(); worker.join()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (77, "mds: error: gone\n")
