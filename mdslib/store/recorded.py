"""A recorder's day as tables: the tapes of one venue and UTC day, by instrument and kind.

A tape holds everything in the order of arrival; a table holds one kind of one instrument in order of time. What no
table can hold, such as starts and the texts of gaps, is the *rest*, and is kept as the records that it is.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdslib.errors import TapeError
from mdslib.events import SCHEMAS, BookFlag, Kind
from mdslib.instruments import CRYPTO_LOTS, UNTOLD_TICK, Instrument
from mdslib.protocols import Records
from mdslib.store.steps import with_step
from mdslib.store.tapereader import TapeReader, segment_paths, side_path
from mdslib.table import Array, Table
from mdslib.tape import decode_header

STORED = (
    Kind.TRADE,
    Kind.QUOTE,
    Kind.BAR,
    Kind.BOOK_DELTA,
    Kind.GAP,
    Kind.RESYNC,
    Kind.CORRECTION,
    Kind.CANCEL_ERROR,
    Kind.STATUS,
)
_PRICES = {Kind.TRADE: ("f0",), Kind.QUOTE: ("f0", "f1"), Kind.BOOK_DELTA: ("f0",)}  # slots
DOOMED = "verified.delete"  # beside a tape that the store holds, while it is being deleted
_OLD_TICK = 1e-8  # what the headers of the recorder's first tapes say of every crypto venue's pair: not told either
_CODES = np.array([int(kind) for kind in STORED], "u1")
_HEADER_BYTES = 1 << 20


class DayTapes(NamedTuple):
    """The tapes of one venue and UTC day; several where each pair has a process of its own."""

    venue: str
    date: datetime.date
    folders: tuple[Path, ...]


class Rows(NamedTuple):
    """One kind of one instrument: its rows, and the last sequence of each tape, by place, that they came from."""

    instrument: Instrument
    table: Table
    tapes: tuple[int, ...]


def find_days(root: Path) -> tuple[list[DayTapes], list[TapeError]]:
    """Return the days whose tapes lie anywhere in a folder, in order, and what is wrong with tapes that can't be told.

    Parameters
    ----------
    root : Path
        A recorder's folder, one venue's, one day's, or a tape.
    """
    days: dict[tuple[datetime.date, str], list[Path]] = {}
    wrong: list[TapeError] = []
    for first in sorted(root.rglob("00000001.tape")):
        if (first.parent / DOOMED).exists():
            continue
        try:
            with first.open("rb") as file:
                header, _, _ = decode_header(file.read(_HEADER_BYTES), str(first))
        except (TapeError, OSError) as error:
            wrong.append(error if isinstance(error, TapeError) else TapeError(f"{first} can't be read: {error}"))
            continue
        if header.model or not header.instruments:
            continue  # a session's tape is its record, and stays
        days.setdefault((header.trading_date, header.instruments[0].venue), []).append(first.parent)
    return [DayTapes(venue, date, tuple(found)) for (date, venue), found in sorted(days.items())], wrong


def tape_bytes(folder: Path) -> int:
    """Return the bytes of a tape's segments and texts: where they are the same, nothing was added."""
    paths = segment_paths(folder)
    return sum(path.stat().st_size for path in (*paths, *map(side_path, paths)) if path.exists())


class Recorded:
    """The tapes of a day, indexed by instrument and kind; rows are copied when they are asked for.

    Parameters
    ----------
    readers : list of TapeReader
        The tapes, opened.
    """

    def __init__(self, readers: list[TapeReader]) -> None:
        # Runs of one instrument follow one another in the order in which their tapes began.
        order = sorted(range(len(readers)), key=lambda place: _begin(readers[place]))
        self._rows: dict[tuple[str, Kind], list[tuple[int, Records, np.ndarray[tuple[int], np.dtype[np.int64]]]]] = {}
        self.instruments: dict[str, Instrument] = {}
        self._tapes = len(readers)
        for place in order:
            for segment in readers[place].segments:
                self._index(place, segment.header.instruments, segment.records)

    def _index(self, place: int, instruments: tuple[Instrument, ...], records: Records) -> None:
        """Note which rows of a segment are whose, by one stable sort: a tape has hundreds of pairs and kinds."""
        at = np.flatnonzero(np.isin(records["kind"], _CODES))
        whose = records["instrument"][at].astype("<u4") * 256 + records["kind"][at]
        by = np.argsort(whose, kind="stable")
        groups, starts = np.unique(whose[by], return_index=True)
        for group, rows in zip(groups.tolist(), np.split(at[by], starts[1:]), strict=False):
            number, kind = divmod(group, 256)
            if number >= len(instruments):
                raise TapeError(
                    f"a record of the tape must be of one of its {len(instruments)} instruments, received number"
                    f" {number}; it was written by another version"
                )
            instrument = _untold(instruments[number])
            self.instruments[instrument.id] = instrument
            self._rows.setdefault((instrument.id, Kind(kind)), []).append((place, records, rows))

    def tables(self) -> Iterator[Rows]:
        """Yield the rows of each instrument and kind; the instrument's tick is its prices' where nobody told it."""
        steps: dict[str, Instrument] = {}
        for name, kind in sorted(self._rows):
            if name not in steps:
                steps = {name: with_step(self.instruments[name], self._prices(name))}
            parts = self._rows[name, kind]
            last = [0] * self._tapes
            for place, records, rows in parts:
                last[place] = max(last[place], int(records["seq"][rows[-1]]))
            found = np.concatenate([records[rows] for _, records, rows in parts])
            yield Rows(steps[name], _table(found, kind), tuple(last))

    def _prices(self, name: str) -> Iterator[Array]:
        for kind, slots in _PRICES.items():
            for _, records, rows in self._rows.get((name, kind), ()):
                yield from (records[slot][rows] for slot in slots)


def _untold(instrument: Instrument) -> Instrument:
    if instrument.venue in CRYPTO_LOTS and instrument.tick == _OLD_TICK:
        return dataclasses.replace(instrument, tick=UNTOLD_TICK)
    return instrument


def prices_of(records: Records) -> Iterator[Array]:
    """Yield the prices of trades, best quotes and books among one instrument's records."""
    for kind, slots in _PRICES.items():
        yield from (records[slot][records["kind"] == int(kind)] for slot in slots)


def tables_of(records: Records) -> Iterator[Table]:
    """Yield a table a kind of one instrument's records, in order of arrival."""
    for kind in STORED:
        rows = records[records["kind"] == int(kind)]
        if len(rows):
            yield _table(rows, kind)


def rest_of(reader: TapeReader) -> Iterator[Records]:
    """Yield, by segment, the records that no table holds, and those that have a text."""
    for segment in reader.segments:
        records = segment.records
        yield records[~np.isin(records["kind"], _CODES) | (records["side"] > 0)]


def _begin(reader: TapeReader) -> int:
    return next((int(segment.records["ts_init"][0]) for segment in reader.segments if len(segment.records)), 0)


def _table(records: Records, kind: Kind) -> Table:
    """Return records of one kind and instrument as a table, in order of time.

    A book is its deltas in the order in which they came, so theirs is kept, and a time that lies before the one before
    it, as after a reconnection, is raised to it. An image that lies later than the delta after it is set to that one's
    time: it bears the recorder's clock, where the venue tells none. Others are sorted; equal times keep their order.
    """
    if kind == Kind.BOOK_DELTA:
        found = np.maximum.accumulate(_with_images_before(records))
    else:
        records = records[np.argsort(records["ts_event"], kind="stable")]
        found = np.ascontiguousarray(records["ts_event"])
    columns = {name: np.ascontiguousarray(records[field.slot]) for name, field in SCHEMAS[kind].items()}
    return Table(kind, columns | {"ts_event": found, "instrument": np.zeros(len(records), "<u2")})


def _with_images_before(records: Records) -> Array:
    """Return the times of book records, where no image lies later than the first delta after it."""
    times, image = records["ts_event"], (records["flag"] & int(BookFlag.SNAPSHOT)) > 0
    count = len(records)
    following = np.minimum.accumulate(np.where(image, count, np.arange(count))[::-1])[::-1]
    found: Array = np.minimum(times, np.append(times, np.iinfo(np.int64).max)[following])
    return found


__all__ = [
    "DOOMED",
    "STORED",
    "DayTapes",
    "Recorded",
    "Rows",
    "find_days",
    "prices_of",
    "rest_of",
    "tables_of",
    "tape_bytes",
]
