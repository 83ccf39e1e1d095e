"""One wrong time, the venue's or ours, does not spoil the times of the book's later messages."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mdslib.events import BookFlag, Kind
from mdslib.feeds.book_time import AHEAD, HELD
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.replay import decoder_for
from mdslib.feeds.rfc3339 import from_ns
from mdslib.feeds.venue import VenueDecoder
from mdslib.protocols import Records
from mdslib.store.recorded import tables_of

START, SECOND = 1_700_000_000_000_000_000, 1_000_000_000
DAY = 86_400 * SECOND
IMAGE = '{"type":"snapshot","product_id":"BTC-USD","asks":[["101.00","1.0"]],"bids":[["100.00","1.0"]]}'


def update(time: int, gap: str = "") -> str:
    """Return a change; with a space the compiled form does not read it."""
    return (
        f'{{"type":"l2update",{gap}"product_id":"BTC-USD","changes":[["buy","100.00","2.0"]],"time":"{from_ns(time)}"}}'
    )


def followed(decoder: VenueDecoder, *frames: tuple[str, int]) -> Records:
    return np.concatenate([decoder.receive(frame, time) for frame, time in frames])


@pytest.mark.parametrize("gap", ["", " "])
def test_a_venue_time_a_day_ahead_is_replaced_by_the_receipt_and_counted(gap: str) -> None:
    decoder = decoder_for("coinbase")(Pairs(["BTC-USD"]))
    times = [START + number * SECOND for number in range(1, 6)]
    told = [*times[:2], times[2] + DAY, *times[3:]]
    later = [(update(one, gap), time + 1000) for one, time in zip(told, times, strict=True)]
    records = followed(decoder, (IMAGE, START), *later)
    deltas = records[(records["flag"] & BookFlag.SNAPSHOT) == 0]
    assert deltas["ts_event"].tolist() == [*times[:2], times[2] + 1000, *times[3:]]
    assert decoder.tallies["BTC-USD"].wrong_times == 1
    assert decoder.tallies["BTC-USD"].decoded == 6


def test_up_to_the_bound_and_where_no_receipt_is_known_the_venues_time_is_taken() -> None:
    for received, ahead in ((START, AHEAD), (0, DAY)):
        decoder = decoder_for("coinbase")(Pairs(["BTC-USD"]))
        records = followed(decoder, (IMAGE, received), (update(START + ahead), received))
        assert records["ts_event"][-1] == START + ahead
        assert decoder.tallies["BTC-USD"].wrong_times == 0


def test_a_trade_of_tomorrow_is_of_its_receipt_and_counted() -> None:
    decoder = decoder_for("coinbase")(Pairs(["BTC-USD"]))
    trade = {"type": "match", "trade_id": 1, "side": "buy", "size": "1", "price": "100", "product_id": "BTC-USD"}
    records = decoder.receive(json.dumps(trade | {"sequence": 1, "time": from_ns(START + DAY)}), START)
    assert records["ts_event"].tolist() == [START]
    assert decoder.tallies["BTC-USD"].wrong_times == 1


@pytest.mark.parametrize("gap", ["", " "])
def test_an_image_of_a_clock_that_is_ahead_does_not_hold_the_deltas_back(gap: str) -> None:
    decoder, ahead = decoder_for("coinbase")(Pairs(["BTC-USD"])), 60 * SECOND
    times = [START + number * SECOND for number in range(1, 6)]
    records = followed(decoder, (IMAGE, START + ahead), *((update(time, gap), time + ahead) for time in times))
    deltas = records[(records["flag"] & BookFlag.SNAPSHOT) == 0]
    assert deltas["ts_event"].tolist() == times
    (table,) = tables_of(records)
    assert table.kind == Kind.BOOK_DELTA
    assert table["ts_event"].tolist() == [times[0]] * 3 + times  # the image is of no later than what follows it
    again = followed(decoder, (IMAGE, START + ahead + 10 * SECOND), (update(times[-1] + SECOND, gap), START + DAY))
    assert again["ts_event"][-1] == times[-1] + SECOND


def test_an_image_that_came_a_moment_after_the_deltas_time_keeps_their_order() -> None:
    decoder = decoder_for("coinbase")(Pairs(["BTC-USD"]))
    records = followed(decoder, (IMAGE, START), (update(START - HELD), START + 1))
    assert records["ts_event"].tolist() == [START] * 4
