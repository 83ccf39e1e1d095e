"""A venue's events on their way to the tape: days, clocks that are set, books that can't be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mdslib
from mdslib.book.grid import on_grid
from mdslib.errors import RecordError
from mdslib.events import RECORD, BookFlag, Kind
from mdslib.protocols import Records
from mdslib.recorder import books as books_module
from mdslib.recorder import tape as tape_module
from mdslib.recorder.plan import Mode
from mdslib.recorder.source import PairState
from mdslib.recorder.tape import DAY, VenueTape
from mdslib.recorder.venue import VenueRecording
from mdslib.store.compact import compact
from mdslib.store.parquet import ParquetStore
from mdslib.store.tapefile import TapeReader, TapeWriter
from tests.recorder.conftest import plan, tape_of

MIDNIGHT = 20_778 * DAY  # 2026-11-21
SECOND = 1_000_000_000


class Fixed:
    """A source that gives what a test puts in."""

    received = raw_bytes = raw_lost = 0

    def __init__(self) -> None:
        self.records: list[Records] = []
        self.asked: list[tuple[str, str]] = []

    def put(self, *times: int, kind: Kind = Kind.TRADE, **fields: object) -> None:
        records = np.zeros(len(times), RECORD)
        records["kind"], records["ts_init"], records["ts_event"] = int(kind), times, times
        for name, value in fields.items():
            records[name] = value
        self.records.append(records)

    def take(self) -> Records:
        found = np.concatenate(self.records) if self.records else np.zeros(0, RECORD)
        self.records = []
        return found

    def states(self) -> dict[str, PairState]:
        return {"XBT/USD": PairState()}

    def resync(self, pair: str, why: str) -> None:
        self.asked.append((pair, why))

    def flush(self) -> None:
        """Nothing is kept beside."""

    async def run(self) -> None:
        """Nothing to wait for."""

    def failed(self, why: str) -> None:
        """Nothing fails."""

    async def close(self) -> None:
        """Nothing to close."""


def recording(out: Path, source: Fixed, mode: Mode = Mode.LIGHT) -> VenueRecording:
    made = plan(out, "kraken:XBT/USD", mode=mode)
    instruments = [each.instrument() for each in made.wanted]
    tape = VenueTape(out / "kraken", "tape", instruments, "light", "write", lambda line: None)
    return VenueRecording(made, made.wanted, [source], tape)


def counts(out: Path) -> dict[str, int]:
    found = {}
    for folder in sorted((out / "kraken").glob("*/tape")):
        with TapeReader(folder) as tape:
            found[folder.parent.name] = int((tape.records()["kind"] == Kind.TRADE).sum())
    return found


def test_a_batch_over_midnight_goes_to_two_days(out: Path) -> None:
    source = Fixed()
    venue = recording(out, source)
    source.put(MIDNIGHT - 2, MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + 1, MIDNIGHT + 2)
    assert venue.close(MIDNIGHT + 3)
    assert counts(out) == {"2026-11-20": 2, "2026-11-21": 3}


def test_an_evening_of_new_york_is_loaded_with_its_day(out: Path) -> None:
    """Friday 18:30 and 19:30 in New York; the second is Saturday in UTC, a day without a session."""
    source, made = Fixed(), plan(out, "alpaca:SPY", mode=Mode.LIGHT)
    tape = VenueTape(out / "alpaca", "tape@NYSE", [made.wanted[0].instrument()], "light", "write", print)
    venue = VenueRecording(made, made.wanted, [source], tape)
    friday = 1_736_551_800 * SECOND
    monday = friday + 3 * DAY - 9 * 3_600 * SECOND
    source.put(friday, friday + 3_600 * SECOND, monday, f0=600.0, i0=1)
    assert venue.close(monday + SECOND)
    store = ParquetStore(out / "store")
    assert [report.date for report in compact(out, store)] == ["2025-01-10", "2025-01-13"]
    days = {date: mdslib.load("SPY", date, store=store, extended=True) for date in ("2025-01-10", "2025-01-13")}
    assert {date: len(data) for date, data in days.items()} == {"2025-01-10": 2, "2025-01-13": 1}
    assert len(mdslib.load("SPY", ("2025-01-10", "2025-01-13"), store=store, extended=True)) == 3


def test_a_clock_that_is_set_back_a_little_does_not_change_the_day(out: Path) -> None:
    source = Fixed()
    venue = recording(out, source)
    for time in (MIDNIGHT - 1, MIDNIGHT, MIDNIGHT - 5 * SECOND, MIDNIGHT + 1):
        source.put(time)
        venue.turn(time)
    assert venue.close(MIDNIGHT + 2)
    assert counts(out) == {"2026-11-20": 1, "2026-11-21": 3}


def test_a_clock_that_jumps_far_takes_the_day_with_it_and_loses_nothing(out: Path) -> None:
    source = Fixed()
    venue = recording(out, source)
    for time in (MIDNIGHT, MIDNIGHT + 400 * DAY, MIDNIGHT + 1, MIDNIGHT - 3 * DAY, MIDNIGHT + 2):
        source.put(time)
        venue.turn(time)
    assert venue.close(MIDNIGHT + 3)
    assert counts(out) == {"2026-11-18": 1, "2026-11-21": 3, "2027-12-26": 1}


def test_a_clock_that_is_set_back_leaves_each_connection_in_its_own_order(out: Path) -> None:
    sources = [Fixed(), Fixed()]
    venue = recording(out, sources[0])
    venue.sources = tuple(sources)
    sources[0].put(*(MIDNIGHT + after for after in (100, 110, 60, 70)), i1=[1, 2, 3, 4])
    sources[1].put(MIDNIGHT + 105, i1=[9])
    assert venue.close(MIDNIGHT + 200)
    assert tape_of(out, "kraken")["i1"].tolist() == [1, 9, 2, 3, 4]


def test_beside_a_damaged_tape_the_recording_goes_on(out: Path) -> None:
    source = Fixed()
    venue = recording(out, source)
    source.put(MIDNIGHT, MIDNIGHT + 1, MIDNIGHT + 2)
    assert venue.close(MIDNIGHT + 3)
    path = out / "kraken" / "2026-11-21" / "tape" / "00000001.tape"
    data = bytearray(path.read_bytes())
    data[-200] ^= 1  # in the second of three records
    path.write_bytes(data)
    told: list[str] = []
    again = recording(out, source)
    again.tape._tell = told.append
    source.put(MIDNIGHT + 4)
    assert again.close(MIDNIGHT + 5)
    assert len(told) == 1
    assert "the tape is damaged in its middle" in told[0]
    assert "goes on beside it, in tape.1" in told[0]
    assert path.read_bytes() == data
    with TapeReader(path.parent.parent / "tape.1") as tape:
        assert tape.records()["ts_init"].tolist() == [MIDNIGHT + 4]


def level(source: Fixed, side: BookFlag | int, price: float, size: int, *flags: BookFlag) -> None:
    flag = int(side)
    for each in flags:
        flag |= int(each)
    source.put(MIDNIGHT, kind=Kind.BOOK_DELTA, f0=price, i0=size, flag=flag)


def test_a_book_that_stays_crossed_and_one_with_nonsense_are_asked_for_anew(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Fixed()
    venue = recording(out, source, Mode.FULL)
    level(source, 0, np.nan, 0, BookFlag.SNAPSHOT, BookFlag.CLEAR)
    level(source, 0, 101.0, 5, BookFlag.SNAPSHOT)
    level(source, BookFlag.ASK, 100.0, 5, BookFlag.SNAPSHOT, BookFlag.LAST)
    venue.turn(MIDNIGHT)
    assert source.asked == []
    assert venue.feeds(MIDNIGHT)[0]["book"] == "crossed"
    monkeypatch.setattr(books_module, "CROSSED_FOR", 0.0)
    level(source, 0, 101.0, 6, BookFlag.LAST)
    venue.turn(MIDNIGHT)
    assert [(pair, why[:15]) for pair, why in source.asked] == [("XBT/USD", "its best bid 10")]
    level(source, 0, np.nan, 0, BookFlag.SNAPSHOT, BookFlag.CLEAR, BookFlag.LAST)
    level(source, 0, 90.0, -6, BookFlag.LAST)
    venue.turn(MIDNIGHT)
    assert "a size must be >= 0, received -6" in source.asked[1][1]
    venue.close(MIDNIGHT)


def test_from_a_gap_to_the_next_image_a_book_is_not_trusted(out: Path) -> None:
    source = Fixed()
    venue = recording(out, source, Mode.FULL)
    level(source, 0, np.nan, 0, BookFlag.SNAPSHOT, BookFlag.CLEAR)
    level(source, 0, 101.0, 5, BookFlag.SNAPSHOT, BookFlag.LAST)
    venue.turn(MIDNIGHT)
    assert venue.books is not None
    assert len(venue.books.images(MIDNIGHT)) == 2
    source.put(MIDNIGHT, kind=Kind.GAP)
    venue.turn(MIDNIGHT)
    assert venue.feeds(MIDNIGHT)[0]["book"] == "not trusted"
    assert venue.feeds(MIDNIGHT)[0]["gaps"] == 1
    assert len(venue.books.images(MIDNIGHT)) == 0
    level(source, 0, np.nan, 0, BookFlag.SNAPSHOT, BookFlag.CLEAR)
    level(source, 0, 102.0, 5, BookFlag.SNAPSHOT, BookFlag.LAST)
    venue.turn(MIDNIGHT)
    assert venue.books.images(MIDNIGHT)["f0"][1] == 102.0
    venue.close(MIDNIGHT)


@pytest.mark.parametrize("mode", [Mode.FULL, Mode.LIGHT])
def test_after_a_hole_for_want_of_space_every_book_on_the_tape_begins_anew(
    out: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    monkeypatch.setattr(tape_module, "MOST_WAITING", 3)
    monkeypatch.setattr(tape_module, "_TRY_AGAIN", 0)
    append, full = TapeWriter.append, [False]

    def refusing(self: TapeWriter, records: Any, sides: Any = ()) -> int:
        if full[0]:
            raise RecordError("tape x: no space.")
        return append(self, records, sides)

    monkeypatch.setattr(TapeWriter, "append", refusing)
    source = Fixed()
    venue = recording(out, source, mode)
    level(source, 0, np.nan, 0, BookFlag.SNAPSHOT, BookFlag.CLEAR)
    level(source, 0, 100.0, 5, BookFlag.SNAPSHOT, BookFlag.LAST)
    venue.turn(MIDNIGHT)
    full[0] = True
    level(source, 0, 100.0, 6, BookFlag.LAST)
    venue.turn(MIDNIGHT + 1)
    for price, size in ((100.0, 0), (99.0, 1), (98.0, 1)):  # all three are lost
        level(source, 0, price, size, BookFlag.LAST)
    venue.turn(MIDNIGHT + 2)
    full[0] = False
    venue.turn(MIDNIGHT + 3)
    level(source, 0, 97.0, 1, BookFlag.LAST)
    assert venue.close(MIDNIGHT + 4)
    records = tape_of(out, "kraken")
    kinds = records["kind"][:4].tolist()
    assert kinds == [int(Kind.BOOK_DELTA)] * 3 + [int(Kind.GAP)]
    after = records[4:]
    if mode is Mode.LIGHT:
        assert source.asked == [("XBT/USD", "changes of it were lost for want of space")]
        assert after["f0"].tolist() == [97.0]
        return
    assert after["flag"][0] & BookFlag.CLEAR
    book = on_grid(None, after)
    book.apply(after)
    assert book.top(10).bid.tolist() == [99.0, 98.0, 97.0], "what was lost shows in the image"
    assert (after["ts_init"][:3] == MIDNIGHT + 3).all()
