"""An exchange with a fault script, and what its tests ask of it."""

from __future__ import annotations

from typing import Any

import httpx

from mdslib.sim import Exchange, parse_script
from mdslib.table import MarketData

from ..days import DataClient, UpdateClient, steps
from ..lockstep_client import HEADERS

BUY = {"symbol": "SPY", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}


def struck(faults: str, data: MarketData | None = None, **options: Any) -> Exchange:
    """Return an exchange in a thread with a script; each fault is a line of TOML's inline table."""
    tables = "\n".join(f"[[fault]]\n{fault}" for fault in faults.split("---"))
    options = {"in_process": True} | options
    return Exchange(steps(10) if data is None else data, faults=parse_script(tables, "test.toml"), **options)


def calls(exchange: Exchange, timeout: float = 120.0) -> httpx.Client:
    """Return a client for REST calls, with keys."""
    return httpx.Client(base_url=exchange.url, headers=HEADERS, timeout=timeout)


def buy(client: httpx.Client, name: str = "", **more: Any) -> httpx.Response:
    """Post an order."""
    return client.post("/v2/orders", json=BUY | ({"client_order_id": name} if name else {}) | more)


def reader(exchange: Exchange, **channels: list[str]) -> DataClient:
    """Return a data client that has subscribed."""
    client = DataClient(exchange)
    client.login()
    client.subscribe(**(channels or {"trades": ["*"]}))
    return client


def listener(exchange: Exchange) -> UpdateClient:
    """Return a client that listens to order updates."""
    return UpdateClient(exchange).listen()


def thrown(exchange: Exchange) -> list[dict[str, Any]]:
    """Return the log of what was thrown so far."""
    log: list[dict[str, Any]] = httpx.get(f"{exchange.url}/sim/faults").json()["log"]
    return log


def phases(exchange: Exchange) -> list[tuple[int, str]]:
    """Return number and phase of what was thrown so far."""
    return [(entry["fault"], entry["phase"]) for entry in thrown(exchange)]
