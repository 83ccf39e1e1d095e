"""A trading host that says what a test tells it, over real HTTP and real websockets."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

KEY, SECRET = "PKtestkey0000000000", "secret-that-must-never-be-seen"


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPACA_TRADE_PUBLIC_KEY", KEY)
    monkeypatch.setenv("ALPACA_TRADE_SECRET_KEY", SECRET)


class Asked:
    """One request as it came."""

    def __init__(self, handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
        parts = urlsplit(handler.path)
        self.method, self.path = handler.command, parts.path
        self.query = {key: value[0] for key, value in parse_qs(parts.query).items()}
        self.headers = dict(handler.headers)
        self.body: Any = json.loads(body) if body else None
        self.came = time.perf_counter_ns()


class Host:
    """Answers from a queue: (status, body), or "hang" or "cut"."""

    def __init__(self) -> None:
        self.queue: list[Any] = []
        self.asked: list[Asked] = []
        self.connections: set[Any] = set()
        self.url = ""
        self.released = threading.Event()

    def add(self, body: Any, status: int = 200, **headers: str) -> None:
        self.queue.append((status, body, headers))


@pytest.fixture
def host():
    said = Host()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def answer(self):
            said.connections.add(self.client_address)
            said.asked.append(Asked(self, self.rfile.read(int(self.headers.get("Content-Length", 0)))))
            what = said.queue.pop(0)
            if what == "hang":
                said.released.wait(120)
            if what in ("hang", "cut"):
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status, body, headers = (*what, {})[:3]
            data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name.replace("_", "-"), text)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_):
            """Stay silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    said.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield said
    said.released.set()
    server.shutdown()
    server.server_close()
    thread.join(120)


@pytest.fixture
def stream_host():
    """Start a websocket server that runs `script(connection)`; gives the trading address to hand to a broker."""
    servers = []

    def start(script):
        def handle(connection):
            try:
                script(connection)
            except (ConnectionClosed, TimeoutError):
                return

        server = serve(handle, "127.0.0.1", 0, compression=None, close_timeout=0.2)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.socket.getsockname()[1]}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join(120)
