"""Records sealed with sequence and CRC, and the side records that carry texts.

A side record is ``length u4, kind u4, owner's sequence i8, CRC-32 u4`` and the UTF-8 text; the CRC covers the sixteen
bytes before it and the text. A side file opens with ``MDSSIDE1`` and the number of its first side record as u8.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from mdslib.errors import TapeError
from mdslib.events import RECORD
from mdslib.protocols import Records
from mdslib.tape.crc import stamp

FIRST_SEQ = 1  # 0 stays free: an UPDATE whose `order` is 0 belongs to no decision of ours
SIDE_MAGIC = b"MDSSIDE1"
WORD = np.dtype(np.uint32)

_SIDE = struct.Struct("<IIqI")
_SIDE_HEAD = struct.Struct("<8sQ")
_MAX_TEXT = 1 << 24


class SideKind(IntEnum):
    """What a side record's text is. Codes are part of the format: never renumber, only append."""

    TEXT = 1  # words for a person
    ORDER = 2  # the venue's order id, and the execution id of a fill, as JSON
    DENIAL = 3  # our own refusal, in words
    FRAME = 4  # a message that was kept but not understood
    ERROR = 5  # an error's text
    DIGEST = 6  # the fold's digest, on the CLOSE record
    COMMAND = 7  # who commanded what, and why


_KINDS = tuple(int(kind) for kind in SideKind)


class Side(NamedTuple):
    """One text beside a record.

    Attributes
    ----------
    row : int
        When appended: index of its record in the batch. When read: the side record's number on the tape.
    kind : SideKind
        What the text is.
    text : str
        Never a credential: nothing that holds one is handed to the tape.
    seq : int
        Sequence of its record; set by the writer.
    """

    row: int
    kind: SideKind
    text: str
    seq: int = 0


def seal(records: Records, first_seq: int) -> Records:
    """Write sequence and CRC into every record, in place.

    Parameters
    ----------
    records : RECORD array
        One dimension, contiguous, writable.
    first_seq : int
        Sequence of the first.

    Returns
    -------
    RECORD array
        The same array.

    Raises
    ------
    TapeError
        If the array is not a contiguous, writable array of `events.RECORD`.

    Examples
    --------
    >>> batch = seal(np.zeros(2, RECORD), 7)
    >>> batch["seq"].tolist(), int(batch["crc"][0]) == zlib.crc32(batch[:1].tobytes()[:92])
    ([7, 8], True)
    """
    stamp(words_of(records), first_seq)
    return records


def words_of(records: Records) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """Return records seen as uint32 words, without a copy; refuse what the kernel can't trust."""
    if records.dtype != RECORD or records.ndim != 1 or not (records.flags.c_contiguous and records.flags.writeable):
        raise TapeError(
            "tape records must be a contiguous, writable, one-dimensional array of events.RECORD, received shape "
            f"{records.shape} "
            f"of dtype {str(records.dtype)[:60]}; copy the slice with np.array(records) first"
        )
    return records.view(WORD)


def encode_side_head(first_number: int) -> bytes:
    """Return the opening of a side file whose first side record has this number."""
    return _SIDE_HEAD.pack(SIDE_MAGIC, first_number)


def encode_side(kind: SideKind, seq: int, text: str) -> bytes:
    """Return one side record.

    Raises
    ------
    TapeError
        If the text is longer than 16 MB.

    Examples
    --------
    >>> len(encode_side(SideKind.TEXT, 1, "halted"))
    26
    """
    body = text.encode("utf-8", "backslashreplace")
    if len(body) >= _MAX_TEXT:
        raise TapeError(
            f"a side text on the tape must be under {_MAX_TEXT} bytes, received {len(body)}; cut it before it is "
            "recorded"
        )
    head = _SIDE.pack(len(body), int(kind), seq, 0)[:16]
    return head + struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + body


def decode_sides(data: bytes, where: str) -> tuple[list[Side], int]:
    """Return the side records of one file and the number of bytes of its torn tail.

    A side record is written before the record that refers to it, so a torn one at the end belongs to nothing.

    Raises
    ------
    TapeError
        If the file is not a side file, or holds a kind that this version does not know.

    Examples
    --------
    >>> data = encode_side_head(0) + encode_side(SideKind.TEXT, 1, "halted")
    >>> decode_sides(data + b"torn", "tape")
    ([Side(row=0, kind=<SideKind.TEXT: 1>, text='halted', seq=1)], 4)
    """
    if len(data) < _SIDE_HEAD.size:
        return [], len(data)
    magic, number = _SIDE_HEAD.unpack_from(data)
    if magic != SIDE_MAGIC:
        raise TapeError(f"{where} must open with {SIDE_MAGIC!r}, received {magic!r}; it is no side file of a tape")
    sides: list[Side] = []
    at = _SIDE_HEAD.size
    while at + _SIDE.size <= len(data):
        length, kind, seq, crc = _SIDE.unpack_from(data, at)
        body = data[at + _SIDE.size : at + _SIDE.size + length]
        if len(body) < length or zlib.crc32(body, zlib.crc32(data[at : at + 16])) != crc:
            break
        if kind not in _KINDS:
            raise TapeError(
                f"{where}: the side record at offset {at} has kind {kind}; this mdslib knows {_KINDS}: read it with "
                "the mdslib that wrote it"
            )
        sides.append(Side(number + len(sides), SideKind(kind), body.decode("utf-8"), seq))
        at += _SIDE.size + length
    return sides, len(data) - at
