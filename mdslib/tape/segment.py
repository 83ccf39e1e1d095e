"""One segment of a tape: verified from its first byte to its last whole record."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdslib.errors import TapeError
from mdslib.events import RECORD
from mdslib.protocols import Records
from mdslib.tape.codec import WORD
from mdslib.tape.crc import first_bad
from mdslib.tape.header import TapeHeader, decode_header


class Segment(NamedTuple):
    """What one segment holds.

    Attributes
    ----------
    header : TapeHeader
        Who decided, with what, on which machine.
    first_seq : int
        Sequence of its first record.
    records : RECORD array
        A view of the bytes, without a copy.
    size : int
        Bytes up to the end of the last whole record.
    torn : int
        Bytes after that: what a crash left of a record that was never acknowledged.
    """

    header: TapeHeader
    first_seq: int
    records: Records
    size: int
    torn: int


def decode_segment(data: np.ndarray[tuple[int], np.dtype[np.uint8]], where: str, last: bool) -> Segment:
    """Verify a segment's header, CRCs and sequence.

    Parameters
    ----------
    data : uint8 array
        The whole file, memory-mapped or read.
    where : str
        The file's name, for errors.
    last : bool
        Whether it is the tape's last segment, the only one that may have a torn tail.

    Returns
    -------
    Segment
        With its records as a view of `data`.

    Raises
    ------
    TapeError
        On a damaged header, and on damage anywhere but at the end of the last segment; names record and offset.
    """
    header, first_seq, start = decode_header(bytes(data[: min(len(data), 1 << 20)]), where)
    whole = (len(data) - start) // RECORD.itemsize
    records = data[start : start + whole * RECORD.itemsize].view(RECORD)
    bad = int(first_bad(records.view(WORD), first_seq)) if whole else -1
    if bad >= 0 and not (last and _is_tail(records, bad)):
        raise TapeError(_damage(records, bad, first_seq, where, start))
    kept = whole if bad < 0 else bad
    size = start + kept * RECORD.itemsize
    if size < len(data) and not last:
        raise TapeError(
            f"{where} must end on a whole record, but {len(data) - size} bytes follow record {first_seq + kept - 1} "
            f"at offset {size}, "
            "and later segments exist: the tape is damaged in its middle; restore it from a copy"
        )
    return Segment(header, first_seq, records[:kept], size, len(data) - size)


def _is_tail(records: Records, bad: int) -> bool:
    """Tell a torn tail from damage: the bad record is the last one, or nothing but zeros follows.

    After a power loss a file may be longer than the blocks that reached the disk; those read as zeros.
    """
    return bad == len(records) - 1 or not records[bad:].view(np.uint8).any()


def _damage(records: Records, bad: int, first_seq: int, where: str, start: int) -> str:
    received, expected = int(records[bad]["seq"]), first_seq + bad
    rule = (
        f"must have sequence {expected}, received {received}"
        if received != expected
        else "must match its CRC, and does not"
    )
    return (
        f"{where}: record {bad} (sequence {expected}, offset {start + bad * RECORD.itemsize}) {rule}; the tape is "
        "damaged in its middle, "
        f"{len(records) - bad - 1} records follow: restore it from a copy, the {bad} records before it are whole"
    )
