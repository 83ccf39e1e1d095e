"""A crypto venue's connection as a recording's source."""

from __future__ import annotations

from mdslib.feeds.venue_connection import VenueConnection
from mdslib.protocols import Records
from mdslib.recorder.raw import RawCapture
from mdslib.recorder.source import PairState


class VenueSource:
    """One `VenueConnection`, and the raw capture beside it where it is wanted."""

    def __init__(self, connection: VenueConnection, raw: RawCapture | None) -> None:
        self.connection, self.raw = connection, raw

    @property
    def received(self) -> int:
        """Bytes received since the start."""
        return self.connection.counts.bytes

    @property
    def raw_bytes(self) -> int:
        """Bytes of the raw capture, compressed, since the start; 0 without one."""
        return self.raw.bytes if self.raw is not None else 0

    @property
    def raw_lost(self) -> int:
        """Bytes of text that the raw capture gave up, for want of space."""
        return self.raw.lost if self.raw is not None else 0

    def take(self) -> Records:
        """Return the records since the last call."""
        return self.connection.take()

    def resync(self, pair: str, why: str) -> None:
        """Ask for a pair's book anew."""
        self.connection.resync(pair, why)

    def states(self) -> dict[str, PairState]:
        """Return how each of its pairs is."""
        tallies, counts = self.connection.tallies(), self.connection.counts
        found = {}
        for pair, health in self.connection.health.items():
            tally = tallies[pair]
            found[pair] = PairState(
                health.state, health.refusal or (counts.why_lost if health.state in ("connecting", "stopped") else ""),
                tally.messages, tally.trades, tally.deltas, tally.quotes, tally.sequence_gaps, health.resyncs,
                counts.losses, tally.checksums_ok, tally.checksums_bad, tally.ignored,
                tally.wrong_times,
            )  # fmt: skip
        return found

    def flush(self) -> None:
        """Write the raw capture so far."""
        if self.raw is not None:
            self.raw.flush()

    async def run(self) -> None:
        """Keep the connection until `close`, and then close the raw capture."""
        try:
            await self.connection.run()
        finally:
            if self.raw is not None:
                self.raw.close()

    def failed(self, why: str) -> None:
        """Note that `run` has ended with a fault."""
        self.connection.failed(why)

    async def close(self) -> None:
        """Say goodbye; `run` reads what is on its way, and ends."""
        await self.connection.close()
