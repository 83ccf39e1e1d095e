"""`mds sim --venue` as a person runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.sync.client import connect

from mdslib.cli import run
from mdslib.sim.venues.made import made_capture


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
        with connect(url) as socket:
            assert json.loads(socket.recv(60))["event"] == "systemStatus"
            socket.send('{"event":"subscribe","pair":["XBT/USD"],"subscription":{"name":"book","depth":1000}}')
            assert json.loads(socket.recv(60))["status"] == "subscribed"
            image = json.loads(socket.recv(60))
            assert set(image[1]) == {"as", "bs"}
            update = json.loads(socket.recv(60))
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
