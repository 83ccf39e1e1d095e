"""How a table's columns lie in a Parquet file: small, exact, and readable by anybody.

Prices become decimals that give every float back bit for bit; times become UTC timestamps, delta-encoded; a column of
one value lies in the file's metadata only. Every choice is verified when it is made, so reading back needs no luck.

Types differ from day to day only where they must, so that a reader can take many files as one table. Decimals have 4
digits, those of a market that never closes 9, unless a price needs more. Times are ns; those of a market that never
closes, whose venues and whose recorder count in microseconds, are kept so unless one is finer: a byte less each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mdslib.errors import DataError
from mdslib.events import SCHEMAS, Kind
from mdslib.table import Array, Table

_DIGITS = (4, 6, 8, 9)  # sub-penny prints of stocks have 4, rarely more
_FINE_DIGITS = (9, 8, 6, 4)  # ticks below 0.0001; fewer where the price is too large for 9
_PRECISION = 18  # decimals of up to 18 digits are kept as 64-bit integers
_EXACT = 2.0**53  # integers up to here are exact floats, so that integer / 10**digits is correctly rounded
_DELTA = "DELTA_BINARY_PACKED"
_SPLIT = "BYTE_STREAM_SPLIT"
_MICROSECOND = 1_000  # ns


class Encoded(NamedTuple):
    """A table as it is written: Arrow columns, each one's Parquet encoding or dictionary, and how to undo it."""

    arrow: pa.Table
    encodings: dict[str, str]
    dictionary: list[str]
    layout: dict[str, dict[str, Any]]


def encode(table: Table, tick: float = 0.01, *, open_always: bool = False) -> Encoded:
    """Return the columns to write. ``instrument`` is left out: a file holds one.

    Parameters
    ----------
    table : Table
        The rows.
    tick : float
        The instrument's price step.
    open_always : bool
        It is of a market that never closes: times are microseconds where all are whole ones, prices have fine digits.
    """
    arrays: dict[str, pa.Array] = {}
    encodings: dict[str, str] = {}
    layout: dict[str, dict[str, Any]] = {}
    for name, column in table.columns.items():
        if name == "instrument":
            continue
        if name == "ts_init" and np.array_equal(column, table["ts_event"]):
            layout[name] = {"stored": "same", "as": "ts_event"}
            continue
        if name != "ts_event" and _is_constant(column):
            value = float(column[0]).hex() if column.dtype.kind == "f" else int(column[0])
            layout[name] = {"stored": "constant", "value": value}
            continue
        arrays[name], encoding, layout[name] = _encode_column(name, column, tick, open_always=open_always)
        if encoding:
            encodings[name] = encoding
        layout[name]["unit"] = SCHEMAS[table.kind][name].unit
    dictionary = [name for name in arrays if name not in encodings]
    return Encoded(pa.table(arrays), encodings, dictionary, layout)


class Decoding:
    """The table that `encode` took, filled from pieces of its Arrow columns in any order, by any thread.

    Every value is written once, into memory that is already the table's: a day's columns are larger than any cache.

    Parameters
    ----------
    kind : Kind
        What the rows are.
    rows : int
        How many there are.
    layout : dict
        How each column is stored.
    wanted : set of str
        Columns to fill, beside the times and the instrument.
    """

    def __init__(self, kind: Kind, rows: int, layout: dict[str, dict[str, Any]], wanted: set[str]) -> None:
        self.kind, self.layout = kind, layout
        self.columns: dict[str, Array] = {}
        self.stored: list[str] = []
        for name, field in SCHEMAS[kind].items():
            if name not in wanted and name not in ("ts_event", "ts_init", "instrument"):
                continue
            how = layout.get(name, {"stored": "constant", "value": 0})  # the instrument: 0, the only one in a file
            if how["stored"] == "same":
                self.columns[name] = self.columns[how["as"]]
            elif how["stored"] == "constant":
                value = float.fromhex(how["value"]) if isinstance(how["value"], str) else how["value"]
                filled = np.zeros if value == 0 else np.empty  # zeroed memory costs nothing until it is written
                self.columns[name] = filled(rows, field.dtype)
                if value != 0:
                    self.columns[name].fill(value)
            else:
                self.columns[name] = np.empty(rows, field.dtype)
                self.stored.append(name)

    def fill(self, start: int, arrow: pa.Table) -> None:
        """Write the rows from `start` on."""
        for name in self.stored:
            at = start
            for chunk in arrow[name].chunks:
                _fill(self.columns[name][at : at + len(chunk)], chunk, self.layout[name])
                at += len(chunk)

    def table(self) -> Table:
        """Return the table, once all of it was filled."""
        return Table(self.kind, self.columns)


def decode(kind: Kind, rows: int, arrow: pa.Table, layout: dict[str, dict[str, Any]], wanted: set[str]) -> Table:
    """Return the table that `encode` took; only `wanted` columns and those that every table has."""
    decoding = Decoding(kind, rows, layout, wanted)
    decoding.fill(0, arrow)
    return decoding.table()


def _is_constant(column: Array) -> bool:
    """Tell whether every value has the first one's bits, and those are what the metadata can give back."""
    if not len(column):
        return False
    value = float(column[0]) if column.dtype.kind == "f" else column[0]
    if value == 0 and column[0].tobytes() != bytes(column.itemsize):
        return False  # minus zero
    bits = column.view(f"u{column.itemsize}")
    return bool((bits == np.full(1, value, column.dtype).view(bits.dtype)[0]).all())


def _encode_column(
    name: str, column: Array, tick: float, *, open_always: bool
) -> tuple[pa.Array, str | None, dict[str, Any]]:
    if name in ("ts_event", "ts_init"):
        if open_always and not (column % _MICROSECOND).any():
            return pa.array(column // _MICROSECOND, pa.timestamp("us", "UTC")), _DELTA, {"stored": "microseconds"}
        return pa.array(column, pa.timestamp("ns", "UTC")), _DELTA, {"stored": "timestamp"}
    if column.dtype.kind == "f":
        return _encode_prices(column, _FINE_DIGITS if open_always or tick < 1e-4 else _DIGITS)
    if name in ("trade_id", "order", "venue_seq"):  # they rise
        return pa.array(column), _DELTA, {"stored": "plain"}
    return pa.array(column), None, {"stored": "plain"}


def _encode_prices(column: Array, candidates: tuple[int, ...]) -> tuple[pa.Array, str, dict[str, Any]]:
    known = ~np.isnan(column)
    filled = np.where(known, column, 0.0)
    for digits in candidates:
        with np.errstate(over="ignore", invalid="ignore"):
            steps = np.rint(filled * 10.0**digits)
        if not (np.abs(steps) < _EXACT).all():
            continue
        whole = steps.astype("<i8")
        if _decimals(whole, known, digits).tobytes() == column.tobytes():
            mask = None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
            array = pa.Array.from_buffers(pa.decimal64(_PRECISION, digits), len(whole), [mask, pa.py_buffer(whole)])
            return array, _DELTA, {"stored": "decimal", "digits": digits}
    return pa.array(column), _SPLIT, {"stored": "float"}  # no decimals: an average, say


def _decimals(whole: Array, known: Array, digits: int) -> Array:
    prices: Array = whole / 10.0**digits
    prices[~known] = np.nan
    return prices


def _fill(target: Array, array: pa.Array, how: dict[str, Any]) -> None:
    """Write one piece of a column."""
    stored = how["stored"]
    if stored == "timestamp":
        target[:] = array.cast(pa.int64()).to_numpy()
    elif stored == "microseconds":
        np.multiply(array.cast(pa.int64()).to_numpy(), _MICROSECOND, out=target)
    elif stored == "decimal":
        np.divide(_integers(array), 10.0 ** how["digits"], out=target)
        if array.null_count:
            target[~array.is_valid().to_numpy(zero_copy_only=False)] = np.nan
    elif stored in ("plain", "float"):
        target[:] = array.to_numpy(zero_copy_only=False)
    else:
        raise DataError(f"a column is stored as {stored!r}, which this mdslib does not know; use the one that wrote it")


def _integers(array: pa.Array) -> Array:
    """Return the unscaled integers of decimals: the low 64 bits of each, whatever width the reader chose."""
    width = array.type.bit_width // 64
    raw = array.buffers()[1]
    if raw is None:
        return np.empty(0, "<i8")
    return np.frombuffer(raw, "<i8")[array.offset * width : (array.offset + len(array)) * width : width]
