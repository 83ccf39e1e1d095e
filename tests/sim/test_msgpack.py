"""msgpack on the data socket: the wire by hand, and alpaca-py's own StockDataStream, unchanged but for its address."""

from __future__ import annotations

import threading
from typing import Any

import msgpack
import numpy as np
import pytest
from websockets.sync.client import ClientConnection, connect

from mdslib.events import Kind
from mdslib.instruments import Instrument
from mdslib.sim import Exchange
from mdslib.table import MarketData, Table, from_columns, trades

from .days import DAY, OPEN, SECOND, day_of, minute_bars, steps
from .throw.struck import struck

HEADERS = {"Content-Type": "application/msgpack"}


def unpack(frame: Any) -> list[dict[str, Any]]:
    assert isinstance(frame, bytes), "msgpack comes in binary frames"
    messages: list[dict[str, Any]] = msgpack.unpackb(frame)
    return messages


def subscribed(exchange: Exchange, **channels: list[str]) -> tuple[ClientConnection, list[dict[str, Any]]]:
    """Return a connection that speaks msgpack, and the replies to its handshake."""
    socket = connect(exchange.data_url, additional_headers=HEADERS)
    replies = unpack(socket.recv(120))
    for message in ({"action": "auth", "key": "K", "secret": "S"}, {"action": "subscribe", **channels}):
        socket.send(msgpack.packb(message))
        replies += unpack(socket.recv(120))
    return socket, replies


def quotes() -> Table:
    at = [OPEN + 500_000_001 + i * SECOND for i in range(3)]
    sizes = {"bid_size": [1, 0, 300], "ask_size": [4, 5, 6]}
    return from_columns(Kind.QUOTE, {"ts_event": at, "bid": [9.9, np.nan, 9.8], "ask": [10.1, 10.2, 10.0], **sizes})


def everything() -> MarketData:
    """Return trades, quotes and bars of one symbol."""
    columns = {"exchange": np.array([86, 0, 68], "u1"), "conditions": np.array([0x4940, 0, 0x20], "<u4")}
    ids = np.array([52983525033527, 2, 3])
    table = trades([OPEN + i * SECOND for i in (1, 2, 3)], [10.0, 10.25, 11.0], [100, 1, 2], trade_id=ids, **columns)
    return MarketData((Instrument("SPY"),), (table, quotes(), minute_bars(2)), (DAY,))


def test_the_handshake_and_all_kinds_of_messages_on_the_wire() -> None:
    with Exchange(everything(), in_process=True) as exchange:
        socket, replies = subscribed(exchange, trades=["SPY"], quotes=["SPY"], bars=["*"])
        frame = socket.recv(120)
        socket.close()
    assert [reply.get("msg") for reply in replies] == ["connected", "authenticated", None]
    assert (replies[2]["trades"], replies[2]["bars"], replies[2]["corrections"]) == (["SPY"], ["*"], ["SPY"])
    messages = unpack(frame)
    assert all(next(iter(message)) == "T" for message in messages), "T is the first key"
    at = msgpack.Timestamp(OPEN // SECOND + 1, 0)
    trade = {
        "T": "t",
        "S": "SPY",
        "i": 52983525033527,
        "x": "V",
        "p": 10.0,
        "s": 100,
        "c": ["@", "I"],
        "z": "A",
        "t": at,
    }
    assert messages[1] == trade
    assert isinstance(messages[1]["p"], float), "a price is never written as a whole number"
    quote = {"T": "q", "S": "SPY", "bx": "V", "ax": "V", "c": ["R"], "z": "A", "bp": 9.9, "bs": 1, "ap": 10.1, "as": 4}
    assert messages[0] == quote | {"t": msgpack.Timestamp(OPEN // SECOND, 500_000_001)}
    assert messages[2]["bp"] == 0, "a missing side is 0"
    bar = {"T": "b", "S": "SPY", "o": 100.0, "h": 102.0, "l": 99.0, "c": 101.0, "v": 10, "n": 1, "vw": 100.0}
    assert messages[-2] == bar | {"t": msgpack.Timestamp(OPEN // SECOND, 0)}


def test_both_ways_of_writing_say_the_same() -> None:
    import json

    from mdslib.sim.codec import JsonCodec, MsgpackCodec
    from mdslib.sim.market import Market
    from mdslib.sim.wire import stamp

    market = Market(everything())
    plain, packed = JsonCodec(), MsgpackCodec()
    text = json.loads(plain.join(plain.messages(market, 0, len(market))))
    told = unpack(packed.join(packed.messages(market, 0, len(market))))
    for one, other in zip(text, told, strict=True):
        time = other["t"]
        same = other | {"t": stamp(time.seconds * SECOND + time.nanoseconds)}
        assert same == {"x": ""} | one if one["T"] == "t" else same == one


def test_subscribing_in_fragments_and_errors_in_msgpack() -> None:
    with Exchange(steps(3), in_process=True) as exchange:
        socket = connect(exchange.data_url, additional_headers=HEADERS)
        socket.recv(120)
        socket.send(b"\xc1")
        assert unpack(socket.recv(120))[0] == {"T": "error", "code": 400, "msg": "invalid syntax"}
        auth = msgpack.packb({"action": "auth", "key": "K", "secret": "S"})
        socket.send(iter([auth[:7], auth[7:]]))
        assert unpack(socket.recv(120))[0]["msg"] == "authenticated"
        socket.close()


def test_faults_speak_msgpack_too() -> None:
    faults = 'what = "correction"\nafter_events = 2---what = "corrupt"\nhow = "wrong-type"\nafter_events = 2'
    faults += '---what = "halt"\nafter = "2500ms"\nfor = "1s"'
    with struck(faults, day_of((1, "SPY", 10.0, 1), (2, "SPY", 10.5, 2), (3, "SPY", 10.5, 3)), batch=1) as exchange:
        socket, _ = subscribed(exchange, trades=["SPY"], statuses=["*"])
        messages = [unpack(socket.recv(120))[0] for _ in range(5)]
        socket.close()
    assert [message["T"] for message in messages] == ["t", "t", "c", "t", "s"]
    assert messages[2]["cp"] == 10.51
    assert messages[2]["t"] == msgpack.Timestamp(OPEN // SECOND, 2_000_000)
    assert messages[3]["p"] == "nonsense"


@pytest.mark.filterwarnings("ignore:websockets.legacy is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:websockets.client.connect is deprecated:DeprecationWarning")
def test_alpaca_py_stock_data_stream_hears_trades_quotes_and_bars() -> None:
    from alpaca.data.live import StockDataStream

    heard: dict[str, list[Any]] = {"trades": [], "quotes": [], "bars": []}
    complete = threading.Event()

    def note(channel: str) -> Any:
        async def take(event: Any) -> None:
            heard[channel].append(event)
            if [len(events) for events in heard.values()] == [3, 3, 2]:
                complete.set()

        return take

    with Exchange(everything(), settle=0.3) as exchange:
        stream = StockDataStream("K", "S", url_override=exchange.data_url)
        stream.subscribe_trades(note("trades"), "SPY")
        stream.subscribe_quotes(note("quotes"), "SPY")
        stream.subscribe_bars(note("bars"), "SPY")
        thread = threading.Thread(target=stream.run, daemon=True)
        thread.start()
        assert complete.wait(120), heard
        stream.stop()
        thread.join(120)
    trade, quote, bar = heard["trades"][0], heard["quotes"][1], heard["bars"][1]
    assert (trade.symbol, trade.id, trade.price, trade.size) == ("SPY", 52983525033527, 10.0, 100.0)
    assert (trade.conditions, str(trade.exchange)) == (["@", "I"], "V")
    assert trade.timestamp.isoformat() == "2013-10-08T13:30:01+00:00"
    assert (quote.bid_price, quote.ask_price, quote.ask_size) == (0.0, 10.2, 5.0)
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (101.0, 103.0, 100.0, 102.0, 10.0)
    assert bar.timestamp.isoformat() == "2013-10-08T13:31:00+00:00"
