"""The tape on disk: what `append` acknowledged is there, whatever happens after."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from mdslib.errors import TapeError
from mdslib.events import Kind
from mdslib.store.tapefile import TapeReader, TapeWriter, writer_of
from mdslib.tape import Side, SideKind, TapeHeader

ROOT = Path(__file__).parents[2]


def written(folder: Path, header: TapeHeader, trades: np.ndarray, **options: object) -> Path:
    with TapeWriter(folder, header, **options) as tape:  # type: ignore[arg-type]
        tape.append(trades)
    return folder


def test_what_was_appended_is_read_back_in_order(tmp_path: Path, header: TapeHeader, trades: np.ndarray) -> None:
    with TapeWriter(tmp_path / "run" / "tape", header) as tape:
        assert [tape.append(part) for part in (trades[:1], trades[1:1], trades[1:11], trades[11:])] == [1, 2, 2, 12]
    tape = TapeReader(tmp_path / "run" / "tape")
    assert tape.header == header
    assert tape.torn == 0
    assert tape.next_seq == 1001
    assert tape.records().tobytes() == trades.tobytes()
    assert tape.records()["seq"].tolist() == list(range(1, 1001))


def test_records_are_read_only(tmp_path: Path, header: TapeHeader, trades: np.ndarray) -> None:
    records = TapeReader(written(tmp_path, header, trades)).records()
    with pytest.raises(ValueError, match="read-only"):
        records["seq"][0] = 5


def test_segments_roll_over_and_the_sequence_runs_on(tmp_path: Path, header: TapeHeader, trades: np.ndarray) -> None:
    with TapeWriter(tmp_path, header, segment_bytes=30_000) as tape:
        for start in range(0, 1000, 50):
            tape.append(trades[start : start + 50], [Side(0, SideKind.TEXT, f"text {start}")])
    reader = TapeReader(tmp_path)
    assert len(list(tmp_path.glob("*.tape"))) == len(reader.segments) == 4
    assert reader.records().tobytes() == trades.tobytes()
    assert [reader.text(reader.records()[start]) for start in range(0, 1000, 50)] == [
        f"text {start}" for start in range(0, 1000, 50)
    ]
    assert [(found, len(records)) for found, records in reader.runs()] == [(header, 1000)]


def test_a_swap_begins_a_segment_under_the_new_header(tmp_path: Path, header: TapeHeader, trades: np.ndarray) -> None:
    other = dataclasses.replace(header, model="moving_average")
    with TapeWriter(tmp_path, header) as tape:
        tape.append(trades[:10])
        tape.swap(other)
        assert tape.append(trades[10:30]) == 11
    assert [(found.model, len(records)) for found, records in TapeReader(tmp_path).runs()] == [
        ("volume_modulo", 10),
        ("moving_average", 20),
    ]


def test_opening_again_goes_on_in_the_same_segment_under_the_same_header(
    tmp_path: Path, header: TapeHeader, trades: np.ndarray
) -> None:
    with TapeWriter(tmp_path, header) as tape:
        tape.append(trades[:10], [Side(9, SideKind.TEXT, "ten")])
    with TapeWriter(tmp_path, header) as tape:
        assert tape.append(trades[10:20], [Side(0, SideKind.TEXT, "eleven")]) == 11
    with TapeWriter(tmp_path, dataclasses.replace(header, fingerprint="edited")) as tape:
        assert tape.append(trades[20:30], [Side(9, SideKind.TEXT, "thirty")]) == 21
    reader = TapeReader(tmp_path)
    assert [each.header.fingerprint for each in reader.segments] == ["0123abcd", "edited"]
    assert [reader.text(reader.records()[row]) for row in (9, 10, 29, 0)] == ["ten", "eleven", "thirty", ""]
    assert [(side.row, side.seq) for side in reader.sides()] == [(0, 10), (1, 11), (2, 30)]


def test_a_torn_tail_is_left_out_by_the_reader_and_cut_and_kept_by_the_writer(
    tmp_path: Path, header: TapeHeader, trades: np.ndarray
) -> None:
    path = written(tmp_path, header, trades) / "00000001.tape"
    size = path.stat().st_size
    os.truncate(path, size - 40)
    reader = TapeReader(tmp_path)
    assert (len(reader.records()), reader.torn, reader.next_seq) == (999, 56, 1000)
    with TapeWriter(tmp_path, header) as tape:
        assert tape.torn == 56
        assert tape.next_seq == 1000
        assert tape.append(trades[999:]) == 1000
    assert path.stat().st_size == size
    assert (tmp_path / f"00000001.tape.{size - 96}.torn").stat().st_size == 56
    assert TapeReader(tmp_path).records().tobytes() == trades.tobytes()


def test_a_text_without_its_record_is_forgotten_and_a_torn_text_is_cut(
    tmp_path: Path, header: TapeHeader, trades: np.ndarray
) -> None:
    with TapeWriter(tmp_path, header) as tape:
        tape.append(trades[:2], [Side(0, SideKind.TEXT, "kept"), Side(1, SideKind.TEXT, "its record is lost")])
    os.truncate(tmp_path / "00000001.tape", (tmp_path / "00000001.tape").stat().st_size - 1)
    with (tmp_path / "00000001.side").open("ab") as file:
        file.write(b"torn")
    with TapeWriter(tmp_path, header) as tape:
        tape.append(trades[1:2], [Side(0, SideKind.TEXT, "again")])
    reader = TapeReader(tmp_path)
    assert [reader.text(record) for record in reader.records()] == ["kept", "again"]


def test_damage_in_the_middle_is_refused_by_reader_and_writer(
    tmp_path: Path, header: TapeHeader, trades: np.ndarray
) -> None:
    path = written(tmp_path, header, trades) / "00000001.tape"
    data = bytearray(path.read_bytes())
    data[len(data) - 96 * 500 + 50] ^= 1
    path.write_bytes(data)
    for opening in (lambda: TapeReader(tmp_path), lambda: TapeWriter(tmp_path, header)):
        with pytest.raises(
            TapeError, match=r"00000001.tape: record 500 \(sequence 501, offset \d+\).*restore it from a copy"
        ):
            opening()


def test_a_missing_or_exchanged_segment_is_named(tmp_path: Path, header: TapeHeader, trades: np.ndarray) -> None:
    with TapeWriter(tmp_path, header, segment_bytes=30_000) as tape:
        for start in range(0, 1000, 100):
            tape.append(trades[start : start + 100])
    second = tmp_path / "00000002.tape"
    second.rename(tmp_path / "away")
    with pytest.raises(TapeError, match=r"segment 00000002.tape is missing before 00000003.tape"):
        TapeReader(tmp_path)
    (tmp_path / "00000003.tape").rename(second)
    with pytest.raises(
        TapeError, match=r"00000002.tape must begin at sequence \d+, received \d+; a segment is missing or exchanged"
    ):
        TapeReader(tmp_path)


def test_a_damaged_text_is_named(tmp_path: Path, header: TapeHeader, trades: np.ndarray) -> None:
    with TapeWriter(tmp_path, header) as tape:
        tape.append(trades[:1], [Side(0, SideKind.TEXT, "x" * 100)])
    os.truncate(tmp_path / "00000001.side", 60)
    with pytest.raises(TapeError, match=r"a record refers to text 1, and 0 are whole; the .side file is damaged"):
        TapeReader(tmp_path)


def test_no_tape_an_empty_segment_and_an_unwritable_folder_are_each_one_clear_error(
    tmp_path: Path, header: TapeHeader
) -> None:
    with pytest.raises(TapeError, match=r"must hold a tape .*has no segment; give a run's tape folder"):
        TapeReader(tmp_path)
    (tmp_path / "00000001.tape").touch()
    with pytest.raises(TapeError, match=r"00000001.tape must open with a header, and is empty"):
        TapeReader(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(TapeError, match="must be writable, received Not a directory; nothing was recorded"):
        TapeWriter(tmp_path / "file" / "tape", header)


def test_a_second_writer_is_refused_and_told_who_holds_the_tape(tmp_path: Path, header: TapeHeader) -> None:
    with (
        TapeWriter(tmp_path, header),
        pytest.raises(TapeError, match=f"must have one writer, and process {os.getpid()} writes it now"),
    ):
        TapeWriter(tmp_path, header)
    TapeWriter(tmp_path, header).close()


def test_tables_are_by_kind_and_by_time(tmp_path: Path, header: TapeHeader, trades: np.ndarray) -> None:
    trades["kind"][::3] = Kind.QUOTE
    trades["ts_event"][:2] = trades["ts_event"][:2][::-1]
    tables = TapeReader(written(tmp_path, header, trades)).tables()
    assert set(tables) == {Kind.TRADE, Kind.QUOTE}
    assert len(tables[Kind.QUOTE]) == 334
    assert len(tables[Kind.TRADE]) == 666
    assert (np.diff(tables[Kind.TRADE]["ts_event"]) >= 0).all()


CHILD = """
import sys
from pathlib import Path
import datetime
import numpy as np
from mdslib.events import RECORD
from mdslib.store.tapefile import TapeWriter
from mdslib.tape import Side, SideKind, TapeHeader
header = TapeHeader("volume_modulo", "0123abcd", {}, (), "PA3", datetime.date(2013, 10, 8), "spy")
tape = TapeWriter(Path(sys.argv[1]), header, sys.argv[2])
"""


def child(folder: Path, code: str, durability: str = "write") -> subprocess.Popen[str]:
    program = CHILD + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", program, str(folder), durability], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("durability", ["write", "fsync"])
def test_everything_acknowledged_survives_kill_9(tmp_path: Path, durability: str) -> None:
    loop = """
    while True:
        first = tape.append(np.zeros(7, RECORD), [Side(3, SideKind.TEXT, "text")])
        sys.stdout.write(f"{first + 6}\\n"); sys.stdout.flush()
    """
    with child(tmp_path, loop, durability) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    reader = TapeReader(tmp_path)
    assert reader.next_seq - 1 >= told[-1] >= 350
    texts = reader.records()["side"]
    assert np.count_nonzero(texts) == len(range(3, len(texts), 7))


def test_a_full_disk_is_one_error_that_says_what_is_safe_and_leaves_no_half_record(tmp_path: Path) -> None:
    fill = """
    import resource, signal
    from mdslib.errors import TapeError
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
    try:
        for _ in range(10):
            tape.append(np.zeros(10, RECORD), [Side(3, SideKind.TEXT, "text")])
    except TapeError as error:
        sys.stdout.write(str(error))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    first = tape.append(np.zeros(10, RECORD), [Side(3, SideKind.TEXT, "later")])
    sys.stdout.write(f"\\n{first}")
    """
    with child(tmp_path, fill) as process:
        assert process.stdout is not None
        text, first = process.stdout.read().splitlines()
    assert "10 records from sequence 41 could not be written" in text
    assert "records 1 to 40 are safe on the tape, nothing of this is. Free space, then start the run again." in text
    reader = TapeReader(tmp_path)
    assert first == "41"
    assert len(reader.records()) == 50
    assert reader.torn == 0
    assert reader.text(reader.records()[43]) == "later"


def test_a_disk_that_is_full_at_the_start_is_told_before_anything_is_traded(
    tmp_path: Path, header: TapeHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", lambda fd, data: 0)
    with pytest.raises(
        TapeError, match="must be writable, received no space for a new segment's header; nothing was recorded"
    ):
        TapeWriter(tmp_path, header)


def test_a_tape_can_be_looked_at_and_refused_before_anything_of_it_is_changed(
    tmp_path: Path, header: TapeHeader, trades: np.ndarray
) -> None:
    with TapeWriter(tmp_path, header) as tape:
        assert tape.found is None
        tape.append(trades[:5])
    with (tmp_path / "00000001.tape").open("ab") as file:
        file.write(b"torn")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "lock"}

    def refuse(found: TapeReader) -> TapeHeader:
        assert (found.header, len(found.records())) == (header, 5)
        raise TapeError("not this one")

    with pytest.raises(TapeError, match="not this one"):
        TapeWriter(tmp_path, dataclasses.replace(header, model="other"), meet=refuse)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "lock"} == before
    with TapeWriter(tmp_path, header, meet=lambda found: found.header) as tape:
        assert tape.found is not None
        assert len(tape.found.records()) == 5
        assert tape.append(trades[5:6]) == 6


def test_who_writes_a_tape_can_be_asked_without_disturbing(tmp_path: Path, header: TapeHeader) -> None:
    assert writer_of(tmp_path) == ""
    with TapeWriter(tmp_path, header):
        assert writer_of(tmp_path) == str(os.getpid())
    assert writer_of(tmp_path) == ""


def test_a_swap_that_fails_keeps_the_old_header(
    tmp_path: Path, header: TapeHeader, trades: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TapeWriter(tmp_path, header) as tape:
        tape.append(trades[:1])
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda fd, data: 0)
            with pytest.raises(
                TapeError, match=r"a new segment's header could not be written .*records 1 to 1 are safe"
            ):
                tape.swap(dataclasses.replace(header, model="other"))
        assert tape.header == header
        assert tape.append(trades[1:2]) == 2
    assert len(TapeReader(tmp_path).runs()) == 1
