"""Kraken's public WebSocket v2 (spot): books with checksums, trades, tickers.

Source: Kraken, "Spot WebSocket v2" and "Book checksum (WebSocket v2)". Unlike v1, numbers are JSON numbers, a snapshot
has a checksum too, and trades have ids that follow one another. A venue does not say which levels a new one pushes out
of the subscribed depth: the decoder deletes them. Single orders (level 3) and futures are not read, and named so.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mdslib.feeds.account import Outcome
from mdslib.feeds.digits import whole
from mdslib.feeds.form import Form, FormReader
from mdslib.feeds.form_scan import PLACE
from mdslib.feeds.kraken import checksum, digits
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.rfc3339 import to_ns
from mdslib.feeds.venue import Level, VenueDecoder, dumps
from mdslib.feeds.wire_book import WireBook
from mdslib.feeds.wire_levels import AS_SENT, KRAKEN

_DEPTH = 10  # levels a side, where no answer to a subscription said another depth
_REPLIES = ("pong", "subscribe", "unsubscribe")
_READ = ("book", "trade", "ticker")
_ROWS = '[<rows>{"price":<price>,"qty":<size>}</rows>]'
_LEVELS = f'"bids":<bid>{_ROWS},"asks":<ask>{_ROWS}'
_ITEM = f'{{"symbol":"<pair>",{_LEVELS},"checksum":<checksum><if>,"timestamp":"<time>"</if>}}'

# Numbers with a point or an exponent stay text: a checksum is over the wire's own digits.
_loads = msgspec.json.Decoder(float_hook=str).decode


class KrakenV2Decoder(VenueDecoder):
    """Frames of one Kraken v2 connection to records; the checksum of every book message is verified.

    A number that arrives without a point, such as a price of 45283, gets its trailing zeros from the channel
    `instrument`, if that is subscribed.

    Examples
    --------
    >>> decoder = KrakenV2Decoder()
    >>> trade = '{"symbol":"BTC/USD","side":"sell","price":45283.4,"qty":0.0005,"ord_type":"market","trade_id":7,'
    >>> trade += '"timestamp":"2026-01-05T17:35:55.440295Z"}'
    >>> record = decoder.receive('{"channel":"trade","type":"update","data":[%s]}' % trade, ts_init=0)[0]
    >>> float(record["f0"]), int(record["i0"]), int(record["i1"])
    (45283.4, 50000, 7)
    """

    venue = "kraken"

    forms = (
        Form(f'{{"channel":"book","type":"update","data":[{_ITEM}]}}'),
        Form(f'{{"channel":"book","type":"snapshot","data":[{_ITEM}]}}', image=True, name="book snapshot"),
    )

    def __init__(self, pairs: Pairs | None = None) -> None:
        super().__init__(pairs)
        self._books: dict[str, WireBook] = {}
        self._depths: dict[str, int] = {}
        self._trade_ids: dict[str, int] = {}
        self._precisions: dict[str, tuple[int, int]] = {}  # of price and size

    def _read(self, data: bytes) -> Outcome:
        message = _loads(data)
        if "method" in message:
            return self._reply(message)
        if "feed" in message:
            return self._ignore(f"futures {message['feed']} is not read")
        channel = self._frame.name = message["channel"]
        if channel in ("heartbeat", "status"):
            return self._control(channel)
        if channel == "instrument":
            return self._instruments(message["data"]["pairs"])
        if channel not in _READ:
            return self._ignore(f"channel {channel} is not read")
        image = message["type"] == "snapshot"
        outcomes = [self._item(channel, image, item) for item in message["data"]]
        if Outcome.DECODED in outcomes:
            self._frame.name = f"{channel} {message['type']}"
            return Outcome.DECODED
        return Outcome.IGNORED if outcomes else self._ignore(f"{channel} without data")

    def _reply(self, message: dict[str, Any]) -> Outcome:
        method = message["method"]
        if method not in _REPLIES:
            return self._ignore(f"answer to {method} is not read")
        if message.get("success") is False:
            return self._control(f"refused: {message.get('error', 'no reason given')}")
        result = message.get("result", {})
        self._frame.pair = result.get("symbol", "")
        if "depth" in result:
            self._depths[self._frame.pair] = int(result["depth"])
        return self._control(method if method == "pong" else f"{method}d")

    def _instruments(self, pairs: list[dict[str, Any]]) -> Outcome:
        for pair in pairs:
            self._precisions[pair["symbol"]] = int(pair["price_precision"]), int(pair["qty_precision"])
        return self._control("instrument")

    def _item(self, channel: str, image: bool, item: dict[str, Any]) -> Outcome:
        if not self._of(item["symbol"]):
            return Outcome.IGNORED
        if channel == "book":
            return self._book_item(image, item)
        return self._trade_item(image, item) if channel == "trade" else self._ticker(item)

    # ------------------------------------------------------------ book

    def _book_item(self, image: bool, item: dict[str, Any]) -> Outcome:
        now = self._frame
        now.name = "book"
        if image:
            self._books[now.pair] = WireBook()
        book = self._books.get(now.pair)
        if book is None:
            return self._ignore("book update before its snapshot")
        levels = [self._level(book, side, row) for side, key in ((0, "bids"), (1, "asks")) for row in item[key]]
        depth = self._depths.get(now.pair, _DEPTH)
        for side in (0, 1):
            levels += [Level(side, price, 0) for price in book.truncate(side, depth)]
        sent = item.get("checksum")
        self._book(levels, self._time(item), snapshot=image, checksum=sent)
        if sent is not None:
            self._check(book, sent)
        return Outcome.DECODED

    def _formed(self, reader: FormReader, data: bytes, ts_init: int) -> bool:
        pair = self.pairs.symbols[reader.found[PLACE]]
        book = WireBook() if reader.first else self._books.get(pair)
        depth = self._depths.get(pair, _DEPTH)
        if book is None or depth < 1:
            return False
        precision = self._precisions.get(pair, (AS_SENT, AS_SENT))
        if not book.keep(data, reader, KRAKEN, depth=depth, precision=precision):
            return False
        self._books[pair] = book
        self._keep(reader)
        self._check_kept(reader, pair, ts_init)
        return True

    def _level(self, book: WireBook, side: int, row: dict[str, Any]) -> Level:
        price_text, size_text = str(row["price"]), str(row["qty"])
        price, size = float(price_text), self._lots(size_text)
        if size:
            places = self._precisions.get(self._frame.pair, (None, None))
            book.put(side, price, _digits(price_text, places[0]) + _digits(size_text, places[1]))
        else:
            book.drop(side, price)
        return Level(side, price, size)

    def _check(self, book: WireBook, sent: int) -> None:
        now = self._frame
        ours = checksum(book)
        if ours == sent:
            now.tally.checksums_ok += 1
            return
        now.tally.checksums_bad += 1
        self._distrust(f"the book's checksum must be {sent}, ours is {ours}")

    # ------------------------------------------------------------ trades and best prices

    def _trade_item(self, image: bool, item: dict[str, Any]) -> Outcome:
        now = self._frame
        number, last = int(item["trade_id"]), self._trade_ids.get(now.pair)
        if image:
            now.tally.old_trades += 1
        elif last is not None and number <= last:
            now.tally.repeated_trades += 1
        else:
            if last is not None and number > last + 1:
                now.tally.sequence_gaps += 1  # only an image ends a GAP, so the book is asked for anew too
                self._distrust(f"trades: {last + 1} must follow, received {number}")
            letters = (item["side"][:1], item.get("ord_type", "")[:1])
            price, size = float(item["price"]), self._lots(str(item["qty"]))
            self._trade(to_ns(item["timestamp"]), price, size, number, letters)
        self._trade_ids[now.pair] = max(number, last or 0)
        return Outcome.DECODED

    def _ticker(self, item: dict[str, Any]) -> Outcome:
        sizes = self._lots(str(item["bid_qty"])), self._lots(str(item["ask_qty"]))
        self._quote(self._time(item), float(item["bid"]), float(item["ask"]), *sizes)
        return Outcome.DECODED

    def _time(self, item: dict[str, Any]) -> int:
        return to_ns(item["timestamp"]) if "timestamp" in item else self._frame.ts_init

    # ------------------------------------------------------------ resync

    def _forget(self, pair: str) -> None:
        self._books.pop(pair, None)

    def _resync_messages(self, pair: str) -> tuple[str, ...]:
        params = {"channel": "book", "symbol": [pair], "depth": self._depths.get(pair, _DEPTH)}
        return tuple(dumps({"method": method, "params": params}) for method in ("unsubscribe", "subscribe"))


def _digits(text: str, places: int | None) -> str:
    """Return the checksum's digits of a number, with the venue's trailing zeros where its precision is known."""
    return digits(text) if places is None else str(whole(text, places))
