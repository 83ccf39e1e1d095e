"""Delete old tapes, and only those that the store holds to the last bit.

A tape is read again and every table made of it is compared with what the store gives back. What is not equal, not
compacted, damaged, or still written, stays, and is named. The receipt and the rest, which no table holds, stay too.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mdslib.clock import wall_ns
from mdslib.errors import DataError, MdsError
from mdslib.store.compact import REST, alone, pack_rest, part_key, read_receipt
from mdslib.store.fileformat import digest_of
from mdslib.store.files import LocalFiles
from mdslib.store.recorded import DOOMED, DayTapes, Recorded, find_days, tape_bytes
from mdslib.store.tapefile import writer_of
from mdslib.store.tapereader import TapeReader, segment_paths, side_path
from mdslib.store.tickstore import TickStore

_DAY = 86_400 * 10**9  # ns


class Retained(NamedTuple):
    """What became of one venue's day.

    Attributes
    ----------
    venue, date : str
        Whose day.
    freed : int
        Bytes that were deleted, or would be.
    kept : str
        Why the tapes stay; empty if they were deleted.
    failed : bool
        Whether they should have gone by their age, and could not.
    dry_run : bool
        Whether nothing was deleted.
    """

    venue: str
    date: str
    freed: int = 0
    kept: str = ""
    failed: bool = False
    dry_run: bool = False

    def __str__(self) -> str:
        """Return the line for the person."""
        done = "would be deleted" if self.dry_run else "deleted"
        what = f"kept: {self.kept}" if self.kept else f"{done}, {self.freed:,} bytes; the store holds every row"
        return f"{self.venue} {self.date}: {what}"


def retain(
    root: Path | str,
    store: TickStore,
    days: int,
    *,
    today: datetime.date | None = None,
    dry_run: bool = False,
    progress: Callable[[Retained], None] | None = None,
) -> list[Retained]:
    """Delete the tapes of days before the last `days`, where the store holds them.

    Parameters
    ----------
    root : Path or str
        A recorder's folder.
    store : TickStore
        What they were compacted into.
    days : int
        How many days of tapes are kept, today (UTC) included; at least 1.
    today : date, optional
        The day that counts as today.
    dry_run : bool
        Compare, and say what would be deleted, and delete nothing.
    progress : callable, optional
        Called with each day's report.

    Raises
    ------
    DataError
        There is no such folder, `days` is below 1, or a compaction runs now.
    """
    root = Path(root)
    if days < 1:
        raise DataError(f"retain: days must be >= 1, received {days}; today's tape is being written")
    first = (today or datetime.datetime.fromtimestamp(wall_ns() / 1e9, datetime.UTC).date()) - datetime.timedelta(
        days=days - 1
    )
    with alone(root):
        if not dry_run:
            for mark in sorted(root.rglob(DOOMED)):  # a crash left it
                _delete(mark.parent)
        found, wrong = find_days(root)
        reports = [Retained("tape", "", kept=str(error), failed=True) for error in wrong]
        reports += [_retain_day(day, store, first, dry_run=dry_run) for day in found]
        for report in reports:
            if progress is not None:
                progress(report)
    return reports


def _retain_day(day: DayTapes, store: TickStore, first: datetime.date, *, dry_run: bool) -> Retained:
    date = day.date.isoformat()
    # In UTC the next day has begun while New York's is still recorded.
    running = day.date == first - datetime.timedelta(days=1) and any(map(writer_of, day.folders))
    if running or day.date >= first:
        return Retained(day.venue, date, kept=f"not older than {first}")
    try:
        _compare(day, store)
        freed = sum(tape_bytes(folder) for folder in day.folders)
        if not dry_run:
            for folder in day.folders:
                LocalFiles(folder).write(DOOMED, b"")
            for folder in day.folders:
                _delete(folder)
    except MdsError as error:
        return Retained(day.venue, date, kept=str(error), failed=True)
    except OSError as error:
        why = f"{day.folders[0]}: {error.strerror or error}; what is marked is deleted by the next run"
        return Retained(day.venue, date, kept=why, failed=True)
    return Retained(day.venue, date, freed, dry_run=dry_run)


def _compare(day: DayTapes, store: TickStore) -> None:
    """Raise `DataError` unless the store gives back every row of the tapes, bit for bit."""
    for folder in day.folders:
        if writer := writer_of(folder):
            raise DataError(f"process {writer} writes {folder.name} now")
        receipt = read_receipt(folder)
        if receipt is None:
            raise DataError("not compacted yet; run: mds data compact")
        if receipt["bytes"] != tape_bytes(folder):
            raise DataError(f"{folder.name} grew after it was compacted; run: mds data compact")
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(TapeReader(folder)) for folder in day.folders]
        for rows in Recorded(readers).tables():
            key = part_key(rows, day.date)
            if not store.parts.has(key):
                raise DataError(f"{key.folder} is not in store {store.where}; run: mds data compact")
            part = store.part(key)
            if not part.table.equals(rows.table) or digest_of(part.table, part.body) != part.body.get("digest"):
                raise DataError(f"{key.folder} in store {store.where} is not what the tape says; compact it again")
        for folder, reader in zip(day.folders, readers, strict=True):
            kept = folder / REST
            expected = hashlib.sha256(pack_rest(reader)[0]).digest()
            if not kept.exists() or hashlib.sha256(kept.read_bytes()).digest() != expected:
                raise DataError(f"{folder.name}/{REST} is not what the tape says; compact it again")


def _delete(folder: Path) -> None:
    """Delete a tape's files; the mark goes last, so that a crash leaves something to finish, and not half a tape."""
    for path in segment_paths(folder):
        side_path(path).unlink(missing_ok=True)
        path.unlink()
    for torn in folder.glob("*.torn"):
        torn.unlink()
    (folder / DOOMED).unlink()


__all__ = ["Retained", "retain"]
