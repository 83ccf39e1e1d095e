"""Coinbase Advanced Trade: bid and offer, one sequence a connection, trades in any order."""

from __future__ import annotations

import json

import pytest

from mdslib.book import OrderBook
from mdslib.events import Kind, unpack_conditions
from mdslib.feeds.coinbase_advanced import AdvancedDecoder
from mdslib.feeds.pairs import Pairs

PAIR, TIME = "BTC-USD", "2026-04-07T14:30:00.123456Z"


def frame(channel, number, *events):
    return json.dumps({"channel": channel, "timestamp": TIME, "sequence_num": number, "events": list(events)})


def levels(number, kind, *rows, pair=PAIR):
    updates = [{"side": s, "event_time": TIME, "price_level": p, "new_quantity": q} for s, p, q in rows]
    return frame("l2_data", number, {"type": kind, "product_id": pair, "updates": updates})


def opened():
    decoder = AdvancedDecoder(Pairs([PAIR]))
    decoder.receive(levels(0, "snapshot", ("bid", "68900.00", "1.5"), ("offer", "68901.00", "0.5")), 1)
    return decoder


def test_offers_are_asks_and_zero_deletes():
    decoder, book = AdvancedDecoder(), OrderBook(0.01)
    rows = ("bid", "68900.00", "1.5"), ("offer", "68901.00", "0.5"), ("offer", "68902.00", "2")
    book.apply(decoder.receive(levels(0, "snapshot", *rows), 1))
    book.apply(decoder.receive(levels(1, "update", ("offer", "68901.00", "0.00000000")), 2))
    assert (book.best_bid, book.best_ask, book.counts) == (68900.0, 68902.0, (1, 1))


def test_heartbeats_count_in_the_sequence_and_a_gap_costs_every_book():
    decoder = opened()
    decoder.receive(frame("heartbeats", 1), 1)
    assert (decoder.last.control, decoder.last.sequence_gaps) == (1, 0)
    records = decoder.receive(frame("heartbeats", 3), 1)
    assert records["kind"].tolist() == [Kind.GAP]
    (resync,) = decoder.take_resyncs()
    assert (resync.pair, resync.why) == (PAIR, "sequence: 2 must follow, received 3")
    assert json.loads(resync.send[1]) == {"type": "subscribe", "product_ids": [PAIR], "channel": "level2"}
    decoder.receive(levels(4, "update", ("bid", "68900.00", "1")), 1)
    assert decoder.last.names == {"book update before its snapshot": 1}


def trade(number, side="BUY"):
    return {
        "trade_id": str(number),
        "product_id": PAIR,
        "price": "68900.5",
        "size": "0.0015",
        "side": side,
        "time": TIME,
    }


def test_trades_count_once_in_any_order_and_those_of_a_snapshot_are_old():
    decoder = opened()
    decoder.receive(frame("market_trades", 1, {"type": "snapshot", "trades": [trade(8), trade(7)]}), 1)
    assert (decoder.last.old_trades, decoder.last.trades) == (2, 0)
    records = decoder.receive(
        frame("market_trades", 2, {"type": "update", "trades": [trade(10), trade(9, "SELL"), trade(8)]}), 1
    )
    assert records["i1"].tolist() == [10, 9]
    assert [unpack_conditions(code) for code in records["code"].tolist()] == [["B"], ["S"]]
    assert decoder.last.repeated_trades == 1


def test_a_ticker_is_a_quote():
    body = {
        "product_id": PAIR,
        "best_bid": "1.5",
        "best_bid_quantity": "2",
        "best_ask": "1.6",
        "best_ask_quantity": "3",
    }
    (record,) = opened().receive(frame("ticker", 1, {"type": "update", "tickers": [body]}), 1)
    assert (record["f0"], record["f1"], record["i0"], record["i1"]) == (1.5, 1.6, 200_000_000, 300_000_000)


@pytest.mark.parametrize(
    ("text", "outcome", "name"),
    [
        (frame("subscriptions", 1), "control", "subscriptions"),
        ('{"type":"error","message":"authentication failure"}', "control", "refused: authentication failure"),
        (frame("candles", 1), "ignored", "channel candles is not read"),
        (frame("ticker", 1), "ignored", "ticker without events"),
        (levels(1, "update", pair="ETH-USD"), "ignored", "book update of a pair that is not ours"),
        ("{}", "ignored", "unreadable"),
    ],
)
def test_every_message_is_decoded_control_or_ignored_by_name(text, outcome, name):
    decoder = opened()
    assert len(decoder.receive(text, 1)) == 0
    assert decoder.last.names == {name: 1}
    assert getattr(decoder.last, outcome) == 1
