"""The order stream, kept alive: after each reconnection every working order is asked for, since updates were missed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from mdslib.clock import monotonic_ns
from mdslib.errors import FeedError, FeedRefused
from mdslib.feeds.backoff import Backoff
from mdslib.live.orderflow import Log
from mdslib.protocols import Update

Stream = Callable[[Callable[[Update], None], Callable[[], None]], None]


class Sink(Protocol):
    """What takes the updates: the engine."""

    def on_update(self, update: Update) -> None:
        """Take one update."""

    def on_stream_back(self) -> None:
        """Take the news that updates may have been missed."""


class OrderStream:
    """Runs a broker's stream through as many connections as it takes.

    While it is down trading goes on: an order of which nothing is heard is asked for by its id, as ever. What the
    stream told twice, or late, the desk sorts out by the cumulative quantity.

    Parameters
    ----------
    stream : callable
        ``stream(sink, ready)`` as of `protocols.Broker`.
    sink : Sink
    tally : Counter
        Counts losses and reconnections.
    log : callable
    keep : bool
        False ends with the first loss: in lock-step the exchange counts what it has sent, so nothing may be missed.
    backoff : Backoff, optional
    """

    def __init__(
        self,
        stream: Stream,
        sink: Sink,
        tally: Counter[str],
        log: Log,
        *,
        keep: bool = True,
        backoff: Backoff | None = None,
    ) -> None:
        self._stream, self._sink, self._tally, self._log, self._keep = stream, sink, tally, log, keep
        self._backoff = backoff or Backoff()
        self._closing = threading.Event()
        self._up_since = 0
        self._down = False

    def run(self, ready: Callable[[], None]) -> None:
        """Read until `close`; the updates thread's body.

        Parameters
        ----------
        ready : callable
            Called once it listens for the first time.

        Raises
        ------
        FeedRefused
            The venue refuses for good.
        FeedError
            The first connection failed; it is not tried again, so that a wrong address is told at once.
        """
        while not self._closing.is_set():
            try:
                self._stream(self._sink.on_update, lambda: self._up(ready))
                return
            except FeedRefused:
                raise
            except FeedError as error:
                if self._closing.is_set():
                    return
                if not self._up_since or not self._keep:
                    raise
                self._wait(error)

    def _up(self, ready: Callable[[], None]) -> None:
        first, self._up_since, self._down = not self._up_since, monotonic_ns(), False
        if first:
            ready()
            return
        self._tally["order stream reconnected"] += 1
        self._log("orders-reconnected", tries=self._backoff.tries)
        self._sink.on_stream_back()

    def _wait(self, error: FeedError) -> None:
        if self._down:
            self._tally["order stream's reconnections that failed"] += 1
        else:
            self._tally["order stream lost"] += 1
            self._backoff.held((monotonic_ns() - self._up_since) / 1e9)
        self._down = True
        wait = self._backoff.wait(error.code)
        self._log("orders-wait", error=str(error), seconds=round(wait, 1))
        self._closing.wait(wait)

    def close(self) -> None:
        """Let `run` end; the broker's own `close` ends the connection."""
        self._closing.set()


__all__ = ["OrderStream"]
