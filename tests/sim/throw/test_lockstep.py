"""Connections that end in lock-step: what the exchange tells stays what the session can have read."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from mdslib.sim import Exchange

from ..days import MS, OPEN, DataClient, UpdateClient, steps
from ..lockstep_client import LockstepSession
from .struck import struck


def reconnecting(exchange: Exchange, at: dict[int, str], orders: Any = None) -> LockstepSession:
    """Return a session that makes new connections at seconds of the day, before it answers the barrier."""

    def act(session: LockstepSession, now: int, phase: str) -> None:
        second = (now - OPEN) // (1000 * MS)
        if phase != "market":
            return
        if at.get(second) in ("data", "both"):
            session.data = DataClient(exchange)
            session.data.login()
            session.data.subscribe(trades=["*"])
        if at.get(second) in ("updates", "both"):
            session.updates = UpdateClient(exchange).listen()
        if orders is not None:
            orders(session, second)

    return LockstepSession(exchange, act)


def sizes(session: LockstepSession) -> list[int]:
    return [message["s"] for frame in session.frames for message in frame]


@pytest.mark.parametrize("how", ["cut", "close"])
def test_what_is_lost_with_a_socket_is_not_told_as_sent(how: str) -> None:
    runs = []
    for _ in range(2):
        fault = f'what = "disconnect"\nafter = "2500ms"\nhow = "{how}"'
        with struck(fault, steps(6), mode="lockstep") as exchange:
            session = reconnecting(exchange, {3: "data"}).run()
            session.close()
            runs.append((session.frames, session.instants))
            sent = httpx.get(f"{exchange.url}/sim/sent").json()
        assert sizes(session) == [1, 2, 4, 5, 6]
        assert [entry["rows"] for entry in sent["connections"]] == [2, 3]
    assert runs[0] == runs[1]


def test_updates_that_nobody_hears_are_not_told_and_rest_knows_them() -> None:
    def orders(session: LockstepSession, second: int) -> None:
        if second == 2:
            assert session.post(client_order_id="a").status_code == 200

    with struck('what = "disconnect"\nsocket = "updates"\nafter = "2500ms"', steps(5), mode="lockstep") as exchange:
        session = reconnecting(exchange, {4: "updates"}, orders).run()
        told = httpx.get(f"{exchange.url}/sim/orders").json()["orders"]
        session.close()
    assert [data["event"] for data in session.heard] == ["pending_new", "new"]
    assert told[0]["status"] == "filled"
    assert [phase for now, phase in session.instants if now == OPEN + 3000 * MS] == ["market"]


def test_a_restart_with_an_outage_of_seconds_of_the_day() -> None:
    lost: list[int] = []

    def orders(session: LockstepSession, second: int) -> None:
        try:
            session.post(client_order_id=f"o{second}")
        except httpx.TransportError:
            lost.append(second)

    with struck('what = "restart"\nafter = "2500ms"\nfor = "2s"', steps(7), mode="lockstep") as exchange:
        session = reconnecting(exchange, {5: "both"}, orders).run()
        told = httpx.get(f"{exchange.url}/sim/orders").json()["orders"]
        session.close()
    assert sizes(session) == [1, 2, 5, 6, 7], "it came back in the instant of 5, and was sent it again"
    assert lost == [3, 4]
    assert [order["client_order_id"] for order in told] == ["o0", "o1", "o2", "o5", "o6", "o7", "o23400"]
    assert [order["status"] for order in told[:5]] == ["filled"] * 5, "the market went on in the outage"
