"""The websockets of Alpaca: market data at ``/v2/{feed}`` and ``/v1beta3/crypto/us``, order updates at ``/stream``."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from mdslib.events import Kind
from mdslib.sim.codec import choose_codec
from mdslib.sim.faults.kinds import DATA, UPDATES
from mdslib.sim.floor import Floor
from mdslib.sim.options import FEEDS, Mode
from mdslib.sim.subscription import AUTHENTICATED, CONNECTED, PAIRS, DataProtocol, error
from mdslib.sim.throw import Frame
from mdslib.sim.wire import CHANNELS

_BOOK = int(Kind.BOOK_DELTA)
_ASKED = {"auth": "login", "authenticate": "login", "listen": "subscribe"}


class DataConnection:
    """One data websocket."""

    def __init__(self, floor: Floor, socket: WebSocket, feed: str) -> None:
        self.floor = floor
        self.socket = socket
        self.number = next(floor.numbers)
        options = floor.options
        self.codec = choose_codec(socket.headers.get("content-type", ""))
        self.protocol = DataProtocol(
            feed, floor.keys, options.feeds, floor.market.symbols, options.symbol_limit, floor.slots, self.codec.read
        )
        self.line = None if floor.thrower is None else floor.thrower.line(self.codec)
        self.log = floor.log.connection(feed)
        self.mask = np.zeros((1, 1), bool)
        self.everything = False
        self.imaged: set[int] = set()  # instruments whose book it was sent whole
        # In real time a blocked socket must not hold the day up; in free run and lock-step it is meant to.
        self.patience = options.slow_client if floor.mode in (Mode.REAL, Mode.FAST) else None
        self.gone = False
        self._slow = False
        self._task: asyncio.Task[Any] | None = None

    @property
    def peer(self) -> tuple[str, int]:
        """The client's address."""
        return _peer(self.socket)

    async def run(self) -> None:
        """Serve the connection until it closes."""
        self._task = asyncio.current_task()
        await self.socket.accept()
        try:
            await self._say(CONNECTED)
            await self._converse()
        except (WebSocketDisconnect, RuntimeError):
            self.gone = True  # closed by the client
        except asyncio.CancelledError:
            if not self._slow:
                raise
        finally:
            self.gone = True
            self.protocol.release()
            if self in self.floor.data_clients:
                self.floor.data_clients.remove(self)

    async def _converse(self) -> None:
        headers = self.socket.headers
        if "apca-api-key-id" in headers:
            reply = self.protocol.authenticate(headers["apca-api-key-id"], headers.get("apca-api-secret-key"))
            await self._say(reply)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.floor.options.auth_timeout
        while not self.protocol.authenticated:
            try:
                text = await asyncio.wait_for(self._receive(), max(0.0, deadline - loop.time()))
            except TimeoutError:
                await self._say(error(404))
                await self.socket.close()
                return
            await self._answer(text, "login")
        while True:
            before = self.protocol.subscribed
            # The acknowledgement goes out before the first event of what it acknowledges.
            await self._answer(await self._receive(), "subscribe")
            if self.protocol.subscribed is not before:
                await self._resubscribed()

    async def _answer(self, text: str | bytes, on: str) -> None:
        fault = None if self.floor.thrower is None else self.floor.thrower.said(DATA, on)
        if fault is None:
            await self._say(self.protocol.receive(text))
            return
        await self._say(error(fault.code))
        if fault.close:
            await self.socket.close()
            raise WebSocketDisconnect

    async def _receive(self) -> str | bytes:
        message = await self.socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        text: str | bytes = message.get("text") or message.get("bytes") or ""
        return text

    async def _say(self, text: str) -> None:
        await self.socket.send(_message(self.codec.control(text)))

    async def _resubscribed(self) -> None:
        symbols, had = self.floor.market.symbols, self.mask
        self.mask = np.zeros((256, len(symbols)), bool)
        for kind, channel in CHANNELS.items():
            self.mask[int(kind)] = [self.protocol.hears(channel, symbol) for symbol in symbols]
        self.everything = all(bool(self.mask[int(kind)].all()) for kind in self.floor.market.tables)
        if self not in self.floor.data_clients:
            self.floor.data_clients.append(self)
        self.floor.subscribed()
        books = self.mask[_BOOK] if len(had) < len(self.mask) else self.mask[_BOOK] & ~had[_BOOK]
        if books.any():
            await self._send_images(np.flatnonzero(books).tolist())

    async def _send_images(self, instruments: list[int]) -> None:
        """Send the books as they are now, whole, to one that has just subscribed to them."""
        floor = self.floor
        texts, packed, heads = floor.market.images(floor.sent, instruments, floor.now)
        if len(heads):
            self.imaged.update(heads["instrument"].tolist())
            messages: list[Any] = self.codec.either(texts, packed)
            frames = [Frame(messages, heads)]
            sent = self._send_struck(frames if self.line is None else self.line.push(frames))
            frames_sent = await sent
            if not floor.between:  # else the session takes them for this instant's, which it could not count
                floor.told["frames", self.number] += frames_sent

    def hears(self, kind: int, instrument: int) -> bool:
        """Tell whether it has subscribed to the events of a kind and instrument."""
        return bool(self.mask[kind, instrument])

    async def send_events(self, lo: int, hi: int) -> int:
        """Send the subscribed ones of events ``lo:hi``; return the number of frames."""
        batch = self.floor.options.batch
        messages, records = self._subscribed(lo, hi)
        if self.line is not None:
            starts = range(0, len(messages), batch)
            self.floor.last.logged = len(messages)
            return await self._send_struck(
                self.line.push(Frame(messages[i : i + batch], records[i : i + batch]) for i in starts)
            )
        return await self._send_batches(messages, records, 0)

    async def send_again(self, lo: int, hi: int, logged: int) -> int:
        """Send events that a connection before this one was sent, and log all but the first `logged` of them."""
        messages, records = self._subscribed(lo, hi)
        if self.imaged:  # the images have these changes already
            kept = (records["kind"] != _BOOK) | ~np.isin(records["instrument"], sorted(self.imaged))
            messages = [message for message, keep in zip(messages, kept.tolist(), strict=True) if keep]
            records, logged = records[kept], int(np.count_nonzero(kept[:logged]))
        return await self._send_batches(messages, records, logged)

    def _subscribed(self, lo: int, hi: int) -> tuple[list[Any], Any]:
        """Return messages and records of those events ``lo:hi`` that are subscribed."""
        market = self.floor.market
        messages, records = self.codec.messages(market, lo, hi), market.records(lo, hi)
        if not self.everything or market.erased is not None:
            wanted = self.mask[market.kinds[lo:hi], market.instruments[lo:hi]]
            if market.erased is not None:
                wanted = wanted & ~market.erased[lo:hi]
            if not wanted.all():  # bars are few among trades: most frames hold none
                messages = [text for text, keep in zip(messages, wanted.tolist(), strict=True) if keep]
                records = records[wanted]
        return messages, records

    async def _send_batches(self, messages: list[Any], records: Any, logged: int) -> int:
        batch, frames = self.floor.options.batch, 0
        for start in range(0, len(messages), batch):
            stop = start + batch
            if not await self._send_frame(self.codec.join(messages[start:stop])):
                break
            self.log.add(self.floor.market.whole(records[max(start, logged) : stop]))
            self.floor.last.logged = max(self.floor.last.logged, min(stop, len(messages)))
            frames += 1
        return frames

    async def _send_struck(self, frames: list[Frame]) -> int:
        """Send what a fault script left of some frames; return their number."""
        for sent, frame in enumerate(frames):
            payload = self.codec.join(frame.messages) if frame.payload is None else frame.payload
            if not await self._send_frame(payload):
                return sent
            self.log.add(self.floor.market.whole(frame.records))
            if frame.close:
                self.leave()
                await self.socket.close()
                return sent + 1
        return len(frames)

    async def send_held(self, *, all_out: bool = False) -> int:
        """Send the frames that a fault held back and that are due; return their number."""
        return 0 if self.line is None else await self._send_struck(self.line.push(all_out=all_out))

    async def send_notice(self, channel: str, symbol: str, message: dict[str, Any], record: Any) -> int:
        """Send one message, if it is subscribed; return the number of frames."""
        if self.line is None or not self.protocol.hears(channel, symbol):
            return 0
        return await self._send_struck(self.line.push([Frame([self.codec.message(message)], record)]))

    async def _send_frame(self, payload: str | bytes) -> bool:
        message = _message(payload)
        try:
            if self.patience is None:
                await self.socket.send(message)
            else:
                async with asyncio.timeout(self.patience):
                    await self.socket.send(message)
        except TimeoutError:
            await self._drop()
            return False
        except (WebSocketDisconnect, RuntimeError):
            self.leave()
            return False
        return not self.gone

    async def _drop(self) -> None:
        """Say 407 as far as the socket takes it, and end: the client reads slower than the day goes."""
        self.leave()
        try:
            async with asyncio.timeout(0.1):
                await self._say(error(407))
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            pass  # its buffer is full: the word doesn't get through, as the venue's may not
        self._slow = True
        if self._task is not None:
            self._task.cancel()

    def leave(self) -> None:
        """Take it off the floor: nothing more is sent to it."""
        self.gone = True
        if self in self.floor.data_clients:
            self.floor.data_clients.remove(self)


class UpdateConnection:
    """One ``/stream`` websocket: authorization, listening, then ``trade_updates`` as binary frames."""

    def __init__(self, floor: Floor, socket: WebSocket) -> None:
        self.floor = floor
        self.socket = socket
        self.number = next(floor.numbers)
        self.authorized = False

    @property
    def peer(self) -> tuple[str, int]:
        """The client's address."""
        return _peer(self.socket)

    def leave(self) -> None:
        """Take it off the floor: nothing more is sent to it."""
        self._listen(listening=False)

    async def run(self) -> None:
        """Serve the connection until it closes."""
        await self.socket.accept()
        try:
            while True:
                message = await self.socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                await self._answer(message.get("text") or message.get("bytes") or "")
        except (WebSocketDisconnect, RuntimeError):
            return  # the client is gone
        finally:
            self._listen(listening=False)

    async def _answer(self, text: str | bytes) -> None:
        try:
            message = json.loads(text)
            action = message["action"]
        except (ValueError, KeyError, TypeError):
            return await self._say("error", {"error_message": "invalid message"})
        fault = None if self.floor.thrower is None else self.floor.thrower.said(UPDATES, _ASKED.get(action, ""))
        if fault is not None:
            await self._say_error(action, fault.close)
            return None
        if action in ("auth", "authenticate"):
            data = message.get("data") or {}
            pair = (
                (data.get("key_id"), data.get("secret_key"))
                if action == "authenticate"
                else (message.get("key"), message.get("secret"))
            )
            self.authorized = self.floor.keys.match(*pair)
            status = "authorized" if self.authorized else "unauthorized"
            return await self._say("authorization", {"status": status, "action": "authenticate"})
        if action != "listen":
            return await self._say("error", {"error_message": f"unknown action {action}"})
        if not self.authorized:
            return await self._say("authorization", {"status": "unauthorized", "action": "listen"})
        asked = (message.get("data") or {}).get("streams") or []
        streams = [name for name in asked if name == "trade_updates"]
        await self._say("listening", {"streams": streams})
        self._listen(listening=bool(streams))

    async def _say_error(self, action: str, close: bool) -> None:
        """Say what a fault script wants instead of the answer: not authorized, or the stream's only error."""
        if action == "listen":
            await self._say("error", {"error_message": "internal server error"})
        else:
            await self._say("authorization", {"status": "unauthorized", "action": "authenticate"})
        if close:
            await self.socket.close()

    async def _say(self, stream: str, data: dict[str, Any]) -> None:
        body = {"action": "error", "data": data} if stream == "error" else {"stream": stream, "data": data}
        await self.socket.send({"type": "websocket.send", "bytes": json.dumps(body).encode()})

    def _listen(self, *, listening: bool) -> None:
        clients = self.floor.update_clients
        if listening and self not in clients:
            clients.append(self)
        elif not listening and self in clients:
            clients.remove(self)

    async def send_update(self, body: str | bytes) -> None:
        """Send one update as a binary frame."""
        try:
            await self.socket.send(_message(body))
        except (WebSocketDisconnect, RuntimeError):
            self._listen(listening=False)

    async def end(self) -> None:
        """Close the connection."""
        self._listen(listening=False)
        await self.socket.close()


def _peer(socket: WebSocket) -> tuple[str, int]:
    return (socket.client.host, socket.client.port) if socket.client is not None else ("", 0)


def _message(payload: str | bytes) -> dict[str, Any]:
    return {"type": "websocket.send", "text" if isinstance(payload, str) else "bytes": payload}


async def serve_data(socket: WebSocket) -> None:
    """Serve ``/v2/{feed}``."""
    if socket.path_params["feed"] not in FEEDS:
        await socket.close()
        return
    await DataConnection(socket.app.state.floor, socket, socket.path_params["feed"]).run()


async def serve_pairs(socket: WebSocket) -> None:
    """Serve ``/v1beta3/crypto/us``."""
    await DataConnection(socket.app.state.floor, socket, PAIRS).run()


async def serve_updates(socket: WebSocket) -> None:
    """Serve ``/stream``."""
    await UpdateConnection(socket.app.state.floor, socket).run()


__all__ = ["AUTHENTICATED", "DataConnection", "UpdateConnection", "serve_data", "serve_pairs", "serve_updates"]
