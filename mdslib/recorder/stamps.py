"""The clock that a recording stamps with: whole microseconds.

A stamp is taken in an event loop, tens of microseconds after the kernel had the bytes, and no venue of order books
counts finer. The three digits more would be noise, and noise can't be compressed: 1.1 bytes of every row in the store.
"""

from __future__ import annotations

import threading

from mdslib.clock import Clock

_MICROSECOND = 1_000  # ns


class Microseconds:
    """A clock cut to whole microseconds; a `mdslib.clock.Clock`.

    Parameters
    ----------
    clock : Clock
        Whose readings are cut.

    Examples
    --------
    >>> from mdslib.clock import SteppedClock
    >>> Microseconds(SteppedClock(1_234_567)).now()
    1234000
    """

    def __init__(self, clock: Clock) -> None:
        self._read, self._wait = clock.now, clock.wait

    def now(self) -> int:
        """Return the time, ns UTC, a multiple of 1,000."""
        now = self._read()
        return now - now % _MICROSECOND

    def wait(self, event: threading.Event, until: int) -> bool:
        """Wait as the clock does."""
        return self._wait(event, until)


__all__ = ["Microseconds"]
