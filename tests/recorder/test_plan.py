"""What can be recorded, and what is refused before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdslib.errors import ConfigError
from mdslib.recorder.plan import Plan, Wanted, file_name, parse_mode, parse_wanted


def plan(*feeds: str, **options: object) -> Plan:
    return Plan(tuple(map(parse_wanted, feeds)), Path("out"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("BTC-USD", "must be venue:SYMBOL, received 'BTC-USD'"),
        ("kraken:", "must be venue:SYMBOL, received 'kraken:'"),
        ("krakn:XBT/USD", "no venue is called 'krakn'. Did you mean 'kraken'?"),
        ("kraken:XBT USD", "must be a venue symbol, received 'XBT USD'"),
    ],
)
def test_what_names_no_pair_of_a_venue_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_wanted(text)


@pytest.mark.parametrize(
    ("feeds", "options", "said"),
    [
        ([], {}, "needs something to record"),
        (["kraken:ETH/USD", "kraken-v2:ETH/USD"], {}, "kraken:ETH/USD is named twice"),
        (["kraken:ETH/USD"], {"every": 50_000_000}, "--every must be at least 100ms, received 50ms"),
        (["kraken:ETH/USD"], {"levels": 0}, "--levels must be from 1 to 10000, received 0"),
        (["kraken:ETH/USD"], {"urls": {"krakn": "ws://x"}}, "--url: no venue is called 'krakn'"),
    ],
)
def test_a_plan_that_can_not_be_is_refused(feeds: list[str], options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        plan(*feeds, **options)


def test_two_protocols_of_one_venue_share_its_tape() -> None:
    both = plan("kraken:XBT/USD", "kraken-v2:BTC/USD", "bitmex:XBTUSD")
    kraken, bitmex = both.by_tape()
    assert kraken == (Wanted("kraken", "XBT/USD"), Wanted("kraken-v2", "BTC/USD"))
    assert bitmex == (Wanted("bitmex", "XBTUSD"),)


def test_stocks_have_a_tape_of_their_own_since_its_days_are_new_yorks() -> None:
    mixed = plan("alpaca:SPY", "alpaca:BTC/USD", "alpaca:QQQ")
    assert [(mixed.tape_name(some), [each.symbol for each in some]) for some in mixed.by_tape()] == [
        ("tape@NYSE", ["SPY", "QQQ"]),
        ("tape", ["BTC/USD"]),
    ]


def test_a_process_of_each_pair_has_a_tape_of_its_own() -> None:
    parts = plan("kraken:XBT/USD", "kraken:ETH/USD").of_each()
    assert [part.tape_name(part.wanted) for part in parts] == ["tape@XBT%2FUSD", "tape@ETH%2FUSD"]
    assert [part.name for part in parts] == ["kraken@XBT%2FUSD", "kraken@ETH%2FUSD"]
    assert file_name("tDUSK:USD") == "tDUSK%3AUSD"


def test_a_lot_is_the_venues() -> None:
    lots = [parse_wanted(text).instrument().lot for text in ("bitmex:XBTUSD", "coinbase:BTC-USD", "alpaca:SPY")]
    assert lots == [1.0, 1e-8, 1.0]


def test_a_mode_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="--mode must be full, light or snapshot, received 'ful'"):
        parse_mode("ful")
