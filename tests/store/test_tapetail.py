"""The latest market events of a tape that is being written."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from mdslib.errors import TapeError
from mdslib.events import RECORD, Kind
from mdslib.instruments import Instrument
from mdslib.store import tapetail
from mdslib.store.tapefile import TapeWriter
from mdslib.store.tapetail import tape_tail
from mdslib.tape import make_header


def writer(folder: Path, **options: int) -> TapeWriter:
    header = make_header(
        model="m", fingerprint="f", parameters={}, instruments=[Instrument("SPY")], account_id="A",
        trading_date=datetime.date(2025, 6, 12), run_name="r", limits={}, clock="wall", hours=[(0, 10**9)],
    )  # fmt: skip
    return TapeWriter(folder, header, **options)  # type: ignore[arg-type]


def rows(*times: int, kind: Kind = Kind.TRADE) -> np.ndarray:
    made = np.zeros(len(times), RECORD)
    made["kind"], made["ts_event"] = kind, times
    return made


def test_it_begins_a_margin_before_the_last_market_event(tmp_path: Path) -> None:
    with writer(tmp_path) as tape:
        tape.append(rows(*range(100)))
        tape.append(rows(500, kind=Kind.GAP))
        tail = tape_tail(tmp_path, 10)
        assert (tail.last, tail.records["ts_event"].tolist()) == (99, list(range(89, 100)))
        tape.append(rows(100))
        assert tape_tail(tmp_path, 10).last == 100, "what the writer has appended meanwhile is there"


def test_it_begins_earlier_where_that_is_asked_for(tmp_path: Path) -> None:
    with writer(tmp_path) as tape:
        tape.append(rows(*range(100)))
        assert len(tape_tail(tmp_path, 10, since=40).records) == 60
        assert len(tape_tail(tmp_path, 10, since=98).records) == 11


def test_it_reaches_over_segments_and_blocks_and_stops_where_all_is_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tapetail, "_BLOCK", 7)
    with writer(tmp_path, segment_bytes=3_000) as tape:
        for start in range(0, 300, 20):
            tape.append(rows(*range(start, start + 20)))
        assert len(list(tmp_path.glob("*.tape"))) > 5
        tail = tape_tail(tmp_path, 100)
    assert tail.records["ts_event"].tolist() == list(range(199, 300))
    assert (np.diff(tail.records["seq"]) == 1).all()


def test_prints_that_were_reported_late_are_there(tmp_path: Path) -> None:
    with writer(tmp_path) as tape:
        tape.append(rows(50, 90, 85, 100, 95))
        assert tape_tail(tmp_path, 10).records["ts_event"].tolist() == [90, 100, 95]


def test_a_tape_without_market_events_has_no_last_one(tmp_path: Path) -> None:
    with writer(tmp_path) as tape:
        tape.append(rows(5, kind=Kind.OPEN))
        tail = tape_tail(tmp_path, 10)
    assert (tail.last, len(tail.records)) == (0, 0)


def test_no_tape_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="must hold a tape"):
        tape_tail(tmp_path, 10)
