"""A TCP proxy on this machine that can lose an answer, lose a request, or cut a connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

Judge = Callable[[bytes], str]


def faithful(_request: bytes) -> str:
    """Pass everything on."""
    return "pass"


class Proxy:
    """Passes bytes on between its port and another's; use it in a ``with`` statement.

    Parameters
    ----------
    port : int
        Of the server behind it.
    judge : callable
        Looks at what a client sends and says ``pass``, ``lose-answer`` (pass it on, then hang up without the answer) or
        ``lose-request`` (hang up at once).
    """

    def __init__(self, port: int, judge: Judge = faithful) -> None:
        self._behind, self._judge = port, judge
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._open: list[socket.socket] = []
        self._answer_all = b""
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        """Base address of the REST calls."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Proxy:
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()
        for thread in self._threads:
            thread.join(120)

    def cut(self) -> None:
        """Cut every connection."""
        for end in self._open:
            _hang_up(end)
        self._open.clear()

    def _begin(self, body: Callable[[], None]) -> None:
        thread = threading.Thread(target=body, daemon=True)
        self._threads.append(thread)
        thread.start()

    def answer_all(self, answer: bytes) -> None:
        """Give every new connection this answer, and hang up; nothing lets them through again."""
        self._answer_all = answer

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if self._answer_all:
                client.recv(65536)
                client.sendall(self._answer_all)
                _hang_up(client)
                continue
            venue = socket.create_connection(("127.0.0.1", self._behind))
            for end in (client, venue):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open += [client, venue]
            self._begin(lambda a=client, b=venue: self._ask(a, b))
            self._begin(lambda a=client, b=venue: self._answer(a, b))

    def _ask(self, client: socket.socket, venue: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while request := client.recv(65536):
                verdict = self._judge(request)
                if verdict == "lose-request":
                    break
                if verdict == "lose-answer":
                    with contextlib.suppress(OSError):
                        client.shutdown(socket.SHUT_WR)  # the client hears the end; the request still goes on
                    venue.sendall(request)
                    continue
                venue.sendall(request)
        _hang_up(client)
        _hang_up(venue)

    def _answer(self, client: socket.socket, venue: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while answer := venue.recv(65536):
                client.sendall(answer)
        _hang_up(client)


def _hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
