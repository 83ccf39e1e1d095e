"""The data websocket over a real socket: frames, limits, backpressure, and the log of what was sent."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from mdslib.events import Kind
from mdslib.sim import Exchange, read_sent

from .days import DataClient, day_of, minute_bars, steps


def test_handshake_then_trades_in_alpacas_words(standing: Exchange) -> None:
    client = DataClient(standing)
    assert client.welcome == [{"T": "success", "msg": "connected"}]
    assert client.login() == [{"T": "success", "msg": "authenticated"}]
    assert client.subscribe(trades=["SPY"])[0]["trades"] == ["SPY"]
    frame = client.socket.recv(120)
    client.close()
    assert isinstance(frame, str)
    assert frame.startswith(
        '[{"T":"t","S":"SPY","i":1,"x":"V","p":100,"s":1,"c":[],"z":"A","t":"2013-10-08T13:30:01Z"},{"T":"t"'
    )


def test_404_when_nobody_authenticates_in_time_then_the_socket_closes(standing: Exchange) -> None:
    client = DataClient(standing)
    assert client.receive() == [{"T": "error", "code": 404, "msg": "auth timeout"}]
    with pytest.raises(ConnectionClosed):
        client.socket.recv(120)


def test_401_402_and_405_leave_the_socket_open(standing: Exchange) -> None:
    client = DataClient(standing)
    assert client.subscribe(trades=["SPY"])[0]["code"] == 401
    assert client.login("", "")[0]["code"] == 402
    assert client.login()[0]["msg"] == "authenticated"
    assert client.subscribe(trades=["SPY", "BAC"])[0]["code"] == 405
    client.close()


def test_406_as_the_auth_reply_of_a_second_connection_and_the_slot_comes_back(standing: Exchange) -> None:
    first, second = DataClient(standing), DataClient(standing)
    first.login()
    assert second.login()[0] == {"T": "error", "code": 406, "msg": "connection limit exceeded"}
    first.close()
    deadline = time.monotonic() + 60
    while (reply := second.login()[0])["T"] == "error" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert reply["msg"] == "authenticated"
    second.close()


def test_keys_in_the_upgrade_headers_authenticate(standing: Exchange) -> None:
    headers = {"APCA-API-KEY-ID": "K", "APCA-API-SECRET-KEY": "S"}
    client = DataClient(standing, additional_headers=headers)
    assert client.receive() == [{"T": "success", "msg": "authenticated"}]
    client.close()


def test_unknown_feed_is_refused_on_the_upgrade(standing: Exchange) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        connect(standing.feed_url("opra"))


def test_fragmented_messages_are_put_together(standing: Exchange) -> None:
    client = DataClient(standing)
    client.socket.send(iter(['{"action":"auth",', '"key":"K",', '"secret":"S"}']))
    assert client.receive()[0]["msg"] == "authenticated"
    client.close()


@pytest.mark.parametrize("batch", [1, 3, 10])
def test_a_frame_holds_at_most_batch_messages(batch: int) -> None:
    with Exchange(steps(10), batch=batch, in_process=True) as exchange:
        client = DataClient(exchange)
        client.login()
        client.subscribe(trades=["*"])
        frames = [client.receive() for _ in range(-(-10 // batch))]
        client.close()
    assert [len(frame) for frame in frames] == [min(batch, 10 - start) for start in range(0, 10, batch)]
    assert [message["s"] for frame in frames for message in frame] == list(range(1, 11))


def test_only_subscribed_channels_and_symbols_are_sent_and_logged(tmp_path: Path) -> None:
    day = day_of((1, "SPY", 10.0, 1), (2, "BAC", 5.0, 2), (3, "SPY", 10.5, 3), bars=minute_bars(2))
    with Exchange(day, in_process=True, log_dir=tmp_path) as exchange:
        client = DataClient(exchange)
        client.login()
        client.subscribe(trades=["BAC"], bars=["SPY"])
        messages = client.take(3)
        client.close()
    assert [(message["T"], message["S"], message["t"]) for message in messages] == [
        ("t", "BAC", "2013-10-08T13:30:00.002Z"),
        ("b", "SPY", "2013-10-08T13:30:00Z"),
        ("b", "SPY", "2013-10-08T13:31:00Z"),
    ]
    sent = read_sent(tmp_path)
    assert sent["kind"].tolist() == [Kind.TRADE, Kind.BAR, Kind.BAR]
    assert sent["instrument"].tolist() == [1, 0, 0]
    assert read_sent(tmp_path, ["BAC"])["i0"].tolist() == [2]


def test_sent_log_holds_each_row_once_in_order_with_a_digest(tmp_path: Path) -> None:
    day = steps(1000, every_ms=1)
    with Exchange(day, in_process=True, log_dir=tmp_path) as exchange:
        client = DataClient(exchange)
        client.login()
        client.subscribe(trades=["SPY"])
        got = client.take(1000)
        client.close()
    sent = read_sent(tmp_path)
    assert day.trades is not None
    assert sent["f0"].tobytes() == day.trades["price"].tobytes()
    assert sent["i1"].tolist() == [message["i"] for message in got] == list(range(1, 1001))
    summary = json.loads((tmp_path / "sent.json").read_text())
    assert summary["counts"] == {"trade": 1000}
    assert len(summary["connections"][0]["digest"]) == 64


def test_free_run_waits_for_a_slow_reader_and_loses_nothing() -> None:
    with Exchange(steps(30_000, every_ms=0.5), in_process=True, batch=50) as exchange:
        client = DataClient(exchange, max_queue=2)
        client.login()
        client.subscribe(trades=["SPY"])
        time.sleep(0.5)
        ids = [message["i"] for message in client.take(30_000)]
        client.close()
    assert ids == list(range(1, 30_001))


def narrow_socket(port: int) -> socket.socket:
    """Return a connection that holds little before it blocks its sender."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    narrow.connect(("127.0.0.1", port))
    return narrow


def test_407_for_a_client_that_reads_slower_than_the_day_goes() -> None:
    with Exchange(steps(200_000, every_ms=0.05), in_process=True, mode="fast", speed=1000, slow_client=0.2) as exchange:
        client = DataClient(exchange, max_queue=2, sock=narrow_socket(exchange.port))
        client.login()
        client.subscribe(trades=["SPY"])
        time.sleep(1.5)
        with pytest.raises(ConnectionClosed):  # noqa: PT012 - the close comes after what had been sent
            for _ in range(10_000):
                client.socket.recv(120)


def test_fast_mode_keeps_to_its_speed_and_never_passes_an_unsent_event() -> None:
    day = steps(20, every_ms=1000)
    with Exchange(day, in_process=True, mode="fast", speed=40) as exchange:
        told: list[int] = []
        channel = connect(exchange.time_url)
        client = DataClient(exchange)
        client.login()
        began = time.monotonic()  # before the day begins: a busy machine may make it longer, never shorter
        client.subscribe(trades=["SPY"])
        client.take(20)
        took = time.monotonic() - began
        for _ in range(20):
            message = json.loads(channel.recv(120))
            told.append(message["now"])
        client.close()
        channel.close()
    assert 0.4 < took < 15  # 20 s of the day at 40 times, plus the settling time
    assert np.all(np.diff(told) >= 0)
    assert (message["mode"], message["speed"]) == ("fast", 40)
