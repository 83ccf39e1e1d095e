"""Import what people have: a CSV with a mapping of its columns, and pandas, Polars or Arrow frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mdslib.errors import ConfigError, DataError, did_you_mean
from mdslib.events import SCHEMAS, Kind
from mdslib.instruments import Instrument, parse_instrument
from mdslib.store.imported import Imported, in_order, lots, parse_csv, read_bytes, store_days
from mdslib.store.tickstore import Source, TickStore
from mdslib.table import Array, Table

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_TIMES = ("ts_event", "ts_init")
_SIZES = ("size", "bid_size", "ask_size", "volume")


def import_csv(
    path: Path | str,
    kind: Kind,
    columns: Mapping[str, str],
    instrument: str | Instrument,
    store: TickStore,
    *,
    time: str = "ns",
    names: Sequence[str] | None = None,
    interval: str | None = None,
) -> list[Imported]:
    """Import a CSV by a mapping of its columns.

    Parameters
    ----------
    path : Path or str
        The file, plain or ``.gz``.
    kind : Kind
        What its rows are.
    columns : mapping of str to str
        For each column of the kind the name that it has in the file: ``{"ts_event": "time", "price": "px", ...}``.
    instrument : str or Instrument
        Whose rows they are. Sizes are in units, and become whole counts of its lot.
    store : TickStore
        Where the days go.
    time : {"s", "ms", "us", "ns", "iso"}
        What times are counted in since 1970 UTC; ``iso`` for texts such as ``2013-10-08T13:30:00.5Z``, UTC unless they
        say otherwise.
    names : sequence of str, optional
        Names of all columns in order, where the file has no header.
    interval : str, optional
        Length of bars, such as ``1m``; they must be stamped at their close.

    Raises
    ------
    ConfigError
        The mapping names a column that the kind has not, or `time` is none.
    DataError
        A column is missing in the file, or a value is none of its type; names the row.
    """
    path = Path(path)
    _check(kind, columns, time)
    whose = parse_instrument(instrument)
    data, source = read_bytes(path)
    types = {theirs: _type(ours, kind, time) for ours, theirs in columns.items()}
    rows = parse_csv(data, path.name, types, list(names) if names else None)
    found = {ours: rows[theirs] for ours, theirs in columns.items()}
    table = in_order(kind, _converted(found, whose, time, path.name))
    return store_days(table, whose, store, [source], interval)


def import_frame(
    frame: pd.DataFrame | pl.DataFrame | pa.Table,
    kind: Kind,
    instrument: str | Instrument,
    store: TickStore,
    *,
    source: str = "a frame",
    interval: str | None = None,
) -> list[Imported]:
    """Import a frame of pandas, Polars or Arrow whose columns have the kind's names.

    Parameters
    ----------
    frame : DataFrame or Table
        Times are a pandas index with a time zone, or a column ``ts_event`` of timestamps or of ns since 1970 UTC.
        Sizes are whole counts of the instrument's lot. Rows may be in any order of time.
    kind, instrument, store, interval
        As for `import_csv`.
    source : str
        What the store says of where the rows came from.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> from mdslib.store.parquet import ParquetStore
    >>> times = pd.date_range("2013-10-08 13:30", periods=2, freq="s", tz="UTC")
    >>> frame = pd.DataFrame({"price": [165.66, 165.67], "size": [100, 17]}, index=times)
    >>> print(import_frame(frame, Kind.TRADE, "SPY", ParquetStore(tempfile.mkdtemp()))[0])
    alpaca:SPY 2013-10-08: 2 rows of trade
    """
    whose = parse_instrument(instrument)
    table = in_order(kind, _columns(frame, kind))
    return store_days(table, whose, store, [Source(source, "")], interval)


def _check(kind: Kind, columns: Mapping[str, str], time: str) -> None:
    if time not in (*UNITS, "iso"):
        raise ConfigError(f"import csv: time must be one of {', '.join(UNITS)}, iso, received {time!r}")
    for name in columns:
        if name not in SCHEMAS[kind]:
            hint = did_you_mean(name, SCHEMAS[kind])
            raise ConfigError(f"import csv: {kind.name.lower()}s have no column {name!r}. {hint}")
    if "ts_event" not in columns:
        raise ConfigError(f"import csv: the mapping must say which column is ts_event, received {', '.join(columns)}")


def _type(name: str, kind: Kind, time: str) -> Any:
    if name in _TIMES:
        return pa.timestamp("ns", "UTC") if time == "iso" else pa.float64() if time == "s" else pa.int64()
    if name in _SIZES or SCHEMAS[kind][name].dtype == "<f8":
        return pa.float64()
    return pa.int64()


def _converted(found: dict[str, Array], instrument: Instrument, time: str, where: str) -> dict[str, Array]:
    ready: dict[str, Array] = {}
    for name, values in found.items():
        if name in _TIMES:
            ready[name] = _times(values, time)
        elif name in _SIZES:
            ready[name] = lots(values, instrument, where)
        else:
            ready[name] = values
    return ready


def _times(values: Array, time: str) -> Array:
    if time == "iso":
        return np.ascontiguousarray(values).view("<i8")
    if time == "s":  # a float of seconds holds microseconds, and no more
        micro: Array = np.rint(values * 1e6).astype("<i8") * 1_000
        return micro
    scaled: Array = values * UNITS[time]
    return scaled


def _columns(frame: Any, kind: Kind) -> dict[str, Array]:
    """Return a frame's columns as arrays, times in ns."""
    if hasattr(frame, "index") and not isinstance(frame, pa.Table):
        if "ts_event" in frame.columns:
            frame = frame.set_index("ts_event")
        table = Table.from_pandas(frame.sort_index(kind="stable"), kind)
        return dict(table.columns)
    arrow = frame.to_arrow() if hasattr(frame, "to_arrow") else frame
    if not isinstance(arrow, pa.Table):
        raise DataError(f"import: a frame must be pandas', Polars' or Arrow's, received {type(frame).__name__}")
    columns: dict[str, Array] = {}
    for name in arrow.column_names:
        column = arrow[name]
        if column.null_count:
            raise DataError(
                f"import: column {name!r} must have no nulls, received {column.null_count}; fill or drop them"
            )
        if pa.types.is_timestamp(column.type):
            if column.type.tz is None:
                raise DataError(f"import: column {name!r} must be times with a time zone, received none; say it is UTC")
            column = column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64())
        columns[name] = column.to_numpy()
    return columns


__all__ = ["UNITS", "import_csv", "import_frame"]
