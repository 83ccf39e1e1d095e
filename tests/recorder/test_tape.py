"""A venue's tape on a disk that is full: what waits, what is lost, and what the tape says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdslib.errors import RecordError, TapeError
from mdslib.events import RECORD, Kind
from mdslib.protocols import Records
from mdslib.recorder import tape as tape_module
from mdslib.recorder.plan import parse_wanted
from mdslib.recorder.tape import DAY, VenueTape
from mdslib.store.tapefile import TapeWriter
from tests.recorder.conftest import tape_of

DAY_NUMBER = 20_778  # 2026-11-21
NOON = DAY_NUMBER * DAY + DAY // 2
PAIRS = [parse_wanted(text).instrument() for text in ("kraken:XBT/USD", "kraken:ETH/USD")]


class Disk:
    """A disk that is full while `full` is set."""

    def __init__(self) -> None:
        self.full = False


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    found, append = Disk(), TapeWriter.append

    def refusing(self: TapeWriter, records: Any, sides: Any = ()) -> int:
        if found.full:
            raise RecordError("tape x: no space.")
        return append(self, records, sides)

    monkeypatch.setattr(TapeWriter, "append", refusing)
    monkeypatch.setattr(tape_module, "_TRY_AGAIN", 0)
    monkeypatch.setattr(tape_module, "MOST_WAITING", 4)
    return found


def tape(out: Path, tell: Callable[[str], None] = lambda line: None) -> VenueTape:
    return VenueTape(out / "kraken", "tape", PAIRS, "light", "write", tell)


def trades(*times: int) -> Records:
    records = np.zeros(len(times), RECORD)
    records["kind"], records["ts_init"], records["ts_event"] = int(Kind.TRADE), times, times
    return records


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RecordError("tape x: 2 records could not be written (full). Free space, then start the run again."),
            "tape x: 2 records could not be written (full). Free space and leave this process running: it is tried "
            "again every second, and 2 records wait in memory, which a restart would lose.",
        ),
        (
            TapeError("tape x must have one writer, and process 7 writes it now; stop that run first"),
            "stop that run first. Leave this process running: it is tried again every second, and 2 records wait",
        ),
    ],
    ids=["full", "another writer"],
)
def test_who_waits_for_a_disk_goes_on_by_itself_and_says_what_a_restart_would_lose(
    out: Path, monkeypatch: pytest.MonkeyPatch, error: TapeError, said: str
) -> None:
    def refusing(self: TapeWriter, records: Any, sides: Any = ()) -> int:
        raise error

    monkeypatch.setattr(TapeWriter, "append", refusing)
    told: list[str] = []
    kept = tape(out, told.append)
    kept.add(DAY_NUMBER, trades(NOON, NOON + 1))
    assert not kept.flush(now=True)
    assert not kept.flush(now=True)
    assert told == [kept.trouble]
    assert said in kept.trouble
    assert "then start" not in kept.trouble


def test_what_memory_can_not_hold_is_a_gap_where_it_would_have_been(out: Path, disk: Disk) -> None:
    told: list[str] = []
    kept = tape(out, told.append)
    disk.full = True
    kept.add(DAY_NUMBER, trades(NOON, NOON + 1, NOON + 2))
    assert not kept.flush()
    kept.add(DAY_NUMBER, trades(NOON + 3, NOON + 4))  # the first that are too many
    kept.add(DAY_NUMBER, trades(NOON + 5))  # would fit, but not behind a hole
    assert not kept.mended()
    disk.full = False
    assert kept.flush()
    assert kept.mended()
    assert not kept.mended(), "it is told once"
    kept.add(DAY_NUMBER, trades(NOON + 6))
    kept.close()
    records = tape_of(out, "kraken")
    gap, trade = int(Kind.GAP), int(Kind.TRADE)
    assert records["kind"].tolist() == [trade] * 3 + [gap] * 2 + [trade]
    assert records["ts_init"].tolist() == [NOON, NOON + 1, NOON + 2, NOON + 3, NOON + 3, NOON + 6]
    assert records["i0"][3:5].tolist() == [NOON + 2] * 2, "the last event before"
    assert records["instrument"][3:5].tolist() == [0, 1]
    assert kept.lost == 3


def test_each_trouble_tells_what_was_lost_in_it(out: Path, disk: Disk) -> None:
    told: list[str] = []
    kept = tape(out, told.append)
    for _ in range(2):
        disk.full = True
        kept.add(DAY_NUMBER, trades(NOON, NOON, NOON, NOON))
        kept.flush()
        kept.add(DAY_NUMBER, trades(NOON, NOON))
        disk.full = False
        kept.flush()
    disk.full = True
    kept.add(DAY_NUMBER, trades(NOON))
    kept.flush()
    disk.full = False
    kept.close()
    again = [line.partition("takes records again, ")[2] for line in told if "takes records again" in line]
    assert again == ["2 records were lost", "2 records were lost", "nothing was lost"]
    assert kept.lost == 4


def test_a_restart_on_a_full_disk_still_says_that_it_began_again(out: Path, disk: Disk) -> None:
    first = tape(out)
    first.add(DAY_NUMBER, trades(NOON))
    assert first.close()
    second = tape(out)
    second.add(DAY_NUMBER, trades(NOON + 5))
    disk.full = True
    assert not second.flush()
    assert not second.flush()
    disk.full = False
    assert second.close()
    records = tape_of(out, "kraken")
    names = [Kind(kind).name for kind in records["kind"].tolist()]
    assert names == ["TRADE", "START", "GAP", "GAP", "TRADE"]
    assert records["i0"][2:4].tolist() == [NOON, NOON]
    assert second.written == 4
