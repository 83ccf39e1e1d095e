"""Alpaca's crypto stream: a book's message becomes a record a level, and no book begins without its image."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from mdslib.errors import ConfigError, FeedError
from mdslib.events import BookFlag, Kind, unpack_conditions
from mdslib.feeds.alpaca_address import feed_for, stream_address
from mdslib.feeds.alpaca_decode import AlpacaDecoder
from mdslib.feeds.alpaca_messages import Subscription
from mdslib.feeds.rfc3339 import to_ns
from mdslib.instruments import parse_instrument

TIME = "2026-03-12T10:38:50.79613221Z"
IMAGE = {
    "T": "o",
    "S": "BTC/USD",
    "t": TIME,
    "b": [{"p": 71859.5, "s": 0.27994}, {"p": 71859, "s": 1}],
    "a": [{"p": 71860.25, "s": 0.5}],
    "r": True,
}
CHANGE = {
    "T": "o",
    "S": "BTC/USD",
    "t": "2026-03-12T10:38:51Z",
    "b": [{"p": 71859, "s": 0}],
    "a": [{"p": 71861, "s": 2}],
}
CLEAR, SNAPSHOT, LAST, ASK = BookFlag.CLEAR, BookFlag.SNAPSHOT, BookFlag.LAST, BookFlag.ASK


def text(*messages: dict[str, object]) -> str:
    return json.dumps(messages, separators=(",", ":"))


def decoder() -> AlpacaDecoder:
    return AlpacaDecoder(["ETH/USD", "BTC/USD"], [1e-9, 1e-9], once=True)


def said(records: np.ndarray) -> list[tuple[float | None, int, int]]:
    """Return price, lots and flags of each record."""
    return [(None if math.isnan(r["f0"]) else r["f0"].item(), int(r["i0"]), int(r["flag"])) for r in records]


def test_an_image_is_a_clear_and_then_its_levels_bids_first_and_last_on_the_last() -> None:
    found = decoder().receive(text(IMAGE), ts_init=5)
    assert said(found) == [
        (None, 0, CLEAR | SNAPSHOT),
        (71859.5, 279_940_000, SNAPSHOT),
        (71859.0, 1_000_000_000, SNAPSHOT),
        (71860.25, 500_000_000, SNAPSHOT | ASK | LAST),
    ]
    assert set(found["kind"].tolist()) == {int(Kind.BOOK_DELTA)}
    assert set(found["instrument"].tolist()) == {1}
    assert set(found["ts_event"].tolist()) == {to_ns(TIME)}
    assert set(found["ts_init"].tolist()) == {5}
    assert np.isnan(found["f1"]).all(), "how many orders there are is not told"


def test_a_change_is_absolute_and_size_0_takes_a_level_away() -> None:
    alpaca = decoder()
    alpaca.receive(text(IMAGE), ts_init=5)
    assert said(alpaca.receive(text(CHANGE), ts_init=6)) == [(71859.0, 0, 0), (71861.0, 2_000_000_000, ASK | LAST)]
    assert alpaca.counts == {"o": 2}


def test_an_empty_image_is_one_record_that_clears_and_an_empty_change_is_none() -> None:
    alpaca = decoder()
    assert said(alpaca.receive(text({**IMAGE, "b": [], "a": []}), ts_init=5)) == [(None, 0, CLEAR | SNAPSHOT | LAST)]
    alpaca.receive(text(IMAGE), ts_init=5)
    assert len(alpaca.receive(text({**CHANGE, "b": [], "a": []}), ts_init=5)) == 0
    assert alpaca.counts == {"o": 3}


def test_a_frame_of_trades_and_books_keeps_its_order_and_every_message_ends_with_last() -> None:
    trade = {"T": "t", "S": "BTC/USD", "i": 9, "p": 71860.25, "s": 0.1, "tks": "B", "t": TIME}
    found = decoder().receive(text(IMAGE, trade, CHANGE), ts_init=5)
    assert found["kind"].tolist() == [29] * 4 + [1] + [29] * 2
    assert np.flatnonzero(found["flag"] & LAST).tolist() == [3, 6]
    assert unpack_conditions(found["code"][4]) == ["B"], "who took"


def test_a_change_before_the_image_is_not_read_but_kept_and_named() -> None:
    alpaca = decoder()
    assert len(alpaca.receive(text(CHANGE), ts_init=5)) == 0
    assert alpaca.unread == {"o": 1}
    assert alpaca.unknown[0].why == "a change of a book of which this connection has sent no image"
    assert alpaca.unknown[0].symbol == "BTC/USD"


def test_after_a_reconnection_the_old_book_can_not_be_taken_for_the_new_one() -> None:
    alpaca = decoder()
    alpaca.receive(text(IMAGE), ts_init=5)
    alpaca.begin()
    assert len(alpaca.receive(text(CHANGE), ts_init=6)) == 0
    assert said(alpaca.receive(text(IMAGE, CHANGE), ts_init=7))[0] == (None, 0, CLEAR | SNAPSHOT)
    assert len(alpaca.receive(text(CHANGE), ts_init=8)) == 2


def test_an_image_in_a_frame_that_can_not_be_read_has_not_come() -> None:
    alpaca = decoder()
    with pytest.raises(FeedError):
        alpaca.receive(text(IMAGE, {**CHANGE, "b": [{"p": 1}]}), ts_init=5)
    assert len(alpaca.receive(text(CHANGE), ts_init=6)) == 0


@pytest.mark.parametrize(
    ("change", "text_of_it"),
    [
        ({"b": [{"p": 0, "s": 1}]}, "a level's price must be > 0, received 0.0"),
        ({"a": [{"p": 5.5, "s": -1}]}, "a size must be >= 0, received -1"),
        (
            {"a": [{"p": 5.5, "s": 1e-10}]},
            "is not a whole number of lots of 1E-9, and a book without it would be wrong",
        ),
        ({"a": [{"p": 5.5}]}, "missing required field `s` - at `$.a[0]`"),
        ({"b": None}, "Expected `array`, got `null` - at `$.b`"),
        ({"t": "yesterday"}, "yesterday"),
        ({"r": "yes"}, "Expected `bool`, got `str` - at `$.r`"),
    ],
)
def test_a_malformed_level_spoils_the_frame_with_its_place_and_why(change: dict[str, object], text_of_it: str) -> None:
    alpaca = decoder()
    with pytest.raises(FeedError) as caught:
        alpaca.receive(text(IMAGE, {**CHANGE, **change}), ts_init=5)
    assert "Alpaca frame, message 1 of 2: " in str(caught.value)
    assert text_of_it in str(caught.value)
    assert alpaca.counts == {}


def test_the_acknowledgement_names_the_books_that_are_subscribed() -> None:
    alpaca = decoder()
    alpaca.receive('[{"T":"subscription","trades":[],"quotes":[],"orderbooks":["BTC/USD"],"bars":[]}]', ts_init=5)
    assert alpaca.controls == [Subscription(orderbooks=["BTC/USD"])]


def test_pairs_have_a_feed_of_their_own_whatever_is_named_for_stocks() -> None:
    assert feed_for([parse_instrument("BTC/USD")], "sip") == "us"
    assert stream_address("wss://host", "us") == "wss://host/v1beta3/crypto/us"
    assert stream_address("wss://host", "iex") == "wss://host/v2/iex"
    with pytest.raises(ConfigError, match=r"stocks \(SPY\) and pairs \(BTC/USD\) come from different streams"):
        feed_for([parse_instrument("SPY"), parse_instrument("BTC/USD")], "iex")
    with pytest.raises(ConfigError, match="feed 'us' carries pairs such as BTC/USD, received SPY"):
        feed_for([parse_instrument("SPY")], "us")
