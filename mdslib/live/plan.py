"""What a live session is to do, made from the notebook's parameters and checked before anything is connected.

`check_terms` holds on any day, so `mds live` on a holiday and `mds deploy` refuse what a session would; `make_plan`
adds the day.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mdslib.calendar import Session as TradingSession
from mdslib.calendar import parse_date, session, why_closed, zone
from mdslib.clock import wall_ns
from mdslib.config import load_settings
from mdslib.errors import ConfigError, SessionError, did_you_mean
from mdslib.feeds.alpaca_address import FEEDS, PAIRS, feed_for
from mdslib.instruments import Instrument, check_linear, parse_instrument
from mdslib.live.options import checked_options
from mdslib.matching import Rules
from mdslib.risk import Limits, make_limits
from mdslib.strategy import Strategy, find_model
from mdslib.strategy.fold import check_count, state_of
from mdslib.strategy.timers import duration_ns

END_OF_DAY = ("flatten", "keep")


@dataclass(frozen=True)
class Terms:
    """What a session is to do, whatever the day; holds no credential.

    Attributes
    ----------
    strategy, params
        The model and its parameters.
    source : str
        What `find_model` takes to find it again.
    instruments : tuple of Instrument
        In the model's order.
    limits : Limits or None
        The desk's; None where they are lifted.
    end_of_day : str
        ``flatten`` or ``keep``.
    options : mapping
        All of `mdslib.live.options.OPTIONS`.
    """

    strategy: Strategy
    params: Any
    source: str
    instruments: tuple[Instrument, ...]
    feed: str
    data_stream_url: str
    data_url: str
    trade_url: str
    exchange: str
    limits: Limits | None
    end_of_day: str
    options: Mapping[str, Any]
    allow_live: bool

    @property
    def run_name(self) -> str:
        """Part of every order id: two runs that trade one account on one day need two names."""
        return self.options["run_name"] or self.strategy.name

    def splits_flips(self, rules: Rules) -> bool:
        """Tell whether a flip goes out as a close, and an open after its fill: where the venue refuses one order."""
        chosen = self.options["split_flips"]
        return rules is Rules.ALPACA if chosen is None else bool(chosen)


@dataclass(frozen=True)
class LivePlan(Terms):
    """A checked plan of one session.

    Attributes
    ----------
    session : calendar.Session
        Open and close, from the exchange's calendar.
    run_dir : Path
        The day's files.
    flatten : int or None
        When to go flat, ns UTC.
    """

    session: TradingSession
    run_dir: Path
    flatten: int | None

    @property
    def date(self) -> datetime.date:
        """The trading date."""
        return self.session.date


def check_terms(
    model: str,
    *,
    params: Mapping[str, Any],
    symbols: Sequence[str],
    feed: str,
    data_stream_url: str,
    data_url: str,
    trade_url: str,
    exchange: str,
    limits: Mapping[str, float],
    end_of_day: str,
    options: Mapping[str, Any],
) -> Terms:
    """Check everything of a session that does not hang on the day, and return it.

    Raises
    ------
    ConfigError, ModelError
        Whatever is wrong.
    """
    strategy = find_model(model)
    if strategy.module == "__main__":
        raise ConfigError(
            f"model {strategy.name!r} is defined in a notebook; live takes modules only: save it in models/"
        )
    chosen = checked_options(options)
    if end_of_day not in END_OF_DAY:
        raise ConfigError(f"end_of_day must be 'flatten' or 'keep', received {end_of_day!r}")
    typed = strategy.make_params(**params)
    state_of(strategy, typed)  # parameters that it can't be built with are refused as well
    settings = load_settings()
    if chosen["metrics_port"] is None:  # rehearsals leave a port that is meant for the one live session alone
        chosen["metrics_port"] = 0 if chosen["time_url"] else settings.metrics_port
    if feed not in (*FEEDS, PAIRS):
        raise ConfigError(f"feed must be one of Alpaca's, received {feed!r}. {did_you_mean(feed, FEEDS)}")
    _check_addresses(data_stream_url, data_url, trade_url, allow_live=settings.allow_live_trading)
    instruments = _instruments(strategy, symbols, fractional=chosen["fractional"])
    exchange = exchange or _own_exchange(instruments)
    zone(exchange)  # an exchange that is none is named
    return Terms(
        strategy=strategy,
        params=typed,
        source=str(Path(model).resolve()) if model.endswith(".py") else model,
        instruments=instruments,
        feed=feed_for(instruments, feed),
        data_stream_url=data_stream_url,
        data_url=data_url,
        trade_url=trade_url,
        exchange=exchange,
        limits=_limits(settings.limits.model_dump(), limits, lifted=chosen["no_limits"]),
        end_of_day=end_of_day,
        options=chosen,
        allow_live=settings.allow_live_trading,
    )


def make_plan(date: str, run_dir: str, terms: Terms) -> LivePlan:
    """Return the plan of a session on a day; today's, where `date` is empty.

    Raises
    ------
    ConfigError, SessionError
        Where the day has no session, or one that is too short for going flat before its close.
    """
    today = parse_date(date) if date else _today(terms.exchange)
    day = session(today, terms.exchange)
    if day is None:
        raise SessionError(f"no session on {today} at {terms.exchange}: {why_closed(today, terms.exchange)}")
    flatten = None
    if terms.end_of_day == "flatten":
        lead = terms.options["flatten_before"]
        flatten = day.close - duration_ns(lead)
        if flatten <= day.open:
            hours = (day.close - day.open) / 3.6e12
            raise ConfigError(
                f"option flatten_before must be shorter than the session of {today}, which lasts {hours:g} h, "
                f"received {lead!r}"
            )
    name = f"{today}-{terms.strategy.name}"
    folder = Path(run_dir) if run_dir else load_settings().runs / name
    return LivePlan(**vars(terms), session=day, run_dir=folder, flatten=flatten)


def _instruments(strategy: Strategy, symbols: Sequence[str], *, fractional: bool) -> tuple[Instrument, ...]:
    instruments = tuple(parse_instrument(symbol) for symbol in symbols)
    check_linear("mds live", instruments)
    if fractional:
        instruments = tuple(replace(instrument, fractionable=True) for instrument in instruments)
    names = [instrument.symbol for instrument in instruments]
    if len(set(names)) != len(names):
        raise ConfigError(f"symbols must differ, received {', '.join(names)}")
    if len(names) < strategy.instruments:
        raise ConfigError(
            f"model {strategy.name!r} trades {strategy.instruments} instruments, received {len(names)}"
            f" ({', '.join(names) or 'none'}); name them with --symbol, in its order"
        )
    check_count(strategy, names)
    return instruments


def _limits(configured: Mapping[str, float], given: Mapping[str, float], *, lifted: bool) -> Limits | None:
    limits = make_limits(**{**make_limits(**configured)._asdict(), **given})
    if lifted and given:
        raise ConfigError(
            f"limits can't be lifted (no_limits) and set at once, received {', '.join(given)}; leave one of them out"
        )
    return None if lifted else limits


def _own_exchange(instruments: tuple[Instrument, ...]) -> str:
    """Return the calendar that the instruments share."""
    calendars = sorted({instrument.session for instrument in instruments})
    if len(calendars) > 1:
        raise ConfigError(
            f"symbols must share one calendar, received {' and '.join(calendars)}; --exchange says whose counts"
        )
    return calendars[0]


def _check_addresses(data_stream_url: str, data_url: str, trade_url: str, *, allow_live: bool) -> None:
    from mdslib.brokers.alpaca import check_address
    from mdslib.feeds.connect import check_encrypted

    for name, url, schemes in (
        ("data_stream_url", data_stream_url, ("wss", "ws")),
        ("data_url", data_url, ("https", "http")),
        ("trade_url", trade_url, ("https", "http")),
    ):
        check_encrypted(url, name)
        if urlsplit(url).scheme not in schemes or not urlsplit(url).hostname:
            raise ConfigError(f"{name} must be an address like {schemes[0]}://host, received {url!r}")
    check_address(trade_url, allow_live)


def _today(exchange: str) -> datetime.date:
    return datetime.datetime.fromtimestamp(wall_ns() // 1_000_000_000, zone(exchange)).date()
