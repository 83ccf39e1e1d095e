"""A process for each pair: what is started again, and what is not."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from mdslib.recorder import processes
from mdslib.recorder.processes import record_each


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_LOOK_EVERY", 0.01)


def test_what_was_asked_for_wrongly_is_not_started_again(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    assert record_each([("krakn:XBT/USD", ["record", "krakn:XBT/USD"])], told.append) == 2
    assert told == ["krakn:XBT/USD: its process ended with code 2, see above; it is not started again"]
    assert "no venue is called 'krakn'" in capfd.readouterr().err


def test_a_process_that_ends_by_itself_is_started_again_until_a_signal() -> None:
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    assert record_each([("one", ["--version"])], tell) == 0
    assert signal.getsignal(signal.SIGTERM) is before
    assert "one: its process ended with code 0; it is started again in" in told[0]


@pytest.mark.parametrize(
    ("command", "failed"),
    [(["sleep", "600"], False), (["sh", "-c", "exit 2"], True), (["sh", "-c", "exit 1"], False), (None, False)],
    ids=["ended by our signal", "an error of its own", "crashed just before", "between two starts"],
)
def test_only_an_error_of_its_own_counts_at_the_end(command: list[str] | None, failed: bool) -> None:
    process = None if command is None else subprocess.Popen(command)
    if process is not None and command != ["sleep", "600"]:
        process.wait()
    assert processes._end(processes._Child("one", [], process)) is failed
    assert processes._end(processes._Child("one", [], None, done=True)) is True
