"""An account over time: when to look at it, what prices were then, and what it was worth.

Times are int64 ns UTC, money is in the account's currency, quantities are signed units.
"""

from __future__ import annotations

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


__all__ = [
    "MOST_SAMPLES",
    "Curve",
    "Fills",
    "Floats",
    "Ints",
    "equity_curve",
    "last_prices",
    "sample_times",
    "stretches",
]
