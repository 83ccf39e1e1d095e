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

from mdslib.events import BookFlag, Kind
from mdslib.instruments import Instrument, parse_instrument
from mdslib.store.lean import import_lean
from mdslib.store.made import made_day
from mdslib.store.open import open_store
from mdslib.store.parquet import ParquetStore
from mdslib.table import Table, from_columns

pytestmark = pytest.mark.bench

TICKS = 5_000_000
ROUNDS = 7
DAY = datetime.date(2025, 6, 12)
CAPTURES = ("coinbase_20210417", "kraken_20210417", "bitmex_20210722", "bitfinex_20210417")


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


def live(table: Table) -> Table:
    """Return a book's rows after its image, stamped as `mds record` does: what a day consists of, but for its start."""
    keep = (table["flags"] & (BookFlag.SNAPSHOT | BookFlag.CLEAR)) == 0
    rows = {name: np.ascontiguousarray(column[keep]) for name, column in table.columns.items()}
    told = not np.array_equal(rows["ts_event"], rows["ts_init"])  # the venue says when
    rows["ts_init"] = rows["ts_init"] // 1_000 * 1_000
    return Table(Kind.BOOK_DELTA, rows if told else rows | {"ts_event": rows["ts_init"].copy()})


def entropy(column: np.ndarray) -> float:
    """Return about the least bytes a value, if each is coded by itself: how often it comes, and once, what it is.

    The list of distinct values costs a bit for each doubling of their range, less what their order would tell.
    """
    values, counts = np.unique(column, return_counts=True)
    share = counts / counts.sum()
    often = float(-(share * np.log2(share)).sum())
    exact = np.rint(values[~np.isnan(values)] * 1e9) if values.dtype.kind == "f" else values.astype(float)
    step = float(np.gcd.reduce(exact.astype("<i8"))) or 1.0
    wide = np.log2((exact.max() - exact.min()) / step + 1.0) - np.log2(max(len(values) / np.e, 1.0))
    return (often + len(values) / len(column) * max(wide, 0.0)) / 8


def entropy_of_times(distances: np.ndarray) -> float:
    """Return the same of distances in whole microseconds: Vasicek's estimate, by spacings."""
    found = np.sort(distances.astype(float))
    count, span = len(found), int(np.sqrt(len(found)))
    ends = np.arange(count)
    wide = found[np.minimum(ends + span, count - 1)] - found[np.maximum(ends - span, 0)]
    return float(np.log2(np.maximum(wide * count / (2 * span), 1.0)).mean()) / 8


def told_by_column(table: Table, instrument: Instrument, folder: Path) -> None:
    """Print what each column of a book takes in our file, and its entropy; without the file's own 2 kB."""
    store = ParquetStore(folder)
    store.write(table, instrument, DAY)
    group = pq.ParquetFile(next(folder.rglob("*.parquet"))).metadata.row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    taken = {column.path_in_schema: column.total_compressed_size / len(table) for column in columns}
    least = {name: entropy(table[name]) for name in taken if not name.startswith("ts_")}
    least["ts_event"] = entropy_of_times(np.diff(table["ts_event"]) // 1_000)
    if "ts_init" in taken:
        least["ts_init"] = entropy_of_times((table["ts_init"] - table["ts_event"]) // 1_000)
    text = ", ".join(f"{name} {size:.2f} ({least[name]:.2f})" for name, size in taken.items())
    say(f"  by column (and its entropy): {text}; {sum(taken.values()):.2f} ({sum(least.values()):.2f})")


def made_book(rows: int) -> Table:
    """Return a made day of deltas, as mean as a real one: times in microseconds, a third of the sizes new."""
    random = np.random.default_rng(7)
    times = np.cumsum(random.exponential(86_400e6 / rows, rows)).astype("<i8") + 1_600_000_000_000_000
    received = np.maximum.accumulate(times + random.gamma(4.0, 1_000.0, rows).astype("<i8"))
    asks = random.integers(0, 2, rows).astype("u1")
    away = random.geometric(0.03, rows) * np.where(asks == 1, 1, -1)
    mid = 6_000_000 + np.cumsum(random.integers(-1, 2, rows) * (random.random(rows) < 0.2))
    fresh = random.integers(1, 3 * 10**8, rows)
    before = np.maximum(np.arange(rows) - random.geometric(0.01, rows), 0)
    size = np.select([random.random(rows) < 0.35, random.random(rows) < 0.5], [0, fresh[before]], fresh)
    columns = {
        "ts_event": times * 1_000, "ts_init": received * 1_000, "price": (mid + away) / 100.0, "size": size,
        "orders": np.full(rows, np.nan), "flags": asks | np.uint8(BookFlag.LAST),
    }  # fmt: skip
    return from_columns(Kind.BOOK_DELTA, columns)


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
            if table.kind == Kind.BOOK_DELTA:
                sizes(f"{name}, live", live(table), instrument, tmp_path)
                told_by_column(live(table), instrument, tmp_path / name / "columns")


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


def a_day(
    table: Table, whose: Instrument, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Return bytes a row in every way, and the seconds that each way takes to load the day."""
    pytest.importorskip("arcticdb")
    with capsys.disabled():
        say("")
        found = sizes("made", table, whose, tmp_path)
        ours, arctic = ParquetStore(tmp_path / "made/ours"), open_store(f"arctic:lmdb://{tmp_path / 'made/arctic'}")
        snappy = tmp_path / "made/snappy.parquet"
        file = next(ours.root.rglob("*.parquet"))
        spent = timed(
            {
                "ours, to numpy": lambda: ours.read(whose, table.kind, DAY),
                "plain pyarrow, snappy, to Arrow": lambda: pq.read_table(snappy),
                "plain pyarrow, snappy, to numpy": lambda: [c.to_numpy() for c in pq.read_table(snappy).columns],
                "plain pyarrow of our file, to Arrow's decimals": lambda: pq.read_table(file),
                "ArcticDB, to numpy": lambda: arctic.read(whose, table.kind, DAY),
            }
        )
        for name, (wall, cpu) in spent.items():
            say(f"{name:<48} {TICKS / wall / 1e6:6.1f} M ticks/s, {wall:.3f} s wall, {cpu:.3f} s processor")
    return found, spent


def test_a_day_of_five_million_trades(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, spent = a_day(made_day(DAY, trades=TICKS), Instrument("SPY"), tmp_path, capsys)
    assert found["ours"] <= 5.5
    assert spent["ours, to numpy"][1] <= spent["plain pyarrow, snappy, to Arrow"][1]


def test_a_day_of_five_million_deltas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, spent = a_day(made_book(TICKS), parse_instrument("coinbase:BTC-USD"), tmp_path, capsys)
    assert found["BSON"] / found["ours"] >= 10
    assert spent["ours, to numpy"][1] <= spent["plain pyarrow, snappy, to numpy"][1]
