"""The exchange's process: one event loop with uvicorn and the player, on 127.0.0.1."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import uvicorn

from mdslib.arguments import whole
from mdslib.errors import ConfigError
from mdslib.sim.app import make_app
from mdslib.sim.bars import with_minute_bars
from mdslib.sim.floor import Floor
from mdslib.sim.lockstep import Stepper
from mdslib.sim.market import Market
from mdslib.sim.options import Mode, SimOptions
from mdslib.sim.player import Player
from mdslib.sim.throw import FaultyApp
from mdslib.table import MarketData

HOST = "127.0.0.1"


def bind(port: int) -> socket.socket:
    """Return a listening socket on the loopback.

    Raises
    ------
    ConfigError
        The port is in use, or is none.
    """
    whole("sim option port", port, least=0, most=65_535)
    # The protocol must be named: asyncio switches Nagle's delay off (40 ms an answer) only where it is.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"sim option port: {HOST}:{port} can't be used ({error.strerror}); choose another, or 0 for a free one"
        ) from error
    listener.listen(128)
    return listener


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to its owner."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # noqa: D102
        yield


async def serve(data: MarketData, options: SimOptions, ready: Callable[[int, asyncio.Event], None]) -> None:
    """Run an exchange until it is told to stop, or `exit_after` seconds after the day's end.

    Parameters
    ----------
    data : MarketData
        The day.
    options : SimOptions
        How to play it.
    ready : callable
        Called once with the port and the event that stops the exchange (set it in the loop's own thread).
    """
    listener = bind(options.port)
    with contextlib.closing(listener):
        await _serve_on(listener, Floor(Market(with_minute_bars(data), options.from_ts, options.to_ts), options), ready)


async def _serve_on(listener: socket.socket, floor: Floor, ready: Callable[[int, asyncio.Event], None]) -> None:
    app, thrower = make_app(floor), floor.thrower
    config = uvicorn.Config(
        app if thrower is None else FaultyApp(app, thrower),
        http="auto" if thrower is None else thrower.wires.protocol(),
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        timeout_graceful_shutdown=1,
    )
    server = Server(config)
    stop = asyncio.Event()
    serving = asyncio.create_task(server.serve([listener]))
    playing = asyncio.create_task(_play(floor, stop))
    try:
        ready(int(listener.getsockname()[1]), stop)
        waiting = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({serving, playing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiting}:
            task.result()
        waiting.cancel()
    finally:
        server.should_exit = True
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(playing, serving, return_exceptions=True)
        if floor.thrower is not None:
            floor.log.played(floor.market.played(floor.sent))
            floor.thrower.log.close()
        floor.log.close()


async def _play(floor: Floor, stop: asyncio.Event) -> None:
    player = Stepper(floor) if floor.mode is Mode.LOCKSTEP else Player(floor)
    if floor.thrower is not None:
        await floor.thrower.until(floor.now)
    await floor.warm()
    await player.play()
    if floor.options.exit_after is None:
        await stop.wait()
    else:
        await asyncio.sleep(floor.options.exit_after)
