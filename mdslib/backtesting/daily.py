"""Daily bars in a back-test: what the session limit means on them, and the stamps that can't be meant.

A daily bar is stamped at its session's close, so whatever is decided on it is decided at a close, and is for the next
session: it fills at the next bar's open. The session limit would deny all of it.
"""

from __future__ import annotations

import numpy as np

from mdslib.bars import midnight
from mdslib.calendar import ALWAYS
from mdslib.errors import ConfigError, DataError
from mdslib.events import Kind
from mdslib.strategy.market import hours_of
from mdslib.table import MarketData, Table


def deciding_hours(data: MarketData, *, flatten: bool = False) -> np.ndarray:
    """Return when orders may be decided on: the sessions, and on daily bars their closes too.

    Parameters
    ----------
    data : MarketData
    flatten : bool
        The run goes flat before each close.

    Returns
    -------
    numpy.ndarray of int64, shape (n, 2)
        Open and end of each session, ns.

    Raises
    ------
    DataError
        Bars are stamped at midnight: days whose session is not over then, so nobody could know them.
    ConfigError
        To go flat before a close takes events within the session, and daily bars have none.
    """
    hours = hours_of(data)
    bars = data.tables[0] if len(data.tables) == 1 and data.tables[0].kind is Kind.BAR else None
    if bars is None or not len(bars):
        return hours
    if _at_closes(bars, hours[:, 1]):
        if flatten:
            raise ConfigError(
                "backtest(flatten=...) must be None on daily bars, received a time before the close: a day's one event"
                " is its close; leave it out, or load shorter bars"
            )
        closes_included: np.ndarray = hours + np.array([0, 1])
        return closes_included
    _refuse_midnights(data, bars)
    return hours


def _at_closes(bars: Table, closes: np.ndarray) -> bool:
    """Tell whether every bar is stamped at a session's close."""
    times = bars["ts_event"]
    return bool(np.isin(times[0], closes) and np.isin(times, closes).all())


def _refuse_midnights(data: MarketData, bars: Table) -> None:
    exchange = data.instruments[0].session
    first, last = int(bars["ts_event"][0]), int(bars["ts_event"][-1])
    if exchange == ALWAYS or not data.sessions or midnight(first, exchange) is None or midnight(last, exchange) is None:
        return
    received = np.datetime64(first, "ns").astype("M8[s]")
    raise DataError(
        f"a daily bar must be stamped at its session's close, received {received} UTC, a midnight;"
        " convert the bars with mdslib.bars.session_stamped"
    )
