"""Bitfinex's side of its WebSocket v2: channel numbers and a sequence of each connection's own."""

from __future__ import annotations

from typing import Any

import msgspec

from mdslib.feeds.bitfinex import OB_CHECKSUM, SEQ_ALL, TIMESTAMP, checksum
from mdslib.feeds.wire_book import WireBook
from mdslib.sim.venues.side import Client, TextBook, Topic, VenueSide, text

_NAMES = {"book": "book", "trades": "trades", "ticker": "quotes"}
_CHECK_EVERY = 20  # updates of a book between two checksums
_loads = msgspec.json.Decoder(float_hook=str).decode


class BitfinexSide(VenueSide):
    """Numbers every frame where the client asked for it (SEQ_ALL), and sends checksums (OB_CHECKSUM)."""

    def __init__(self) -> None:
        super().__init__()
        self._channels: dict[int, Topic] = {}  # of the capture
        self._books: dict[str, TextBook] = {}
        self._updates: dict[str, int] = {}
        self._numbered = False

    def learn(self, frame: bytes) -> None:
        """Remember the capture's numbers of channels."""
        message = _loads(frame)
        if isinstance(message, dict):
            if message["event"] == "subscribed":
                topic = Topic(_NAMES.get(message["channel"], ""), message.get("symbol", ""))
                self._channels[message["chanId"]] = topic
            elif message["event"] == "conf":
                self._numbered = bool(int(message["flags"]) & SEQ_ALL)
        super().learn(frame)

    def topic(self, frame: bytes) -> Topic | None:
        """Return what a frame is about."""
        message = _loads(frame)
        if not isinstance(message, list) or message[1] in ("hb", "cs"):
            return None
        return self._channels.get(message[0])

    def play(self, frame: bytes) -> None:
        """Bring the books up to date."""
        topic = self.topic(frame)
        if topic is None or topic.channel != "book":
            return
        payload = _loads(frame)[1]
        image = topic.pair not in self._books
        book = self._books.setdefault(topic.pair, TextBook())
        for price, count, amount in payload if image else [payload]:
            side = int(str(amount).startswith("-"))
            book.set(side, str(price), [str(price), int(count), str(amount)] if int(count) else None)
        self._updates[topic.pair] = self._updates.get(topic.pair, 0) + 1

    def opening(self, client: Client) -> list[str]:
        """Return what a new connection is sent."""
        return [text({"event": "info", "version": 2, "serverId": "local", "platform": {"status": 1}})]

    def hear(self, message: Any, client: Client) -> list[str]:
        """Answer a message."""
        event = message.get("event") if isinstance(message, dict) else None
        if event == "ping":
            return [text({"event": "pong", "ts": self.now // 1_000_000, "cid": message.get("cid", 0)})]
        if event == "conf":
            client.flags = int(message["flags"])
            return [text({"event": "conf", "status": "OK", "flags": client.flags})]
        if event == "unsubscribe":
            gone = [topic for topic, own in client.topics.items() if own == str(message["chanId"])]
            for topic in gone:
                del client.topics[topic]
            return [text({"event": "unsubscribed", "status": "OK", "chanId": message["chanId"]})]
        if event != "subscribe":
            return [text({"event": "error", "msg": "unknown event", "code": 10000})]
        return self._subscribe(message, client)

    def _subscribe(self, message: dict[str, Any], client: Client) -> list[str]:
        asked = {key: value for key, value in message.items() if key != "event"}
        topic = Topic(_NAMES.get(message["channel"], ""), message["symbol"])
        if topic.pair not in self.pairs:
            return [text({**asked, "event": "error", "msg": "symbol: invalid", "code": 10300})]
        if topic in client.topics:
            already = {"event": "error", "msg": "subscribe: dup", "code": 10301, "chanId": int(client.topics[topic])}
            return [text({**asked, **already})]
        # Never the capture's number, nor one that this connection used before.
        client.channels += 1
        number = client.topics[topic] = str(1000 * client.number + client.channels)
        answers = [text({**asked, "event": "subscribed", "chanId": int(number)})]
        book = self._books.get(topic.pair)
        if topic.channel == "book" and book is not None:
            rows = ",".join(
                f"[{price},{count},{amount}]" for side in (0, 1) for price, count, amount in book.rows(side)
            )
            answers.append(self._numbers(f"[{number},[{rows}]", client))
        return answers

    def dress(self, frame: bytes, topic: Topic, client: Client) -> str:
        """Return the frame under this connection's numbers."""
        body = frame.decode().strip()[1:-1]
        body = body[body.index(",") + 1 : body.rindex(",") if self._numbered else None]
        dressed = self._numbers(f"[{client.topics[topic]},{body}", client)
        if topic.channel == "book" and client.flags & OB_CHECKSUM and not self._updates[topic.pair] % _CHECK_EVERY:
            # Two frames of one socket, which the server sends one after the other.
            dressed += "\n" + self._numbers(f'[{client.topics[topic]},"cs",{self._checksum(topic.pair)}', client)
        return dressed

    def beat(self, client: Client) -> list[str]:
        """Return the heartbeats of this second."""
        return [self._numbers(f'[{number},"hb"', client) for number in client.topics.values()]

    def _numbers(self, opened: str, client: Client) -> str:
        if client.flags & SEQ_ALL:
            client.sequence += 1
            opened += f",{client.sequence}"
        return opened + (f",{self.now // 1_000_000}]" if client.flags & TIMESTAMP else "]")

    def _checksum(self, pair: str) -> int:
        book = WireBook()
        for side in (0, 1):
            for price, _, amount in self._books[pair].rows(side):
                book.put(side, float(price), f"{price}:{amount}")
        return checksum(book)
