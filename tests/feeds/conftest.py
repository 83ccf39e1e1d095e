"""Small real servers on this machine, each told by a test what to say."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.server import ServerConnection, serve

KEY, SECRET = "AKtestkey0000000000", "secret-that-must-never-be-seen"


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPACA_DATA_PUBLIC_KEY", KEY)
    monkeypatch.setenv("ALPACA_DATA_SECRET_KEY", SECRET)


class Venue:
    """What a test's side of the wire can do."""

    def __init__(self, connection: ServerConnection, heard: list[dict[str, Any]]) -> None:
        self.connection, self.heard = connection, heard

    def say(self, *messages: dict[str, Any]) -> None:
        self.connection.send(json.dumps(messages, separators=(",", ":")))

    def say_at_once(self, *messages: dict[str, Any]) -> None:
        """Send each message in a frame of its own, all in one piece."""
        texts = [json.dumps([message], separators=(",", ":")).encode() for message in messages]
        frames = b"".join(Frame(Opcode.TEXT, text).serialize(mask=False) for text in texts)
        self.connection.socket.sendall(frames)

    def hear(self) -> dict[str, Any]:
        self.heard.append(json.loads(self.connection.recv(timeout=60)))
        return self.heard[-1]

    def welcome(self) -> None:
        """Let the client in and confirm one subscription for each channel it asks for."""
        self.say({"T": "success", "msg": "connected"})
        self.hear()
        self.say({"T": "success", "msg": "authenticated"})

    def confirm(self) -> dict[str, Any]:
        asked = self.hear()
        lists = {key: value for key, value in asked.items() if isinstance(value, list)}
        self.say({"T": "subscription", **lists})
        return asked


@pytest.fixture
def venue() -> Iterator[Callable[..., tuple[str, list[dict[str, Any]]]]]:
    """Start a websocket server whose connections run `script(venue)`; gives its address and what it heard."""
    servers = []

    def start(script: Callable[[Venue], None], **options: Any) -> tuple[str, list[dict[str, Any]]]:
        heard: list[dict[str, Any]] = []

        def handle(connection: ServerConnection) -> None:
            try:
                script(Venue(connection, heard))
            except (ConnectionClosed, TimeoutError):
                return

        server = serve(handle, "127.0.0.1", 0, compression=None, close_timeout=0.2, **options)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"ws://127.0.0.1:{server.socket.getsockname()[1]}", heard

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join(120)
