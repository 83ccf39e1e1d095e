"""The recorder's figures: from raw frames to the tape on one core, and fifty pairs in one process over a socket.

``python -m pytest -q -s tests/bench/test_recorder.py`` prints them. The first is the least of five rounds, in seconds
of the processor: decoding, the books in mode full, sealing and writing, on a tape that is open. A delta is one level's
new size; those of the images at a connection's start count too.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mdslib.events import RECORD
from mdslib.feeds.account import Tally
from mdslib.feeds.capture import Line, What, capture_files, dialect_of, read_capture
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.replay import decoder_for
from mdslib.feeds.venue import VenueDecoder
from mdslib.instruments import Instrument
from mdslib.recorder.books import Books
from mdslib.recorder.plan import Mode
from mdslib.recorder.status import read_status
from mdslib.recorder.tape import DAY, VenueTape
from tests.recorder.conftest import Run, plan, tape_of

pytestmark = pytest.mark.bench

CAPTURES = ["coinbase_20210417", "bitfinex_20210417", "bitmex_20210722", "kraken_20210417"]
TURN = 1_000  # frames between two writes, as a 25 ms turn has at 40,000 a second
PAIRS = [f"AA{number:02d}-USD" for number in range(50)]


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


@pytest.mark.parametrize("mode", [Mode.LIGHT, Mode.FULL])
@pytest.mark.parametrize("capture", CAPTURES)
def test_from_raw_frames_to_the_tape(capture: str, mode: Mode, shared_data: Path, tmp_path: Path) -> None:
    files = capture_files(shared_data / capture)
    makers = {str(file): decoder_for(dialect_of(file)) for file in files}
    lines = [line for line in read_capture(*files) if line.what is What.RECEIVED]
    symbols = pairs_of(makers, lines)
    best, tallies = 1e9, list[Tally]()
    for number in range(5):
        places = Pairs(symbols)  # a recorder knows them from its plan
        decoders = {name: make(places) for name, make in makers.items()}
        instruments = [Instrument(f"P{place}") for place in range(64)]
        tape = VenueTape(tmp_path / str(number), "tape", instruments, mode.value, "write", say)
        tape.add(lines[0].time // DAY, np.zeros(1, RECORD))
        tape.flush()
        books = Books(64)
        began = time.process_time()
        for place, line in enumerate(lines):
            decoders[line.connection].feed(line.text, line.time)
            if place % TURN == TURN - 1 or place == len(lines) - 1:
                for decoder in decoders.values():
                    records = decoder.take()
                    tape.add(line.time // DAY, records)
                    if mode is Mode.FULL:
                        assert books.apply(records) == []
                tape.flush()
        best = min(best, time.process_time() - began)
        tape.close()
        tallies = [tally for decoder in decoders.values() for tally in decoder.tallies.values()]
    deltas = sum(tally.levels for tally in tallies)
    changes = sum(tally.deltas for tally in tallies)
    say(
        f"\n{capture:20} {mode.value:6} {len(lines) / best:>9,.0f} messages/s {deltas / best:>9,.0f} deltas/s"
        f" ({deltas} in {len(lines)} messages, of which {changes} change a book)"
    )
    assert deltas / best > 100_000  # 200,000 is the aim; a machine with other work does less


def pairs_of(makers: dict[str, type[VenueDecoder]], lines: list[Line]) -> list[str]:
    pairs = Pairs()
    decoders = {name: make(pairs) for name, make in makers.items()}
    for line in lines:
        decoders[line.connection].feed(line.text, line.time)
    return pairs.symbols


@pytest.fixture
def venue() -> Iterator[str]:
    words = [word for pair in PAIRS for word in ("--symbol", pair)]
    command = [sys.executable, "-m", "mdslib.cli", "sim", "--venue", "coinbase", "--port", "0", "--speed", "0", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = "".join(process.stdout.readline() for _ in range(5))
    yield told.split("data       ")[1].split()[0]
    process.terminate()
    process.communicate(timeout=60)


def test_one_process_holds_fifty_pairs(venue: str, tmp_path: Path) -> None:
    run = Run(plan(tmp_path, *(f"coinbase:{pair}" for pair in PAIRS), urls={"coinbase": venue}))
    tape = run.recorder.venues[0].tape
    looks: list[tuple[int, float]] = []  # records on the tape, seconds of the processor

    def done() -> bool:
        if tape.written > 5_000:
            looks.append((tape.written, time.process_time()))
        return tape.written >= 20_000 + 50 * 81

    run.until(done)
    feeds = read_status(tmp_path)["feeds"]
    (first, began), (last, ended) = looks[0], looks[-1]
    say(f"\nfifty pairs over a socket, books kept: {(last - first) / (ended - began):,.0f} messages a second")
    assert {feed["book"] for feed in feeds} == {"sound"}
    assert len(feeds) == 50
    told = sum(feed["trades"] + feed["deltas"] for feed in feeds)
    assert told >= 20_000
    assert len(tape_of(tmp_path, "coinbase")) == told + 50 * 81
