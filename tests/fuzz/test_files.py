"""Tapes and settings from the disk: read whole, or refused by name; nothing half read passes as a record."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.config import load_settings
from mdslib.desk import mark_record
from mdslib.errors import ConfigError, TapeError
from mdslib.events import RECORD, Kind
from mdslib.instruments import Instrument
from mdslib.store.tapefile import TapeWriter
from mdslib.store.tapereader import TapeReader
from mdslib.tape import Side, SideKind, decode_segment, make_header

from .mutations import bend, bent, fuzzed

CONFIG = b"""
feed = "iex"
runs = "runs"
trade_url = "https://paper-api.alpaca.markets"

[limits]
max_position = 100.0
max_orders_per_minute = 30
session = 1
"""


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Return the bytes of a small tape and of its texts."""
    folder = tmp_path_factory.mktemp("fuzz") / "tape"
    header = make_header(
        model="m",
        fingerprint="f",
        parameters={"n": 3},
        instruments=(Instrument("SPY"),),
        account_id="PA3",
        trading_date=datetime.date(2013, 10, 8),
        run_name="r",
    )
    with TapeWriter(folder, header) as writer:
        for n in range(12):
            record = mark_record(Kind.TRADE, 10 + n, 10 + n)
            record["f0"], record["i0"] = 100.0 + n, n
            writer.append(record, [Side(0, SideKind.TEXT, f"text {n}")] if n % 4 == 0 else [])
    return (folder / "00000001.tape").read_bytes(), (folder / "00000001.side").read_bytes()


@fuzzed
@given(number=st.integers(0, 2**32 - 1), last=st.booleans())
def test_a_bent_segment_gives_its_own_whole_records_or_an_error(tape, number: int, last: bool) -> None:
    whole = decode_segment(np.frombuffer(tape[0], np.uint8), "00000001.tape", last=True)
    data = bend(tape[0], number)
    try:
        found = decode_segment(np.frombuffer(data, np.uint8), "00000001.tape", last)
    except TapeError:
        return
    assert found.header == whole.header
    kept = found.records.tobytes()
    assert kept == whole.records.tobytes()[: len(kept)]
    assert len(kept) + found.torn + (len(tape[0]) - len(whole.records) * RECORD.itemsize) == len(data)


@fuzzed
@given(number=st.integers(0, 2**32 - 1))
def test_bent_texts_are_those_of_their_records_or_an_error(tape, tmp_path_factory, number: int) -> None:
    folder = Path(tmp_path_factory.getbasetemp()) / "bent"
    folder.mkdir(exist_ok=True)
    (folder / "00000001.tape").write_bytes(tape[0])
    (folder / "00000001.side").write_bytes(bend(tape[1], number))
    try:
        with TapeReader(folder) as found:
            texts = {int(row["seq"]): found.text(row) for row in found.records() if row["side"]}
    except TapeError:
        return
    assert texts == {1: "text 0", 5: "text 4", 9: "text 8"}


@fuzzed
@given(data=bent([CONFIG]))
def test_bent_settings_are_read_or_refused_in_one_line(tmp_path_factory, data: bytes) -> None:
    path = Path(tmp_path_factory.getbasetemp()) / "fuzz.toml"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MDS_CONFIG", str(path))
        try:
            settings = load_settings()
        except ConfigError:
            return
    assert settings.limits.max_position >= 0
