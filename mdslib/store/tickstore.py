"""A store of recorded data by instrument, kind and day, whatever keeps its parts."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mdslib import calendar
from mdslib.errors import DataError, did_you_mean
from mdslib.events import SCHEMAS, Kind
from mdslib.instruments import Instrument
from mdslib.store.fileformat import check_rows, digest_of, stamp_of
from mdslib.store.key import YEARLY, Key, key_of, label_of, parse_label, period_of
from mdslib.store.parts import Body, Part, Parts
from mdslib.table import Table, merge


class Source(NamedTuple):
    """The file that rows were imported from."""

    name: str
    sha256: str


class TickStore:
    """Recorded data; implements `mdslib.protocols.Store` over any `Parts`.

    Parameters
    ----------
    parts : Parts
        What keeps the rows.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    @property
    def where(self) -> str:
        """The store's name, for messages."""
        return self.parts.where

    def write(
        self,
        table: Table,
        instrument: Instrument,
        date: datetime.date,
        *,
        interval: str | None = None,
        source: Sequence[Source] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Replace one instrument's rows of one kind on one day, atomically.

        Parameters
        ----------
        table : Table
            Its column ``instrument`` is not kept: a part holds one instrument.
        instrument : Instrument
            Whose rows they are; kept in the part's description.
        date : date
            The trading day.
        interval : str, optional
            Length of bars or of a quote's sampling, such as ``1s``; bars have ``1m`` unless told.
        source : sequence of Source
            Where the rows came from.
        extra : mapping, optional
            More for the part's description, ready for JSON.

        Raises
        ------
        DataError
            The disk is full or not writable; what was there stands.
        """
        label = label_of(table.kind, interval)
        key = key_of(label, instrument, period_of(label, date))
        if "year" in key.period and self.parts.has(key):
            whole = self._part(key, None).table
            start, end = day_bounds(table.kind, instrument, date)
            table = merge([whole.between(0, start), table, whole.between(end, 2**63 - 1)])
        self._write(key, table, instrument, source, extra or {})

    def write_year(
        self, table: Table, instrument: Instrument, year: int, interval: str, source: Sequence[Source] = ()
    ) -> None:
        """Replace one year of bars of an hour or a day, atomically."""
        label = label_of(table.kind, interval)
        if interval not in YEARLY:
            raise DataError(f"write_year: interval must be one of {', '.join(sorted(YEARLY))}, received {interval!r}")
        self._write(key_of(label, instrument, f"year={year}"), table, instrument, source, {})

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
        return self.day(instrument, kind, date, columns, interval=interval).table

    def day(
        self,
        instrument: Instrument,
        kind: Kind,
        date: datetime.date,
        columns: Sequence[str] | None = None,
        *,
        interval: str | None = None,
    ) -> Part:
        """Return one day as `read` does, and what its part says of itself."""
        key = self._key(instrument, kind, date, interval)
        table, body = self._part(key, columns)
        if "year" in key.period:
            table = table.between(*day_bounds(kind, instrument, date))
            if not len(table):
                raise self._absent(instrument, key.label, date)
        return Part(table, body)

    def read_year(
        self, instrument: Instrument, date: datetime.date, interval: str, columns: Sequence[str] | None = None
    ) -> Table:
        """Return the bars of an hour or a day of the year that `date` lies in."""
        return self._part(self._key(instrument, Kind.BAR, date, interval), columns).table

    def has(self, instrument: Instrument, kind: Kind, date: datetime.date, interval: str | None = None) -> bool:
        """Tell whether there is a part for that day (or its year)."""
        label = label_of(kind, interval)
        return self.parts.has(key_of(label, instrument, period_of(label, date)))

    def instrument(self, wanted: Instrument, kind: Kind, interval: str | None = None) -> Instrument:
        """Return the instrument as it was stored, with its tick, lot and calendar; `wanted` where there is none."""
        key = next(self.parts.keys(label_of(kind, interval), wanted.venue, wanted.symbol), None)
        return wanted if key is None else Instrument(**self.parts.describe(key)["instrument"])

    def describe(self, instrument: Instrument, kind: Kind, date: datetime.date, interval: str | None = None) -> Body:
        """Return a part's description: source, version, units, rows, times, and how each column is stored."""
        return self.parts.describe(self._key(instrument, kind, date, interval))

    def dates(self, instrument: Instrument, kind: Kind, interval: str | None = None) -> tuple[str, ...]:
        """Return the days (or years) that are stored, in order."""
        keys = self.parts.keys(label_of(kind, interval), instrument.venue, instrument.symbol)
        return tuple(sorted(key.period.partition("=")[2] for key in keys))

    def symbols(self) -> tuple[str, ...]:
        """Return every symbol that is stored."""
        return tuple(sorted({key.symbol for key in self.parts.keys()}))  # noqa: SIM118 (not a mapping)

    def list(self) -> list[dict[str, object]]:
        """Return one row a part: venue, symbol, kind, date or year, rows, bytes, first and last time (ns UTC)."""
        rows: list[dict[str, object]] = []
        for key in self.parts.keys():  # noqa: SIM118
            found = self.parts.describe(key)
            rows.append(
                {
                    "venue": key.venue,
                    "symbol": key.symbol,
                    "kind": key.label,
                    "date": key.period.partition("=")[2],
                    "rows": found["rows"],
                    "bytes": self.parts.size(key),
                    "first": found["first"],
                    "last": found["last"],
                }
            )
        return rows

    def part(self, key: Key) -> Part:
        """Return a part as it lies, its rows held against what it says of itself."""
        return self._part(key, None)

    def _key(self, instrument: Instrument, kind: Kind, date: datetime.date, interval: str | None) -> Key:
        label = label_of(kind, interval)
        key = key_of(label, instrument, period_of(label, date))
        if not self.parts.has(key):
            raise self._absent(instrument, label, date)
        return key

    def _write(
        self, key: Key, table: Table, instrument: Instrument, source: Sequence[Source], extra: Mapping[str, Any]
    ) -> None:
        body: Body = {
            **stamp_of(table),
            "mdslib": _version(),
            "instrument": dataclasses.asdict(instrument),
            "source": [item._asdict() for item in source],
            **extra,
        }
        self.parts.write(key, table, body | {"digest": digest_of(table, body)})

    def _part(self, key: Key, columns: Sequence[str] | None) -> Part:
        part = self.parts.read(key, _wanted(parse_label(key.label)[0], columns))
        check_rows(part.table, part.body, f"{key.folder} of {self.where}")
        return part

    def _absent(self, instrument: Instrument, label: str, date: datetime.date) -> DataError:
        """Say what there is instead."""
        where = f"store {self.where} has no {label} of {instrument.symbol} on {date}"
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
        days = self.dates(instrument, *parse_label(label))
        if not days:
            found = sorted({(key.label, key.venue) for key in self.parts.keys(symbol=instrument.symbol)})
            here = [kind for kind, venue in found if venue == instrument.venue]
            return f"There are only: {', '.join(here or [f'{kind} of {venue}' for kind, venue in found])}."
        ahead = [day for day in days if day >= date.isoformat()][:2]
        behind = [day for day in days if day < date.isoformat()][-2:]
        return f"Nearest: {', '.join(behind + ahead)} ({len(days)} stored in all)."


def _wanted(kind: Kind, columns: Sequence[str] | None) -> set[str]:
    if columns is None:
        return set(SCHEMAS[kind])
    for name in columns:
        if name not in SCHEMAS[kind]:
            raise DataError(f"{kind.name.lower()}s have no column {name!r}. {did_you_mean(name, SCHEMAS[kind])}")
    return set(columns)


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


__all__ = ["Source", "TickStore", "day_bounds"]
