"""The store's figures, all in one run: bytes a tick and speed of loading, beside BSON, plain Parquet and ArcticDB.

``python -m pytest -q tests/bench/test_store.py`` prints them. Speed is told as the least of interleaved rounds, in
seconds of the processor as well as of the wall, since a busy machine stretches the latter.
"""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mdslib.events import Kind
from mdslib.instruments import Instrument, parse_instrument
from mdslib.store.lean import import_lean
from mdslib.store.made import made_day
from mdslib.store.open import open_store
from mdslib.store.parquet import ParquetStore
from mdslib.table import Table

pytestmark = pytest.mark.bench

TICKS = 5_000_000
ROUNDS = 7
DAY = datetime.date(2025, 6, 12)
CAPTURES = ("coinbase_20210417", "kraken_20210417", "bitmex_20210722")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def bson_bytes(table: Table, symbol: str) -> int:
    """Return the length of one BSON document a row, by bsonspec.org: what MongoDB would keep, before its own overhead.

    A document is a length of 4 bytes, its elements and a zero; an element is a type, its name, a zero and its value:
    8 bytes of a double or int64, 4 of an int32, 12 of an ObjectId, and of a text its length in 4, its bytes and a zero.
    """
    length = 4 + 1 + (1 + len("_id") + 1 + 12)
    for name, column in table.columns.items():
        number = 4 if column.dtype.itemsize <= 2 else 8
        length += 1 + len(name) + 1 + (4 + len(symbol) + 1 if name == "instrument" else number)
    return length


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def plain(table: Table, path: Path, compression: str) -> int:
    arrow = pa.table({name: pa.array(column) for name, column in table.columns.items()})
    pq.write_table(arrow, path, compression=compression)
    return path.stat().st_size


def sizes(name: str, table: Table, instrument: Instrument, folder: Path) -> dict[str, float]:
    """Write one table in every way and return bytes a row."""
    rows = len(table)
    ours, arctic = ParquetStore(folder / name / "ours"), open_store(f"arctic:lmdb://{folder / name / 'arctic'}")
    ours.write(table, instrument, DAY)
    arctic.write(table, instrument, DAY)
    found = {
        "ours": sum(path.stat().st_size for path in ours.root.rglob("*.parquet")) / rows,
        "plain snappy": plain(table, folder / name / "snappy.parquet", "snappy") / rows,
        "plain zstd": plain(table, folder / name / "zstd.parquet", "zstd") / rows,
        "ArcticDB": folder_bytes(folder / name / "arctic") / rows,
        "BSON": float(bson_bytes(table, instrument.symbol)),
    }
    text = ", ".join(f"{way} {size:.2f}" for way, size in found.items())
    say(f"{name:<34} {rows:>9,} rows, bytes a row: {text}; BSON / ours {found['BSON'] / found['ours']:.1f}")
    return found


def real_tables(shared: Path, folder: Path) -> Iterator[tuple[str, Table, Instrument]]:
    """Yield SPY's trades of five days and, of each capture, the book deltas of the busiest pair."""
    from mdslib.feeds.replay import replay_capture

    spy, store = Instrument("SPY"), ParquetStore(folder / "lean")
    import_lean(shared / "lean_spy_ticks", "SPY", store)
    for date in store.dates(spy, Kind.TRADE):
        yield f"SPY trades {date}", store.read(spy, Kind.TRADE, datetime.date.fromisoformat(date)), spy
    for capture in CAPTURES:
        parts: list[np.ndarray] = []
        report = replay_capture(shared / capture, sink=parts.append)
        records = np.concatenate(parts)
        deltas = records[records["kind"] == Kind.BOOK_DELTA]
        place = int(np.bincount(deltas["instrument"]).argmax())
        table = Table.from_records(deltas[deltas["instrument"] == place], Kind.BOOK_DELTA)
        pair = parse_instrument(f"{report.venue}:{report.symbols[place]}")
        yield f"{pair.id} deltas", table.replace(instrument=np.zeros(len(table), "<u2")), pair


def test_sizes_of_what_real_data_there_is(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("arcticdb")
    with capsys.disabled():
        say("")
        for name, table, instrument in real_tables(shared_data, tmp_path):
            found = sizes(name, table, instrument, tmp_path)
            assert found["BSON"] / found["ours"] >= 10
            assert found["ours"] < min(found["plain snappy"], found["plain zstd"], found["ArcticDB"])


def timed(ways: dict[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Return the least seconds, of the wall and of the processor, of interleaved rounds."""
    best = dict.fromkeys(ways, (float("inf"), float("inf")))
    for _ in range(ROUNDS):
        for name, call in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            spent = (time.perf_counter() - wall, time.process_time() - cpu)
            best[name] = (min(best[name][0], spent[0]), min(best[name][1], spent[1]))
    return best


def test_a_day_of_five_million_ticks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("arcticdb")
    spy = Instrument("SPY")
    table = made_day(DAY, trades=TICKS)
    with capsys.disabled():
        say("")
        found = sizes("made", table, spy, tmp_path)
        ours, arctic = ParquetStore(tmp_path / "made/ours"), open_store(f"arctic:lmdb://{tmp_path / 'made/arctic'}")
        snappy = tmp_path / "made/snappy.parquet"
        file = next(ours.root.rglob("*.parquet"))
        spent = timed(
            {
                "ours, to numpy": lambda: ours.read(spy, Kind.TRADE, DAY),
                "plain pyarrow, snappy, to Arrow": lambda: pq.read_table(snappy),
                "plain pyarrow, snappy, to numpy": lambda: [c.to_numpy() for c in pq.read_table(snappy).columns],
                "plain pyarrow of our file, to Arrow's decimals": lambda: pq.read_table(file),
                "ArcticDB, to numpy": lambda: arctic.read(spy, Kind.TRADE, DAY),
            }
        )
        for name, (wall, cpu) in spent.items():
            say(f"{name:<48} {TICKS / wall / 1e6:6.1f} M ticks/s, {wall:.3f} s wall, {cpu:.3f} s processor")
    assert found["ours"] <= 5.5
    assert spent["ours, to numpy"][1] <= spent["plain pyarrow, snappy, to Arrow"][1]
