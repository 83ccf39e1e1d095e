"""Statistics of a run, as pure functions on plain arrays: the equity curve, and figures that are made from it.

Times are int64 ns UTC, money is in the account's currency, quantities are signed units. A figure that has no meaning is
nan, never 0: each docstring says when.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mdslib.account import apply_fill, new_account

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]

MOST_SAMPLES = 2_000
PAUSE = 3_600_000_000_000  # no event for more than an hour: between sessions, not within one
_SECOND = 1_000_000_000
# Steps that a person reads easily, in seconds.
_STEPS = (1, 5, 15, 30, 60, 300, 900, 1_800, 3_600, 14_400, 86_400, 604_800)


class Fills(NamedTuple):
    """Fills in order of time.

    Attributes
    ----------
    time : numpy.ndarray of int64, shape (fills,)
    qty : numpy.ndarray of float64, shape (fills,)
        Signed.
    px, fee : numpy.ndarray of float64, shape (fills,)
    instrument : numpy.ndarray of int64, shape (fills,)
    """

    time: Ints
    qty: Floats
    px: Floats
    fee: Floats
    instrument: Ints

    def of(self, instrument: int) -> Fills:
        """Return the fills of one instrument."""
        chosen = self.instrument == instrument
        return Fills(*(column[chosen] for column in self))


class Curve(NamedTuple):
    """An account at some times, shape (samples,); `position` and `price` have shape (samples, instruments)."""

    time: Ints
    cash: Floats
    position: np.ndarray
    price: np.ndarray
    equity: Floats


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


def stretches(*times: Ints, pause: int = PAUSE) -> list[tuple[int, int]]:
    """Return first and last time of each stretch of events without a long pause, in order.

    Parameters
    ----------
    *times : numpy.ndarray of int64, shape (n,)
        Times in order, such as one array a table; stretches of several arrays are joined where they meet.

    Examples
    --------
    >>> stretches(np.array([0, 1, 9]), np.array([2, 10]), pause=3)
    [(0, 2), (9, 10)]
    """
    found: list[tuple[int, int]] = []
    for time in times:
        if len(time):
            breaks = np.flatnonzero(np.diff(time) > pause)
            starts, ends = time[np.concatenate([[0], breaks + 1])], time[np.concatenate([breaks, [len(time) - 1]])]
            found += zip(starts.tolist(), ends.tolist(), strict=True)
    joined: list[tuple[int, int]] = []
    for first, last in sorted(found):
        if joined and first - joined[-1][1] <= pause:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return joined


def sample_times(spans: Sequence[tuple[int, int]], most: int = MOST_SAMPLES) -> Ints:
    """Return times to look at an account: an even grid in each span, and both ends of each span.

    Parameters
    ----------
    spans : sequence of (int, int)
        First and last ns of each stretch with events, in order and apart.
    most : int
        The step is the smallest of 1, 5, 15, 30 s, 1, 5, 15, 30 min ... that gives about so many times or fewer.

    Examples
    --------
    >>> sample_times([(500_000_000, 3_000_000_000)]).tolist()
    [500000000, 1000000000, 2000000000, 3000000000]
    """
    length = sum(last - first for first, last in spans)
    seconds = next((s for s in _STEPS if length <= s * _SECOND * most), _STEPS[-1])
    step = max(seconds * _SECOND, length // max(most, 1))
    parts = [np.arange((first // step + 1) * step, last, step, dtype=np.int64) for first, last in spans]
    ends = np.array([t for span in spans for t in span], np.int64)
    return np.unique(np.concatenate([*parts, ends]))


def last_prices(time: Ints, price: Floats, at: Ints) -> Floats:
    """Return the last price at or before each of some times; nan before the first. Prices that are nan are passed over.

    Examples
    --------
    >>> last_prices(np.array([10, 20]), np.array([1.5, 2.5]), np.array([9, 10, 25])).tolist()
    [nan, 1.5, 2.5]
    """
    if np.isnan(price).any():
        known = ~np.isnan(price)
        time, price = time[known], price[known]
    if not len(price):
        return np.full(len(at), np.nan)
    rows = np.searchsorted(time, at, "right") - 1
    return np.where(rows >= 0, price[rows], np.nan)


def equity_curve(at: Ints, fills: Fills, prices: np.ndarray, cash: float) -> Curve:
    """Return the account at some times: cash, positions, and their worth at last prices.

    ``equity(t) = cash - sum(qty * px + fee) + sum(position * price)``, summed in the order in which the account does,
    so that the last sample equals the account's own equity bit for bit.

    Parameters
    ----------
    at : numpy.ndarray of int64, shape (samples,)
        Times in order; a sample counts what happened at its time.
    fills : Fills
    prices : numpy.ndarray of float64, shape (samples, instruments)
        Last prices at those times (`last_prices`). Where one is nan, a position counts at its average entry price.
    cash : float
        Before the first fill.

    Returns
    -------
    Curve

    Examples
    --------
    >>> one = np.zeros(1, np.int64)
    >>> fills = Fills(one + 5, np.array([10.0]), np.array([100.0]), np.array([1.0]), one)
    >>> equity_curve(np.array([0, 9]), fills, np.array([[99.0], [103.0]]), 1_000.0).equity.tolist()
    [1000.0, 1029.0]
    """
    shape = (len(at), prices.shape[1])
    position, total, equity = np.zeros(shape), np.zeros(len(at)), np.zeros(len(at))
    for k in range(shape[1]):
        own = fills.of(k)
        rows = np.searchsorted(own.time, at, "right")
        opening = cash if k == 0 else 0.0
        flow = np.cumsum(np.concatenate([[opening], -(own.qty * own.px + own.fee)]))[rows]
        held = np.cumsum(np.concatenate([[0.0], own.qty]))[rows]
        marks = prices[:, k]
        if (np.isnan(marks) & (held != 0.0)).any():
            marks = np.where(np.isnan(marks), _average_prices(own)[rows], marks)
        position[:, k] = held
        total += flow
        equity += flow
        equity += np.where(held != 0.0, held * marks, 0.0)
    return Curve(at, total, position, prices, equity)


def _average_prices(fills: Fills) -> Floats:
    """Return the average entry price before any fill and after each, shape (fills + 1,)."""
    account = new_account(1)
    average = np.zeros(len(fills.qty) + 1)
    for row, (qty, px, fee) in enumerate(zip(fills.qty, fills.px, fills.fee, strict=True)):
        apply_fill(account, 0, qty, px, fee)
        average[row + 1] = account[0]["avg_px"]
    return average


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
    "Curve",
    "Drawdown",
    "Fills",
    "Trips",
    "average_trade",
    "equity_curve",
    "exposure",
    "fee_share",
    "hit_rate",
    "last_prices",
    "max_drawdown",
    "period_returns",
    "round_trips",
    "sample_times",
    "sharpe",
    "stretches",
    "time_in_market",
    "traded_notional",
    "turnover",
]
