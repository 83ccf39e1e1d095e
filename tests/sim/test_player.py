"""How a free-running day goes: closes, reconnections, quotes; and which options are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from mdslib.errors import ConfigError, DataError
from mdslib.events import Kind
from mdslib.instruments import Instrument
from mdslib.sim import Exchange, SimOptions, read_orders, read_sent
from mdslib.table import MarketData, from_columns

from .days import CLOSE, DAY, MS, OPEN, DataClient, UpdateClient, day_of, steps
from .lockstep_client import HEADERS, LockstepSession

BID = {"symbol": "SPY", "qty": "1", "side": "buy", "type": "limit", "limit_price": "9", "time_in_force": "day"}


def reader(exchange: Exchange, **channels: list[str]) -> DataClient:
    client = DataClient(exchange)
    client.login()
    client.subscribe(**(channels or {"trades": ["*"]}))
    return client


@pytest.mark.parametrize("batch", [1, 100])
def test_day_orders_expire_at_the_close_before_later_prints_can_fill_them(batch: int) -> None:
    close_ms = (CLOSE - OPEN) / MS
    day = day_of((1, "SPY", 10.0, 1), (close_ms, "SPY", 9.5, 2), (close_ms + 5, "SPY", 8.0, 3))
    with Exchange(day, in_process=True, batch=batch) as exchange:
        httpx.post(f"{exchange.url}/v2/orders", json=BID, headers=HEADERS)
        updates = UpdateClient(exchange).listen()
        client = reader(exchange)
        sizes = [message["s"] for message in client.take(3)]
        update = updates.receive()["data"]
        client.close()
        updates.close()
    assert sizes == [1, 2, 3]
    assert (update["event"], update["timestamp"]) == ("expired", "2013-10-08T20:00:00Z")


@pytest.mark.parametrize("mode", ["free", "real"])
def test_an_event_at_the_very_close_still_fills_a_day_order(mode: str) -> None:
    close_ms = (CLOSE - OPEN) / MS
    day = day_of((close_ms - 50, "SPY", 10.0, 1), (close_ms, "SPY", 8.0, 2), (close_ms + 5, "SPY", 8.0, 3))
    with Exchange(day, in_process=True, mode=mode, from_ts=CLOSE - 100 * MS) as exchange:
        httpx.post(f"{exchange.url}/v2/orders", json=BID, headers=HEADERS)
        updates = UpdateClient(exchange).listen()
        client = reader(exchange)
        client.take(3)
        update = updates.receive()["data"]
        client.close()
        updates.close()
    assert (update["event"], update["timestamp"]) == ("fill", "2013-10-08T20:00:00Z")


def test_no_order_is_left_new_where_orders_go_on_arriving_through_the_close() -> None:
    close_ms = (CLOSE - OPEN) / MS
    day = day_of(*((close_ms - 400 + 7 * i, "SPY", 10.0, 1) for i in range(57)))
    with Exchange(day, in_process=True, mode="real", from_ts=CLOSE - 400 * MS) as exchange:
        client = reader(exchange)
        with httpx.Client(base_url=exchange.url, headers=HEADERS) as http:
            for number in range(10_000):
                kind = {"type": "market", "limit_price": None} if number % 2 else {}
                answer = http.post("/v2/orders", json=BID | kind).json()
                if answer["status"] == "accepted" and number % 20 == 0:
                    break
            orders = http.get("/v2/orders", params={"status": "all", "limit": 500}).json()
        client.close()
    early = [order["status"] for order in orders if order["submitted_at"] < "2013-10-08T20:00:00Z"]
    late = [order["status"] for order in orders if order["submitted_at"] >= "2013-10-08T20:00:00Z"]
    assert set(early) == {"filled", "expired"}
    assert set(late) == {"accepted"}


def test_a_reconnected_client_goes_on_from_now_and_has_a_log_of_its_own(tmp_path: Path) -> None:
    day = steps(400, every_ms=5)
    with Exchange(day, in_process=True, mode="real", log_dir=tmp_path) as exchange:
        first = reader(exchange)
        early = first.take(50)
        first.close()
        second = reader(exchange)
        late = second.take(20)
        second.close()
    assert late[0]["i"] > early[-1]["i"]
    assert read_sent(tmp_path, connection=1)["i1"].tolist()[:50] == [message["i"] for message in early][:50]
    assert read_sent(tmp_path, connection=2)["i1"].tolist()[:20] == [message["i"] for message in late][:20]


def test_orders_match_against_quotes_where_there_are_no_trades() -> None:
    at = [OPEN + MS, OPEN + 100 * MS]
    columns = {"ts_event": at, "bid": [9.9, 9.8], "ask": [10.1, 10.2], "bid_size": [1, 1], "ask_size": [1, 1]}
    day = MarketData((Instrument("SPY"),), (from_columns(Kind.QUOTE, columns),), (DAY,))

    def act(session: LockstepSession, now: int, phase: str) -> None:
        if phase == "market" and now == at[0]:
            session.post()

    with Exchange(day, in_process=True, mode="lockstep") as exchange:
        session = LockstepSession(exchange, act)
        session.data.subscribe(quotes=["*"])
        session.run().close()
    assert [(u["event"], u.get("price")) for u in session.heard] == [
        ("pending_new", None),
        ("new", None),
        ("fill", "10.2"),
    ]


def test_lock_step_goes_on_with_a_new_side_channel_at_the_same_instant() -> None:
    with Exchange(steps(2), in_process=True, mode="lockstep") as exchange:
        client = DataClient(exchange)
        client.login()
        lost = connect(exchange.time_url)
        lost.recv(120)
        client.subscribe(trades=["*"])
        lost.send('{"ready": true}')
        told = json.loads(lost.recv(120))
        lost.close()
        channel = connect(exchange.time_url)
        channel.send('{"ready": true}')
        messages: list[dict[str, Any]] = []
        while not messages or messages[-1]["phase"] != "end":
            message = json.loads(channel.recv(120))
            messages.append(message)
            if len(messages) > 1 and message["phase"] != "end":
                channel.send(json.dumps({"done": message["now"], "phase": message["phase"], "wake": None}))
        channel.close()
        client.close()
    assert messages[1]["now"] == told["now"] == OPEN
    assert [message["now"] for message in messages[1:]] == [OPEN, OPEN + 1000 * MS, OPEN + 2000 * MS, CLOSE, CLOSE]


def test_play_begins_at_once_where_the_side_channel_says_so() -> None:
    with Exchange(steps(3), in_process=True, settle=60) as exchange:
        channel = connect(exchange.time_url)
        client = reader(exchange)
        channel.send('{"play": true}')
        assert len(client.take(3)) == 3
        client.close()
        channel.close()


def test_from_and_to_cut_the_day() -> None:
    with Exchange(steps(10), in_process=True, from_ts=OPEN + 3000 * MS, to_ts=OPEN + 5000 * MS) as exchange:
        client = reader(exchange)
        assert [message["s"] for message in client.take(3)] == [3, 4, 5]
        client.close()
    with pytest.raises(DataError, match="the exchange has nothing to play, received 0 events in that span"):
        Exchange(steps(10), in_process=True, from_ts=CLOSE).start()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mode": "fre"}, "mode must be one of real, fast, free, lockstep; received 'fre'. Did you mean 'free'?"),
        ({"rules": "nyse"}, "rules must be one of permissive, alpaca; received 'nyse'"),
        ({"feeds": ("opra",)}, "feeds must be one of iex, sip, delayed_sip, test, crypto/us; received 'opra'"),
        ({"batch": 0}, "batch must be > 0, received 0"),
        ({"latency": -1}, "latency must be >= 0 ns"),
        ({"key": "only"}, "key and secret go together, received only one; set both or neither"),
    ],
)
def test_bad_options(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        SimOptions(**changes)
    assert words in str(error.value)


def test_keys_are_not_in_the_options_repr() -> None:
    assert "hidden" not in repr(SimOptions(key="hidden-key", secret="hidden-secret"))


def test_a_folder_without_a_log_and_one_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no sent\.json, so no exchange logged a run there"):
        read_sent(tmp_path)
    with pytest.raises(DataError, match=r"holds no orders\.jsonl"):
        read_orders(tmp_path)
    taken = tmp_path / "file"
    taken.write_text("")
    with pytest.raises(ConfigError, match="can't be written"):
        Exchange(steps(1), in_process=True, log_dir=taken).start()
