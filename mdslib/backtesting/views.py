"""Views of a finished back-test: curve, figures, frames and tracks for plots, from the arrays that it left."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mdslib import stats
from mdslib.book.history import tops
from mdslib.calendar import ALWAYS
from mdslib.curve import Curve, Fills, equity_curve, last_prices, sample_times, stretches
from mdslib.events import Kind, Status, TimeInForce, Verb
from mdslib.matching import Reject
from mdslib.protocols import Records
from mdslib.risk import Denial
from mdslib.strategy.contract import MARKET_KINDS
from mdslib.table import MarketData

if TYPE_CHECKING:
    import pandas as pd

_SESSIONS_A_YEAR = 252.0
_DAYS_A_YEAR = 365.0


def fills_of(fills: Records) -> Fills:
    """Return FILL records as the columns that statistics take."""
    return Fills(
        fills["ts"].astype(np.int64),
        fills["qty"].astype(np.float64),
        fills["px"].astype(np.float64),
        fills["fee"].astype(np.float64),
        fills["instrument"].astype(np.int64),
    )


def prices_of(data: MarketData, kind: Kind | None, instrument: int) -> tuple[np.ndarray, np.ndarray]:
    """Return times and prices that mark an instrument: trades' prices, quotes' middles, bars' closes, books' middles.

    Without a kind, the data's first of those that it has.
    """
    kinds = MARKET_KINDS if kind is None else (kind,)
    table = next((data.table(k) for k in kinds if data.table(k) is not None), None)
    if table is None:
        return np.zeros(0, np.int64), np.zeros(0)
    if table.kind is Kind.BOOK_DELTA:
        best = tops(data, 1, instrument=instrument)
        whole = np.isfinite(best.mid)
        return best.ts_event[whole], best.mid[whole]
    if table.kind is Kind.QUOTE:
        price = (table["bid"] + table["ask"]) * 0.5
    else:
        price = table["price" if table.kind is Kind.TRADE else "close"]
    if len(data.instruments) == 1:
        return table["ts_event"], price
    own = table["instrument"] == instrument
    return table["ts_event"][own], price[own]


def curve_of(data: MarketData, kind: Kind | None, fills: Fills, cash: float, most: int) -> Curve:
    """Return the account over the data's time, marked as the model's own account is.

    Parameters
    ----------
    kind : Kind or None
        What marks last prices; None: nothing does, so positions count at their average prices.
    most : int
        Samples, about.
    """
    at = sample_times(stretches(*(table["ts_event"] for table in data.tables)), most)
    prices = np.full((len(at), len(data.instruments)), np.nan)
    if kind is not None:
        for k in range(len(data.instruments)):
            prices[:, k] = last_prices(*prices_of(data, kind, k), at)
    return equity_curve(at, fills, prices, cash)


def figures_of(data: MarketData, curve: Curve, fills: Fills, cash: float, equity: float) -> dict[str, Any]:
    """Return the statistics of a run by name; see `mdslib.stats` for each formula and when it is nan."""
    ends = np.searchsorted(curve.time, [session.post_close for session in data.sessions], "right") - 1
    returns = stats.period_returns(curve.equity[ends[ends >= 0]], cash)
    always = all(instrument.session == ALWAYS for instrument in data.instruments)
    fall = stats.max_drawdown(curve.time, curve.equity)
    trips = stats.round_trips(fills)
    notional, fees = stats.traded_notional(fills), float(fills.fee.sum())
    profit = equity - cash
    return {
        "sessions": len(data.sessions),
        "profit": profit,
        "return": profit / cash if cash > 0.0 else float("nan"),
        "sharpe": stats.sharpe(returns, _DAYS_A_YEAR if always else _SESSIONS_A_YEAR),
        "max_drawdown": fall.amount,
        "max_drawdown_fraction": fall.fraction,
        "drawdown_seconds": fall.duration / 1e9,
        "notional": notional,
        "turnover": stats.turnover(notional, curve.equity),
        "round_trips": len(trips.profit),
        "hit_rate": stats.hit_rate(trips.profit),
        "average_trade": stats.average_trade(trips.profit),
        "time_in_market": stats.time_in_market(curve.position),
        "exposure": stats.exposure(curve),
        "fees": fees,
        "fee_share": stats.fee_share(fees, profit),
    }


def curve_frame(curve: Curve, symbols: list[str]) -> pd.DataFrame:
    """Return a curve as a frame; with several instruments, columns carry the symbol."""
    import pandas as pd

    columns: dict[str, Any] = {"equity": curve.equity, "cash": curve.cash}
    for k, symbol in enumerate(symbols):
        tail = "" if len(symbols) == 1 else f"_{symbol}"
        columns |= {f"position{tail}": curve.position[:, k], f"price{tail}": curve.price[:, k]}
    return pd.DataFrame(columns, index=times_index(curve.time))


def orders_frame(decisions: Records, events: Records, symbols: list[str]) -> pd.DataFrame:
    """Return what became of each decision that asked for an order; see `Result.orders_frame`."""
    import pandas as pd

    count = len(decisions)
    tag, qty = events["tag"], events["qty"]
    filled = np.bincount(tag, qty, count)
    paid = np.bincount(tag, qty * events["px"], count)
    status = np.full(count, int(Status.NEW))
    status[tag] = events["status"]  # the last one stands
    names = np.array([_status_name(s) for s in range(int(Status.UNKNOWN) + 1)], object)[status]
    denied = decisions["denied"] != 0
    names[denied] = "DENIED"
    names[~denied & (decisions["qty"] == 0.0)] = "PARKED"
    reason = np.array([Denial(int(d)).name if d else "" for d in decisions["denied"]], object)
    refused = events[events["status"] == int(Status.REJECTED)]
    reason[refused["tag"]] = [Reject(int(why)).name for why in refused["refusal"]]
    with np.errstate(invalid="ignore", divide="ignore"):
        average = np.where(filled != 0.0, paid / filled, np.nan)
    frame = pd.DataFrame(
        {
            "decision": np.arange(count),
            "symbol": np.array(symbols)[decisions["instrument"]],
            "leg": decisions["leg"],
            "sent": ~denied & (decisions["qty"] != 0.0),
            "qty": decisions["qty"],
            "limit": decisions["limit"],
            "time_in_force": np.array([t.name for t in TimeInForce], object)[decisions["tif"]],
            "filled_qty": filled,
            "avg_px": average,
            "fee": np.bincount(tag, events["fee"], count),
            "status": names,
            "reason": reason,
        },
        index=times_index(decisions["ts_event"]),
    )
    asked: pd.DataFrame = frame.loc[decisions["verb"] != int(Verb.CANCEL)]
    return asked


def _status_name(code: int) -> str:
    return Status(code).name if code in Status._value2member_map_ else ""


def times_index(ns: np.ndarray) -> pd.DatetimeIndex:
    """Return ns as a UTC index."""
    import pandas as pd

    return pd.DatetimeIndex(np.ascontiguousarray(ns).view("M8[ns]"), name="time").tz_localize("UTC")


def fates_of(decisions: Records, events: Records, instrument: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return times and prices of an instrument's decisions by their fate, those with none left out."""
    rejected = np.zeros(len(decisions), bool)
    rejected[events["tag"][events["status"] == int(Status.REJECTED)]] = True
    own = decisions["instrument"] == instrument
    fine = own & (decisions["denied"] == 0) & ~rejected
    wanted = decisions["qty"] + decisions["parked"]
    cancels = decisions["verb"] == int(Verb.CANCEL)
    fates = {
        "buy sent": fine & ~cancels & (wanted > 0.0),
        "sell sent": fine & ~cancels & (wanted < 0.0),
        "cancel": fine & cancels,
        "rejected": own & rejected,
    }
    for code in np.unique(decisions["denied"][own]):
        if code:
            fates[f"denied {Denial(int(code)).name}"] = own & (decisions["denied"] == code)
    times, prices = decisions["ts_event"].astype(np.int64), decisions["reference"].astype(np.float64)
    return {fate: (times[chosen], prices[chosen]) for fate, chosen in fates.items() if chosen.any()}


def html_of(title: str, columns: list[Mapping[str, str]]) -> str:
    """Return a compact table: pairs of name and value in columns side by side, in the page's own colours."""
    depth = max(len(column) for column in columns)
    rows = []
    for row in range(depth):
        cells = [list(column.items())[row] if row < len(column) else ("", "") for column in columns]
        rows.append("<tr>" + "".join(_cell(*cell) for cell in cells) + "</tr>")
    return f"<div><b>{html.escape(title)}</b><table style='border:none;color:inherit'>{''.join(rows)}</table></div>"


def _cell(name: str, value: str) -> str:
    return (
        f"<td style='text-align:left;padding-left:1.5em;opacity:0.7'>{html.escape(name)}</td>"
        f"<td style='text-align:right'>{html.escape(value)}</td>"
    )


def shown(value: float, form: str = ",.2f") -> str:
    """Return a number as text; nan is a dash, for a figure that has no meaning here."""
    return "–" if value != value else format(value, form)
