"""The embedded store: Parquet files by kind, venue, symbol and day, on a local folder.

``kind=trade/venue=alpaca/symbol=SPY/date=2013-10-08/part.parquet``, which pandas, Polars, DuckDB, Dask and Spark read
as it lies. Bars carry their length in the kind (``bar_1m``, ``bar_1d``), sampled quotes too (``quote_1s``); bars of an
hour and more lie in one file a year. Every file says where it came from and in which format it is, in its metadata.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq

from mdslib import calendar
from mdslib.errors import DataError, did_you_mean
from mdslib.events import SCHEMAS, Kind
from mdslib.instruments import Instrument
from mdslib.store.encoding import Encoded, decode, encode
from mdslib.store.fileformat import META, check_rows, described, stamp_of
from mdslib.table import Table, merge

YEARLY = frozenset({"1h", "1d"})
_PART = "part.parquet"


class Source(NamedTuple):
    """The file that rows were imported from."""

    name: str
    sha256: str


def label_of(kind: Kind, interval: str | None = None) -> str:
    """Return the name of a kind in the store: ``trade``, ``quote``, ``bar_1m`` (bars of a minute are the default)."""
    interval = interval or ("1m" if kind == Kind.BAR else "")
    return kind.name.lower() + (f"_{interval}" if interval else "")


class ParquetStore:
    """A folder of Parquet files; implements `mdslib.protocols.Store`.

    Parameters
    ----------
    root : Path or str
        The folder; it is made at the first write.

    Examples
    --------
    >>> import datetime, tempfile
    >>> from mdslib.events import Kind
    >>> from mdslib.table import trades
    >>> store, spy, day = ParquetStore(tempfile.mkdtemp()), Instrument("SPY"), datetime.date(2013, 10, 8)
    >>> store.write(trades([1_381_239_000_000_000_000], [165.66], [100]), spy, day)
    >>> store.read(spy, Kind.TRADE, day)["price"].tolist()
    [165.66]
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser()

    def write(
        self,
        table: Table,
        instrument: Instrument,
        date: datetime.date,
        *,
        interval: str | None = None,
        source: Sequence[Source] = (),
    ) -> None:
        """Replace one instrument's rows of one kind on one day, atomically.

        Parameters
        ----------
        table : Table
            Its column ``instrument`` is not kept: a file holds one instrument.
        instrument : Instrument
            Whose rows they are; kept in the file's metadata.
        date : date
            The trading day.
        interval : str, optional
            Length of bars or of a quote's sampling, such as ``1s``; bars have ``1m`` unless told.
        source : sequence of Source
            Where the rows came from.

        Raises
        ------
        DataError
            The disk is full or not writable; what was there stands.
        """
        label = label_of(table.kind, interval)
        period = _period(label, date)
        path = self._path(instrument, label, period)
        if "year" in period and path.exists():
            whole = self._read(path, None)
            start, end = day_bounds(table.kind, instrument, date)
            table = merge([whole.between(0, start), table, whole.between(end, 2**63 - 1)])
        self._write(table, instrument, label, period, source)

    def write_year(
        self, table: Table, instrument: Instrument, year: int, interval: str, source: Sequence[Source] = ()
    ) -> None:
        """Replace one year of bars of an hour or a day, atomically."""
        label = label_of(table.kind, interval)
        if interval not in YEARLY:
            raise DataError(f"write_year: interval must be one of {', '.join(sorted(YEARLY))}, received {interval!r}")
        self._write(table, instrument, label, f"year={year}", source)

    def read(
        self,
        instrument: Instrument,
        kind: Kind,
        date: datetime.date,
        columns: Sequence[str] | None = None,
        *,
        interval: str | None = None,
    ) -> Table:
        """Return one day, all hours; raises `DataError` where there is none, saying what there is.

        Parameters
        ----------
        columns : sequence of str, optional
            Load only these (times and instrument always come along).
        """
        label = label_of(kind, interval)
        period = _period(label, date)
        path = self._path(instrument, label, period)
        if not path.exists():
            raise self._absent(instrument, label, date)
        table = self._read(path, columns)
        if "year" in period:
            table = table.between(*day_bounds(kind, instrument, date))
            if not len(table):
                raise self._absent(instrument, label, date)
        return table

    def read_year(
        self, instrument: Instrument, date: datetime.date, interval: str, columns: Sequence[str] | None = None
    ) -> Table:
        """Return the bars of an hour or a day of the year that `date` lies in."""
        label = label_of(Kind.BAR, interval)
        path = self._path(instrument, label, _period(label, date))
        if not path.exists():
            raise self._absent(instrument, label, date)
        return self._read(path, columns)

    def has(self, instrument: Instrument, kind: Kind, date: datetime.date, interval: str | None = None) -> bool:
        """Tell whether there is a file for that day (or its year)."""
        label = label_of(kind, interval)
        return self._path(instrument, label, _period(label, date)).exists()

    def instrument(self, wanted: Instrument, kind: Kind, interval: str | None = None) -> Instrument:
        """Return the instrument as it was stored, with its tick, lot and calendar; `wanted` where there is none."""
        for path in sorted(self._folder(wanted, label_of(kind, interval)).glob(f"*/{_PART}"))[:1]:
            return Instrument(**self._metadata(path)["instrument"])
        return wanted

    def describe(
        self, instrument: Instrument, kind: Kind, date: datetime.date, interval: str | None = None
    ) -> dict[str, Any]:
        """Return a file's metadata: source, version, units, rows, times, and how each column is stored."""
        label = label_of(kind, interval)
        path = self._path(instrument, label, _period(label, date))
        if not path.exists():
            raise self._absent(instrument, label, date)
        return self._metadata(path)

    def dates(self, instrument: Instrument, kind: Kind, interval: str | None = None) -> tuple[str, ...]:
        """Return the days (or years) that are stored, in order."""
        folder = self._folder(instrument, label_of(kind, interval))
        return tuple(sorted(path.parent.name.partition("=")[2] for path in folder.glob(f"*/{_PART}")))

    def symbols(self) -> tuple[str, ...]:
        """Return every symbol that is stored."""
        return tuple(
            sorted({unquote(path.name.partition("=")[2]) for path in self.root.glob("kind=*/venue=*/symbol=*")})
        )

    def _folder(self, instrument: Instrument, label: str) -> Path:
        venue, symbol = (quote(name, safe="") for name in (instrument.venue, instrument.symbol))
        return self.root / f"kind={label}" / f"venue={venue}" / f"symbol={symbol}"

    def _path(self, instrument: Instrument, label: str, period: str) -> Path:
        return self._folder(instrument, label) / period / _PART

    def _write(self, table: Table, instrument: Instrument, label: str, period: str, source: Sequence[Source]) -> None:
        path = self._path(instrument, label, period)
        encoded = encode(table, instrument.tick)
        body = {
            **stamp_of(table),
            "mdslib": _version(),
            "instrument": dataclasses.asdict(instrument),
            "columns": encoded.layout,
            "source": [item._asdict() for item in source],
        }
        # The process and thread in the name: two imports at once must not write one file.
        partial = path.with_name(f".{os.getpid()}-{threading.get_ident()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_file(partial, encoded, json.dumps(body))
            partial.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            reason = error.strerror or str(error)
            raise DataError(
                f"store {self.root}: {label} of {instrument.symbol} ({period}) can't be written: {reason}; "
                "what was stored before stands; free space or choose another --store"
            ) from None

    def _read(self, path: Path, columns: Sequence[str] | None) -> Table:
        try:
            file = pq.ParquetFile(path)
            body = described(file.schema_arrow.metadata, path)
            kind, layout = Kind[body["kind"]], body["columns"]
            wanted = _wanted(kind, columns)
            stored = [name for name in file.schema_arrow.names if name in wanted | {"ts_event", "ts_init"}]
            arrow = file.read(columns=stored)
            table = decode(kind, arrow.num_rows, arrow, layout, wanted)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise _damaged(path, error) from None
        check_rows(table, body, path)
        return table

    def _metadata(self, path: Path) -> dict[str, Any]:
        try:
            return described(pq.read_schema(path).metadata, path)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, error) from None

    def _absent(self, instrument: Instrument, label: str, date: datetime.date) -> DataError:
        """Say what there is instead."""
        where = f"store {self.root} has no {label} of {instrument.symbol} on {date}"
        symbols = self.symbols()
        if instrument.symbol not in symbols:
            hint = (
                did_you_mean(instrument.symbol, symbols) if symbols else "It is empty: import data with `mds import`."
            )
            return DataError(f"{where}: the symbol is not there. {hint}")
        if not calendar.is_session(date, instrument.session):
            reason = calendar.why_closed(date, instrument.session)
            where += f": {instrument.session} is closed that day ({reason})"
        return DataError(f"{where}. {self._nearest(instrument, label, date)}")

    def _nearest(self, instrument: Instrument, label: str, date: datetime.date) -> str:
        kind, _, interval = label.partition("_")
        days = self.dates(instrument, Kind[kind.upper()], interval or None)
        if not days:
            folders = self.root.glob(f"kind=*/venue=*/symbol={quote(instrument.symbol, safe='')}")
            kinds = sorted(folder.parents[1].name.partition("=")[2] for folder in folders)
            return f"There are only: {', '.join(kinds)}."
        ahead = [day for day in days if day >= date.isoformat()][:2]
        behind = [day for day in days if day < date.isoformat()][-2:]
        return f"Nearest: {', '.join(behind + ahead)} ({len(days)} stored in all)."

    def list(self) -> list[dict[str, object]]:
        """Return one row a part: venue, symbol, kind, date or year, rows, bytes, first and last time (ns UTC)."""
        rows = []
        for path in sorted(self.root.glob(f"kind=*/venue=*/symbol=*/*/{_PART}")):
            named = {key: unquote(value) for key, _, value in (part.partition("=") for part in path.parts[-5:-1])}
            found = self._metadata(path)
            rows.append(
                {
                    "venue": named["venue"],
                    "symbol": named["symbol"],
                    "kind": named["kind"],
                    "date": named.get("date") or named["year"],
                    "rows": found["rows"],
                    "bytes": path.stat().st_size,
                    "first": found["first"],
                    "last": found["last"],
                }
            )
        return rows


def _write_file(path: Path, encoded: Encoded, body: str) -> None:
    options = {
        "compression": "zstd",
        "use_dictionary": encoded.dictionary,
        "column_encoding": encoded.encodings,
        "store_decimal_as_integer": True,
        "store_schema": False,  # Parquet's own types say it all, to every reader
        "write_statistics": ["ts_event"],
    }
    with pq.ParquetWriter(path, encoded.arrow.schema, **options) as writer:
        writer.write_table(encoded.arrow, row_group_size=1 << 20)
        writer.add_key_value_metadata({META: body.encode()})


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"stored file {path} can't be read: {error}; import that day again, which replaces it")


def _wanted(kind: Kind, columns: Sequence[str] | None) -> set[str]:
    if columns is None:
        return set(SCHEMAS[kind])
    for name in columns:
        if name not in SCHEMAS[kind]:
            raise DataError(f"{kind.name.lower()}s have no column {name!r}. {did_you_mean(name, SCHEMAS[kind])}")
    return set(columns)


def _period(label: str, date: datetime.date) -> str:
    return f"year={date.year}" if label.rpartition("_")[2] in YEARLY else f"date={date.isoformat()}"


def day_bounds(kind: Kind, instrument: Instrument, date: datetime.date) -> tuple[int, int]:
    """Return a local day, start included, end excluded; a bar that closes at midnight belongs to the day before."""
    zone = calendar.zone(instrument.session)
    days = (date, date + datetime.timedelta(days=1))
    start, end = (int(datetime.datetime.combine(day, datetime.time(), zone).timestamp()) * 10**9 for day in days)
    shift = 1 if kind == Kind.BAR else 0
    return start + shift, end + shift


@functools.cache
def _version() -> str:
    try:
        return importlib.metadata.version("mdslib")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


__all__ = ["YEARLY", "ParquetStore", "Source", "day_bounds", "label_of"]
