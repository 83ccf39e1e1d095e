# ruff: noqa: E501 (messages are kept on one line, as the venue sends them)
"""The order stream: once each, never backwards, and every end explained."""

from __future__ import annotations

import json
import math
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosedError

from mdslib.brokers.alpaca import AlpacaBroker
from mdslib.brokers.alpaca_orders import UpdateDecoder
from mdslib.errors import FeedError, FeedRefused
from mdslib.events import Status
from mdslib.feeds.rfc3339 import to_ns

KEY, SECRET = "PKtestkey0000000000", "secret-that-must-never-be-seen"


def message(event, status, filled="0", execution=None, qty=None, price=None, **order):
    data = {
        "event": event,
        "execution_id": execution,
        "timestamp": "2026-01-05T09:31:00.25-05:00",
        "order": {
            "id": "v1", "client_order_id": "c1", "symbol": "SPY", "side": "sell", "qty": "10", "filled_qty": filled,
            "filled_avg_price": None, "status": status, "updated_at": "2026-01-05T14:31:00Z", **order,
        },
    }  # fmt: skip
    if qty is not None:
        data |= {"qty": qty, "price": price, "position_qty": "-4"}
    return json.dumps({"stream": "trade_updates", "data": data}).encode()


NEW = message("new", "new")
PART = message("partial_fill", "partially_filled", "4", "e1", "4", "165.5")
FULL = message("fill", "filled", "10", "e2", "6", "165.6")


def events(decoder, *frames):
    return [update.event for frame in frames for update in decoder.receive(frame)]


def test_fill_is_this_execution_and_the_order_is_cumulative():
    (update,) = UpdateDecoder().receive(PART)
    assert (update.last_qty, update.last_px, update.position_qty, update.execution_id) == (-4.0, 165.5, -4.0, "e1")
    assert (update.order.status, update.order.filled_qty, update.order.leaves_qty) == (
        Status.PARTIALLY_FILLED,
        -4.0,
        -6.0,
    )
    assert update.ts_event == to_ns("2026-01-05T14:31:00.25Z")


def test_update_without_an_execution_has_no_last_quantity():
    (update,) = UpdateDecoder().receive(NEW)
    assert (update.last_qty, update.last_px, update.execution_id) == (0.0, 0.0, "")
    assert math.isnan(update.position_qty)


def test_execution_that_comes_twice_counts_once():
    decoder = UpdateDecoder()
    assert events(decoder, NEW, PART, PART, FULL, PART, FULL) == ["new", "partial_fill", "fill"]
    assert decoder.duplicates == 3


def test_fill_without_an_execution_id_is_known_by_its_cumulative_quantity():
    nameless = message("partial_fill", "partially_filled", "4", None, "4", "165.5")
    assert len(events(UpdateDecoder(), nameless, nameless)) == 1


def test_late_status_never_takes_a_filled_quantity_back():
    decoder = UpdateDecoder()
    assert events(decoder, PART, NEW) == ["partial_fill"]
    assert decoder.stale == 1


def test_status_after_the_end_of_an_order_is_late():
    decoder = UpdateDecoder()
    assert events(decoder, message("canceled", "canceled"), NEW) == ["canceled"]


def test_fills_that_overtake_each_other_are_both_handed_on_and_the_state_stays_the_newest():
    decoder = UpdateDecoder()
    (first,) = decoder.receive(FULL)
    (second,) = decoder.receive(PART)
    assert (first.last_qty, second.last_qty) == (-6.0, -4.0)
    assert (second.order.status, second.order.filled_qty) == (Status.FILLED, -10.0)


def test_unknown_status_and_event_do_not_crash():
    decoder = UpdateDecoder()
    (update,) = decoder.receive(message("restated", "pondering"))
    assert (update.event, update.order.status) == ("restated", Status.UNKNOWN)
    assert decoder.unknown_statuses == {"pondering": 1}


@pytest.mark.parametrize("frame", [b"[]", b"{", b'{"stream":"trade_updates","data":{}}', b'{"stream":"trade_updates","data":null}', message("fill", "filled", "x", "e", "1", "1")])  # fmt: skip
def test_message_that_can_not_be_read_is_a_clear_error(frame):
    with pytest.raises(
        FeedError, match=r"Alpaca (order stream: a message must be|trade_updates message can't be read)"
    ):
        UpdateDecoder().receive(frame)


AUTHORIZED = b'{"stream":"authorization","data":{"status":"authorized","action":"authenticate"}}'
LISTENING = b'{"stream":"listening","data":{"streams":["trade_updates"]}}'


def welcome(connection, heard):
    heard.append((connection.request.path, json.loads(connection.recv(timeout=60))))
    connection.send(AUTHORIZED)
    heard.append(json.loads(connection.recv(timeout=60)))


def test_binary_frames_reach_the_sink_an_early_one_too(stream_host):
    heard, got, ready = [], [], []

    def script(connection):
        welcome(connection, heard)
        connection.send(NEW)
        connection.send(LISTENING)
        connection.send(PART)
        connection.close(1012, "restart")

    broker = AlpacaBroker(stream_host(script), timeout=10.0)
    with pytest.raises(FeedError, match=r"Alpaca order stream ended: the venue closed .* code 1012 \(restart\)"):
        broker.stream(got.append, lambda: ready.append(len(got)))
    assert [update.event for update in got] == ["new", "partial_fill"]
    assert ready == [1]
    assert heard[0] == ("/stream", {"action": "auth", "key": KEY, "secret": SECRET})
    assert heard[1] == {"action": "listen", "data": {"streams": ["trade_updates"]}}
    broker.close()


def test_reconnecting_doubles_nothing(stream_host):
    got = []

    def script(connection):
        welcome(connection, [])
        connection.send(LISTENING)
        connection.send(PART)
        connection.close()

    broker = AlpacaBroker(stream_host(script), timeout=10.0)
    for _ in range(2):
        with pytest.raises(FeedError):
            broker.stream(got.append)
    assert len(got) == 1
    assert broker.updates.decoder.duplicates == 1
    broker.close()


def test_wrong_key_is_refused_for_good_and_names_the_variables(stream_host):
    def script(connection):
        connection.recv()
        connection.send(b'{"stream":"authorization","data":{"status":"unauthorized","action":"authenticate"}}')
        connection.recv()

    broker = AlpacaBroker(stream_host(script), timeout=10.0)
    with pytest.raises(FeedRefused, match="'unauthorized' to the key pair in ALPACA_TRADE_PUBLIC_KEY") as caught:
        broker.stream(lambda update: None)
    assert SECRET not in str(caught.value)


def test_stream_that_is_not_confirmed_is_refused(stream_host):
    def script(connection):
        welcome(connection, [])
        connection.send(b'{"stream":"listening","data":{"streams":[]}}')
        connection.recv()

    with pytest.raises(FeedRefused, match="did not confirm 'trade_updates'"):
        AlpacaBroker(stream_host(script), timeout=10.0).stream(lambda update: None)


def test_error_of_the_stream_is_told(stream_host):
    def script(connection):
        welcome(connection, [])
        connection.send(LISTENING)
        connection.send(b'{"action":"error","data":{"error_message":"internal server error"}}')
        connection.recv()

    with pytest.raises(FeedError, match="Alpaca order stream: error 'internal server error'"):
        AlpacaBroker(stream_host(script), timeout=10.0).stream(lambda update: None)


def test_mute_venue_is_given_up_in_bounded_time(stream_host):
    begin = time.monotonic()
    with pytest.raises(FeedError, match=r"did not answer the authentication within 0.2 s"):
        AlpacaBroker(stream_host(lambda connection: connection.recv() and connection.recv()), timeout=0.2).stream(print)
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize(("sends", "what"), [(0, "the authentication"), (1, "the subscription")])
def test_a_cut_right_after_connecting_is_a_loss_like_any_other(monkeypatch, sends, what):
    class Cut:
        """A connection that ends before its so many-th request."""

        left = sends

        def send(self, _text):
            if not self.left:
                raise ConnectionClosedError(None, None)
            self.left -= 1

        def recv(self, _timeout):
            return AUTHORIZED

        def close(self):
            pass

    monkeypatch.setattr("mdslib.brokers.alpaca_stream.open_websocket", lambda *_: Cut())
    broker = AlpacaBroker("http://127.0.0.1:9", timeout=10.0)
    said = f"Alpaca order stream ended before {what}: the connection was cut without a closing frame"
    with pytest.raises(FeedError, match=said):
        broker.stream(print)
    broker.close()


def test_close_from_another_thread_ends_the_stream_without_an_error(stream_host):
    def script(connection):
        welcome(connection, [])
        connection.send(LISTENING)
        connection.recv()

    broker = AlpacaBroker(stream_host(script), timeout=10.0)
    closer = threading.Thread(target=broker.close)
    broker.stream(lambda update: None, closer.start)
    closer.join(120)
    assert not closer.is_alive()


def test_what_the_sink_raises_comes_out_of_stream(stream_host):
    def script(connection):
        welcome(connection, [])
        connection.send(LISTENING)
        connection.send(NEW)
        connection.recv()

    def sink(update):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        AlpacaBroker(stream_host(script), timeout=10.0).stream(sink)
