"""`mds sim --venue`: one of the crypto venues on this machine, from a capture or a made market."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mdslib.arguments import number
from mdslib.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from mdslib.sim.venues.server import VenueServer

_PAIRS = {"bitfinex": "tBTCUSD", "bitmex": "XBTUSD", "coinbase": "BTC-USD", "coinbase-advanced": "BTC-USD",
          "kraken": "XBT/USD", "kraken-v2": "BTC/USD"}  # fmt: skip
_PAIR = re.compile(r"[A-Za-z0-9]+([-/:_.][A-Za-z0-9]+)*")


def run_venue(
    venue: str, capture: Path | None, pairs: Sequence[str], speed: float, faults: Sequence[str], port: int,
    exit_after: float | None,
) -> None:  # fmt: skip
    """Serve a venue's market data until a signal, or `exit_after` seconds after the market's end."""
    from mdslib.sim.venues.server import VenueServer

    thrown = dict(map(_fault, faults))
    if exit_after is not None:
        number("--exit-after", exit_after, least=0)
    if not (venue or capture):
        raise ConfigError("--venue-fault needs --venue: say whose market is played, or give a --capture")
    if venue and venue not in _PAIRS:
        raise ConfigError(f"--venue: no side speaks the protocol of {venue!r}. {did_you_mean(venue, _PAIRS)}")
    if capture is not None:
        if pairs:
            raise ConfigError(
                "--symbol names the pairs of a made market, and --capture has its own; leave out --symbol"
            )
        server = VenueServer.of_capture(capture, venue, speed, thrown)
    else:
        if exit_after is not None:
            raise ConfigError("--exit-after needs --capture: a made market has no end; stop it with a signal")
        for pair in pairs:
            if not _PAIR.fullmatch(pair):
                raise ConfigError(
                    f"--symbol must be a pair as {venue} writes it, like {_PAIRS[venue]}; received {pair!r}"
                )
        server = VenueServer.of_endless(venue, pairs or [_PAIRS[venue]], speed, thrown)

    def ready(bound: int) -> None:
        origin = f"recorded, from {capture}, {server.frames:,} messages" if capture else "a made market without end"
        name = server.venue.partition("-")[0]
        told = [
            f"venue      {server.venue}: {origin}, {len(server.side.pairs)} pairs: "
            + " ".join(sorted(server.side.pairs)),
            f"data       ws://127.0.0.1:{bound}",
            "for a recorder, in its shell:",
            f"  export MDS_VENUE_URLS__{name.upper()}=ws://127.0.0.1:{bound}",
            "the market begins when a client has subscribed; Ctrl-C ends it",
        ]
        typer.echo("\n".join(told))

    asyncio.run(_serve(server, port, ready, exit_after))


async def _serve(server: VenueServer, port: int, ready: Callable[[int], None], exit_after: float | None) -> None:
    serving = asyncio.create_task(server.serve(port, ready=ready))
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, serving.cancel)
    if exit_after is not None:
        asyncio.create_task(_end(server, exit_after, serving))  # noqa: RUF006 - it ends with the loop
    with contextlib.suppress(asyncio.CancelledError):
        await serving


async def _end(server: VenueServer, exit_after: float, serving: asyncio.Task[None]) -> None:
    await server.finished.wait()
    await asyncio.sleep(exit_after)
    serving.cancel()


def _fault(text: str) -> tuple[int, str]:
    from mdslib.sim.venues.server import FAULTS

    place, _, name = text.partition(":")
    if not place.isdigit() or int(place) < 1 or name not in FAULTS:
        raise ConfigError(
            f"--venue-fault must be a message's number and what happens there, received {text!r}; "
            f"write for example 500:cut ({' or '.join(FAULTS)})"
        )
    return int(place), name
