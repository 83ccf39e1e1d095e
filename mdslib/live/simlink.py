"""The link to a local exchange's side channel: it sets the session's clock, and in lock-step it paces the session."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from mdslib.clock import Clock, ScaledClock, SteppedClock
from mdslib.errors import SessionError
from mdslib.matching import parse_rules

AHEAD = 0.05  # real seconds that a scaled clock may run ahead of what the exchange has told


class SimLink:
    """A connection to ``/sim/time``; see `mdslib.sim.lockstep` for the conversation.

    Parameters
    ----------
    url : str
        ``ws://127.0.0.1:port/sim/time``.

    Attributes
    ----------
    rules : Rules
        What the exchange refuses.
    lockstep : bool
        The exchange waits for `done` after each message.
    clock : Clock
        The exchange's time.
    ended : bool
        The exchange's day is over.
    """

    def __init__(self, url: str) -> None:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        try:
            self._socket = connect(url, open_timeout=10.0, compression=None, proxy=None)
            first = json.loads(self._socket.recv(timeout=30.0))
        except (OSError, WebSocketException, ValueError) as error:
            raise SessionError(
                f"the local exchange's side channel {url} does not answer ({error}); is `mds sim` up?"
            ) from error
        self.mode = str(first["mode"])
        self.rules = parse_rules(str(first["rules"]))
        self.lockstep = self.mode == "lockstep"
        self.ended = False
        self.last: dict[str, Any] = first
        self.clock: Clock = self._make_clock(first)
        self._tell: Callable[[dict[str, Any]], None] = lambda _message: None
        self._thread = threading.Thread(target=self._read, name="sim-time", daemon=True)

    def _make_clock(self, message: dict[str, Any]) -> Clock:
        if self.mode in ("lockstep", "free"):
            return SteppedClock(int(message["now"]))
        clock = ScaledClock(int(message["now"]), float(message["speed"]))
        clock.cap(int(message["now"]))
        return clock

    def start(self, tell: Callable[[dict[str, Any]], None]) -> None:
        """Begin to follow the exchange, which in lock-step stands still until now.

        Parameters
        ----------
        tell : callable
            Takes each message, from a thread of the link's own. Data and order updates must be connected already.
        """
        self._tell = tell
        if self.last["phase"] == "end":  # it was over before we came, as after a restart
            self.ended = True
            tell(self.last)
        self._socket.send(json.dumps({"ready": True}))
        self._thread.start()

    def done(self, message: dict[str, Any], wake: int | None) -> None:
        """Answer a barrier: all of it is consumed, decided and sent."""
        self._socket.send(json.dumps({"done": message["now"], "phase": message["phase"], "wake": wake}))

    def close(self) -> None:
        """End the link."""
        self._socket.close()

    def _read(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                message = json.loads(self._socket.recv())
                self.last = message
                if not self.lockstep:
                    self._follow(message)
                if message["phase"] == "end":
                    self.ended = True
                self._tell(message)
        except ConnectionClosed:
            if not self.ended:
                self._tell({"phase": "lost", "now": self.clock.now()})
            self.ended = True

    def _follow(self, message: dict[str, Any]) -> None:
        now = int(message["now"])
        if isinstance(self.clock, ScaledClock):
            speed = float(message["speed"])
            self.clock.cap(now + int(AHEAD * speed * 1e9) if message["phase"] != "end" else now)
            self.clock.adjust(now, speed)

    def advance(self, ts: int) -> None:
        """Let a clock that follows the events (mode ``free``) read at least `ts`; other clocks go by themselves."""
        if self.mode == "free" and isinstance(self.clock, SteppedClock) and ts > self.clock.now():
            self.clock.advance(ts)


def flush_sent(trade_url: str, log: Callable[..., None]) -> None:
    """Ask a local exchange to write down what it has sent, for the audit."""
    import httpx

    try:
        httpx.get(f"{trade_url}/sim/sent", timeout=30.0).raise_for_status()
    except httpx.HTTPError as error:  # it has gone: the audit tells what its log lacks
        log("sent-not-flushed", error=f"{type(error).__name__}: {error}")
