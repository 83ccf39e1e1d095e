"""The traps of papermill over a long session, each with a stand-in notebook and a real kernel."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from mdslib.errors import BrokerError, ConfigError
from mdslib.live.guards import Guards
from mdslib.live.runner import Plan, supervise
from mdslib.live.verdict import ExitCode, Verdict

Make = Callable[..., Path]

SESSION = """
import time
ended = pathlib.Path(run_dir) / "ended"
(pathlib.Path(run_dir) / "began").touch()
try:
    while not (pathlib.Path(run_dir) / "stop").exists():
        time.sleep(0.05)
except KeyboardInterrupt:
    pass
finally:
    time.sleep(2)
    ended.touch()
    say(0, "ended cleanly")
"""


def later(run_dir: Path, act: Callable[[], None]) -> threading.Thread:
    """Act once the stand-in session has begun."""

    def wait() -> None:
        give_up = time.monotonic() + 60
        while not (run_dir / "began").exists() and time.monotonic() < give_up:
            time.sleep(0.05)
        time.sleep(0.3)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def outputs(run_dir: Path) -> str:
    executed = nbformat.read(run_dir / "live.ipynb", as_version=4)
    return "".join(out.get("text", "") for cell in executed.cells for out in cell.get("outputs", []))


def test_a_session_that_says_ok_ends_with_0_and_the_executed_notebook_is_saved(notebook: Make, tmp_path: Path) -> None:
    verdict = supervise(Plan(notebook("say(0, 'all is well')", "print('run in', run_dir)"), tmp_path / "run"))
    assert verdict == Verdict(ExitCode.OK, "all is well")
    assert outputs(tmp_path / "run") == f"run in {tmp_path / 'run'}\n"


def test_a_failed_audit_keeps_the_sessions_own_verdict(notebook: Make, tmp_path: Path) -> None:
    verdict = supervise(Plan(notebook("say(1, 'row 7 differs')\nraise ValueError('audit')"), tmp_path))
    assert verdict == Verdict(ExitCode.AUDIT_FAILED, "row 7 differs")


def test_a_killed_kernel_is_seen_within_seconds_although_papermill_marks_its_cells_completed(
    notebook: Make, tmp_path: Path
) -> None:
    def kill() -> None:
        nonlocal killed
        killed = time.monotonic()
        os.kill(int((tmp_path / "began").read_text()), signal.SIGKILL)

    killed = 0.0
    cell = "import os, time\n(pathlib.Path(run_dir) / 'began').write_text(str(os.getpid()))\ntime.sleep(60)"
    thread = later(tmp_path, kill)
    verdict = supervise(Plan(notebook(cell), tmp_path), rescue=lambda: "2 orders were cancelled at the broker")
    took = time.monotonic() - killed
    thread.join()
    assert verdict.code is ExitCode.KERNEL
    assert verdict.reason == "the kernel died; 2 orders were cancelled at the broker"
    assert took < 30
    assert Verdict.read(tmp_path) == verdict


def test_a_rescue_that_fails_is_part_of_the_verdict(notebook: Make, tmp_path: Path) -> None:
    def rescue() -> str:
        raise BrokerError("no route to the broker")

    verdict = supervise(Plan(notebook("import os\nos._exit(9)"), tmp_path), rescue=rescue)
    assert verdict.reason == "the kernel died; and cancelling at the broker failed: no route to the broker"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_lets_the_session_end_cleanly_and_the_notebook_is_saved(
    notebook: Make, tmp_path: Path, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    thread = later(tmp_path, lambda: os.kill(os.getpid(), number))
    verdict = supervise(Plan(notebook(SESSION, "print('the report')"), tmp_path))
    thread.join()
    assert verdict == Verdict(ExitCode.OK, "ended cleanly")
    assert (tmp_path / "ended").exists()
    assert "the report" in outputs(tmp_path)
    assert signal.getsignal(number) is before


def test_a_stop_before_the_session_has_begun_is_143_for_sigterm(notebook: Make, tmp_path: Path) -> None:
    cell = "import time\n(pathlib.Path(run_dir) / 'began').touch()\ntime.sleep(60)"
    thread = later(tmp_path, lambda: os.kill(os.getpid(), signal.SIGTERM))
    verdict = supervise(Plan(notebook(cell), tmp_path))
    thread.join()
    assert verdict.code is ExitCode.TERMINATED
    assert verdict.reason == "stopped by SIGTERM before the session could end cleanly"


def test_a_session_that_ignores_interrupts_is_killed_when_its_time_to_stop_is_over(
    notebook: Make, tmp_path: Path
) -> None:
    cell = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
(pathlib.Path(run_dir) / "began").touch()
time.sleep(60)
"""
    said: list[str] = []
    thread = later(tmp_path, lambda: os.kill(os.getpid(), signal.SIGTERM))
    verdict = supervise(Plan(notebook(cell), tmp_path, guards=Guards(stop=2)), say=said.append)
    thread.join()
    first = "SIGTERM: asking the session to stop; it has 2 s to end cleanly"
    assert said == [first, first, f"{verdict.reason}: killing the notebook's kernel"]
    assert verdict.code is ExitCode.KERNEL
    assert verdict.reason == "the session did not end within 2 s of being asked to stop"


def test_a_session_past_its_time_is_stopped_cleanly_and_still_counts_as_hung(notebook: Make, tmp_path: Path) -> None:
    verdict = supervise(Plan(notebook(SESSION), tmp_path, guards=Guards(run=4)))
    assert (tmp_path / "ended").exists()
    assert verdict.code is ExitCode.KERNEL
    assert verdict.reason == ("the session did not end by itself within 4 s (the session had said: ended cleanly)")


def test_twenty_thousand_printed_lines_neither_fail_the_run_nor_are_lost(notebook: Make, tmp_path: Path) -> None:
    cell = "for line in range(20_000):\n    print(line, flush=True)\nsay(0, 'printed')"
    verdict = supervise(Plan(notebook(cell), tmp_path))
    assert verdict == Verdict(ExitCode.OK, "printed")
    assert outputs(tmp_path).splitlines() == [str(line) for line in range(20_000)]


@pytest.mark.parametrize(
    ("cell", "code", "reason"),
    [
        ("from mdslib.errors import CredentialError\nraise CredentialError('X is not set')", ExitCode.CONFIG,
         "cell 4 raised CredentialError: X is not set"),
        ("from mdslib.errors import FeedRefused\nraise FeedRefused('409')", ExitCode.CONFIG,
         "cell 4 raised FeedRefused: 409"),
        ("1 / 0", ExitCode.NOTEBOOK, "cell 4 raised ZeroDivisionError: division by zero"),
        ("pass", ExitCode.NOTEBOOK, "the notebook ended without a verdict: its session never ran"),
        ("say(0, 'fine')\n1 / 0", ExitCode.NOTEBOOK,
         "the session ended well, but then cell 4 raised ZeroDivisionError: division by zero"),
    ],
)  # fmt: skip
def test_what_a_cell_raises_decides_the_exit_code(
    notebook: Make, tmp_path: Path, cell: str, code: ExitCode, reason: str
) -> None:
    verdict = supervise(Plan(notebook(cell), tmp_path))
    assert (verdict.code, verdict.reason) == (code, reason)


def test_yesterdays_verdict_is_not_taken_for_todays(notebook: Make, tmp_path: Path) -> None:
    Verdict(ExitCode.OK, "yesterday").write(tmp_path)
    (tmp_path / "stop").touch()
    assert supervise(Plan(notebook("pass"), tmp_path)).code is ExitCode.NOTEBOOK


def test_a_run_folder_that_cannot_be_made_is_a_configuration_error(notebook: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"must be writable, received Not a directory; free the disk, mend its owner"):
        supervise(Plan(notebook("pass"), tmp_path / "file" / "run"))


def test_a_missing_notebook_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"notebook must be a file, received '.*no\.ipynb'; the shipped"):
        supervise(Plan(tmp_path / "no.ipynb", tmp_path))
