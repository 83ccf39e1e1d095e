"""What a back-test returns: decisions, orders, fills, the account, and views of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mdslib.account import equity, total_cash
from mdslib.events import Status, TimeInForce, Verb
from mdslib.matching import Fees, Rules
from mdslib.protocols import Records
from mdslib.risk import Denial, Limits
from mdslib.strategy.contract import Strategy
from mdslib.table import MarketData

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A finished back-test.

    Attributes
    ----------
    decisions : numpy.ndarray of DECISION
        Every leg that asked for something, and the releases that followed; `seq` is the event's index.
    events : numpy.ndarray of FILL
        Fills and endings (canceled, expired, rejected) in order; `tag` is the index of the decision.
    account : numpy.ndarray of ACCOUNT
        One record an instrument, at the end.
    working : numpy.ndarray of WORK
        Orders that still worked at the end.
    count : int
        Events that were folded.
    """

    strategy: Strategy
    params: Any
    data: MarketData
    decisions: Records
    events: Records
    account: Records
    working: Records
    cash0: float
    fees: Fees
    rules: Rules
    limits: Limits | None
    latency: int
    fingerprint: str
    count: int

    @cached_property
    def fills(self) -> Records:
        """The fills alone, numpy.ndarray of FILL."""
        return self.events[self.events["qty"] != 0.0]

    @cached_property
    def _asked(self) -> np.ndarray:
        """Decisions that the model made itself: no releases."""
        return self.decisions["verb"] != int(Verb.RELEASE)

    @cached_property
    def _wanted(self) -> np.ndarray:
        """Signed quantity of each decision, parked part included."""
        return np.asarray(self.decisions["qty"] + self.decisions["parked"])

    @property
    def buys(self) -> int:
        """Decisions to buy, denied ones included."""
        return int(np.count_nonzero(self._asked & (self._wanted > 0)))

    @property
    def sells(self) -> int:
        """Decisions to sell, denied ones included."""
        return int(np.count_nonzero(self._asked & (self._wanted < 0)))

    @cached_property
    def sent(self) -> np.ndarray:
        """Which decisions became orders that went to the venue, bool of shape (decisions,)."""
        d = self.decisions
        return np.asarray((d["denied"] == 0) & (d["verb"] != int(Verb.CANCEL)) & (d["qty"] != 0.0))

    @property
    def orders(self) -> int:
        """Orders that went to the venue."""
        return int(np.count_nonzero(self.sent))

    @property
    def denied(self) -> int:
        """Decisions that the desk's limits refused."""
        return int(np.count_nonzero(self.decisions["denied"]))

    @property
    def rejected(self) -> int:
        """Orders that the venue's rules refused."""
        return int(np.count_nonzero(self.events["status"] == int(Status.REJECTED)))

    @property
    def cash(self) -> float:
        """Cash at the end, in currency."""
        return float(total_cash(self.account))

    @property
    def equity(self) -> float:
        """Cash plus positions at their last prices."""
        return float(equity(self.account))

    @property
    def fees_paid(self) -> float:
        """Fees of all fills, in currency."""
        return float(self.account["fees"].sum())

    @property
    def position(self) -> float | dict[str, float]:
        """Position at the end: a number for one instrument, else by symbol."""
        held = {i.symbol: float(self.account[k]["position"]) for k, i in enumerate(self.data.instruments)}
        return next(iter(held.values())) if len(held) == 1 else held

    def denials(self) -> dict[str, int]:
        """Return how often each limit denied."""
        codes, counts = np.unique(self.decisions["denied"], return_counts=True)
        return {Denial(int(c)).name: int(n) for c, n in zip(codes, counts, strict=True) if c}

    def to_json(self) -> dict[str, Any]:
        """Return the figures that ``mds backtest --json`` prints."""
        return {
            "model": self.strategy.name,
            "fingerprint": self.fingerprint,
            "params": dict(self.params._asdict()),
            "symbols": [i.symbol for i in self.data.instruments],
            "sessions": [str(s.date) for s in self.data.sessions],
            "rules": self.rules.name.lower(),
            "limits": None if self.limits is None else self.limits._asdict(),
            "latency_ns": self.latency,
            "events": self.count,
            "decisions": int(np.count_nonzero(self._asked)),
            "buys": self.buys,
            "sells": self.sells,
            "denied": self.denied,
            "denials": self.denials(),
            "orders": self.orders,
            "rejected": self.rejected,
            "fills": len(self.fills),
            "working": len(self.working),
            "position": self.position,
            "cash": self.cash,
            "equity": self.equity,
            "profit": self.equity - self.cash0,
            "fees": self.fees_paid,
        }

    def decisions_frame(self) -> pd.DataFrame:
        """Return the decisions as a frame, indexed by event time."""
        import pandas as pd

        d = self.decisions
        symbols = np.array([i.symbol for i in self.data.instruments])
        return pd.DataFrame(
            {
                "event": d["seq"],
                "symbol": symbols[d["instrument"]],
                "leg": d["leg"],
                "verb": [Verb(int(v)).name for v in d["verb"]],
                "qty": d["qty"] + d["parked"],
                "limit": d["limit"],
                "time_in_force": [TimeInForce(int(t)).name for t in d["tif"]],
                "last_px": d["reference"],
                "denied": [Denial(int(c)).name if c else "" for c in d["denied"]],
            },
            index=_times(d["ts_event"]),
        )

    def fills_frame(self) -> pd.DataFrame:
        """Return the fills as a frame, indexed by time."""
        import pandas as pd

        f = self.fills
        symbols = np.array([i.symbol for i in self.data.instruments])
        return pd.DataFrame(
            {"symbol": symbols[f["instrument"]], "qty": f["qty"], "px": f["px"], "fee": f["fee"], "decision": f["tag"]},
            index=_times(f["ts"]),
        )

    def __repr__(self) -> str:
        j = self.to_json()
        return (
            f"Result({j['model']} on {', '.join(j['symbols'])}: {j['events']:,} events, {j['decisions']:,} decisions,"
            f" {j['orders']:,} orders, {j['fills']:,} fills, position {j['position']}, profit {j['profit']:,.2f})"
        )


def _times(ns: np.ndarray) -> pd.DatetimeIndex:
    import pandas as pd

    return pd.DatetimeIndex(np.ascontiguousarray(ns).view("M8[ns]"), name="time").tz_localize("UTC")
