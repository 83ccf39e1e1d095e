"""Rows of one kind as columns, and how they are made of arrays.

Names, dtypes and units come from `mdslib.events.SCHEMAS`. Every column is one-dimensional, C-contiguous, aligned and
writeable, so that compiled loops see a single signature whatever the columns were made from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mdslib.errors import DataError, did_you_mean
from mdslib.events import RECORD, SCHEMAS, Kind

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Array = np.ndarray[tuple[int], np.dtype[Any]]

# What a column holds where a source has none: nothing known, never a number that could be mistaken for data.
DEFAULTS = dict.fromkeys(
    ("instrument", "trade_id", "exchange", "conditions", "trades", "sequence", "checksum", "held"), 0.0
) | dict.fromkeys(("vwap", "orders"), float("nan"))
_HEAD = ("ts_event", "ts_init", "instrument")


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Rows of one kind as columns, in order of time.

    Parameters
    ----------
    kind : Kind
        What the rows are.
    columns : mapping of str to array, shape (n,)
        Columns of `SCHEMAS[kind]` with exactly their dtypes. A column may be left out (a partial load does that), but
        not ``ts_event``, ``ts_init`` and ``instrument``. Arrays that are not contiguous, aligned and writeable are
        copied; all others are kept without a copy.

    Raises
    ------
    DataError
        A name or dtype is not the schema's, lengths differ, or ``ts_event`` runs backwards (the row is named).

    Examples
    --------
    >>> import numpy as np
    >>> table = trades([1_000, 2_000], [10.0, 10.5], [100, 17])
    >>> len(table), table["size"].tolist(), table.slice(1, 2)["price"].tolist()
    (2, [100, 17], [10.5])
    """

    kind: Kind
    columns: Mapping[str, Array]

    def __post_init__(self) -> None:
        schema = SCHEMAS.get(self.kind)
        if schema is None:
            known = ", ".join(kind.name for kind in SCHEMAS)
            raise DataError(f"Table.kind must have columns, received {self.kind!r}; kinds with columns: {known}")
        for name in self.columns:
            if name not in schema:
                hint = did_you_mean(name, schema)
                raise DataError(f"Table of {self.kind.name}: column {name!r} is not in its schema. {hint}")
        missing = [name for name in _HEAD if name in schema and name not in self.columns]
        if missing:
            raise DataError(
                f"Table of {self.kind.name}: column {missing[0]!r} is missing; every table has {', '.join(_HEAD)}"
            )
        length = len(self.columns["ts_event"])
        ready = {name: _checked(self.kind, name, self.columns[name], length) for name in schema if name in self.columns}
        _check_order(self.kind, ready["ts_event"])
        object.__setattr__(self, "columns", ready)

    def __len__(self) -> int:
        return len(self.columns["ts_event"])

    def __getitem__(self, name: str) -> Array:
        try:
            return self.columns[name]
        except KeyError:
            if name in SCHEMAS[self.kind]:
                remedy = "add it to `columns`, or leave `columns` out to load all"
                raise DataError(f"column {name!r} was not loaded; {remedy}") from None
            hint = did_you_mean(name, SCHEMAS[self.kind])
            raise DataError(f"a table of {self.kind.name} has no column {name!r}. {hint}") from None

    def __repr__(self) -> str:
        if not len(self):
            return f"Table({self.kind.name}, 0 rows)"
        first, last = (str(self["ts_event"][row].view("M8[ns]")) for row in (0, -1))
        return f"Table({self.kind.name}, {len(self):,} rows, {first} to {last} UTC)"

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>{self.slice(0, 5).to_pandas().to_html()}"

    def slice(self, start: int, stop: int) -> Table:
        """Return rows `start` to `stop` (exclusive); the columns are views, nothing is copied."""
        return _unchecked(self.kind, {name: column[start:stop] for name, column in self.columns.items()})

    def between(self, start: int, end: int) -> Table:
        """Return the rows with ``start <= ts_event < end`` (ns UTC); the columns are views, nothing is copied."""
        first, last = np.searchsorted(self["ts_event"], [start, end], side="left")
        return self.slice(int(first), int(last))

    def take(self, rows: Array) -> Table:
        """Return the chosen rows (a mask, or ascending row numbers) as a copy."""
        return Table(self.kind, {name: column[rows] for name, column in self.columns.items()})

    def replace(self, **columns: Array) -> Table:
        """Return a table with some columns exchanged; the others are shared."""
        return Table(self.kind, {**self.columns, **columns})

    def equals(self, other: Table) -> bool:
        """Tell whether two tables are bit for bit the same (nan equals nan)."""
        return (
            self.kind == other.kind
            and list(self.columns) == list(other.columns)
            and all(column.tobytes() == other.columns[name].tobytes() for name, column in self.columns.items())
        )

    def to_records(self, instrument: int | None = None) -> Array:
        """Return the rows as an array of `RECORD`, shape (n,); ``seq`` and ``crc`` stay 0.

        Parameters
        ----------
        instrument : int, optional
            Index to write instead of the column's.
        """
        records = np.zeros(len(self), RECORD)
        records["kind"] = int(self.kind)
        for name, field in SCHEMAS[self.kind].items():
            records[field.slot] = self[name]
        if instrument is not None:
            records["instrument"] = instrument
        return records

    @classmethod
    def from_records(cls, records: Array, kind: Kind) -> Table:
        """Return the records of one kind as columns; others are left out. Copies."""
        rows = records[records["kind"] == int(kind)]
        return cls(kind, {name: np.ascontiguousarray(rows[field.slot]) for name, field in SCHEMAS[kind].items()})

    def to_pandas(self) -> pd.DataFrame:
        """Return a frame with a UTC index ``ts_event`` in ns.

        Made without a copy: the frame shares memory with the table, so copy the frame before you write into it.
        """
        import pandas as pd

        index = pd.DatetimeIndex(self["ts_event"].view("M8[ns]"), name="ts_event", copy=False).tz_localize("UTC")
        return pd.DataFrame({n: c for n, c in self.columns.items() if n != "ts_event"}, index=index, copy=False)

    @classmethod
    def from_pandas(cls, frame: pd.DataFrame, kind: Kind) -> Table:
        """Return a table of the frame's rows. Pandas hands its memory out read-only, so this copies once.

        Parameters
        ----------
        frame : DataFrame
            Index: time-zone aware times in order. Columns: the schema's names. ``ts_init`` defaults to ``ts_event``,
            ``vwap`` to nan, ``instrument``, ids, letters and counts to 0; prices and sizes must be there.
        kind : Kind
            What the rows are.

        Raises
        ------
        DataError
            The index has no time zone or runs backwards, a column is missing or unknown, or a size is not whole.
        """
        import pandas as pd

        index = frame.index
        if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
            kindname = getattr(index, "dtype", type(index).__name__)
            raise DataError(
                f"from_pandas: the index must be times with a time zone, received {kindname}; "
                "use df.tz_localize('America/New_York') or set_index"
            )
        times = index.tz_convert("UTC").as_unit("ns").asi8
        return from_columns(kind, {"ts_event": times} | {str(name): frame[name].to_numpy() for name in frame.columns})

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table with the same columns, made without a copy: it shares memory with this table."""
        import pyarrow as pa

        arrays = {name: pa.array(column) for name, column in self.columns.items()}
        return pa.table(arrays, metadata={"mdslib.kind": self.kind.name})

    @classmethod
    def from_arrow(cls, table: pa.Table, kind: Kind | None = None) -> Table:
        """Return a table of an Arrow table's columns.

        Arrow's memory is read-only and ours is not, so this copies once.

        Raises
        ------
        DataError
            A column holds nulls, or is not what the schema asks for.
        """
        if kind is None:
            name = (table.schema.metadata or {}).get(b"mdslib.kind", b"").decode()
            if name not in Kind.__members__:
                raise DataError("from_arrow: the table must say what its rows are; pass kind=Kind.TRADE or the like")
            kind = Kind[name]
        for column in table.column_names:
            if table[column].null_count:
                raise DataError(
                    f"from_arrow: column {column!r} must have no nulls, received {table[column].null_count}; "
                    "fill or drop those rows first"
                )
        return from_columns(kind, {name: table[name].to_numpy() for name in table.column_names})


def _unchecked(kind: Kind, columns: dict[str, Array]) -> Table:
    """Make a table of columns that are known to be right, such as slices of another table."""
    table = object.__new__(Table)
    object.__setattr__(table, "kind", kind)
    object.__setattr__(table, "columns", columns)
    return table


def _checked(kind: Kind, name: str, column: Array, length: int) -> Array:
    wanted = np.dtype(SCHEMAS[kind][name].dtype)
    if not isinstance(column, np.ndarray) or column.ndim != 1 or column.dtype != wanted:
        is_array = isinstance(column, np.ndarray)
        received = f"{column.dtype} of shape {column.shape}" if is_array else type(column).__name__
        raise DataError(
            f"Table of {kind.name}: column {name!r} must be a one-dimensional array of {wanted}, received {received}; "
            "from_columns() converts"
        )
    if len(column) != length:
        raise DataError(
            f"Table of {kind.name}: column {name!r} must have {length} rows like ts_event, received {len(column)}"
        )
    return np.require(column, requirements=["C", "A", "W"])


def _check_order(kind: Kind, times: Array) -> None:
    if len(times) > 1 and not bool((times[1:] >= times[:-1]).all()):
        row = int(np.argmax(times[1:] < times[:-1])) + 1
        raise DataError(
            f"Table of {kind.name}: ts_event must not run backwards, received {times[row]} after {times[row - 1]} "
            f"at row {row}; sort by time, stably, first"
        )


def from_columns(kind: Kind, columns: Mapping[str, Any]) -> Table:
    """Return a table of arrays or lists of any fitting dtype, with the schema's defaults for what is left out.

    Parameters
    ----------
    kind : Kind
        What the rows are.
    columns : mapping of str to array_like, shape (n,)
        ``ts_event`` (ns UTC) and the kind's prices and sizes at least. Writeable arrays of the schema's dtype are not
        copied.

    Raises
    ------
    DataError
        A needed column is missing, or a value does not survive the conversion (a fraction in an integer column).

    Examples
    --------
    >>> from mdslib.events import Kind
    >>> columns = {"ts_event": [1], "bid": [9.99], "ask": [10.0], "bid_size": [3], "ask_size": [4]}
    >>> from_columns(Kind.QUOTE, columns)["ask"].tolist()
    [10.0]
    """
    schema = SCHEMAS[kind]
    for name in columns:
        if name not in schema:
            raise DataError(f"{kind.name}: column {name!r} is not in the schema. {did_you_mean(name, schema)}")
    if "ts_event" not in columns:
        raise DataError(f"{kind.name}: column 'ts_event' (ns UTC) is missing")
    length = len(columns["ts_event"])
    ready: dict[str, Array] = {}
    for name, field in schema.items():
        if name in columns:
            ready[name] = _converted(kind, name, columns[name], np.dtype(field.dtype))
        elif name == "ts_init":
            ready[name] = ready["ts_event"]
        elif name in DEFAULTS:
            ready[name] = np.full(length, DEFAULTS[name], field.dtype)
        else:
            raise DataError(f"{kind.name}: column {name!r} ({field.unit}) is missing, received {', '.join(columns)}")
    return Table(kind, ready)


def _converted(kind: Kind, name: str, values: Any, wanted: np.dtype[Any]) -> Array:
    array = np.asarray(values)
    if array.dtype == wanted:
        return array
    if array.dtype.kind not in "iufb":
        raise DataError(f"{kind.name}: column {name!r} must be numbers, received {array.dtype}")
    with np.errstate(invalid="ignore"):
        converted = array.astype(wanted)
        lossless = wanted.kind == "f" or bool((converted == array).all())
    if not lossless:
        row = int(np.argmax(converted != array))
        raise DataError(
            f"{kind.name}: column {name!r} must fit {wanted}, received {array[row]!r} at row {row}; "
            "choose the instrument's lot so that sizes are whole"
        )
    return converted


def trades(ts_event: Any, price: Any, size: Any, **columns: Any) -> Table:
    """Return a table of trades; other columns take their defaults. Times are ns UTC."""
    return from_columns(Kind.TRADE, {"ts_event": ts_event, "price": price, "size": size, **columns})


def empty(kind: Kind) -> Table:
    """Return a table of no rows."""
    return Table(kind, {name: np.empty(0, field.dtype) for name, field in SCHEMAS[kind].items()})


def merge(tables: Sequence[Table]) -> Table:
    """Merge tables of one kind by time; at equal times the earlier table's rows come first.

    Examples
    --------
    >>> merge([trades([1, 3], [1.0, 3.0], [1, 1]), trades([1, 2], [9.0, 2.0], [1, 1])])["price"].tolist()
    [1.0, 9.0, 2.0, 3.0]
    """
    if not tables:
        raise DataError("merge: at least one table is needed, received none")
    if len(tables) == 1:
        return tables[0]
    kinds = {table.kind for table in tables}
    if len(kinds) > 1:
        raise DataError(f"merge: tables must be of one kind, received {', '.join(sorted(kind.name for kind in kinds))}")
    joined = {name: np.concatenate([table[name] for table in tables]) for name in tables[0].columns}
    times = joined["ts_event"]
    if not bool((times[1:] >= times[:-1]).all()):
        order = np.argsort(times, kind="stable")
        joined = {name: column[order] for name, column in joined.items()}
    return Table(tables[0].kind, joined)
