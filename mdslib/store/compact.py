"""Compact a recorder's tapes into the store: atomically, and to the same result however often it was killed.

A day's parts are made from its tapes alone and each is replaced whole; the receipt ``compacted.json`` beside a tape is
written last. So whatever a crash interrupts, the next run makes everything anew, and what was there before stands until
then. A day that is still recorded may be compacted as often as one likes.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mdslib.errors import DataError, MdsError
from mdslib.events import RECORD, Kind
from mdslib.store.files import LocalFiles
from mdslib.store.key import Key, key_of, label_of
from mdslib.store.recorded import DayTapes, Recorded, Rows, find_days, rest_of, tape_bytes
from mdslib.store.tapefile import writer_of
from mdslib.store.tapereader import TapeReader
from mdslib.store.tickstore import Source, TickStore

RECEIPT = "compacted.json"
REST = "rest.parquet"
_LOCK = ".compact.lock"


class Compacted(NamedTuple):
    """What became of one venue's day.

    Attributes
    ----------
    venue, date : str
        Whose day.
    parts, rows : int
        What was written to the store.
    rest : int
        Records that no table holds, kept beside the tape.
    running : bool
        Somebody writes a tape of that day now.
    unchanged : bool
        Nothing was added since the last time, so nothing was written.
    error : str
        Why nothing, or not everything, was written; empty if all is well.
    """

    venue: str
    date: str
    parts: int = 0
    rows: int = 0
    rest: int = 0
    running: bool = False
    unchanged: bool = False
    error: str = ""

    def __str__(self) -> str:
        """Return the line for the person."""
        name = f"{self.venue} {self.date}"
        if self.error:
            return f"{name}: FAILED: {self.error}"
        if self.unchanged:
            return f"{name}: compacted already"
        still = ", still recorded" if self.running else ""
        return f"{name}: {self.rows:,} rows in {self.parts} parts, {self.rest:,} other records kept beside{still}"


def compact(root: Path | str, store: TickStore, progress: Callable[[Compacted], None] | None = None) -> list[Compacted]:
    """Bring the tapes of a recorder's folder into the store.

    Parameters
    ----------
    root : Path or str
        A recorder's folder, one venue's, or one day's.
    store : TickStore
        Where the rows go: one part an instrument, kind and day.
    progress : callable, optional
        Called with each day's report as soon as it is done.

    Returns
    -------
    list of Compacted
        One a venue and day. Look at ``error``: one failure does not stop the others.

    Raises
    ------
    DataError
        There is no such folder, it holds no tape, or another process compacts it now.
    """
    root = Path(root)
    with alone(root):
        days, wrong = find_days(root)
        reports = [Compacted("tape", "", error=str(error)) for error in wrong]
        if not days and not wrong:
            raise DataError(f"compact: {root} holds no recorder's tape; give the folder that `mds record` writes to")
        for day in days:
            try:
                reports.append(_compact_day(day, store))
            except MdsError as error:
                reports.append(Compacted(day.venue, day.date.isoformat(), error=str(error)))
            except OSError as error:
                why = f"{day.folders[0]}: {error.strerror or error}; its tapes stand; free space and run it again"
                reports.append(Compacted(day.venue, day.date.isoformat(), error=why))
        for report in reports:
            if progress is not None:
                progress(report)
    return reports


def _compact_day(day: DayTapes, store: TickStore) -> Compacted:
    date = day.date.isoformat()
    running = any(writer_of(folder) for folder in day.folders)
    if all(_is_current(folder, store) for folder in day.folders):
        return Compacted(day.venue, date, running=running, unchanged=True)
    with contextlib.ExitStack() as stack:
        sizes = [tape_bytes(folder) for folder in day.folders]  # taken before reading: what comes later is for later
        readers = [stack.enter_context(TapeReader(folder)) for folder in day.folders]
        written = [_write(rows, day, readers, store) for rows in Recorded(readers).tables()]
        rest = 0
        for folder, reader, size in zip(day.folders, readers, sizes, strict=True):
            kept = write_rest(folder, reader)
            rest += kept["records"]
            receipt = {
                "format": 1,
                "store": store.where,
                "bytes": size,
                "through": reader.next_seq - 1,
                "parts": [part for part in written if folder.name in part["tapes"]],
                "rest": kept,
            }
            LocalFiles(folder).write(RECEIPT, json.dumps(receipt, indent=1).encode())
    return Compacted(day.venue, date, len(written), sum(part["rows"] for part in written), rest, running)


def _write(rows: Rows, day: DayTapes, readers: Sequence[TapeReader], store: TickStore) -> dict[str, Any]:
    """Write one part, unless what is there has more than the tapes."""
    key = part_key(rows, day.date)
    tapes = {folder.name: last for folder, last in zip(day.folders, rows.tapes, strict=True) if last}
    if store.parts.has(key):
        _check_older(key, store.parts.describe(key), tapes, len(rows.table), store)
    source = [Source(f"tape {day.venue}/{day.date}/{name}", "") for name in tapes]
    store.write(rows.table, rows.instrument, day.date, source=source, extra={"tapes": tapes})
    return {**key._asdict(), "rows": len(rows.table), "tapes": sorted(tapes)}


def _check_older(key: Key, body: dict[str, Any], tapes: dict[str, int], rows: int, store: TickStore) -> None:
    """Refuse to replace a part that holds what these tapes have not: nothing recorded is lost."""
    held: dict[str, int] | None = body.get("tapes")
    where = f"{key.folder} of store {store.where}"
    if held is None:
        names = ", ".join(source["name"] for source in body["source"]) or "an unnamed source"
        raise DataError(f"{where} was imported from {names}; move it away, or compact into another --store")
    gone = sorted(name for name, last in held.items() if tapes.get(name, 0) < last)
    if gone or body["rows"] > rows:
        raise DataError(
            f"{where} must not lose what it holds: {body['rows']:,} rows, received {rows:,} from the tapes that are"
            f" left ({', '.join(gone) or 'none'} gone or cut); restore the tapes from a copy"
        )


def part_key(rows: Rows, date: datetime.date) -> Key:
    """Return where the rows of a day lie in the store."""
    return key_of(label_of(rows.table.kind), rows.instrument, f"date={date.isoformat()}")


def write_rest(folder: Path, reader: TapeReader) -> dict[str, Any]:
    """Keep beside a tape what no table holds; return how many records, and the file's SHA-256."""
    data = pack_rest(reader)
    LocalFiles(folder).write(REST, data[0])
    return {"records": data[1], "sha256": hashlib.sha256(data[0]).hexdigest()}


def pack_rest(reader: TapeReader) -> tuple[bytes, int]:
    """Return a Parquet file of the rest: the records as they are, and readable columns beside them."""
    records = np.concatenate([np.zeros(0, RECORD), *rest_of(reader)])
    known = {int(kind): kind.name for kind in Kind}
    columns = {
        "seq": pa.array(records["seq"]),
        "ts_event": pa.array(np.ascontiguousarray(records["ts_event"]), pa.timestamp("ns", "UTC")),
        "ts_init": pa.array(np.ascontiguousarray(records["ts_init"]), pa.timestamp("ns", "UTC")),
        "kind": pa.array([known.get(int(kind), str(kind)) for kind in records["kind"]], pa.string()),
        "instrument": pa.array(records["instrument"]),
        "text": pa.array([reader.text(record) for record in records], pa.string()),
        "record": pa.array([record.tobytes() for record in records], pa.binary(RECORD.itemsize)),
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd", store_schema=False, write_page_checksum=True)
    return sink.getvalue().to_pybytes(), len(records)


def read_receipt(folder: Path) -> dict[str, Any] | None:
    """Return a tape's receipt, or None where it was never compacted, or the receipt can't be read."""
    try:
        found = json.loads((folder / RECEIPT).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("format") == 1 else None


def _is_current(folder: Path, store: TickStore) -> bool:
    receipt = read_receipt(folder)
    return (
        receipt is not None
        and receipt["bytes"] == tape_bytes(folder)
        and receipt["store"] == store.where
        and all(store.parts.has(Key(*(part[name] for name in Key._fields))) for part in receipt["parts"])
    )


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold the folder: an older compaction must not write over a newer one's parts."""
    if not root.is_dir():
        raise DataError(f"compact: there is no folder {root}; give the folder that `mds record` writes to")
    try:
        fd = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise DataError(f"compact: {root} must be writable, received {error.strerror}; check owner and mode") from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"compact: another process compacts {root} now; wait until it has ended") from None
        yield
    finally:
        os.close(fd)


__all__ = ["RECEIPT", "REST", "Compacted", "alone", "compact", "pack_rest", "part_key", "read_receipt"]
