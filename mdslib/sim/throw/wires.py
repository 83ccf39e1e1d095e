"""The connections beneath the protocols, so that they can be cut without a word.

ASGI has no way to break a connection. uvicorn's protocol class is subclassed here to keep the transport of each client
address; it is used only where a fault script is played.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from uvicorn.protocols.http.auto import AutoHTTPProtocol

Peer = tuple[str, int]
Send = Callable[[Any], Awaitable[None]]
UPDATES_PATH = "/stream"
OWN = "/sim/"  # the side channel is no part of the venue, and suffers nothing


class Use(NamedTuple):
    """What a connection is used for: the path, whether it is a websocket, and how to say something on it."""

    path: str
    websocket: bool
    send: Send


class Wires:
    """The open connections of one exchange."""

    def __init__(self) -> None:
        self.transports: dict[Peer, asyncio.Transport] = {}
        self.uses: dict[Peer, Use] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """Return uvicorn's HTTP protocol, which notes each connection here; a websocket begins as one."""
        wires = self

        class NotedProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
            def connection_made(self, transport: asyncio.Transport) -> None:
                super().connection_made(transport)
                wires.note(transport)

        return NotedProtocol

    def note(self, transport: asyncio.Transport) -> None:
        """Keep a new connection, and forget those that have ended."""
        self.transports = {peer: kept for peer, kept in self.transports.items() if not kept.is_closing()}
        peer = transport.get_extra_info("peername")
        if peer is not None:
            self.transports[peer[0], peer[1]] = transport

    def cut(self, peer: Peer) -> None:
        """Break a connection: what is not yet on the wire is lost, and the client sees it reset or end."""
        transport = self.transports.pop(peer, None)
        if transport is not None:
            transport.abort()

    def sockets(self, data: bool, updates: bool) -> list[Peer]:
        """Return the open websockets: those of market data, those of order updates, or both."""
        return [
            peer
            for peer, use in self.uses.items()
            if use.websocket and not use.path.startswith(OWN) and (updates if use.path == UPDATES_PATH else data)
        ]

    def cut_all(self) -> list[Peer]:
        """Break every connection but the side channel's; return them."""
        own = {peer for peer, use in self.uses.items() if use.path.startswith(OWN)}
        cut = [peer for peer, kept in self.transports.items() if peer not in own and not kept.is_closing()]
        for peer in cut:
            self.cut(peer)
        return cut
