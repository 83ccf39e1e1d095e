"""The child process of `mdslib.sim.Exchange`: its day comes by standard input, and it ends when the parent does."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import sys
import threading

from mdslib.errors import MdsError
from mdslib.sim.server import serve


def main() -> int:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the parent, which then stops this one
    data, options = pickle.load(sys.stdin.buffer)

    def ready(port: int, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        threading.Thread(target=_watch, args=(loop, stop), daemon=True).start()
        _say({"port": port})

    try:
        asyncio.run(serve(data, options, ready))
    except MdsError as error:
        _say({"error": str(error)})
        return 1
    return 0


def _watch(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    while os.read(0, 4096):
        continue
    if not loop.is_closed():
        loop.call_soon_threadsafe(stop.set)


def _say(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
