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
from mdslib.clock import wall_ns
from mdslib.feeds.rfc3339 import to_ns
from mdslib.sim.server import bind
from mdslib.sim.venues.made import made_capture
from mdslib.sim.venues.server import VenueServer
from tests.venue_servers import running, until


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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--venue-fault", "500:cut"], "--venue-fault needs --venue"),
        (["--venue", "kraken", "--mode", "lockstep"], "--mode has no effect on a crypto venue's market data"),
        (["--venue", "kraken", "--from", "10:00"], "--from has no effect"),
        (["--venue", "kraken", "--symbol", "../../x"], "--symbol must be a pair as kraken writes it, like XBT/USD"),
        (["--venue", "kraken", "--exit-after", "1"], "--exit-after needs --capture: a made market has no end"),
    ],
)
def test_what_would_have_no_effect_on_a_venue_is_refused(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sim", "--port", "0", *words]) == 2
    assert told in capsys.readouterr().err


def test_a_capture_of_another_venue_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "B.0"
    path.write_text('wss://api.bitfinex.com/ws/2 <-> 1.0\n1.0: {"event":"info","version":2}\n')
    assert run(["sim", "--port", "0", "--venue", "kraken", "--capture", str(path)]) == 2
    assert "B.0 is bitfinex's, --venue says kraken; leave --venue out" in capsys.readouterr().err
    path.write_text('1.0: {"event":"heartbeat"}\n1.0: [1,"te",[2]]\n')  # it does not tell
    assert run(["sim", "--port", "0", "--venue", "coinbase", "--capture", str(path)]) == 2
    assert "message 1 of the capture can't be read as coinbase's: KeyError" in capsys.readouterr().err


def test_the_made_market_bears_the_time_now_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdslib.sim.venues.server._LOOKED_AT", 100)
    begun = wall_ns()
    times = []
    with running(VenueServer.of_endless("coinbase", ["BTC-USD"], speed=0.0)) as venue, connect(venue.url) as stream:
        stream.send('{"type":"subscribe","product_ids":["BTC-USD"],"channels":["level2_batch"]}')
        while len(times) < 500:
            message = json.loads(stream.recv(60))
            times += [to_ns(message["time"])] if message["type"] == "l2update" else []
        assert not venue.server.finished.is_set()
    assert begun - 1_000_000 <= times[0]  # told in whole microseconds
    assert times == sorted(times)
    assert times[-1] <= wall_ns()
