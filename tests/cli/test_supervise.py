"""`mds notify` and `mds cancel`, as systemd calls them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from mdslib.cli import run as mds
from mdslib.cli.supervise import newest
from mdslib.live.verdict import ExitCode, Verdict

HEARD: list[Any] = []


class Hook(BaseHTTPRequestHandler):
    """A web hook that keeps what it is told, and refuses at /no."""

    def do_POST(self) -> None:
        HEARD.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(404 if self.path == "/no" else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[str]:
    HEARD.clear()
    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def failed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs with one that failed, and how systemd tells of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONITOR_SERVICE_RESULT", "exit-code")
    monkeypatch.setenv("MONITOR_EXIT_STATUS", "4")
    run = tmp_path / "runs" / "2025-06-12-m"
    run.mkdir(parents=True)
    (run / "venue").write_text("http://127.0.0.1:9\n")
    Verdict(ExitCode.VENUE, "the feed ended").write(run)
    return run


def test_a_web_hook_is_told_how_the_unit_and_its_run_ended(hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDS_NOTIFY_WEBHOOK", f"{hook}/secret")
    assert mds(["notify", "mdslib-live.service"]) == 0
    (said,) = HEARD
    assert "mdslib-live.service on " in said["text"]
    assert said["text"].endswith(": exit-code (4); the newest run, 2025-06-12-m: VENUE, the feed ended")


def test_a_command_gets_the_message_on_its_input(tmp_path: Path) -> None:
    (tmp_path / "mdslib.toml").write_text('notify_command = ["/bin/sh", "-c", "cat > told"]\n')
    assert mds(["notify", "x.service"]) == 0
    assert (tmp_path / "told").read_text().startswith("x.service on ")


def test_who_could_not_be_told_is_named_and_the_hooks_address_is_not(
    hook: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MDS_NOTIFY_WEBHOOK", f"{hook}/no")
    monkeypatch.setenv("MDS_NOTIFY_COMMAND", '["/nonexistent"]')
    assert mds(["notify"]) == 2
    said = capsys.readouterr().err
    assert "web hook: answered HTTP 404, check notify_webhook" in said
    assert "/nonexistent could not be run" in said
    assert hook not in said


def test_where_nobody_is_named_the_journal_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert mds(["notify"]) == 0
    assert "nobody is named: set notify_webhook or notify_command" in capsys.readouterr().out


def test_the_newest_run_is_the_one_that_was_last_at_work(failed_run: Path) -> None:
    assert newest(failed_run.parent) == failed_run
    assert newest(failed_run) is None


def test_canceling_for_a_dead_supervisor_asks_the_runs_own_venue(
    failed_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ALPACA_TRADE_PUBLIC_KEY", "ALPACA_TRADE_SECRET_KEY"):
        monkeypatch.setenv(name, "XX")
    assert mds(["cancel"]) == 2
    assert "127.0.0.1:9" in capsys.readouterr().err
