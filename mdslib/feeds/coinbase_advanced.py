"""Coinbase Advanced Trade's WebSocket feed: level-2 books, trades, tickers, heartbeats.

Source: Coinbase, "Advanced Trade WebSocket channels". One sequence counts all messages of a connection, heartbeats
included. Whether a trade's `side` is the maker's or the taker's is not documented: it is kept as sent, in capitals.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mdslib.feeds.account import Outcome
from mdslib.feeds.form import Form, FormReader
from mdslib.feeds.form_scan import NUMBER, PLACE
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.recent import Recent
from mdslib.feeds.rfc3339 import to_ns
from mdslib.feeds.venue import Level, VenueDecoder, dumps

_SIDES = {"bid": 0, "offer": 1}
_CONTROL = ("heartbeats", "subscriptions")
_ROW = '{"side":"<side:bid|offer>","event_time":"<word>","price_level":"<price>","new_quantity":"<size>"}'
_HEAD = '{"channel":"l2_data","client_id":"<word>","timestamp":"<time>","sequence_num":<sequence>,"events":[{"type":'
_TAIL = f',"product_id":"<pair>","updates":[<rows>{_ROW}</rows>]}}]}}'


class AdvancedDecoder(VenueDecoder):
    """Frames of one Advanced Trade connection to records.

    A gap of the connection's sequence makes every book unknown, until its next snapshot.

    Examples
    --------
    >>> decoder = AdvancedDecoder()
    >>> level = '{"side":"offer","event_time":"2026-04-07T14:30:00Z","price_level":"68901.00","new_quantity":"0.5"}'
    >>> event = '{"type":"snapshot","product_id":"BTC-USD","updates":[%s]}' % level
    >>> frame = '{"channel":"l2_data","timestamp":"2026-04-07T14:30:00Z","sequence_num":0,"events":[%s]}' % event
    >>> decoder.receive(frame, ts_init=0)["f0"].tolist()
    [nan, 68901.0]
    """

    venue = "coinbase"
    forms = Form(f'{_HEAD}"update"{_TAIL}'), Form(f'{_HEAD}"snapshot"{_TAIL}', image=True, name="book snapshot")

    def __init__(self, pairs: Pairs | None = None) -> None:
        super().__init__(pairs)
        self._known: set[str] = set()  # pairs whose snapshot came
        self._seen: dict[str, Recent[int]] = {}
        self._sequence: int | None = None

    def _read(self, data: bytes) -> Outcome:
        message = msgspec.json.decode(data)
        if message.get("type") == "error":
            return self._control(f"refused: {message.get('message', 'no reason given')}")
        channel = self._frame.name = message["channel"]
        self._check_sequence(int(message["sequence_num"]))
        if channel in _CONTROL:
            return self._control(channel)
        events, time = message["events"], to_ns(message["timestamp"])
        if channel == "l2_data":
            outcomes = [self._levels(event, time) for event in events]
        elif channel == "market_trades":
            outcomes = [self._match(trade, event["type"]) for event in events for trade in event["trades"]]
        elif channel in ("ticker", "ticker_batch"):
            outcomes = [self._ticker(ticker, time) for event in events for ticker in event["tickers"]]
        else:
            return self._ignore(f"channel {channel} is not read")
        if Outcome.DECODED in outcomes:
            return Outcome.DECODED
        return Outcome.IGNORED if outcomes else self._ignore(f"{channel} without events")

    def _check_sequence(self, number: int) -> None:
        expected = None if self._sequence is None else self._sequence + 1
        self._sequence = number
        if expected is None or number == expected:
            return
        self._frame.tally.sequence_gaps += 1
        for pair in sorted(self._known):
            self._distrust(f"sequence: {expected} must follow, received {number}", pair)

    def _formed(self, reader: FormReader, data: bytes, ts_init: int) -> bool:
        pair, number = self.pairs.symbols[reader.found[PLACE]], reader.found[NUMBER]
        if not (reader.first or pair in self._known) or self._sequence not in (None, number - 1):
            return False
        self._known.add(pair)
        self._sequence = number
        self._keep(reader)
        return True

    def _levels(self, event: dict[str, Any], time: int) -> Outcome:
        now = self._frame
        image = event["type"] == "snapshot"
        now.name = "book snapshot" if image else "book update"
        if not self._of(event["product_id"]):
            return Outcome.IGNORED
        if not image and now.pair not in self._known:
            return self._ignore("book update before its snapshot")
        rows = event["updates"]
        levels = [
            Level(_SIDES[row["side"]], float(row["price_level"]), self._lots(row["new_quantity"])) for row in rows
        ]
        self._book(levels, time, snapshot=image)
        self._known.add(now.pair)
        return Outcome.DECODED

    def _match(self, trade: dict[str, Any], kind: str) -> Outcome:
        now = self._frame
        if not self._of(trade["product_id"]):
            return Outcome.IGNORED
        number = int(trade["trade_id"])
        new = self._seen.setdefault(now.pair, Recent()).add(number)  # a frame's trades need not be in order of number
        if kind == "snapshot":
            now.tally.old_trades += 1
        elif not new:
            now.tally.repeated_trades += 1
        else:
            price, size = float(trade["price"]), self._lots(trade["size"])
            self._trade(to_ns(trade["time"]), price, size, number, trade["side"][:1])
        return Outcome.DECODED

    def _ticker(self, ticker: dict[str, Any], time: int) -> Outcome:
        if not self._of(ticker["product_id"]):
            return Outcome.IGNORED
        sizes = (self._lots(ticker.get(name) or "0") for name in ("best_bid_quantity", "best_ask_quantity"))
        self._quote(time, float(ticker["best_bid"]), float(ticker["best_ask"]), *sizes)
        return Outcome.DECODED

    def _forget(self, pair: str) -> None:
        self._known.discard(pair)

    def _resync_messages(self, pair: str) -> tuple[str, ...]:
        return tuple(
            dumps({"type": kind, "product_ids": [pair], "channel": "level2"}) for kind in ("unsubscribe", "subscribe")
        )
