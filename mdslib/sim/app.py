"""The web application of the exchange: all its doors on one port."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route, WebSocketRoute

from mdslib.sim import history, sidechannel, trading
from mdslib.sim.floor import Floor
from mdslib.sim.guard import Json
from mdslib.sim.stream import serve_data, serve_pairs, serve_updates


async def _not_found(request: Request, error: Exception) -> Json:
    return Json({"code": 40410000, "message": f"endpoint not found: {request.url.path}"}, 404)


def make_app(floor: Floor) -> Starlette:
    """Return the application of one exchange."""
    app = Starlette(
        routes=[
            *trading.ROUTES,
            *history.ROUTES,
            Route("/sim/sent", sidechannel.get_sent),
            Route("/sim/orders", sidechannel.get_orders),
            Route("/sim/faults", sidechannel.get_faults),
            WebSocketRoute("/sim/time", sidechannel.serve_time),
            WebSocketRoute("/stream", serve_updates),
            WebSocketRoute("/v2/{feed}", serve_data),
            WebSocketRoute("/v1beta3/crypto/us", serve_pairs),
        ],
        exception_handlers={404: _not_found},
    )
    app.state.floor = floor
    return app
