"""BitMEX's realtime WebSocket: order books by level id, trades, quotes.

Source: BitMEX, "WebSocket API", and its notes on order book ids of 2022 and 2023. A level's id means nothing but
itself: older messages change or delete a level without its price, so prices are remembered by id. There is neither
sequence nor checksum. Sizes are whole contracts.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import msgspec

from mdslib.feeds.account import Outcome
from mdslib.feeds.form import Form, FormReader
from mdslib.feeds.form_scan import PLACE, ROWS_FOUND
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.recent import Recent
from mdslib.feeds.rfc3339 import to_ns
from mdslib.feeds.venue import Level, VenueDecoder, dumps

_SIDES = {"Buy": 0, "Sell": 1}
_BOOKS = ("orderBookL2", "orderBookL2_25")
_SIZES = {
    "update": ',"size":<size><if>,"price":<price></if>',
    "insert": ',"size":<size>,"price":<price>',
    "delete": '<if>,"size":<skip></if><if>,"price":<price></if>',
}
_FORM = (
    '{"table":"orderBookL2<if>_25</if>","action":"%s",%s"data":[<rows>{"symbol":"<pair>","id":<id>,'
    '"side":"<side:Buy|Sell>"%s<if>,"timestamp":"<time>"</if><if>,"transactTime":"<word>"</if>}</rows>]}'
)
_HEAD = (
    '<if>"keys":["symbol","id","side"],"types":{<flat>},</if><if>"foreignKeys":{<flat>},</if>'
    '<if>"attributes":{<flat>},</if>"filter":{"symbol":"<pair>"},'
)
_LETTERS = {"Buy": "b", "Sell": "s"}

_loads = msgspec.json.Decoder(float_hook=str).decode


class BitmexDecoder(VenueDecoder):
    """Frames of one BitMEX connection to records.

    The trades of a ``partial`` are old. A trade's id in records is the first 63 bits of its `trdMatchID`.

    Examples
    --------
    >>> decoder = BitmexDecoder()
    >>> row = '{"symbol":"XBTUSD","id":7,"side":"Sell","size":300,"price":32180.5}'
    >>> frame = '{"table":"orderBookL2","action":"partial","filter":{"symbol":"XBTUSD"},"data":[%s]}'
    >>> decoder.receive(frame % row, 0)["f0"].tolist()
    [nan, 32180.5]
    >>> update = '{"table":"orderBookL2","action":"delete","data":[{"symbol":"XBTUSD","id":7,"side":"Sell"}]}'
    >>> [(float(r["f0"]), int(r["i0"])) for r in decoder.receive(update, 0)]
    [(32180.5, 0)]
    """

    venue = "bitmex"
    forms = (
        *(Form(_FORM % (action, "", sizes), name=f"book {action}") for action, sizes in _SIZES.items()),
        Form(_FORM % ("partial", _HEAD, _SIZES["insert"]), image=True, name="book partial"),
    )

    def __init__(self, pairs: Pairs | None = None) -> None:
        super().__init__(pairs)
        self._books: dict[str, dict[int, tuple[int, float]]] = {}  # side and price of each level's id
        self._tables: dict[str, str] = {}
        self._seen: dict[str, Recent[str]] = {}

    def _read(self, data: bytes) -> Outcome:
        if data == b"pong":
            return self._control("pong")
        message = _loads(data)
        if "table" not in message:
            return self._event(message)
        table, action = message["table"], message["action"]
        now = self._frame
        now.name = f"book {action}" if table in _BOOKS else f"{table} {action}"
        if table not in (*_BOOKS, "trade", "quote"):
            return self._ignore(f"table {table} is not read")
        if action == "partial" and table in _BOOKS and "symbol" in message.get("filter", {}):
            return self._partial(table, message["filter"]["symbol"], message["data"])
        # A frame may hold rows of several symbols; it ends as the best of what they were.
        outcomes = [
            self._rows(table, action, symbol, list(rows))
            for symbol, rows in groupby(message["data"], key=lambda row: row["symbol"])
        ]
        if Outcome.DECODED in outcomes:
            now.name = f"{'book' if table in _BOOKS else table} {action}"
            return Outcome.DECODED
        return Outcome.IGNORED if outcomes else self._ignore(f"{now.name} without rows")

    def _event(self, message: dict[str, Any]) -> Outcome:
        if "error" in message:
            return self._control(f"refused: {message['error']}")
        if "success" in message:
            topic = str(message.get("subscribe") or message.get("unsubscribe") or "")
            self._frame.pair = topic.partition(":")[2]
            return self._control("subscribed" if "subscribe" in message else "answered")
        return self._control("info") if "info" in message else self._ignore("message without a table is not known")

    def _rows(self, table: str, action: str, symbol: str, rows: list[dict[str, Any]]) -> Outcome:
        if not self._of(symbol):
            return Outcome.IGNORED
        if table == "trade":
            return self._trades(action, rows)
        if table == "quote":
            return self._quotes(rows)
        return self._partial(table, symbol, rows) if action == "partial" else self._changes(action, rows)

    # ------------------------------------------------------------ book

    def _partial(self, table: str, symbol: str, rows: list[dict[str, Any]]) -> Outcome:
        if not self._of(symbol):
            return Outcome.IGNORED
        book: dict[int, tuple[int, float]] = {}
        levels = []
        for row in rows:
            side, price = _SIDES[row["side"]], float(row["price"])
            book[row["id"]] = (side, price)
            levels.append(Level(side, price, self._lots(str(row["size"]))))
        self._books[symbol], self._tables[symbol] = book, table
        self._book(levels, self._latest(rows), snapshot=True)
        return Outcome.DECODED

    def _changes(self, action: str, rows: list[dict[str, Any]]) -> Outcome:
        book = self._books.get(self._frame.pair)
        if book is None:
            return self._ignore("book update before its snapshot")
        levels: list[Level] = []
        unknown = 0
        for row in rows:
            found = self._change(book, action, row)
            unknown += found is None
            levels += found or []
        if unknown:
            self._frame.count("rows of an unknown level", unknown)
        if not levels:
            return self._ignore(f"book {action} of unknown levels")
        self._book(levels, self._latest(rows))
        return Outcome.DECODED

    def _formed(self, reader: FormReader, data: bytes, ts_init: int) -> bool:
        """Take in rows that change known levels or insert new ones; what moves a level is left to `_changes`."""
        pair, rows = self.pairs.symbols[reader.found[PLACE]], reader.found[ROWS_FOUND]
        book, block = self._books.get(pair), reader.block[reader.first : rows]
        ids, sides, prices = (block[name].tolist() for name in ("seq", "flag", "f0"))
        if reader.first:
            table = "orderBookL2_25" if data.startswith(b'{"table":"orderBookL2_25"') else "orderBookL2"
            levels = [(side & 1, price) for side, price in zip(sides, prices, strict=True)]
            self._books[pair] = dict(zip(ids, levels, strict=True))
            self._tables[pair] = table
            block["seq"] = 0
            self._keep(reader)
            return True
        action = reader.form.name.removeprefix("book ")
        if book is None or (rows > 1 and len(set(ids)) < rows):
            return False
        if action == "insert":
            news = [(side & 1, price) for side, price in zip(sides, prices, strict=True)]
            if any(book.get(number, new) != new for number, new in zip(ids, news, strict=True)):
                return False
            book.update(zip(ids, news, strict=True))
        else:
            olds = [book.get(number) for number in ids]
            for row, old in enumerate(olds):
                price = prices[row]
                if old is None or old[0] != sides[row] & 1 or (price == price and price != old[1]):
                    return False
                prices[row] = old[1]
            block["f0"] = prices
            if action == "delete":
                for number in ids:
                    del book[number]
        block["seq"] = 0
        self._keep(reader)
        return True

    def _change(self, book: dict[int, tuple[int, float]], action: str, row: dict[str, Any]) -> list[Level] | None:
        """Return what one row does to the book, or None if its level is not known."""
        number = row["id"]
        before = book.pop(number, None) if action == "delete" else book.get(number)
        if before is None and (action != "insert" or "price" not in row):
            return None
        if action == "delete":
            return [Level(*before, 0)] if before else None
        side = _SIDES[row["side"]]
        price = float(row["price"]) if "price" in row else before[1] if before else 0.0
        book[number] = (side, price)
        moved = [Level(*before, 0)] if before and before != (side, price) else []
        return [*moved, Level(side, price, self._lots(str(row["size"])))]

    # ------------------------------------------------------------ trades and quotes

    def _trades(self, action: str, rows: list[dict[str, Any]]) -> Outcome:
        now = self._frame
        seen = self._seen.setdefault(now.pair, Recent())
        for row in rows:
            new = seen.add(row["trdMatchID"])
            if action == "partial":
                now.tally.old_trades += 1
            elif not new:
                now.tally.repeated_trades += 1
            else:
                number = int(row["trdMatchID"].replace("-", "")[:16], 16) >> 1
                price, size = float(row["price"]), self._lots(str(row["size"]))
                self._trade(to_ns(row["timestamp"]), price, size, number, _LETTERS.get(row.get("side", ""), ""))
        return Outcome.DECODED

    def _quotes(self, rows: list[dict[str, Any]]) -> Outcome:
        for row in rows:
            bid, ask = (float(row.get(name) or "nan") for name in ("bidPrice", "askPrice"))
            sizes = (self._lots(str(row.get(name) or 0)) for name in ("bidSize", "askSize"))
            self._quote(to_ns(row["timestamp"]), bid, ask, *sizes)
        return Outcome.DECODED

    def _latest(self, rows: list[dict[str, Any]]) -> int:
        return max((to_ns(row["timestamp"]) for row in rows if "timestamp" in row), default=self._frame.ts_init)

    # ------------------------------------------------------------ resync

    def _forget(self, pair: str) -> None:
        self._books.pop(pair, None)

    def _resync_messages(self, pair: str) -> tuple[str, ...]:
        topic = f"{self._tables.get(pair, _BOOKS[0])}:{pair}"
        return tuple(dumps({"op": operation, "args": [topic]}) for operation in ("unsubscribe", "subscribe"))
