"""Kraken's side of its WebSocket v2."""

from __future__ import annotations

from typing import Any

import msgspec

from mdslib.feeds.kraken import checksum, digits
from mdslib.feeds.wire_book import WireBook
from mdslib.sim.venues.side import Client, TextBook, Topic, VenueSide, is_zero, text

_NAMES = {"book": "book", "trade": "trades", "ticker": "quotes"}
_SIDES = ("bids", "asks")
_loads = msgspec.json.Decoder(float_hook=str).decode


class KrakenV2Side(VenueSide):
    """Answers each symbol by itself; an image has a checksum too, over the texts of its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._books: dict[str, TextBook] = {}
        self._times: dict[str, str] = {}

    def topic(self, frame: bytes) -> Topic | None:
        """Return what a frame is about."""
        message = _loads(frame)
        channel = _NAMES.get(message.get("channel", "")) if isinstance(message, dict) else None
        return Topic(channel, message["data"][0]["symbol"]) if channel and message["data"] else None

    def play(self, frame: bytes) -> None:
        """Bring the books up to date."""
        message = _loads(frame)
        if message["channel"] != "book":
            return
        for item in message["data"]:
            if message["type"] == "snapshot":
                self._books[item["symbol"]] = TextBook()
            self._times[item["symbol"]] = item.get("timestamp", "")
            for side, name in enumerate(_SIDES):
                for row in item[name]:
                    price, size = str(row["price"]), str(row["qty"])
                    self._books[item["symbol"]].set(side, price, None if is_zero(size) else (price, size))

    def opening(self, client: Client) -> list[str]:
        """Return what a new connection is sent."""
        return ['{"channel":"status","type":"update","data":[{"system":"online","api_version":"v2"}]}']

    def hear(self, message: Any, client: Client) -> list[str]:
        """Answer a message."""
        if not isinstance(message, dict) or message.get("method") not in ("ping", "subscribe", "unsubscribe"):
            return [text({"error": "Malformed request", "success": False, "method": ""})]
        method, parameters = message["method"], message.get("params", {})
        if method == "ping":
            return [text({"method": "pong"})]
        if parameters.get("channel") == "instrument":
            return [text({"method": method, "result": {"channel": "instrument"}, "success": True})]
        return [
            each for symbol in parameters.get("symbol", []) for each in self._one(method, symbol, parameters, client)
        ]

    def _one(self, method: str, symbol: str, parameters: dict[str, Any], client: Client) -> list[str]:
        topic = Topic(_NAMES.get(parameters.get("channel", ""), ""), symbol)
        if symbol not in self.pairs or not topic.channel:
            why = f"Currency pair not supported {symbol}"
            return [text({"error": why, "method": method, "success": False, "symbol": symbol})]
        reply = text({"method": method, "result": parameters | {"symbol": symbol}, "success": True})
        if method == "unsubscribe":
            client.topics.pop(topic, None)
            return [reply]
        client.topics[topic] = parameters["channel"]
        return [reply, self._image(symbol)] if topic.channel == "book" and symbol in self._books else [reply]

    def _image(self, symbol: str) -> str:
        wire, told = WireBook(), []
        for side, name in enumerate(_SIDES):
            rows = self._books[symbol].rows(side)
            for price, size in rows:
                wire.put(side, float(price), digits(price) + digits(size))
            told.append(f'"{name}":[{",".join(f"""{{"price":{price},"qty":{size}}}""" for price, size in rows)}]')
        item = f'"symbol":"{symbol}",{",".join(told)},"checksum":{checksum(wire)}'
        return f'{{"channel":"book","type":"snapshot","data":[{{{item},"timestamp":"{self._times[symbol]}"}}]}}'

    def beat(self, client: Client) -> list[str]:
        """Return the heartbeats of this second."""
        return ['{"channel":"heartbeat"}'] if client.topics else []
