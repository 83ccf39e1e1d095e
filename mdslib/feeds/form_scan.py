"""The compiled reader of forms: one pass over a frame's bytes along a form's steps; see `mdslib.feeds.form`.

Bounds: a frame ends with a brace or a bracket, so every loop over digits stops inside; the others look at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import numba
import numpy as np

from mdslib.events import BookFlag, Kind
from mdslib.feeds import alpaca_scan
from mdslib.feeds.alpaca_scan import (
    _MOST,
    _POW_FLOAT,
    _POW_INT,
    HEAD,
    SYMBOL,
    _byte,
    _find,
    _jit,
    _string,
    _symbol,
    _time,
    add_symbol,
)
from mdslib.jit import borrow, compiling

F = TypeVar("F", bound=Callable[..., Any])
_njit: Any = numba.njit  # its annotations leave out some of its options


def inner(function: F) -> F:
    """Compile what only compiled code calls: without the wrapper that Python would call by, and a cache of its own."""
    compiled: F = _njit(
        nogil=True, error_model="numpy", forceinline=True, no_cfunc_wrapper=True, no_cpython_wrapper=True
    )(function)
    return compiled


# Steps of a program.
END, TEXT, ROWS, ROW, AGAIN, IF, WHICH, BIDS, ASKS = 0, 1, 2, 3, 4, 5, 6, 7, 8
PRICE, SIZE, AMOUNT, COUNT, ID, TIME, SECONDS, MS = 9, 10, 11, 12, 13, 14, 15, 16
PAIR, CHANNEL, SEQUENCE, CHECKSUM, DEPTH, SKIP, WORD, FLAT = 17, 18, 19, 20, 21, 22, 23, 24
# Words of `found`; -1 stands for what the frame did not say.
ROWS_FOUND, PLACE, AT, CHECK, NUMBER, ON, LEVELS, OURS, COUNTED = 0, 1, 2, 3, 4, 5, 6, 7, 8
COUNTS = 9  # from here on, for each place and in it for each form: messages, levels, right checksums
# Columns of `spans`.
PRICE_FROM, PRICE_TO, PRICE_PLACES, SIZE_FROM, SIZE_TO, SIZE_PLACES = 0, 1, 2, 3, 4, 5

FINEST = 18  # decimal places of the smallest lot
_EXACT = 2**53
_NAN = math.nan
_DELTA = int(Kind.BOOK_DELTA)
_IMAGE, _CLEAR, _LAST, _CHECKSUM = map(int, (BookFlag.SNAPSHOT, BookFlag.CLEAR, BookFlag.LAST, BookFlag.CHECKSUM))
_NO_SIZE = -1


def _make_bytes_of() -> Any:
    from numba.core import types
    from numba.extending import intrinsic
    from numba.np.arrayobj import populate_array

    populate: Any = populate_array
    kind = types.Array(types.uint8, 1, "C", readonly=True)

    @intrinsic
    def bytes_of(_typing: Any, data: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            source = context.make_array(signature.args[0])(context, builder, args[0])
            view = context.make_array(kind)(context, builder)
            parts = {name: getattr(source, name) for name in ("data", "shape", "strides", "itemsize")}
            populate(view, **parts, meminfo=None)
            return view._getvalue()

        return kind(data), codegen

    return bytes_of


def _as_array(data: bytes) -> Any:
    return np.frombuffer(data, np.uint8)


# A frame's bytes as an array whose references nobody counts: the caller keeps the frame.
bytes_of = _make_bytes_of() if compiling() else _as_array


@inner
def _decimal(buf: Any, at: int) -> tuple[int, int, int]:
    """Return (mantissa, decimal places, next place) of a decimal that is not negative; next place -1 if it is none.

    It may end with an exponent that is negative, as venues write small prices: 2.5e-7.
    """
    start = at
    mantissa = 0
    digit = _byte(buf, at) - 48
    while 0 <= digit <= 9 and at - start < 18:
        mantissa = mantissa * 10 + digit
        at += 1
        digit = _byte(buf, at) - 48
    digits = at - start
    if digits == 0 or 0 <= digit <= 9 or (digits > 1 and _byte(buf, start) == 48):
        return mantissa, 0, -1
    places = 0
    if digit == -2:  # a point
        at += 1
        point = at
        digit = _byte(buf, at) - 48
        while 0 <= digit <= 9 and at - start < 19:
            mantissa = mantissa * 10 + digit
            at += 1
            digit = _byte(buf, at) - 48
        places = at - point
        if places == 0 or 0 <= digit <= 9:  # a nineteenth digit could pass 2**63
            return mantissa, 0, -1
    if _byte(buf, at) | 32 != 101:
        return mantissa, places, at
    if _byte(buf, at + 1) != 45:
        return mantissa, 0, -1
    at += 2
    digit = _byte(buf, at) - 48
    if digit < 1 or digit > 9:
        return mantissa, 0, -1
    exponent = digit
    at += 1
    digit = _byte(buf, at) - 48
    while 0 <= digit <= 9 and exponent <= FINEST:
        exponent = exponent * 10 + digit
        at += 1
        digit = _byte(buf, at) - 48
    if places + exponent > FINEST:
        return mantissa, 0, -1
    return mantissa, places + exponent, at


@inner
def _flat(buf: Any, at: int) -> int:
    """Return the place of the brace that ends an object of plain texts and numbers whose inside is at `at`, or -1."""
    quotes = 0
    while at < buf.size:
        byte: int = _byte(buf, at)
        if byte == 125 and quotes % 2 == 0:
            return at
        if byte < 32 or byte == 92 or byte > 126 or byte == 123 or byte == 91:
            return -1
        quotes += byte == 34
        at += 1
    return -1


@inner
def _blank(record: Any, flag: int, size: int, ts_init: int) -> None:
    """Write every field, since the block is used again and again."""
    record.seq = 0
    record.ts_event = 0
    record.ts_init = ts_init
    record.kind = _DELTA
    record.flag = flag
    record.instrument = 0
    record.code = 0
    record.f0 = _NAN
    record.f1 = _NAN
    record.f2 = 0.0
    record.f3 = 0.0
    record.f4 = 0.0
    record.i0 = size
    record.i1 = 0
    record.side = 0
    record.crc = 0


@inner
def _text(buf: Any, at: int, steps: Any, pc: int) -> int:
    """Return the place after the text whose length and bytes are at `pc`, or -1."""
    size = steps[pc]
    if at + size > buf.size:
        return -1
    for i in range(size):
        if _byte(buf, at + i) != steps[pc + 1 + i]:
            return -1
    return int(at + size)


@inner
def _which(buf: Any, at: int, steps: Any, pc: int) -> tuple[int, int]:
    """Return the side that a word names, and the place after the word or -1."""
    for side in range(2):
        size = steps[pc + side]
        words = pc + 2 + (steps[pc] if side else 0)
        same = at + size < buf.size
        for i in range(size):
            if not same or _byte(buf, at + i) != steps[words + i]:
                same = False
                break
        if same:
            return side, at + size
    return 0, -1


@inner
def _in_row(op: int, record: Any, span: Any, start: int, end: int, mantissa: int, places: int) -> bool:
    """Keep a number of a level; False if it can't be kept exactly."""
    if op == PRICE:
        span[PRICE_FROM], span[PRICE_TO], span[PRICE_PLACES] = start, end, places
        while mantissa > _EXACT and places and mantissa % 10 == 0:
            mantissa //= 10
            places -= 1
        record.f0 = float(mantissa) / _POW_FLOAT[places]  # both are exact, so one division rounds correctly
        return bool(mantissa <= _EXACT)
    if op in (SIZE, AMOUNT):
        record.i0 = mantissa
        span[SIZE_FROM], span[SIZE_TO], span[SIZE_PLACES] = start, end, places
        return True
    if places:
        return False
    if op == COUNT:
        record.f1 = float(mantissa)
    else:
        record.seq = mantissa
    return True


@inner
def _in_frame(op: int, found: Any, mantissa: int, places: int) -> bool:
    """Keep a number of the whole frame; False if it can't be kept exactly."""
    if op == SECONDS:
        if places > 9 or mantissa == 0 or mantissa > _MOST[9 - places]:
            return False
        found[AT] = max(found[AT], mantissa * _POW_INT[9 - places])
        return True
    if places:
        return False
    if op == MS:
        if mantissa > _MOST[6]:
            return False
        found[AT] = max(found[AT], mantissa * 1_000_000)
    elif op == SEQUENCE:
        found[NUMBER] = mantissa
    elif op == CHECKSUM:
        found[CHECK] = mantissa
        return mantissa < 2**32
    elif op == DEPTH:
        found[LEVELS] = mantissa
    elif op == CHANNEL:
        found[ON] = mantissa
    return True


@inner
def _size(record: Any, places: int, lot_places: int) -> bool:
    """Turn a level's size into lots; False if that can't be done exactly."""
    size = record.i0
    if record.f1 == 0.0 or size == _NO_SIZE:
        record.i0 = 0
        return True
    if record.f1 > 0.0 and size == 0:
        return False
    shift = lot_places - places
    if shift >= 0:
        if size > _MOST[shift]:
            return False
        record.i0 = size * _POW_INT[shift]
        return True
    record.i0 = size // _POW_INT[-shift]
    return bool(record.i0 * _POW_INT[-shift] == size)


@inner
def _finish(block: Any, spans: Any, symbols: Any, found: Any, who: int, first: int, rows: int, ts_init: int) -> bool:
    """Write what is known only at the frame's end; False if a size is finer than the lot."""
    place, lot_places = symbols[who + 2] - 1, symbols[who + 3]
    time = ts_init if found[AT] < 0 else found[AT]
    for row in range(rows):
        record = block[row]
        record.ts_event = time
        record.instrument = place
        if row >= first and not _size(record, spans[row, SIZE_PLACES], lot_places):
            return False
    last = block[rows - 1]
    last.flag |= _LAST
    if found[CHECK] >= 0:
        last.flag |= _CHECKSUM
        last.code = found[CHECK]
    found[PLACE], found[AT] = place, time
    return True


@inner
def _follow(buf: Any, steps: Any, pc: int, symbols: Any, block: Any, spans: Any, found: Any, ts_init: int) -> int:
    """Hold a frame against one form; return how many records it made, or -1."""
    end = buf.size
    at, row, side, who = 0, -1, 0, -1
    first = steps[pc]  # an image begins with a record that clears the book
    image = _IMAGE if first else 0
    if first:
        row = 0
        _blank(block[0], _IMAGE | _CLEAR, 0, ts_init)
    for word in range(PLACE, COUNTED):
        found[word] = -1
    pc += 1
    while True:
        op = steps[pc]
        if op == TEXT:
            at = _text(buf, at, steps, pc + 1)
            if at < 0:
                return -1
            pc += 2 + steps[pc + 1]
            continue
        if op == END:
            break
        if at >= end:
            return -1
        if op == IF:
            pc = pc + 2 if _text(buf, at, steps, pc + 3) >= 0 else steps[pc + 1]
            continue
        if op == ROWS:
            pc = steps[pc + 1] if _byte(buf, at) == 93 else pc + 2
            continue
        if op == AGAIN:
            if _byte(buf, at) == 44:
                at += 1
                pc = steps[pc + 1]
            else:
                pc += 2
            continue
        if op == WHICH:
            side, at = _which(buf, at, steps, pc + 1)
            if at < 0:
                return -1
            block[row].flag = image | side
            pc += 3 + steps[pc + 1] + steps[pc + 2]
            continue
        pc += 1
        if op == ROW:
            row += 1
            if row >= block.size:
                return -1
            _blank(block[row], image | side, _NO_SIZE, ts_init)
        elif op == BIDS:
            side = 0
        elif op == ASKS:
            side = 1
        elif op == PAIR:
            word, at = _symbol(buf, at, symbols)
            if word < 0 or (who >= 0 and who != word):
                return -1
            who = word
            at -= 1
        elif op == TIME:
            time, at = _time(buf, at)
            if at < 0:
                return -1
            found[AT] = max(found[AT], time)
            at -= 1
        elif op == WORD:
            at = _string(buf, at)
            if at < 0:
                return -1
            at -= 1
        elif op == FLAT:
            at = _flat(buf, at)
            if at < 0:
                return -1
        else:
            start = at
            if op == AMOUNT and _byte(buf, at) == 45:
                at += 1
                block[row].flag = image | 1
            mantissa, places, at = _decimal(buf, at)
            if at < 0 or (at - start > 1 and op == AMOUNT and mantissa == 0 and _byte(buf, start) == 45):
                return -1
            if op <= ID:
                if not _in_row(op, block[row], spans[row], start, at, mantissa, places):
                    return -1
            elif not _in_frame(op, found, mantissa, places):
                return -1
            if op == CHANNEL:
                who = _find(symbols, mantissa, -1)
    if at != end or who < 0 or row < 0 or not _finish(block, spans, symbols, found, who, first, row + 1, ts_init):
        return -1
    return row + 1


def _compiled_with(parts: int) -> Any:
    """Return the entry point; `parts` stands for the source of what it takes from another file.

    Numba's file cache notices an edit in this file by itself, and in the value of a free variable by its key.
    """

    @_jit
    def match(text: Any, steps: Any, symbols: Any, block: Any, spans: Any, found: Any, ts_init: int) -> int:
        """Return the number of the first form that the frame is of, or -1; see `mdslib.feeds.form.FormReader`."""
        buf, steps, symbols, block = bytes_of(text), borrow(steps), borrow(symbols), borrow(block)
        spans, found = borrow(spans), borrow(found)
        if parts < 0 or buf.size < 2 or (_byte(buf, buf.size - 1) != 93 and _byte(buf, buf.size - 1) != 125):
            return -1
        for form in range(steps[0]):
            rows = _follow(buf, steps, steps[1 + form], symbols, block, spans, found, ts_init)
            if rows > 0:
                found[ROWS_FOUND] = rows
                found[COUNTED] = COUNTS + 3 * (found[PLACE] * steps[0] + form)
                found[found[COUNTED]] += 1
                found[found[COUNTED] + 1] += rows - steps[steps[1 + form]]
                return form
        return -1

    return match


match = _compiled_with(crc32(Path(alpaca_scan.__file__).read_bytes()))

__all__ = ["HEAD", "SYMBOL", "add_symbol", "match"]
