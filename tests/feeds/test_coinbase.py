"""Coinbase Exchange: level 2, matches with the maker's side, old trades, and gaps that only trade numbers show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mdslib.book import OrderBook
from mdslib.events import BookFlag, Kind, unpack_conditions
from mdslib.feeds.capture import What, capture_files, read_capture
from mdslib.feeds.coinbase import CoinbaseDecoder
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.replay import replay_capture

PAIR, TIME, NS = "BTC-USD", "2026-01-05T15:25:05.010758Z", 1767626705010758000


def frame(kind, **more):
    return json.dumps({"type": kind, "product_id": PAIR, **more})


def snapshot():
    return frame("snapshot", bids=[["101.10", "0.450"]], asks=[["102.55", "0.577"], ["102.60", "1"]])


def update(*changes):
    return frame("l2update", time=TIME, changes=list(changes))


def match(number, kind="match", side="sell", sequence=50):
    body = {"trade_id": number, "sequence": sequence, "side": side, "size": "5.23", "price": "400.23", "time": TIME}
    return frame(kind, **body)


def opened():
    decoder = CoinbaseDecoder(Pairs([PAIR]))
    decoder.receive(snapshot(), 1)
    return decoder


def test_snapshot_then_updates_make_the_book():
    decoder, book = CoinbaseDecoder(), OrderBook(0.01)
    first = decoder.receive(snapshot(), 1)
    second = decoder.receive(update(["buy", "101.10000000", "0.00000000"], ["sell", "102.50", "1.2"]), 2)
    book.apply(np.concatenate([first, second]))
    assert (book.counts, book.best_ask) == ((0, 3), 102.5)  # trailing zeros name the same level
    assert second["ts_event"].tolist() == [NS, NS]
    assert second["flag"].tolist() == [0, BookFlag.ASK | BookFlag.LAST]


def test_who_took_is_the_other_side_than_the_makers():
    decoder = opened()
    records = [decoder.receive(match(1, side="sell"), 1)[0], decoder.receive(match(2, side="buy"), 1)[0]]
    assert [unpack_conditions(record["code"]) for record in records] == [["b"], ["s"]]
    assert (records[0]["f0"], records[0]["i0"], records[0]["i1"]) == (400.23, 523_000_000, 1)


def test_last_match_is_an_old_trade_and_gives_no_record():
    decoder = opened()
    assert len(decoder.receive(match(9, "last_match"), 1)) == 0
    assert (decoder.last.old_trades, decoder.last.trades, decoder.last.decoded) == (1, 0, 1)
    assert len(decoder.receive(match(9), 1)) == 0  # the same again, live
    assert decoder.last.repeated_trades == 1


def test_a_jump_of_trade_numbers_is_a_gap():
    decoder = opened()
    for number in (9, 10):
        decoder.receive(match(number), 1)
    assert decoder.take_resyncs() == []
    after = decoder.receive(match(12), 1)
    assert (decoder.tallies[PAIR].trades, decoder.tallies[PAIR].sequence_gaps) == (3, 1)
    assert after["kind"].tolist() == [Kind.GAP, Kind.TRADE], "the GAP is where the lost trade would have been"
    (resync,) = decoder.take_resyncs()
    assert (resync.pair, resync.why) == (PAIR, "trades: 11 must follow, the next is 12")
    assert [json.loads(text)["type"] for text in resync.send] == ["unsubscribe", "subscribe"]
    assert len(decoder.receive(update(["buy", "101.10", "1"]), 1)) == 0, "level 2 has no numbers that could clear it"
    assert decoder.receive(snapshot(), 1)["flag"][0] & BookFlag.CLEAR


def test_a_heartbeat_shows_trades_that_never_came():
    decoder = opened()
    decoder.receive(match(9), 1)
    kinds = [
        decoder.receive(frame("heartbeat", sequence=90, last_trade_id=last, time=TIME), 1)["kind"].tolist()
        for last in (9, 11, 11)
    ]
    assert kinds == [[], [Kind.GAP], []]
    assert [resync.why for resync in decoder.take_resyncs()] == ["trades: 10 must follow, the next is 12"]
    assert (decoder.tallies[PAIR].sequence_gaps, decoder.tallies[PAIR].control) == (1, 3)


def test_a_ticker_is_a_quote_with_sizes_where_they_are_sent():
    decoder = opened()
    old = decoder.receive(frame("ticker", best_bid="1.5", best_ask="1.6", time=TIME), 1)[0]
    assert (old["kind"], old["f0"], old["f1"], old["i0"]) == (Kind.QUOTE, 1.5, 1.6, 0)
    new = frame("ticker", best_bid="1.5", best_ask="1.6", best_bid_size="2", best_ask_size="3", time=TIME)
    assert decoder.receive(new, 1)[0]["i1"] == 300_000_000


@pytest.mark.parametrize(
    ("text", "outcome", "name"),
    [
        ('{"type":"subscriptions","channels":[]}', "control", "subscriptions"),
        ('{"type":"error","message":"Failed","reason":"it needs a key"}', "control", "refused: Failed it needs a key"),
        ('{"type":"rfq_match","product_id":"BTC-USD"}', "ignored", "type rfq_match is not read"),
        ('{"type":"ticker","product_id":"BTC-USD","price":"1"}', "ignored", "ticker without a trade"),
        ('{"type":"match","product_id":"ETH-USD"}', "ignored", "match of a pair that is not ours"),
        (update(["buy", "1", "1"]), "ignored", "book update before its snapshot"),
        ("[1]", "ignored", "unreadable"),
        ("{", "ignored", "unreadable"),
    ],
)  # fmt: skip
def test_every_message_is_decoded_control_or_ignored_by_name(text, outcome, name):
    decoder = CoinbaseDecoder(Pairs([PAIR]))
    assert len(decoder.receive(text, 1)) == 0
    assert decoder.last.names == {name: 1}
    assert getattr(decoder.last, outcome) == 1


def test_an_update_that_cannot_be_read_costs_its_pair_until_the_next_snapshot():
    decoder = opened()
    records = decoder.receive(update(["buy", "101.10", "lots"]), 2)
    assert records["kind"].tolist() == [Kind.GAP]
    (resync,) = decoder.take_resyncs()
    assert [json.loads(text)["type"] for text in resync.send] == ["unsubscribe", "subscribe"]
    decoder.receive(update(["buy", "101.10", "1"]), 3)
    assert decoder.last.names == {"book update before its snapshot": 1}
    decoder.receive(snapshot(), 4)
    decoder.receive(update(["buy", "101.10", "1"]), 5)
    assert decoder.last.deltas == 1


def test_the_capture_of_2021_is_accounted_for(shared_data: Path):
    found = replay_capture(shared_data / "coinbase_20210417").as_dict()
    assert (found["messages"], found["control"], found["ignored"]) == (9946, 3, 0)
    assert (found["snapshots"], found["deltas"], found["trades"], found["old_trades"]) == (10, 9719, 97, 10)
    assert (found["crossed"], found["sequence_gaps"], found["repeated_trades"]) == (0, 0, 0)
    assert (found["quotes_compared"], found["quotes_equal"]) == (107, 100)


def test_every_ticker_after_a_pairs_first_has_the_books_best_prices(shared_data: Path):
    decoder, books, first, compared = CoinbaseDecoder(), {}, set(), 0
    for line in read_capture(*capture_files(shared_data / "coinbase_20210417")):
        if line.what is not What.RECEIVED:
            continue
        for record in decoder.receive(line.text, line.time).reshape(-1, 1):
            place = int(record["instrument"][0])
            book = books.setdefault(place, OrderBook(1e-8 if decoder.pairs.symbols[place].endswith("-BTC") else 1e-4))
            book.apply(record)
            if record["kind"][0] != Kind.QUOTE:
                continue
            # The first ticker tells the last trade before the subscription: it is older than the snapshot.
            if place in first:
                assert (book.best_bid, book.best_ask) == (record["f0"][0], record["f1"][0])
                compared += 1
            first.add(place)
    assert compared == 97
