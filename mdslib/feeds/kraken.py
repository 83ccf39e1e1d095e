"""Kraken's public WebSocket v1 (spot): books with checksums, trades, tickers.

Source: Kraken, "WebSockets API v1" and "Book checksum (v1)". An update with both sides comes as two objects. A venue
does not say which levels a new one pushes out of the subscribed depth: the decoder deletes them, so that its records
are whole by themselves.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import msgspec

from mdslib.feeds.account import Outcome
from mdslib.feeds.digits import whole
from mdslib.feeds.form import Form, FormReader
from mdslib.feeds.form_scan import LEVELS, PLACE
from mdslib.feeds.venue import Level, VenueDecoder, dumps
from mdslib.feeds.wire_book import WireBook
from mdslib.feeds.wire_levels import KRAKEN

_CHECKED = 10  # levels of a side that the checksum covers, whatever the depth
_SIDES = {"b": 0, "a": 1, "bs": 0, "as": 1}
_ROWS = '[<rows>["<price>","<size>","<seconds>"<if>,"r"</if>]</rows>]'
_END = '},"book-<depth>","<pair>"]'


class KrakenDecoder(VenueDecoder):
    """Frames of one Kraken v1 connection to records; the checksum of every book update is verified.

    Examples
    --------
    >>> decoder = KrakenDecoder()
    >>> trade = '[337,[["5541.2","0.1585","1534614057.321597","s","l",""]],"trade","XBT/USD"]'
    >>> record = decoder.receive(trade, ts_init=0)[0]
    >>> float(record["f0"]), int(record["i0"]), decoder.tallies["XBT/USD"].trades
    (5541.2, 15850000, 1)
    """

    venue = "kraken"
    forms = (
        Form(f'[<skip>,{{<bid>"b":{_ROWS},"c":"<checksum>"{_END}'),
        Form(f'[<skip>,{{<ask>"a":{_ROWS},"c":"<checksum>"{_END}'),
        Form(f'[<skip>,{{<ask>"a":{_ROWS}}},{{<bid>"b":{_ROWS},"c":"<checksum>"{_END}'),
        Form(f'[<skip>,{{<ask>"as":{_ROWS},<bid>"bs":{_ROWS}{_END}', image=True, name="book snapshot"),
    )

    def __init__(self, pairs: Any = None) -> None:
        super().__init__(pairs)
        self._books: dict[str, WireBook] = {}
        self._depths: dict[str, int] = {}

    def _read(self, data: bytes) -> Outcome:
        message = msgspec.json.decode(data)
        if isinstance(message, dict):
            return self._event(message)
        *_, channel, pair = message
        name = channel.partition("-")[0]
        self._frame.name = name
        if name not in ("book", "trade", "ticker"):
            self._frame.pair = pair
            return self._ignore(f"channel {name} is not read")
        if not self._of(pair):
            return Outcome.IGNORED
        if name == "book":
            return self._book_message(message[1:-2], int(channel.partition("-")[2] or 10))
        return self._trades(message[1]) if name == "trade" else self._ticker(message[1])

    def _event(self, message: dict[str, Any]) -> Outcome:
        event = message["event"]
        if event in ("heartbeat", "pong", "systemStatus"):
            return self._control(event)
        if event == "subscriptionStatus":
            if message["status"] == "error":
                return self._control(f"refused: {message.get('errorMessage', 'no reason given')}")
            self._frame.pair = message.get("pair", "")
            return self._control(message["status"])
        return self._ignore(f"event {event} is not known")

    def _book_message(self, parts: list[dict[str, Any]], depth: int) -> Outcome:
        now = self._frame
        snapshot = "as" in parts[0] or "bs" in parts[0]
        now.name = "book snapshot" if snapshot else "book update"
        book = self._books.get(now.pair)
        if snapshot:
            book = self._books[now.pair] = WireBook()
            self._depths[now.pair] = depth
        elif book is None:
            return self._ignore("book update before its snapshot")
        levels: list[Level] = []
        last = 0
        for part in parts:
            for key, rows in part.items():
                if key != "c":
                    last = max(last, self._levels(book, _SIDES[key], rows, levels))
        if book.deeper(depth):
            for side in (0, 1):
                levels += [Level(side, price, 0) for price in book.truncate(side, depth)]
        if snapshot:
            self._book(levels, last or now.ts_init, snapshot=True)
            return Outcome.DECODED
        sent = parts[-1].get("c")
        checksum = None if sent is None else int(sent)
        self._book(levels, last or now.ts_init, checksum=checksum)
        if checksum is not None:
            self._check(book, checksum)
        return Outcome.DECODED

    def _formed(self, reader: FormReader, data: bytes, ts_init: int) -> bool:
        pair, depth = self.pairs.symbols[reader.found[PLACE]], reader.found[LEVELS]
        book = WireBook() if reader.first else self._books.get(pair)
        if book is None or depth == 0:
            return False
        if not book.keep(data, reader, KRAKEN, depth=depth):
            return False
        self._keep(reader)
        if reader.first:
            self._books[pair], self._depths[pair] = book, depth
        else:
            self._check_kept(reader, pair, ts_init)
        return True

    def _levels(self, book: WireBook, side: int, rows: list[list[str]], levels: list[Level]) -> int:
        """Put one side's rows into the book and `levels`; return the latest of their times."""
        last, places, latest = 0, self._frame.places, ""
        for row in rows:  # three texts, and an "r" where the venue sends the level again
            text, volume, time = row[0], row[1], row[2]
            price, size = float(text), whole(volume, places)
            if size:
                book.put(side, price, digits(text) + digits(volume))
            else:
                book.drop(side, price)
            levels.append(Level(side, price, size))
            if time != latest:
                latest, last = time, max(last, whole(time, 9))
        return last

    def _check(self, book: WireBook, sent: int) -> None:
        now = self._frame
        ours = checksum(book)
        if ours == sent:
            now.tally.checksums_ok += 1
            return
        now.tally.checksums_bad += 1
        self._distrust(f"the book's checksum must be {sent}, ours is {ours}")

    def _trades(self, rows: list[list[str]]) -> Outcome:
        self._frame.name = "trades"
        for price, volume, time, side, order, *_ in rows:
            self._trade(whole(time, 9), float(price), self._lots(volume), 0, (side, order))
        return Outcome.DECODED

    def _ticker(self, payload: dict[str, Any]) -> Outcome:
        ask, bid = payload["a"], payload["b"]
        self._quote(self._frame.ts_init, float(bid[0]), float(ask[0]), self._lots(bid[2]), self._lots(ask[2]))
        return Outcome.DECODED

    def _forget(self, pair: str) -> None:
        self._books.pop(pair, None)

    def _resync_messages(self, pair: str) -> tuple[str, ...]:
        subscription = {"name": "book", "depth": self._depths.get(pair, 10)}
        return tuple(
            dumps({"event": event, "pair": [pair], "subscription": subscription})
            for event in ("unsubscribe", "subscribe")
        )


def checksum(book: WireBook) -> int:
    """Return Kraken's checksum of a book whose texts are `digits`: ten asks, then ten bids, best first."""
    return crc32("".join(book.best(1, _CHECKED) + book.best(0, _CHECKED)).encode())


def digits(text: str) -> str:
    """Return a number's digits as Kraken's checksum wants them: no point, then no leading zeros.

    Examples
    --------
    >>> digits("0.05000"), digits("5541.30000")
    ('5000', '554130000')
    """
    return text.replace(".", "").lstrip("0")
