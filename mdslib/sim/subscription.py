"""The data websocket's protocol without its socket: authentication, subscriptions, errors.

A pure core: `DataProtocol.receive(text)` takes a client's message and returns the one reply to it. Source: Alpaca's
"WebSocket Stream", "Real-time Stock Data" and "Real-time Crypto Data" pages. ``corrections`` and ``cancelErrors``
mirror ``trades``, on the feeds of stocks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from mdslib.sim.keys import Keys

ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
    411: "insufficient scope",
    500: "internal error",
}
CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "imbalances")
PAIR_CHANNELS = ("trades", "quotes", "orderbooks", "bars", "updatedBars", "dailyBars")
PAIRS = "crypto/us"  # the feed of crypto pairs, at /v1beta3/
_MIRRORS = ("corrections", "cancelErrors")
_SYMBOL = re.compile(r"[A-Z][A-Z0-9]{0,9}(?:[./][A-Z0-9]{1,10})?\Z")
CONNECTED = '[{"T":"success","msg":"connected"}]'
AUTHENTICATED = '[{"T":"success","msg":"authenticated"}]'


def error(code: int) -> str:
    """Return the error control message of a code, in an array of one."""
    return json.dumps([{"T": "error", "code": code, "msg": ERRORS.get(code, "error")}], separators=(",", ":"))


class DataProtocol:
    """One data connection's side of the conversation.

    Parameters
    ----------
    feed : str
        Last part of the connection's path; `PAIRS` for crypto.
    keys : Keys
        Who is let in.
    plan : collection of str
        Feeds that may be used.
    known : sequence of str
        Symbols of this exchange; those count that the feed can carry.
    symbol_limit : int
        Most distinct symbols; 0 is no limit.
    slots : set
        Connections in use as (key, feed); shared by all connections.
    read : callable
        Reads a client's message; JSON by default.

    Attributes
    ----------
    subscribed : dict of str to list of str
        Symbols by channel, in the order of subscription.
    """

    def __init__(
        self,
        feed: str,
        keys: Keys,
        plan: Collection[str],
        known: Sequence[str],
        symbol_limit: int,
        slots: set[tuple[str, str]],
        read: Callable[[str | bytes], Any] = json.loads,
    ) -> None:
        self.feed = feed
        self.keys = keys
        self.plan = plan
        self.pairs = feed == PAIRS
        self.channels = PAIR_CHANNELS if self.pairs else CHANNELS
        self.mirrors = () if self.pairs else _MIRRORS
        self.known = frozenset(symbol for symbol in known if ("/" in symbol) is self.pairs)
        self.symbol_limit = symbol_limit
        self.slots = slots
        self.read = read
        self.slot: tuple[str, str] | None = None
        self.subscribed: dict[str, list[str]] = {name: [] for name in self.channels}

    @property
    def authenticated(self) -> bool:
        """Whether the connection holds a slot."""
        return self.slot is not None

    def receive(self, text: str | bytes) -> str:
        """Return the reply to one message of the client."""
        try:
            message = self.read(text)
        except ValueError:
            return error(400)
        action = message.get("action") if isinstance(message, dict) else None
        if action == "auth":
            return self.authenticate(message.get("key"), message.get("secret"))
        if action not in ("subscribe", "unsubscribe"):
            return error(400)
        if not self.authenticated:
            return error(401)
        return self._subscribe(message, adding=action == "subscribe")

    def authenticate(self, key: Any, secret: Any) -> str:
        """Take a slot for a key pair, or say why not."""
        if self.authenticated:
            return error(403)
        if not self.keys.match(key, secret):
            return error(402)
        if self.feed not in self.plan:
            return error(409)
        if (key, self.feed) in self.slots:
            return error(406)
        self.slot = (key, self.feed)
        self.slots.add(self.slot)
        return AUTHENTICATED

    def release(self) -> None:
        """Give the slot back; the connection is gone."""
        if self.slot is not None:
            self.slots.discard(self.slot)
            self.slot = None

    def _subscribe(self, message: dict[str, Any], *, adding: bool) -> str:
        asked = {name: value for name, value in message.items() if isinstance(value, list) and name not in self.mirrors}
        if any(name not in self.channels for name in asked):
            return error(410)
        symbols = [symbol for value in asked.values() for symbol in value]
        if not symbols or not all(self._well_formed(symbol) for symbol in symbols):
            return error(400)
        after = {name: list(value) for name, value in self.subscribed.items()}
        for name, value in asked.items():
            if adding:
                after[name] += [symbol for symbol in dict.fromkeys(value) if symbol not in after[name]]
            else:
                after[name] = [symbol for symbol in after[name] if symbol not in value]
        distinct = {symbol for value in after.values() for symbol in value}
        if adding and self.symbol_limit and ("*" in distinct or len(distinct) > self.symbol_limit):
            return error(405)
        self.subscribed = after
        return self.acknowledgement()

    def _well_formed(self, symbol: Any) -> bool:
        # Symbols that this exchange doesn't trade are refused too: a typing error must not look like a quiet market.
        return isinstance(symbol, str) and (symbol == "*" or (bool(_SYMBOL.match(symbol)) and symbol in self.known))

    def hears(self, channel: str, symbol: str) -> bool:
        """Tell whether a channel of a symbol is subscribed."""
        asked = self.subscribed.get(channel, ())
        return symbol in self.known and (symbol in asked or "*" in asked)

    def acknowledgement(self) -> str:
        """Return the full list of what is subscribed, never a difference."""
        lists: dict[str, Any] = {"T": "subscription"} | {
            name: value for name, value in self.subscribed.items() if name != "imbalances" or value
        }
        lists |= dict.fromkeys(self.mirrors, self.subscribed["trades"])
        return json.dumps([lists], separators=(",", ":"))
