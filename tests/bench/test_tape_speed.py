"""The tape: us an append at 1, 10 and 100 records, beside a bare `os.write` of the same bytes in the same run."""

from __future__ import annotations

import datetime
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mdslib.events import RECORD
from mdslib.store.tapefile import TapeReader, TapeWriter
from mdslib.tape import TapeHeader, seal

HEADER = TapeHeader("m", "f", {}, (), "a", datetime.date(2013, 10, 8), "r")


def best(call: Callable[[], object], calls: int, rounds: int = 7) -> float:
    """Return the seconds of one call, the best of several rounds: other work may share the machine."""
    figures = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(calls):
            call()
        figures.append((time.perf_counter() - began) / calls)
    return min(figures)


@pytest.mark.parametrize("count", [1, 10, 100])
def test_an_append_costs_little_more_than_the_write_itself(
    tmp_path: Path, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = np.zeros(count, RECORD)
    data = batch.tobytes()
    fd = os.open(tmp_path / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with TapeWriter(tmp_path / "tape", HEADER) as tape:
        tape.append(batch)
        whole = best(lambda: tape.append(batch), 20_000 // count)
    bare = best(lambda: os.write(fd, data), 20_000 // count)
    os.close(fd)
    with capsys.disabled():
        sys.stdout.write(f"\nTape, {count} records: {whole * 1e6:.2f} us, a bare write {bare * 1e6:.2f} us\n")
    assert whole - bare < 2e-6 + count * 150e-9  # the hand-over, and the CRC of each record
    assert TapeReader(tmp_path / "tape").records()["seq"][-1] == tape.next_seq - 1


def test_sealing_costs_less_than_150_ns_a_record() -> None:
    batch = np.zeros(100_000, RECORD)
    seal(batch, 1)
    assert best(lambda: seal(batch, 1), 3) / len(batch) < 150e-9
