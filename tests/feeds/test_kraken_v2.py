"""Kraken v2: the documented checksum, depth, precision of whole numbers, trades by id."""

from __future__ import annotations

import json

import pytest

from mdslib.book import OrderBook
from mdslib.events import BookFlag, Kind, unpack_conditions
from mdslib.feeds.kraken_v2 import KrakenV2Decoder
from mdslib.feeds.pairs import Pairs

PAIR, TIME = "BTC/USD", "2026-01-05T17:35:55.440295Z"
# Kraken, "Book checksum (WebSocket v2)": this book has the checksum 3310070434.
ASKS = """45285.2/0.00100000 45286.4/1.54571953 45286.6/1.54571109 45289.6/1.54560911 45290.2/0.15890660
 45291.8/1.54553491 45294.7/0.04454749 45296.1/0.35380000 45297.5/0.09945542 45299.5/0.18772827"""
BIDS = """45283.5/0.10000000 45283.4/1.54582015 45282.1/0.10000000 45281.0/0.10000000 45280.3/1.54592586
 45279.0/0.07990000 45277.6/0.03310103 45277.5/0.30000000 45277.3/1.54602737 45276.6/0.15445238"""
CHECKSUM = 3310070434


def rows(text):
    return ",".join('{{"price":{},"qty":{}}}'.format(*level.split("/")) for level in text.split())


def book(kind, bids="", asks="", checksum=None, symbol=PAIR):
    tail = f',"timestamp":"{TIME}"' + ("" if checksum is None else f',"checksum":{checksum}')
    item = f'{{"symbol":"{symbol}","bids":[{rows(bids)}],"asks":[{rows(asks)}]{tail}}}'
    return f'{{"channel":"book","type":"{kind}","data":[{item}]}}'


def test_the_documented_book_has_the_documented_checksum():
    decoder = KrakenV2Decoder()
    records = decoder.receive(book("snapshot", BIDS, ASKS, CHECKSUM), 1)
    assert (decoder.last.checksums_ok, decoder.last.checksums_bad) == (1, 0)
    assert (records["flag"][-1] & BookFlag.CHECKSUM, records["code"][-1]) == (BookFlag.CHECKSUM, CHECKSUM)


def test_a_wrong_checksum_asks_for_the_pair_at_its_depth():
    decoder = KrakenV2Decoder()
    ack = {"method": "subscribe", "result": {"channel": "book", "depth": 25, "symbol": PAIR}, "success": True}
    decoder.receive(json.dumps(ack), 0)
    records = decoder.receive(book("snapshot", BIDS, ASKS, 7), 1)
    assert records["kind"][-1] == Kind.GAP
    (resync,) = decoder.take_resyncs()
    assert resync.why == f"the book's checksum must be 7, ours is {CHECKSUM}"
    assert json.loads(resync.send[1])["params"] == {"channel": "book", "symbol": [PAIR], "depth": 25}


def test_levels_pushed_out_of_the_depth_are_deleted():
    decoder, ours = KrakenV2Decoder(), OrderBook(0.1)
    ours.apply(decoder.receive(book("snapshot", BIDS, ASKS), 1))
    ours.apply(decoder.receive(book("update", "45284.0/1.0"), 2))
    assert ours.counts == (10, 10)
    assert ours.best_bid == 45284.0


def test_a_number_without_a_point_takes_its_zeros_from_the_instruments_precision():
    decoder = KrakenV2Decoder()
    pair = {"symbol": PAIR, "price_precision": 1, "qty_precision": 8}
    decoder.receive(json.dumps({"channel": "instrument", "type": "snapshot", "data": {"pairs": [pair]}}), 0)
    decoder.receive(book("snapshot", BIDS.replace("45281.0", "45281"), ASKS, CHECKSUM), 1)
    assert decoder.last.checksums_ok == 1


def trade(number, kind="update"):
    body = {"symbol": PAIR, "side": "sell", "price": 45283.4, "qty": 0.0005, "ord_type": "market", "trade_id": number}
    return json.dumps({"channel": "trade", "type": kind, "data": [{**body, "timestamp": TIME}]})


def test_trades_follow_one_another_and_those_of_a_snapshot_are_old():
    decoder = KrakenV2Decoder()
    assert len(decoder.receive(trade(4, "snapshot"), 1)) == 0
    (record,) = decoder.receive(trade(5), 1)
    assert (record["f0"], record["i0"], record["i1"]) == (45283.4, 50_000, 5)
    assert unpack_conditions(record["code"]) == ["s", "m"]
    decoder.receive(trade(5), 1)
    assert decoder.take_resyncs() == []
    assert decoder.receive(trade(7), 1)["kind"].tolist() == [Kind.GAP, Kind.TRADE]
    assert [resync.why for resync in decoder.take_resyncs()] == ["trades: 6 must follow, received 7"]
    tally = decoder.tallies[PAIR]
    assert (tally.old_trades, tally.trades, tally.repeated_trades, tally.sequence_gaps) == (1, 2, 1, 1)


@pytest.mark.parametrize(
    ("text", "outcome", "name"),
    [
        ('{"channel":"heartbeat"}', "control", "heartbeat"),
        ('{"channel":"status","type":"update","data":[]}', "control", "status"),
        ('{"method":"pong","req_id":42}', "control", "pong"),
        ('{"method":"subscribe","success":false,"error":"not supported"}', "control", "refused: not supported"),
        ('{"method":"add_order","success":true}', "ignored", "answer to add_order is not read"),
        ('{"channel":"level3","type":"update","data":[]}', "ignored", "channel level3 is not read"),
        ('{"feed":"book","seq":1}', "ignored", "futures book is not read"),
        ('{"channel":"trade","type":"update","data":[]}', "ignored", "trade without data"),
        (book("update", "1/1"), "ignored", "book update before its snapshot"),
        (book("snapshot", symbol="ETH/USD"), "ignored", "book of a pair that is not ours"),
        ("[]", "ignored", "unreadable"),
    ],
)  # fmt: skip
def test_every_message_is_decoded_control_or_ignored_by_name(text, outcome, name):
    decoder = KrakenV2Decoder(Pairs([PAIR]))
    assert len(decoder.receive(text, 1)) == 0
    assert decoder.last.names == {name: 1}
    assert getattr(decoder.last, outcome) == 1
