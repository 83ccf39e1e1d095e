"""A disk that is full when the day is over: one clear line, an exit code of its own, and the verdict is not lost.

On a real file system that is full or read-only, where this machine lets us mount one; the rest needs no such right.
"""

from __future__ import annotations

import json
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest

from mdslib.audit.report import AuditReport, Finding, Outcome
from mdslib.errors import RecordError, TapeError
from mdslib.live import conclude, notebook
from mdslib.live.program import Request, trade
from mdslib.live.runner import Plan, supervise
from mdslib.live.session import Session
from mdslib.live.verdict import VERDICT, ExitCode, Verdict, exit_code
from tests.runners.conftest import SAY

from .rehearsal import exchange_for, made_trades, parameters
from .test_session import FAST

WELL = Verdict(ExitCode.OK, "the session closed; audit passed", details={"events": 7})


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a file system of its own, of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small file system can't be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no byte."""
    with (folder / "filler").open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                return


def written_verdict(folder: Path) -> str:
    with pytest.raises(RecordError) as met:
        WELL.write(folder)
    return str(met.value)


SAID = "It would have said OK (0): the session closed; audit passed"


def test_a_verdict_that_does_not_fit_on_the_disk_is_on_standard_error(
    disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(disk)
    assert written_verdict(disk) == (
        f"{disk}/verdict.json can't be written (No space left on device); free the disk, or mend the folder's owner or "
        f"mode. {SAID}"
    )
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert json.loads(said) == json.loads(WELL.to_json())
    assert not list(disk.glob("*verdict*")), "no half verdict is left"
    (disk / "filler").unlink()
    WELL.write(disk)
    assert Verdict.read(disk) == WELL


def test_a_verdict_in_a_folder_that_became_read_only(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert "verdict.json can't be written (Read-only file system); free the disk" in written_verdict(disk)
    assert json.loads(capsys.readouterr().err)["reason"] == WELL.reason


def test_a_verdict_beyond_a_limit_on_file_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        said = written_verdict(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "verdict.json can't be written (File too large)" in said
    assert capsys.readouterr().err


def test_a_session_whose_disk_is_full_at_the_verdict(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run, verdict_of = made_trades(300), disk / "run", conclude.verdict_of

    def filled(*arguments: object) -> Verdict:
        fill(disk)
        return verdict_of(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(conclude, "verdict_of", filled)
    with exchange_for(data, tmp_path / "elsewhere", **FAST) as exchange:
        session = Session.from_parameters(**parameters(exchange, data, run, "volume_modulo"))
        with pytest.raises(RecordError, match=r"verdict.json can't be written \(No space left on device\)") as met:
            session.run()
    assert "It would have said OK (0): the session closed; audit passed, but for sent, orders, fills" in str(met.value)
    assert json.loads(capsys.readouterr().err.splitlines()[-1])["details"]["events"] == 300
    assert exit_code(type(met.value)) is ExitCode.RECORD


def test_a_failed_audit_whose_block_does_not_fit_says_that_nothing_is_blocked(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, run, verdict_of = made_trades(300), disk / "run", conclude.verdict_of

    def filled(engine: object, report: object) -> Verdict:
        fill(disk)
        return verdict_of(engine, report)  # type: ignore[arg-type]

    monkeypatch.setattr(conclude, "verdict_of", filled)
    apart = Finding("books", Outcome.FAILED, "SPY: ours 0, the venue's 1")
    monkeypatch.setattr("mdslib.live.session.books", lambda *_: AuditReport("", (apart,)))
    with exchange_for(data, tmp_path / "elsewhere", **FAST) as exchange:
        session = Session.from_parameters(**parameters(exchange, data, run, "volume_modulo"))
        with pytest.raises(RecordError, match="It would have said AUDIT_FAILED") as met:
            session.run()
    assert str(met.value).endswith(
        "the next start could not be blocked (No space left on device): start nothing before a person has looked"
    )


def test_a_disk_that_is_full_at_the_start(disk: Path, tmp_path: Path) -> None:
    data = made_trades(300)
    (disk / "run").mkdir()
    fill(disk)
    with exchange_for(data, tmp_path / "elsewhere", **FAST) as exchange:
        session = Session.from_parameters(**parameters(exchange, data, disk / "run", "volume_modulo"))
        with pytest.raises(TapeError, match=r"can't be written|must be writable") as met:
            session.run()
    assert exit_code(type(met.value)) is ExitCode.RECORD


# The supervisor -------------------------------------------------------------------------------------------------------

FILL = """
def fill():
    with open(pathlib.Path(run_dir) / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[..., Path]:
    """Return what makes a notebook of some cells, away from the disk that is full."""

    def make(*cells: str) -> Path:
        parameters = nbformat.v4.new_code_cell('run_dir = ""', metadata={"tags": ["parameters"]})
        body = [parameters, *(nbformat.v4.new_code_cell(cell) for cell in (SAY, FILL, *cells))]
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        path = tmp_path / "standin.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=body, metadata=metadata), path)
        return path

    return make


def test_a_run_whose_disk_is_full_ends_with_8_one_clear_line_and_the_verdict_on_standard_error(
    disk: Path, stand_in: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    cell = (
        "from mdslib.live.verdict import ExitCode, Verdict\nfill()\n"
        "Verdict(ExitCode.OK, 'all went well').write(pathlib.Path(run_dir))"
    )
    said: list[str] = []
    request = Request("volume_modulo", date="2025-06-12", run_dir=disk / "run", notebook=stand_in(cell))
    assert trade(request, said.append) is ExitCode.RECORD
    line = next(line for line in said if line.startswith("RECORD (8): "))
    assert line.startswith(f"RECORD (8): {disk}/run/verdict.json can't be written (No space left on device); free the ")
    assert "It would have said OK (0): all went well" in line
    assert "\n" not in line
    told = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (told["meaning"], told["by"]) == ("RECORD", "runner")
    assert not (disk / "run" / VERDICT).exists()


def test_a_notebook_that_cannot_be_saved_for_a_while_does_not_end_the_session(
    disk: Path, stand_in: Callable[..., Path]
) -> None:
    cells = (
        "fill()",
        "'after a save that failed'",
        "(pathlib.Path(run_dir) / 'filler').unlink()\nsay(0, 'on it went')",
    )
    verdict = supervise(Plan(stand_in(*cells), disk / "run"))
    assert verdict == Verdict(ExitCode.OK, "on it went")
    saved = nbformat.read(disk / "run" / "live.ipynb", as_version=4)
    assert saved.cells[-2].outputs[0]["data"]["text/plain"] == "'after a save that failed'"


def test_a_notebook_that_could_not_be_saved_in_the_end_is_told(
    tmp_path: Path, stand_in: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(notebook, "replace_file", full)
    verdict = supervise(Plan(stand_in("say(0, 'the session closed')"), tmp_path / "run"))
    assert verdict.code is ExitCode.RECORD
    assert verdict.reason == (
        f"{tmp_path}/run/live.ipynb could not be saved (No space left on device); "
        "the session said OK (0): the session closed"
    )
    assert Verdict.read(tmp_path / "run") == verdict
    monkeypatch.undo()


def test_a_session_that_did_not_end_well_keeps_its_own_verdict_where_the_notebook_is_not_saved(
    tmp_path: Path, stand_in: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "replace_file", lambda path, text: (_ for _ in ()).throw(OSError(28, "full")))
    verdict = supervise(Plan(stand_in("say(1, 'row 7 differs')"), tmp_path / "run"))
    assert verdict == Verdict(ExitCode.AUDIT_FAILED, "row 7 differs")
