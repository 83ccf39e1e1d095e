"""Connections that end, refuse, err, and an exchange that restarts: seen by plain clients."""

from __future__ import annotations

import time

import httpx
import pytest
from websockets.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidMessage,
    InvalidStatus,
    WebSocketException,
)
from websockets.sync.client import connect

from mdslib.sim import Exchange

from ..days import DataClient, UpdateClient, steps
from .struck import buy, calls, listener, reader, struck, thrown


def down(exchange: Exchange) -> bool:
    """Tell whether the exchange takes no call."""
    try:
        with calls(exchange) as client:
            return client.get("/v2/clock").status_code != 200
    except httpx.TransportError:
        return True


def soon_up(exchange: Exchange) -> bool:
    """Wait until the exchange takes calls and connections again; tell whether it does in a reasonable time."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            connect(exchange.data_url).close()
            return not down(exchange)
        except (WebSocketException, OSError):
            time.sleep(0.02)
    return False


def until_closed(client: DataClient) -> tuple[list[int], ConnectionClosed]:
    """Return the sizes of the trades (1, 2, ...) until the connection ends, and how it ended."""
    sizes: list[int] = []
    with pytest.raises(ConnectionClosed) as ended:  # noqa: PT012
        while True:
            sizes += [message["s"] for message in client.receive() if message["T"] == "t"]
    return sizes, ended.value


@pytest.mark.parametrize(
    "when", ['after = "4500ms"', "at = 09:30:04.500", 'at = "09:30:04.500"', "after_events = 4"], ids=str
)
@pytest.mark.parametrize("mode", ["free", "fast"])
def test_the_data_socket_is_cut_at_a_time_or_after_a_number_of_events(when: str, mode: str) -> None:
    with struck(f'what = "disconnect"\n{when}', mode=mode, speed=20.0) as exchange:
        sizes, ended = until_closed(reader(exchange))
        assert sizes == [1, 2, 3, 4]
        assert isinstance(ended, ConnectionClosedError), "cut without a close frame"
        log = thrown(exchange)
    assert [(entry["phase"], entry.get("connections")) for entry in log] == [("began", None), ("ended", 1)]


def test_the_day_goes_on_for_a_client_that_comes_back() -> None:
    with struck('what = "disconnect"\nafter_events = 4', steps(300), mode="fast", speed=10.0) as exchange:
        until_closed(reader(exchange))
        again = reader(exchange)
        late = [message["s"] for message in again.take(2)]
        again.close()
    assert late[0] > 4


def test_a_close_frame_with_its_code() -> None:
    with struck('what = "disconnect"\nafter_events = 4\nhow = "close"\ncode = 1012') as exchange:
        sizes, ended = until_closed(reader(exchange))
    assert sizes == [1, 2, 3, 4]
    assert ended.rcvd is not None
    assert ended.rcvd.code == 1012


def test_the_update_socket_alone_is_cut_and_the_data_goes_on() -> None:
    with struck('what = "disconnect"\nsocket = "updates"\nafter_events = 4') as exchange:
        updates, data = listener(exchange), reader(exchange)
        assert len(data.take(10)) == 10
        with pytest.raises(ConnectionClosed):
            updates.receive()
        data.close()


def test_new_connections_are_refused_as_long_as_the_outage_lasts() -> None:
    fault = 'what = "disconnect"\nsocket = "both"\nfor = "3s real"\nstatus = 429'
    with struck(fault) as exchange:
        for url in (exchange.data_url, exchange.stream_url):
            with pytest.raises(InvalidStatus, match="429"):
                connect(url)
        assert soon_up(exchange)
        reader(exchange).close()
        listener(exchange).close()


def test_after_orders_it_comes_with_the_order_that_fills_the_number() -> None:
    fault = 'what = "disconnect"\nsocket = "updates"\nafter_orders = 2'
    with struck(fault) as exchange, calls(exchange) as client:
        updates = listener(exchange)
        assert [buy(client).status_code for _ in range(2)] == [200, 200]
        heard = [updates.receive()["data"]["event"] for _ in range(4)]
        with pytest.raises(ConnectionClosed):
            updates.receive()
    assert heard == ["pending_new", "new"] * 2


def test_again_and_again() -> None:
    fault = 'what = "disconnect"\nafter = "2500ms"\nevery = "20s"'
    with struck(fault, steps(30), mode="fast", speed=10.0) as exchange:
        first, _ = until_closed(reader(exchange))
        second, _ = until_closed(reader(exchange))
        began = [entry["at"] for entry in thrown(exchange) if entry["phase"] == "began"]
    assert first == [1, 2]
    assert second[-1] == 22
    assert began == ["2013-10-08T13:30:02.5Z", "2013-10-08T13:30:22.5Z"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (402, "auth failed"),
        (404, "auth timeout"),
        (406, "connection limit exceeded"),
        (409, "insufficient subscription"),
    ],
)
def test_errors_in_place_of_the_login_then_another_try_succeeds(code: int, message: str) -> None:
    with struck(f'what = "socket-error"\ncode = {code}') as exchange:
        client = DataClient(exchange)
        assert client.login() == [{"T": "error", "code": code, "msg": message}]
        assert client.login()[0]["msg"] == "authenticated"
        client.close()


def test_an_error_in_place_of_the_subscription_and_the_end() -> None:
    with struck('what = "socket-error"\ncode = 405\non = "subscribe"\nclose = true') as exchange:
        client = DataClient(exchange)
        client.login()
        assert client.subscribe(trades=["SPY"])[0]["msg"] == "symbol limit exceeded"
        with pytest.raises(ConnectionClosedOK):
            client.receive()


def test_407_in_the_middle_of_the_stream_and_the_end() -> None:
    with struck('what = "socket-error"\ncode = 407\non = "stream"\nnth = 4\nclose = true', batch=1) as exchange:
        client = reader(exchange)
        got = client.take(4)
        with pytest.raises(ConnectionClosedOK):
            client.receive()
    assert [message.get("s", message.get("code")) for message in got] == [1, 2, 3, 407]


@pytest.mark.parametrize("code", [500, 418])
def test_an_error_in_mid_stream_that_ends_nothing(code: int) -> None:
    with struck(f'what = "socket-error"\ncode = {code}\non = "stream"\nnth = 2', batch=1) as exchange:
        client = reader(exchange)
        got = client.take(4)
        client.close()
    assert [message.get("s", message.get("code")) for message in got] == [1, code, 2, 3]


def test_upgrade_refused() -> None:
    with struck('what = "socket-error"\ncode = 401\non = "connect"\ntimes = 2') as exchange:
        for _ in range(2):
            with pytest.raises(InvalidStatus, match="401"):
                connect(exchange.data_url)
        reader(exchange).close()


def test_the_update_socket_refuses_the_key_and_then_its_listening() -> None:
    faults = 'what = "socket-error"\nsocket = "updates"\ncode = 401'
    faults += '---what = "socket-error"\nsocket = "updates"\ncode = 500\non = "subscribe"'
    with struck(faults) as exchange:
        client = UpdateClient(exchange)
        first = client.say(action="auth", key="K", secret="S")
        second = client.say(action="auth", key="K", secret="S")
        third = client.say(action="listen", data={"streams": ["trade_updates"]})
        client.close()
    assert [reply["data"].get("status") for reply in (first, second)] == ["unauthorized", "authorized"]
    assert third == {"action": "error", "data": {"error_message": "internal server error"}}


def test_restart_cuts_all_and_keeps_orders_and_positions() -> None:
    faults = 'what = "restart"\nafter_orders = 2\nfor = "3s real"'
    with struck(faults) as exchange, calls(exchange) as client:
        updates, data = listener(exchange), DataClient(exchange)
        data.login()
        assert buy(client, "a").status_code == 200
        with pytest.raises(httpx.TransportError):
            buy(client, "b")  # it lands, and its answer dies with the exchange
        for socket in (updates, data):
            with pytest.raises(ConnectionClosed):  # noqa: PT012 - after what had been sent
                for _ in range(9):
                    socket.receive()
        assert down(exchange)
        with pytest.raises(InvalidMessage):
            connect(exchange.data_url)
        assert soon_up(exchange)
        assert client.get("/v2/orders:by_client_order_id?client_order_id=b").json()["status"] == "new"
        reader(exchange).close()


def test_the_market_goes_on_while_the_exchange_is_down() -> None:
    fault = 'what = "restart"\nafter_events = 3\nfor = "5s"'
    with struck(fault, steps(400), mode="fast", speed=20.0) as exchange, calls(exchange) as client:
        client.post("/v2/orders", json={"symbol": "SPY", "qty": "1", "side": "buy", "type": "limit", "limit_price": "1",
                                        "time_in_force": "day"})  # fmt: skip
        sizes, _ = until_closed(reader(exchange))
        assert soon_up(exchange)
        again = reader(exchange)
        late = again.receive()[0]["s"]
        again.close()
    assert sizes == [1, 2, 3]
    assert late >= 8
