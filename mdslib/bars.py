"""Bars: from venue's stamps to ours, late revisions, and bars made of trades.

Venues stamp a bar at its **start**; `mdslib` stamps it at its **close**, the first moment at which anybody can know it.
The conversion is never implied: whoever imports bars calls `close_stamped` with the bar's length, or for daily bars
`session_stamped`, since a day's close is its session's.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np

from mdslib import calendar
from mdslib.errors import DataError
from mdslib.events import SCHEMAS, Kind
from mdslib.table import Array, Table, empty, from_columns

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


def close_stamped(bars: Table | Mapping[str, Any], interval: int) -> Table:
    """Return bars that a venue stamped at their start, stamped at their close.

    Parameters
    ----------
    bars : Table or mapping of columns
        Bars whose ``ts_event`` is the start of the interval, ns UTC. Prices and volumes are shared, not copied.
    interval : int
        Length of a bar, ns, > 0.

    Raises
    ------
    DataError
        The interval is not positive, or these are no bars.

    Examples
    --------
    >>> columns = {"open": [1.0], "high": [1.0], "low": [1.0], "close": [1.0], "volume": [5]}
    >>> close_stamped({"ts_event": [0], **columns}, MINUTE)["ts_event"].tolist()
    [60000000000]
    """
    if not interval > 0:
        raise DataError(f"close_stamped: interval must be > 0 ns, received {interval!r}; a minute is 60_000_000_000")
    table = bars if isinstance(bars, Table) else from_columns(Kind.BAR, bars)
    if table.kind != Kind.BAR:
        raise DataError(f"close_stamped: rows must be bars, received {table.kind.name}")
    closes = table["ts_event"] + interval
    received = table["ts_init"]
    # Where nobody noted the receipt, ts_init repeats the start stamp: a bar is not received before it has closed.
    return table.replace(ts_event=closes, ts_init=np.maximum(received, closes))


def session_stamped(bars: Table | Mapping[str, Any], exchange: str = "NYSE") -> Table:
    """Return daily bars that a source stamped at midnight of their day, stamped at their session's close.

    Parameters
    ----------
    bars : Table or mapping of columns
        Bars whose ``ts_event`` is midnight of the trading day, in UTC (a column of dates) or at the exchange, ns UTC.
        Prices and volumes are shared, not copied.
    exchange : str
        The trading calendar: the close is 16:00 New York on most of NYSE's days, 13:00 on half days.

    Raises
    ------
    DataError
        A stamp is not midnight, or the exchange is closed on that day.

    Examples
    --------
    >>> columns = {"open": [1.0], "high": [1.0], "low": [1.0], "close": [1.0], "volume": [5]}
    >>> day = session_stamped({"ts_event": np.array(["2013-10-08"], "M8[ns]").astype("i8"), **columns})
    >>> str(day["ts_event"].astype("M8[ns]")[0])
    '2013-10-08T20:00:00.000000000'
    """
    table = bars if isinstance(bars, Table) else from_columns(Kind.BAR, bars)
    if table.kind != Kind.BAR:
        raise DataError(f"session_stamped: rows must be bars, received {table.kind.name}")
    stamps, place = np.unique(table["ts_event"], return_inverse=True)
    closes = np.array([_close_of(stamp, exchange) for stamp in stamps.tolist()], np.int64)[place]
    return table.replace(ts_event=closes, ts_init=np.maximum(table["ts_init"], closes))


def midnight(ts: int, exchange: str = "NYSE") -> datetime.date | None:
    """Return the day of which a moment (ns UTC) is the midnight, in UTC or at the exchange; None if it is none."""
    if ts % HOUR:
        return None
    for zone in (datetime.UTC, calendar.zone(exchange)):
        moment = datetime.datetime.fromtimestamp(ts // SECOND, zone)
        if moment.hour == moment.minute == 0:
            return moment.date()
    return None


def _close_of(ts: int, exchange: str) -> int:
    day = midnight(ts, exchange)
    received = f"{np.datetime64(ts, 'ns').astype('M8[s]')} UTC"
    if day is None:
        raise DataError(
            f"session_stamped: a daily bar must be stamped at midnight of its day, received {received};"
            " bars of another length go through close_stamped"
        )
    session = calendar.session(day, exchange)
    if session is None:
        reason = calendar.why_closed(day, exchange)
        raise DataError(
            f"session_stamped: a daily bar must be of a day on which {exchange} trades, received {received} ({reason});"
            " remove it, or name its exchange"
        )
    return session.close


def revise_bars(bars: Table, updated: Table) -> Table:
    """Return bars with late corrections (Alpaca's ``updatedBars``) put in.

    A bar of the same instrument and close time is replaced, any other is inserted. Of two corrections of one bar the
    later row wins. The inputs stay as they are.

    Examples
    --------
    >>> columns = dict.fromkeys(("open", "high", "low", "close"), [1.0, 1.0])
    >>> old = from_columns(Kind.BAR, {"ts_event": [60, 180], "volume": [5, 6], **columns})
    >>> new = from_columns(Kind.BAR, {"ts_event": [60, 120], "volume": [7, 8], **columns})
    >>> revise_bars(old, new)["volume"].tolist()
    [7, 8, 6]
    """
    for table in (bars, updated):
        if table.kind != Kind.BAR:
            raise DataError(f"revise_bars: rows must be bars, received {table.kind.name}")
    joined = {name: np.concatenate([bars[name], updated[name]]) for name in SCHEMAS[Kind.BAR]}
    order = np.lexsort((joined["instrument"], joined["ts_event"]))  # stable: a correction stays behind what it corrects
    times, instruments = joined["ts_event"][order], joined["instrument"][order]
    last = np.ones(len(order), bool)
    last[:-1] = (times[1:] != times[:-1]) | (instruments[1:] != instruments[:-1])
    return Table(Kind.BAR, {name: column[order[last]] for name, column in joined.items()})


def bars_from_trades(trades: Table, interval: int, origin: int = 0) -> Table:
    """Return bars made of trades, stamped at their close; an interval without a trade has no bar.

    A trade at the very boundary belongs to the bar that begins there. Every trade counts, whatever its conditions, so
    high and low can differ from a venue's, which leaves out odd lots and late prints. Volumes and counts are exact.

    Parameters
    ----------
    trades : Table
        Trades of one or more instruments.
    interval : int
        Length of a bar, ns, > 0.
    origin : int
        A moment at which some bar begins, ns UTC: pass a session's open for hours that begin at half past nine.

    Returns
    -------
    Table
        Bars in order of (close time, instrument); ``vwap`` is nan where the volume is 0.

    Examples
    --------
    >>> from mdslib.table import trades
    >>> bars = bars_from_trades(trades([0, 30 * SECOND, 200 * SECOND], [1.0, 3.0, 2.0], [10, 30, 5]), MINUTE)
    >>> bars["ts_event"].tolist(), bars["high"].tolist(), bars["volume"].tolist(), bars["vwap"].tolist()
    ([60000000000, 240000000000], [3.0, 2.0], [40, 5], [2.5, 2.0])
    """
    if trades.kind != Kind.TRADE:
        raise DataError(f"bars_from_trades: rows must be trades, received {trades.kind.name}")
    if not interval > 0:
        raise DataError(f"bars_from_trades: interval must be > 0 ns, received {interval!r}; a minute is {MINUTE}")
    if not len(trades):
        return empty(Kind.BAR)
    number = (trades["ts_event"] - origin) // interval
    instrument, price, size = trades["instrument"], trades["price"], trades["size"]
    if instrument.any():
        order = np.lexsort((instrument, number))
        number, instrument, price, size = number[order], instrument[order], price[order], size[order]
    fresh = np.ones(len(number), bool)
    fresh[1:] = (number[1:] != number[:-1]) | (instrument[1:] != instrument[:-1])
    first = np.flatnonzero(fresh)
    return _folded(first, origin + (number[first] + 1) * interval, instrument[first], price, size)


def _folded(first: Array, closes: Array, instrument: Array, price: Array, size: Array) -> Table:
    """Fold rows into bars that begin at the row numbers `first`."""
    last = np.append(first[1:], len(price)) - 1
    volume = np.add.reduceat(size, first)
    with np.errstate(invalid="ignore", divide="ignore"):
        vwap = np.add.reduceat(price * size, first) / volume
    columns = {
        "ts_event": closes,
        "instrument": instrument,
        "open": price[first],
        "high": np.maximum.reduceat(price, first),
        "low": np.minimum.reduceat(price, first),
        "close": price[last],
        "volume": volume,
        "trades": last - first + 1,
        "vwap": np.where(volume == 0, np.nan, vwap),
    }
    return from_columns(Kind.BAR, columns)
