"""An order that the exchange has accepted, and the object by which Alpaca's API tells of it."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass, field
from typing import Any

from mdslib.events import Status, TimeInForce
from mdslib.sim.orders import Request
from mdslib.sim.wire import number, stamp

_SPACE = uuid.UUID("6d64736c-6962-4000-8000-73696d000000")
STATUS_NAMES = {
    Status.PENDING_NEW: "pending_new",
    Status.NEW: "new",
    Status.PARTIALLY_FILLED: "partially_filled",
    Status.FILLED: "filled",
    Status.CANCELED: "canceled",
    Status.EXPIRED: "expired",
    Status.REJECTED: "rejected",
    Status.REPLACED: "replaced",
}
EVENTS = {
    Status.PARTIALLY_FILLED: "partial_fill",
    Status.FILLED: "fill",
    Status.CANCELED: "canceled",
    Status.EXPIRED: "expired",
    Status.REPLACED: "replaced",
}
OPEN = frozenset({Status.PENDING_NEW, Status.NEW, Status.PARTIALLY_FILLED})


def make_id(*parts: object) -> str:
    """Return a UUID that depends on nothing but `parts`."""
    return str(uuid.uuid5(_SPACE, "/".join(map(str, parts))))


@dataclass
class Order:
    """One order that was accepted.

    Attributes
    ----------
    begins : int
        When it begins to work, ns UTC: later than `submitted` where it was sent outside the session.
    queued : bool
        It waits for that; the venue's word for its status is ``accepted``.
    replaces, replaced_by : str
        Ids of the order before it and after it, where somebody has changed it; empty else.
    """

    number: int
    id: str
    client_order_id: str
    request: Request
    submitted: int
    begins: int
    queued: bool = False
    status: Status = Status.PENDING_NEW
    filled: float = 0.0  # signed
    paid: float = 0.0
    fees: float = 0.0
    executions: int = 0
    updated: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    replaces: str = ""
    replaced_by: str = ""

    @property
    def leaves(self) -> float:
        """What is still to fill, signed."""
        return self.request.qty - self.filled

    def to_json(self) -> dict[str, Any]:
        """Return Alpaca's order object."""
        r = self.request
        kind = "market" if math.isnan(r.limit) else "limit"
        at = stamp(self.submitted)
        return {
            "id": self.id,
            "client_order_id": self.client_order_id,
            "created_at": at,
            "updated_at": stamp(self.updated),
            "submitted_at": at,
            "filled_at": self._ended("filled"),
            "expired_at": self._ended("expired"),
            "expires_at": None,
            "canceled_at": self._ended("canceled"),
            "failed_at": self._ended("rejected"),
            "replaced_at": self._ended("replaced"),
            "replaced_by": self.replaced_by or None,
            "replaces": self.replaces or None,
            "asset_id": make_id("asset", r.symbol),
            "symbol": r.symbol,
            "asset_class": "crypto" if "/" in r.symbol else "us_equity",
            "notional": None,
            "qty": number(abs(r.qty)),
            "filled_qty": number(abs(self.filled)),
            "filled_avg_price": number(self.paid / self.filled) if self.filled else None,
            "order_class": "",
            "order_type": kind,
            "type": kind,
            "side": "buy" if r.qty > 0 else "sell",
            "time_in_force": TimeInForce(r.tif).name.lower(),
            "limit_price": None if kind == "market" else number(r.limit),
            "stop_price": None,
            "status": "accepted" if self.queued else STATUS_NAMES[self.status],
            "extended_hours": r.extended_hours,
            "legs": None,
            "trail_percent": None,
            "trail_price": None,
            "hwm": None,
            "subtag": None,
            "source": None,
        }

    def _ended(self, name: str) -> str | None:
        return stamp(self.ended[name]) if name in self.ended else None
