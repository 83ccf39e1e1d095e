"""Opening a websocket to a venue, with every way that it can fail told apart.

The connection logs through a logger of our own that never goes below INFO: at DEBUG, websockets writes every frame that
is sent into the log, the one with the key and the secret included.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

from mdslib.errors import ConfigError, FeedError, FeedRefused, MdsError

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection as AsyncConnection
    from websockets.sync.client import ClientConnection

    from mdslib.feeds.direct import DirectConnection

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_LOG = logging.getLogger("mdslib.feeds.connect")
_LOG.setLevel(logging.INFO)

_PING_EVERY = 10.0  # s, as Alpaca's own clients do
_PONG_WITHIN = 20.0
_LARGEST = 2**26  # bytes of a message; the venue sets no limit, but a runaway one must not take the machine
_QUEUE = 4096  # frames that wait in memory before the socket is left unread and the venue calls us a slow client

_STATUS = {
    401: "the venue wants a key before the socket opens",
    403: "the venue forbids this address to these credentials or from here",
    404: "the venue has no such stream; check the feed's name and the address",
    429: "too many connections in a short time; wait half a minute before the next",
}


def is_loopback(url: str) -> bool:
    """Tell whether an address is on this machine.

    Examples
    --------
    >>> is_loopback("ws://127.0.0.1:8000/v2/iex"), is_loopback("wss://stream.data.alpaca.markets")
    (True, False)
    """
    return (urlsplit(url).hostname or "") in LOOPBACK


def check_encrypted(url: str, what: str) -> None:
    """Refuse to send credentials in the clear.

    Raises
    ------
    ConfigError
        If `url` is no address, or neither encrypted (``wss``, ``https``) nor on this machine.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:  # of brackets that hold no IPv6 address
        raise ConfigError(f"{what}: the address must be a URL, received {url!r} ({error}); correct it") from None
    if scheme in ("wss", "https") or (scheme in ("ws", "http") and is_loopback(url)):
        return
    raise ConfigError(
        f"{what}: the address must be encrypted or on this machine, received {url!r}; write wss:// or https://"
    )


def open_direct(url: str, timeout: float, what: str) -> DirectConnection:
    """Return an open connection that is read in the thread which calls `recv`; see `open_websocket`."""
    from mdslib.feeds.direct import DirectConnection

    return cast("DirectConnection", _open(url, timeout, what, DirectConnection))


def open_websocket(url: str, timeout: float, what: str) -> ClientConnection:
    """Return an open connection that reads in a thread of its own.

    Parameters
    ----------
    url : str
        ``wss://``, or ``ws://`` on this machine.
    timeout : float
        Longest time for connecting and the upgrade, s.
    what : str
        Who asks, for the errors.

    Raises
    ------
    FeedRefused
        If the venue answers the upgrade with a 4xx status other than 408 and 429.
    FeedError
        If it can't be reached in time, or for another status (``code`` is the status).
    """
    return cast("ClientConnection", _open(url, timeout, what, None))


async def open_async(url: str, timeout: float, what: str) -> AsyncConnection:
    """Return an open connection for an event loop; it raises as `open_websocket` does.

    The address of a public stream may be compressed: what a venue's books come to is many times smaller then.
    """
    from websockets.asyncio.client import connect

    check_encrypted(url, what)
    proxy: Literal[True] | None = None if is_loopback(url) else True
    try:
        return await connect(
            url, open_timeout=timeout, ping_interval=_PING_EVERY, ping_timeout=_PONG_WITHIN, close_timeout=1.0,
            max_size=_LARGEST, max_queue=_QUEUE, proxy=proxy, logger=_LOG,
            compression=None if is_loopback(url) else "deflate",
        )  # fmt: skip
    except _failures() as error:
        raise _told(error, url, timeout, what) from None


def _open(url: str, timeout: float, what: str, make: Any) -> object:
    from websockets.sync.client import connect

    check_encrypted(url, what)
    proxy: Literal[True] | None = None if is_loopback(url) else True  # True: as the environment says
    try:
        return connect(
            url, open_timeout=timeout, ping_interval=_PING_EVERY, ping_timeout=_PONG_WITHIN, close_timeout=1.0,
            max_size=_LARGEST, max_queue=_QUEUE, compression=None, proxy=proxy, logger=_LOG,
            create_connection=make,
        )  # fmt: skip
    except _failures() as error:
        raise _told(error, url, timeout, what) from None


def _failures() -> tuple[type[Exception], ...]:
    from websockets.exceptions import InvalidHandshake, InvalidURI

    return (OSError, InvalidHandshake, InvalidURI, EOFError)


def _told(error: Exception, url: str, timeout: float, what: str) -> MdsError:
    """Return the clear error for what `connect` raised."""
    from websockets.exceptions import InvalidStatus, InvalidURI

    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        why = _STATUS.get(status, "the venue did not open the stream")
        kind = FeedRefused if 400 <= status < 500 and status not in (408, 429) else FeedError
        return kind(f"{what}: {url} answered HTTP {status} to the upgrade: {why}", code=status)
    if isinstance(error, InvalidURI):
        return ConfigError(f"{what}: the address must be a websocket URL, received {url!r}")
    if isinstance(error, TimeoutError):
        return FeedError(f"{what}: {url} did not open within {timeout:g} s; check the network and the address")
    return FeedError(f"{what}: {url} can't be reached: {error or type(error).__name__}")


def why_closed(error: BaseException) -> str:
    """Say in a phrase why a connection ended, from the exception that `recv` raised."""
    from websockets.exceptions import ConnectionClosed

    if not isinstance(error, ConnectionClosed):
        return f"{type(error).__name__}: {error}"
    if error.rcvd is not None:
        reason = f" ({error.rcvd.reason})" if error.rcvd.reason else ""
        return f"the venue closed the connection with code {error.rcvd.code}{reason}"
    if error.sent is not None and error.sent.code == 1011:
        return f"no answer to a ping within {_PONG_WITHIN:g} s"
    return "the connection was cut without a closing frame"
