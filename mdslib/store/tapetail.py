"""The end of a tape that is being written: its latest market events, without reading the whole of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdslib.errors import TapeError
from mdslib.events import RECORD, Kind
from mdslib.protocols import Records
from mdslib.store.tapereader import segment_paths
from mdslib.tape.header import TapeHeader, decode_header

_BLOCK = 65_536  # records looked at at once, from the end
_MARKET = (int(Kind.TRADE), int(Kind.QUOTE), int(Kind.BAR), int(Kind.BOOK_DELTA))


class Tail(NamedTuple):
    """The latest market events of a tape.

    Attributes
    ----------
    last : int
        The latest `ts_event` of any market event; 0 where the tape has none.
    records : RECORD array
        Market events from the time on that was asked for, in tape order.
    """

    last: int
    records: Records


def tape_tail(folder: Path, margin: int, since: int = 0) -> Tail:
    """Return the market events of a tape's end.

    For use beside the writer, in one process: what `append` has returned of is there. CRCs are not looked at, since the
    records were written a moment ago; opening the tape anew verifies them all.

    Parameters
    ----------
    folder : Path
        A run's ``tape/``.
    margin : int
        How far before its last market event to begin, ns.
    since : int
        Begin here at the latest, ns UTC; 0 leaves it to `margin`.

    Raises
    ------
    TapeError
        If there is no tape.
    """
    paths = segment_paths(Path(folder))
    if not paths:
        raise TapeError(f"{folder} must hold a tape (00000001.tape, ...), and has no segment; give a run's tape folder")
    parts: list[Records] = []
    last = 0
    for path in reversed(paths):
        records = _records(path)
        end = len(records)
        while end > 0:
            begin = max(0, end - _BLOCK)
            block = np.array(records[begin:end])
            market = block[np.isin(block["kind"], _MARKET)]
            end = begin
            if not len(market):
                continue
            last = last or int(market["ts_event"].max())
            start = min(since, last - margin) if since else last - margin
            wanted = market[market["ts_event"] >= start]
            if not len(wanted):
                return Tail(last, _joined(parts))
            parts.insert(0, wanted)
    return Tail(last, _joined(parts))


def last_record(folder: Path) -> tuple[TapeHeader, np.void | None]:
    """Return a tape's newest header and its last whole record, or None where it has none; CRCs are not looked at.

    Raises
    ------
    TapeError
        If there is no tape, or its header is damaged.
    """
    paths = segment_paths(Path(folder))
    if not paths:
        raise TapeError(f"{folder} must hold a tape (00000001.tape, ...), and has no segment; give a run's tape folder")
    with paths[-1].open("rb") as file:
        header, _, start = decode_header(file.read(1 << 20), paths[-1].name)
    records = _records(paths[-1], start)
    return header, np.array(records[-1:])[0] if len(records) else None


def _joined(parts: list[Records]) -> Records:
    return np.concatenate(parts) if parts else np.zeros(0, RECORD)


def _records(path: Path, start: int = 0) -> Records:
    data = np.memmap(path, np.uint8, mode="r").view(np.ndarray)
    if not start:
        _, _, start = decode_header(bytes(data[: min(len(data), 1 << 20)]), path.name)
    whole = (len(data) - start) // RECORD.itemsize
    return data[start : start + whole * RECORD.itemsize].view(RECORD)
