"""Compaction is killed at random points, again and again; nothing is lost, doubled or half there.

Three kills here; ``MDS_KILLS=200`` for the long run.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from mdslib.events import Kind
from mdslib.store.compact import RECEIPT, compact
from mdslib.store.integrity import verify_store
from mdslib.store.parquet import ParquetStore
from tests.store.tapes import BTC, DAY, ETH, MIDNIGHT, made_records, make_tape

KILLS = int(os.environ.get("MDS_KILLS", "3"))
# Compacts over and over, so that a kill at any time is a kill somewhere in the middle.
PROGRAM = """
import sys
from pathlib import Path
from mdslib.store.compact import RECEIPT, compact
from mdslib.store.parquet import ParquetStore
record, store = Path(sys.argv[1]), ParquetStore(sys.argv[2])
while True:
    sys.stdout.write("begins\\n")
    sys.stdout.flush()
    for report in compact(record, store):
        assert not report.error, report.error
    for receipt in record.rglob(RECEIPT):
        receipt.unlink()
"""
PARTS = [(pair, kind) for pair in (BTC, ETH) for kind in (Kind.TRADE, Kind.QUOTE, Kind.BOOK_DELTA, Kind.GAP)]


def test_killed_at_random_points_it_ends_as_if_it_had_never_been(tmp_path: Path) -> None:
    record, store = tmp_path / "record", ParquetStore(tmp_path / "store")
    tape = record / "kraken/2021-04-17/tape"
    whole = made_records(6_000)
    make_tape(tape, whole, text="gap")
    chance = random.Random(7)
    for kill in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(record), str(store.root)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "begins\n"
            time.sleep(chance.random() * 0.3)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
        # What a reader sees at this moment: parts that are whole, or none.
        assert [part.error for part in verify_store(store) if part.error] == []
        if kill % 10 == 0:  # the recorder went on meanwhile
            more = made_records(100, seed=kill, start=MIDNIGHT + (2 + kill) * 3_600 * 10**9)
            make_tape(tape, more)
            whole = np.concatenate([whole, more])
    (report,) = compact(record, store)
    assert not report.error
    assert report.rows + report.rest == len(whole) + 1  # the GAP with a text is in its table and beside it
    reference = ParquetStore(tmp_path / "reference")
    (tape / RECEIPT).unlink()
    compact(record, reference)
    for pair, kind in PARTS:
        assert store.read(pair, kind, DAY).equals(reference.read(pair, kind, DAY))
    assert sorted(path.name for path in store.root.rglob("*") if path.is_file() and path.name[0] != ".") == [
        "part.parquet"
    ] * len(PARTS)
