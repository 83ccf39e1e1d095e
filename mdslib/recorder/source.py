"""What a recording takes its events from, and how each pair of it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mdslib.protocols import Records


@dataclass
class PairState:
    """How one pair is, for a person.

    Attributes
    ----------
    state : str
        ``connecting``, ``waiting``, ``live``, ``resync``, ``refused`` or ``stopped``; the last by a fault of mdslib.
    said : str
        The venue's words, where it refused; the last trouble, where there is one.
    messages : int
        The venue's, about this pair.
    trades, quotes : int
        What was recorded of them.
    deltas : int
        Messages that changed the book, images not included.
    sequence_gaps : int
        Times that the venue's numbers skipped one; 0 where it has none.
    resyncs : int
        Times that the book was asked for anew.
    losses : int
        Times that the connection was lost.
    checksums_ok, checksums_bad : int
        Books that had the venue's checksum, and that had not.
    ignored : int
        Messages about this pair that gave no record.
    wrong_times : int
        Times of the venue's that lay far ahead of their receipt, which was recorded instead.
    """

    state: str = "connecting"
    said: str = ""
    messages: int = 0
    trades: int = 0
    deltas: int = 0
    quotes: int = 0
    sequence_gaps: int = 0
    resyncs: int = 0
    losses: int = 0
    checksums_ok: int = 0
    checksums_bad: int = 0
    ignored: int = 0
    wrong_times: int = 0


class Source(Protocol):
    """One connection, whoever keeps it."""

    @property
    def received(self) -> int:
        """Bytes received since the start."""

    @property
    def raw_bytes(self) -> int:
        """Bytes of the raw capture, compressed, since the start; 0 without one."""

    @property
    def raw_lost(self) -> int:
        """Bytes of text that the raw capture gave up, for want of space."""

    def take(self) -> Records:
        """Return the records since the last call, in order of arrival."""

    def states(self) -> dict[str, PairState]:
        """Return how each of its pairs is."""

    def resync(self, pair: str, why: str) -> None:
        """Ask for a pair's book anew."""

    def flush(self) -> None:
        """Write what is kept beside the events; called once a second."""

    async def run(self) -> None:
        """Keep the connection until `close`; after a fault, which it raises, it may be called again.

        However it ends, what is kept beside the events is written by then.
        """

    def failed(self, why: str) -> None:
        """Note that `run` has ended with a fault: a GAP of its pairs, one line, and the state ``stopped``."""

    async def close(self) -> None:
        """Say goodbye; `run` then reads what was on its way and ends, and `take` gives the rest."""
