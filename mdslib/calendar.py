"""Trading sessions: when an exchange is open, on full days, half days, around holidays and both changes of the clocks.

The times come from pandas-market-calendars, one calendar year at a time, and are kept in a small file a year under the
user's cache folder (its name holds that library's version), so that finding a day's session need not import it.
`24/7` is every day from midnight to midnight UTC.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from mdslib.errors import ConfigError, did_you_mean

ALWAYS = "24/7"
_DAY_NS = 86_400_000_000_000
_EPOCH = datetime.date(1970, 1, 1)
_LIBRARY = "pandas-market-calendars"
_FIRST, _LAST = 1678, 2261  # whole years whose times ns since 1970 can hold in 64 bits
# The names that nearly everybody uses are known without importing the library.
_COMMON = ("NYSE", "NASDAQ")


class Session(NamedTuple):
    """One trading day. Times are ns UTC; regular hours are ``open <= ts < close``.

    Attributes
    ----------
    date : datetime.date
        The day at the exchange.
    open, close : int
        Regular hours.
    pre_open, post_close : int
        With the extended hours (NYSE: 04:00 to 20:00 New York, to 17:00 on half days); the regular ones where the
        exchange has none.
    """

    date: datetime.date
    open: int
    close: int
    pre_open: int
    post_close: int


def parse_date(text: str | datetime.date) -> datetime.date:
    """Return the date that ``YYYY-MM-DD`` (or a date) names.

    Examples
    --------
    >>> parse_date("2013-10-08")
    datetime.date(2013, 10, 8)
    """
    if isinstance(text, datetime.datetime):
        raise ConfigError(f"a date must have no time of day, received {text!r}; use .date() in the exchange's zone")
    if isinstance(text, datetime.date):
        return text
    try:
        return datetime.date.fromisoformat(text)
    except (TypeError, ValueError):
        raise ConfigError(f"a date must be YYYY-MM-DD and exist, received {text!r}; for example 2013-10-08") from None


def session(date: str | datetime.date, exchange: str = "NYSE") -> Session | None:
    """Return the session of one day, or None where the exchange is closed.

    Parameters
    ----------
    date : date or str
        The day at the exchange.
    exchange : str
        A name of pandas-market-calendars, or ``24/7``.

    Raises
    ------
    ConfigError
        The date or the exchange is unknown, or the date lies outside 1678 to 2261.

    Examples
    --------
    >>> day = session("2013-10-08")
    >>> (day.close - day.open) / 3.6e12
    6.5
    >>> session("2013-10-12") is None
    True
    """
    day = _in_range(parse_date(date))
    if exchange == ALWAYS:
        opening = (day - _EPOCH).days * _DAY_NS
        return Session(day, opening, opening + _DAY_NS, opening, opening + _DAY_NS)
    return _year(exchange, day.year).get(day)


def _in_range(day: datetime.date) -> datetime.date:
    if _FIRST <= day.year <= _LAST:
        return day
    raise ConfigError(f"a session's date must lie from {_FIRST} to {_LAST}, received {day}; is the year right?")


def is_session(date: str | datetime.date, exchange: str = "NYSE") -> bool:
    """Tell whether the exchange trades on that day, be it for half a day."""
    return session(date, exchange) is not None


def sessions(start: str | datetime.date, end: str | datetime.date, exchange: str = "NYSE") -> tuple[Session, ...]:
    """Return the sessions from `start` to `end`, both included.

    Examples
    --------
    >>> [str(day.date) for day in sessions("2024-11-27", "2024-12-01")]
    ['2024-11-27', '2024-11-29']
    """
    first, last = (_in_range(parse_date(date)) for date in (start, end))
    if last < first:
        raise ConfigError(f"sessions: the end must not lie before the start, received {first} to {last}; swap them")
    days = (first + datetime.timedelta(days=step) for step in range((last - first).days + 1))
    return tuple(found for day in days if (found := session(day, exchange)) is not None)


def next_session(after: str | datetime.date, exchange: str = "NYSE") -> Session:
    """Return the first session after a day.

    Examples
    --------
    >>> str(next_session("2024-11-27").date)
    '2024-11-29'
    """
    first = parse_date(after)
    for step in range(1, 32):  # the longest closure on record, in 1914, took four months; none since took two weeks
        found = session(first + datetime.timedelta(days=step), exchange)
        if found is not None:
            return found
    raise ConfigError(f"{exchange} has no session in the 31 days after {first}; is the date right?")


def session_at(ts: int, exchange: str = "NYSE") -> Session | None:
    """Return the session whose extended hours hold the time `ts` (ns UTC), or None."""
    day = _EPOCH + datetime.timedelta(days=ts // _DAY_NS)
    for step in (0, -1, 1):  # an exchange's day may begin the evening before, in UTC, or end on the next
        found = session(day + datetime.timedelta(days=step), exchange)
        if found is not None and found.pre_open <= ts < found.post_close:
            return found
    return None


def why_closed(date: str | datetime.date, exchange: str = "NYSE") -> str:
    """Return why an exchange is closed on a day: the weekend's day, the holiday's name, or a special closure.

    Examples
    --------
    >>> why_closed("2024-11-28"), why_closed("2013-10-12")
    ('Thanksgiving', 'Saturday')
    """
    day = parse_date(date)
    if day.weekday() >= 5:
        return f"{day:%A}"
    calendar = _calendar(exchange)
    rules = getattr(calendar, "regular_holidays", None)
    if rules is not None and rules.rules:
        named = rules.holidays(f"{day.year}-01-01", f"{day.year}-12-31", return_name=True)
        for when, name in named.items():
            if when.date() == day:
                return str(name)
    return "a special closure"


@functools.cache
def _year(exchange: str, year: int) -> dict[datetime.date, Session]:
    """Return a calendar year's sessions, from the cache file where there is one."""
    path = _cache_file(exchange, year)
    with contextlib.suppress(OSError, ValueError, TypeError):  # an absent or damaged cache is only slower
        rows = json.loads(path.read_text())
        return {row.date: row for row in (Session(datetime.date.fromisoformat(text), *times) for text, *times in rows)}
    found = _computed(exchange, year)
    with contextlib.suppress(OSError):  # a read-only home is no reason to fail
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps([(row.date.isoformat(), *row[1:]) for row in found]))
        partial.replace(path)
    return {row.date: row for row in found}


def _cache_file(exchange: str, year: int) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = "".join(letter if letter.isalnum() else "_" for letter in exchange)
    return home / "mdslib" / "calendar" / f"{name}-{year}-{importlib.metadata.version(_LIBRARY)}.json"


def _calendar(exchange: str) -> Any:
    """Return the library's calendar; importing it costs 0.3 s beyond pandas, so it is done here only."""
    import pandas_market_calendars

    names = pandas_market_calendars.get_calendar_names()
    if exchange not in names:
        raise ConfigError(f"exchange {exchange!r} is not known. {_nearest(exchange, names)}")
    return pandas_market_calendars.get_calendar(exchange)


def _nearest(exchange: str, names: list[str]) -> str:
    by_lower = {name.lower(): name for name in (*names, ALWAYS)}
    sentence = did_you_mean(exchange.lower(), by_lower)
    if sentence.startswith("Known"):
        return f"Use {', '.join(_COMMON)}, {ALWAYS}, or another name of {_LIBRARY} ({len(names)} are known)."
    near = sentence.split("'")[1]
    return f"Did you mean {by_lower[near]!r}?"


def _computed(exchange: str, year: int) -> list[Session]:
    calendar = _calendar(exchange)
    frame = calendar.schedule(f"{year}-01-01", f"{year}-12-31", market_times="all")
    times = {name: frame[name].dt.as_unit("ns").astype("int64").tolist() for name in frame.columns}
    opens, closes = times["market_open"], times["market_close"]
    days = [stamp.date() for stamp in frame.index]
    rows = zip(days, opens, closes, times.get("pre", opens), times.get("post", closes), strict=True)
    return [Session(*row) for row in rows]


def zone(exchange: str = "NYSE") -> ZoneInfo:
    """Return the exchange's time zone.

    Examples
    --------
    >>> zone("NYSE").key
    'America/New_York'
    """
    if exchange in _COMMON:
        return ZoneInfo("America/New_York")
    if exchange == ALWAYS:
        return ZoneInfo("UTC")
    return ZoneInfo(str(_calendar(exchange).tz))
