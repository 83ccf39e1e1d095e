"""The vocabulary: events as NamedTuples, as columns, and as fixed-size records.

Names, dtypes and units are written once, in this file. An event has three equal forms:

* a **NamedTuple** of scalars, which a strategy's step receives (`Trade`, `Quote`, `Bar`, `Timer`, `OrderUpdate`; a
  `Book` holds arrays, and is shown at the end of a venue's message, not at every delta);
* **columns**, one array a field, which research and the store use (`SCHEMAS`);
* a **record** of 96 bytes (`RECORD`), which the feed writes, the tape keeps and the live fold reads.

Times are int64 nanoseconds since 1970-01-01 UTC. Prices are floats in the instrument's currency, on its tick grid.
Sizes of market events are int64 counts of the instrument's lot; quantities of orders are signed floats in units.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import NamedTuple

import numpy as np


class Kind(IntEnum):
    """What a record is. Codes are part of the tape's format: never renumber, only append."""

    TRADE = 1
    QUOTE = 2
    BAR = 3
    TIMER = 8
    UPDATE = 9  # an order or fill update, from the broker
    INTENT = 10  # our order, written before it is sent
    DENIED = 11  # our own refusal, with the limit that spoke
    EXPIRED = 12  # a decision that was never sent
    UNKNOWN = 13  # an intent whose outcome nobody knows yet
    OPENING = 16  # one instrument's opening position, or the opening cash
    CONTROL = 17  # a person's or the program's command: halt, reduce, resume
    GAP = 18  # market events were missed
    RESYNC = 19  # the feed is whole again
    CORRECTION = 20  # the venue corrects an earlier trade
    CANCEL_ERROR = 21  # the venue cancels an earlier trade
    STATUS = 22  # trading status of an instrument (halt, resume, LULD)
    OPEN = 23  # the session opened
    CLOSE = 24  # the session closed
    FRAME = 25  # a message that is kept but not understood; its text is beside it
    FAULT = 26  # the strategy raised; trading halted
    BAR_REVISION = 27  # the venue replaces an earlier bar, after a late trade
    DAILY_BAR = 28  # the venue's running bar of the day
    BOOK_DELTA = 29  # one level of an order book has a new size; `BookFlag` says of which side and message
    START = 30  # the program began again on this tape, after a crash or a kill
    DIFFERENCE = 31  # the venue's books differ from ours: an order or a position
    CHECKPOINT = 32  # the digest of state and account after the records before it is beside it
    BACKFILL = 33  # the next so many market events were fetched after a gap, not streamed


class BookFlag(IntFlag):
    """What the flag of a BOOK_DELTA says. Part of the tape's format: never renumber, only append."""

    ASK = 1  # the level is an ask; else a bid
    LAST = 2  # the last record of its message: only now is the book the venue's, and best prices may be read
    SNAPSHOT = 4  # the level is part of a whole image
    CLEAR = 8  # no level: both sides are emptied, and the snapshot follows
    CHECKSUM = 16  # `checksum` holds what the venue sent for the book after this record


class Verb(IntEnum):
    """What one leg of an answer asks for."""

    HOLD = 0
    ORDER = 1
    TARGET = 2
    CANCEL = 3
    RELEASE = 4  # follows by itself: the second half of a flip, or the close at the end of the day


class TimeInForce(IntEnum):
    """How long an order works."""

    DAY = 0
    GTC = 1
    IOC = 2


class Status(IntEnum):
    """State of an order, by FIX's OrdStatus names."""

    PENDING_NEW = 1
    NEW = 2
    PARTIALLY_FILLED = 3
    FILLED = 4
    PENDING_CANCEL = 5
    CANCELED = 6
    REJECTED = 7
    EXPIRED = 8
    PENDING_REPLACE = 9
    REPLACED = 10
    SUSPENDED = 11
    UNKNOWN = 12  # ours: no answer came yet


TERMINAL = frozenset({Status.FILLED, Status.CANCELED, Status.REJECTED, Status.EXPIRED, Status.REPLACED})


class Trade(NamedTuple):
    """A public print.

    Attributes
    ----------
    ts_event : int
        Venue time, ns UTC.
    instrument : int
        Index of the instrument in the session's list.
    price : float
        In the instrument's currency.
    size : int
        In lots (shares, for stocks).
    trade_id : int
        The venue's id; 0 where there is none.
    exchange : int
        ASCII code of the exchange's letter; 0 where there is none.
    conditions : int
        Up to four condition letters, the first in the lowest byte; see `pack_conditions`.
    """

    ts_event: int
    instrument: int
    price: float
    size: int
    trade_id: int
    exchange: int
    conditions: int


class Quote(NamedTuple):
    """Best bid and ask; a side with no interest has price nan and size 0. Sizes in lots."""

    ts_event: int
    instrument: int
    bid: float
    ask: float
    bid_size: int
    ask_size: int


class Bar(NamedTuple):
    """Open, high, low, close of an interval, stamped at its **close** (venue bars are stamped at their start)."""

    ts_event: int
    instrument: int
    open: float
    high: float
    low: float
    close: float
    volume: int
    trades: int
    vwap: float


class Book(NamedTuple):
    """The best levels of an order book after a message of the venue; a strategy says how many it wants.

    The arrays are the loop's own: read them in the step, copy what is to be kept. All are of the length that the
    strategy asked for; beyond the book's last level a price is nan and a size 0.

    Attributes
    ----------
    ts_event : int
        Venue time of the message, ns UTC.
    instrument : int
        Index of the instrument in the session's list.
    bid, ask : array of float64, shape (depth,)
        Prices in the instrument's currency, best first.
    bid_size, ask_size : array of int64, shape (depth,)
        Sizes in lots.
    """

    ts_event: int
    instrument: int
    bid: np.ndarray
    bid_size: np.ndarray
    ask: np.ndarray
    ask_size: np.ndarray


class Timer(NamedTuple):
    """A timer of the strategy's own; `number` counts its firings in the session from 0."""

    ts_event: int
    number: int


class OrderUpdate(NamedTuple):
    """What became of one of the strategy's own orders.

    Quantities are signed: positive buys. `order` is the tape sequence of the event that the order was decided on,
    `leg` the leg of that answer; `last_qty` and `last_px` are 0 unless this update is a fill.
    """

    ts_event: int
    instrument: int
    order: int
    leg: int
    status: int
    last_qty: float
    last_px: float
    filled_qty: float
    leaves_qty: float


class Field(NamedTuple):
    """One column: its dtype, its unit, and the slot of `RECORD` that carries it."""

    dtype: str
    unit: str
    slot: str


# The record of the tape. Generic slots keep one fixed size for every kind; SCHEMAS gives each kind's names for them.
RECORD = np.dtype(
    [
        ("seq", "<i8"),
        ("ts_event", "<i8"),
        ("ts_init", "<i8"),
        ("kind", "u1"),
        ("flag", "u1"),
        ("instrument", "<u2"),
        ("code", "<u4"),
        ("f0", "<f8"),
        ("f1", "<f8"),
        ("f2", "<f8"),
        ("f3", "<f8"),
        ("f4", "<f8"),
        ("i0", "<i8"),
        ("i1", "<i8"),
        ("side", "<u4"),  # 1 + number of the side record that belongs to this one, or 0
        ("crc", "<u4"),  # CRC-32 of the 92 bytes before it
    ]
)
assert RECORD.itemsize == 96

_TIME = {"ts_event": Field("<i8", "ns UTC, venue", "ts_event"), "ts_init": Field("<i8", "ns UTC, received", "ts_init")}
_HEAD = _TIME | {"instrument": Field("<u2", "index", "instrument")}

SCHEMAS: dict[Kind, dict[str, Field]] = {
    Kind.TRADE: _HEAD
    | {
        "price": Field("<f8", "currency", "f0"),
        "size": Field("<i8", "lots", "i0"),
        "trade_id": Field("<i8", "venue id", "i1"),
        "exchange": Field("u1", "ASCII letter", "flag"),
        "conditions": Field("<u4", "4 ASCII letters", "code"),
    },
    Kind.QUOTE: _HEAD
    | {
        "bid": Field("<f8", "currency", "f0"),
        "ask": Field("<f8", "currency", "f1"),
        "bid_size": Field("<i8", "lots", "i0"),
        "ask_size": Field("<i8", "lots", "i1"),
    },
    Kind.BAR: _HEAD
    | {
        "open": Field("<f8", "currency", "f0"),
        "high": Field("<f8", "currency", "f1"),
        "low": Field("<f8", "currency", "f2"),
        "close": Field("<f8", "currency", "f3"),
        "volume": Field("<i8", "lots", "i0"),
        "trades": Field("<i8", "count", "i1"),
        "vwap": Field("<f8", "currency", "f4"),
    },
    Kind.TIMER: _TIME | {"timer": Field("u1", "index", "flag"), "number": Field("<i8", "count", "i0")},
    Kind.UPDATE: _HEAD
    | {
        "order": Field("<i8", "tape seq", "i0"),
        "leg": Field("u1", "index", "flag"),
        "status": Field("<u4", "Status", "code"),
        "last_qty": Field("<f8", "units, signed", "f0"),
        "last_px": Field("<f8", "currency", "f1"),
        "filled_qty": Field("<f8", "units, signed", "f2"),
        "leaves_qty": Field("<f8", "units, signed", "f3"),
        "fee": Field("<f8", "currency", "f4"),
        "venue_seq": Field("<i8", "count", "i1"),
    },
    Kind.INTENT: _HEAD
    | {
        "order": Field("<i8", "tape seq", "i0"),
        "leg": Field("u1", "index", "flag"),
        "code": Field("<u4", "verb + 256 * time in force", "code"),
        "qty": Field("<f8", "units, signed", "f0"),
        "limit": Field("<f8", "currency, nan: market", "f1"),
        "reference": Field("<f8", "currency", "f2"),
        "attempt": Field("<i8", "count", "i1"),
    },
    Kind.DENIED: _HEAD
    | {
        "order": Field("<i8", "tape seq", "i0"),
        "leg": Field("u1", "index", "flag"),
        "reason": Field("<u4", "Denial + 256 if the desk spoke", "code"),
        "qty": Field("<f8", "units, signed", "f0"),
        "limit": Field("<f8", "currency, nan: market", "f1"),
        "bound": Field("<f8", "the limit's value", "f2"),
        "value": Field("<f8", "the order's value", "f3"),
    },
    Kind.OPENING: _HEAD
    | {
        "position": Field("<f8", "units, signed", "f0"),
        "avg_px": Field("<f8", "currency", "f1"),
        "cash": Field("<f8", "currency", "f2"),
    },
    Kind.DIFFERENCE: _HEAD
    | {
        "order": Field("<i8", "tape seq, 0: a position", "i0"),
        "leg": Field("u1", "index", "flag"),
        "ours": Field("<f8", "units, signed", "f0"),
        "theirs": Field("<f8", "units, signed", "f1"),
    },
    Kind.CORRECTION: _HEAD
    | {
        "old_price": Field("<f8", "currency", "f0"),
        "price": Field("<f8", "currency", "f1"),
        "old_size": Field("<f8", "lots", "f2"),
        "size": Field("<f8", "lots", "f3"),
        "old_trade_id": Field("<i8", "venue id", "i0"),
        "trade_id": Field("<i8", "venue id", "i1"),
        "exchange": Field("u1", "ASCII letter", "flag"),
        "conditions": Field("<u4", "4 ASCII letters", "code"),
    },
    Kind.CANCEL_ERROR: _HEAD
    | {
        "price": Field("<f8", "currency", "f0"),
        "size": Field("<i8", "lots", "i0"),
        "trade_id": Field("<i8", "venue id", "i1"),
        "exchange": Field("u1", "ASCII letter", "flag"),
        "action": Field("<u4", "ASCII C: cancel, E: error", "code"),
    },
    Kind.STATUS: _HEAD
    | {
        "tape": Field("u1", "ASCII letter", "flag"),
        "status": Field("<u4", "ASCII letter; its meaning depends on the tape", "code"),
        "reason": Field("<i8", "7 ASCII letters", "i0"),
        "luld": Field("<i8", "1: a limit-up limit-down band, 0: a trading status", "i1"),
        "limit_up": Field("<f8", "currency, nan: none", "f0"),
        "limit_down": Field("<f8", "currency, nan: none", "f1"),
    },
}
SCHEMAS[Kind.GAP] = _HEAD | {
    "held": Field("<u4", "1: orders are held until the RESYNC", "code"),
    "since": Field("<i8", "ns UTC, last event before the hole", "i0"),
}
SCHEMAS[Kind.BACKFILL] = _HEAD | {
    "count": Field("<i8", "events that follow", "i0"),
    "doubled": Field("<i8", "events left out", "i1"),
}
SCHEMAS[Kind.RESYNC] = _HEAD | {
    "recovered": Field("<i8", "events", "i0"),
    "doubled": Field("<i8", "events left out", "i1"),
}
# Absolute: `size` replaces what was at `price`, 0 deletes. A snapshot is a CLEAR (price nan) and then its levels.
SCHEMAS[Kind.BOOK_DELTA] = _HEAD | {
    "price": Field("<f8", "currency", "f0"),
    "size": Field("<i8", "lots", "i0"),
    "orders": Field("<f8", "count, nan: not told", "f1"),
    "sequence": Field("<i8", "venue's number, 0: none", "i1"),
    "flags": Field("u1", "BookFlag", "flag"),
    "checksum": Field("<u4", "CRC-32, unsigned", "code"),
}
SCHEMAS[Kind.BAR_REVISION] = SCHEMAS[Kind.BAR]
SCHEMAS[Kind.DAILY_BAR] = SCHEMAS[Kind.BAR]  # but ts_event is the day's start, since a running day has no close yet

EVENT_TYPES: dict[Kind, type[tuple[object, ...]]] = {
    Kind.TRADE: Trade,
    Kind.QUOTE: Quote,
    Kind.BAR: Bar,
    Kind.BOOK_DELTA: Book,
    Kind.TIMER: Timer,
    Kind.UPDATE: OrderUpdate,
}


def pack_conditions(letters: list[str] | tuple[str, ...]) -> int:
    """Pack up to four one-letter conditions, the first in the lowest byte.

    Examples
    --------
    >>> hex(pack_conditions(["@", "I"]))
    '0x4940'
    >>> unpack_conditions(0x4940)
    ['@', 'I']
    """
    packed = 0
    for place, letter in enumerate(letters[:4]):
        packed |= (ord(letter[0]) & 0xFF) << (8 * place) if letter else 0
    return packed


def unpack_conditions(packed: int) -> list[str]:
    """Return the letters that `pack_conditions` packed."""
    return [chr(byte) for byte in int(packed).to_bytes(4, "little") if byte]
