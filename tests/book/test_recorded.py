"""A recorded book: capture to decoder to tape to table, and the book of each is the same."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from mdslib.book import OrderBook
from mdslib.events import Kind
from mdslib.feeds.replay import replay_capture
from mdslib.instruments import Instrument
from mdslib.store.tapefile import TapeReader, TapeWriter
from mdslib.tape import TapeHeader


@pytest.mark.parametrize("capture", ["bitmex_20210722", "coinbase_20210417", "kraken_20210417"])
def test_the_tape_and_its_table_rebuild_every_book_of_a_capture(shared_data: Path, tmp_path: Path, capture: str):
    kept: list[np.ndarray] = []
    report = replay_capture(shared_data / capture, sink=kept.append)
    instruments = tuple(Instrument(pair, report.venue, session="24/7") for pair in report.symbols)
    header = TapeHeader("", "", {}, instruments, "", datetime.date(2021, 4, 17), "capture")
    with TapeWriter(tmp_path, header) as tape:
        for records in kept:
            tape.append(records)
    reader = TapeReader(tmp_path)
    from_tape = reader.records()
    from_table = reader.tables()[Kind.BOOK_DELTA].to_records()
    for place, pair in enumerate(report.symbols):
        live = report.pairs[pair].book
        assert live is not None
        for records in (from_tape, from_table):
            book = OrderBook(live.tick)
            book.apply(records[records["instrument"] == place])
            for ours, theirs in zip(book.top(10_000), live.top(10_000), strict=True):
                assert ours.tobytes() == theirs.tobytes()
    assert len(report.symbols) == 10
