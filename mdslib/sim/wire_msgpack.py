"""Market events as msgpack, in bulk: `wire.encode` for connections that ask for binary frames."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgspec.msgpack
import numpy.typing as npt

from mdslib.events import Kind, unpack_conditions
from mdslib.sim.wire import MINUTE, Texts
from mdslib.table import Table

Array = npt.NDArray[Any]
TIMESTAMP = -1  # msgpack's extension type of a time
_NS = 1_000_000_000
_pack = msgspec.msgpack.encode


def pack_stamp(ts: int) -> bytes:
    """Return the body of a timestamp: 30 bits of nanoseconds, 34 of seconds.

    Examples
    --------
    >>> pack_stamp(1_500_000_000).hex()
    '7735940000000001'
    """
    seconds, ns = divmod(int(ts), _NS)
    return struct.pack(">Q", ns << 34 | seconds)


def _stamps(ts: Array) -> list[bytes]:
    """Return the timestamps of an int64 ns array, whole: type, extension number, body."""
    packed = (ts % _NS << 34 | ts // _NS).astype(">u8").view("V8")
    return [b"\xd7\xff" + bytes(body) for body in packed.tolist()]


def _float(value: float) -> bytes:
    return _pack(float(value) if value == value else 0.0)  # 0 is Alpaca's sign of a side that is missing


def _key(name: str) -> bytes:
    return _pack(name)


_FLOATS: Texts[bytes] = Texts(_float)
_INTS: Texts[bytes] = Texts(_pack)
_CONDITIONS: Texts[bytes] = Texts(lambda packed: _pack(unpack_conditions(packed)))
_EXCHANGES: Texts[bytes] = Texts(lambda letter: _pack(chr(letter) if letter else ""))


def encode_packed(table: Table, start: int, stop: int, symbols: Sequence[str]) -> list[bytes]:
    """Return rows ``start:stop`` of a table as msgpack maps, ``T`` first.

    Parameters
    ----------
    table : Table
        Trades, quotes or bars.
    start, stop : int
        Rows.
    symbols : sequence of str
        By instrument index.
    """
    return _ENCODERS[table.kind](table, slice(start, stop), symbols)


def _heads(letter: str, size: int, symbols: Sequence[str]) -> list[bytes]:
    return [bytes([0x80 | size]) + _key("T") + _key(letter) + _key("S") + _key(symbol) for symbol in symbols]


def _trades(t: Table, rows: slice, symbols: Sequence[str]) -> list[bytes]:
    columns = ("instrument", "trade_id", "exchange", "price", "size", "conditions")
    values = (t[name][rows].tolist() for name in columns)
    begin = _heads("t", 9, symbols)
    ki, kx, kp, ks, kc, kt = (_key(name) for name in "ixpsct")
    tape = _key("z") + _key("A")
    return [
        b"".join(
            (begin[k], ki, _pack(i), kx, _EXCHANGES[x], kp, _FLOATS[p], ks, _INTS[s], kc, _CONDITIONS[c], tape, kt, at)
        )
        for k, i, x, p, s, c, at in zip(*values, _stamps(t["ts_event"][rows]), strict=True)
    ]


def _quotes(t: Table, rows: slice, symbols: Sequence[str]) -> list[bytes]:
    values = (t[name][rows].tolist() for name in ("instrument", "bid", "bid_size", "ask", "ask_size"))
    begin = _heads("q", 11, symbols)
    venue = _key("bx") + _key("V") + _key("ax") + _key("V") + _key("c") + _pack(["R"]) + _key("z") + _key("A")
    kb, kbs, ka, kas, kt = (_key(name) for name in ("bp", "bs", "ap", "as", "t"))
    return [
        b"".join((begin[k], venue, kb, _float(b), kbs, _INTS[bs], ka, _float(a), kas, _INTS[size], kt, at))
        for k, b, bs, a, size, at in zip(*values, _stamps(t["ts_event"][rows]), strict=True)
    ]


def _bars(t: Table, rows: slice, symbols: Sequence[str]) -> list[bytes]:
    columns = ("instrument", "open", "high", "low", "close", "volume", "trades", "vwap")
    values = (t[name][rows].tolist() for name in columns)
    begin, bare = _heads("b", 10, symbols), _heads("b", 9, symbols)
    ko, kh, kl, kc, kv, kn, kw, kt = (_key(name) for name in ("o", "h", "l", "c", "v", "n", "vw", "t"))
    made = []
    for k, o, h, low, c, v, n, w, at in zip(*values, _stamps(t["ts_event"][rows] - MINUTE), strict=True):
        head = bare[k] if w != w else begin[k] + kw + _pack(w)
        prices = (ko, _FLOATS[o], kh, _FLOATS[h], kl, _FLOATS[low], kc, _FLOATS[c])
        made.append(b"".join((head, *prices, kv, _INTS[v], kn, _INTS[n], kt, at)))
    return made


_ENCODERS = {Kind.TRADE: _trades, Kind.QUOTE: _quotes, Kind.BAR: _bars}
