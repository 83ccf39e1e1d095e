"""`mds sim` as a person runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from mdslib.sim import read_faults, read_sent


def start(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mdslib.cli", "sim", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def command() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended with the test."""
    running: list[subprocess.Popen[str]] = []
    yield running
    for process in running:
        process.kill()
        process.communicate(timeout=120)


def printed(process: subprocess.Popen[str]) -> dict[str, str]:
    """Return the addresses that the command prints, by their names."""
    assert process.stdout is not None
    found: dict[str, str] = {}
    for line in process.stdout:
        name, _, rest = line.partition(" ")
        found[name] = rest.strip()
        if line.startswith("the day begins"):
            return found
    raise AssertionError("it ended before it was ready")


def test_it_prints_its_addresses_and_ends_cleanly_on_sigterm(
    command: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start("--port", "0", "--mode", "free", "--log", str(tmp_path), "--date", "2025-06-12")
    command.append(process)
    said = printed(process)
    assert said["exchange"].startswith("a made day, no recorded one: MarketData(SPY: ")
    url = said["data"].split()[0]
    with connect(url, max_size=None, close_timeout=0.1) as socket:
        socket.recv(120)
        socket.send('{"action":"auth","key":"k","secret":"s"}')
        socket.send('{"action":"subscribe","trades":["SPY"]}')
        assert json.loads(socket.recv(120))[0]["msg"] == "authenticated"
        assert json.loads(socket.recv(120))[0]["T"] == "subscription"
        assert json.loads(socket.recv(120))[0]["T"] == "t"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert len(read_sent(tmp_path)) > 0


def test_a_used_port_is_one_line(command: list[subprocess.Popen[str]]) -> None:
    first = start("--port", "0")
    command.append(first)
    port = printed(first)["trading"].rpartition(":")[2]
    second = start("--port", port)
    command.append(second)
    _, errors = second.communicate(timeout=120)
    assert second.returncode != 0
    assert errors.count("\n") == 1
    assert f"sim option port: 127.0.0.1:{port} can't be used (Address already in use)" in errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--mode", "quick"), "sim option mode must be one of real, fast, free, lockstep; received 'quick'"),
        (("--from", "9h"), "--from must be a time of day in New York like 09:45 or 09:45:30, received '9h'"),
        (("--data", "nowhere"), "--data nowhere does not exist"),
        (
            ("--kind", "foo"),
            "the made day has trades of the regular session alone, received --kind foo; leave it out, or play recorded",
        ),
        (("--extended",), "received --extended; leave it out, or play recorded data with --store or --data"),
        (("--data", "a", "--store", "b"), "--data and --store name two sources, received a and b; leave one out"),
        (
            ("--data", "a", "--symbol", "SPY", "--symbol", "BAC"),
            "--data plays one symbol, received SPY, BAC; `mds import lean` them",
        ),
        (
            ("--mode", "lockstep", "--speed", "5"),
            "--speed is for --mode fast, received --mode lockstep --speed 5; leave one of them out",
        ),
        (("--faults", "strom"), "fault script 'strom' is unknown. Did you mean 'storm'?"),
    ],
)
def test_bad_options_are_one_line(options: tuple[str, ...], words: str) -> None:
    process = start("--port", "0", *options)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert words in errors
    assert errors.count("\n") == 1


def test_the_demo_takes_fault_scripts_and_refuses_an_unknown_one_before_it_begins(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mdslib.cli", "demo", "--faults", "strom", "--runs", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert done.stderr == "mds: error: fault script 'strom' is unknown. Did you mean 'storm'?\n"
    assert list(tmp_path.iterdir()) == []


def test_fault_scripts_are_listed_and_one_is_thrown_and_logged(
    command: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    listed, _ = start("--list-faults").communicate(timeout=120)
    assert "storm " in listed
    assert "post-504-order-taken " in listed
    script = tmp_path / "mine.toml"
    script.write_text('about = "Nothing is let in."\n[[fault]]\nwhat = "socket-error"\non = "connect"\ncode = 503\n')
    process = start("--port", "0", "--log", str(tmp_path / "log"), "--faults", str(script))
    command.append(process)
    said = printed(process)
    assert said["faults"] == "mine: Nothing is let in."
    with pytest.raises(InvalidStatus, match="503"):
        connect(said["data"].split()[0])
    assert [entry["phase"] for entry in read_faults(tmp_path / "log")] == ["began", "hit", "ended"]


def test_real_day_by_folder_and_date(shared_data: Path) -> None:
    import datetime

    from mdslib.errors import DataError
    from mdslib.sim.source import open_day

    day = open_day(shared_data / "lean_spy_ticks", date=datetime.date(2013, 10, 7))
    assert len(day) == 241_504
    with pytest.raises(DataError, match="has no file of 2013-10-12; it has 20131007, 20131008"):
        open_day(shared_data / "lean_spy_ticks", date=datetime.date(2013, 10, 12))
