"""The other options of a live session: what each does, its default, and what it may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mdslib.errors import ConfigError, did_you_mean
from mdslib.strategy.timers import duration_ns

OPTIONS: dict[str, Any] = {
    "time_url": "",  # the side channel of a local exchange; empty: the wall clock
    "flatten_before": "5m",  # of the close, with end_of_day="flatten"
    "flatten_on_stop": False,  # go flat where the session is ended early
    "split_flips": None,  # see `LivePlan.splits_flips`; None: as the venue's rules ask
    "fractional": False,  # the stocks are fractionable: DAY orders may have nine decimals
    "no_limits": False,  # lift the desk's limits
    "workers": 2,  # order threads; 1 in lock-step
    "run_name": "",  # part of every order id; the model's name otherwise
    "max_clock_skew": 2.0,  # s between our clock and the venue's
    "connect_lead": 5.0,  # s before the open at which the feed is connected
    "durability": "write",  # or "fsync"
    "warm_up": "",  # "open": a session that starts in mid-day is told first what happened since the open, orders held
    "mute_after": 30.0,  # s of quiet that never make a socket suspicious; 0: no watchdog
    "max_queue": 100_000,  # frames that may wait; beyond, they are dropped and fetched later
    "check_history": "auto",  # after the close, the tape against the venue's history: "yes", "no"; auto: a real venue's
    "max_age": 2.0,  # s; an older decision is not sent any more: by a restart, or where it had to wait
    "metrics_port": None,  # serves measures to Prometheus, on this machine only; None: as in the settings, 0: nowhere
    "requests_per_minute": None,  # that the venue takes; None: 200, and on a local exchange no limit. 0: none
    "resolve_within": 30.0,  # s; an order of unknown outcome that the venue does not know by then has never arrived
    "accept_changed_model": False,  # go on with a tape of other code, parameters or limits, with a fresh state
}

_DAY_NS = 86_400_000_000_000


class Rule(NamedTuple):
    """What a value may be, in words and as a test."""

    words: str
    holds: Callable[[Any], bool]


def _one_of(*known: str) -> Rule:
    return Rule(" or ".join(repr(value) for value in known), lambda value: value in known)


def _whole(least: int, most: int) -> Rule:
    def holds(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return Rule(f"a whole number from {least} to {most:,}", holds)


def _or_none(rule: Rule) -> Rule:
    return Rule(rule.words, lambda value: value is None or rule.holds(value))


def _seconds(most: float, *, above: bool = False) -> Rule:
    def holds(value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return number and 0 <= value <= most and not (above and value == 0)

    return Rule(f"seconds, {'above' if above else 'from'} 0 and at most {most:,.0f}", holds)


def _is_lead(value: Any) -> bool:
    try:
        return isinstance(value, str) and duration_ns(value) < _DAY_NS
    except ConfigError:
        return False


def _is_time_url(value: Any) -> bool:
    if value == "":
        return True
    try:
        return isinstance(value, str) and urlsplit(value).scheme in ("ws", "wss") and bool(urlsplit(value).hostname)
    except ValueError:  # of brackets that hold no IPv6 address
        return False


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) <= 64


_FLAG = Rule("true or false", lambda value: isinstance(value, bool))
_RULES: dict[str, Rule] = {
    "time_url": Rule("empty, or like 'ws://127.0.0.1:8765/sim/time'", _is_time_url),
    "flatten_before": Rule("a duration like '5m', shorter than a day", _is_lead),
    "flatten_on_stop": _FLAG,
    "split_flips": _or_none(_FLAG),
    "fractional": _FLAG,
    "no_limits": _FLAG,
    "workers": _whole(1, 32),
    "run_name": Rule("text of one line, at most 64 letters", _is_name),
    "max_clock_skew": _seconds(3600.0, above=True),
    "connect_lead": _seconds(3600.0),
    "durability": _one_of("write", "fsync"),
    "warm_up": _one_of("", "open"),
    "mute_after": _seconds(86_400.0),
    "max_queue": _whole(1, 10**9),
    "check_history": _one_of("auto", "yes", "no"),
    "max_age": _seconds(86_400.0),
    "metrics_port": _or_none(_whole(0, 65_535)),
    "requests_per_minute": _or_none(_whole(0, 100_000)),
    "resolve_within": _seconds(3600.0),
    "accept_changed_model": _FLAG,
}
assert set(_RULES) == set(OPTIONS)


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options, with these in place of their defaults.

    Raises
    ------
    ConfigError
        For a name that is none ("did you mean"), or a value that the option can't take.

    Examples
    --------
    >>> checked_options({"workers": 4})["workers"]
    4
    >>> checked_options({"workers": 0})
    Traceback (most recent call last):
        ...
    mdslib.errors.ConfigError: option workers must be a whole number from 1 to 32, received 0; the default is 2
    """
    for name, value in options.items():
        if name not in OPTIONS:
            raise ConfigError(f"unknown option {name!r} of a live session. {did_you_mean(name, OPTIONS)}")
        if not _RULES[name].holds(value):
            raise ConfigError(
                f"option {name} must be {_RULES[name].words}, received {value!r}; the default is {OPTIONS[name]!r}"
            )
    return {**OPTIONS, **options}


def option_of(name: str, text: str) -> object:
    """Return the value that a text means for an option: a number, true or false, or the text itself.

    Examples
    --------
    >>> option_of("workers", "2"), option_of("flatten_on_stop", "True"), option_of("run_name", "7")
    (2, True, '7')
    """
    if isinstance(OPTIONS.get(name), str):
        return text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
