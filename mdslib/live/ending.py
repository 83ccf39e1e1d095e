"""When an ended session has settled: nothing more is to come, or time is up."""

from __future__ import annotations

from mdslib.clock import monotonic_ns

SETTLE = 10.0  # s that an ended session may take to settle its orders
CALM = 0.5  # s without a word, after which nothing more is expected
GRACE = 2.0  # s likewise after the close at a real venue: prints of before the close may still be on their way
LEFT_OPEN = 3.0  # s likewise where orders still work, as a GTC order does
CLOSED = "the session closed"


class Ending:
    """Why and since when a session is ending.

    Parameters
    ----------
    grace : bool
        The venue is a real one, whose last prints may come late.

    Attributes
    ----------
    reason : str
        Why it ends; empty while it does not.
    """

    def __init__(self, *, grace: bool) -> None:
        self.reason = ""
        self._grace = grace
        self._quiet = 0  # monotonic time of the last thing that mattered
        self._deadline = 0

    def begin(self, why: str) -> bool:
        """Begin to end; tell whether this is the first reason."""
        if self.reason:
            return False
        self.reason = why
        self.heard()
        self._deadline = self._quiet + int(SETTLE * 1e9)
        return True

    @property
    def at_close(self) -> bool:
        """Whether it ends because the session closed."""
        return self.reason == CLOSED

    def heard(self) -> None:
        """Note that something came that matters: an order's update or answer, or an event of before the close."""
        self._quiet = monotonic_ns()

    def settled(self, *, busy: bool, working: bool) -> bool:
        """Tell whether all is calm, or time is up; `busy` while something waits, `working` while orders work."""
        now = monotonic_ns()
        if now > self._deadline:
            return True
        if busy:
            self._quiet = now
            return False
        calm = GRACE if self._grace and self.at_close else CALM
        return now - self._quiet > 1e9 * (max(calm, LEFT_OPEN) if working else calm)
