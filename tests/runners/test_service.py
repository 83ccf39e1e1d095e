"""What systemd is told, over a real datagram socket."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mdslib.live.guards import Guards
from mdslib.live.program import Request, trade
from mdslib.live.runner import Plan, supervise
from mdslib.live.service import Service

BEAT = """
import os, pathlib, time
def beat(seconds):
    for _ in range(int(seconds * 10)):
        (pathlib.Path(run_dir) / "heartbeat").touch()
        time.sleep(0.1)
"""


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Listen as systemd does; the list grows with what came."""
    path, said, ended = tmp_path / "notify", list[str](), threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.settimeout(0.1)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))

        def listen() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    said.append(listening.recv(4096).decode())

        thread = threading.Thread(target=listen)
        thread.start()
        yield said
        ended.set()
        thread.join()


def test_without_a_service_manager_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with Service() as service:
        service.ready("up")
        assert service.failed == ""


def test_a_manager_that_has_gone_stops_nothing(tmp_path: Path) -> None:
    with Service(str(tmp_path / "nobody")) as service:
        service.alive()
        assert service.failed


def test_a_manager_that_does_not_listen_holds_nothing_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf, Service(str(tmp_path / "deaf")) as service:
        deaf.bind(str(tmp_path / "deaf"))
        for _ in range(10_000):
            service.alive()
        assert "temporarily unavailable" in service.failed


def test_a_session_that_turns_feeds_the_watchdog(manager, notebook, tmp_path: Path) -> None:
    with Service() as service:
        supervise(Plan(notebook(BEAT, "beat(3)", "say(0, 'well')"), tmp_path / "run"), service=service)
    assert manager.count("WATCHDOG=1") > 10


def test_a_session_that_hangs_starves_the_watchdog_and_is_killed_within_seconds(
    manager, notebook, tmp_path: Path
) -> None:
    cells = notebook(BEAT, "beat(2)", "time.sleep(60)")
    plan = Plan(cells, tmp_path / "run", guards=Guards(silence=3.0))
    with Service() as service:
        verdict = supervise(plan, rescue=lambda: "2 orders canceled", service=service)
    assert verdict.code.name == "KERNEL"
    assert verdict.reason == "the session's heartbeat stood still for 3 s; 2 orders canceled"


def test_a_day_without_a_session_is_up_before_it_ends(manager, tmp_path: Path) -> None:
    code = trade(Request("volume_modulo", date="2024-12-25", runs=tmp_path), lambda _: None)
    assert code == 0
    assert manager[0].startswith("READY=1\nSTATUS=volume_modulo")
