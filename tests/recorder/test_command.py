"""`mds record` as a person runs it, in processes of its own."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mdslib.cli import run
from mdslib.clock import wall_ns
from mdslib.errors import TapeError
from mdslib.recorder.claim import claimed
from mdslib.recorder.status import read_status, write_status
from mdslib.sim.venues.server import VenueServer
from mdslib.store.tapefile import writer_of
from tests.recorder.conftest import decoded, plan, same, tape_of
from tests.venue_servers import PATIENCE, running, until

PAIRS = ["XBT/USD", "ETH/USD"]
FEEDS = [f"kraken:{pair}" for pair in PAIRS]


class Recorders:
    """Processes that are ended with the test."""

    def __init__(self, log: Path) -> None:
        self._log, self._running = log, list[subprocess.Popen[bytes]]()

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", "mdslib.cli", "record", *words], stderr=log)
        self._running.append(process)
        return process

    @property
    def told(self) -> str:
        return self._log.read_text()

    def end(self) -> None:
        for process in self._running:
            process.kill()
            process.wait(PATIENCE)


@pytest.fixture
def recorders(tmp_path: Path) -> Iterator[Recorders]:
    found = Recorders(tmp_path / "log")
    yield found
    found.end()


def size_of(out: Path) -> int:
    return sum(path.stat().st_size for path in out.glob("kraken/*/tape*/*.tape"))


def test_a_signal_ends_it_with_everything_on_the_tape(out: Path, recorders: Recorders) -> None:
    with running(VenueServer.of_made("kraken", PAIRS, 300, speed=0.0)) as venue:
        process = recorders.start(*FEEDS, "--mode", "light", "--out", str(out), "--url", f"kraken={venue.url}")
        until(lambda: venue.sent)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    market = decoded("kraken", PAIRS, 300)
    assert same(tape_of(out, "kraken"), market)
    assert f"stopped: {len(market)} records are on the tapes" in recorders.told
    assert read_status(out)["recorders"][0]["running"] is False


def test_a_process_for_each_pair_writes_a_tape_for_each(out: Path, recorders: Recorders) -> None:
    with running(VenueServer.of_made("kraken", PAIRS, 200, speed=0.0)) as venue:
        process = recorders.start(
            *FEEDS, "--process-per-pair", "--mode", "light", "--out", str(out), "--url", f"kraken={venue.url}"
        )
        until(lambda: venue.sent and size_of(out) > 0)
        until(lambda: len(list(out.glob("status/*.json"))) == 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    found = sorted(path.name for path in out.glob("kraken/*/tape*"))
    assert found == ["tape@ETH%2FUSD", "tape@XBT%2FUSD"]
    assert all(not writer_of(path) for path in out.glob("kraken/*/tape*"))
    market = decoded("kraken", PAIRS, 200)
    for place, pair in enumerate(PAIRS):
        records = tape_of(out, "kraken", f"tape@{pair.replace('/', '%2F')}")
        ours = market[market["instrument"] == place].copy()
        ours["instrument"] = 0
        # The market may have begun before this process was there; then its tape begins with an image.
        images = np.flatnonzero(ours["flag"] & 8)
        assert len(images) == 1
        assert same(records[-20:], ours[-20:])


@pytest.mark.parametrize("alone", [[], ["--process-per-pair"]], ids=["one process", "a process per pair"])
def test_a_second_recorder_of_a_pair_is_refused_before_it_connects(
    out: Path, capsys: pytest.CaptureFixture[str], alone: list[str]
) -> None:
    with claimed(plan(out, *FEEDS)):
        assert run(["record", FEEDS[1], "--out", str(out), *alone]) == 2
    err = capsys.readouterr().err
    assert f"the tapes of kraken in {out} must have one recorder, and process {os.getpid()} writes them now" in err
    assert err.count("\n") == 1


def test_processes_share_a_venue_and_each_has_its_pair(out: Path) -> None:
    one, two = plan(out, *FEEDS).of_each()
    with claimed(one), claimed(two), claimed(plan(out, "coinbase:BTC-USD")):
        for other in (plan(out, FEEDS[0]), one):
            with pytest.raises(TapeError, match="must have one recorder"), claimed(other):
                pass
    with claimed(plan(out, *FEEDS)):
        pass


@pytest.mark.parametrize("alone", [[], ["--process-per-pair"]], ids=["one process", "a process per pair"])
@pytest.mark.parametrize("place", ["a file", "below a file", "/proc/x", "a venue's folder is a file"])
def test_a_folder_that_can_not_be_written_is_refused_before_anything_is_connected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, alone: list[str]
) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kraken").touch()
    places = {"below a file": "a file/x", "a venue's folder is a file": "folder"}
    out = tmp_path / places.get(place, place)
    assert run(["record", FEEDS[0], "--out", str(out), *alone]) == 2
    err = capsys.readouterr().err
    assert f"what is recorded goes to {out}, which must be a folder that can be written, received " in err
    assert err.count("\n") == 1


def test_a_full_disk_is_no_reason_to_refuse(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    monkeypatch.setattr(Path, "unlink", full)
    with claimed(plan(out, *FEEDS)):
        assert out.is_dir()


def feed(name: str, **more: object) -> dict[str, object]:
    plain = {"id": name, "state": "live", "said": "", "rate": 5.0, "lag_ms": 12.5, "age": 0.1, "bytes": 1_000_000}
    counts = dict.fromkeys(("trades", "deltas", "gaps", "resyncs", "losses", "checksums_ok", "checksums_bad"), 0)
    return plain | counts | {"book": "sound", "crossed": 0, "bid": 100.5, "ask": None, "levels": 3} | more


def test_status_shows_every_recorder_and_what_troubles_it(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = feed("kraken:XBT/USD", gaps=1, resyncs=1, losses=1)
    write_status(out, "one", {"time": wall_ns(), "running": True, "trouble": "", "feeds": [lost]})
    gone = {"time": wall_ns() - 60 * 10**9, "running": True, "trouble": "", "feeds": [feed("bitmex:XBTUSD")]}
    write_status(out, "two", gone)
    refused = feed("kraken:FOO/USD", state="refused", said="Currency pair not supported", lag_ms=None, age=None)
    write_status(out, "three", {"time": wall_ns(), "running": True, "trouble": "disk full", "feeds": [refused]})
    assert run(["record", "--status", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "2 of 3 recorders run" in told
    assert "kraken:FOO/USD: Currency pair not supported" in told
    assert "three: disk full" in told
    assert " 1 │ sound" in told, "one loss is one gap, not also a loss and a resync"
    assert run(["record", "--status", "--json", "--out", str(out)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert {each["id"]: each["state"] for each in figures["feeds"]} == {
        "kraken:XBT/USD": "live", "bitmex:XBTUSD": "stopped", "kraken:FOO/USD": "refused",
    }  # fmt: skip
    assert [each["running"] for each in figures["recorders"]] == [True, True, False]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--status", "--out", "nowhere"], "nowhere has no recorder's status; start one with mds record"),
        (["--status", "kraken:XBT/USD"], "--status shows all that is recorded, received kraken:XBT/USD too"),
        (["--json", "kraken:XBT/USD"], "--json is for --status; add it"),
        ([], "mds record needs something to record, received nothing"),
        (["kraken:XBT/USD", "--url", "kraken"], "--url must be venue=address, received 'kraken'"),
        (["alpaca:SPY", "kraken:XBT/USD", "--raw"], "--raw keeps no frames of alpaca, received alpaca:SPY; record"),
        (["alpaca:SPY", "--raw", "--unit"], "--raw keeps no frames of alpaca, received alpaca:SPY; record"),
        (
            ["kraken:XBT/USD", "--mode", "snapshot", "--every", "1"],
            "--every: a duration must be a positive number with ms, s, m or h",
        ),
        (["kraken:XBT/USD", "--mode", "snapshot", "--every", ""], "--every: a duration must be a positive number"),
        (["kraken:XBT/USD", "--mode", "light", "--every", "5s"], "--every is for --mode snapshot, received it with"),
        (["kraken:XBT/USD", "--levels", "3"], "--levels is for --mode snapshot, received it with --mode full; leave"),
        (["kraken:XBT/USD", "--durability", "x"], "--durability must be write or fsync, received 'x'"),
        (["kraken:XBT/USD", "--url", "kraken=ws://example.org"], "must be encrypted or on this machine"),
    ],
)
def test_what_is_wrong_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["record", *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_unit_says_of_snapshots_only_where_they_are_taken(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["record", *FEEDS, "--out", str(out), "--unit"]) == 0
    told = capsys.readouterr().out
    assert f" --mode full --out {out} --durability write" in told
    assert not out.exists(), "a unit is only printed"


def test_a_unit_runs_this_very_command(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*FEEDS, "--mode", "snapshot", "--every", "5s", "--raw", "--out", str(out)]
    assert run(["record", *words, "--unit"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (start,) = [line for line in lines if line.startswith("ExecStart=")]
    assert " -m mdslib.cli record kraken:XBT/USD kraken:ETH/USD --mode snapshot --every 5s" in start
    assert f"--out {out}" in start
    assert "Restart=always" in lines
    assert not any("@" in line.partition("=")[2] for line in lines if not line.startswith("#"))
