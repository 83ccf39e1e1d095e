"""Alpaca's order objects and ``trade_updates`` messages as our values: no sockets, no requests.

Alpaca writes numbers as text, sides as words and times in UTC or with an offset. Source: Alpaca, "Placing Orders" and
"Websocket Streaming".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from mdslib.errors import FeedError
from mdslib.events import TERMINAL, Status, TimeInForce
from mdslib.feeds.rfc3339 import to_ns
from mdslib.protocols import NewOrder, OrderState, Update

# Alpaca's statuses by FIX's names. What rests at the venue without being executed just now is SUSPENDED, not terminal.
STATUSES = {
    "pending_new": Status.PENDING_NEW, "pending_review": Status.PENDING_NEW, "accepted": Status.NEW,
    "accepted_for_bidding": Status.NEW, "new": Status.NEW, "stopped": Status.NEW, "held": Status.SUSPENDED,
    "suspended": Status.SUSPENDED, "calculated": Status.SUSPENDED, "done_for_day": Status.SUSPENDED,
    "partially_filled": Status.PARTIALLY_FILLED, "filled": Status.FILLED, "pending_cancel": Status.PENDING_CANCEL,
    "canceled": Status.CANCELED, "rejected": Status.REJECTED, "expired": Status.EXPIRED,
    "pending_replace": Status.PENDING_REPLACE, "replaced": Status.REPLACED,
}  # fmt: skip
_FILLS = frozenset({"fill", "partial_fill"})
_TIMES = ("updated_at", "submitted_at", "created_at")


def number(value: object, missing: float = math.nan) -> float:
    """Return a number that Alpaca wrote as text, as a number, or as null.

    Examples
    --------
    >>> number("10"), number(1.5), number(None, 0.0)
    (10.0, 1.5, 0.0)
    """
    return missing if value is None else float(str(value))


def order_state(order: Mapping[str, Any]) -> OrderState:
    """Return the state that an order object tells; quantities are signed and cumulative.

    A status that we don't know becomes `Status.UNKNOWN`; `AlpacaBroker.unknown_statuses` counts the texts.

    Raises
    ------
    KeyError, ValueError
        If it is no such object.

    Examples
    --------
    >>> state = order_state({
    ...     "id": "v1", "client_order_id": "c1", "symbol": "SPY", "side": "sell", "status": "partially_filled",
    ...     "qty": "5", "filled_qty": "2", "filled_avg_price": "165.5", "updated_at": "1970-01-01T00:00:01Z"})
    >>> state.qty, state.filled_qty, state.leaves_qty, state.status.name
    (-5.0, -2.0, -3.0, 'PARTIALLY_FILLED')
    """
    sign = -1.0 if str(order["side"]).startswith("sell") else 1.0
    status = STATUSES.get(order["status"], Status.UNKNOWN)
    filled = number(order.get("filled_qty"), 0.0)
    qty = number(order.get("qty"))  # null for an order by value
    leaves = 0.0 if status in TERMINAL or math.isnan(qty) else qty - filled
    stamp = next((order[name] for name in _TIMES if order.get(name)), None)
    return OrderState(
        client_order_id=order.get("client_order_id") or "",
        venue_order_id=order["id"],
        symbol=order["symbol"],
        status=status,
        qty=sign * qty,
        filled_qty=sign * filled if filled else 0.0,
        avg_px=number(order.get("filled_avg_price")),
        leaves_qty=sign * leaves if leaves else 0.0,
        ts_event=to_ns(stamp) if stamp else 0,
        replaces=order.get("replaces") or "",
        replaced_by=order.get("replaced_by") or "",
    )


def chained(before: OrderState, after: OrderState) -> OrderState:
    """Return an order and the one that took its place as one: what has filled of both, and what the later one is.

    Alpaca's later order begins at a filled quantity of 0, and its quantity is to be filled beside what the earlier one
    has. Source: alpacahq/Alpaca-API, issue 165.

    Examples
    --------
    >>> before = OrderState("c1", "v1", "SPY", Status.REPLACED, 10.0, 4.0, 100.0, 0.0, 1, "", "v2")
    >>> after = OrderState("c2", "v2", "SPY", Status.PARTIALLY_FILLED, 8.0, 1.0, 105.0, 7.0, 2, "v1")
    >>> both = chained(before, after)
    >>> both.client_order_id, both.venue_order_id, both.qty, both.filled_qty, both.avg_px, both.leaves_qty
    ('c1', 'v2', 12.0, 5.0, 101.0, 7.0)
    """
    filled = before.filled_qty + after.filled_qty
    spent = sum(state.filled_qty * state.avg_px for state in (before, after) if state.filled_qty)
    return after._replace(
        client_order_id=before.client_order_id,
        qty=before.filled_qty + after.qty,
        filled_qty=filled,
        avg_px=spent / filled if filled else math.nan,
        replaces=before.replaces,
    )


_SIDES = ("sell", "buy")
_TIFS = {tif: tif.name.lower() for tif in TimeInForce}
# Alpaca takes no DAY order for a pair, whose market never closes. It goes out as GTC: the session cancels at its close
# what still works of its own, which is where a DAY order ends. Source: Alpaca, "Placing Orders", "Crypto Orders".
_PAIR_TIFS = _TIFS | {TimeInForce.DAY: "gtc"}
_QUOTED_IN = ("USDT", "USDC", "USD", "BTC")


def pair_symbol(symbol: str) -> str:
    """Return a pair as its orders name it, ``BTC/USD``; Alpaca's positions may leave out the slash.

    Examples
    --------
    >>> pair_symbol("BTCUSD"), pair_symbol("ETHUSDT"), pair_symbol("BTC/USD")
    ('BTC/USD', 'ETH/USDT', 'BTC/USD')
    """
    quoted = next((name for name in _QUOTED_IN if symbol.endswith(name) and len(symbol) > len(name)), "")
    return symbol if "/" in symbol or not quoted else f"{symbol[: -len(quoted)]}/{quoted}"


def order_body(order: NewOrder) -> bytes:
    """Return the JSON that asks for an order, as alpaca-py's request models write it; a test compares them.

    Those check and convert every field in turn, which costs more than all else that is done with an order.

    Examples
    --------
    >>> order_body(NewOrder("c1", "SPY", -5.0, math.nan, TimeInForce.DAY))
    b'{"symbol":"SPY","qty":5.0,"side":"sell","type":"market","time_in_force":"day","client_order_id":"c1"}'

    A pair's DAY order goes out as GTC, since its venue has no other; the session ends it at its close.

    >>> b'"time_in_force":"gtc"' in order_body(NewOrder("c2", "BTC/USD", 0.5, 90000.5, TimeInForce.DAY))
    True
    """
    fields: dict[str, Any] = {
        "symbol": order.symbol,
        "qty": abs(order.qty),
        "side": _SIDES[order.qty > 0],
        "type": "market",
        "time_in_force": (_PAIR_TIFS if "/" in order.symbol else _TIFS)[order.time_in_force],
        "client_order_id": order.client_order_id,
    }
    if not math.isnan(order.limit):
        fields |= {"type": "limit", "limit_price": round(order.limit, 9)}  # 0.1 + 0.2 is no price
    return msgspec.json.encode(fields)


class UpdateDecoder:
    """Turns ``trade_updates`` frames into `Update`, once each and never backwards.

    The venue is known to send an execution twice; where two messages overtake each other, an older state must not
    replace a newer one. A fill with an execution id that was not seen is always handed on.

    Attributes
    ----------
    messages, duplicates, stale : int
        Updates received, executions that came again, states that came late.
    unknown_statuses : Counter of str
        Status texts that we don't know.
    other : Counter of str
        Messages of other streams, by name.

    Examples
    --------
    >>> decoder = UpdateDecoder()
    >>> decoder.receive(b'{"stream":"listening","data":{"streams":["trade_updates"]}}')
    []
    >>> dict(decoder.other)
    {'listening': 1}
    """

    def __init__(self) -> None:
        self.messages = self.duplicates = self.stale = 0
        self.unknown_statuses: Counter[str] = Counter()
        self.other: Counter[str] = Counter()
        self._executions: set[str] = set()
        self._latest: dict[str, OrderState] = {}

    def receive(self, frame: str | bytes) -> list[Update]:
        """Return the updates of one frame, none or one.

        Parameters
        ----------
        frame : str or bytes
            JSON; the paper venue sends it in binary frames.

        Raises
        ------
        FeedError
            If it is not JSON, or not such a message.
        """
        message = decode(frame)
        if message.get("stream") != "trade_updates":
            self.other[str(message.get("stream") or message.get("action"))] += 1
            return []
        data: Any = message.get("data")
        try:
            update = self._update(data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            kind = type(error).__name__
            raise FeedError(f"Alpaca trade_updates message can't be read: {kind}: {error}; received {data!r}") from None
        self.messages += 1
        self._note_status(data)
        kept = self._once(update)
        return [] if kept is None else [kept]

    def _note_status(self, data: Mapping[str, Any]) -> None:
        status = data["order"]["status"]
        if status not in STATUSES:
            self.unknown_statuses[str(status)] += 1

    def _update(self, data: Mapping[str, Any]) -> Update:
        event, order = str(data["event"]), order_state(data["order"])
        sign = math.copysign(1.0, order.qty if not math.isnan(order.qty) else order.filled_qty)
        fill = event in _FILLS
        stamp = data.get("timestamp") or data.get("at")
        return Update(
            order=order,
            event=event,
            execution_id=str(data.get("execution_id") or ""),
            last_qty=sign * number(data["qty"]) if fill else 0.0,
            last_px=number(data["price"]) if fill else 0.0,
            position_qty=number(data.get("position_qty")),
            ts_event=to_ns(stamp) if stamp else order.ts_event,
        )

    def _once(self, update: Update) -> Update | None:
        order = update.order
        latest = self._latest.get(order.venue_order_id)
        behind = latest is not None and abs(order.filled_qty) < abs(latest.filled_qty)
        if update.event in _FILLS:
            again = update.execution_id in self._executions
            if not update.execution_id:  # no name to know it by: a cumulative quantity that does not grow is no news
                again = latest is not None and abs(order.filled_qty) <= abs(latest.filled_qty)
            if again:
                self.duplicates += 1
                return None
            self._executions.add(update.execution_id)
            if behind and latest is not None:
                return update._replace(order=latest)
        elif behind or (latest is not None and latest.status in TERMINAL):
            self.stale += 1
            return None
        self._latest[order.venue_order_id] = order
        return update


def decode(frame: str | bytes) -> dict[str, Any]:
    """Return one message of the order stream.

    Raises
    ------
    FeedError
        If it is not a JSON object.
    """
    try:
        message: dict[str, Any] = msgspec.json.decode(frame, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        begin = frame[:60]
        raise FeedError(f"Alpaca order stream: a message must be a JSON object: {error}; received {begin!r}") from None
    return message


__all__ = ["STATUSES", "UpdateDecoder", "chained", "decode", "number", "order_body", "order_state"]
