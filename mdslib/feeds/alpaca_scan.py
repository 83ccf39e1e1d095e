"""The compiled fast path of `alpaca_decode`: one pass over a frame's bytes, straight into records.

It reads arrays of flat trade, quote and bar maps exactly as Alpaca writes them: no blanks, ``T`` first, ``S`` before
the sizes. Whatever it does not fully understand (an escape, an exponent, a sign, another type, an unknown symbol, a key
twice, a cut frame) makes it answer -1, and the whole frame goes through the slow path, which is the oracle. So it may
be strict, but must never be wrong.

Bounds: the caller's frame ends with ``]``, so every loop over digits stops inside; loops over strings check. All of it
stays in one file, because numba's file cache notices an edit only in the file of the function that it keeps.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload
from numba.np.numpy_support import as_dtype

from mdslib.events import Kind

# A leaf: it captures nothing that a user edits, so numba's file cache can't serve stale code here. `nogil` lets the
# deciding thread run while a large frame is read.
_jit = numba.njit(nogil=True, cache=True, error_model="numpy")
_inline = numba.njit(nogil=True, cache=True, error_model="numpy", forceinline=True)

_POW_INT = np.array([10**k for k in range(19)], np.int64)
_POW_FLOAT = np.array([10.0**k for k in range(23)])  # each is exact, so one division rounds correctly
_TRADE, _QUOTE, _BAR = int(Kind.TRADE), int(Kind.QUOTE), int(Kind.BAR)
_MINUTE = 60_000_000_000
_MOST = np.array([(2**63 - 1) // 10**k for k in range(19)], np.int64)  # what may still be multiplied by 10**k


def _borrow(array: Any) -> Any:
    """Return the array without its reference count.

    Compiled helpers that take an array count a reference up and down at every call, with a locked instruction: that was
    two thirds of the scanner's time. `scan` owns its arguments for as long as it runs, so it lends bare views.
    """
    return array


@intrinsic  # type: ignore[misc, unused-ignore]
def _pointer(context: Any, address: Any) -> Any:
    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], target.get_value_type(types.voidptr))

    return types.voidptr(types.uintp), generate


_carray: Any = numba.carray  # type: ignore[attr-defined, unused-ignore]
_address: Any = _pointer  # compiled code passes the first parameter itself


@overload(_borrow)  # type: ignore[misc, unused-ignore]
def _borrow_compiled(array: Any) -> Any:
    dtype = as_dtype(array.dtype)

    def view(array: Any) -> Any:
        return _carray(_address(array.ctypes.data), array.shape, dtype)

    return view


HEAD = 4  # words before the symbol table: mask, then the counts of t, q and b
SYMBOL = 4  # words a symbol: its bytes 0-7, its bytes 8-15, index + 1 (0: empty), decimal places of its lot
# After the symbols, where a decoder leaves doubles out: how many it has, then trades and bars that came lately. Of
# each what tells it apart (its id; a bar's close), who it is of, its time, its size. A slot has room for two, the later
# one first, since two of one slot are often in one long frame; a third one pushes the oldest out.
SEEN, SLOTS = 8, 8_192


@_inline
def _byte(buf: Any, at: int) -> Any:
    return np.int64(buf[np.uint64(at)])  # an unsigned index spares the check for one that counts from the end


@_inline
def _slot(low: int, high: int, mask: int) -> int:
    mixed = low ^ high
    mixed ^= mixed >> 32
    mixed ^= mixed >> 16
    mixed ^= mixed >> 8
    return mixed & mask


@_jit
def add_symbol(table: Any, low: int, high: int, index: int, places: int) -> None:
    """Write one symbol into the open-addressing table."""
    at = _slot(low, high, table[0])
    while table[HEAD + SYMBOL * at + 2]:
        at = (at + 1) & table[0]
    row = HEAD + SYMBOL * at
    table[row], table[row + 1], table[row + 2], table[row + 3] = low, high, index + 1, places


@_jit
def _find(table: Any, low: int, high: int) -> int:
    """Return the word where the symbol's row starts, or -1."""
    at = _slot(low, high, table[0])
    while True:
        row = HEAD + SYMBOL * at
        if table[row + 2] == 0:
            return -1
        if table[row] == low and table[row + 1] == high:
            return row
        at = (at + 1) & table[0]


@_inline
def _string(buf: Any, at: int) -> int:
    """Return the place after the closing quote of the plain ASCII string whose first letter is at `at`, or -1."""
    end = buf.size
    while at < end:
        byte = _byte(buf, at)
        if byte == 34:
            return at + 1
        if byte < 32 or byte == 92 or byte > 126:
            return -1
        at += 1
    return -1


@_inline
def _number(buf: Any, at: int) -> tuple[int, int, int]:
    """Return (mantissa, decimal places, next place) of a plain non-negative decimal; next place -1 if it is not one."""
    start = at
    mantissa = 0
    digit = _byte(buf, at) - 48
    while 0 <= digit <= 9:
        if at - start == 18:  # one more could pass 2**63
            return mantissa, 0, -1
        mantissa = mantissa * 10 + digit
        at += 1
        digit = _byte(buf, at) - 48
    digits = at - start
    if digits == 0 or (digits > 1 and _byte(buf, start) == 48):
        return mantissa, 0, -1
    places = 0
    if _byte(buf, at) == 46:
        at += 1
        point = at
        digit = _byte(buf, at) - 48
        while 0 <= digit <= 9:
            if at - start == 19:
                return mantissa, 0, -1
            mantissa = mantissa * 10 + digit
            at += 1
            digit = _byte(buf, at) - 48
        places = at - point
        if places == 0:
            return mantissa, 0, -1
    if _byte(buf, at) == 69 or _byte(buf, at) == 101:
        return mantissa, 0, -1
    return mantissa, places, at


@_inline
def _two(buf: Any, at: int) -> int:
    """Return the number that two digits make, or a negative one."""
    high: int = _byte(buf, at) - 48
    low: int = _byte(buf, at + 1) - 48
    if high < 0 or high > 9 or low < 0 or low > 9:
        return -10_000
    return high * 10 + low


@_inline
def _days(year: int, month: int, day: int) -> int:
    """Return days since 1970-01-01, or -1 for no such day (Howard Hinnant's days_from_civil)."""
    if year < 1970 or year > 2261 or month < 1 or month > 12 or day < 1:
        return -1
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    length = 31
    if month == 2:
        length = 29 if leap else 28
    elif month == 4 or month == 6 or month == 9 or month == 11:
        length = 30
    if day > length:
        return -1
    shifted = year - (1 if month <= 2 else 0)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@_inline
def _time(buf: Any, at: int) -> tuple[int, int]:
    """Return (ns, place after the closing quote) of ``2026-01-05T14:31:00.123456789Z"``; place -1 if it is not one."""
    if at + 21 > buf.size or _byte(buf, at + 4) != 45 or _byte(buf, at + 7) != 45 or _byte(buf, at + 10) != 84:
        return 0, -1
    if _byte(buf, at + 13) != 58 or _byte(buf, at + 16) != 58:
        return 0, -1
    days = _days(_two(buf, at) * 100 + _two(buf, at + 2), _two(buf, at + 5), _two(buf, at + 8))
    hour, minute, second = _two(buf, at + 11), _two(buf, at + 14), _two(buf, at + 17)
    if days < 0 or hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return 0, -1
    at += 19
    fraction = 0
    if _byte(buf, at) == 46:
        at += 1
        start = at
        digit = _byte(buf, at) - 48
        while 0 <= digit <= 9 and at - start < 9:
            fraction = fraction * 10 + digit
            at += 1
            digit = _byte(buf, at) - 48
        digits = at - start
        if digits == 0:
            return 0, -1
        fraction *= _POW_INT[9 - digits]
    if _byte(buf, at) != 90 or _byte(buf, at + 1) != 34:
        return 0, -1
    return (days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000_000_000 + fraction, at + 2


@_inline
def _letters(buf: Any, at: int) -> tuple[int, int]:
    """Return (first letters of up to four strings, place after the bracket); place -1 if it is no array of strings."""
    packed = 0
    place = 0
    if _byte(buf, at) == 93:
        return packed, at + 1
    while True:
        if _byte(buf, at) != 34:
            return packed, -1
        letter = _byte(buf, at + 1)
        if place < 4 and letter != 34:
            packed |= letter << (8 * place)
        place += 1
        at = _string(buf, at + 1)
        if at < 0:
            return packed, -1
        if _byte(buf, at) == 93:
            return packed, at + 1
        if _byte(buf, at) != 44:
            return packed, -1
        at += 1


@_inline
def _symbol(buf: Any, at: int, table: Any) -> tuple[int, int]:
    """Return (word of the symbol's row or -1, place after the closing quote)."""
    low, high = 0, 0
    place = 0
    while True:
        byte = _byte(buf, at)
        at += 1
        if byte == 34:
            return _find(table, low, high), at
        if byte < 32 or byte == 92 or byte > 126 or place >= 16 or at >= buf.size:
            return -1, at
        if place < 8:
            low |= byte << (8 * place)
        else:
            high |= byte << (8 * (place - 8))
        place += 1


@_inline
def _blank(record: Any, kind: int, ts_init: int) -> None:
    """Write every field, since the block is reused after a frame that was given up halfway."""
    record.seq = 0
    record.ts_event = 0
    record.ts_init = ts_init
    record.kind = kind
    record.flag = 0
    record.instrument = 0
    record.code = 0
    record.f0 = 0.0
    record.f1 = 0.0
    record.f2 = 0.0
    record.f3 = 0.0
    record.f4 = math.nan if kind == _BAR else 0.0  # a bar without a vwap has none
    record.i0 = 0
    record.i1 = 0
    record.side = 0
    record.crc = 0


# What a key means: text keys, then the slot of a number and how to convert it. One bit each marks the keys seen.
_SYMBOL, _TIME, _EXCHANGE, _LETTERS = 1, 2, 3, 4
_PRICE, _SIZE, _COUNT = 8, 16, 24  # + slot


@_inline
def _meaning(kind: int, key: int) -> int:
    """Return what a key of this kind of message means, or 0 for one that nobody reads."""
    if key == 83:  # S
        return _SYMBOL
    if key == 116:  # t
        return _TIME
    if kind == _TRADE:
        return _meaning_in_trade(key)
    if kind == _QUOTE:
        return _meaning_in_quote(key)
    return _meaning_in_bar(key)


@_inline
def _meaning_in_trade(key: int) -> int:
    if key == 112:  # p
        return _PRICE
    if key == 115:  # s
        return _SIZE
    if key == 105:  # i
        return _COUNT + 1
    if key == 120:  # x
        return _EXCHANGE
    if key == 99:  # c
        return _LETTERS
    return 0


@_inline
def _meaning_in_quote(key: int) -> int:
    if key == 28_770:  # bp
        return _PRICE
    if key == 28_769:  # ap
        return _PRICE + 1
    if key == 29_538:  # bs
        return _SIZE
    if key == 29_537:  # as
        return _SIZE + 1
    if key == 99:  # c
        return _LETTERS
    return 0


@_inline
def _meaning_in_bar(key: int) -> int:
    if key == 111:  # o
        return _PRICE
    if key == 104:  # h
        return _PRICE + 1
    if key == 108:  # l
        return _PRICE + 2
    if key == 99:  # c
        return _PRICE + 3
    if key == 30_582:  # vw
        return _PRICE + 4
    if key == 118:  # v
        return _SIZE
    if key == 110:  # n
        return _COUNT + 1
    return 0


@_inline
def _put(record: Any, meaning: int, mantissa: int, places: int, lot_places: int) -> bool:
    """Convert a number and write it into its slot; False if that can't be done exactly."""
    slot, form = meaning & 7, meaning & 24
    if form == _PRICE:
        price = float(mantissa)
        if places:
            if mantissa > 9_007_199_254_740_992:
                return False
            price = price / _POW_FLOAT[places]
        if slot == 0:
            record.f0 = price
        elif slot == 1:
            record.f1 = price
        elif slot == 2:
            record.f2 = price
        elif slot == 3:
            record.f3 = price
        else:
            record.f4 = price
        return True
    count = mantissa
    if form == _SIZE:
        shift = lot_places - places
        if shift < 0 or mantissa > _MOST[shift]:
            return False
        count = mantissa * _POW_INT[shift]
    elif places:
        return False
    if slot == 0:
        record.i0 = count
    else:
        record.i1 = count
    return True


# The keys that a message must have: S, t, and its prices and sizes. Those the slow path gives a default are left out.
_NEED = 1 << _SYMBOL | 1 << _TIME
_NEED_TRADE = _NEED | 1 << _PRICE | 1 << _SIZE
_NEED_QUOTE = _NEED | 3 << _PRICE | 3 << _SIZE
_NEED_BAR = _NEED | 15 << _PRICE | 1 << _SIZE


@_inline
def _value(buf: Any, at: int, table: Any, record: Any, kind: int, meaning: int, row: int) -> tuple[int, int]:
    """Read one value; return (place after it or -1, word of the symbol's row)."""
    byte = _byte(buf, at)
    if byte == 34:
        if meaning == _TIME:
            ns, at = _time(buf, at + 1)
            record.ts_event = ns + _MINUTE if kind == _BAR else ns
            return at, row
        if meaning == _SYMBOL:
            row, at = _symbol(buf, at + 1, table)
            if row < 0:
                return -1, row
            record.instrument = table[row + 2] - 1
            return at, row
        if meaning >= _LETTERS:
            return -1, row
        letter = _byte(buf, at + 1)
        if meaning == _EXCHANGE and letter != 34:
            record.flag = letter
        return _string(buf, at + 1), row
    if byte == 91:
        if meaning != _LETTERS:
            return -1, row
        letters, at = _letters(buf, at + 1)
        if kind == _TRADE:
            record.code = letters
        return at, row
    mantissa, places, at = _number(buf, at)
    if at < 0 or (0 < meaning < _PRICE):
        return -1, row
    if meaning and (row < 0 or not _put(record, meaning, mantissa, places, table[row + 3])):
        return -1, row
    return at, row


@_inline
def _finish(record: Any, kind: int, seen: int) -> bool:
    """Check that nothing is missing, and mark the empty sides of a quote."""
    if kind == _QUOTE:
        if record.f0 == 0.0:
            record.f0 = np.nan
            record.i0 = 0
        if record.f1 == 0.0:
            record.f1 = np.nan
            record.i1 = 0
        return seen & _NEED_QUOTE == _NEED_QUOTE
    need = _NEED_TRADE if kind == _TRADE else _NEED_BAR
    return seen & need == need


@_inline
def _plain(byte: int) -> bool:
    return 32 < byte < 127 and byte != 34 and byte != 92


@_inline
def _message(buf: Any, at: int, table: Any, record: Any, ts_init: int) -> int:
    """Read one map that starts at its brace; return the place after it, or -1."""
    end = buf.size
    # {"T":"t" with its letter at at + 6
    if (
        at + 9 > end
        or _byte(buf, at) != 123
        or _byte(buf, at + 1) != 34
        or _byte(buf, at + 2) != 84
        or _byte(buf, at + 3) != 34
        or _byte(buf, at + 4) != 58
    ):
        return -1
    if _byte(buf, at + 5) != 34 or _byte(buf, at + 7) != 34:
        return -1
    letter = _byte(buf, at + 6)
    kind = _TRADE if letter == 116 else _QUOTE if letter == 113 else _BAR if letter == 98 else 0
    if kind == 0:
        return -1
    _blank(record, kind, ts_init)
    at += 8
    row, seen = -1, 0
    while True:
        if at >= end:
            return -1
        if _byte(buf, at) == 125:
            return at + 1 if _finish(record, kind, seen) else -1
        if at + 8 > end or _byte(buf, at) != 44 or _byte(buf, at + 1) != 34:
            return -1
        # A key of one or two letters: "p": or "bp":
        key = _byte(buf, at + 2)
        if _byte(buf, at + 3) == 34:
            at += 4
        elif _byte(buf, at + 4) == 34:
            key |= _byte(buf, at + 3) << 8
            at += 5
        else:
            return -1
        if key == 84 or not _plain(key & 255) or (key > 255 and not _plain(key >> 8)) or _byte(buf, at) != 58:
            return -1
        meaning = _meaning(kind, key)
        if meaning and seen >> meaning & 1:
            return -1
        seen |= 1 << meaning
        at, row = _value(buf, at + 1, table, record, kind, meaning, row)
        if at < 0:
            return -1


@_jit
def scan(text: Any, state: Any, block: Any, first: int, ts_init: int, frames: int) -> int:
    """Read frames, each but the last followed by a line feed, into ``block[first:]``.

    A line feed stands nowhere in what is read here, so it can't be part of a frame: `frames` of them, or none.

    Returns
    -------
    int
        The number of records, or -1 if the slow path must read the frames.
    """
    buf, table, out = _borrow(text), _borrow(state), _borrow(block)
    end = buf.size
    if end < 3 or _byte(buf, 0) != 91 or _byte(buf, end - 1) != 93:
        return -1
    at, row = 1, first
    trades, quotes = 0, 0
    while True:
        if row >= out.size:
            return -1
        at = _message(buf, at, table, out[row], ts_init)
        if at < 0 or at >= end:
            return -1
        trades += out[row].kind == _TRADE
        quotes += out[row].kind == _QUOTE
        row += 1
        byte = _byte(buf, at)
        if byte == 93:
            frames -= 1
            if at == end - 1:
                break
            if at + 2 >= end or _byte(buf, at + 1) != 10 or _byte(buf, at + 2) != 91:
                return -1
            at += 2
        elif byte != 44:
            return -1
        at += 1
    if frames != 0:
        return -1
    table[1] += trades
    table[2] += quotes
    table[3] += row - first - trades - quotes
    return _without_doubles(out, table, first, row)


@_inline
def _without_doubles(out: Any, table: Any, first: int, end: int) -> int:
    """Close up over trades and bars that came before; return how many records are left. See `SEEN`."""
    seen = HEAD + SYMBOL * (table[0] + 1)
    if table.size <= seen:
        return end - first
    to = first
    for row in range(first, end):
        r = out[row]
        number = r.i1 if r.kind == _TRADE else r.ts_event if r.kind == _BAR else 0
        if number != 0:
            who = np.int64(r.instrument) * 1024 + np.int64(r.flag) * 4 + np.int64(r.kind)
            mixed = ((number ^ (number >> 14)) & 0xFFFF_FFFF) * 40_503 + who * 7_919
            at = seen + 1 + SEEN * ((mixed ^ (mixed >> 13)) & (SLOTS - 1))
            twice = False
            for way in (at, at + 4):
                same = table[way] == number and table[way + 1] == who
                twice |= same and table[way + 2] == r.ts_event and table[way + 3] == r.i0
            if twice:
                table[seen] += 1
                continue
            for word in range(at, at + 4):
                table[word + 4] = table[word]
            table[at], table[at + 1], table[at + 2], table[at + 3] = number, who, r.ts_event, r.i0
        if to != row:
            out[to] = out[row]
        to += 1
    return to - first


@_jit
def without_doubles(block: Any, state: Any) -> int:
    """Do for records that the slow path has read what `scan` does for its own."""
    out, table = _borrow(block), _borrow(state)
    return _without_doubles(out, table, 0, out.size)
