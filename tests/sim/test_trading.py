"""The trading calls over HTTP: bodies, codes, headers, filters."""

from __future__ import annotations

import httpx
import pytest

from mdslib.sim import Exchange

from .days import DataClient, UpdateClient, day_of, steps
from .lockstep_client import HEADERS, LockstepSession

ORDER = {"symbol": "SPY", "qty": "1", "side": "buy", "type": "limit", "limit_price": "50", "time_in_force": "day"}


def test_calls_without_keys_are_unauthorized(standing: Exchange) -> None:
    answer = httpx.get(f"{standing.url}/v2/account")
    assert (answer.status_code, answer.json()) == (401, {"message": "unauthorized."})


def test_only_the_given_key_pair_is_let_in() -> None:
    with Exchange(steps(1), in_process=True, key="mine", secret="right") as exchange:
        codes = [
            httpx.get(
                f"{exchange.url}/v2/clock", headers={"APCA-API-KEY-ID": "mine", "APCA-API-SECRET-KEY": secret}
            ).status_code
            for secret in ("right", "wrong")
        ]
        client = DataClient(exchange)
        assert client.login("mine", "wrong")[0]["code"] == 402
        client.close()
    assert codes == [200, 401]


def test_rate_limit_headers_are_on_every_answer(http: httpx.Client) -> None:
    headers = http.get("/v2/clock").headers
    assert headers["X-Ratelimit-Limit"] == "200"
    assert int(headers["X-Ratelimit-Remaining"]) < 200
    assert int(headers["X-Ratelimit-Reset"]) > 1_700_000_000


def test_429_beyond_the_limit_where_it_is_enforced() -> None:
    with (
        Exchange(steps(1), in_process=True, enforce_rate_limit=True) as exchange,
        httpx.Client(base_url=exchange.url, headers=HEADERS) as http,
    ):
        answers = [http.get("/v2/clock") for _ in range(420)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert refused[0].json() == {"code": 42910000, "message": "rate limit exceeded"}
    assert refused[0].headers["X-Ratelimit-Remaining"] == "0"


def test_account_before_any_trade(http: httpx.Client) -> None:
    account = http.get("/v2/account").json()
    assert {name: account[name] for name in ("status", "currency", "cash", "equity", "buying_power", "multiplier")} == {
        "status": "ACTIVE",
        "currency": "USD",
        "cash": "100000",
        "equity": "100000",
        "buying_power": "400000",
        "multiplier": "4",
    }
    assert "pattern_day_trader" not in account
    assert account["account_blocked"] is False


def test_clock_is_the_exchanges_own_in_new_york_time(http: httpx.Client) -> None:
    assert http.get("/v2/clock").json() == {
        "timestamp": "2013-10-08T09:30:00-04:00",
        "is_open": True,
        "next_open": "2013-10-09T09:30:00-04:00",
        "next_close": "2013-10-08T16:00:00-04:00",
    }


def test_calendar_knows_half_days(http: httpx.Client) -> None:
    days = http.get("/v2/calendar", params={"start": "2013-11-28", "end": "2013-12-01"}).json()
    assert days == [
        {
            "date": "2013-11-29",
            "open": "09:30",
            "close": "13:00",
            "session_open": "0400",
            "session_close": days[0]["session_close"],
            "settlement_date": "2013-12-02",
        }
    ]


def test_assets_by_symbol_and_unknown_ones(http: httpx.Client) -> None:
    spy = http.get("/v2/assets/SPY").json()
    assert (spy["class"], spy["symbol"], spy["tradable"]) == ("us_equity", "SPY", True)
    assert http.get(f"/v2/assets/{spy['id']}").json() == spy
    assert [asset["symbol"] for asset in http.get("/v2/assets").json()] == ["SPY", "BAC"]
    missing = http.get("/v2/assets/ZZZZ")
    assert (missing.status_code, missing.json()) == (404, {"code": 40410000, "message": "asset not found for ZZZZ"})


def test_orders_are_filtered_and_newest_first(http: httpx.Client) -> None:
    ids = [
        http.post("/v2/orders", json=ORDER | {"client_order_id": name, "symbol": symbol}).json()["id"]
        for name, symbol in (("a", "SPY"), ("b", "BAC"), ("c", "SPY"))
    ]
    assert http.delete(f"/v2/orders/{ids[0]}").status_code == 204

    def names(**params: str) -> list[str]:
        return [order["client_order_id"] for order in http.get("/v2/orders", params=params).json()]

    assert names() == ["c", "b"]
    assert names(status="closed") == ["a"]
    assert names(status="all", direction="asc") == ["a", "b", "c"]
    assert names(status="all", symbols="SPY") == ["c", "a"]
    assert names(status="all", side="sell") == []
    assert names(status="all", limit="1") == ["c"]
    assert names(status="all", after="2013-10-08T13:30:00Z") == []
    assert names(status="all", until="2013-10-08T13:30:01Z", nested="true") == ["c", "b", "a"]


@pytest.mark.parametrize(
    "params", [{"status": "some"}, {"limit": "501"}, {"limit": "x"}, {"direction": "up"}, {"after": "yesterday"}]
)
def test_bad_filters_are_refused(http: httpx.Client, params: dict[str, str]) -> None:
    answer = http.get("/v2/orders", params=params)
    assert (answer.status_code, answer.json()["code"]) == (422, 40010001)
    assert next(iter(params)) in answer.json()["message"] or "time" in answer.json()["message"]


def test_duplicate_client_id_is_422_although_its_code_begins_with_400(http: httpx.Client) -> None:
    http.post("/v2/orders", json=ORDER | {"client_order_id": "once"})
    again = http.post("/v2/orders", json=ORDER | {"client_order_id": "once"})
    assert (again.status_code, again.json()) == (422, {"code": 40010001, "message": "client_order_id must be unique"})
    found = http.get("/v2/orders:by_client_order_id", params={"client_order_id": "once"}).json()
    assert found == http.get(f"/v2/orders/{found['id']}").json()


def test_unknown_orders_are_404(http: httpx.Client) -> None:
    assert http.get("/v2/orders/none").json() == {"code": 40410000, "message": "order not found for none"}
    assert http.get("/v2/orders:by_client_order_id", params={"client_order_id": "x"}).status_code == 404
    assert http.patch("/v2/orders/none", json={"qty": "2"}).status_code == 404


def test_a_replaced_order_ends_and_another_with_a_name_of_its_own_works(http: httpx.Client) -> None:
    """Source: "Replace an Order"; what is not changed stays, the whole quantity too."""
    resting = ORDER | {"type": "limit", "limit_price": "1.00", "qty": "5"}
    old = http.post("/v2/orders", json=resting | {"client_order_id": "ours"}).json()
    new = http.patch(f"/v2/orders/{old['id']}", json={"limit_price": "1.10"}).json()
    before = http.get(f"/v2/orders/{old['id']}").json()
    assert new["id"] != old["id"]
    assert new["client_order_id"] != "ours"
    assert (new["replaces"], new["qty"], new["limit_price"], new["status"]) == (old["id"], "5", "1.1", "new")
    assert (before["status"], before["replaced_by"]) == ("replaced", new["id"])
    assert before["replaced_at"] is not None
    assert [order["id"] for order in http.get("/v2/orders").json()] == [new["id"]]
    said = http.delete(f"/v2/orders/{old['id']}")
    assert (said.status_code, said.json()["message"]) == (422, 'order is already in "replaced" state')
    assert http.patch(f"/v2/orders/{old['id']}", json={"qty": "2"}).json()["message"] == said.json()["message"]
    again = http.patch(f"/v2/orders/{new['id']}", json={"qty": "2", "client_order_id": "mine"}).json()
    assert (again["qty"], again["limit_price"], again["client_order_id"]) == ("2", "1.1", "mine")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "nothing to change was sent"),
        (
            {"stop_price": "3"},
            "stop_price can't be changed on this exchange: send client_order_id, limit_price, qty, time",
        ),
        ({"qty": "0"}, "qty must be > 0"),
        ({"qty": "1.5"}, "qty must be integer"),
        ({"limit_price": "1.001"}, "invalid limit_price 1.001. sub-penny increment"),
        ({"time_in_force": "opg"}, "time_in_force opg is not available"),
        ([], "request body format is invalid"),
    ],
)
def test_a_change_that_can_not_be_is_refused_and_the_order_works_on(
    http: httpx.Client, body: object, said: str
) -> None:
    resting = ORDER | {"type": "limit", "limit_price": "1.00"}
    order = http.post("/v2/orders", json=resting).json()
    answer = http.patch(f"/v2/orders/{order['id']}", json=body)
    assert answer.status_code in (400, 422)
    assert answer.json()["message"].startswith(said)
    assert http.get(f"/v2/orders/{order['id']}").json()["status"] == "new"


def test_a_change_that_the_account_can_not_pay_is_refused_and_the_order_works_on() -> None:
    with (
        Exchange(steps(10), in_process=True, rules="alpaca", cash=1_000.0) as exchange,
        httpx.Client(base_url=exchange.url, headers=HEADERS, timeout=120) as http,
    ):
        order = http.post("/v2/orders", json=ORDER | {"type": "limit", "limit_price": "10.00", "qty": "5"}).json()
        answer = http.patch(f"/v2/orders/{order['id']}", json={"qty": "100000"})
        assert (answer.status_code, answer.json()["message"]) == (403, "insufficient buying power")
        assert [each["id"] for each in http.get("/v2/orders").json()] == [order["id"]]
        assert http.delete(f"/v2/orders/{order['id']}").status_code == 204


def test_body_that_is_not_json_is_400_and_unknown_paths_are_404(http: httpx.Client) -> None:
    assert http.post("/v2/orders", content=b"{").json() == {
        "code": 40010000,
        "message": "request body format is invalid",
    }
    assert http.get("/v2/nothing").json()["message"] == "endpoint not found: /v2/nothing"


def test_delete_all_orders_answers_207_with_each(http: httpx.Client) -> None:
    order = http.post("/v2/orders", json=ORDER).json()
    answer = http.delete("/v2/orders")
    assert (answer.status_code, answer.json()) == (207, [{"id": order["id"], "status": 200}])
    assert http.get("/v2/orders").json() == []


def test_positions_and_their_closing_orders() -> None:
    seen: dict[str, object] = {}

    def act(session: LockstepSession, now: int, phase: str) -> None:
        number = len(session.frames)
        if phase != "market":
            return
        if number == 1:
            missing = session.http.get("/v2/positions/SPY")
            seen["flat"] = (missing.status_code, missing.json())
            session.post(qty=4)
        if number == 2:
            seen["position"] = session.http.get("/v2/positions/SPY").json()
            seen["half"] = session.http.delete("/v2/positions/SPY", params={"percentage": "50"}).json()["qty"]
        if number == 3:
            seen["rest"] = session.http.delete("/v2/positions", params={"cancel_orders": "true"}).json()[0]["body"][
                "qty"
            ]
        if number == 4:
            seen["end"] = session.http.get("/v2/positions").json()

    day = day_of(*((i, "SPY", price, 1) for i, price in ((10, 10.0), (20, 11.0), (30, 12.0), (40, 12.0))))
    with Exchange(day, mode="lockstep", in_process=True) as exchange:
        LockstepSession(exchange, act).run().close()
    assert seen["flat"] == (404, {"code": 40410000, "message": "position does not exist"})
    position = seen["position"]
    assert isinstance(position, dict)
    assert {
        name: position[name]
        for name in ("qty", "side", "avg_entry_price", "market_value", "qty_available", "current_price")
    } == {
        "qty": "4",
        "side": "long",
        "avg_entry_price": "11",
        "market_value": "44",
        "qty_available": "4",
        "current_price": "11",
    }
    assert (seen["half"], seen["rest"], seen["end"]) == ("2", "2", [])


def test_both_forms_of_authorization_and_what_listening_answers(standing: Exchange) -> None:
    client = UpdateClient(standing)
    unauthorized = {"stream": "authorization", "data": {"status": "unauthorized", "action": "listen"}}
    assert client.say(action="listen", data={"streams": ["trade_updates"]}) == unauthorized
    assert client.say(action="auth", key="", secret="")["data"]["status"] == "unauthorized"
    authorized = {"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}}
    assert client.say(action="auth", key="K", secret="S") == authorized
    assert client.say(action="authenticate", data={"key_id": "K", "secret_key": "S"}) == authorized
    listening = client.say(action="listen", data={"streams": ["trade_updates", "nonsense"]})
    assert listening == {"stream": "listening", "data": {"streams": ["trade_updates"]}}
    assert client.say(action="dance")["data"] == {"error_message": "unknown action dance"}
    client.close()


def test_updates_come_as_binary_frames_while_the_market_stands(standing: Exchange, http: httpx.Client) -> None:
    client = UpdateClient(standing).listen()
    order = http.post("/v2/orders", json=ORDER).json()
    pending, new = client.receive(), client.receive()
    client.close()
    assert pending["stream"] == "trade_updates"
    assert [pending["data"]["event"], new["data"]["event"]] == ["pending_new", "new"]
    assert new["data"]["order"]["id"] == order["id"]


def test_side_channel_lists_orders_and_what_was_sent(http: httpx.Client) -> None:
    http.post("/v2/orders", json=ORDER)
    http.post("/v2/orders", json=ORDER | {"qty": "-1"})
    listed = http.get("/sim/orders").json()
    assert (len(listed["orders"]), listed["refused"]) == (1, 1)
    assert http.get("/sim/sent").json()["counts"] == {}
