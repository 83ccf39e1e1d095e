"""The only reader of the wall clock.

Everything else takes a `Clock`: the real one, one that runs N times as fast (the local exchange's day), or one that
stands until it is told to advance (lock-step, where a session can be repeated exactly).
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

from mdslib.errors import ConfigError

# Longest sleep between two looks at the clock, in s: a wall clock that is set, or a new speed, is noticed by then.
_WALL_SLICE = 1.0
_SCALED_SLICE = 0.05
_STEPPED_SLICE = 0.02


def wall_ns() -> int:
    """Return the wall clock's time, ns UTC."""
    return time.time_ns()


def monotonic_ns() -> int:
    """Return a clock for durations, ns from an arbitrary start; it is never set back."""
    return time.monotonic_ns()


class Clock(Protocol):
    """What the session and the exchange ask for the time."""

    def now(self) -> int:
        """Return the time, ns UTC."""

    def wait(self, event: threading.Event, until: int) -> bool:
        """Wait until `event` is set or the clock reads `until` (ns UTC); return True if the event came first."""


class WallClock:
    """The machine's clock.

    Examples
    --------
    >>> import threading
    >>> clock = WallClock()
    >>> clock.wait(threading.Event(), clock.now() + 1_000_000)
    False
    """

    def now(self) -> int:
        """Return the wall clock's time, ns UTC."""
        return wall_ns()

    def wait(self, event: threading.Event, until: int) -> bool:
        """Wait until `event` is set (True) or the wall clock reads `until` (False)."""
        while (left := until - self.now()) > 0:
            if event.wait(min(left / 1e9, _WALL_SLICE)):
                return True
        return event.is_set()


class ScaledClock:
    """A clock that starts at `origin_ns` now and runs `speed` times as fast as real time.

    Parameters
    ----------
    origin_ns : int
        What it reads at the start, ns UTC.
    speed : float
        Simulated seconds in a real second, > 0.

    Examples
    --------
    >>> clock = ScaledClock(0, speed=1_000_000.0)
    >>> clock.cap(5)
    >>> clock.now()
    5
    """

    def __init__(self, origin_ns: int, speed: float = 1.0) -> None:
        self._lock = threading.Lock()
        self._cap: int | None = None
        self._set(origin_ns, speed)

    def _set(self, origin_ns: int, speed: float) -> None:
        if not speed > 0:
            raise ConfigError(f"ScaledClock.speed must be > 0, received {speed!r}; 1 is real time")
        self._origin, self._speed, self._start = int(origin_ns), float(speed), monotonic_ns()

    def now(self) -> int:
        """Return origin + elapsed real time x speed, at most the cap; ns UTC."""
        with self._lock:
            reading = self._origin + int((monotonic_ns() - self._start) * self._speed)
            return reading if self._cap is None else min(reading, self._cap)

    def cap(self, ts: int | None) -> None:
        """Let the clock read at most `ts` (ns UTC) from now on; None lifts the bound."""
        with self._lock:
            self._cap = ts

    def adjust(self, now_ns: int, speed: float | None = None) -> None:
        """Set what the clock reads now, and its speed where one is given."""
        with self._lock:
            self._set(now_ns, self._speed if speed is None else speed)

    def wait(self, event: threading.Event, until: int) -> bool:
        """Wait until `event` is set (True) or this clock reads `until` (False)."""
        while (left := until - self.now()) > 0:
            # Under a cap `left` may never shrink; the slice keeps looking. At least 50 us, so that it is no busy loop.
            if event.wait(min(max(left / self._speed / 1e9, 5e-5), _SCALED_SLICE)):
                return True
        return event.is_set()


class SteppedClock:
    """A clock that stands until it is advanced.

    Examples
    --------
    >>> clock = SteppedClock(100)
    >>> clock.advance(250)
    >>> clock.now()
    250
    """

    def __init__(self, start: int) -> None:
        self._now = int(start)
        self._moved = threading.Condition()

    def now(self) -> int:
        """Return the time that it was last advanced to, ns UTC."""
        return self._now

    def advance(self, ts: int) -> None:
        """Move on to `ts` (ns UTC) and wake who waits for it; the same time again is allowed.

        Raises
        ------
        ConfigError
            `ts` lies before the present reading.
        """
        with self._moved:
            if ts < self._now:
                raise ConfigError(
                    f"SteppedClock.advance must not go back, received {ts} at {self._now}; "
                    "start a new clock for another day"
                )
            self._now = int(ts)
            self._moved.notify_all()

    def wait(self, event: threading.Event, until: int) -> bool:
        """Wait until `event` is set (True) or the clock has been advanced to `until` (False)."""
        with self._moved:
            while self._now < until:
                if event.is_set():
                    return True
                self._moved.wait(_STEPPED_SLICE)
        return event.is_set()
