"""A recorder's tapes become tables: every record of them, once, whatever was killed, cut, doubled or in the way."""

from __future__ import annotations

import dataclasses
import datetime
import json
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import mdslib
from mdslib.calendar import session
from mdslib.cli import run
from mdslib.clock import WallClock
from mdslib.errors import DataError
from mdslib.events import RECORD, Kind
from mdslib.feeds.replay import replay_capture
from mdslib.instruments import UNTOLD_TICK, parse_instrument
from mdslib.recorder.plan import parse_wanted
from mdslib.recorder.tape import DAY as DAY_NS
from mdslib.recorder.tape import VenueTape
from mdslib.store.compact import RECEIPT, REST, compact, read_receipt
from mdslib.store.files import LocalFiles
from mdslib.store.parquet import ParquetStore
from mdslib.store.tapefile import TapeReader, TapeWriter
from mdslib.store.tickstore import Source
from mdslib.table import Table, trades
from tests.store.tapes import BTC, DAY, ETH, MIDNIGHT, header, made_records, make_tape

KINDS = (Kind.TRADE, Kind.QUOTE, Kind.BOOK_DELTA, Kind.GAP)


@pytest.fixture
def store(tmp_path: Path) -> ParquetStore:
    """An empty store."""
    return ParquetStore(tmp_path / "store")


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A recorder's folder with one day of Kraken, in two segments and more."""
    make_tape(tmp_path / "record/kraken/2021-04-17/tape", made_records(12_000), text="the socket closed")
    return tmp_path / "record"


def expected(records: np.ndarray, instrument: int, kind: Kind) -> Table:
    """Return what the tape says, by the plainest code."""
    rows = records[(records["kind"] == kind) & (records["instrument"] == instrument)]
    table = Table.from_records(rows[np.argsort(rows["ts_event"], kind="stable")], kind)
    return table.replace(instrument=np.zeros(len(table), "<u2"))


def test_every_record_of_a_tape_is_in_a_table_or_beside_the_tape(record: Path, store: ParquetStore) -> None:
    tape = record / "kraken/2021-04-17/tape"
    (report,) = compact(record, store)
    assert not report.error
    with TapeReader(tape) as reader:
        assert len(reader.segments) > 1
        records = reader.records()
        for place, instrument in enumerate((BTC, ETH)):
            for kind in KINDS:
                assert store.read(instrument, kind, DAY).equals(expected(records, place, kind))
        rest = pq.read_table(tape / REST)
        starts = records[records["kind"] == Kind.START]
        kept = np.frombuffer(b"".join(rest["record"].to_pylist()), RECORD)
        assert kept[kept["kind"] == Kind.START].tobytes() == starts.tobytes()
        assert "the socket closed" in rest["text"].to_pylist()
        assert report.rows + len(starts) == len(records)
        assert json.loads((tape / RECEIPT).read_text())["through"] == reader.next_seq - 1


def test_the_second_time_nothing_is_written_and_after_more_was_recorded_all_is_there(
    record: Path, store: ParquetStore
) -> None:
    compact(record, store)
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("part.parquet")}
    (again,) = compact(record, store)
    assert again.unchanged
    assert before == {path: path.stat().st_mtime_ns for path in store.root.rglob("part.parquet")}
    make_tape(record / "kraken/2021-04-17/tape", made_records(500, seed=8, start=MIDNIGHT + 7_200 * 10**9))
    (grown,) = compact(record, store)
    assert (grown.unchanged, grown.error) == (False, "")
    assert len(store.read(BTC, Kind.TRADE, DAY)) > pq.read_metadata(next(iter(before))).num_rows > 0
    assert sum(int(str(row["rows"])) for row in store.list()) == grown.rows


def test_a_day_is_compacted_while_it_is_recorded(tmp_path: Path, store: ParquetStore) -> None:
    with TapeWriter(tmp_path / "tape", header()) as tape:
        tape.append(made_records(100))
        (report,) = compact(tmp_path, store)
        assert report.running
        assert "still recorded" in str(report)
        tape.append(made_records(50, seed=3, start=MIDNIGHT + 7_200 * 10**9))
    (report,) = compact(tmp_path, store)
    assert (report.running, report.rows + report.rest) == (False, 150)


def test_a_venue_qualified_name_loads_trades_quotes_deltas_and_gaps(record: Path, store: ParquetStore) -> None:
    compact(record, store)
    data = mdslib.load("kraken:XBT/USD", DAY, store=store)
    assert [table.kind for table in data.tables] == [Kind.TRADE, Kind.QUOTE, Kind.BOOK_DELTA, Kind.GAP]
    assert data.trades is not None
    assert data.book_deltas is not None
    assert data.gaps is not None
    assert data.instruments == (BTC,)
    assert data.sessions == (session(DAY, "24/7"),)
    assert repr(data).startswith("MarketData(XBT/USD: ")
    only = mdslib.load(["kraken:XBT/USD", "kraken:ETH/USD"], DAY, ["book_deltas", "trades"], store)
    assert [table.kind for table in only.tables] == [Kind.BOOK_DELTA, Kind.TRADE]
    assert set(only.tables[0]["instrument"].tolist()) == {0, 1}
    folder = store.root / "kind=book_delta/venue=kraken/symbol=XBT%2FUSD/date=2021-04-17"
    assert (folder / "part.parquet").exists()


def test_what_arrived_after_midnight_belongs_to_the_day_on_which_it_arrived(
    tmp_path: Path, store: ParquetStore
) -> None:
    late = made_records(10)
    late["kind"], late["ts_event"], late["instrument"] = int(Kind.TRADE), MIDNIGHT - 5, 0
    make_tape(tmp_path / "tape", late)
    compact(tmp_path, store)
    assert len(mdslib.load("kraken:XBT/USD", DAY, store=store)) == 10


def test_a_quiet_pair_has_days_without_a_trade_and_a_day_without_anything_is_an_error(
    tmp_path: Path, store: ParquetStore
) -> None:
    quiet = made_records(40, pairs=1)
    quiet["kind"] = int(Kind.BOOK_DELTA)
    day = DAY + datetime.timedelta(days=1)
    make_tape(tmp_path / "1/tape", made_records(300, pairs=1), header((BTC,)))
    make_tape(tmp_path / "2/tape", quiet, header((BTC,), day))
    compact(tmp_path, store)
    both = mdslib.load("kraken:XBT/USD", (DAY, day), store=store)
    assert both.book_deltas is not None
    assert len(both) == 40 + len(mdslib.load("kraken:XBT/USD", DAY, store=store))
    with pytest.raises(DataError, match=r"has no trade of XBT/USD on 2021-04-19. Nearest: 2021-04-17"):
        mdslib.load("kraken:XBT/USD", (DAY, "2021-04-19"), store=store)
    assert len(mdslib.load("kraken:XBT/USD", (DAY, "2021-04-19"), store=store, missing="skip")) == len(both)
    assert len(mdslib.load("kraken:XBT/USD", day, "gaps", store)) == 0


def test_a_book_keeps_the_order_of_arrival_where_its_times_run_backwards(tmp_path: Path, store: ParquetStore) -> None:
    rows = made_records(4)
    rows["kind"], rows["instrument"] = int(Kind.BOOK_DELTA), 0
    rows["ts_event"] = [MIDNIGHT + 5, MIDNIGHT + 9, MIDNIGHT + 7, MIDNIGHT + 11]
    rows["f0"] = [1.0, 2.0, 3.0, 4.0]
    make_tape(tmp_path / "tape", rows)
    compact(tmp_path, store)
    found = store.read(BTC, Kind.BOOK_DELTA, DAY)
    assert found["price"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert (found["ts_event"] - MIDNIGHT).tolist() == [5, 9, 9, 11]


def test_pairs_with_a_tape_each_and_a_list_of_pairs_that_changed_are_one_day(
    tmp_path: Path, store: ParquetStore
) -> None:
    make_tape(tmp_path / "day/tape@BTC", made_records(200, pairs=1), header((BTC,)))
    make_tape(tmp_path / "day/tape@ETH", made_records(200, seed=2, pairs=1), header((ETH,)))
    make_tape(tmp_path / "day/tape@ETH", made_records(100, seed=3, start=MIDNIGHT + 10**13), header((BTC, ETH)))
    (report,) = compact(tmp_path, store)
    assert report.rows + report.rest == 500
    found = store.describe(BTC, Kind.BOOK_DELTA, DAY)
    assert sorted(found["tapes"]) == ["tape@BTC", "tape@ETH"]


def test_a_damaged_tape_is_named_and_the_other_days_go_on(record: Path, store: ParquetStore) -> None:
    make_tape(record / "kraken/2021-04-18/tape", made_records(60), header(day=DAY + datetime.timedelta(days=1)))
    segment = record / "kraken/2021-04-17/tape/00000001.tape"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    bad, good = compact(record, store)
    assert "00000001.tape" in bad.error
    assert "the tape is damaged in its middle" in bad.error
    assert not good.error
    assert good.rows + good.rest == 60


def test_nothing_that_the_store_holds_is_lost_to_a_tape_that_has_less(record: Path, store: ParquetStore) -> None:
    compact(record, store)
    whole = store.read(BTC, Kind.TRADE, DAY)
    for path in (record / "kraken/2021-04-17/tape").iterdir():
        path.unlink()
    make_tape(record / "kraken/2021-04-17/tape", made_records(100))
    (report,) = compact(record, store)
    assert "must not lose what it holds" in report.error
    assert "restore the tapes from a copy" in report.error
    assert store.read(BTC, Kind.TRADE, DAY).equals(whole)


def test_an_imported_day_is_not_overwritten_by_a_tape(record: Path, store: ParquetStore) -> None:
    store.write(trades([MIDNIGHT], [1.0], [1]), BTC, DAY, source=[Source("bought.csv", "00")])
    (report,) = compact(record, store)
    assert "was imported from bought.csv; move it away, or compact into another --store" in report.error


def test_a_folder_without_tapes_and_a_second_compaction_are_refused(tmp_path: Path, store: ParquetStore) -> None:
    import fcntl

    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        compact(tmp_path / "nowhere", store)
    with pytest.raises(DataError, match="holds no recorder's tape"):
        compact(tmp_path, store)
    with (tmp_path / ".compact.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DataError, match=r"another process compacts .* now"):
            compact(tmp_path, store)


def test_the_command_compacts_reports_and_fails_where_a_day_failed(
    record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(tmp_path / "store")
    assert run(["data", "compact", str(record), "--store", store]) == 0
    assert "kraken 2021-04-17: " in capsys.readouterr().out
    assert run(["data", "compact", str(record), "--store", store, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["unchanged"] is True
    (record / "kraken/2021-04-17/tape/00000001.tape").write_bytes(b"no tape")
    assert run(["data", "compact", str(record), "--store", store]) == 2
    assert "1 of 1 days were not compacted; their tapes stand" in capsys.readouterr().err


def test_a_capture_of_kraken_comes_back_bit_for_bit(shared_data: Path, tmp_path: Path, store: ParquetStore) -> None:
    """From the wire to a table: every trade, quote and delta of ten pairs."""
    parts: list[np.ndarray] = []
    report = replay_capture(shared_data / "kraken_20210417", sink=parts.append)
    records = np.concatenate(parts)
    pairs = tuple(parse_instrument(f"kraken:{symbol}") for symbol in report.symbols)
    make_tape(tmp_path / "record/tape", records, header(pairs))
    compact(tmp_path / "record", store)
    counted = 0
    for place, pair in enumerate(pairs):
        for table in mdslib.load(pair, DAY, store=store).tables:
            assert table.equals(expected(records, place, table.kind))
            counted += len(table)
    assert counted == len(records) == 11_783


def test_the_command_goes_on_and_a_failure_is_told_and_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, tape = str(tmp_path / "store"), tmp_path / "record/tape"
    tape.parent.mkdir()
    waits: list[int] = []

    def wait(clock: WallClock, event: threading.Event, until: int) -> bool:
        """Stand for the pause: after the first one there is a tape, the third is ended by a person."""
        waits.append(until - clock.now())
        if len(waits) == 1:
            make_tape(tape, made_records(50))
        if len(waits) == 3:
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(WallClock, "wait", wait)
    assert run(["data", "compact", str(tmp_path / "record"), "--store", store, "--every", "15m"]) == 130
    out, err = capsys.readouterr()
    assert "holds no recorder's tape; give the folder that `mds record` writes to; tried again in 15m" in err
    assert out.count("kraken 2021-04-17: ") == 1  # what has not changed is not told again
    assert all(0 < pause <= 900 * 10**9 for pause in waits)
    assert run(["data", "compact", str(tmp_path / "record"), "--store", store, "--every", "15m", "--json"]) == 2


def test_a_pairs_tick_is_the_step_of_its_prices_where_there_are_enough(tmp_path: Path) -> None:
    records = made_records(2_000)
    eth = np.flatnonzero(records["instrument"] == 1)
    records["f1"][records["kind"] == Kind.QUOTE] = 60_000.5
    records["f0"][eth] = np.round(np.arange(len(eth)) % 40 * 0.05, 2)  # few prices: their step could be chance
    make_tape(tmp_path / "record/kraken/2021-04-17/tape", records)
    store = ParquetStore(tmp_path / "store")
    compact(tmp_path / "record", store)
    kinds = (Kind.TRADE, Kind.QUOTE, Kind.BOOK_DELTA, Kind.GAP)
    assert [store.instrument(BTC, kind).tick for kind in kinds] == [0.1] * 4
    assert store.instrument(ETH, Kind.TRADE).tick == UNTOLD_TICK
    assert [each.tick for each in mdslib.load([BTC.id, ETH.id], DAY, store=store).instruments] == [0.1, UNTOLD_TICK]


@pytest.mark.parametrize("told", [None, 1e-8])
def test_a_pair_that_mds_record_recorded_has_a_tick(tmp_path: Path, told: float | None) -> None:
    """By the recorder's own header; the first tapes' said 1e-8, which nobody had told either."""
    pair = parse_wanted("coinbase-advanced:BTC-USD").instrument()
    assert pair.tick == UNTOLD_TICK
    pair = pair if told is None else dataclasses.replace(pair, tick=told)
    tape = VenueTape(tmp_path / "record/coinbase", "tape", [pair], "full", "write", print)
    records = np.zeros(100, RECORD)
    records["kind"], records["ts_event"], records["ts_init"] = int(Kind.TRADE), MIDNIGHT, MIDNIGHT
    records["f0"], records["i0"] = 60_000 + 0.5 * np.arange(100), 10
    tape.add(MIDNIGHT // DAY_NS, records)
    assert tape.close()
    store = ParquetStore(tmp_path / "store")
    compact(tmp_path / "record", store)
    (found,) = mdslib.load("coinbase:BTC-USD", DAY, store=store).instruments
    assert (found.tick, found.lot) == (0.5, 1e-8)


def test_a_unit_runs_this_very_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "compact", str(tmp_path), "--every", "15m", "--store", "s3://ticks/x", "--unit"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (start,) = [line for line in lines if line.startswith("ExecStart=")]
    assert start.endswith(f" -m mdslib.cli data compact {tmp_path} --every 15m --chunk 100000 --store s3:/ticks/x")
    assert "Restart=always" in lines
    for words, said in (
        (["--unit"], "say how often it compacts: --every 15m"),
        (["--unit", "--every", "x"], "a duration"),
    ):
        assert run(["data", "compact", str(tmp_path), *words]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("full", ["tape", "kind=quote"])
def test_a_full_disk_is_that_days_failure_and_the_next_run_makes_all(
    full: str, record: Path, store: ParquetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a tape, and in the store; another day goes on."""
    other = DAY + datetime.timedelta(days=1)
    make_tape(record / f"kraken/{other}/tape", made_records(100, start=MIDNIGHT + 86_400 * 10**9), header(day=other))
    write = LocalFiles.write

    def refuse(self: LocalFiles, path: str, data: object) -> None:
        if full in str(self.root / path) and str(DAY) in str(self.root / path):
            raise OSError(28, "No space left on device")
        write(self, path, data)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(LocalFiles, "write", refuse)
        first, second = compact(record, store)
    assert "No space left on device" in first.error
    assert "free space" in first.error
    assert not second.error
    assert second.rows > 0
    assert not read_receipt(record / f"kraken/{DAY}/tape")
    again, same = compact(record, store)
    assert (again.error, same.unchanged) == ("", True)
    assert again.rows + again.rest >= len(TapeReader(record / f"kraken/{DAY}/tape").records())
