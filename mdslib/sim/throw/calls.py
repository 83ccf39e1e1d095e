"""Faults on REST calls, and on connecting: an ASGI application around the exchange's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from mdslib.sim.faults import kinds
from mdslib.sim.faults.kinds import ANY, OnCalls
from mdslib.sim.throw.standing import Standing
from mdslib.sim.throw.wires import OWN, Peer, Send, Use, Wires

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

# Code and message of each status, in the venue's words where they are known.
USUAL: dict[int, tuple[int | None, str]] = {
    401: (None, "unauthorized."),
    403: (40310000, "insufficient buying power"),
    404: (40410000, "order not found"),
    406: (40610000, "not acceptable"),
    409: (40910000, "conflict"),
    422: (42210000, "request is not processable"),
    429: (42910000, "rate limit exceeded"),
    500: (50010000, "internal server error occurred"),
    504: (50410000, "request timed out"),
}
_PAGE = b"<html><head><title>%d</title></head><body><center><h1>%d</h1></center><hr></body></html>"


class Thrower(Protocol):
    """What this application asks the script's player."""

    wires: Wires

    def call_fault(self, method: str, path: str) -> Standing | None:
        """Return the fault that hits a call."""

    def refusal(self, path: str) -> int | None:
        """Return the HTTP status that refuses a websocket; 0 cuts it."""

    def down(self) -> bool:
        """Tell whether the exchange takes no connection."""

    def note_hit(self, standing: Standing, **more: Any) -> None:
        """Log a hit."""

    def call_later(
        self, seconds: float, gone: asyncio.Event, work: Callable[[], Awaitable[None]]
    ) -> asyncio.Task[None]:
        """Do some work after a time, or sooner where the client gives up or lock-step goes on."""


def pattern(call: str | list[str]) -> re.Pattern[str]:
    """Return what ``METHOD /path`` must match.

    Examples
    --------
    >>> bool(pattern("DELETE /v2/orders/{id}").match("DELETE /v2/orders/1f")), bool(pattern("any").match("GET /v2/x"))
    (True, True)
    """
    calls = [call] if isinstance(call, str) else call
    if ANY in calls:
        return re.compile("")
    parts = (re.split(r"\{\w+\}", one) for one in calls)
    return re.compile("|".join(rf"(?:{'[^/]+'.join(map(re.escape, part))})\Z" for part in parts))


class FaultyApp:
    """The exchange's application, with a script's faults on its calls and connections."""

    def __init__(self, app: App, thrower: Thrower) -> None:
        self.app = app
        self.thrower = thrower
        self.wires = thrower.wires

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one call or connection."""
        peer: Peer = tuple(scope["client"])
        self.wires.uses[peer] = Use(scope["path"], scope["type"] == "websocket", send)
        try:
            if scope["path"].startswith(OWN):
                await self.app(scope, receive, send)
            elif self.thrower.down():
                self.wires.cut(peer)
            elif scope["type"] == "websocket":
                await self._connect(scope, receive, send, peer)
            else:
                await self._call(scope, receive, send, peer)
        finally:
            self.wires.uses.pop(peer, None)

    async def _connect(self, scope: Any, receive: Receive, send: Send, peer: Peer) -> None:
        status = self.thrower.refusal(scope["path"])
        if status is None:
            await self.app(scope, receive, send)
            return
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})

    async def _call(self, scope: Any, receive: Receive, send: Send, peer: Peer) -> None:
        standing = self.thrower.call_fault(scope["method"], scope["path"])
        if standing is None:
            await self.app(scope, receive, send)
            return
        fault = standing.fault
        assert isinstance(fault, OnCalls)
        body = await _read(receive)
        call = f"{scope['method']} {scope['path']}"
        self.thrower.note_hit(standing, call=call, **_said(fault), **_id_in(body))
        await _Struck(self, scope, receive, send, peer, body).suffer(fault)


def _said(fault: OnCalls) -> dict[str, Any]:
    told = {name: getattr(fault, name, None) for name in ("status", "taken", "how")}
    return {name: value for name, value in told.items() if value is not None}


def _id_in(body: bytes) -> dict[str, Any]:
    """Return the client order id of an order's body, so that the log tells which order suffered."""
    with contextlib.suppress(ValueError, AttributeError):
        name = json.loads(body).get("client_order_id") if body else None
        return {"client_order_id": name} if name else {}
    return {}


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body"):
            return bytes(body)


class _Struck:
    """One call that a fault has hit."""

    def __init__(self, outer: FaultyApp, scope: Any, receive: Receive, send: Send, peer: Peer, body: bytes) -> None:
        self.outer = outer
        self.scope = scope
        self.receive = receive
        self.send = send
        self.peer = peer
        self.body = body
        self.answer: list[Message] = []
        self.gone = asyncio.Event()

    async def suffer(self, fault: OnCalls) -> None:
        """Answer the call as the fault says."""
        if getattr(fault, "taken", "first") == "first":
            await self.process()
        if isinstance(fault, kinds.HttpError):
            await self.answer_error(fault)
        elif isinstance(fault, kinds.HttpGarbage):
            await self.reply(200, _garbled(self.answer_body(), fault.how))
        elif isinstance(fault, kinds.HttpSlow):
            await self.answer_late(fault)
        elif isinstance(fault, kinds.HttpCut):
            if fault.half:
                await self.send_half()
            self.outer.wires.cut(self.peer)
            if fault.taken == "late":
                self.outer.thrower.call_later(fault.delay.seconds, asyncio.Event(), self.process)
        elif isinstance(fault, kinds.HttpHang):
            if fault.taken == "late":
                self.outer.thrower.call_later(fault.delay.seconds, self.gone, self.process)
            await self.wait_for_end()

    async def process(self) -> None:
        """Let the exchange carry the call out, and keep its answer."""
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return {"type": "http.disconnect"}
            sent = True
            return {"type": "http.request", "body": self.body, "more_body": False}

        async def keep(message: Any) -> None:
            self.answer.append(message)

        await self.outer.app(self.scope, replay, keep)

    def answer_body(self) -> bytes:
        """Return the body of the exchange's answer."""
        parts: list[bytes] = [message.get("body", b"") for message in self.answer]
        return b"".join(parts)

    async def wait_for_end(self) -> None:
        """Wait until the client gives up."""
        while (await self.receive())["type"] != "http.disconnect":
            continue
        self.gone.set()

    async def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send an answer of our own."""
        told = {"content-type": "application/json", "content-length": str(len(body))} | (headers or {})
        raw = [(name.encode(), value.encode()) for name, value in told.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": raw})
        await self.send({"type": "http.response.body", "body": body})

    async def answer_error(self, fault: kinds.HttpError) -> None:
        """Send the error."""
        headers = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
        if fault.status == 429:
            headers |= {"x-ratelimit-limit": "200", "x-ratelimit-remaining": "0"}
        if fault.body == "html":
            headers["content-type"] = "text/html"
            await self.reply(fault.status, _PAGE % (fault.status, fault.status), headers)
            return
        code, message = USUAL.get(fault.status, (fault.status * 100_000 + 10_000, "error"))
        told = {"code": fault.code if fault.code is not None else code, "message": fault.message or message}
        shown = {name: value for name, value in told.items() if value is not None}
        await self.reply(fault.status, json.dumps(shown).encode() if fault.body == "json" else b"", headers)

    async def answer_late(self, fault: kinds.HttpSlow) -> None:
        """Send the right answer, but late."""
        if fault.taken == "late":
            await self.outer.thrower.call_later(fault.delay.seconds, asyncio.Event(), self.process)
        else:
            await asyncio.sleep(fault.delay.seconds)
        for message in self.answer:
            await self.send(message)

    async def send_half(self) -> None:
        """Send the head, and half of the body."""
        body = self.answer_body()
        await self.send(self.answer[0])
        await self.send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await asyncio.sleep(0.01)  # the kernel takes it before the cut, which would throw it away


def _garbled(body: bytes, how: str) -> bytes:
    """Return a body that can't be read."""
    if how == "truncated":
        return body[: len(body) // 2]
    return {"text": b"upstream connect error", "empty": b"", "wrong-shape": b'{"unexpected":[1,2,3]}'}[how]
