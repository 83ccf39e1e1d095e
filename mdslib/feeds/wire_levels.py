"""The kernels of `WireBook`: texts of levels in order of price, and the checksums over them.

A side's keys ascend by goodness: a bid's is its price, an ask's minus its price, so the best is the last and a change
near it moves little. A text lies in a slot; the free slots are those behind the ones in use. Kernels trust what they
are given. What they need from a frame is what `mdslib.feeds.form_scan` found in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from mdslib.events import BookFlag
from mdslib.feeds import alpaca_scan, form_scan
from mdslib.feeds.alpaca_scan import _byte, _jit
from mdslib.feeds.form_scan import (
    CHECK,
    COUNTED,
    OURS,
    PRICE_FROM,
    PRICE_PLACES,
    PRICE_TO,
    ROWS_FOUND,
    SIZE_FROM,
    SIZE_PLACES,
    SIZE_TO,
    bytes_of,
    inner,
)
from mdslib.jit import borrow
from mdslib.tape import crc
from mdslib.tape.crc import text_crc

WIDTH = 64  # bytes of a slot: the text's length, then the text
CHECKED = 10  # levels of a side that Kraken's checksum covers, whatever the depth
KRAKEN, BITFINEX = 0, 1  # how a level is written: digits without point and leading zeros, or price:amount
AS_SENT = -1  # decimal places to which a number is filled with zeros: none
# What `keep` answers; only with the first has it changed anything.
KEPT, NO_ROOM, NOT_HERE = 0, -1, -2

_LAST, _CHECKSUM = int(BookFlag.LAST), int(BookFlag.CHECKSUM)


class Levels(NamedTuple):
    """A book's arrays; side 0 is bids, side 1 asks.

    Attributes
    ----------
    key : array of float64, shape (2, capacity)
        Ascending by goodness.
    slot : array of int64, shape (2, capacity)
        Where each key's text is; behind them the free slots.
    text : array of uint8, shape (2, capacity, WIDTH)
        Length, then bytes.
    count : array of int64, shape (2,)
        Levels of each side.
    joined : array of uint8
        Where the best levels' texts are put together for their checksum.
    """

    key: Any
    slot: Any
    text: Any
    count: Any
    joined: Any


def empty(capacity: int) -> Levels:
    """Return the arrays of an empty book."""
    slots = np.tile(np.arange(capacity, dtype=np.int64), (2, 1))
    text, joined = np.zeros((2, capacity, WIDTH), np.uint8), np.zeros(2 * CHECKED * WIDTH, np.uint8)
    return Levels(np.zeros((2, capacity)), slots, text, np.zeros(2, np.int64), joined)


def larger(book: Levels) -> Levels:
    """Return the same book with twice the room."""
    capacity = book.key.shape[1]
    more = empty(2 * capacity)
    more.key[:, :capacity], more.slot[:, :capacity] = book.key, book.slot
    more.text[:, :capacity], more.count[:] = book.text, book.count
    return more


@inner
def _place(book: Levels, side: int, key: float) -> int:
    """Return how many keys of the side are worse."""
    low, high = 0, book.count[side]
    while low < high:
        middle = (low + high) // 2
        if book.key[side, middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@inner
def _slot_of(book: Levels, side: int, price: float) -> int:
    """Return the slot of a level's text; a new level gets one."""
    key = -price if side else price
    count = book.count[side]
    at = _place(book, side, key)
    if at < count and book.key[side, at] == key:
        return int(book.slot[side, at])
    free = book.slot[side, count]
    for i in range(count, at, -1):
        book.key[side, i] = book.key[side, i - 1]
        book.slot[side, i] = book.slot[side, i - 1]
    book.key[side, at], book.slot[side, at] = key, free
    book.count[side] = count + 1
    return int(free)


@inner
def _drop_at(book: Levels, side: int, at: int) -> None:
    count = book.count[side] - 1
    free = book.slot[side, at]
    for i in range(at, count):
        book.key[side, i] = book.key[side, i + 1]
        book.slot[side, i] = book.slot[side, i + 1]
    book.slot[side, count] = free
    book.count[side] = count


@inner
def _drop(book: Levels, side: int, price: float) -> bool:
    key = -price if side else price
    at = _place(book, side, key)
    if at == book.count[side] or book.key[side, at] != key:
        return False
    _drop_at(book, side, at)
    return True


@inner
def _digits(buf: Any, start: int, end: int, zeros: int, text: Any, at: int) -> int:
    """Write a number's digits, then zeros, without its point and leading zeros; return the place behind them."""
    leading = True
    for i in range(start, end):
        byte = _byte(buf, i)
        if byte != 46 and not (leading and byte == 48):
            leading = False
            text[at] = byte
            at += 1
    for _ in range(zeros):
        text[at] = 48
        at += 1
    return at


@inner
def _exponent(buf: Any, start: int, end: int) -> bool:
    found = False
    for i in range(start, end):
        found |= _byte(buf, i) > 57
    return found


@inner
def _fits(record: Any, buf: Any, span: Any, style: int, price_places: int, size_places: int) -> bool:
    """Tell whether a level's text can be written here."""
    if style == KRAKEN and (
        _exponent(buf, span[PRICE_FROM], span[PRICE_TO]) or _exponent(buf, span[SIZE_FROM], span[SIZE_TO])
    ):
        return False
    size = span[PRICE_TO] - span[PRICE_FROM] + 1 + span[SIZE_TO] - span[SIZE_FROM]
    if price_places >= 0:
        if span[PRICE_PLACES] > price_places or span[SIZE_PLACES] > size_places or record.f0 == 0.0:
            return False
        size += price_places + size_places
    return bool(size < WIDTH)


@inner
def _write(buf: Any, span: Any, style: int, price_places: int, size_places: int, text: Any) -> None:
    at = 1
    if style == KRAKEN:
        zeros = price_places - span[PRICE_PLACES] if price_places >= 0 else 0
        at = _digits(buf, span[PRICE_FROM], span[PRICE_TO], zeros, text, at)
        zeros = size_places - span[SIZE_PLACES] if size_places >= 0 else 0
        at = _digits(buf, span[SIZE_FROM], span[SIZE_TO], zeros, text, at)
    else:
        for i in range(span[PRICE_FROM], span[PRICE_TO]):
            text[at] = _byte(buf, i)
            at += 1
        text[at] = 58
        at += 1
        for i in range(span[SIZE_FROM], span[SIZE_TO]):
            text[at] = _byte(buf, i)
            at += 1
    text[0] = at - 1


@inner
def _truncate(book: Levels, block: Any, rows: int, depth: int) -> int:
    """Delete the worst levels beyond `depth`, in the records too; return how many records there are."""
    for side in range(2):
        while book.count[side] > depth:
            key = book.key[side, 0]
            _drop_at(book, side, 0)
            before, record = block[rows - 1], block[rows]
            record.seq = 0
            record.ts_event, record.ts_init = before.ts_event, before.ts_init
            record.kind, record.instrument = before.kind, before.instrument
            record.flag = (before.flag & 254) | side
            record.code = before.code
            before.flag &= 255 ^ _LAST ^ _CHECKSUM
            before.code = 0
            record.f0 = -key if side else key
            record.f1 = np.nan
            record.f2, record.f3, record.f4 = 0.0, 0.0, 0.0
            record.i0, record.i1 = 0, 0
            record.side, record.crc = 0, 0
            rows += 1
    return rows


@inner
def _checksum(book: Levels) -> int:
    size = 0
    for turn in range(2):
        side = 1 - turn
        count = book.count[side]
        for back in range(min(count, CHECKED)):
            slot = book.slot[side, count - 1 - back]
            length = int(book.text[side, slot, 0])
            for i in range(length):
                book.joined[size + i] = book.text[side, slot, 1 + i]
            size += length
    return int(text_crc(book.joined, size))


@inner
def _keep(
    book: Levels, buf: Any, block: Any, spans: Any, found: Any, first: int, depth: int, style: int,
    price_places: int, size_places: int,
) -> int:  # fmt: skip
    rows = found[ROWS_FOUND]
    if max(book.count[0], book.count[1]) + rows > book.key.shape[1]:
        return NO_ROOM
    for row in range(first, rows):
        if block[row].i0 and not _fits(block[row], buf, spans[row], style, price_places, size_places):
            return NOT_HERE
    if depth > 0:
        more = max(0, book.count[0] + rows - depth) + max(0, book.count[1] + rows - depth)
        if rows + more > block.size:
            return NOT_HERE
    for row in range(first, rows):
        record = block[row]
        side = record.flag & 1
        if record.i0:
            slot = _slot_of(book, side, record.f0)
            _write(buf, spans[row], style, price_places, size_places, book.text[side, slot])
        else:
            _drop(book, side, record.f0)
    if depth > 0:
        rows = _truncate(book, block, rows, depth)
        found[found[COUNTED] + 1] += rows - found[ROWS_FOUND]
        found[ROWS_FOUND] = rows
    if style == KRAKEN and found[CHECK] >= 0:
        found[OURS] = _checksum(book)
        found[found[COUNTED] + 2] += found[OURS] == found[CHECK]
    return KEPT


@_jit
def put(book: Levels, side: int, price: float, data: Any) -> None:
    """Set the text of a level, for which there must be room."""
    book, buf = borrow(book), bytes_of(data)
    text = book.text[side, _slot_of(book, side, price)]
    text[0] = buf.size
    for i in range(buf.size):
        text[1 + i] = buf[i]


@_jit
def drop(book: Levels, side: int, price: float) -> bool:
    """Delete a level; return whether it was there."""
    return _drop(borrow(book), side, price)


@_jit
def drop_worst(book: Levels, side: int, excess: int) -> None:
    """Delete so many of the worst levels."""
    book = borrow(book)
    for _ in range(min(excess, book.count[side])):
        _drop_at(book, side, 0)


@_jit
def checksum(book: Levels) -> int:
    """Return the CRC-32 of ten asks, then ten bids, best first."""
    return _checksum(borrow(book))


def _compiled_with(parts: int) -> Any:
    """Return the entry point; `parts` as in `form_scan`."""

    @_jit
    def keep(
        book: Levels, data: Any, block: Any, spans: Any, found: Any, first: int, depth: int, style: int,
        price_places: int, size_places: int,
    ) -> int:  # fmt: skip
        """Put a frame's levels into the book, and what falls out of its depth into the records; return how it went."""
        if parts < 0:
            return NOT_HERE
        return _keep(
            borrow(book), bytes_of(data), borrow(block), borrow(spans), borrow(found), first, depth, style,
            price_places, size_places,
        )  # fmt: skip

    return keep


keep = _compiled_with(crc32(b"".join(Path(str(part.__file__)).read_bytes() for part in (alpaca_scan, form_scan, crc))))
