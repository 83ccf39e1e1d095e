"""Small made days, and the shortest clients, for the exchange's tests."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from websockets.sync.client import ClientConnection, connect

from mdslib.calendar import session
from mdslib.events import Kind
from mdslib.instruments import Instrument
from mdslib.sim import Exchange
from mdslib.table import MarketData, Table, from_columns, trades

DAY = session("2013-10-08")
assert DAY is not None
OPEN, CLOSE = DAY.open, DAY.close
MS = 1_000_000
SECOND = 1_000 * MS


def day_of(
    *events: tuple[float, str, float, int], symbols: tuple[str, ...] = ("SPY", "BAC"), bars: Table | None = None
) -> MarketData:
    """Return a day of trades given as (milliseconds after the open, symbol, price, size)."""
    columns = {
        "instrument": np.array([symbols.index(symbol) for _, symbol, _, _ in events], "<u2"),
        "exchange": np.full(len(events), ord("V"), "u1"),
    }
    times = np.array([OPEN + int(at * MS) for at, *_ in events], np.int64)
    table = trades(times, [price for _, _, price, _ in events], [size for *_, size in events], **columns)
    tables = (table,) if bars is None else (table, bars)
    return MarketData(tuple(Instrument(symbol) for symbol in symbols), tables, (DAY,))


def steps(count: int, symbol: str = "SPY", every_ms: float = 1000.0) -> MarketData:
    """Return `count` trades of one symbol: prices 100.00, 100.01, ..., sizes 1, 2, ..."""
    return day_of(*((every_ms * (i + 1), symbol, round(100 + 0.01 * i, 2), i + 1) for i in range(count)))


def minute_bars(count: int) -> Table:
    """Return `count` minute bars of SPY from the open on, stamped at their close."""
    close = OPEN + 60 * SECOND * np.arange(1, count + 1)
    price = 100.0 + np.arange(count)
    ones = np.ones(count, np.int64)
    columns = {
        "ts_event": close,
        "open": price,
        "high": price + 2,
        "low": price - 1,
        "close": price + 1,
        "volume": 10 * ones,
        "trades": ones,
    }
    return from_columns(Kind.BAR, {**columns, "vwap": price})


class DataClient:
    """A data websocket that says what it is told and returns decoded frames."""

    def __init__(self, exchange: Exchange, feed: str = "iex", **options: Any) -> None:
        self.socket: ClientConnection = connect(exchange.feed_url(feed), **options)
        self.welcome = self.receive()

    def say(self, **message: Any) -> list[dict[str, Any]]:
        self.socket.send(json.dumps(message))
        return self.receive()

    def receive(self, timeout: float = 120.0) -> list[dict[str, Any]]:
        frame = self.socket.recv(timeout)
        assert isinstance(frame, str), "data frames are text"
        return json.loads(frame)

    def login(self, key: str = "K", secret: str = "S") -> list[dict[str, Any]]:
        return self.say(action="auth", key=key, secret=secret)

    def subscribe(self, **channels: list[str]) -> list[dict[str, Any]]:
        return self.say(action="subscribe", **channels)

    def take(self, count: int) -> list[dict[str, Any]]:
        """Return `count` messages (whole frames)."""
        messages: list[dict[str, Any]] = []
        while len(messages) < count:
            messages += self.receive()
        return messages

    def close(self) -> None:
        self.socket.close()


class UpdateClient:
    """A ``/stream`` websocket that listens to trade_updates."""

    def __init__(self, exchange: Exchange) -> None:
        self.socket: ClientConnection = connect(exchange.stream_url)

    def say(self, **message: Any) -> dict[str, Any]:
        self.socket.send(json.dumps(message))
        return self.receive()

    def receive(self, timeout: float = 120.0) -> dict[str, Any]:
        frame = self.socket.recv(timeout)
        assert isinstance(frame, bytes), "trade_updates frames are binary"
        return json.loads(frame)

    def listen(self) -> UpdateClient:
        self.say(action="auth", key="K", secret="S")
        self.say(action="listen", data={"streams": ["trade_updates"]})
        return self

    def close(self) -> None:
        self.socket.close()
