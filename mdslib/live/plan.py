"""What a live session is to do, made from the notebook's parameters and checked before anything is connected."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdslib.calendar import Session as TradingSession
from mdslib.calendar import parse_date, session, why_closed
from mdslib.clock import wall_ns
from mdslib.config import load_settings
from mdslib.errors import ConfigError, SessionError, did_you_mean
from mdslib.instruments import Instrument, parse_instrument
from mdslib.matching import Rules
from mdslib.risk import Limits, make_limits
from mdslib.strategy import Strategy, find_model
from mdslib.strategy.timers import duration_ns

END_OF_DAY = ("flatten", "keep")
OPTIONS: dict[str, Any] = {
    "time_url": "",  # the side channel of a local exchange; empty: the wall clock
    "flatten_before": "5m",  # of the close, with end_of_day="flatten"
    "flatten_on_stop": False,  # go flat where the session is ended early
    "split_flips": None,  # see `LivePlan.splits_flips`; None: as the venue's rules ask
    "no_limits": False,  # lift the desk's limits
    "workers": 2,  # order threads; 1 in lock-step
    "run_name": "",  # part of every order id; the model's name otherwise
    "max_clock_skew": 2.0,  # s between our clock and the venue's
    "connect_lead": 5.0,  # s before the open at which the feed is connected
    "durability": "write",  # or "fsync"
    "warm_up": "",  # "open": a session that starts in mid-day is told first what happened since the open, orders held
    "mute_after": 30.0,  # s of quiet that never make a socket suspicious; 0: no watchdog
    "max_queue": 100_000,  # frames that may wait; beyond, they are dropped and fetched later
}


@dataclass(frozen=True)
class LivePlan:
    """A checked plan of one session; holds no credential.

    Attributes
    ----------
    strategy, params
        The model and its parameters.
    source : str
        What `find_model` takes to find it again.
    session : calendar.Session
        Open and close, from the exchange's calendar.
    limits : Limits or None
    flatten : int or None
        When to go flat, ns UTC.
    """

    strategy: Strategy
    params: Any
    source: str
    instruments: tuple[Instrument, ...]
    feed: str
    data_stream_url: str
    trade_url: str
    session: TradingSession
    run_dir: Path
    limits: Limits | None
    flatten: int | None
    options: Mapping[str, Any]
    allow_live: bool
    data_url: str = "https://data.alpaca.markets"

    @property
    def date(self) -> datetime.date:
        """The trading date."""
        return self.session.date

    @property
    def run_name(self) -> str:
        """Part of every order id: two runs that trade one account on one day need two names."""
        return self.options["run_name"] or self.strategy.name

    def splits_flips(self, rules: Rules) -> bool:
        """Tell whether a flip goes out as a close, and an open after its fill: where the venue refuses one order."""
        chosen = self.options["split_flips"]
        return rules is Rules.ALPACA if chosen is None else bool(chosen)


def make_plan(
    model: str,
    params: Mapping[str, Any],
    symbols: Sequence[str],
    feed: str,
    data_stream_url: str,
    trade_url: str,
    exchange: str,
    date: str,
    run_dir: str,
    limits: Mapping[str, float],
    end_of_day: str,
    options: Mapping[str, Any],
    data_url: str = "https://data.alpaca.markets",
) -> LivePlan:
    """Check the parameters of a session and return its plan.

    Raises
    ------
    ConfigError, ModelError, SessionError
        Whatever is wrong, before anything is connected.
    """
    strategy = find_model(model)
    if strategy.module == "__main__":
        raise ConfigError(
            f"model {strategy.name!r} is defined in a notebook; live takes modules only: save it in models/"
        )
    for name in options:
        if name not in OPTIONS:
            raise ConfigError(f"unknown option {name!r} of a live session. {did_you_mean(name, OPTIONS)}")
    chosen = {**OPTIONS, **options}
    if chosen["warm_up"] not in ("", "open"):
        raise ConfigError(f"warm_up must be 'open' or nothing, received {chosen['warm_up']!r}")
    if end_of_day not in END_OF_DAY:
        raise ConfigError(f"end_of_day must be 'flatten' or 'keep', received {end_of_day!r}")
    instruments = tuple(parse_instrument(symbol) for symbol in symbols)
    if len({i.symbol for i in instruments}) != len(instruments):
        raise ConfigError(f"symbols must differ, received {', '.join(i.symbol for i in instruments)}")
    if len(instruments) < strategy.instruments:
        raise ConfigError(
            f"model {strategy.name!r} trades {strategy.instruments} instruments, received {len(instruments)}"
            f" ({', '.join(i.symbol for i in instruments) or 'none'}); name them with --symbol, in its order"
        )
    settings = load_settings()
    today = parse_date(date) if date else _today(exchange)
    day = session(today, exchange)
    if day is None:
        raise SessionError(f"no session on {today} at {exchange}: {why_closed(today, exchange)}")
    base = make_limits(**settings.limits.model_dump())._asdict()
    return LivePlan(
        strategy=strategy,
        params=strategy.make_params(**params),
        source=str(Path(model).resolve()) if model.endswith(".py") else model,
        instruments=instruments,
        feed=feed,
        data_stream_url=data_stream_url,
        trade_url=trade_url,
        session=day,
        run_dir=Path(run_dir or settings.runs / f"{today}-{strategy.name}"),
        limits=None if chosen["no_limits"] else make_limits(**{**base, **limits}),
        flatten=day.close - duration_ns(chosen["flatten_before"]) if end_of_day == "flatten" else None,
        options=chosen,
        allow_live=settings.allow_live_trading,
        data_url=data_url,
    )


def _today(exchange: str) -> datetime.date:
    from mdslib.calendar import zone

    return datetime.datetime.fromtimestamp(wall_ns() // 1_000_000_000, zone(exchange)).date()
