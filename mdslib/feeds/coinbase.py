"""Coinbase Exchange's WebSocket feed (once GDAX): level-2 books, tickers, matches, heartbeats.

Source: Coinbase, "Exchange WebSocket Channels" and "Overview". Level 2 has neither sequence nor checksum: what is
missed shows only in the numbers of trades. A match's `side` is the maker's, so who took is the other one. In the
channel `full`, of single orders, every message has the next number of its pair; its book begins with a REST snapshot.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from mdslib.feeds.account import Outcome
from mdslib.feeds.coinbase_orders import Orders
from mdslib.feeds.form import Form, FormReader
from mdslib.feeds.form_scan import PLACE
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.rfc3339 import to_ns
from mdslib.feeds.venue import Level, VenueDecoder, dumps
from mdslib.protocols import Records

_TAKER = {"sell": "b", "buy": "s"}  # by the maker's side
_SIDES = {"buy": 0, "sell": 1}
_CONTROL = ("subscriptions", "status")
_ORDERS = frozenset({"received", "open", "done", "change", "activate"})

_ROWS = '[<rows>["<price>","<size>"]</rows>]'
_BIDS, _ASKS = f'"bids":<bid>{_ROWS}', f'"asks":<ask>{_ROWS}'
_END = '<if>,"time":"<time>"</if>}'

_ORDERS_URL = re.compile(r"/products/([^/]+)/book\?level=3")

_loads = msgspec.json.Decoder(float_hook=str).decode


class CoinbaseDecoder(VenueDecoder):
    """Frames of one Coinbase Exchange connection to records.

    Numbers of trades follow one another: a jump is a gap of sequence, and since level 2 has no numbers of its own, the
    book is not trusted either. `last_match` is a trade from before the subscription, and counted as old.

    Examples
    --------
    >>> decoder = CoinbaseDecoder()
    >>> match = '{"type":"match","trade_id":10,"side":"sell","size":"5.2","price":"400.2","product_id":"BTC-USD",'
    >>> match += '"sequence":50,"time":"2014-11-07T08:19:27.028459Z"}'
    >>> record = decoder.receive(match, ts_init=0)[0]
    >>> float(record["f0"]), int(record["i0"]), chr(record["code"])
    (400.2, 520000000, 'b')
    """

    venue = "coinbase"
    forms = (
        Form(
            '{"type":"l2update","product_id":"<pair>","changes":[<rows>["<side:buy|sell>","<price>","<size>"]</rows>],'
            '"time":"<time>"}'
        ),
        Form(f'{{"type":"snapshot","product_id":"<pair>",{_ASKS},{_BIDS}{_END}', image=True, name="book snapshot"),
        Form(f'{{"type":"snapshot","product_id":"<pair>",{_BIDS},{_ASKS}{_END}', image=True, name="book snapshot"),
    )

    def __init__(self, pairs: Pairs | None = None) -> None:
        super().__init__(pairs)
        self._known: set[str] = set()  # pairs whose snapshot came
        self._trade_ids: dict[str, int] = {}
        self._orders: dict[str, Orders] = {}  # of the channel `full`
        self._sequences: dict[str, int] = {}  # of the channel `full`, snapshot or not
        self._readers: dict[str, Callable[[dict[str, Any]], Outcome]] = {
            "snapshot": self._snapshot,
            "l2update": self._update,
            "ticker": self._ticker,
            "match": self._match,
            "last_match": self._match,
            "heartbeat": self._heartbeat,
        } | dict.fromkeys(_ORDERS, self._order)

    def _read(self, data: bytes) -> Outcome:
        message = _loads(data)
        kind = self._frame.name = message["type"]
        if kind in _CONTROL:
            return self._control(kind)
        if kind == "error":
            return self._control(f"refused: {message.get('message', '')} {message.get('reason', '')}".strip())
        reader = self._readers.get(kind)
        if reader is None:
            return self._ignore(f"type {kind} is not read")
        if kind in ("snapshot", "l2update"):
            self._frame.name = f"book {'snapshot' if kind == 'snapshot' else 'update'}"
        return reader(message) if self._of(message["product_id"]) else Outcome.IGNORED

    # ------------------------------------------------------------ level 2

    def _snapshot(self, message: dict[str, Any]) -> Outcome:
        sides = {"bids": message["bids"], "asks": message["asks"]}
        rows = [(key == "asks", row) for key in message if key in sides for row in sides[key]]
        levels = [Level(int(side), float(price), self._lots(size)) for side, (price, size, *_) in rows]
        time = to_ns(message["time"]) if "time" in message else self._frame.ts_init
        self._book(levels, time, snapshot=True)
        self._known.add(self._frame.pair)
        return Outcome.DECODED

    def _formed(self, reader: FormReader, data: bytes, ts_init: int) -> bool:
        pair = self.pairs.symbols[reader.found[PLACE]]
        if reader.first:
            self._known.add(pair)
        elif pair not in self._known:
            return False
        self._keep(reader)
        return True

    def _update(self, message: dict[str, Any]) -> Outcome:
        if self._frame.pair not in self._known:
            return self._ignore("book update before its snapshot")
        changes = message["changes"]
        levels = [Level(_SIDES[side], float(price), self._lots(size)) for side, price, size, *_ in changes]
        self._book(levels, to_ns(message["time"]))
        return Outcome.DECODED

    # ------------------------------------------------------------ trades and best prices

    def _ticker(self, message: dict[str, Any]) -> Outcome:
        if "time" not in message:
            return self._ignore("ticker without a trade")  # a pair that has not traded yet
        sizes = [self._lots(message[name]) if name in message else 0 for name in ("best_bid_size", "best_ask_size")]
        self._quote(to_ns(message["time"]), float(message["best_bid"]), float(message["best_ask"]), *sizes)
        return Outcome.DECODED

    def _match(self, message: dict[str, Any]) -> Outcome:
        now = self._frame
        number, old = int(message["trade_id"]), message["type"] == "last_match"
        last = self._trade_ids.get(now.pair)
        if old:
            now.tally.old_trades += 1
        elif last is not None and number <= last:
            now.tally.repeated_trades += 1
            return Outcome.DECODED
        else:
            if last is not None and number > last + 1 and now.pair not in self._sequences:
                self._missed(last, number)
            price, size = float(message["price"]), self._lots(message["size"])
            self._trade(to_ns(message["time"]), price, size, number, _TAKER[message["side"]])
            if now.pair in self._sequences:
                self._follow(message)
        self._trade_ids[now.pair] = max(number, last or 0)
        return Outcome.DECODED

    def _heartbeat(self, message: dict[str, Any]) -> Outcome:
        now = self._frame
        last, newest = self._trade_ids.get(now.pair), int(message["last_trade_id"])
        if last is not None and newest > last:
            self._missed(last, newest + 1)
            self._trade_ids[now.pair] = newest
        return self._control("heartbeat")

    def _missed(self, last: int, number: int) -> None:
        """Note that trades are missing before a number; what was lost of level 2 with them, nothing else would tell."""
        self._frame.tally.sequence_gaps += 1
        if self._frame.pair not in self._sequences:  # the channel `full` numbers every message
            self._distrust(f"trades: {last + 1} must follow, the next is {number}")

    # ------------------------------------------------------------ the channel full

    def _order(self, message: dict[str, Any]) -> Outcome:
        now = self._frame
        now.name = f"full {message['type']}"
        if "sequence" not in message:
            return Outcome.DECODED  # `activate`, of a stop order, changes no book
        if int(message["sequence"]) <= self._sequences.get(now.pair, 0):
            return self._ignore(f"{now.name} that came before")
        return Outcome.DECODED if self._follow(message) else self._ignore(f"{now.name} before its snapshot")

    def _follow(self, message: dict[str, Any]) -> bool:
        """Take the next message of the channel `full`; return whether there is a book that it is in."""
        now = self._frame
        last, number = self._sequences.get(now.pair), int(message["sequence"])
        self._sequences[now.pair] = max(number, last or 0)
        orders = self._orders.setdefault(now.pair, Orders(self._lots))
        if last is not None and number > last + 1:
            now.tally.sequence_gaps += 1
            self._distrust(f"sequence: {last + 1} must follow, received {number}")
        if orders.sequence is None:
            orders.waiting.append(message)
            return False
        if number > orders.sequence:  # else the snapshot, which may be newer than the feed, has it
            self._apply(orders, message)
        return True

    def _apply(self, orders: Orders, message: dict[str, Any]) -> None:
        try:
            levels = orders.apply(message)
        except LookupError as error:
            self._distrust(str(error))
            return
        orders.sequence = int(message["sequence"])
        if levels:
            self._book(levels, to_ns(message["time"]), sequence=orders.sequence)

    def load_orders(self, pair: str, body: bytes, ts_init: int) -> Records:
        """Begin a pair's book of orders with what REST answered to ``/products/PAIR/book?level=3``.

        Parameters
        ----------
        pair : str
            The venue's symbol.
        body : bytes
            The answer.
        ts_init : int
            When it came, ns UTC.

        Returns
        -------
        array of RECORD
            The snapshot, and the messages that waited for it and are newer. Only a GAP where the answer is older than
            the first of them: `take_resyncs` then asks for the pair again.

        Raises
        ------
        DataError
            If it is no such answer.
        """

        def read() -> None:
            snapshot = _loads(body)
            orders = self._orders.setdefault(pair, Orders(self._lots))
            levels, number = orders.load(snapshot), int(snapshot["sequence"])
            newer = [message for message in orders.waiting if int(message["sequence"]) > number]
            if newer and int(newer[0]["sequence"]) > number + 1:
                orders.sequence = None
                self._distrust(
                    f"the book of orders is of {number}, older than the messages from {newer[0]['sequence']}"
                )
                return
            orders.waiting.clear()
            self._book(levels, ts_init, snapshot=True, sequence=number)
            for message in newer:
                self._apply(orders, message)

        return self._outside(pair, ts_init, read)

    def rest(self, url: str, body: bytes, ts_init: int) -> Records:
        """Return what a REST answer says: a book of orders begins the pair's."""
        found = _ORDERS_URL.search(url)
        return super().rest(url, body, ts_init) if found is None else self.load_orders(found[1], body, ts_init)

    # ------------------------------------------------------------ resync

    def _forget(self, pair: str) -> None:
        self._known.discard(pair)
        if pair in self._orders:
            self._orders[pair].forget()

    def _resync_messages(self, pair: str) -> tuple[str, ...]:
        if pair in self._orders:
            return ()  # the feed goes on: fetch the pair's book of orders, and hand it to `load_orders`
        return tuple(
            dumps({"type": kind, "product_ids": [pair], "channels": ["level2_batch"]})
            for kind in ("unsubscribe", "subscribe")
        )
