"""Kraken's side of its WebSocket v1."""

from __future__ import annotations

from typing import Any

import msgspec

from mdslib.sim.venues.side import Client, TextBook, Topic, VenueSide, is_zero, text

_NAMES = {"book": "book", "trade": "trades", "ticker": "quotes"}
_SIDES = {"as": 1, "bs": 0, "a": 1, "b": 0}


class KrakenSide(VenueSide):
    """Answers subscriptions with `subscriptionStatus`, and books with an image of the subscribed depth."""

    def __init__(self) -> None:
        super().__init__()
        self._books: dict[str, TextBook] = {}
        self._depths: dict[str, int] = {}

    def topic(self, frame: bytes) -> Topic | None:
        """Return what a frame is about."""
        message = msgspec.json.decode(frame)
        if not isinstance(message, list):
            return None
        channel = _NAMES.get(message[-2].partition("-")[0])
        return None if channel is None else Topic(channel, message[-1])

    def play(self, frame: bytes) -> None:
        """Bring the books up to date."""
        message = msgspec.json.decode(frame)
        if not isinstance(message, list) or not message[-2].startswith("book"):
            return
        pair = message[-1]
        depth = self._depths[pair] = int(message[-2].partition("-")[2])
        for part in message[1:-2]:
            if "as" in part or "bs" in part:
                self._books[pair] = TextBook()
            for key, rows in part.items():
                for row in rows if key in _SIDES else ():
                    self._books[pair].set(_SIDES[key], row[0], None if is_zero(row[1]) else row[:3])
        self._books[pair].truncate(depth)

    def opening(self, client: Client) -> list[str]:
        """Return what a new connection is sent."""
        status = {"connectionID": client.number, "event": "systemStatus", "status": "online", "version": "1.8.3"}
        return [text(status)]

    def hear(self, message: Any, client: Client) -> list[str]:
        """Answer a message."""
        if not isinstance(message, dict):
            return [text({"errorMessage": "Malformed request", "event": "error"})]
        if message.get("event") == "ping":
            return [text({"event": "pong"})]
        answers = []
        for pair in message.get("pair", []):
            subscription = message.get("subscription", {})
            answers += self._one(message.get("event"), pair, subscription, client)
        return answers

    def _one(self, event: Any, pair: str, subscription: dict[str, Any], client: Client) -> list[str]:
        topic = Topic(_NAMES.get(subscription.get("name", ""), ""), pair)
        reply = {"event": "subscriptionStatus", "pair": pair, "subscription": subscription}
        if pair not in self.pairs or not topic.channel:
            why = f"Currency pair not supported {pair}" if topic.channel else "Subscription name invalid"
            return [text({"errorMessage": why, **reply, "status": "error"})]
        name = f"book-{self._depths.get(pair, 1000)}" if topic.channel == "book" else subscription["name"]
        if event == "unsubscribe":
            client.topics.pop(topic, None)
            return [text({"channelName": name, **reply, "status": "unsubscribed"})]
        client.topics[topic] = name
        answers = [text({"channelID": 336, "channelName": name, **reply, "status": "subscribed"})]
        book = self._books.get(pair)
        if topic.channel == "book" and book is not None:
            answers.append(text([336, {"as": book.rows(1), "bs": book.rows(0)}, name, pair]))
        return answers

    def beat(self, client: Client) -> list[str]:
        """Return the heartbeats of this second."""
        return [text({"event": "heartbeat"})] if client.topics else []
