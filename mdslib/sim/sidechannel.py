"""The exchange's own side channel: ``/sim/time``, and ``/sim/sent``, ``/sim/orders``, ``/sim/faults`` for an audit.

None of this exists at Alpaca: it is there so that a rehearsed session knows the exchange's clock, can move in lock-step
with it (see `mdslib.sim.lockstep` for the messages), and can be compared with what was sent.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from mdslib.sim.floor import Floor


class TimeConnection:
    """One ``/sim/time`` websocket."""

    def __init__(self, floor: Floor, socket: WebSocket) -> None:
        self.floor = floor
        self.socket = socket
        self.number = next(floor.numbers)
        self.ready = False
        self.heard: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def run(self) -> None:
        """Serve the connection until it closes; what is heard waits for the player."""
        await self.socket.accept()
        await self.tell(self.floor.time_message(self.number))
        self.floor.time_clients.append(self)
        self.floor.changed.set()
        try:
            while True:
                message = json.loads(await self.socket.receive_text())
                if message.get("play"):
                    self.floor.play_now = True
                    self.floor.changed.set()
                elif message.get("ready"):
                    self.ready = True
                    self.floor.changed.set()
                else:
                    self.heard.put_nowait(message)
        except (WebSocketDisconnect, RuntimeError, ValueError, KeyError):
            self.heard.put_nowait(None)  # closed, or spoke no JSON: whoever waits for it must not wait for ever
        finally:
            self.floor.time_clients.remove(self)

    async def tell(self, message: dict[str, Any]) -> None:
        """Send one message; a client that has gone is noticed by `run`."""
        try:
            await self.socket.send({"type": "websocket.send", "text": json.dumps(message)})
        except (WebSocketDisconnect, RuntimeError):
            self.heard.put_nowait(None)


async def serve_time(socket: WebSocket) -> None:
    """Serve ``/sim/time``."""
    await TimeConnection(socket.app.state.floor, socket).run()


async def get_sent(request: Request) -> JSONResponse:
    """Answer ``GET /sim/sent``: counts by kind and, for each data connection, a digest of the rows sent."""
    floor: Floor = request.app.state.floor
    floor.log.flush()
    return JSONResponse(
        floor.log.summary() | {"frames": floor.frames, "updates": floor.updates, "now": floor.now, "phase": floor.phase}
    )


async def get_orders(request: Request) -> JSONResponse:
    """Answer ``GET /sim/orders``: every order as it stands, in order of acceptance, and the count of refusals."""
    core = request.app.state.floor.core
    return JSONResponse({"orders": [order.to_json() for order in core.orders], "refused": core.refused})


async def get_faults(request: Request) -> JSONResponse:
    """Answer ``GET /sim/faults``: the fault script, what came of each fault, and the log; null without a script."""
    thrower = request.app.state.floor.thrower
    return JSONResponse(None if thrower is None else thrower.report())
