"""Statistics of a run, as pure functions on plain arrays: figures that are made from its fills and its equity curve.

Times are int64 ns UTC, money is in the account's currency, quantities are signed units. A figure that has no meaning is
nan, never 0: each docstring says when.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from mdslib.curve import Curve, Fills, Floats, Ints


class Trips(NamedTuple):
    """Finished round trips, shape (trips,); `profit` is net of fees."""

    instrument: Ints
    opened: Ints
    closed: Ints
    profit: Floats


class Drawdown(NamedTuple):
    """The deepest fall of a curve.

    Attributes
    ----------
    amount : float
        In currency, >= 0.
    fraction : float
        Of the equity at the peak; nan where that was not above 0.
    peak, trough, end : int
        Times, ns: where it began, where it was deepest, and where the curve was back at the peak (or ended).
    """

    amount: float
    fraction: float
    peak: int
    trough: int
    end: int

    @property
    def duration(self) -> int:
        """From the peak until the curve was back, or ended, ns."""
        return self.end - self.peak


def round_trips(fills: Fills) -> Trips:
    """Return the round trips of each instrument: from flat until flat again.

    A fill that flips the position ends one trip and begins the next, its fee divided by quantity. A trip's profit is
    ``-sum(qty * px) - fees``. What is still open at the end is no trip. Positions are compared with 0 exactly, as the
    account does.

    Examples
    --------
    >>> zero = np.zeros(2, np.int64)
    >>> trips = round_trips(Fills(np.array([1, 5]), np.array([2.0, -2.0]), np.array([10.0, 11.0]), zero * 0.0, zero))
    >>> trips.profit.tolist(), trips.opened.tolist(), trips.closed.tolist()
    ([2.0], [1], [5])
    """
    found = [_trips_of(fills.of(int(k)), int(k)) for k in np.unique(fills.instrument)]
    if not found:
        none = np.zeros(0, np.int64)
        return Trips(none, none, none, np.zeros(0))
    columns: list[Any] = [np.concatenate(column) for column in zip(*found, strict=True)]
    order = np.argsort(columns[Trips._fields.index("closed")], kind="stable")
    return Trips(*(column[order] for column in columns))


def _trips_of(fills: Fills, instrument: int) -> Trips:
    after = np.cumsum(fills.qty)
    before = np.concatenate([[0.0], after[:-1]])
    flips = before * after < 0.0
    row = np.repeat(np.arange(len(after)), 1 + flips)  # a flip makes two parts
    second = np.concatenate([[False], row[1:] == row[:-1]])
    first = flips[row] & ~second
    qty = np.where(first, -before[row], np.where(second, after[row], fills.qty[row]))
    begins = second | (before[row] == 0.0)
    ends = first | (after[row] == 0.0)
    flow = -qty * fills.px[row] - fills.fee[row] * np.abs(qty / fills.qty[row])
    finished = int(np.count_nonzero(ends))
    profit: Any = np.bincount(np.cumsum(begins) - 1, flow)[:finished]
    opened, closed = fills.time[row[begins]][:finished], fills.time[row[ends]]
    return Trips(np.full(finished, instrument, np.int64), opened, closed, profit)


def hit_rate(profits: Floats) -> float:
    """Return the share of round trips with a profit above 0 after fees; nan where there are none.

    Examples
    --------
    >>> hit_rate(np.array([1.0, -2.0, 0.0, 3.0]))
    0.5
    """
    return float(np.mean(profits > 0.0)) if len(profits) else math.nan


def average_trade(profits: Floats) -> float:
    """Return the mean profit of a round trip after fees, in currency; nan where there are none."""
    return float(np.mean(profits)) if len(profits) else math.nan


def period_returns(equity: Floats, opening: float) -> Floats:
    """Return simple returns ``equity[i] / equity[i - 1] - 1``, the first against the opening equity.

    Parameters
    ----------
    equity : numpy.ndarray of float64, shape (periods,)
        At the end of each period; nan from where an earlier equity was not above 0.

    Examples
    --------
    >>> period_returns(np.array([110.0, 99.0]), 100.0).round(6).tolist()
    [0.1, -0.1]
    """
    earlier = np.concatenate([[opening], equity[:-1]])
    usable = earlier > 0.0
    return np.where(usable, equity / np.where(usable, earlier, 1.0) - 1.0, np.nan)


def sharpe(returns: Floats, periods_per_year: float = 252.0) -> float:
    """Return the annualised Sharpe ratio, ``mean(r) / std(r, ddof=1) * sqrt(periods a year)``, risk-free rate 0.

    nan where there are fewer than two returns, one of them is nan, or all are equal: a single day has no Sharpe ratio.

    Parameters
    ----------
    returns : numpy.ndarray of float64, shape (periods,)
        One a session (`period_returns`).
    periods_per_year : float
        252 sessions at a stock exchange, 365 where trading never stops.

    Notes
    -----
    Source: W. F. Sharpe, "The Sharpe Ratio", Journal of Portfolio Management 21 (1994), 49-58.

    Examples
    --------
    >>> round(sharpe(np.array([0.01, 0.03])), 4)
    22.4499
    """
    if len(returns) < 2 or np.isnan(returns).any() or bool((returns == returns[0]).all()):
        return math.nan
    return float(np.mean(returns) / np.std(returns, ddof=1) * math.sqrt(periods_per_year))


def max_drawdown(time: Ints, equity: Floats) -> Drawdown:
    """Return the deepest fall from an earlier peak, ``max over t of (max(equity up to t) - equity(t))``.

    It sees the samples alone: between two of them the account may have been lower. Of equal falls the first counts. An
    empty curve has amount and fraction nan and times 0.

    Examples
    --------
    >>> fall = max_drawdown(np.array([0, 1, 2, 3]), np.array([100.0, 120.0, 90.0, 120.0]))
    >>> fall.amount, fall.fraction, fall.duration
    (30.0, 0.25, 2)
    """
    if not len(equity):
        return Drawdown(math.nan, math.nan, 0, 0, 0)
    peaks = np.maximum.accumulate(equity)
    falls = peaks - equity
    trough = int(np.argmax(falls))
    if falls[trough] == 0.0:
        return Drawdown(0.0, 0.0 if peaks[-1] > 0.0 else math.nan, *[int(time[0])] * 3)
    top = float(peaks[trough])
    # The last time at the peak, not the first: until then nothing had been lost.
    peak = int(np.flatnonzero(equity[:trough] == top)[-1])
    back = np.flatnonzero(equity[trough:] >= top)
    end = trough + int(back[0]) if len(back) else len(equity) - 1
    amount = float(falls[trough])
    return Drawdown(amount, amount / top if top > 0.0 else math.nan, int(time[peak]), int(time[trough]), int(time[end]))


def traded_notional(fills: Fills) -> float:
    """Return ``sum(|qty| * px)`` of all fills, in currency."""
    return float(np.sum(np.abs(fills.qty) * fills.px))


def turnover(notional: float, equity: Floats) -> float:
    """Return the traded notional over the mean equity of the samples; nan where that is not above 0.

    Examples
    --------
    >>> turnover(500.0, np.array([900.0, 1_100.0]))
    0.5
    """
    mean = float(np.mean(equity)) if len(equity) else 0.0
    return notional / mean if mean > 0.0 else math.nan


def time_in_market(position: np.ndarray) -> float:
    """Return the share of samples with a position in any instrument; nan without samples.

    Parameters
    ----------
    position : numpy.ndarray of float64, shape (samples, instruments)
    """
    return float(np.mean((position != 0.0).any(axis=1))) if len(position) else math.nan


def exposure(curve: Curve) -> float:
    """Return the mean of ``sum(|position * price|) / equity`` over the samples.

    A sample without equity above 0, or with a position that has no price, makes it nan; so does an empty curve.
    """
    if not len(curve.equity) or not (curve.equity > 0.0).all():
        return math.nan
    held = curve.position != 0.0
    worth = np.where(held, np.abs(curve.position * np.where(held, curve.price, 0.0)), 0.0).sum(axis=1)
    return float(np.mean(worth / curve.equity))


def fee_share(fees: float, profit: float) -> float:
    """Return fees over the profit before fees, ``fees / (profit + fees)``; nan where that is not above 0.

    Parameters
    ----------
    fees : float
        Paid, in currency.
    profit : float
        After fees.

    Examples
    --------
    >>> fee_share(20.0, 80.0), fee_share(20.0, -80.0)
    (0.2, nan)
    """
    before = profit + fees
    return fees / before if before > 0.0 else math.nan


__all__ = [
    "Drawdown",
    "Trips",
    "average_trade",
    "exposure",
    "fee_share",
    "hit_rate",
    "max_drawdown",
    "period_returns",
    "round_trips",
    "sharpe",
    "time_in_market",
    "traded_notional",
    "turnover",
]
