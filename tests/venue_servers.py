"""Venues on this machine, for tests over real sockets: a server in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from mdslib.sim.venues.server import VenueServer

PATIENCE = 90.0  # s, on a machine that is busy


class Running:
    """A venue's server in a thread of its own."""

    def __init__(self, server: VenueServer) -> None:
        self.server = server
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self.port = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        def ready(port: int) -> None:
            self.port = port
            self._ready.set()

        self._task = asyncio.current_task()
        await self.server.serve(ready=ready)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def sent(self) -> bool:
        """Whether the market has ended and every client has been sent all of it."""
        return self.server.finished.is_set() and self.server.idle

    def stop(self) -> None:
        assert self._task is not None
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(PATIENCE)


@contextlib.contextmanager
def running(server: VenueServer) -> Iterator[Running]:
    """Run a venue on a free port of this machine."""
    venue = Running(server)
    try:
        yield venue
    finally:
        venue.stop()


def until(true: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


async def until_async(true: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait in an event loop until a condition holds."""
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        await asyncio.sleep(0.01)
