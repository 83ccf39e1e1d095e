"""Bitfinex's public WebSocket v2: books by price, trades, tickers; sequence numbers and checksums.

Source: Bitfinex, "General", "Books", "Trades" and "WebSocket Checksum". Frames name a channel by a number that holds
for one connection only, so each connection has a decoder of its own. Array lengths may grow: only what is known is
read. Raw books (R0) and funding are not read, and named so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import msgspec

from mdslib.feeds.account import Outcome
from mdslib.feeds.form import Form, FormReader
from mdslib.feeds.form_scan import NUMBER, ON, PLACE
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.recent import Recent
from mdslib.feeds.venue import Level, VenueDecoder, dumps
from mdslib.feeds.wire_book import WireBook
from mdslib.feeds.wire_levels import BITFINEX

TIMESTAMP, SEQ_ALL, OB_CHECKSUM = 32768, 65536, 131072  # flags of `conf`
_CHECKED = 25  # levels of a side that the checksum covers
_RECONNECT, _PAUSE, _RESUME = 20051, 20060, 20061
_CONTROL = ("conf", "pong", "unsubscribed")
_MS = 1_000_000
_ROW = "[<price>,<count>,<amount>]"

# Numbers with a point or an exponent stay text: a checksum is over the wire's own digits.
_loads = msgspec.json.Decoder(float_hook=str).decode


@dataclass
class _Channel:
    """One subscription; `book` is None until its snapshot, and again once the book can't be trusted."""

    name: str
    pair: str
    precision: str
    request: dict[str, Any]
    book: WireBook | None = None
    broken: bool = False
    seen: Recent[int] = field(default_factory=Recent)


def _forms(flags: int) -> tuple[Form, ...]:
    """Return the forms of book messages under these flags of `conf`."""
    end = ("," + "<sequence>" if flags & SEQ_ALL else "") + (",<ms>" if flags & TIMESTAMP else "") + "]"
    return Form(f"[<channel>,<row>{_ROW}{end}"), Form(
        f"[<channel>,[<rows>{_ROW}</rows>]{end}", image=True, name="book snapshot"
    )


class BitfinexDecoder(VenueDecoder):
    """Frames of one Bitfinex connection to records.

    A trade comes twice, as ``te`` at once and as ``tu`` a little later: whichever is first is the trade, the other is
    counted as repeated. Those of the snapshot are old. A ticker's sizes are sums of 25 levels, so its quote has none.

    Examples
    --------
    >>> decoder = BitfinexDecoder()
    >>> subscribed = '{"event":"subscribed","channel":"trades","chanId":5,"symbol":"tBTCUSD"}'
    >>> len(decoder.receive(subscribed, 0)), len(decoder.receive('[5,[[1,1569348774000,0.5,9000]]]', 0))
    (0, 0)
    >>> te, tu = '[5,"te",[2,1569348775000,-0.25,9001.5]]', '[5,"tu",[2,1569348775000,-0.25,9001.5]]'
    >>> decoder.receive(te, 0)["f0"].tolist(), len(decoder.receive(tu, 0))
    ([9001.5], 0)
    """

    venue = "bitfinex"
    forms = _forms(0)

    def __init__(self, pairs: Pairs | None = None) -> None:
        super().__init__(pairs)
        self._channels: dict[int, _Channel] = {}
        self._flags = 0
        self._sequence = 0

    def _read(self, data: bytes) -> Outcome:
        message = _loads(data)
        return self._event(message) if isinstance(message, dict) else self._array(message)

    # ------------------------------------------------------------ events

    def _event(self, message: dict[str, Any]) -> Outcome:
        event = message["event"]
        if event == "subscribed":
            return self._subscribed(message)
        if event == "info":
            return self._info(message)
        if event == "error":
            return self._control(f"refused: {message.get('code', '')} {message.get('msg', '')}".strip())
        if event not in _CONTROL:
            return self._ignore(f"event {event} is not known")
        if event == "conf" and message.get("status") == "OK":
            self._flags = int(message.get("flags", 0))
            self._use_forms(_forms(self._flags))
        if event == "unsubscribed":
            channel = self._channels.pop(int(message["chanId"]), None)
            self._frame.pair = channel.pair if channel else ""
        return self._control(event)

    def _subscribed(self, message: dict[str, Any]) -> Outcome:
        pair = self._frame.pair = message.get("symbol") or message.get("key") or ""
        keys = ("channel", "symbol", "key", "prec", "freq", "len")
        request = {key: message[key] for key in keys if key in message}
        number = int(message["chanId"])
        self._channels[number] = _Channel(message["channel"], pair, message.get("prec", ""), request)
        if isinstance(pair, str):
            self._know(number, pair)
        return self._control("subscribed")

    def _info(self, message: dict[str, Any]) -> Outcome:
        code = message.get("code")
        if code == _RECONNECT:
            self._reconnect("20051: the venue restarts its server")
        elif code == _RESUME:
            for pair in {channel.pair for channel in self._channels.values() if channel.name == "book"}:
                self._distrust("20061: maintenance ended", pair)
        return self._control(f"info {code}" if code else "info")

    # ------------------------------------------------------------ arrays

    def _array(self, message: list[Any]) -> Outcome:
        channel = self._channels.get(message[0])
        if channel is not None:
            self._frame.pair = channel.pair
        self._check_sequence(message)
        payload = message[1]
        if payload == "hb":
            return self._control("heartbeat")  # those of a new channel may come before its `subscribed`
        if channel is None:
            return self._ignore("data of an unknown channel")
        self._frame.name = channel.name
        if channel.name not in ("book", "trades", "ticker"):
            return self._ignore(f"channel {channel.name} is not read")
        if channel.pair.startswith("f"):
            return self._ignore(f"funding {channel.name} is not read")
        if not self._of(channel.pair):
            return Outcome.IGNORED
        if channel.name == "trades":
            return self._trades(channel, message)
        if channel.name == "ticker":
            self._quote(self._time(message), float(payload[0]), float(payload[2]))
            return Outcome.DECODED
        if channel.precision == "R0":
            return self._ignore("book R0, of single orders, is not read")
        if payload == "cs":
            return self._check(channel, int(message[2]))
        return self._levels(message[0], channel, payload, self._time(message))

    def _check_sequence(self, message: list[Any]) -> None:
        if not self._flags & SEQ_ALL:
            return
        number = int(message[-2] if self._flags & TIMESTAMP else message[-1])
        expected, self._sequence = self._sequence + 1, number
        if number == expected:
            return
        self._frame.tally.sequence_gaps += 1
        for pair in [channel.pair for channel in self._channels.values() if channel.book is not None]:
            self._distrust(f"sequence: {expected} must follow, received {number}", pair)

    def _time(self, message: list[Any]) -> int:
        return int(message[-1]) * _MS if self._flags & TIMESTAMP else self._frame.ts_init

    def _levels(self, number: int, channel: _Channel, payload: list[Any], time: int) -> Outcome:
        now = self._frame
        if channel.broken:
            return self._ignore("book update before its snapshot")
        snapshot = channel.book is None
        if channel.book is None:
            channel.book = WireBook()
        rows = payload if snapshot or isinstance(payload[0], list) else [payload]
        now.name = "book snapshot" if snapshot else "book update"
        self._know(number, channel.pair)
        self._book([self._level(channel.book, row) for row in rows], time, snapshot=snapshot)
        return Outcome.DECODED

    def _formed(self, reader: FormReader, data: bytes, ts_init: int) -> bool:
        found = reader.found
        channel = self._channels.get(found[ON])
        if channel is None or channel.name != "book" or channel.precision == "R0" or channel.broken:
            return False
        if channel.pair != self.pairs.symbols[found[PLACE]] or bool(reader.first) != (channel.book is None):
            return False
        if self._flags & SEQ_ALL and found[NUMBER] != self._sequence + 1:
            return False
        book = WireBook() if channel.book is None else channel.book
        if not book.keep(data, reader, BITFINEX):
            return False
        channel.book = book
        if self._flags & SEQ_ALL:
            self._sequence += 1
        self._keep(reader)
        return True

    def _level(self, book: WireBook, row: list[Any]) -> Level:
        """Put one row, ``[price, count, amount]``, into the book: count 0 deletes, the amount's sign is the side."""
        price_text, count, amount = str(row[0]), int(row[1]), str(row[2])
        price, side = float(price_text), int(amount.startswith("-"))
        if count == 0:
            book.drop(side, price)
            return Level(side, price, 0, 0.0)
        book.put(side, price, f"{price_text}:{amount}")
        return Level(side, price, abs(self._lots(amount)), float(count))

    def _check(self, channel: _Channel, sent: int) -> Outcome:
        now = self._frame
        now.name = "checksum"
        if channel.book is None:
            return self._ignore("checksum before its snapshot")
        ours = checksum(channel.book)
        if ours == sent:
            now.tally.checksums_ok += 1
        else:
            now.tally.checksums_bad += 1
            self._distrust(f"the book's checksum must be {sent}, ours is {ours}")
        return Outcome.DECODED

    def _trades(self, channel: _Channel, message: list[Any]) -> Outcome:
        now = self._frame
        if isinstance(message[1], list):
            now.name = "old trades"
            for number, *_ in message[1]:
                channel.seen.add(int(number))
            now.tally.old_trades += len(message[1])
            return Outcome.DECODED
        if message[1] not in ("te", "tu"):
            return self._ignore(f"trade message {message[1]} is not known")
        number, time, amount, price, *_ = message[2]
        now.name = f"trade {message[1]}"
        if not channel.seen.add(int(number)):
            now.tally.repeated_trades += 1
            return Outcome.DECODED
        text = str(amount)
        letters = ("s",) if text.startswith("-") else ("b",)
        self._trade(int(time) * _MS, float(price), abs(self._lots(text)), int(number), letters)
        return Outcome.DECODED

    # ------------------------------------------------------------ resync

    def _book_channels(self, pair: str) -> list[tuple[int, _Channel]]:
        return [(number, c) for number, c in self._channels.items() if c.pair == pair and c.name == "book"]

    def _forget(self, pair: str) -> None:
        for _, channel in self._book_channels(pair):
            channel.book, channel.broken = None, True

    def _resync_messages(self, pair: str) -> tuple[str, ...]:
        messages: list[dict[str, Any]] = []
        for number, channel in self._book_channels(pair):
            messages.append({"event": "unsubscribe", "chanId": number})
            messages.append({"event": "subscribe", **channel.request})
        return tuple(map(dumps, messages))


def checksum(book: WireBook) -> int:
    """Return Bitfinex's checksum: bid and ask by turns, 25 of each, as a signed 32-bit CRC.

    Examples
    --------
    >>> book = WireBook()
    >>> book.put(0, 6000.5, "6000.5:1.25"), book.put(0, 6000.0, "6000:2")
    (None, None)
    >>> book.put(1, 6001.0, "6001:-0.75"), book.put(1, 6002.5, "6002.5:-3")
    (None, None)
    >>> checksum(book)
    302268752
    """
    bids, asks = book.best(0, _CHECKED), book.best(1, _CHECKED)
    texts = [side[place] for place in range(_CHECKED) for side in (bids, asks) if place < len(side)]
    unsigned = crc32(":".join(texts).encode())
    return unsigned - 2**32 if unsigned >= 2**31 else unsigned
