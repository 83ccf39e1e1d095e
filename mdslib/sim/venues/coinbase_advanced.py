"""Coinbase's side of its Advanced Trade websocket: one number counts all messages of a connection."""

from __future__ import annotations

from typing import Any

import msgspec

from mdslib.feeds.rfc3339 import from_ns
from mdslib.sim.venues.side import Client, TextBook, Topic, VenueSide, is_zero, text

_NAMES = {"l2_data": "book", "market_trades": "trades", "ticker": "quotes"}
_CHANNELS = {"level2": "book", "market_trades": "trades", "ticker": "quotes"}
_SIDES = ("bid", "offer")


class AdvancedSide(VenueSide):
    """A subscription is one channel; its data come under another name for books, `l2_data`."""

    def __init__(self) -> None:
        super().__init__()
        self._books: dict[str, TextBook] = {}

    def topic(self, frame: bytes) -> Topic | None:
        """Return what a frame is about."""
        message = msgspec.json.decode(frame)
        channel = _NAMES.get(message.get("channel", ""))
        if channel is None or not message["events"]:
            return None
        event = message["events"][0]
        rows = event.get("trades") or event.get("tickers") or [event]
        return Topic(channel, rows[0]["product_id"])

    def play(self, frame: bytes) -> None:
        """Bring the books up to date."""
        message = msgspec.json.decode(frame)
        for event in message["events"] if message["channel"] == "l2_data" else ():
            if event["type"] == "snapshot":
                self._books[event["product_id"]] = TextBook()
            for row in event["updates"]:
                kept = None if is_zero(row["new_quantity"]) else row
                self._books[event["product_id"]].set(_SIDES.index(row["side"]), row["price_level"], kept)

    def opening(self, client: Client) -> list[str]:
        """Return what a new connection is sent."""
        return []

    def hear(self, message: Any, client: Client) -> list[str]:
        """Answer a message."""
        kind = message.get("type") if isinstance(message, dict) else None
        if kind not in ("subscribe", "unsubscribe"):
            return [text({"type": "error", "message": "malformed request"})]
        if message["channel"] == "heartbeats":
            client.topics[Topic("beat", "")] = "heartbeats"
            return [self._dressed("subscriptions", [], client)]
        images: list[str] = []
        for pair in message.get("product_ids", []):
            topic = Topic(_CHANNELS.get(message["channel"], ""), pair)
            if pair not in self.pairs or not topic.channel:
                return [text({"type": "error", "message": f"{pair} is not a valid product"})]
            if kind == "unsubscribe":
                client.topics.pop(topic, None)
                continue
            client.topics[topic] = message["channel"]
            if topic.channel == "book" and pair in self._books:
                rows = [row for side in (0, 1) for row in self._books[pair].rows(side)]
                event = {"type": "snapshot", "product_id": pair, "updates": rows}
                images.append(self._dressed("l2_data", [event], client))
        return [*images, self._dressed("subscriptions", [], client)]

    def dress(self, frame: bytes, topic: Topic, client: Client) -> str:
        """Return the frame under this connection's numbers."""
        message = msgspec.json.decode(frame)
        number, client.sequence = client.sequence, client.sequence + 1
        return text(message | {"sequence_num": number})

    def beat(self, client: Client) -> list[str]:
        """Return the heartbeats of this second."""
        beats = [{"current_time": from_ns(self.now), "heartbeat_counter": client.sequence}]
        return [self._dressed("heartbeats", beats, client)] if Topic("beat", "") in client.topics else []

    def _dressed(self, channel: str, events: list[Any], client: Client) -> str:
        number, client.sequence = client.sequence, client.sequence + 1
        head = {"channel": channel, "client_id": "", "timestamp": from_ns(self.now), "sequence_num": number}
        return text(head | {"events": events})
