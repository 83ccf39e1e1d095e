"""Market events as JSON: Alpaca's keys, its times, its numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mdslib.events import Kind, pack_conditions
from mdslib.sim.wire import encode, stamp, stamps
from mdslib.table import from_columns, trades

from .days import OPEN, minute_bars


@pytest.mark.parametrize(
    ("ts", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (OPEN + 1, "2013-10-08T13:30:00.000000001Z"),
        (OPEN + 500_000_000, "2013-10-08T13:30:00.5Z"),
        (OPEN + 10_000_000_000, "2013-10-08T13:30:10Z"),
    ],
)
def test_times_drop_their_trailing_zeros_alone_and_in_bulk(ts: int, text: str) -> None:
    assert stamp(ts) == text
    assert stamps(np.array([ts], np.int64)) == [text]


def test_trade_has_t_first_then_alpacas_keys() -> None:
    columns = {"trade_id": [2**60 + 1], "exchange": [ord("D")], "conditions": [pack_conditions(["@", "I"])]}
    (text,) = encode(trades([OPEN], [171.695], [7], **columns), 0, 1, ["SPY"])
    assert text == (
        '{"T":"t","S":"SPY","i":1152921504606846977,"x":"D","p":171.695,"s":7,"c":["@","I"],"z":"A",'
        '"t":"2013-10-08T13:30:00Z"}'
    )


def test_a_missing_side_of_a_quote_is_price_0() -> None:
    columns = {"ts_event": [OPEN], "bid": [float("nan")], "ask": [10.5], "bid_size": [0], "ask_size": [300]}
    (text,) = encode(from_columns(Kind.QUOTE, columns), 0, 1, ["SPY"])
    quote = json.loads(text)
    assert (quote["T"], quote["bp"], quote["bs"], quote["ap"], quote["as"]) == ("q", 0, 0, 10.5, 300)


def test_bars_are_stamped_at_their_start() -> None:
    bars = [json.loads(text) for text in encode(minute_bars(2), 0, 2, ["SPY"])]
    assert [bar["t"] for bar in bars] == ["2013-10-08T13:30:00Z", "2013-10-08T13:31:00Z"]
    assert {key: bars[1][key] for key in "ohlcvn"} == {"o": 101, "h": 103, "l": 100, "c": 102, "v": 10, "n": 1}
