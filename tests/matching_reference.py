"""The exchange's core once more, slowly: lists of plain orders, written from the rules and not from the kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

DAY, GTC, IOC = 0, 1, 2
PARTLY, FILLED, CANCELED, EXPIRED = 3, 4, 6, 8
ENDINGS = ((DAY, EXPIRED), (IOC, CANCELED))


@dataclass
class Order:
    ts: int
    instrument: int
    leaves: float
    limit: float
    tif: int
    tag: int
    rested: bool = False


@dataclass
class Told:
    """One fill or ending."""

    ts: int
    tag: int
    qty: float
    px: float
    fee: float
    leaves: float
    status: int


@dataclass
class ReferenceEngine:
    """Permissive rules: every order is taken and fills whole."""

    latency: int = 0
    bps: float = 0.0
    per_share: float = 0.0
    working: list[Order] = field(default_factory=list)

    def submit(self, ts: int, instrument: int, qty: float, limit: float, tif: int, tag: int) -> None:
        self.working.append(Order(ts, instrument, qty, limit, tif, tag))

    def event(self, ts: int, instrument: int, ask: float, bid: float, low: float, high: float) -> list[Told]:
        """Match one event: a buy is offered `ask`, a sell `bid`; a resting order meets `low` to `high`."""
        told = []
        for order in list(self.working):
            if order.instrument != instrument or ts <= order.ts + self.latency:
                continue
            px = self._price(order, ask, bid, low, high)
            if px is not None:
                fee = abs(order.leaves) * (px * self.bps / 10_000 + self.per_share)
                told.append(Told(ts, order.tag, order.leaves, px, fee, 0.0, FILLED))
                self.working.remove(order)
            elif order.tif == IOC:
                told.append(Told(ts, order.tag, 0.0, 0.0, 0.0, order.leaves, CANCELED))
                self.working.remove(order)
            order.rested = True
        return told

    @staticmethod
    def _price(order: Order, ask: float, bid: float, low: float, high: float) -> float | None:
        first, best = (ask, low) if order.leaves > 0 else (bid, high)
        if math.isnan(order.limit):
            return None if math.isnan(first) else first
        better = (lambda px: px <= order.limit) if order.leaves > 0 else (lambda px: px >= order.limit)
        if better(first):
            return order.limit if order.rested else first
        return order.limit if better(best) else None

    def close(self, ts: int) -> list[Told]:
        """The session's close: DAY orders expire, then IOC orders are canceled; later ones are not of this session."""
        gone = [self._end(ts, s, [o for o in self.working if o.tif == t and o.ts < ts]) for t, s in ENDINGS]
        return [told for part in gone for told in part]

    def cancel(self, ts: int, tag: int) -> list[Told]:
        return self._end(ts, CANCELED, [o for o in self.working if o.tag == tag])

    def _end(self, ts: int, status: int, chosen: list[Order]) -> list[Told]:
        self.working = [o for o in self.working if o not in chosen]
        return [Told(ts, o.tag, 0.0, 0.0, 0.0, o.leaves, status) for o in chosen]
