"""Which of Alpaca's market-data streams carries what, and where it is.

Source: Alpaca, "WebSocket Stream" and "Real-time Crypto Data".
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from mdslib.errors import ConfigError, did_you_mean
from mdslib.instruments import Instrument

HOST = "wss://stream.data.alpaca.markets"
FEEDS = ("iex", "sip", "delayed_sip", "test")
PAIRS = "us"  # the feed of crypto pairs, which no feed of stocks carries


def stream_address(url: str, feed: str) -> str:
    """Return the stream's address; a feed that is no plain name is refused before it gets there."""
    if not feed.replace("_", "").isalnum():
        raise ConfigError(f"CpquantFeed.feed must be a feed's name, received {feed!r}. {did_you_mean(feed, FEEDS)}")
    version = "v1beta3/crypto" if feed == PAIRS else "v2"
    return url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/{version}/{feed}"


def feed_for(instruments: Sequence[Instrument], feed: str) -> str:
    """Return the feed that carries the instruments: `feed` for stocks, and for pairs the one that there is.

    Raises
    ------
    ConfigError
        Stocks and pairs together, which no stream carries; or stocks on the pairs' feed.

    Examples
    --------
    >>> from mdslib.instruments import parse_instrument
    >>> feed_for([parse_instrument("SPY")], "iex"), feed_for([parse_instrument("BTC/USD")], "iex")
    ('iex', 'us')
    """
    pairs = [instrument.symbol for instrument in instruments if instrument.is_pair]
    stocks = [instrument.symbol for instrument in instruments if not instrument.is_pair]
    if pairs and stocks:
        raise ConfigError(
            f"stocks ({', '.join(stocks)}) and pairs ({', '.join(pairs)}) come from different streams of Alpaca's;"
            " run a session for each"
        )
    if stocks and feed == PAIRS:
        raise ConfigError(f"feed {PAIRS!r} carries pairs such as BTC/USD, received {', '.join(stocks)}; iex has stocks")
    return PAIRS if pairs else feed


__all__ = ["FEEDS", "HOST", "PAIRS", "feed_for", "stream_address"]
