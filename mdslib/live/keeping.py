"""What the keeper of a feed stands between: the feed on one side, what takes its events on the other."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from mdslib.errors import FeedError
from mdslib.protocols import Records


class State(Enum):
    """Where a feed stands."""

    WHOLE = "whole"  # frames go straight to the engine
    WATCHED = "watched"  # likewise, but for events that the backfill has given already
    FILLING = "filling in"  # connected; frames wait behind the backfill
    LOST = "lost"  # not connected
    SPILLED = "spilled"  # connected, but the engine is too far behind: frames are dropped, to be fetched later


class Feed(Protocol):
    """What the keeper needs of a feed; `CpquantFeed` is one."""

    frames: int
    on_unreadable: Callable[[FeedError], bool] | None

    @property
    def silence(self) -> float:
        """Seconds since the last frame of market data."""

    @property
    def books(self) -> int:
        """How many order books it has; no history fills them in, a new connection sends each one's image."""

    def open(self) -> None:
        """Connect, authenticate, subscribe and check the replies."""

    def run_together(self, sink: Callable[[Records, int], None]) -> None:
        """Read until `close`, and hand over frames that were received at once; raises `FeedError` on a disconnect."""

    def counts(self) -> dict[str, int]:
        """Return what is worth a person's look, by name."""

    def drop(self, why: str) -> None:
        """Cut the connection from another thread, so that `run` raises."""

    def close(self) -> None:
        """End `run` from another thread."""


class Sink(Protocol):
    """What takes the events: the engine."""

    @property
    def queued(self) -> int:
        """How many items wait for the deciding thread."""

    def on_market(self, records: Records, frames: int) -> None:
        """Take the records of so many frames."""

    def on_gap(self, why: str, since: int) -> None:
        """Take the news that events were missed, after the time `since` (ns UTC; 0: not known)."""

    def on_backfill(self, records: Records, why: str, doubled: int) -> None:
        """Take events that were fetched."""

    def on_resync(self, why: str, recovered: int, doubled: int) -> None:
        """Take the news that the feed is whole again."""
