"""The seams to the outside: `Feed` (market data), `Broker` (orders), `Store` (recorded data).

Quantities are signed floats in units: positive buys. Times are int64 nanoseconds UTC.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from mdslib.events import Kind, Status, TimeInForce

if TYPE_CHECKING:
    from mdslib.instruments import Instrument
    from mdslib.table import Table

Records = np.ndarray[tuple[int], np.dtype[np.void]]


class BrokerAccount(NamedTuple):
    """The venue's view of the account; amounts in `currency`."""

    account_id: str
    cash: float
    equity: float
    buying_power: float
    currency: str
    blocked: bool


class Position(NamedTuple):
    """One net position: signed quantity and average entry price."""

    symbol: str
    qty: float
    avg_px: float


class VenueClock(NamedTuple):
    """The venue's clock and next session times, ns UTC."""

    now: int
    is_open: bool
    next_open: int
    next_close: int


class NewOrder(NamedTuple):
    """An order to place; `limit` is nan for a market order."""

    client_order_id: str
    symbol: str
    qty: float
    limit: float
    time_in_force: TimeInForce


class OrderState(NamedTuple):
    """What the venue says of an order. Quantities are signed and cumulative.

    `replaces` and `replaced_by` are the venue's ids of the order before it and after it, where somebody has changed it;
    what `Broker.order` returns is the whole chain, under the first one's client order id and the last one's venue id.
    """

    client_order_id: str
    venue_order_id: str
    symbol: str
    status: Status
    qty: float
    filled_qty: float
    avg_px: float
    leaves_qty: float
    ts_event: int
    replaces: str = ""
    replaced_by: str = ""


class Update(NamedTuple):
    """One message of the order stream: the order's state, and this execution if it is a fill."""

    order: OrderState
    event: str
    execution_id: str
    last_qty: float
    last_px: float
    position_qty: float
    ts_event: int


class Feed(Protocol):
    """A source of market events."""

    def open(self) -> None:
        """Connect, authenticate, subscribe and check the replies; raises `FeedRefused` or `FeedError`."""

    def run(self, sink: Callable[[Records], None]) -> None:
        """Block and hand each frame's records to `sink`; return after `close`, raise `FeedError` on a disconnect."""

    def close(self) -> None:
        """End `run` from another thread."""


class Broker(Protocol):
    """A place to send orders to. Calls are thread-safe and bounded in time."""

    def account(self) -> BrokerAccount:
        """Return the account."""

    def positions(self) -> dict[str, Position]:
        """Return the open positions by symbol."""

    def clock(self) -> VenueClock:
        """Return the venue's clock."""

    def submit(self, order: NewOrder) -> OrderState:
        """Place an order; raises `OrderRejected`, `OutcomeUnknown` or `BrokerError`."""

    def cancel(self, venue_order_id: str) -> None:
        """Ask to cancel one order; the outcome comes by the stream."""

    def cancel_all(self) -> int:
        """Ask to cancel every open order; return how many were asked for."""

    def order(self, client_order_id: str) -> OrderState | None:
        """Look an order up by our own id; None where the venue knows of none."""

    def open_orders(self) -> list[OrderState]:
        """Return the working orders."""

    def stream(self, sink: Callable[[Update], None], ready: Callable[[], None] | None = None) -> None:
        """Block and hand order updates to `sink`; call `ready` once listening; raise `FeedError` on a disconnect."""

    def close(self) -> None:
        """End `stream` from another thread and free the connections."""


class Store(Protocol):
    """Recorded data by instrument, kind and day."""

    def write(self, table: Table, instrument: Instrument, date: datetime.date) -> None:
        """Replace one instrument's rows of one kind on one day, atomically."""

    def read(
        self, instrument: Instrument, kind: Kind, date: datetime.date, columns: Sequence[str] | None = None
    ) -> Table:
        """Return one day; raises `DataError` where there is none."""

    def list(self) -> list[dict[str, object]]:
        """Return one row a stored part: venue, symbol, kind, date, rows, bytes."""


__all__ = [
    "Broker",
    "BrokerAccount",
    "Feed",
    "NewOrder",
    "OrderState",
    "Position",
    "Records",
    "Status",
    "Store",
    "Update",
    "VenueClock",
]
