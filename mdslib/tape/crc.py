"""CRC-32 of records, as `zlib.crc32` computes it, in a compiled loop: about 45 ns a record of 96 bytes.

Slicing by eight: two words of the record are looked up in eight tables at a time, so that eight bytes cost one chain
of dependent loads (Kounavis and Berry, "Novel Table Lookup-Based Algorithms for High-Performance CRC
Generation", 2008).
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np

from mdslib.jit import direct

WORDS = 24  # 32-bit words in a record; the last one is the CRC
POLYNOMIAL = 0xEDB88320


def _tables() -> np.ndarray:
    tables = np.zeros((8, 256), np.uint32)
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (POLYNOMIAL if value & 1 else 0)
        tables[0, byte] = value
    for step in range(1, 8):
        before = tables[step - 1]
        tables[step] = (before >> 8) ^ tables[0][before & 255]
    return tables


_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7 = (table.copy() for table in _tables())
_ONES = np.uint32(0xFFFFFFFF)

# Unlike `mdslib.jit.jit` this caches: nothing outside this file is reached, so its time stamp covers all that could go
# stale, and a session starts 0.4 s sooner.
_jit = numba.njit(nogil=True, cache=True)


@_jit
def record_crc(words, at):  # type: ignore[no-untyped-def]
    """Return the CRC-32 of the first 92 bytes of the record whose words start at `at`."""
    crc = _ONES
    for j in range(at, at + 22, 2):
        a = words[j] ^ crc
        b = words[j + 1]
        crc = (
            _T7[a & 255]
            ^ _T6[(a >> 8) & 255]
            ^ _T5[(a >> 16) & 255]
            ^ _T4[a >> 24]
            ^ _T3[b & 255]
            ^ _T2[(b >> 8) & 255]
            ^ _T1[(b >> 16) & 255]
            ^ _T0[b >> 24]
        )
    a = words[at + 22] ^ crc
    crc = _T3[a & 255] ^ _T2[(a >> 8) & 255] ^ _T1[(a >> 16) & 255] ^ _T0[a >> 24]
    return crc ^ _ONES


@_jit
def text_crc(text, size):  # type: ignore[no-untyped-def]
    """Return the CRC-32 of the first `size` bytes of an array of uint8."""
    crc = _ONES
    whole = size - size % 8
    for j in range(0, whole, 8):
        crc = (
            _T7[(crc ^ text[j]) & 255]
            ^ _T6[((crc >> 8) ^ text[j + 1]) & 255]
            ^ _T5[((crc >> 16) ^ text[j + 2]) & 255]
            ^ _T4[(crc >> 24) ^ text[j + 3]]
            ^ _T3[text[j + 4]]
            ^ _T2[text[j + 5]]
            ^ _T1[text[j + 6]]
            ^ _T0[text[j + 7]]
        )
    for j in range(whole, size):
        crc = _T0[(crc ^ text[j]) & 255] ^ (crc >> 8)
    return crc ^ _ONES


@_jit
def stamp(words, first_seq):  # type: ignore[no-untyped-def]
    """Write sequence and CRC into every record, in place; `words` is the records seen as uint32."""
    for i in range(words.shape[0] // WORDS):
        at = i * WORDS
        seq = first_seq + i
        words[at] = np.uint32(seq & 0xFFFFFFFF)
        words[at + 1] = np.uint32(seq >> 32)
        words[at + 23] = record_crc(words, at)


@_jit
def first_bad(words, first_seq):  # type: ignore[no-untyped-def]
    """Return the index of the first record with a wrong CRC or sequence, or -1."""
    for i in range(words.shape[0] // WORDS):
        at = i * WORDS
        seq = np.int64(words[at]) | (np.int64(words[at + 1]) << 32)
        if seq != first_seq + i or words[at + 23] != record_crc(words, at):
            return i
    return -1


def direct_stamp() -> Callable[[np.ndarray[tuple[int], np.dtype[np.uint32]], int], None]:
    """Return `stamp` compiled, or loaded, for writable words; a call of it skips the look at the arguments' types."""
    nothing = np.zeros(0, np.uint32)
    stamp(nothing, 0)
    return direct(stamp, nothing, 0)
