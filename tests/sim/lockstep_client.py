"""A scripted session in lock-step: at chosen instants it posts orders, and it notes all that it sees in order."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
from websockets.sync.client import connect

from mdslib.sim import Exchange

from .days import DataClient, UpdateClient

HEADERS = {"APCA-API-KEY-ID": "K", "APCA-API-SECRET-KEY": "S"}


class LockstepSession:
    """Runs the session's side of the barrier.

    Parameters
    ----------
    act : callable
        Called as ``act(session, now, phase)`` at every barrier, after its frames and updates were read.
    """

    def __init__(
        self, exchange: Exchange, act: Callable[[LockstepSession, int, str], None], *, second: bool = False
    ) -> None:
        self.exchange = exchange
        self.act = act
        self.second = second  # one before it was killed
        self.http = httpx.Client(base_url=exchange.url, headers=HEADERS)
        self.time = connect(exchange.time_url)
        self.time.recv(120)
        self.updates = UpdateClient(exchange).listen()
        self.data = DataClient(exchange)
        self.data.login()
        self.data.subscribe(trades=["*"])
        self.time.send(json.dumps({"ready": True}))
        self.frames: list[list[dict[str, Any]]] = []
        self.heard: list[dict[str, Any]] = []
        self.instants: list[tuple[int, str]] = []
        self.wake: int | None = None

    def run(self) -> LockstepSession:
        while True:
            told = json.loads(self.time.recv(120))
            if told["phase"] == "end":
                self.instants.append((told["now"], "end"))
                return self
            while len(self.frames) < told["frames"]:
                self.frames.append(self.data.receive())
            while len(self.heard) < told["updates"]:
                self.heard.append(self.updates.receive()["data"])
            self.instants.append((told["now"], told["phase"]))
            self.wake = None
            self.act(self, told["now"], told["phase"])
            self.time.send(json.dumps({"done": told["now"], "phase": told["phase"], "wake": self.wake}))

    def post(self, side: str = "buy", qty: int = 1, symbol: str = "SPY", **more: Any) -> httpx.Response:
        body = {"symbol": symbol, "qty": str(qty), "side": side, "type": "market", "time_in_force": "day"} | more
        return self.http.post("/v2/orders", json=body)

    def close(self) -> None:
        self.data.close()
        self.updates.close()
        self.time.close()
        self.http.close()
