"""Alpaca's ``trade_updates`` over a websocket of ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from mdslib.brokers.alpaca_orders import UpdateDecoder, decode
from mdslib.clock import monotonic_ns
from mdslib.errors import FeedError, FeedRefused
from mdslib.feeds.connect import open_websocket, why_closed
from mdslib.protocols import Update

VARIABLES = "ALPACA_TRADE_PUBLIC_KEY and ALPACA_TRADE_SECRET_KEY"


def stream_url(trade_url: str) -> str:
    """Return the stream's address on the trading host.

    Examples
    --------
    >>> stream_url("https://paper-api.alpaca.markets")
    'wss://paper-api.alpaca.markets/stream'
    """
    parts = urlsplit(trade_url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/stream", "", ""))


class TradeUpdates:
    """One connection at a time to the order stream; the decoder lives on, so that reconnecting doubles nothing.

    Parameters
    ----------
    trade_url : str
        ``https://host`` of the trading API.
    key, secret : str
        Of the trading account.
    timeout : float
        Longest wait for each step of the opening, s.

    Attributes
    ----------
    decoder : UpdateDecoder
        Its counters tell of duplicates and late states.
    frames : int
        Received, reconnections included.
    """

    def __init__(self, trade_url: str, key: str, secret: str, timeout: float) -> None:
        self.url, self.frames = stream_url(trade_url), 0
        self.decoder = UpdateDecoder()
        self._key, self._secret, self._timeout = key, secret, timeout
        self._connection: Any = None
        self._closing = threading.Event()
        self._heard = 0

    def __repr__(self) -> str:
        return f"TradeUpdates({self.url})"

    @property
    def silence(self) -> float:
        """Seconds since the last frame; a quiet stream is normal while no order works."""
        return (monotonic_ns() - self._heard) / 1e9 if self._heard else 0.0

    def run(self, sink: Callable[[Update], None], ready: Callable[[], None] | None = None) -> None:
        """Connect, authenticate, listen, and hand updates to `sink` until `close`.

        Raises
        ------
        FeedRefused
            If the key pair is refused, or the venue does not offer the stream.
        FeedError
            On a disconnect, with the reason.
        """
        if self._closing.is_set():
            return
        self._connection = connection = open_websocket(self.url, self._timeout, "Alpaca order stream")
        try:
            self._authenticate()
            self._listen(sink)
            if ready is not None:
                ready()
            while not self._closing.is_set():
                self._deliver(self._receive(None, ""), sink)
        except FeedError:
            if not self._closing.is_set():
                raise
        finally:
            connection.close()

    def close(self) -> None:
        """End `run`, from any thread."""
        self._closing.set()
        if self._connection is not None:
            self._connection.close()

    def _receive(self, timeout: float | None, awaited: str) -> str | bytes:
        try:
            frame: str | bytes = self._connection.recv(timeout)
        except TimeoutError:
            raise FeedError(f"Alpaca order stream did not answer {awaited} within {self._timeout:g} s") from None
        except Exception as error:
            during = f" while {awaited} was awaited" if awaited else ""
            raise FeedError(f"Alpaca order stream ended{during}: {why_closed(error)}") from None
        self.frames += 1
        self._heard = monotonic_ns()
        return frame

    def _send(self, message: dict[str, Any], what: str) -> None:
        try:
            self._connection.send(json.dumps(message))
        except Exception as error:
            raise FeedError(f"Alpaca order stream ended before {what}: {why_closed(error)}") from None

    def _authenticate(self) -> None:
        self._send({"action": "auth", "key": self._key, "secret": self._secret}, "the authentication")
        reply = decode(self._receive(self._timeout, "the authentication"))
        _check_error(reply)
        status = (reply.get("data") or {}).get("status")
        if status != "authorized":
            raise FeedRefused(
                f"Alpaca order stream answered {status!r} to the key pair in {VARIABLES}; "
                "check that it belongs to this account and address",
                code=401,
            )

    def _listen(self, sink: Callable[[Update], None]) -> None:
        self._send({"action": "listen", "data": {"streams": ["trade_updates"]}}, "the subscription")
        deadline = monotonic_ns() + int(self._timeout * 1e9)
        while True:
            left = max((deadline - monotonic_ns()) / 1e9, 0.0)
            frame = self._receive(left, "the subscription")
            reply = decode(frame)
            if reply.get("stream") == "listening":
                break
            self._deliver(frame, sink)  # an update may come before the reply
        if "trade_updates" not in ((reply.get("data") or {}).get("streams") or []):
            raise FeedRefused("Alpaca order stream did not confirm 'trade_updates'; check the trading address")

    def _deliver(self, frame: str | bytes, sink: Callable[[Update], None]) -> None:
        updates = self.decoder.receive(frame)
        for update in updates:
            sink(update)
        if not updates:
            _check_error(decode(frame))


def _check_error(message: dict[str, Any]) -> None:
    data = message.get("data")
    said = data.get("error_message") or data.get("error") if isinstance(data, dict) else None
    if message.get("action") == "error" or said:
        raise FeedError(f"Alpaca order stream: error {said!r}; the venue closes the stream after it")


__all__ = ["TradeUpdates", "stream_url"]
