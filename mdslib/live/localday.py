"""When all of a local exchange's day has come: it says how many frames it has sent, and they are counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mdslib.live.gaps import Gaps

CALM = 1_000_000_000  # ns without a frame after a gap; frames that were lost can't be counted
MISSING = 5_000_000_000  # ns without a frame while some are missing: they were lost without a sign
PATIENCE = 120_000_000_000  # ns that the day's end waits for a feed that is not whole


class LocalDay:
    """Counts frames against what the exchange says at its day's end.

    Parameters
    ----------
    gaps : Gaps

    Attributes
    ----------
    frames : int
        Taken so far.
    on_missing : callable
        Takes the reason where frames are missing that no lost connection accounts for.
    """

    def __init__(self, gaps: Gaps) -> None:
        self.frames = 0
        self.on_missing: Callable[[str], None] = _nobody
        self._gaps = gaps
        self._sent: int | None = None

    def ended(self, message: dict[str, Any]) -> None:
        """Take the exchange's last word."""
        self._sent = int(message.get("frames", 0))

    def over(self, quiet: int) -> bool:
        """Tell whether nothing more is to come; `quiet` is the time since the last frame, ns."""
        if self._sent is None:
            return False
        if self._gaps.open:
            return quiet > PATIENCE
        if self.frames >= self._sent:
            return True
        if self._gaps.count:
            return quiet > CALM
        if quiet > MISSING:
            self.on_missing(f"the exchange says that it has sent {self._sent:,} frames, {self.frames:,} have come")
        return False


def _nobody(_why: str) -> None:
    """Stand in until somebody wants to know."""
