"""The rows that cpquant's history parser returns, as our tables: trades, and bars stamped at their close."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from mdslib.errors import ConfigError, DataError
from mdslib.events import Kind, pack_conditions
from mdslib.instruments import Instrument
from mdslib.table import Table

if TYPE_CHECKING:
    import pandas as pd

_SECOND = 1_000_000_000
_UNITS = {"Min": 60, "T": 60, "Hour": 3_600, "H": 3_600}
_PRICES = ("price", "open", "high", "low", "close")


def bar_length(timeframe: str) -> int | None:
    """Return a bar's length in ns, or None for a day.

    Examples
    --------
    >>> bar_length("5Min"), bar_length("2Hour"), bar_length("1Day")
    (300000000000, 7200000000000, None)
    """
    digits = timeframe[: len(timeframe) - len(timeframe.lstrip("0123456789"))]
    unit = timeframe[len(digits) :]
    if timeframe in ("1Day", "1D"):
        return None
    if digits and unit in _UNITS and 1 <= int(digits) <= (59 if _UNITS[unit] == 60 else 23):
        return int(digits) * _UNITS[unit] * _SECOND
    raise ConfigError(f"timeframe must be 1Min to 59Min, 1Hour to 23Hour or 1Day, received {timeframe!r}")


def _times(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    return frame.index.to_numpy().astype("<i8")


def _lots(sizes: pd.Series[Any], instrument: Instrument) -> np.ndarray[Any, Any]:
    raw = sizes.to_numpy()
    if instrument.lot == 1.0 and raw.dtype.kind in "iu":
        return raw.astype("<i8")
    lots = np.round(raw.astype("f8") / instrument.lot)
    off = np.abs(lots * instrument.lot - raw) > 1e-9 * np.maximum(raw, 1.0)
    if off.any():
        raise DataError(
            f"{instrument.symbol}: size {raw[off][0]} is not a whole number of lots of {instrument.lot}; "
            "give the instrument its own lot"
        )
    return lots.astype("<i8")


def trades_of(frame: pd.DataFrame, instrument: Instrument) -> Table:
    """Return trades as a table; the instrument gets number 0."""
    ts = _times(frame)
    letters = [ord(letter[0]) & 0xFF if isinstance(letter, str) and letter else 0 for letter in frame["exchange_code"]]
    conditions = [pack_conditions(found) if isinstance(found, list) else 0 for found in frame["condition"]]
    return Table(
        Kind.TRADE,
        {
            "ts_event": ts, "ts_init": ts.copy(), "instrument": np.zeros(len(ts), "<u2"),
            "price": frame["price"].to_numpy("<f8"), "size": _lots(frame["size"], instrument),
            "trade_id": frame["trade_id"].to_numpy().astype("<i8"), "exchange": np.array(letters, "u1"),
            "conditions": np.array(conditions, "<u4"),
        },
    )  # fmt: skip


def bars_of(frame: pd.DataFrame, instrument: Instrument, length: int | None) -> Table:
    """Return bars as a table, stamped at their close; `length` is that of a bar in ns, None for days."""
    starts = _times(frame)
    ts = starts + length if length is not None else _closes(starts, instrument)
    prices = {name: frame[name].to_numpy("<f8") for name in ("open", "high", "low", "close")}
    return Table(
        Kind.BAR,
        {
            "ts_event": ts, "ts_init": ts.copy(), "instrument": np.zeros(len(ts), "<u2"), **prices,
            "volume": _lots(frame["volume"], instrument), "trades": frame["trades"].to_numpy().astype("<i8"),
            "vwap": frame["volume weighted"].to_numpy("<f8"),
        },
    )  # fmt: skip


def _closes(starts: np.ndarray[Any, Any], instrument: Instrument) -> np.ndarray[Any, Any]:
    """Return the session's close of each daily bar, which the venue stamps at midnight in New York."""
    from mdslib.calendar import session

    closes = []
    for start in starts.tolist():
        # Midnight in New York is 4 or 5 o'clock UTC of the same date.
        date = datetime.datetime.fromtimestamp(start // _SECOND, datetime.UTC).date()
        day = session(date, instrument.session)
        if day is None:
            raise DataError(f"{instrument.symbol}: a daily bar of {date}, when {instrument.session} is closed")
        closes.append(day.close)
    return np.array(closes, "<i8")


def wrong_price(table: Table) -> str:
    """Say which row has a price that is none, or nothing."""
    for name in _PRICES:
        bad = ~(table[name] > 0.0) | np.isinf(table[name]) if name in table.columns else np.zeros(0, bool)
        if bad.any():
            row = int(np.argmax(bad))
            return f"row {row} must have a positive {name}, received {table[name][row]:g}"
    return ""
