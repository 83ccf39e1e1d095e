"""Faults on REST calls, seen by a plain client: what comes back, and whether the exchange has carried the call out."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from mdslib.sim import Exchange
from mdslib.sim.throw.calls import USUAL, pattern

from .struck import buy, calls, listener, phases, struck, thrown

# The day does not begin in these tests (nobody subscribes), so orders work and do not fill.


def placed(exchange: Exchange) -> list[str]:
    """Return the client order ids that the exchange has taken."""
    orders = httpx.get(f"{exchange.url}/sim/orders").json()["orders"]
    return [order["client_order_id"] for order in orders]


def soon_placed(exchange: Exchange, orders: list[str]) -> bool:
    """Tell whether the exchange takes these orders within a time that a busy machine needs."""
    deadline = time.monotonic() + 60
    while placed(exchange) != orders and time.monotonic() < deadline:
        time.sleep(0.01)
    return placed(exchange) == orders


@pytest.mark.parametrize("status", [401, 403, 404, 406, 409, 422, 429, 500, 504])
@pytest.mark.parametrize(("taken", "orders"), [("never", []), ("first", ["a"])])
def test_error_with_and_without_the_order_taken(status: int, taken: str, orders: list[str]) -> None:
    fault = f'what = "http-error"\ncall = "POST /v2/orders"\nstatus = {status}\ntaken = "{taken}"'
    with struck(fault) as exchange, calls(exchange) as client:
        answer = buy(client, "a")
        assert placed(exchange) == orders
        assert buy(client, "b").status_code == 200
        log = thrown(exchange)
    code, message = USUAL[status]
    assert answer.status_code == status
    assert answer.json() == ({} if code is None else {"code": code}) | {"message": message}
    assert [entry["phase"] for entry in log] == ["began", "hit", "ended"]
    assert (log[1]["call"], log[1]["client_order_id"], log[1]["taken"]) == ("POST /v2/orders", "a", taken)


def test_a_retry_of_an_order_that_was_taken_is_told_that_its_id_is_used() -> None:
    with struck('what = "http-error"\nstatus = 504\ntaken = "first"') as exchange, calls(exchange) as client:
        assert buy(client, "a").status_code == 504
        again = buy(client, "a")
    assert (again.status_code, again.json()["message"]) == (422, "client_order_id must be unique")


@pytest.mark.parametrize(
    "call",
    [
        "GET /v2/account", "GET /v2/positions", "GET /v2/clock", "GET /v2/orders", "GET /v2/assets",
        "DELETE /v2/orders", "GET /v2/orders:by_client_order_id", "GET /v2/stocks/trades", "GET /v2/assets/SPY",
        "GET /v2/stocks/SPY/bars", "GET /v2/orders/00000000-0000-0000-0000-000000000000",
    ],
)  # fmt: skip
def test_any_call_can_be_hit(call: str) -> None:
    method, path = call.split()
    with struck('what = "http-error"\nstatus = 500\nfor = "day"') as exchange, calls(exchange) as client:
        assert client.request(method, path).json()["message"] == "internal server error occurred"


def test_only_the_named_calls_are_hit() -> None:
    fault = 'what = "http-error"\nstatus = 500\nfor = "day"\ncall = ["DELETE /v2/orders/{id}", "GET /v2/clock"]'
    with struck(fault) as exchange, calls(exchange) as client:
        order = buy(client).json()
        codes = [client.get("/v2/account").status_code, client.get("/v2/clock").status_code]
        codes.append(client.delete(f"/v2/orders/{order['id']}").status_code)
        codes.append(client.get(f"/v2/orders/{order['id']}").status_code)
    assert codes == [200, 500, 500, 200]


def test_the_nth_call_and_how_many_from_there() -> None:
    fault = 'what = "http-error"\nstatus = 429\nnth = 2\ntimes = 2\nretry_after = 3'
    with struck(fault) as exchange, calls(exchange) as client:
        answers = [client.get("/v2/clock") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 429, 429, 200, 200]
    assert answers[1].headers["retry-after"] == "3"
    assert answers[1].headers["x-ratelimit-remaining"] == "0"


def test_one_call_suffers_one_fault_and_the_next_has_its_turn() -> None:
    faults = 'what = "http-error"\nstatus = 500---what = "http-error"\nstatus = 504'
    with struck(faults) as exchange, calls(exchange) as client:
        assert [client.get("/v2/clock").status_code for _ in range(3)] == [500, 504, 200]
        assert phases(exchange) == [
            (1, "began"), (2, "began"), (1, "hit"), (1, "ended"), (2, "hit"), (2, "ended"),
        ]  # fmt: skip


def test_words_of_the_error_can_be_given_and_a_proxy_speaks_html() -> None:
    faults = 'what = "http-error"\nstatus = 403\ncode = 40310000\nmessage = "account is blocked"'
    faults += '---what = "http-error"\nstatus = 502\nbody = "html"---what = "http-error"\nstatus = 503\nbody = "empty"'
    with struck(faults) as exchange, calls(exchange) as client:
        answers = [client.get("/v2/account") for _ in range(3)]
    assert answers[0].json() == {"code": 40310000, "message": "account is blocked"}
    assert answers[1].headers["content-type"] == "text/html"
    assert answers[1].text.startswith("<html><head><title>502</title>")
    assert (answers[2].status_code, answers[2].content) == (503, b"")


@pytest.mark.parametrize(("taken", "orders"), [("never", []), ("first", ["a"]), ("late", ["a"])])
def test_cut_instead_of_an_answer(taken: str, orders: list[str]) -> None:
    fault = f'what = "http-cut"\ntaken = "{taken}"\ndelay = "1s real"'
    with struck(fault) as exchange, calls(exchange) as client:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            buy(client, "a")
        if taken == "late":
            assert placed(exchange) == []
        assert soon_placed(exchange, orders)
        assert client.get("/v2/clock").status_code == 200


def test_cut_in_the_middle_of_the_answer() -> None:
    fault = 'what = "http-cut"\ntaken = "first"\nhalf = true'
    with struck(fault) as exchange, calls(exchange) as client:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            buy(client, "a")
        assert placed(exchange) == ["a"]


@pytest.mark.parametrize(("taken", "orders"), [("never", []), ("first", ["a"]), ("late", ["a"])])
def test_no_answer_until_the_client_gives_up(taken: str, orders: list[str]) -> None:
    fault = f'what = "http-hang"\ntaken = "{taken}"\ndelay = "1h"'
    with struck(fault) as exchange, calls(exchange, timeout=0.3) as client:
        with pytest.raises(httpx.ReadTimeout):
            buy(client, "a")
        # A late one is carried out when the client has hung up: the order lands after it was given up.
        assert soon_placed(exchange, orders)


def test_late_and_right() -> None:
    with struck('what = "http-slow"\ndelay = "300ms"') as exchange, calls(exchange) as client:
        began = time.monotonic()
        assert client.get("/v2/clock").json()["is_open"] is True
        assert time.monotonic() - began > 0.29


def test_updates_overtake_the_answer_of_a_slow_order() -> None:
    import threading

    with struck('what = "http-slow"\ncall = "POST /v2/orders"\ndelay = "500ms"') as exchange, calls(exchange) as client:
        updates = listener(exchange)
        answered: list[float] = []

        def order() -> None:
            assert buy(client, "a").status_code == 200
            answered.append(time.monotonic())

        thread = threading.Thread(target=order)
        thread.start()
        heard = [updates.receive()["data"]["event"] for _ in range(2)]
        at = time.monotonic()
        thread.join(120)
        updates.close()
    assert heard == ["pending_new", "new"]
    assert at < answered[0]


@pytest.mark.parametrize(
    ("how", "body"), [("text", b"upstream connect error"), ("empty", b""), ("wrong-shape", b'{"unexpected":[1,2,3]}')]
)
def test_garbage_for_an_answer_of_an_order_that_was_placed(how: str, body: bytes) -> None:
    with struck(f'what = "http-garbage"\nhow = "{how}"') as exchange, calls(exchange) as client:
        answer = buy(client, "a")
        assert (answer.status_code, answer.content) == (200, body)
        assert placed(exchange) == ["a"]


def test_a_truncated_answer_is_half_of_the_right_one() -> None:
    with struck('what = "http-garbage"') as exchange, calls(exchange) as client:
        half, whole = client.get("/v2/clock").content, client.get("/v2/clock").content
    assert half == whole[: len(whole) // 2]


def test_chances_are_drawn_from_the_seed() -> None:
    def codes(seed: int) -> list[int]:
        fault = 'what = "http-error"\nstatus = 500\nfor = "day"\nchance = 0.5'
        from mdslib.sim import parse_script

        from ..days import steps

        script = parse_script(f"seed = {seed}\n[[fault]]\n{fault}")
        with Exchange(steps(1), in_process=True, faults=script) as exchange, calls(exchange) as client:
            return [client.get("/v2/clock").status_code for _ in range(24)]

    first = codes(1)
    assert first == codes(1)
    assert first != codes(2)
    assert 4 < first.count(500) < 20


def test_a_call_pattern_takes_ids_but_no_other_paths() -> None:
    one = pattern("GET /v2/orders/{id}")
    assert one.match("GET /v2/orders/17")
    assert not one.match("GET /v2/orders")
    assert not one.match("GET /v2/orders/17/legs")
    assert not one.match("DELETE /v2/orders/17")


def test_the_side_channel_suffers_nothing() -> None:
    with struck('what = "http-error"\nstatus = 500\nfor = "day"') as exchange:
        told: Any = httpx.get(f"{exchange.url}/sim/sent").json()
    assert told["phase"] == "waiting"


def test_every_call_of_the_exchange_has_its_name_in_scripts() -> None:
    from mdslib.sim.faults import CALLS
    from mdslib.sim.history import ROUTES as HISTORY
    from mdslib.sim.trading import ROUTES as TRADING

    routes = {
        f"{method} {route.path.replace(':path', '')}"
        for route in (*TRADING, *HISTORY)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert routes == set(CALLS)
