"""The two websockets of Alpaca: market data at ``/v2/{feed}``, and order updates at ``/stream``."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from mdslib.sim.floor import Floor
from mdslib.sim.options import FEEDS, Mode
from mdslib.sim.subscription import AUTHENTICATED, CONNECTED, DataProtocol, error
from mdslib.sim.wire import CHANNELS


class DataConnection:
    """One data websocket."""

    def __init__(self, floor: Floor, socket: WebSocket) -> None:
        self.floor = floor
        self.socket = socket
        options = floor.options
        feed = socket.path_params["feed"]
        self.protocol = DataProtocol(
            feed, floor.keys, options.feeds, floor.market.symbols, options.symbol_limit, floor.slots
        )
        self.log = floor.log.connection(feed)
        self.mask = np.zeros((1, 1), bool)
        self.everything = False
        # In real time a blocked socket must not hold the day up; in free run and lock-step it is meant to.
        self.patience = options.slow_client if floor.mode in (Mode.REAL, Mode.FAST) else None
        self.gone = False
        self._slow = False
        self._task: asyncio.Task[Any] | None = None

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
            await self._say(self.protocol.authenticate(headers["apca-api-key-id"], headers.get("apca-api-secret-key")))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.floor.options.auth_timeout
        while not self.protocol.authenticated:
            try:
                text = await asyncio.wait_for(self._receive(), max(0.0, deadline - loop.time()))
            except TimeoutError:
                await self._say(error(404))
                await self.socket.close()
                return
            await self._say(self.protocol.receive(text))
        while True:
            before = self.protocol.subscribed
            reply = self.protocol.receive(await self._receive())
            # The acknowledgement goes out before the first event of what it acknowledges.
            await self._say(reply)
            if self.protocol.subscribed is not before:
                self._resubscribed()

    async def _receive(self) -> str | bytes:
        message = await self.socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        text: str | bytes = message.get("text") or message.get("bytes") or ""
        return text

    async def _say(self, text: str) -> None:
        await self.socket.send({"type": "websocket.send", "text": text})

    def _resubscribed(self) -> None:
        symbols = self.floor.market.symbols
        self.mask = np.zeros((256, len(symbols)), bool)
        for kind, channel in CHANNELS.items():
            asked = self.protocol.subscribed[channel]
            self.mask[int(kind)] = ["*" in asked or symbol in asked for symbol in symbols]
        self.everything = all(bool(self.mask[int(kind)].all()) for kind in self.floor.market.tables)
        if self not in self.floor.data_clients:
            self.floor.data_clients.append(self)
        self.floor.subscribed()

    async def send_events(self, lo: int, hi: int) -> int:
        """Send the subscribed ones of events ``lo:hi``; return the number of frames."""
        market, batch = self.floor.market, self.floor.options.batch
        messages, records = market.messages(lo, hi), market.records(lo, hi)
        if not self.everything:
            wanted = self.mask[market.kinds[lo:hi], market.instruments[lo:hi]]
            messages = [text for text, keep in zip(messages, wanted.tolist(), strict=True) if keep]
            records = records[wanted]
        frames = 0
        for start in range(0, len(messages), batch):
            stop = start + batch
            if not await self._send_frame("[" + ",".join(messages[start:stop]) + "]"):
                break
            self.log.add(records[start:stop])
            frames += 1
        return frames

    async def _send_frame(self, text: str) -> bool:
        message = {"type": "websocket.send", "text": text}
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
            self._leave()
            return False
        return not self.gone

    async def _drop(self) -> None:
        """Say 407 as far as the socket takes it, and end: the client reads slower than the day goes."""
        self._leave()
        try:
            async with asyncio.timeout(0.1):
                await self._say(error(407))
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            pass  # its buffer is full: the word doesn't get through, as the venue's may not
        self._slow = True
        if self._task is not None:
            self._task.cancel()

    def _leave(self) -> None:
        self.gone = True
        if self in self.floor.data_clients:
            self.floor.data_clients.remove(self)


class UpdateConnection:
    """One ``/stream`` websocket: authorization, listening, then ``trade_updates`` as binary frames."""

    def __init__(self, floor: Floor, socket: WebSocket) -> None:
        self.floor = floor
        self.socket = socket
        self.authorized = False

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

    async def _say(self, stream: str, data: dict[str, Any]) -> None:
        body = {"action": "error", "data": data} if stream == "error" else {"stream": stream, "data": data}
        await self.socket.send({"type": "websocket.send", "bytes": json.dumps(body).encode()})

    def _listen(self, *, listening: bool) -> None:
        clients = self.floor.update_clients
        if listening and self not in clients:
            clients.append(self)
        elif not listening and self in clients:
            clients.remove(self)

    async def send_update(self, body: bytes) -> None:
        """Send one update as a binary frame."""
        try:
            await self.socket.send({"type": "websocket.send", "bytes": body})
        except (WebSocketDisconnect, RuntimeError):
            self._listen(listening=False)


async def serve_data(socket: WebSocket) -> None:
    """Serve ``/v2/{feed}``."""
    if socket.path_params["feed"] not in FEEDS:
        await socket.close()
        return
    await DataConnection(socket.app.state.floor, socket).run()


async def serve_updates(socket: WebSocket) -> None:
    """Serve ``/stream``."""
    await UpdateConnection(socket.app.state.floor, socket).run()


__all__ = ["AUTHENTICATED", "DataConnection", "UpdateConnection", "serve_data", "serve_updates"]
