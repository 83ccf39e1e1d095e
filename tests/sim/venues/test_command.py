"""`mds sim --venue` as a person runs it."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from mdslib.cli import run
from mdslib.sim.server import bind
from mdslib.sim.venues.made import made_capture
from tests.venue_servers import until


def start(*options: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "mdslib.cli", "sim", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(5)]
    return process, "".join(told)


def test_a_capture_is_played_over_a_socket_and_a_signal_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "kraken.txt.log"
    path.write_text("\n".join(made_capture("kraken", ["XBT/USD"], 30)))
    process, told = start("--venue", "kraken", "--capture", str(path), "--speed", "0")
    try:
        assert "31 messages, 1 pairs: XBT/USD" in told
        url = told.split("data       ")[1].split()[0]
        assert f"export MDS_VENUE_URLS__KRAKEN={url}" in told
        with connect(url) as stream:
            assert json.loads(stream.recv(60))["event"] == "systemStatus"
            stream.send('{"event":"subscribe","pair":["XBT/USD"],"subscription":{"name":"book","depth":1000}}')
            assert json.loads(stream.recv(60))["status"] == "subscribed"
            image = json.loads(stream.recv(60))
            assert set(image[1]) == {"as", "bs"}
            update = json.loads(stream.recv(60))
            assert "c" in update[1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_venue_nobody_speaks_and_a_fault_that_is_none_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "--venue", "krakn"]) == 2
    assert capsys.readouterr().err == (
        "mds: error: --venue: no side speaks the protocol of 'krakn'. Did you mean 'kraken'?\n"
    )
    assert run(["sim", "--venue", "kraken", "--venue-fault", "5:burn"]) == 2
    assert (
        "--venue-fault must be a message's number and what happens there, received '5:burn'" in capsys.readouterr().err
    )


def test_a_capture_without_market_data_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "kraken.log"
    path.write_text('1.0: {"event":"heartbeat"}\n')
    assert run(["sim", "--venue", "kraken", "--capture", str(path)]) == 2
    assert "has no market data of kraken" in capsys.readouterr().err


def test_the_venue_ends_after_the_market_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bitmex.log"
    path.write_text("\n".join(made_capture("bitmex", ["XBTUSD"], 20)))
    with contextlib.closing(bind(0)) as listener:
        port = listener.getsockname()[1]
    heard: list[str] = []

    def listen() -> None:
        until(lambda: not connect_fails(port))
        with connect(f"ws://127.0.0.1:{port}") as stream:
            stream.send('{"op":"subscribe","args":["orderBookL2:XBTUSD"]}')
            with contextlib.suppress(ConnectionClosed):
                while True:
                    heard.append(str(stream.recv(60)))

    thread = threading.Thread(target=listen)
    thread.start()
    words = ["--capture", str(path), "--speed", "0", "--port", str(port), "--exit-after", "0.2"]
    assert run(["sim", "--venue", "bitmex", *words]) == 0
    thread.join(60)
    assert "bitmex: recorded" in capsys.readouterr().out
    assert sum('"table":"orderBookL2"' in text for text in heard) == 20  # an image, and all but the one trade


def connect_fails(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return True
    return False
