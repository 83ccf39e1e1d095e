"""`mds is-session`: does the exchange trade on a day? systemd's ``ExecCondition`` asks it.

systemd takes 1 to 254 for "skip the start" and 255 for a failure, so whatever goes wrong here ends with 255: a command
that can't tell must not look like a holiday.
"""

from __future__ import annotations

import datetime
from typing import Annotated

import typer

from mdslib import calendar
from mdslib.clock import wall_ns
from mdslib.errors import ConfigError

_CLOSED = 1
_FIRST = 1885  # the year from which the calendars know closures that no rule gives; before, they only apply the rules
_AHEAD = 2  # years after this one of which exchanges publish their holidays; beyond, nobody has decided them


def is_session_command(
    date: Annotated[str | None, typer.Option(help="The day, YYYY-MM-DD; today at the exchange unless given.")] = None,
    exchange: Annotated[str, typer.Option(help="A trading calendar: NYSE, or 24/7, or another.")] = "NYSE",
) -> None:
    """Tell whether a day is a trading day: exit code 0 yes, 1 no, 255 where it can't tell; one line says why."""
    zone = calendar.zone(exchange)
    today = datetime.datetime.fromtimestamp(wall_ns() / 1e9, zone).date()
    day = today if date is None else calendar.parse_date(date)
    last = today.year + _AHEAD
    if exchange != calendar.ALWAYS and not _FIRST <= day.year <= last:
        raise ConfigError(
            f"whether {exchange} trades on {day} is not known: the calendars tell of {_FIRST} to {last}, "
            "as exchanges publish their holidays two years ahead; is the year right?"
        )
    session = calendar.session(day, exchange)
    if session is None:
        typer.echo(f"{exchange} is closed on {day}: {calendar.why_closed(day, exchange)}")
        raise typer.Exit(_CLOSED)
    hours = " to ".join(
        datetime.datetime.fromtimestamp(ts // 10**9, zone).strftime("%H:%M") for ts in (session.open, session.close)
    )
    typer.echo(f"{exchange} trades on {day}: {hours} {zone.key}")
