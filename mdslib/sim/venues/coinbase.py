"""Coinbase Exchange's side of its websocket feed."""

from __future__ import annotations

from typing import Any

import msgspec

from mdslib.sim.venues.side import Client, TextBook, Topic, VenueSide, is_zero, text

_CHANNELS = {"level2_batch": "book", "level2_50": "book", "matches": "trades", "ticker": "quotes", "heartbeat": "beat"}
_TYPES = {"snapshot": "book", "l2update": "book", "match": "trades", "last_match": "trades", "ticker": "quotes"}
_CLOSED = ("level2", "level3", "full")


class CoinbaseSide(VenueSide):
    """Refuses the channels that need a key; answers with the list of all subscriptions."""

    def __init__(self) -> None:
        super().__init__()
        self._books: dict[str, TextBook] = {}
        self._matches: dict[str, dict[str, Any]] = {}

    def topic(self, frame: bytes) -> Topic | None:
        """Return what a frame is about."""
        message = msgspec.json.decode(frame)
        channel = _TYPES.get(message["type"])
        return None if channel is None else Topic(channel, message["product_id"])

    def play(self, frame: bytes) -> None:
        """Bring the books up to date."""
        message = msgspec.json.decode(frame)
        kind = message["type"]
        if kind == "snapshot":
            book = self._books[message["product_id"]] = TextBook()
            for side, name in enumerate(("bids", "asks")):
                for row in message[name]:
                    book.set(side, row[0], row)
        elif kind == "l2update":
            for side, price, size in message["changes"]:
                row = None if is_zero(size) else [price, size]
                self._books[message["product_id"]].set(int(side == "sell"), price, row)
        elif kind in ("match", "last_match"):
            self._matches[message["product_id"]] = message

    def opening(self, client: Client) -> list[str]:
        """Return what a new connection is sent."""
        return []

    def hear(self, message: Any, client: Client) -> list[str]:
        """Answer a message."""
        if not isinstance(message, dict) or message.get("type") not in ("subscribe", "unsubscribe"):
            return [text({"type": "error", "message": "Malformed JSON"})]
        asked: list[tuple[str, str]] = []
        for channel in message.get("channels", []):
            name = channel if isinstance(channel, str) else channel["name"]
            own = [] if isinstance(channel, str) else channel.get("product_ids", [])
            asked += [(name, pair) for pair in [*message.get("product_ids", []), *own]]
        for name, pair in asked:
            if name in _CLOSED:
                why = f"{', '.join(_CLOSED)} channels now require authentication."
                return [text({"type": "error", "message": "Failed to subscribe", "reason": why})]
            if name not in _CHANNELS or pair not in self.pairs:
                why = f"{pair} is not a valid product" if name in _CHANNELS else f"{name} is not a valid channel"
                return [text({"type": "error", "message": "Failed to subscribe", "reason": why})]
        images: list[str] = []
        for name, pair in asked:
            topic = Topic(_CHANNELS[name], pair)
            if message["type"] == "unsubscribe":
                client.topics.pop(topic, None)
            elif topic not in client.topics:
                client.topics[topic] = name
                images += self._image(topic)
        return [text({"type": "subscriptions", "channels": _listed(client)}), *images]

    def _image(self, topic: Topic) -> list[str]:
        book, match = self._books.get(topic.pair), self._matches.get(topic.pair)
        if topic.channel == "book" and book is not None:
            image = {"type": "snapshot", "product_id": topic.pair, "bids": book.rows(0), "asks": book.rows(1)}
            return [text(image)]
        return [text(match | {"type": "last_match"})] if topic.channel == "trades" and match is not None else []

    def beat(self, client: Client) -> list[str]:
        """Return the heartbeats of this second."""
        beats = []
        for topic in client.topics:
            if topic.channel == "beat":
                match = self._matches.get(topic.pair, {"trade_id": 0, "sequence": 0})
                beats.append(
                    text({"type": "heartbeat", "last_trade_id": match["trade_id"], "product_id": topic.pair,
                          "sequence": match["sequence"], "time": "2021-04-17T16:43:37.000000Z"})
                )  # fmt: skip
        return beats


def _listed(client: Client) -> list[dict[str, Any]]:
    names = sorted(set(client.topics.values()))
    return [
        {"name": name, "product_ids": [topic.pair for topic, own in client.topics.items() if own == name]}
        for name in names
    ]
