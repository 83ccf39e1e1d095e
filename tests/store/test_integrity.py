"""`mds data verify` finds any damaged byte and names its part; `mds data retain` deletes only what the store holds."""

from __future__ import annotations

import datetime
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mdslib.cli import run
from mdslib.errors import DataError
from mdslib.events import Kind
from mdslib.store import retain as retaining
from mdslib.store.compact import RECEIPT, REST, compact
from mdslib.store.files import LocalFiles
from mdslib.store.integrity import verify_store
from mdslib.store.parquet import ParquetStore
from mdslib.store.recorded import DOOMED
from mdslib.store.retain import retain
from mdslib.store.tapefile import TapeWriter
from mdslib.table import trades
from tests.store.tapes import BTC, DAY, MIDNIGHT, header, made_records, make_tape

LATER = DAY + datetime.timedelta(days=30)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A recorder's folder with one day, compacted into ``store`` beside it."""
    make_tape(tmp_path / "record/kraken/2021-04-17/tape", made_records(3_000), text="a gap")
    compact(tmp_path / "record", ParquetStore(tmp_path / "store"))
    return tmp_path / "record"


@pytest.fixture
def store(record: Path) -> ParquetStore:
    """The store that the day was compacted into."""
    return ParquetStore(record.parent / "store")


def tape_of(record: Path) -> Path:
    return record / "kraken/2021-04-17/tape"


def test_a_whole_store_is_whole(store: ParquetStore) -> None:
    found = list(verify_store(store))
    assert len(found) == len(store.list()) == 8
    assert all(part.digest and not part.error for part in found)
    assert sum(part.rows for part in found) == sum(int(str(row["rows"])) for row in store.list())


def test_any_flipped_bit_is_found_and_its_part_is_named(store: ParquetStore) -> None:
    """One bit at each of some hundred places of a file, over all its regions."""
    file = store.root / "kind=quote/venue=kraken/symbol=XBT%2FUSD/date=2021-04-17/part.parquet"
    whole = file.read_bytes()
    places = np.linspace(0, len(whole) - 1, 120).astype(int)
    unseen = []
    for place in places.tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        file.write_bytes(damaged)
        bad = [part for part in verify_store(store) if part.error]
        if [part.part for part in bad] != ["kind=quote/venue=kraken/symbol=XBT%2FUSD/date=2021-04-17"]:
            # A bit that changes nothing of what is read, such as the writer's name, is no damage to anybody.
            expected = pq.read_table(io.BytesIO(whole))
            unseen.append((place, pq.read_table(file).equals(expected)))
    assert all(harmless for _, harmless in unseen)
    assert len(unseen) < len(places) // 4


def test_a_part_that_lies_in_another_ones_place_is_named(store: ParquetStore) -> None:
    wrong = store.root / "kind=trade/venue=kraken/symbol=ETH%2FUSD/date=2021-04-17/part.parquet"
    wrong.write_bytes(
        (store.root / "kind=trade/venue=kraken/symbol=XBT%2FUSD/date=2021-04-17/part.parquet").read_bytes()
    )
    (bad,) = [part for part in verify_store(store) if part.error]
    assert bad.error == "holds kraken:XBT/USD, and lies where kraken:ETH/USD belongs; move it back"


def test_the_command_names_the_damaged_part_and_fails(store: ParquetStore, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--store", str(store.root)]
    assert run(["data", "verify", *where]) == 0
    assert "8 of 8 parts are whole" in capsys.readouterr().out
    file = store.root / "kind=trade/venue=kraken/symbol=XBT%2FUSD/date=2021-04-17/part.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 4] ^= 4
    file.write_bytes(data)
    assert run(["data", "verify", *where]) == 2
    out, err = capsys.readouterr()
    assert "7 of 8 parts are whole" in out
    assert "kind=trade/venue=kraken/symbol=XBT%2FUSD/date=2021-04-17: DAMAGED: " in err
    assert run(["data", "verify", "--json", *where]) == 2
    assert sum(bool(part["error"]) for part in json.loads(capsys.readouterr().out)) == 1


def test_tapes_that_the_store_holds_are_deleted_when_they_are_old(record: Path, store: ParquetStore) -> None:
    before = [store.read(BTC, kind, DAY) for kind in (Kind.TRADE, Kind.BOOK_DELTA)]
    (young,) = retain(record, store, 31, today=LATER)
    assert (young.freed, young.failed) == (0, False)
    (old,) = retain(record, store, 30, today=LATER)
    assert old.freed > 100_000
    assert str(old).endswith(f": deleted, {old.freed:,} bytes; the store holds every row")
    assert sorted(path.name for path in tape_of(record).iterdir()) == [RECEIPT, "lock", REST]
    for table in before:
        assert store.read(BTC, table.kind, DAY).equals(table)
    assert retain(record, store, 1, today=LATER) == []


def test_a_dry_run_deletes_nothing(record: Path, store: ParquetStore) -> None:
    (report,) = retain(record, store, 1, today=LATER, dry_run=True)
    assert report.freed > 0
    assert f": would be deleted, {report.freed:,} bytes; the store holds every row" in str(report)
    assert (tape_of(record) / "00000001.tape").exists()


def spoil_row(record: Path, store: ParquetStore) -> None:
    table = store.read(BTC, Kind.TRADE, DAY)
    extra = {"tapes": store.describe(BTC, Kind.TRADE, DAY)["tapes"]}
    store.write(table.replace(size=table["size"] + 1), BTC, DAY, extra=extra)


def lose_part(record: Path, store: ParquetStore) -> None:
    (store.root / "kind=trade/venue=kraken/symbol=XBT%2FUSD/date=2021-04-17/part.parquet").unlink()


def lose_receipt(record: Path, store: ParquetStore) -> None:
    (tape_of(record) / RECEIPT).unlink()


def lose_rest(record: Path, store: ParquetStore) -> None:
    (tape_of(record) / REST).write_bytes(b"")


def record_more(record: Path, store: ParquetStore) -> None:
    make_tape(tape_of(record), made_records(10, start=MIDNIGHT + 7_200 * 10**9))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_row, "is not what the tape says; compact it again"),
        (lose_part, "is not in store .*; run: mds data compact"),
        (lose_receipt, "not compacted yet; run: mds data compact"),
        (lose_rest, "rest.parquet is not what the tape says; compact it again"),
        (record_more, "tape grew after it was compacted; run: mds data compact"),
    ],
)
def test_what_the_store_does_not_hold_stays(
    spoil: Callable[[Path, ParquetStore], None], said: str, record: Path, store: ParquetStore
) -> None:
    spoil(record, store)
    (report,) = retain(record, store, 1, today=LATER)
    assert report.failed
    assert re.search(said, report.kept)
    assert (tape_of(record) / "00000001.tape").exists()


def test_a_tape_that_is_written_stays(record: Path, store: ParquetStore) -> None:
    with TapeWriter(tape_of(record), header()):
        (report,) = retain(record, store, 1, today=LATER)
        (yesterday,) = retain(record, store, 1, today=DAY + datetime.timedelta(days=1))
    assert "writes tape now" in report.kept
    assert not yesterday.failed  # in New York it is still today


def test_a_crash_while_deleting_is_finished_by_the_next_run(
    record: Path, store: ParquetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retaining, "_delete", lambda folder: None)
    retain(record, store, 1, today=LATER)
    assert (tape_of(record) / DOOMED).exists()
    with pytest.raises(DataError, match="holds no recorder's tape"):
        compact(record, store)  # a tape that is being deleted is none any more
    monkeypatch.undo()
    assert retain(record, store, 1, today=LATER) == []
    assert sorted(path.name for path in tape_of(record).iterdir()) == [RECEIPT, "lock", REST]


def test_the_command_retains_and_fails_where_an_old_tape_must_stay(
    record: Path, store: ParquetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "retain", str(record), "--store", str(store.root), "--days", "2"]
    assert run([*words, "--dry-run"]) == 0
    assert "bytes would be deleted" in capsys.readouterr().out
    lose_receipt(record, store)
    assert run(words) == 2
    assert "the tapes of 1 of 1 days stay, although they are old" in capsys.readouterr().err
    compact(record, store)
    assert run(words) == 0
    with pytest.raises(DataError, match="days must be >= 1, received 0"):
        retain(record, store, 0)


def test_a_part_of_an_earlier_version_has_no_digest_and_is_whole(tmp_path: Path) -> None:
    store = ParquetStore(tmp_path)
    store.write(trades([MIDNIGHT], [1.0], [1]), BTC, DAY)
    (file,) = store.root.rglob("part.parquet")
    table = pq.read_table(file)
    told = json.loads(table.schema.metadata[b"mdslib"])
    del told["digest"]
    pq.write_table(table.replace_schema_metadata({b"mdslib": json.dumps(told).encode()}), file)
    (found,) = verify_store(store)
    assert (found.rows, found.digest, found.error) == (1, False, "")


def test_a_disk_that_takes_nothing_keeps_the_old_tapes(
    record: Path, store: ParquetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(LocalFiles, "write", full)
        (report,) = retain(record, store, 7, today=LATER)
    assert report.failed
    assert "No space left on device; what is marked is deleted by the next run" in report.kept
    assert retain(record, store, 7, today=LATER)[0].freed > 0
