"""BitMEX: levels by id with and without prices, old trades of a partial, frames of several symbols."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mdslib.book import OrderBook
from mdslib.events import BookFlag, Kind, unpack_conditions
from mdslib.feeds.bitmex import BitmexDecoder
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.replay import replay_capture

PAIR, TIME = "XBTUSD", "2021-07-22T22:36:11.685Z"
NS = 1626993371685000000


def table(action, *rows, name="orderBookL2", symbol=PAIR, **more):
    data = [{"symbol": symbol, **row} for row in rows]
    return json.dumps({"table": name, "action": action, "data": data, **more})


def row(number, side="Buy", **more):
    return {"id": number, "side": side, **more}


def partial():
    rows = [row(1, "Sell", size=30, price=101.5), row(2, "Buy", size=20, price=101)]
    return table("partial", *rows, filter={"symbol": PAIR}, keys=["symbol", "id", "side"])


def opened():
    decoder = BitmexDecoder(Pairs([PAIR]))
    decoder.receive(partial(), 1)
    return decoder


def levels(records):
    return [(int(r["flag"]) & BookFlag.ASK, float(r["f0"]), int(r["i0"])) for r in records]


def test_a_partial_is_a_snapshot_and_sizes_are_contracts():
    decoder = BitmexDecoder()
    records = decoder.receive(partial(), 1)
    assert levels(records[1:]) == [(1, 101.5, 30), (0, 101.0, 20)]
    assert (decoder.last.snapshots, decoder.last.levels) == (1, 2)


def test_updates_and_deletes_without_price_find_it_by_id():
    decoder = opened()
    assert levels(decoder.receive(table("update", row(2, size=7)), 2)) == [(0, 101.0, 7)]
    assert levels(decoder.receive(table("delete", row(2)), 2)) == [(0, 101.0, 0)]
    assert levels(decoder.receive(table("insert", row(3, size=5, price=100.5)), 2)) == [(0, 100.5, 5)]


def test_updates_of_2023_and_later_bring_price_and_time():
    decoder = opened()
    (record,) = decoder.receive(table("update", row(2, size=7, price=101, timestamp=TIME)), 2)
    assert (record["f0"], record["ts_event"]) == (101.0, NS)


def test_an_id_that_changes_its_side_leaves_the_old_one():
    decoder, book = BitmexDecoder(), OrderBook(0.5)
    book.apply(decoder.receive(partial(), 1))
    book.apply(decoder.receive(table("update", row(1, "Buy", size=4)), 2))
    assert (book.best_bid, book.counts) == (101.5, (2, 0))


def test_rows_of_an_unknown_level_are_passed_over_and_counted():
    decoder = opened()
    records = decoder.receive(table("delete", row(99), row(2)), 2)
    assert levels(records) == [(0, 101.0, 0)]
    assert decoder.last.names == {"book delete": 1, "rows of an unknown level": 1}
    decoder.receive(table("update", row(99, size=1, price=3.0)), 2)
    assert decoder.last.ignored == 1
    assert decoder.last.names["book update of unknown levels"] == 1


def trade(number, symbol=PAIR, side="Buy"):
    guid = f"{number:08x}-235e-08a6-d11b-e1042bf1f2ed"
    return {"timestamp": TIME, "symbol": symbol, "side": side, "size": 100, "price": 32180.5, "trdMatchID": guid}


def test_trades_of_a_partial_are_old_and_a_repeated_trade_counts_once():
    decoder = opened()
    assert len(decoder.receive(table("partial", trade(1), name="trade", filter={"symbol": PAIR}), 1)) == 0
    assert (decoder.last.old_trades, decoder.last.trades) == (1, 0)
    records = decoder.receive(table("insert", trade(1), trade(2, side="Sell"), name="trade"), 2)
    assert (decoder.last.trades, decoder.last.repeated_trades) == (1, 1)
    (record,) = records
    assert (record["f0"], record["i0"], record["ts_event"]) == (32180.5, 100, NS)
    assert record["i1"] == 0x00000002235E08A6 >> 1
    assert unpack_conditions(record["code"]) == ["s"]


def test_a_frame_of_two_symbols_is_one_message_and_counts_for_each():
    decoder = BitmexDecoder()
    data = [trade(1), trade(2, "ETHUSD")]
    records = decoder.receive(json.dumps({"table": "trade", "action": "insert", "data": data}), 1)
    assert records["instrument"].tolist() == [0, 1]
    assert [(tally.messages, tally.trades) for tally in decoder.tallies.values()] == [(1, 1), (0, 1)]


def test_a_quote_may_lack_a_side():
    decoder = opened()
    body = {"timestamp": TIME, "bidSize": 15, "bidPrice": 0.00001814}
    (record,) = decoder.receive(table("insert", body, name="quote"), 1)
    assert (record["kind"], record["f0"], record["i0"], record["i1"]) == (Kind.QUOTE, 0.00001814, 15, 0)
    assert record["f1"] != record["f1"]


@pytest.mark.parametrize(
    ("text", "outcome", "name"),
    [
        ("pong", "control", "pong"),
        ('{"info":"Welcome to the BitMEX Realtime API."}', "control", "info"),
        ('{"success":true,"subscribe":"trade:XBTUSD"}', "control", "subscribed"),
        ('{"success":true,"request":{"op":"authKeyExpires"}}', "control", "answered"),
        ('{"status":400,"error":"Unknown table: foo"}', "control", "refused: Unknown table: foo"),
        (table("partial", name="funding"), "ignored", "table funding is not read"),
        (table("update"), "ignored", "book update without rows"),
        (table("update", row(1, size=1)), "ignored", "book update before its snapshot"),
        (table("update", row(1, size=1), symbol="ETHUSD"), "ignored", "book update of a pair that is not ours"),
        ("{}", "ignored", "message without a table is not known"),
        ("nonsense", "ignored", "unreadable"),
    ],
)
def test_every_message_is_decoded_control_or_ignored_by_name(text, outcome, name):
    decoder = BitmexDecoder(Pairs([PAIR]))
    assert len(decoder.receive(text, 1)) == 0
    assert decoder.last.names == {name: 1}
    assert getattr(decoder.last, outcome) == 1


def test_a_change_that_cannot_be_read_costs_its_pair():
    decoder = opened()
    records = decoder.receive(table("update", row(2, size="many")), 2)
    assert records["kind"].tolist() == [Kind.GAP]
    (resync,) = decoder.take_resyncs()
    assert json.loads(resync.send[1]) == {"op": "subscribe", "args": ["orderBookL2:XBTUSD"]}


@pytest.mark.parametrize(
    ("name", "messages", "deltas", "trades", "quotes"),
    [("bitmex_20210417", 2021, 1852, 8, 101), ("bitmex_20210722", 2120, 1969, 17, 83)],
)
def test_the_captures_agree_with_the_venues_own_quotes(shared_data: Path, name, messages, deltas, trades, quotes):
    found = replay_capture(shared_data / name).as_dict()
    assert (found["messages"], found["control"], found["ignored"]) == (messages, 31, 0)
    assert (found["snapshots"], found["deltas"], found["trades"], found["old_trades"]) == (10, deltas, trades, 10)
    assert (found["quotes_compared"], found["quotes_equal"], found["crossed"]) == (quotes, quotes, 0)
    assert "rows of an unknown level" not in found["names"]
