"""Import QuantConnect Lean's zip files into the store.

A file that is damaged is reported and leaves what was stored before as it was; the others go on. A file that was
imported already is replaced, atomically.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdslib import calendar
from mdslib.bars import MINUTE, SECOND
from mdslib.errors import DataError
from mdslib.events import Kind
from mdslib.instruments import Instrument, parse_instrument
from mdslib.store.key import label_of
from mdslib.store.leancsv import (
    Decoded,
    decode_bars,
    decode_days,
    decode_hours,
    decode_quote_bars,
    decode_quotes,
    decode_trades,
)
from mdslib.store.load import regular_hours
from mdslib.store.tickstore import Source, TickStore

_DAY_FILE = re.compile(
    r"(?P<date>\d{8})_(?:(?P<symbol>[a-z0-9.]+)_)?(?P<every>tick|second|minute)_(?P<what>trade|quote)\.zip",
    re.IGNORECASE,
)
_LONG_FILE = re.compile(r"(?P<symbol>[a-z0-9.]+)_(?P<every>daily|hour)\.zip", re.IGNORECASE)
_ENTRY = re.compile(r"(?:\d{8}_)?(?P<symbol>[a-z0-9.]+?)(?:_\w+)?\.csv", re.IGNORECASE)
_LENGTHS = {"second": ("1s", SECOND), "minute": ("1m", MINUTE)}
_FORMS = "YYYYMMDD_tick_trade.zip, YYYYMMDD_spy_minute_trade.zip, spy_daily.zip or spy_hour.zip"


class Named(NamedTuple):
    """What a file's name says: its day (None for years), symbol (None if unsaid), spacing and content."""

    date: datetime.date | None
    symbol: str | None
    every: str
    what: str


class Report(NamedTuple):
    """What became of one file.

    Attributes
    ----------
    file, kind, date : str
        Its name; the kind in the store, such as ``trade`` or ``bar_1m``; its day, or first and last year.
    rows, regular : int
        Rows stored, and how many of them lie in regular hours.
    suspicious : int
        Rows that the recorder flagged; they are stored like the others.
    first, last : int
        First and last time, ns UTC.
    error : str
        Why nothing was stored; empty if all is well.
    skipped : str
        Why the file was left out on purpose; empty if it was not.
    """

    file: str
    kind: str = ""
    date: str = ""
    rows: int = 0
    regular: int = 0
    suspicious: int = 0
    first: int = 0
    last: int = 0
    error: str = ""
    skipped: str = ""

    def __str__(self) -> str:
        """Return the line for the person."""
        if self.error:
            return f"{self.file}: FAILED: {self.error}"
        if self.skipped:
            return f"{self.file}: skipped: {self.skipped}"
        flagged = f", {self.suspicious} flagged suspicious (kept)" if self.suspicious else ""
        counts = f"{self.rows:,} rows of {self.kind}, {self.regular:,} in regular hours"
        return f"{self.file}: {self.date}: {counts}{flagged}"


def import_lean(
    path: Path | str, symbol: str, store: TickStore, progress: Callable[[Report], None] | None = None
) -> list[Report]:
    """Import one of Lean's zip files, or all that lie in a folder.

    Parameters
    ----------
    path : Path or str
        A zip file or a folder. Files whose name has another symbol are skipped, and reported so.
    symbol : str
        What the rows are of; tick files do not say it in their name.
    store : TickStore
        Where they go.
    progress : callable, optional
        Called with each file's report as soon as it is done.

    Returns
    -------
    list of Report
        One a file, in order of name. Look at ``error``: one failure does not stop the others.

    Raises
    ------
    DataError
        The path does not exist, or holds no zip file.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"import lean: {path} does not exist; give a zip file or a folder of them")
    files = [path] if path.is_file() else sorted(path.glob("*.zip"))
    if not files:
        raise DataError(f"import lean: {path} holds no zip file; Lean's are called {_FORMS}")
    instrument = parse_instrument(symbol)
    reports: list[Report] = []
    for file in files:
        report = _import_file(file, instrument, store, alone=path.is_file())
        reports.append(report)
        if progress is not None:
            progress(report)
    return reports


def _import_file(file: Path, instrument: Instrument, store: TickStore, *, alone: bool) -> Report:
    try:
        named = parse_name(file.name)
        if named.symbol is not None and named.symbol.upper() != instrument.symbol.upper():
            text = f"it is of {named.symbol.upper()}, and {instrument.symbol} was asked for"
            return Report(file.name, error=text) if alone else Report(file.name, skipped=text)
        return _stored(file, named, instrument, store)
    except DataError as error:
        return Report(file.name, error=str(error).removeprefix(f"{file.name}: "))


def parse_name(name: str) -> Named:
    """Return what a file's name says.

    Examples
    --------
    >>> parse_name("20131008_tick_trade.zip")
    Named(date=datetime.date(2013, 10, 8), symbol=None, every='tick', what='trade')
    """
    if (match := _LONG_FILE.fullmatch(name)) is not None:
        return Named(None, match["symbol"], match["every"].lower(), "trade")
    if (match := _DAY_FILE.fullmatch(name)) is None:
        raise DataError(f"{name}: the name must be like {_FORMS}; rename the file as Lean does")
    try:
        date = datetime.datetime.strptime(match["date"], "%Y%m%d").replace(tzinfo=datetime.UTC).date()
    except ValueError:
        raise DataError(f"{name}: the name must begin with a date YYYYMMDD, received {match['date']}") from None
    return Named(date, match["symbol"], match["every"].lower(), match["what"].lower())


def _stored(file: Path, named: Named, instrument: Instrument, store: TickStore) -> Report:
    try:
        packed = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file.name}: can't be read: {error.strerror}") from None
    text = _unpacked(packed, file.name, instrument)
    source = [Source(file.name, hashlib.sha256(packed).hexdigest())]
    if named.date is None:
        return _store_years(file, named, text, instrument, store, source)
    decoded, interval = _decode_day(text, named, named.date, file.name)
    table = decoded.table
    store.write(table, instrument, named.date, interval=interval, source=source)
    return _report(file, label_of(table.kind, interval), named.date.isoformat(), decoded, instrument)


def _decode_day(text: bytes, named: Named, date: datetime.date, where: str) -> tuple[Decoded, str | None]:
    if named.every == "tick":
        decode = decode_trades if named.what == "trade" else decode_quotes
        return decode(text, date, where), None
    interval, length = _LENGTHS[named.every]
    decode_bar = decode_bars if named.what == "trade" else decode_quote_bars
    return decode_bar(text, date, where, length), interval


def _store_years(
    file: Path, named: Named, text: bytes, instrument: Instrument, store: TickStore, source: list[Source]
) -> Report:
    if named.every == "daily":
        decoded, interval = decode_days(text, file.name, instrument.session), "1d"
    else:
        decoded, interval = decode_hours(text, file.name), "1h"
    table = decoded.table
    # New York is never a year ahead of UTC at a session's close, so UTC's year is the trading day's.
    years = table["ts_event"].view("M8[ns]").astype("M8[Y]").astype("i8") + 1970
    found = np.unique(years)
    for year in found.tolist():
        first, last = np.searchsorted(years, [year, year + 1])
        store.write_year(table.slice(int(first), int(last)), instrument, year, interval, source)
    span = f"{found[0]} to {found[-1]}"
    return _report(file, label_of(Kind.BAR, interval), span, decoded, instrument)


def _report(file: Path, label: str, date: str, decoded: Decoded, instrument: Instrument) -> Report:
    table = decoded.table
    first, last = (int(table["ts_event"][row]) for row in (0, -1))
    zone = calendar.zone(instrument.session)
    start, end = (datetime.datetime.fromtimestamp(ts // SECOND, zone).date() for ts in (first, last))
    regular = sum(len(regular_hours(table, day)) for day in calendar.sessions(start, end, instrument.session))
    return Report(file.name, label, date, len(table), regular, decoded.suspicious, first, last)


def _unpacked(packed: bytes, name: str, instrument: Instrument) -> bytes:
    """Return the one CSV of a zip file, its checksum verified."""
    remedy = "download the file again"
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            entries = archive.namelist()
            if len(entries) != 1:
                raise DataError(f"{name}: the zip must hold one CSV, received {len(entries)} entries; {remedy}")
            match = _ENTRY.fullmatch(entries[0])
            if match is not None and match["symbol"].upper() != instrument.symbol.upper():
                raise DataError(
                    f"{name}: holds {entries[0]}, of {match['symbol'].upper()}, and {instrument.symbol} was asked for; "
                    f"pass --symbol {match['symbol'].upper()}"
                )
            text = archive.read(entries[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        received = f"{len(packed):,} bytes: {error}"
        raise DataError(f"{name}: must be a whole zip file, received {received}; {remedy}") from None
    if not text.strip():
        raise DataError(f"{name}: the CSV must have rows, received none; {remedy}")
    return text


__all__ = ["Report", "import_lean", "parse_name"]
