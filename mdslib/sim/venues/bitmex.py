"""BitMEX's side of its realtime websocket: tables, and images of them."""

from __future__ import annotations

from typing import Any

import msgspec

from mdslib.sim.venues.side import Client, Topic, VenueSide, text

_TABLES = {"orderBookL2": "book", "orderBookL2_25": "book", "trade": "trades", "quote": "quotes"}


class BitmexSide(VenueSide):
    """Answers each topic by itself, then sends its image; `ping` is answered with `pong`."""

    def __init__(self) -> None:
        super().__init__()
        self._levels: dict[str, dict[int, dict[str, Any]]] = {}

    def topic(self, frame: bytes) -> Topic | None:
        """Return what a frame is about."""
        if not frame.startswith(b"{"):
            return None
        message = msgspec.json.decode(frame)
        channel = _TABLES.get(message.get("table", ""))
        if channel is None:
            return None
        symbol = message.get("filter", {}).get("symbol") or next((row["symbol"] for row in message["data"]), "")
        return Topic(channel, symbol) if symbol else None

    def play(self, frame: bytes) -> None:
        """Bring the books up to date."""
        topic = self.topic(frame)
        if topic is None or topic.channel != "book":
            return
        message = msgspec.json.decode(frame)
        if message["action"] == "partial":
            self._levels[topic.pair] = {}
        levels = self._levels.setdefault(topic.pair, {})
        for row in message["data"]:
            if message["action"] == "delete":
                levels.pop(row["id"], None)
            else:
                levels[row["id"]] = levels.get(row["id"], {}) | row

    def opening(self, client: Client) -> list[str]:
        """Return what a new connection is sent."""
        welcome = {"info": "Welcome to the BitMEX Realtime API.", "docs": "https://www.bitmex.com/app/wsAPI"}
        return [text(welcome | {"heartbeatEnabled": False, "limit": {"remaining": 39}})]

    def hear(self, message: Any, client: Client) -> list[str]:
        """Answer a message."""
        if message == "ping":
            return ["pong"]
        operation = message.get("op") if isinstance(message, dict) else None
        if operation not in ("subscribe", "unsubscribe"):
            return [text({"status": 400, "error": "Unrecognized request.", "meta": {}, "request": message})]
        arguments = message["args"] if isinstance(message["args"], list) else [message["args"]]
        answers: list[str] = []
        for argument in arguments:
            table, _, symbol = argument.partition(":")
            topic = Topic(_TABLES.get(table, ""), symbol)
            if not topic.channel or symbol not in self.pairs:
                why = "Unknown or expired symbol." if topic.channel else f"Unknown table: {table}"
                answers.append(text({"status": 400, "error": why, "meta": {}, "request": message}))
                continue
            answers.append(text({"success": True, operation: argument, "request": message}))
            if operation == "unsubscribe":
                client.topics.pop(topic, None)
            else:
                client.topics[topic] = table
                answers += self._image(topic, table)
        return answers

    def _image(self, topic: Topic, table: str) -> list[str]:
        levels = self._levels.get(topic.pair)
        if topic.channel != "book" or levels is None:
            return []
        image = {"table": table, "action": "partial", "keys": ["symbol", "id", "side"], "types": {}}
        return [text(image | {"filter": {"symbol": topic.pair}, "data": list(levels.values())})]
