"""What all importers share: a table is cut into the instrument's days, and each day replaces what was stored of it."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdslib import calendar
from mdslib.errors import DataError
from mdslib.events import SCHEMAS, Kind
from mdslib.instruments import Instrument
from mdslib.store.key import label_of
from mdslib.store.steps import with_step
from mdslib.store.tickstore import Source, TickStore, day_bounds
from mdslib.table import Array, Table

_PRICES = ("price", "bid", "ask", "open", "high", "low", "close")


class Imported(NamedTuple):
    """One day that was stored.

    Attributes
    ----------
    instrument : str
        ``venue:symbol``.
    kind, date : str
        The kind in the store; the day.
    rows : int
        Rows stored.
    """

    instrument: str
    kind: str
    date: str
    rows: int

    def __str__(self) -> str:
        """Return the line for the person."""
        return f"{self.instrument} {self.date}: {self.rows:,} rows of {self.kind}"


def store_days(
    table: Table,
    instrument: Instrument,
    store: TickStore,
    source: Sequence[Source] = (),
    interval: str | None = None,
) -> list[Imported]:
    """Store a table of one instrument, day by day; each day that it touches is replaced.

    Parameters
    ----------
    table : Table
        Rows of one instrument, of any number of days.
    instrument : Instrument
        Whose rows they are. Days are those of its calendar: UTC's for a market that never closes. Where its tick is
        not known, that of the prices is stored; see `mdslib.store.steps`.
    store : TickStore
        Where they go.
    source : sequence of Source
        Where they came from.
    interval : str, optional
        Length of bars, such as ``1s``.

    Raises
    ------
    DataError
        There are no rows, or a day was recorded by mdslib itself, which an import must not replace.

    Examples
    --------
    >>> import tempfile
    >>> from mdslib.store.parquet import ParquetStore
    >>> from mdslib.table import trades
    >>> table = trades([1_381_239_000_000_000_000], [165.66], [100])
    >>> [str(day) for day in store_days(table, Instrument("SPY"), ParquetStore(tempfile.mkdtemp()))]
    ['alpaca:SPY 2013-10-08: 1 rows of trade']
    """
    if not len(table):
        raise DataError(f"import: {instrument.id} has no rows of {label_of(table.kind)}; look at the file")
    instrument = with_step(instrument, [table[name] for name in _PRICES if name in table.columns])
    days = days_of(table["ts_event"], table.kind, instrument)
    for date, _, _ in days:
        if store.has(instrument, table.kind, date, interval) and "tapes" in store.describe(
            instrument, table.kind, date, interval
        ):
            raise DataError(
                f"import: store {store.where} holds {label_of(table.kind)} of {instrument.id} on {date} that mdslib"
                " recorded; import into another --store"
            )
    done = []
    for date, first, last in days:
        rows = table.slice(first, last)
        rows = rows.replace(instrument=np.zeros(len(rows), "<u2"))
        store.write(rows, instrument, date, interval=interval, source=source)
        done.append(Imported(instrument.id, label_of(table.kind, interval), date.isoformat(), len(rows)))
    return done


def days_of(times: Array, kind: Kind, instrument: Instrument) -> list[tuple[datetime.date, int, int]]:
    """Return the instrument's days that times touch, which are in order: each with its first row and the one after."""
    zone = calendar.zone(instrument.session)
    # An offset is less than a day, so UTC's days, and the days around them, hold every local one.
    shift = 1 if kind == Kind.BAR else 0
    steps = (0,) if zone.key == "UTC" else (-1, 0, 1)
    utc = np.unique((times - shift) // (86_400 * 10**9)).tolist()
    near = {datetime.date(1970, 1, 1) + datetime.timedelta(days=int(day) + step) for day in utc for step in steps}
    found = []
    for date in sorted(near):
        first, last = np.searchsorted(times, day_bounds(kind, instrument, date)).tolist()
        if last > first:
            found.append((date, first, last))
    return found


def read_bytes(path: Path) -> tuple[bytes, Source]:
    """Return a file's content, unpacked where it ends in ``.gz``, and its name and SHA-256 as it lies."""
    try:
        packed = path.read_bytes()
        data = gzip.decompress(packed) if path.suffix == ".gz" else packed
    except FileNotFoundError:
        raise DataError(f"import: there is no file {path}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"import: {path} can't be read: {error}; get the file anew") from None
    return data, Source(path.name, hashlib.sha256(packed).hexdigest())


def parse_csv(data: bytes, where: str, types: dict[str, Any], names: list[str] | None = None) -> dict[str, Array]:
    """Return the columns of a CSV as arrays.

    Parameters
    ----------
    data : bytes
        The CSV.
    where : str
        The file's name, for messages.
    types : dict of str to Arrow type
        The columns that are wanted; others are left out.
    names : list of str, optional
        Names of all columns, where the file has no header.

    Raises
    ------
    DataError
        It is no CSV, a column is missing, or a value is none of its type; names the row.
    """
    import pyarrow as pa
    import pyarrow.csv

    try:
        arrow = pa.csv.read_csv(
            pa.BufferReader(data),
            read_options=pa.csv.ReadOptions(column_names=names, use_threads=False),  # so that errors name the row
            convert_options=pa.csv.ConvertOptions(
                column_types=types, include_columns=list(types), strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise DataError(f"{where}: must be a CSV with the columns {', '.join(types)}, received: {error}") from None
    columns = {}
    for name in types:
        column = arrow[name].combine_chunks()
        if column.null_count and not pa.types.is_floating(column.type):
            row = column.is_null().index(True).as_py()
            raise DataError(
                f"{where}: column {name} must have a value in every row, received none in data row {row + 1}"
            )
        columns[name] = column.to_numpy(zero_copy_only=False)
    return columns


def lots(amount: Array, instrument: Instrument, where: str) -> Array:
    """Return amounts in units as whole counts of the instrument's lot.

    Raises
    ------
    DataError
        An amount is negative, or finer than the lot.
    """
    exact = amount / instrument.lot
    whole = np.rint(exact)
    good = (amount >= 0) & (np.abs(exact - whole) <= 1e-6 + 4e-16 * np.abs(exact)) & (whole < 2.0**63)
    if not bool(good.all()):
        row = int(np.argmin(good))
        raise DataError(
            f"{where}, data row {row + 1}: a size must be a whole count of the lot {instrument.lot:g} of"
            f" {instrument.id}, received {amount[row]!r}; give the instrument a finer lot"
        )
    counted: Array = whole.astype("<i8")
    return counted


def in_order(kind: Kind, columns: dict[str, Any]) -> Table:
    """Return a table of columns in any order of time; equal times keep their order, and a book its own."""
    from mdslib.table import from_columns

    times = np.ascontiguousarray(columns["ts_event"])
    if kind == Kind.BOOK_DELTA:
        return from_columns(kind, columns | {"ts_event": np.maximum.accumulate(times)})
    order = np.argsort(times, kind="stable")
    return from_columns(
        kind, {name: np.asarray(values)[order] for name, values in columns.items() if name in SCHEMAS[kind]}
    )


__all__ = ["Imported", "days_of", "in_order", "lots", "parse_csv", "read_bytes", "store_days"]
