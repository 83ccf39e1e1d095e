"""Coinbase Exchange's WebSocket feed (once GDAX): level-2 books, tickers, matches, heartbeats.

Source: Coinbase, "Exchange WebSocket Channels" and "Overview". Level 2 has neither sequence nor checksum: what is
missed shows only in the numbers of trades. A match's `side` is the maker's, so who took is the other one. The channel
`full`, of single orders, is accounted for by name; its sequence is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mdslib.feeds.rfc3339 import to_ns
from mdslib.feeds.venue import Level, Outcome, Pairs, VenueDecoder, dumps

_TAKER = {"sell": "b", "buy": "s"}  # by the maker's side
_SIDES = {"buy": 0, "sell": 1}
_CONTROL = ("subscriptions", "status")
_ORDERS = frozenset({"received", "open", "done", "change", "activate"})

_loads = msgspec.json.Decoder(float_hook=str).decode


class CoinbaseDecoder(VenueDecoder):
    """Frames of one Coinbase Exchange connection to records.

    Numbers of trades follow one another: a jump is counted as a gap of sequence. `last_match` is a trade from before
    the subscription, and counted as old.

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

    def __init__(self, pairs: Pairs | None = None) -> None:
        super().__init__(pairs)
        self._known: set[str] = set()  # pairs whose snapshot came
        self._trade_ids: dict[str, int] = {}
        self._sequences: dict[str, int] = {}  # of the channel `full`
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
        rows = [(0, row) for row in message["bids"]] + [(1, row) for row in message["asks"]]
        levels = [Level(side, float(price), self._lots(size)) for side, (price, size, *_) in rows]
        time = to_ns(message["time"]) if "time" in message else self._frame.ts_init
        self._book(levels, time, snapshot=True)
        self._known.add(self._frame.pair)
        return Outcome.DECODED

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
            self._follow(message)
            price, size = float(message["price"]), self._lots(message["size"])
            self._trade(to_ns(message["time"]), price, size, number, _TAKER[message["side"]])
            now.tally.sequence_gaps += last is not None and number > last + 1
        self._trade_ids[now.pair] = max(number, last or 0)
        return Outcome.DECODED

    def _heartbeat(self, message: dict[str, Any]) -> Outcome:
        now = self._frame
        last, newest = self._trade_ids.get(now.pair), int(message["last_trade_id"])
        if last is not None and newest > last:
            now.tally.sequence_gaps += 1
            self._trade_ids[now.pair] = newest
        return self._control("heartbeat")

    # ------------------------------------------------------------ the channel full

    def _order(self, message: dict[str, Any]) -> Outcome:
        if "sequence" in message:  # `activate`, of a stop order, has none
            self._follow(message, begins=True)
        return self._ignore(f"full {message['type']}, of single orders, is not read")

    def _follow(self, message: dict[str, Any], *, begins: bool = False) -> None:
        """Check the sequence of the channel `full`, in which every event counts; other channels leave events out."""
        now = self._frame
        last, number = self._sequences.get(now.pair), int(message["sequence"])
        if last is None and not begins:
            return
        now.tally.sequence_gaps += last is not None and number > last + 1
        self._sequences[now.pair] = max(number, last or 0)

    # ------------------------------------------------------------ resync

    def _forget(self, pair: str) -> None:
        self._known.discard(pair)

    def _resync_messages(self, pair: str) -> tuple[str, ...]:
        return tuple(
            dumps({"type": kind, "product_ids": [pair], "channels": ["level2_batch"]})
            for kind in ("unsubscribe", "subscribe")
        )
