"""Kraken v1: books, checksums over the wire's own digits, trades, and what happens when something is wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from mdslib.book import OrderBook
from mdslib.events import BookFlag, Kind, unpack_conditions
from mdslib.feeds.account import Resync
from mdslib.feeds.kraken import KrakenDecoder, digits
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.replay import replay_capture

PAIR = "XBT/USD"
TIME = "1534614248.123456"
# Kraken's published example of the checksum: ten levels of each side.
ASKS = [(f"0.0500{n}", f"0.0000050{n}" if n < 10 else f"0.000005{n}") for n in range(5, 10)] + [
    (f"0.050{n}", f"0.000005{n}") for n in range(10, 15)
]
BIDS = [(f"0.0500{n}", f"0.0000050{n}") for n in range(4, -1, -1)] + [
    (f"0.0499{n}", f"0.000004{n}") for n in range(9, 4, -1)
]


def snapshot(bids, asks, depth=10):
    rows = {"as": [[*level, TIME] for level in asks], "bs": [[*level, TIME] for level in bids]}
    return json.dumps([0, rows, f"book-{depth}", PAIR])


def update(checksum=None, depth=10, **sides):
    parts = [{side: [[price, size, TIME] for price, size in rows]} for side, rows in sides.items()]
    if checksum is not None:
        parts[-1]["c"] = str(checksum)
    return json.dumps([0, *parts, f"book-{depth}", PAIR])


def checksum(bids, asks):
    return crc32("".join(digits(text) for level in [*asks[:10], *bids[:10]] for text in level).encode())


def opened(depth=10, bids=BIDS, asks=ASKS):
    decoder = KrakenDecoder(Pairs([PAIR]))
    decoder.receive(snapshot(bids, asks, depth), 1)
    return decoder


def test_a_snapshot_is_a_clear_and_its_levels_the_last_of_them_marked():
    records = KrakenDecoder().receive(snapshot([("10.0", "1.5")], [("10.1", "2"), ("10.2", "3")]), ts_init=77)
    flags = [BookFlag(int(flag)) for flag in records["flag"]]
    image = BookFlag.SNAPSHOT
    assert flags == [image | BookFlag.CLEAR, image | BookFlag.ASK, image | BookFlag.ASK, image | BookFlag.LAST]
    assert math.isnan(records["f0"][0])
    assert records["f0"][1:].tolist() == [10.1, 10.2, 10.0]
    assert records["i0"][1:].tolist() == [200_000_000, 300_000_000, 150_000_000]
    assert set(records["ts_init"].tolist()) == {77}
    assert records["ts_event"][0] == 1534614248123456000


def test_the_checksum_is_verified_and_kept_with_the_last_record():
    decoder = opened()
    after = checksum([("0.05004", "0.00000100"), *BIDS[1:]], ASKS)
    records = decoder.receive(update(after, b=[("0.05004", "0.00000100")]), 2)
    assert (decoder.last.checksums_ok, decoder.last.checksums_bad) == (1, 0)
    assert (records["flag"][-1], records["code"][-1]) == (BookFlag.LAST | BookFlag.CHECKSUM, after)


def test_trailing_zeros_of_the_wire_belong_to_the_checksum():
    decoder = opened()
    decoder.receive(update(checksum([("0.05004", "0.000001"), *BIDS[1:]], ASKS), b=[("0.05004", "0.00000100")]), 2)
    assert decoder.last.checksums_bad == 1


def test_a_wrong_checksum_asks_for_the_one_pair_anew_and_marks_a_gap():
    decoder = opened()
    decoder.receive(snapshot(BIDS, ASKS).replace(PAIR, "ETH/USD"), 1)
    records = decoder.receive(update(1, b=[("0.05004", "0.00000100")]), 2)
    assert [Kind(int(kind)) for kind in records["kind"]] == [Kind.BOOK_DELTA, Kind.GAP]
    (resync,) = decoder.take_resyncs()
    assert isinstance(resync, Resync)
    assert resync.pair == PAIR
    assert resync.why.startswith("the book's checksum must be 1, ours is ")
    assert [json.loads(text)["event"] for text in resync.send] == ["unsubscribe", "subscribe"]
    assert json.loads(resync.send[1]) == {
        "event": "subscribe", "pair": [PAIR], "subscription": {"name": "book", "depth": 10},
    }  # fmt: skip
    assert decoder.take_resyncs() == []


def test_after_a_wrong_checksum_deltas_are_ignored_by_name_until_the_snapshot():
    decoder = opened()
    decoder.receive(update(1, b=[("0.05004", "0.00000100")]), 2)
    assert len(decoder.receive(update(2, b=[("0.05004", "0.00000200")]), 3)) == 0
    assert decoder.last.names == {"book update before its snapshot": 1}
    assert decoder.last.ignored == 1
    decoder.receive(snapshot(BIDS, ASKS), 4)
    decoder.receive(update(checksum([("0.05004", "0.00000200"), *BIDS[1:]], ASKS), b=[("0.05004", "0.00000200")]), 5)
    assert decoder.last.checksums_ok == 1


def test_an_update_of_both_sides_has_two_objects_and_is_one_message():
    decoder = opened()
    after = checksum([("0.05004", "0.00000100"), *BIDS[1:]], [("0.05005", "0.00000100"), *ASKS[1:]])
    frame = update(after, a=[("0.05005", "0.00000100")], b=[("0.05004", "0.00000100")])
    records = decoder.receive(frame, 2)
    assert len(json.loads(frame)) == 5
    assert (len(records), decoder.last.deltas, decoder.last.checksums_ok) == (2, 1, 1)


def test_levels_that_are_pushed_out_of_the_depth_are_deleted_by_records():
    decoder = opened(depth=2, bids=[("10", "1"), ("9", "1")], asks=[])
    book = OrderBook(1.0)
    book.apply(KrakenDecoder().receive(snapshot([("10", "1"), ("9", "1")], [], 2), 1))
    book.apply(decoder.receive(update(depth=2, b=[("11", "4.0")]), 2))
    assert book.top(9).bid.tolist() == [11.0, 10.0]


def test_entries_are_applied_in_order_even_to_one_price():
    decoder = opened()
    rows = [("0.05004", "0.00000000"), ("0.05004", "0.00000700")]
    decoder.receive(update(checksum([("0.05004", "0.00000700"), *BIDS[1:]], ASKS), b=rows), 2)
    assert decoder.last.checksums_ok == 1


def test_a_republished_level_has_a_fourth_text():
    decoder = opened()
    frame = json.dumps([0, {"b": [["0.05004", "0.00000500", TIME, "r"]]}, "book-10", PAIR])
    assert len(decoder.receive(frame, 2)) == 1


def test_trades_say_who_took():
    frame = json.dumps([1, [["10.5", "0.25", TIME, "b", "l", ""], ["10.4", "1", TIME, "s", "m", ""]], "trade", PAIR])
    decoder = KrakenDecoder()
    records = decoder.receive(frame, 5)
    assert records["kind"].tolist() == [Kind.TRADE, Kind.TRADE]
    assert [unpack_conditions(int(code)) for code in records["code"]] == [["b", "l"], ["s", "m"]]
    assert records["i0"].tolist() == [25_000_000, 100_000_000]
    assert decoder.tallies[PAIR].trades == 2


def test_a_ticker_is_a_quote():
    payload = {"a": ["10.6", 1, "1.50"], "b": ["10.5", 2, "2.00"], "c": ["10.5", "1"]}
    record = KrakenDecoder().receive(json.dumps([2, payload, "ticker", PAIR]), 9)[0]
    assert (record["f0"], record["f1"], record["i0"], record["i1"]) == (10.5, 10.6, 200_000_000, 150_000_000)
    assert record["ts_event"] == 9


@pytest.mark.parametrize(
    ("frame", "outcome", "name"),
    [
        ('{"event":"heartbeat"}', "control", "heartbeat"),
        ('{"event":"systemStatus","status":"online","version":"1.8.3"}', "control", "systemStatus"),
        ('{"event":"subscriptionStatus","status":"subscribed","pair":"XBT/USD"}', "control", "subscribed"),
        (
            '{"event":"subscriptionStatus","status":"error","errorMessage":"Currency pair not supported","pair":"X/Y"}',
            "control",
            "refused: Currency pair not supported",
        ),
        ('{"event":"news"}', "ignored", "event news is not known"),
        ('[5,[],"ohlc-5","XBT/USD"]', "ignored", "channel ohlc is not read"),
        ('[5,{"a":[]},"book-10","ETH/USD"]', "ignored", "book of a pair that is not ours"),
        ('[5,{"a":[]},"book-10","XBT/USD"]', "ignored", "book update before its snapshot"),
        ("garbage", "ignored", "unreadable"),
        ("[]", "ignored", "unreadable"),
    ],
)
def test_every_message_is_decoded_control_or_ignored_by_name(frame, outcome, name):
    decoder = KrakenDecoder(Pairs([PAIR]))
    assert len(decoder.receive(frame, 1)) == 0
    assert decoder.last.names == {name: 1}
    assert getattr(decoder.last, outcome) == 1
    assert len(decoder.unread) == (outcome == "ignored")


def test_a_book_message_that_cannot_be_read_costs_its_pair_and_is_kept_as_text():
    decoder = opened()
    records = decoder.receive(update(1, b=[("0.05004", "much")]), 2)
    assert records["kind"].tolist() == [Kind.GAP]
    assert decoder.last.names == {"unreadable": 1}
    assert "much" in decoder.unread[-1].text
    assert "book update can't be read: ValueError: a number must be a whole count of 1e-8" in decoder.unread[-1].why
    assert [resync.pair for resync in decoder.take_resyncs()] == [PAIR]


def test_the_capture_of_2021_verifies_every_checksum_and_crosses_no_book(shared_data: Path):
    every: list[np.ndarray] = []
    report = replay_capture(shared_data / "kraken_20210417", sink=every.append)
    found = report.as_dict()
    assert (found["checksums_ok"], found["checksums_bad"], found["crossed"]) == (4269, 0, 0)
    assert (found["snapshots"], found["deltas"], found["trades"], found["old_trades"]) == (10, 4269, 10, 0)
    assert found["messages"] == 4430 == found["decoded"] + found["control"] + found["ignored"]
    assert found["ignored"] == 0
    assert found["names"]["heartbeat"] == 92
    assert len(found["pairs"]) == 11  # ten pairs, and what belongs to none
    assert sum(map(len, every)) == found["records"]
