"""`mdslib.load`: recorded market data of some instruments over some days, merged by time."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdslib import calendar
from mdslib.arguments import flag
from mdslib.errors import ConfigError, DataError, did_you_mean
from mdslib.events import SCHEMAS, Kind
from mdslib.instruments import Instrument, parse_instrument
from mdslib.store.key import YEARLY
from mdslib.store.open import open_store
from mdslib.store.steps import common_step
from mdslib.store.tickstore import TickStore, day_bounds
from mdslib.table import MarketData, Table, empty, merge

KINDS = {
    "trades": Kind.TRADE,
    "quotes": Kind.QUOTE,
    "bars": Kind.BAR,
    "book_deltas": Kind.BOOK_DELTA,
    "gaps": Kind.GAP,
}
_WORD = re.compile(r"(trade|quote|bar|book_delta|gap)s?(?:_(\d+[smhd]))?")
_SPACED = (Kind.QUOTE, Kind.BAR)
# What a recorder keeps of a venue that never closes; at equal times the kinds come in this order.
_RECORDED: tuple[Kind, ...] = (Kind.TRADE, Kind.QUOTE, Kind.BOOK_DELTA, Kind.GAP)
_SELDOM = (Kind.GAP,)  # a day without any is a good day

When = str | datetime.date | tuple[str | datetime.date, str | datetime.date]


class Wanted(NamedTuple):
    """A kind of rows, and their spacing where they have one."""

    kind: Kind
    interval: str | None


def load(
    symbols: str | Instrument | Sequence[str | Instrument],
    date: When,
    kind: str | Kind | Sequence[str | Kind] | None = None,
    store: TickStore | Path | str | None = None,
    *,
    extended: bool = False,
    columns: Sequence[str] | None = None,
    missing: str = "error",
) -> MarketData:
    """Return recorded market data, in regular hours unless told otherwise.

    One day of one instrument is not copied after it was decoded.

    Parameters
    ----------
    symbols : str, Instrument or a sequence of them
        ``"SPY"``, ``"alpaca:SPY"``; several become several instruments, numbered in the order given. All must share one
        trading calendar.
    date : date, str, or a pair of them
        A day, or first and last day, both included.
    kind : str, Kind or a sequence of them, optional
        ``"trades"``, ``"quotes"``, ``"bars"`` (of a minute), ``"bars_1s"``, ``"bars_1h"``, ``"bars_1d"``,
        ``"quotes_1s"``, ``"book_deltas"``, ``"gaps"``. At equal times the events of the kind named first come first.
        By default trades; of a market that never closes all of trades, quotes, book deltas and gaps that are stored.
    store : TickStore, Path or str, optional
        Where the data lie; the settings' store unless given.
    extended : bool
        Keep everything that was recorded on the days. Otherwise ``open <= ts < close`` (bars, which are stamped at
        their close: ``open < ts <= close``). A day of a market that never closes is what was received on that UTC day.
    columns : sequence of str, optional
        Load only these columns (times and instrument always come along); others can't be asked for later.
    missing : {"error", "skip"}
        What to do about a session in the range of which nothing is stored.

    Raises
    ------
    DataError
        There is no such data; the message lists what there is.
    ConfigError
        A date, a kind, or an option is not known.

    Examples
    --------
    >>> import mdslib
    >>> data = mdslib.load("SPY", "2013-10-08")  # doctest: +SKIP
    >>> len(data)  # doctest: +SKIP
    440353
    """
    flag("load(extended=...)", extended)
    columns = [columns] if isinstance(columns, str) else columns
    if not isinstance(missing, str) or missing not in ("error", "skip"):
        raise ConfigError(f"load: missing must be 'error' or 'skip', received {missing!r}")
    wanted = [_wanted(word) for word in _several(kind, "kind")] if kind is not None else []
    opened = _opened(store)
    named = [parse_instrument(symbol) for symbol in _several(symbols, "symbol")]
    instruments = tuple(_stored(opened, instrument, wanted) for instrument in named)
    by_itself = not wanted and all(instrument.session == calendar.ALWAYS for instrument in instruments)
    wanted = wanted or (_recorded(opened, instruments, date) if by_itself else [Wanted(Kind.TRADE, None)])
    sessions = _sessions(opened, instruments, wanted, date)
    if by_itself and missing == "error":
        _check_days(opened, instruments, wanted, sessions)
    _check_columns(columns, wanted)
    ticks: dict[str, set[float]] = {}
    tables = tuple(
        _table(
            opened, instruments, sessions, want, columns, ticks, extended=extended, skip=by_itself or missing == "skip"
        )
        for want in wanted
    )
    return MarketData(tuple(_on_steps(each, ticks) for each in instruments), tables, sessions)


def regular_hours(table: Table, session: calendar.Session | None) -> Table:
    """Return the rows of a session's regular hours, as views: ``open <= ts < close``, for bars ``open < ts <= close``.

    A bar is stamped at its close, so the last bar of the day carries the close's time.
    """
    if session is None:
        return table.slice(0, 0)
    shift = 1 if table.kind == Kind.BAR else 0
    return table.between(session.open + shift, session.close + shift)


def _in_hours(rows: Table, session: calendar.Session, instrument: Instrument) -> Table:
    """Return the rows of regular hours; a day that has rows, and none there, is an error and no empty table."""
    inside = regular_hours(rows, session)
    if len(rows) and not len(inside):
        first, last = (str(ts.astype("M8[s]")) for ts in rows["ts_event"][[0, -1]].view("M8[ns]"))
        raise DataError(
            f"load: {instrument.symbol} on {session.date} has {len(rows):,} rows of {rows.kind.name.lower()}s, received"
            f" none of them in regular hours: they lie from {first} to {last} UTC; pass extended=True (--extended), or"
            " import the day again"
        )
    return inside


def _table(
    store: TickStore,
    instruments: tuple[Instrument, ...],
    sessions: tuple[calendar.Session, ...],
    wanted: Wanted,
    columns: Sequence[str] | None,
    ticks: dict[str, set[float]],
    *,
    extended: bool,
    skip: bool,
) -> Table:
    """Return one kind of all instruments over all sessions."""
    kind = wanted.kind
    only = None if columns is None else [name for name in columns if name in SCHEMAS[kind]]
    found: list[Table] = []
    for index, instrument in enumerate(instruments):
        days = _days(store, instrument, wanted, sessions, only, ticks, skip=skip)
        whole = extended or instrument.session == calendar.ALWAYS
        parts = [rows if whole else _in_hours(rows, session, instrument) for session, rows in days]
        if parts:
            rows = merge(parts)
            found.append(rows.replace(instrument=np.full(len(rows), index, "<u2")) if index else rows)
    if not found and kind in _SELDOM:
        return empty(kind)
    if not found:
        names = ", ".join(instrument.symbol for instrument in instruments)
        raise DataError(
            f"store {store.where} has no {kind.name.lower()}s of {names} in the days asked for; see `mds data ls`"
        )
    return merge(found)


def _days(
    store: TickStore,
    instrument: Instrument,
    wanted: Wanted,
    sessions: tuple[calendar.Session, ...],
    columns: Sequence[str] | None,
    ticks: dict[str, set[float]],
    *,
    skip: bool,
) -> Iterator[tuple[calendar.Session, Table]]:
    """Yield each session's rows, and note each day's tick; a file that holds a year is read once."""
    kind, interval = wanted
    years: dict[int, Table] = {}
    for session in sessions:
        if (skip or kind in _SELDOM) and not store.has(instrument, kind, session.date, interval):
            continue
        if interval not in YEARLY:
            table, body = store.day(instrument, kind, session.date, columns, interval=interval)
            _check_lot(instrument, body["instrument"]["lot"], session.date)
            ticks.setdefault(instrument.id, set()).add(body["instrument"]["tick"])
            yield session, table
            continue
        year = session.date.year
        if year not in years:
            years = {year: store.read_year(instrument, session.date, interval, columns)}
        rows = years[year].between(*day_bounds(kind, instrument, session.date))
        if not len(rows) and not skip:
            rows = store.read(instrument, kind, session.date, columns, interval=interval)  # says what is missing
        yield session, rows


def _on_steps(instrument: Instrument, ticks: dict[str, set[float]]) -> Instrument:
    """Return the instrument with a tick that suits all days that were loaded: venues change theirs."""
    found = ticks.get(instrument.id)
    return dataclasses.replace(instrument, tick=common_step(list(found))) if found else instrument


def _check_lot(instrument: Instrument, lot: float, date: datetime.date) -> None:
    """Refuse a day whose sizes count something else: nobody would see it in the numbers."""
    if lot != instrument.lot:
        raise DataError(
            f"load: the sizes of {instrument.id} on {date} are counted in lots of {lot:g}, and elsewhere in"
            f" {instrument.lot:g}; load them apart, or import them again with one lot"
        )


def _sessions(
    store: TickStore, instruments: tuple[Instrument, ...], wanted: Sequence[Wanted], date: When
) -> tuple[calendar.Session, ...]:
    """Return the sessions asked for; a single day that is none is an error that says why."""
    calendars = {instrument.session for instrument in instruments}
    if len(calendars) > 1:
        raise DataError(
            f"load: instruments must share one trading calendar, received {' and '.join(sorted(calendars))}; "
            "load them apart"
        )
    (exchange,) = calendars
    if isinstance(date, tuple) and len(date) != 2:
        raise ConfigError(f"load: a range of dates is its first and last day, received {len(date)} dates: {date!r}")
    start, end = date if isinstance(date, tuple) else (date, date)
    found = calendar.sessions(start, end, exchange)
    if not found:
        # Ask for the day all the same: the store's answer says why there is none and what is near.
        store.read(instruments[0], wanted[0].kind, calendar.parse_date(start), interval=wanted[0].interval)
        raise DataError(f"load: {exchange} has no session from {start} to {end}; choose other days")
    return found


def _stored(store: TickStore, instrument: Instrument, wanted: Sequence[Wanted]) -> Instrument:
    """Return the instrument as it was stored, by the first kind that there is of it."""
    for want in wanted or [Wanted(kind, None) for kind in _RECORDED]:
        found = store.instrument(instrument, *want)
        if found is not instrument:
            return found
    return instrument


def _recorded(store: TickStore, instruments: tuple[Instrument, ...], date: When) -> list[Wanted]:
    """Return the kinds that are stored of the days, where none is named."""
    start, end = date if isinstance(date, tuple) and len(date) == 2 else (date, date)
    first, last = (calendar.parse_date(day).isoformat() for day in (start, end))
    found = [
        Wanted(kind, None)
        for kind in _RECORDED
        if any(first <= day <= last for instrument in instruments for day in store.dates(instrument, kind))
    ]
    return found or [Wanted(Kind.TRADE, None)]


def _check_days(
    store: TickStore,
    instruments: tuple[Instrument, ...],
    wanted: Sequence[Wanted],
    sessions: tuple[calendar.Session, ...],
) -> None:
    """Refuse a day of which nothing is stored; a quiet pair may have a day without a trade, but not without a book."""
    for instrument in instruments:
        for session in sessions:
            if not any(store.has(instrument, kind, session.date) for kind, _ in wanted):
                store.read(instrument, wanted[0].kind, session.date)  # says what is missing


def _several(given: Any, what: str) -> list[Any]:
    if not isinstance(given, str | Instrument | Kind | Sequence):
        raise ConfigError(f"load: a {what} must be text, or several in a list, received {given!r}")
    several: list[Any] = [given] if isinstance(given, str | Instrument | Kind) else list(given)
    if not several:
        raise ConfigError(f"load: at least one {what} is needed, received none")
    if len(set(several)) < len(several):
        raise ConfigError(f"load: every {what} must be named once, received {', '.join(map(str, several))}")
    return several


def _wanted(word: str | Kind) -> Wanted:
    """Return what ``trades`` or ``bars_1s`` means."""
    if isinstance(word, Kind):
        return Wanted(word, None)
    match = _WORD.fullmatch(word) if isinstance(word, str) else None
    if match is None:
        raise ConfigError(f"load: kind {word!r} is not known. {did_you_mean(str(word), KINDS)}")
    kind = Kind[match[1].upper()]
    if kind not in _SPACED and match[2]:
        plain = f"{match[1]}s"
        raise ConfigError(f"load: {plain} have no spacing, received {word!r}; use {plain!r} or 'bars_{match[2]}'")
    return Wanted(kind, match[2])


def _opened(store: TickStore | Path | str | None) -> TickStore:
    if isinstance(store, TickStore):
        return store
    if store is None:
        from mdslib.config import load_settings

        return open_store(load_settings().store)
    if not isinstance(store, Path | str):
        raise ConfigError(f"load: store must be a store or its folder, received {store!r}")
    return open_store(store)


def _check_columns(columns: Sequence[str] | None, wanted: Sequence[Wanted]) -> None:
    known = {name for want in wanted for name in SCHEMAS[want.kind]}
    if columns is not None and not isinstance(columns, list | tuple | set | frozenset):
        raise ConfigError(f"load: columns must be a list of names, received {columns!r}")
    for name in columns or ():
        if name not in known:
            raise DataError(
                f"load: column {name!r} is in none of the kinds asked for. {did_you_mean(str(name), known)}"
            )


__all__ = ["KINDS", "load", "regular_hours"]
