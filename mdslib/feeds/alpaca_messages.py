"""The slow path of `alpaca_decode`: every message that Alpaca documents, read with msgspec, exact and with reasons.

It is the oracle of the compiled scanner, and the only reader of control messages, corrections, cancels, statuses and
order books. Source: Alpaca, "WebSocket Stream", "Real-time Stock Data" and "Real-time Crypto Data".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct, field

from mdslib.events import BookFlag, Kind, pack_conditions
from mdslib.feeds.rfc3339 import to_ns

MINUTE = 60_000_000_000
Symbols = list[str]


class Success(Struct, frozen=True):
    """``connected`` or ``authenticated``."""

    msg: str


class Refusal(Struct, frozen=True):
    """An error message of the venue."""

    code: int
    msg: str = ""


class Subscription(
    Struct,
    frozen=True,
    rename={"updated_bars": "updatedBars", "daily_bars": "dailyBars", "cancel_errors": "cancelErrors"},
):
    """The whole list of what is subscribed, never a change of it; an absent channel is empty."""

    trades: Symbols = []
    quotes: Symbols = []
    bars: Symbols = []
    updated_bars: Symbols = []
    daily_bars: Symbols = []
    statuses: Symbols = []
    lulds: Symbols = []
    corrections: Symbols = []
    cancel_errors: Symbols = []
    orderbooks: Symbols = []


Control = Success | Refusal | Subscription
CONTROLS: dict[str, type[Any]] = {"success": Success, "error": Refusal, "subscription": Subscription}


class _Head(Struct, frozen=True):
    kind: str = field(name="T")
    symbol: str = field(name="S", default="")


class _Trade(Struct, frozen=True):
    price: float = field(name="p")
    size: Decimal = field(name="s")
    time: str = field(name="t")
    trade_id: int = field(name="i", default=0)
    exchange: str = field(name="x", default="")
    conditions: list[str] | None = field(name="c", default=None)
    taker: str = field(name="tks", default="")


class _Quote(Struct, frozen=True):
    bid: float = field(name="bp")
    ask: float = field(name="ap")
    bid_size: Decimal = field(name="bs")
    ask_size: Decimal = field(name="as")
    time: str = field(name="t")


class _Bar(Struct, frozen=True):
    open: float = field(name="o")
    high: float = field(name="h")
    low: float = field(name="l")
    close: float = field(name="c")
    volume: Decimal = field(name="v")
    time: str = field(name="t")
    trades: int = field(name="n", default=0)
    vwap: float = field(name="vw", default=math.nan)


class _Correction(Struct, frozen=True):
    old_price: float = field(name="op")
    new_price: float = field(name="cp")
    old_size: Decimal = field(name="os")
    new_size: Decimal = field(name="cs")
    time: str = field(name="t")
    old_id: int = field(name="oi")
    new_id: int = field(name="ci")
    exchange: str = field(name="x", default="")
    conditions: list[str] | None = field(name="cc", default=None)


class _CancelError(Struct, frozen=True):
    price: float = field(name="p")
    size: Decimal = field(name="s")
    time: str = field(name="t")
    trade_id: int = field(name="i")
    exchange: str = field(name="x", default="")
    action: str = field(name="a", default="")


class _Status(Struct, frozen=True):
    time: str = field(name="t")
    code: str = field(name="sc", default="")
    reason: str = field(name="rc", default="")
    tape: str = field(name="z", default="")


class _Luld(Struct, frozen=True):
    time: str = field(name="t")
    up: float = field(name="u")
    down: float = field(name="d")
    indicator: str = field(name="i", default="")
    tape: str = field(name="z", default="")


class _Level(Struct, frozen=True):
    price: float = field(name="p")
    size: Decimal = field(name="s")


class _Book(Struct, frozen=True):
    time: str = field(name="t")
    bids: list[_Level] = field(name="b")
    asks: list[_Level] = field(name="a")
    image: bool = field(name="r", default=False)


class Unreadable(Exception):
    """A message that is whole but does not fit a record; it is kept as text and named."""


Row = dict[str, Any]


def _letter(text: str) -> int:
    return ord(text[0]) & 0xFF if text else 0


def _id(number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise Unreadable(f"its id {number} does not fit in 64 bits")
    return number


def _lots(size: Decimal, lot: Decimal) -> int:
    if not size.is_finite() or size < 0:
        raise ValueError(f"a size must be >= 0, received {size}")
    lots = size / lot
    if lots != lots.to_integral_value() or lots >= 2**63:
        raise Unreadable(f"its size {size} is not a whole number of lots of {lot}")
    return int(lots)


def _reason(text: str) -> int:
    """Pack up to eight letters of a reason code, the first in the lowest byte."""
    return int.from_bytes(text.encode("ascii", "replace")[:7], "little")


def _trade(m: _Trade, lot: Decimal) -> Row:
    return {
        "kind": Kind.TRADE, "ts_event": to_ns(m.time), "f0": m.price, "i0": _lots(m.size, lot), "i1": _id(m.trade_id),
        "flag": _letter(m.exchange), "code": pack_conditions(m.conditions or ([m.taker] if m.taker else [])),
    }  # fmt: skip


def _quote(m: _Quote, lot: Decimal) -> Row:
    bid_size, ask_size = _lots(m.bid_size, lot), _lots(m.ask_size, lot)
    return {
        "kind": Kind.QUOTE, "ts_event": to_ns(m.time),
        "f0": m.bid or math.nan, "f1": m.ask or math.nan,  # 0 means that the side is empty
        "i0": bid_size if m.bid else 0, "i1": ask_size if m.ask else 0,
    }  # fmt: skip


def _bar_row(kind: Kind, m: _Bar, lot: Decimal, after: int) -> Row:
    return {
        "kind": kind, "ts_event": to_ns(m.time) + after, "f0": m.open, "f1": m.high, "f2": m.low, "f3": m.close,
        "f4": m.vwap, "i0": _lots(m.volume, lot), "i1": _id(m.trades),
    }  # fmt: skip


def _bar(m: _Bar, lot: Decimal) -> Row:
    return _bar_row(Kind.BAR, m, lot, MINUTE)  # the venue stamps the start, we the close


def _updated_bar(m: _Bar, lot: Decimal) -> Row:
    return _bar_row(Kind.BAR_REVISION, m, lot, MINUTE)


def _daily_bar(m: _Bar, lot: Decimal) -> Row:
    return _bar_row(Kind.DAILY_BAR, m, lot, 0)  # a running day has no close yet: the start stays


def _correction(m: _Correction, lot: Decimal) -> Row:
    return {
        "kind": Kind.CORRECTION, "ts_event": to_ns(m.time), "f0": m.old_price, "f1": m.new_price,
        "f2": float(_lots(m.old_size, lot)), "f3": float(_lots(m.new_size, lot)),
        "i0": _id(m.old_id), "i1": _id(m.new_id),
        "flag": _letter(m.exchange), "code": pack_conditions(m.conditions or []),
    }  # fmt: skip


def _cancel_error(m: _CancelError, lot: Decimal) -> Row:
    return {
        "kind": Kind.CANCEL_ERROR, "ts_event": to_ns(m.time), "f0": m.price, "i0": _lots(m.size, lot),
        "i1": _id(m.trade_id), "flag": _letter(m.exchange), "code": _letter(m.action),
    }  # fmt: skip


def _status(m: _Status, lot: Decimal) -> Row:
    return {
        "kind": Kind.STATUS, "ts_event": to_ns(m.time), "flag": _letter(m.tape), "code": _letter(m.code),
        "i0": _reason(m.reason), "f0": math.nan, "f1": math.nan,
    }  # fmt: skip


def _luld(m: _Luld, lot: Decimal) -> Row:
    return {
        "kind": Kind.STATUS, "ts_event": to_ns(m.time), "flag": _letter(m.tape), "code": _letter(m.indicator),
        "i1": 1, "f0": m.up, "f1": m.down,
    }  # fmt: skip


def _book(m: _Book, lot: Decimal) -> list[Row]:
    """Return the levels of one message, bids first; an image begins with the CLEAR of what was there before."""
    ts, image = to_ns(m.time), BookFlag.SNAPSHOT if m.image else BookFlag(0)
    rows: list[Row] = []
    if m.image:
        rows.append({"f0": math.nan, "flag": image | BookFlag.CLEAR})
    for levels, side in ((m.bids, BookFlag(0)), (m.asks, BookFlag.ASK)):
        for level in levels:
            if not 0.0 < level.price < math.inf:
                raise ValueError(f"a level's price must be > 0, received {level.price}")
            rows.append({"f0": level.price, "i0": _book_lots(level.size, lot), "flag": side | image})
    if rows:
        rows[-1]["flag"] |= BookFlag.LAST
    return [{"kind": Kind.BOOK_DELTA, "ts_event": ts, "f1": math.nan, **row} for row in rows]


def _book_lots(size: Decimal, lot: Decimal) -> int:
    """Return a level's lots; one that can't be kept spoils the whole book, so it is no message to pass over."""
    try:
        return _lots(size, lot)
    except Unreadable as why:
        raise ValueError(f"{why}, and a book without it would be wrong") from None


_READ: dict[str, tuple[msgspec.json.Decoder[Any], Callable[[Any, Decimal], Row]]] = {
    "t": (msgspec.json.Decoder(_Trade), _trade),
    "q": (msgspec.json.Decoder(_Quote), _quote),
    "b": (msgspec.json.Decoder(_Bar), _bar),
    "u": (msgspec.json.Decoder(_Bar), _updated_bar),
    "d": (msgspec.json.Decoder(_Bar), _daily_bar),
    "c": (msgspec.json.Decoder(_Correction), _correction),
    "x": (msgspec.json.Decoder(_CancelError), _cancel_error),
    "s": (msgspec.json.Decoder(_Status), _status),
    "l": (msgspec.json.Decoder(_Luld), _luld),
}
BOOK = "o"
_read_book = msgspec.json.Decoder(_Book).decode
KNOWN = frozenset(_READ) | {BOOK}

read_frame = msgspec.json.Decoder(list[msgspec.Raw]).decode
read_head = msgspec.json.Decoder(_Head).decode


def read_control(kind: str, raw: msgspec.Raw) -> Control:
    """Return the control message of type `kind`."""
    message: Control = msgspec.json.decode(raw, type=CONTROLS[kind])
    return message


def read_data(kind: str, raw: msgspec.Raw, lot: Decimal) -> list[Row]:
    """Return the fields of the records of one data message of type `kind`, of `KNOWN`: several of a book, else one.

    Raises
    ------
    msgspec.ValidationError, ValueError
        If it breaks Alpaca's format.
    Unreadable
        If it is well formed but does not fit a record.
    """
    if kind == BOOK:
        return _book(_read_book(raw), lot)
    decoder, convert = _READ[kind]
    return [convert(decoder.decode(raw), lot)]
