"""Where each venue's market data come from, and how they are asked for: addresses, limits, subscriptions.

Sources: Coinbase "Exchange WebSocket Overview" and "Advanced Trade WebSocket"; Bitfinex "General"; Kraken "WebSockets
API v1" and "Spot WebSocket v2"; BitMEX "WebSocket API". One pair is asked for by messages of its own, so that a venue
which refuses one of them refuses no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple

from mdslib.errors import ConfigError, did_you_mean
from mdslib.feeds.bitfinex import OB_CHECKSUM, SEQ_ALL, TIMESTAMP
from mdslib.feeds.venue import dumps


class Channel(Enum):
    """What can be asked for of a pair."""

    BOOK = "book"
    TRADES = "trades"
    QUOTES = "quotes"  # the venue's own best prices


EVERYTHING = tuple(Channel)
Subscribe = Callable[[str, Sequence[Channel]], list[Any]]


class Endpoint(NamedTuple):
    """One protocol of a venue.

    Attributes
    ----------
    dialect, venue : str
        The protocol's name, as `mdslib.feeds.replay.decoder_for` takes it, and the venue's.
    url : str
        Of its public market data.
    subscribe : callable
        Gives the messages that ask for a pair's channels.
    opening : tuple of str
        Messages to send before any subscription.
    most_channels : int
        Channels of one connection, at most.
    silence : float
        Without any frame for so long, s, a connection is dead: every venue sends heartbeats or answers `ping`.
    ping : str
        What to send after `ping_after` s of silence; empty: nothing.
    """

    dialect: str
    venue: str
    url: str
    subscribe: Subscribe
    opening: tuple[str, ...] = ()
    most_channels: int = 150
    silence: float = 30.0
    ping: str = ""
    ping_after: float = 10.0

    def messages(self, pair: str, channels: Sequence[Channel]) -> tuple[str, ...]:
        """Return the messages, as texts, that ask for a pair's channels.

        Examples
        --------
        >>> endpoint("kraken").messages("XBT/USD", [Channel.TRADES])
        ('{"event":"subscribe","pair":["XBT/USD"],"subscription":{"name":"trade"}}',)
        """
        return tuple(map(dumps, self.subscribe(pair, channels)))

    def pairs_together(self, channels: Sequence[Channel]) -> int:
        """Return how many pairs one connection may hold."""
        return max(1, self.most_channels // max(1, len(channels)))


def endpoint(dialect: str) -> Endpoint:
    """Return a protocol's endpoint.

    Raises
    ------
    ConfigError
        If there is none of that name.

    Examples
    --------
    >>> endpoint("coinbase").url
    'wss://ws-feed.exchange.coinbase.com'
    """
    if dialect not in ENDPOINTS:
        raise ConfigError(f"no venue is called {dialect!r}. {did_you_mean(dialect, ENDPOINTS)}")
    return ENDPOINTS[dialect]


# Only `level2_batch` is open to all of the level-2 channels; `heartbeat` tells the number of the last trade.
_COINBASE = {Channel.BOOK: "level2_batch", Channel.TRADES: "matches", Channel.QUOTES: "ticker"}
_ADVANCED = {Channel.BOOK: "level2", Channel.TRADES: "market_trades", Channel.QUOTES: "ticker"}
_KRAKEN_DEPTH = 1000
_KRAKEN = {
    Channel.BOOK: {"name": "book", "depth": _KRAKEN_DEPTH},
    Channel.TRADES: {"name": "trade"},
    Channel.QUOTES: {"name": "ticker"},
}
_KRAKEN_V2 = {
    Channel.BOOK: {"channel": "book", "depth": _KRAKEN_DEPTH, "snapshot": True},
    Channel.TRADES: {"channel": "trade", "snapshot": True},
    Channel.QUOTES: {"channel": "ticker", "snapshot": True},
}
_BITFINEX = {
    Channel.BOOK: {"channel": "book", "prec": "P0", "freq": "F0", "len": "250"},
    Channel.TRADES: {"channel": "trades"},
    Channel.QUOTES: {"channel": "ticker"},
}
_BITMEX = {Channel.BOOK: "orderBookL2", Channel.TRADES: "trade", Channel.QUOTES: "quote"}


def _coinbase(pair: str, channels: Sequence[Channel]) -> list[Any]:
    names = [*(_COINBASE[channel] for channel in channels), "heartbeat"]
    return [{"type": "subscribe", "product_ids": [pair], "channels": names}]


def _advanced(pair: str, channels: Sequence[Channel]) -> list[Any]:
    names = [_ADVANCED[channel] for channel in channels]
    return [{"type": "subscribe", "product_ids": [pair], "channel": name} for name in names]


def _kraken(pair: str, channels: Sequence[Channel]) -> list[Any]:
    return [{"event": "subscribe", "pair": [pair], "subscription": _KRAKEN[channel]} for channel in channels]


def _kraken_v2(pair: str, channels: Sequence[Channel]) -> list[Any]:
    wanted = [_KRAKEN_V2[channel] for channel in channels]
    return [{"method": "subscribe", "params": {**params, "symbol": [pair]}} for params in wanted]


def _bitfinex(pair: str, channels: Sequence[Channel]) -> list[Any]:
    return [{"event": "subscribe", "symbol": pair, **_BITFINEX[channel]} for channel in channels]


def _bitmex(pair: str, channels: Sequence[Channel]) -> list[Any]:
    return [{"op": "subscribe", "args": [f"{_BITMEX[channel]}:{pair}" for channel in channels]}]


_ALL = (
    Endpoint("coinbase", "coinbase", "wss://ws-feed.exchange.coinbase.com", _coinbase),
    Endpoint(
        "coinbase-advanced",
        "coinbase",
        "wss://advanced-trade-ws.coinbase.com",
        _advanced,
        (dumps({"type": "subscribe", "channel": "heartbeats"}),),
    ),
    Endpoint("kraken", "kraken", "wss://ws.kraken.com", _kraken, ping='{"event":"ping"}'),
    Endpoint(
        "kraken-v2",
        "kraken",
        "wss://ws.kraken.com/v2",
        _kraken_v2,
        # The precisions, without which a checksum can't be computed of a number that comes without a point.
        (dumps({"method": "subscribe", "params": {"channel": "instrument", "snapshot": True}}),),
        ping='{"method":"ping"}',
    ),
    Endpoint(
        "bitfinex",
        "bitfinex",
        "wss://api-pub.bitfinex.com/ws/2",
        _bitfinex,
        (dumps({"event": "conf", "flags": TIMESTAMP + SEQ_ALL + OB_CHECKSUM}),),
        most_channels=25,
        silence=45.0,  # its heartbeat comes every 15 s
        ping='{"event":"ping","cid":1}',
        ping_after=20.0,
    ),
    Endpoint(
        "bitmex",
        "bitmex",
        "wss://ws.bitmex.com/realtime",
        _bitmex,
        most_channels=60,
        ping="ping",
        ping_after=5.0,
    ),
)
ENDPOINTS: dict[str, Endpoint] = {each.dialect: each for each in _ALL}
