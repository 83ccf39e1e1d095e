"""What a back-test returns: decisions, orders, fills, the account, and views of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mdslib.backtesting import views
from mdslib.calendar import zone
from mdslib.curve import MOST_SAMPLES, Curve, Fills
from mdslib.errors import ConfigError, did_you_mean
from mdslib.events import Status, TimeInForce, Verb
from mdslib.matching import Fees, Rules
from mdslib.protocols import Records
from mdslib.risk import Denial, Limits
from mdslib.strategy.contract import Strategy
from mdslib.strategy.decide import count_decisions
from mdslib.strategy.source import marking_kind
from mdslib.table import MarketData

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


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
        fills: Records = self.events[self.events["qty"] != 0.0]
        return fills

    @cached_property
    def _asked(self) -> np.ndarray:
        """Decisions that the model made itself: no releases."""
        return np.asarray(self.decisions["verb"] != int(Verb.RELEASE))

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
        return self._ended(Status.REJECTED)

    @property
    def canceled(self) -> int:
        """Orders that ended canceled, those that had filled in part included."""
        return self._ended(Status.CANCELED)

    @property
    def expired(self) -> int:
        """Orders that ended with their session, those that had filled in part included."""
        return self._ended(Status.EXPIRED)

    def _ended(self, status: Status) -> int:
        return int(np.count_nonzero(self.events["status"] == int(status)))

    @property
    def cash(self) -> float:
        """Cash at the end, in currency."""
        # The account's own kernel, written out: compiling it would take a quarter of a second of a command's start.
        return float(np.cumsum(self.account["cash"])[-1])

    @property
    def equity(self) -> float:
        """Cash plus positions at their last prices."""
        value = 0.0
        for a in self.account:  # in the kernel's order, so that the bits agree
            value += float(a["cash"])
            if a["position"] != 0.0:
                value += float(a["position"] * (a["avg_px"] if np.isnan(a["last_px"]) else a["last_px"]))
        return value

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
            "decisions": count_decisions(self.decisions),
            "buys": self.buys,
            "sells": self.sells,
            "denied": self.denied,
            "denials": self.denials(),
            "orders": self.orders,
            "rejected": self.rejected,
            "canceled": self.canceled,
            "expired": self.expired,
            "fills": len(self.fills),
            "working": len(self.working),
            "position": self.position,
            "cash": self.cash,
            "equity": self.equity,
            "profit": self.equity - self.cash0,
            "fees": self.fees_paid,
        }

    def decisions_frame(self) -> pd.DataFrame:
        """Return the decisions as a frame, indexed by event time.

        Returns
        -------
        DataFrame
            ``denied`` is the limit that refused the decision, ``bound`` that limit's value and ``value`` the order's;
            both are nan where nothing was refused. `mdslib.risk.denial_text` makes a sentence of the three.
        """
        import pandas as pd

        d = self.decisions
        fine = d["denied"] == 0
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
                "bound": np.where(fine, np.nan, d["bound"]),
                "value": np.where(fine, np.nan, d["value"]),
            },
            index=views.times_index(d["ts_event"]),
        )

    def fills_frame(self) -> pd.DataFrame:
        """Return the fills as a frame, indexed by time."""
        import pandas as pd

        f = self.fills
        symbols = np.array([i.symbol for i in self.data.instruments])
        return pd.DataFrame(
            {"symbol": symbols[f["instrument"]], "qty": f["qty"], "px": f["px"], "fee": f["fee"], "decision": f["tag"]},
            index=views.times_index(f["ts"]),
        )

    @property
    def _symbols(self) -> list[str]:
        return [instrument.symbol for instrument in self.data.instruments]

    @cached_property
    def _filled(self) -> Fills:
        return views.fills_of(self.fills)

    @cached_property
    def _curve(self) -> Curve:
        return self._sampled(MOST_SAMPLES)

    def _sampled(self, most: int) -> Curve:
        return views.curve_of(self.data, marking_kind(self.strategy), self._filled, self.cash0, most)

    def stats(self) -> dict[str, Any]:
        """Return the statistics by name; money in the account's currency, nan where a figure has no meaning.

        Formulas and their nan rules are in `mdslib.stats`. The drawdown, the time in the market and the exposure are
        taken from `equity_curve`, so they see its samples only; the Sharpe ratio takes one return a session, so that a
        single session has none.
        """
        return views.figures_of(self.data, self._curve, self._filled, self.cash0, self.equity)

    def equity_curve(self, most: int = MOST_SAMPLES) -> pd.DataFrame:
        """Return the account over time; its last row equals `equity`, `cash` and `position` bit for bit.

        Parameters
        ----------
        most : int
            Samples, about; the step is the smallest round one that needs no more (a day: 15 s).

        Returns
        -------
        DataFrame
            Index: UTC times. Columns: ``equity``, ``cash``, ``position``, ``price``; with several instruments
            ``position_SPY`` and so on.
        """
        curve = self._curve if most == MOST_SAMPLES else self._sampled(most)
        return views.curve_frame(curve, self._symbols)

    def orders_frame(self) -> pd.DataFrame:
        """Return what became of every decision that asked for an order, indexed by the time of the decision.

        Returns
        -------
        DataFrame
            ``decision`` is the index in `decisions`. ``sent`` is whether an order of ``qty`` went to the venue.
            ``filled_qty`` is signed, ``avg_px`` nan without a fill. ``status`` is the order's last (NEW: it still
            works), DENIED where the desk's limits refused, or PARKED where everything waited for a close. ``reason`` is
            the limit that denied, or the rule of the venue that rejected.
        """
        return views.orders_frame(self.decisions, self.events, self._symbols)

    def _title(self) -> str:
        days = [str(session.date) for session in self.data.sessions]
        when = f", {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else "") if days else ""
        return f"{self.strategy.name} on {', '.join(self._symbols)}{when}"

    def _zone(self) -> str:
        return str(zone(self.data.instruments[0].session))

    def _prices(self, instrument: int) -> tuple[np.ndarray, np.ndarray]:
        return views.prices_of(self.data, marking_kind(self.strategy), instrument)

    def plot(self) -> go.Figure:
        """Return price with our fills, position and equity on one time axis, as a plotly figure.

        Prices are thinned to about 4,000 points that keep every extreme; see `mdslib.plot.figure_day`.
        """
        from mdslib.plot import Lane, Track, figure_lanes

        ends, lanes = self._curve.time[[0, -1]] if self.count else self._curve.time, []
        for k, symbol in enumerate(self._symbols):
            fills = self._filled.of(k)
            held = np.concatenate([[0.0], np.cumsum(fills.qty)])
            time = np.concatenate([ends[:1], fills.time, ends[1:]])
            position = Track(time, np.append(held, held[-1])[: len(time)])
            lanes.append(Lane(symbol, Track(*self._prices(k)), fills, position))
        profit = self.equity - self.cash0
        title = f"{self._title()}: {len(self.fills):,} fills, profit {profit:+,.2f}"
        return figure_lanes(lanes, Track(self._curve.time, self._curve.equity), title, zone=self._zone())

    def plot_decisions(self, symbol: str | None = None) -> go.Figure:
        """Return the price with every decision marked by its fate (sent, denied, rejected), and how many over time.

        Parameters
        ----------
        symbol : str, optional
            Which instrument's; the first unless given.

        Raises
        ------
        ConfigError
            The run had no such instrument.
        """
        from mdslib.plot import Track, figure_decisions

        chosen = self._symbols[0] if symbol is None else symbol
        if chosen not in self._symbols:
            raise ConfigError(f"plot_decisions: {chosen!r} is not in this run. {did_you_mean(chosen, self._symbols)}")
        k = self._symbols.index(chosen)
        fates = {f: Track(*track) for f, track in views.fates_of(self.decisions, self.events, k).items()}
        return figure_decisions(*self._prices(k), fates, f"{self._title()}: decisions on {chosen}", zone=self._zone())

    def _repr_html_(self) -> str:
        j, s, say = self.to_json(), self.stats(), views.shown
        asked = ("events", "decisions", "buys", "sells", "denied")
        counts = {name: f"{j[name]:,}" for name in (*asked, "orders", "rejected", "canceled", "expired", "fills")}
        held = j["position"] if isinstance(j["position"], dict) else {"": j["position"]}
        money = {
            "profit": say(s["profit"]),
            "return": say(s["return"], ".3%"),
            "equity": say(j["equity"]),
            "cash": say(j["cash"]),
            "fees": say(s["fees"]),
            **{f"position {symbol}".strip(): f"{qty:,g}" for symbol, qty in held.items()},
        }
        figures = {
            "Sharpe": say(s["sharpe"]),
            "max drawdown": say(s["max_drawdown"]),
            "turnover": say(s["turnover"]),
            "round trips": f"{s['round_trips']:,}",
            "hit rate": say(s["hit_rate"], ".1%"),
            "average trade": say(s["average_trade"]),
            "time in market": say(s["time_in_market"], ".1%"),
            "exposure": say(s["exposure"], ".3f"),
        }
        return views.html_of(self._title(), [counts, money, figures])

    def __repr__(self) -> str:
        j = self.to_json()
        fates = ", ".join(f"{j[name]:,} {name}" for name in ("rejected", "canceled", "expired"))
        why = ", ".join(f"{count:,} {rule}" for rule, count in j["denials"].items())
        return (
            f"Result({j['model']} on {', '.join(j['symbols'])}: {j['events']:,} events, {j['decisions']:,} decisions"
            f" ({j['denied']:,} denied{why and ': ' + why}), {j['orders']:,} orders ({fates}), {j['fills']:,} fills,"
            f" position {j['position']}, profit {j['profit']:,.2f})"
        )
