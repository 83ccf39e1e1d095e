"""cpquant's own real-time client, on a connection of ours."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from mdslib.clock import Clock
from mdslib.errors import FeedError
from mdslib.feeds.connect import why_closed

if TYPE_CHECKING:
    from mdslib.config import Credentials
    from mdslib.feeds.direct import DirectConnection


class ClientSocket:
    """The connection as cpquant sees it; keeps the time of each frame's receipt, and the reason of an end.

    Attributes
    ----------
    waiting : deque of bytes
        Frames that were received together with the one that `recv` has returned.
    received : int
        When that one was received, ns UTC.
    ended : BaseException or None
        What `recv` raised.
    """

    def __init__(self, connection: DirectConnection, clock: Clock) -> None:
        self._connection = connection
        self._now = clock.now
        self._recv = connection.recv
        self.waiting: deque[bytes] = getattr(connection, "waiting", deque())  # another connection tells nothing of it
        self.received = 0
        self.ended: BaseException | None = None

    def recv(self, timeout: float | None = None) -> str | bytes:
        """Return the next frame."""
        if self.waiting:
            return self.waiting.popleft()
        try:
            frame = self._recv(timeout)
        except BaseException as error:  # cpquant swallows everything; keep it, so that the feed can say why
            self.ended = error
            raise
        self.received = self._now()
        return frame

    def send(self, text: str) -> None:
        """Send a text.

        Raises
        ------
        FeedError
            If the connection has ended.
        """
        try:
            self._connection.send(text)
        except Exception as error:
            raise FeedError(f"Alpaca data stream ended before a request: {why_closed(error)}") from None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def cpquant_data() -> Any:
    """Return cpquant's module of data clients, imported when it is needed."""
    import cpquant.data

    return cpquant.data


def make_client(socket: ClientSocket, url: str, credentials: Credentials) -> Any:
    """Return cpquant's client on our socket.

    A subclass with a constructor of its own, and not cpquant's constructor with another ``connect``: the fixed address
    is in that constructor, and if a later cpquant reached the network by another way, the user's keys would go there
    unnoticed. A test compares the attributes that both constructors set.
    """

    class Client(cpquant_data().AlpacaRealtimeClient):  # type: ignore[misc]
        def __init__(self) -> None:
            self.alpaca_data_public = credentials.key
            self.alpaca_data_secret = credentials.secret
            self.stream_url = url
            self.socket = socket
            self.curr_quotes: list[str] = []
            self.curr_trades: list[str] = []
            self.curr_bars: list[str] = []

    return Client()
