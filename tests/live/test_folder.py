"""A run's folder at the start of a life: nothing of an earlier life is overwritten."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from mdslib.desk import mark_record
from mdslib.errors import ConfigError
from mdslib.events import Kind
from mdslib.instruments import Instrument
from mdslib.live.folder import check_free, is_cut_short, newest_notebook, put_aside
from mdslib.live.verdict import ExitCode, Verdict
from mdslib.store.tapefile import TapeWriter
from mdslib.tape import TapeHeader

CLOSE = 1_381_262_400_000_000_000
HEADER = TapeHeader(
    "m", "f", {}, (Instrument("SPY"),), "PA3", datetime.date(2013, 10, 8), "r", hours=((CLOSE - 10**9, CLOSE),)
)


def taped(run_dir: Path, *ends: int) -> None:
    """Write a tape that ends with these CLOSE records."""
    with TapeWriter(run_dir / "tape", HEADER) as tape:
        tape.append(mark_record(Kind.OPEN, CLOSE - 10**9, 0))
        for end in ends:
            tape.append(mark_record(Kind.CLOSE, end, 0))


@pytest.mark.parametrize(
    ("ends", "by", "short"),
    [((), "", True), ((CLOSE - 1,), "session", True), ((CLOSE,), "runner", True), ((CLOSE,), "session", False)],
    ids=["killed", "stopped early", "never judged", "over"],
)
def test_a_day_is_cut_short_until_it_has_run_to_its_close_and_was_judged(
    ends: tuple[int, ...], by: str, short: bool, tmp_path: Path
) -> None:
    assert not is_cut_short(tmp_path), "nothing has begun"
    taped(tmp_path, *ends)
    if by:
        Verdict(ExitCode.OK, "done", by).write(tmp_path)
    assert is_cut_short(tmp_path) is short
    if short:
        check_free(tmp_path)
    else:
        with pytest.raises(ConfigError, match=r"is over and was judged: see its notebook and verdict\.json"):
            check_free(tmp_path)


def test_a_session_that_runs_now_is_left_alone(tmp_path: Path) -> None:
    with (
        TapeWriter(tmp_path / "tape", HEADER),
        pytest.raises(ConfigError, match=r"process \d+ runs the session of .* now; stop it first"),
    ):
        check_free(tmp_path)
    check_free(tmp_path)


def test_each_life_has_a_notebook_and_a_verdict_of_its_own(tmp_path: Path) -> None:
    names = []
    for life in range(1, 5):
        notebook = put_aside(tmp_path)
        names.append(notebook.name)
        notebook.write_text(f"life {life}")
        assert newest_notebook(tmp_path) == notebook
        if life != 2:  # killed with its supervisor
            Verdict(ExitCode.KERNEL, f"life {life}", "runner").write(tmp_path)
        taped(tmp_path)
    assert names == ["live.ipynb", "live.2.ipynb", "live.3.ipynb", "live.4.ipynb"]
    assert [(tmp_path / name).read_text() for name in names] == [f"life {life}" for life in range(1, 5)]
    told = {path.name for path in tmp_path.glob("verdict*")}
    assert told == {"verdict.json", "verdict.1.json", "verdict.3.json"}


def test_a_start_that_never_began_is_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        notebook = put_aside(tmp_path)
        assert notebook.name == "live.ipynb"
        notebook.write_text("a wrong key")
        Verdict(ExitCode.CONFIG, "a wrong key").write(tmp_path)
    put_aside(tmp_path)
    assert Verdict.read(tmp_path) is None
