"""What a session would refuse is refused on any day, before anything is connected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mdslib.calendar import session
from mdslib.errors import ConfigError, ModelError, SessionError
from mdslib.live.options import OPTIONS, checked_options
from mdslib.live.plan import Terms, check_terms, make_plan
from mdslib.matching import Rules

NAN = float("nan")
GOOD: dict[str, Any] = {
    "model": "volume_modulo",
    "params": {"shares": 1},
    "symbols": ["SPY"],
    "feed": "iex",
    "data_stream_url": "wss://stream.data.alpaca.markets",
    "data_url": "https://data.alpaca.markets",
    "trade_url": "https://paper-api.alpaca.markets",
    "exchange": "NYSE",
    "limits": {},
    "end_of_day": "flatten",
    "options": {},
}


def terms(**changes: Any) -> Terms:
    return check_terms(**(GOOD | changes))


def test_good_terms_are_typed_and_complete() -> None:
    found = terms(limits={"max_position": 7}, options={"workers": 4})
    assert found.params.shares == 1.0
    assert found.limits is not None
    assert found.limits.max_position == 7.0
    assert found.options == OPTIONS | {"workers": 4, "metrics_port": 0}
    assert found.run_name == "volume_modulo"


def test_lifted_limits_are_none() -> None:
    assert terms(options={"no_limits": True}).limits is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "volume_modulu"}, "unknown model 'volume_modulu'. Did you mean 'volume_modulo'?"),
        ({"params": {"share": 1}}, "has no parameter 'share'. Did you mean 'shares'?"),
        ({"params": {"shares": "x"}}, "parameter 'shares' of strategy 'volume_modulo' must be float, received 'x'"),
        ({"model": "moving_average", "params": {"slow": -3}}, "state(params) of strategy 'moving_average' raised"),
        ({"symbols": []}, "model 'volume_modulo' trades 1 instruments, received 0 (none)"),
        ({"symbols": [""]}, "Instrument.symbol must be a venue symbol, received ''"),
        ({"symbols": ["SPY", "spy"]}, "symbols must differ, received SPY, SPY"),
        ({"symbols": ["bitmex:XBTUSD"]}, "must be worth quantity times price, received bitmex:XBTUSD"),
        ({"feed": "sipp"}, "feed must be one of Alpaca's, received 'sipp'. Did you mean 'sip'?"),
        ({"data_stream_url": "ws://example.org"}, "data_stream_url: the address must be encrypted or on this machine"),
        ({"data_stream_url": "https://example.org"}, "data_stream_url must be an address like wss://host"),
        ({"data_url": "https://"}, "data_url must be an address like https://host, received 'https://'"),
        ({"data_url": "https://[x"}, "data_url: the address must be a URL"),
        ({"trade_url": "https://api.alpaca.markets"}, "must be Alpaca's paper host or on this machine"),
        ({"exchange": "NYSEE"}, "exchange 'NYSEE' is not known. Did you mean 'NYSE'?"),
        ({"limits": {"max_positon": 1}}, "Limits has no field 'max_positon'. Did you mean 'max_position'?"),
        ({"limits": {"max_position": NAN}}, "Limits.max_position must be a finite number >= 0, received nan"),
        ({"limits": {"max_position": 1}, "options": {"no_limits": True}}, "limits can't be lifted (no_limits) and set"),
        ({"end_of_day": "hold"}, "end_of_day must be 'flatten' or 'keep', received 'hold'"),
        ({"options": {"worker": 1}}, "unknown option 'worker' of a live session. Did you mean 'workers'?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises((ConfigError, ModelError)) as refused:
        terms(**changes)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, bad) for name in ("flatten_on_stop", "split_flips", "no_limits") for bad in ("yes", 1)),
        *(("flatten_before", bad) for bad in ("", "5", "99h", "-5m", "0s", 300, None)),
        *(("time_url", bad) for bad in ("x", "http://127.0.0.1:1", "ws://", "ws://[", 1)),
        *(("workers", bad) for bad in (0, -1, 33, 2.0, True, "2", NAN)),
        *(("run_name", bad) for bad in (7, "two\nlines", "x" * 65)),
        *(("max_clock_skew", bad) for bad in (0, -1.0, NAN, float("inf"), "2", True)),
        *(("connect_lead", bad) for bad in (-1.0, NAN, 1e9, "5")),
        *(("durability", bad) for bad in ("", "fast", 1)),
        *(("warm_up", bad) for bad in ("close", True)),
        *(("mute_after", bad) for bad in (-1.0, NAN, float("inf"))),
        *(("max_queue", bad) for bad in (0, -5, 1.5)),
    ],
)
def test_an_option_says_what_it_may_be_what_came_and_its_default(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^option {name} must be .+, received .+; the default is "):
        checked_options({name: value})


def test_every_default_is_a_value_that_its_option_takes() -> None:
    assert checked_options(OPTIONS) == OPTIONS


def test_the_day_adds_the_session_the_folder_and_the_time_to_go_flat(tmp_path: Path) -> None:
    plan = make_plan("2024-11-29", str(tmp_path), terms(options={"flatten_before": "10m"}))
    day = session("2024-11-29")
    assert day is not None
    assert (plan.session, plan.run_dir, plan.flatten) == (day, tmp_path, day.close - 600 * 10**9)
    assert make_plan("2024-11-29", "", terms(end_of_day="keep")).flatten is None


def test_going_flat_before_the_open_of_a_half_day_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"flatten_before must be shorter than the session of 2024-11-29, which lasts 3.5 h"
    ):
        make_plan("2024-11-29", "", terms(options={"flatten_before": "4h"}))
    assert make_plan("2024-11-27", "", terms(options={"flatten_before": "4h"})).flatten


def test_a_closed_day_is_said_after_everything_else() -> None:
    with pytest.raises(SessionError, match="no session on 2024-11-28 at NYSE: Thanksgiving"):
        make_plan("2024-11-28", "", terms())


@pytest.mark.parametrize(
    ("options", "rules", "split"),
    [
        ({}, Rules.ALPACA, True),
        ({}, Rules.PERMISSIVE, False),
        ({"split_flips": True}, Rules.PERMISSIVE, True),
        ({"split_flips": False}, Rules.ALPACA, False),
    ],
)
def test_flips_are_split_where_the_venue_s_rules_ask_for_it_unless_a_person_says(
    options: dict[str, Any], rules: Rules, split: bool
) -> None:
    assert terms(options=options).splits_flips(rules) is split
