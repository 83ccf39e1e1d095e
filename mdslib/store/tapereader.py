"""Read a tape: memory-mapped, verified from its first byte to its last whole record."""

from __future__ import annotations

import functools
from pathlib import Path
from types import TracebackType

import numpy as np

from mdslib.errors import TapeError
from mdslib.events import SCHEMAS, Kind
from mdslib.protocols import Records
from mdslib.table import Table
from mdslib.tape import FIRST_SEQ, Segment, Side, TapeHeader, decode_segment, decode_sides


def segment_paths(folder: Path) -> list[Path]:
    """Return a tape's segments in order."""
    return sorted(folder.glob("[0-9]" * 8 + ".tape"))


def side_path(segment: Path) -> Path:
    """Return the file of a segment's texts; it exists only if the segment has any."""
    return segment.with_suffix(".side")


class TapeReader:
    """A tape as arrays, as of the moment of opening; a writer may go on meanwhile.

    Parameters
    ----------
    folder : Path
        A run's ``tape/``.

    Attributes
    ----------
    segments : list of Segment
        Header, first sequence and records of each, in order.
    torn : int
        Bytes of an unacknowledged record at the end, left out of `records`.
    next_seq : int
        One more than the last record's sequence.

    Raises
    ------
    TapeError
        If there is no tape, or it is damaged anywhere but at its end; names segment, record and offset.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        paths = segment_paths(self.folder)
        if not paths:
            raise TapeError(
                f"{self.folder} must hold a tape (00000001.tape, ...), and has no segment; give a run's tape folder"
            )
        self.segments: list[Segment] = []
        self.next_seq = FIRST_SEQ
        for place, path in enumerate(paths):
            if path.name != f"{place + 1:08d}.tape":
                raise TapeError(
                    f"{self.folder}: segment {place + 1:08d}.tape is missing before {path.name}; restore it from a copy"
                )
            segment = decode_segment(_mapped(path), path.name, last=place == len(paths) - 1)
            if segment.first_seq != self.next_seq:
                raise TapeError(
                    f"{path.name} must begin at sequence {self.next_seq}, received {segment.first_seq}; a segment is "
                    "missing or exchanged"
                )
            self.segments.append(segment)
            self.next_seq += len(segment.records)
        self.torn = self.segments[-1].torn
        self.last_side_bytes = 0
        self._sides = self._read_sides(paths)

    def _read_sides(self, paths: list[Path]) -> list[Side]:
        sides: list[Side] = []
        for place, path in enumerate(side_path(path) for path in paths):
            self.last_side_bytes = 0
            if not path.exists():
                continue
            data = path.read_bytes()
            found, torn = decode_sides(data, path.name)
            if torn and place < len(paths) - 1:
                raise TapeError(
                    f"{path.name}: the side record at offset {len(data) - torn} must match its CRC, and does not; "
                    "restore it from a copy"
                )
            sides += found
            self.last_side_bytes = len(data) - torn
        wanted = max((int(segment.records["side"].max(initial=0)) for segment in self.segments), default=0)
        if wanted > len(sides):
            raise TapeError(
                f"{self.folder}: a record refers to text {wanted}, and {len(sides)} are whole; the .side file is "
                "damaged: restore it from a copy"
            )
        self._check_owners(sides)
        return sides

    def _check_owners(self, sides: list[Side]) -> None:
        """Refuse texts that are whole each, but not those of the records that refer to them."""
        owners = np.array([side.seq for side in sides], np.int64)
        for segment in self.segments:
            told = segment.records[segment.records["side"] > 0]
            wrong = told["seq"] != owners[told["side"].astype(np.int64) - 1]
            if wrong.any():
                first = told[int(np.argmax(wrong))]
                raise TapeError(
                    f"{self.folder}: record {first['seq']} refers to text {first['side']}, which belongs to record"
                    f" {owners[int(first['side']) - 1]}; the .side file is damaged: restore it from a copy"
                )

    @property
    def header(self) -> TapeHeader:
        """The newest segment's header."""
        return self.segments[-1].header

    @property
    def side_count(self) -> int:
        """How many texts the tape has."""
        return len(self._sides)

    def records(self) -> Records:
        """Return all records, read-only: a view of the file if there is one segment, else a copy."""
        parts = [segment.records for segment in self.segments]
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        whole.flags.writeable = False
        return whole

    def runs(self) -> list[tuple[TapeHeader, Records]]:
        """Return the records under each header, in order: one pair unless a model was swapped.

        Segments that only rolled over because of their size are joined.
        """
        joined: list[tuple[TapeHeader, list[Records]]] = []
        for segment in self.segments:
            if joined and joined[-1][0] == segment.header:
                joined[-1][1].append(segment.records)
            else:
                joined.append((segment.header, [segment.records]))
        return [(header, parts[0] if len(parts) == 1 else np.concatenate(parts)) for header, parts in joined]

    def sides(self) -> list[Side]:
        """Return the texts; the one of a record is ``sides()[record["side"] - 1]``."""
        return list(self._sides)

    def text(self, record: np.void) -> str:
        """Return the text that belongs to a record; empty where there is none."""
        number = int(record["side"])
        return self._sides[number - 1].text if number else ""

    @functools.cached_property
    def _by_kind(self) -> dict[Kind, Table]:
        records = self.records()
        present = {int(kind) for kind in np.unique(records["kind"])}
        return {kind: _table(records, kind) for kind in SCHEMAS if int(kind) in present}

    def tables(self) -> dict[Kind, Table]:
        """Return one table a kind, for every kind on the tape that has columns.

        Rows are in order of `ts_event`; rows of one time stay in tape order.
        """
        return dict(self._by_kind)

    def close(self) -> None:
        """Forget the arrays; the memory maps go when nobody uses them any more."""
        self.segments = []
        self.__dict__.pop("_by_kind", None)

    def __enter__(self) -> TapeReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _mapped(path: Path) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    try:
        if path.stat().st_size == 0:
            raise TapeError(f"{path.name} must open with a header, and is empty; remove it if the run never began")
        return np.memmap(path, np.uint8, mode="r").view(np.ndarray)
    except OSError as error:
        raise TapeError(
            f"{path} must be readable, received {error.strerror or error}; check its owner and mode"
        ) from error


def _table(records: Records, kind: Kind) -> Table:
    rows = records[records["kind"] == kind]
    order = np.argsort(rows["ts_event"], kind="stable")
    return Table.from_records(rows[order], kind)
