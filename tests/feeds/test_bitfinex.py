"""Bitfinex: sequence, checksum, one trade for te and tu, info codes, and channels that are numbered by connection."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mdslib.book import OrderBook
from mdslib.events import BookFlag, Kind, unpack_conditions
from mdslib.feeds.account import CONNECTION
from mdslib.feeds.bitfinex import OB_CHECKSUM, SEQ_ALL, TIMESTAMP, BitfinexDecoder
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.replay import replay_capture

BOOK, TRADES, PAIR = 10, 11, "tBTCUSD"
IMAGE = "[[6000.5,2,1.25],[6000,1,2],[6001,1,-0.75],[6002.5,3,-3]]"
CHECKSUM = 302268752  # of that image


def subscribed(number=BOOK, channel="book", symbol=PAIR, **more):
    more = {"prec": "P0", "freq": "F0", "len": "25", **more} if channel == "book" else more
    return json.dumps({"event": "subscribed", "channel": channel, "chanId": number, "symbol": symbol, **more})


def opened(flags=0, pairs=None):
    decoder = BitfinexDecoder(pairs)
    decoder.receive(json.dumps({"event": "conf", "status": "OK", "flags": flags}), 0)
    decoder.receive(subscribed(), 0)
    decoder.receive(subscribed(TRADES, "trades"), 0)
    return decoder


def with_book():
    decoder = opened(OB_CHECKSUM)
    decoder.receive(f"[{BOOK},{IMAGE}]", 1)
    return decoder


def levels(records):
    return [(int(r["flag"]) & BookFlag.ASK, float(r["f0"]), int(r["i0"])) for r in records]


def test_the_first_list_of_a_channel_is_its_snapshot():
    decoder = opened()
    records = decoder.receive(f"[{BOOK},{IMAGE}]", 5)
    assert records["flag"][0] == BookFlag.SNAPSHOT | BookFlag.CLEAR
    assert levels(records[1:]) == [(0, 6000.5, 125_000_000), (0, 6000, 200_000_000), (1, 6001, 75_000_000),
                                   (1, 6002.5, 300_000_000)]  # fmt: skip
    assert records["f1"][1:].tolist() == [2.0, 1.0, 1.0, 3.0]
    assert (decoder.last.snapshots, decoder.last.levels) == (1, 4)


def test_count_0_deletes_on_the_side_of_the_amounts_sign_whatever_its_size():
    decoder = with_book()
    assert levels(decoder.receive(f"[{BOOK},[6000.5,0,1]]", 2)) == [(0, 6000.5, 0)]
    assert levels(decoder.receive(f"[{BOOK},[6001,0,-1]]", 2)) == [(1, 6001, 0)]


def test_several_updates_in_one_frame_are_one_message():
    decoder = with_book()
    records = decoder.receive(f"[{BOOK},[[6000.5,0,1],[5999,1,4]]]", 2)
    assert [bool(flag & BookFlag.LAST) for flag in records["flag"].tolist()] == [False, True]
    assert (decoder.last.deltas, decoder.last.levels) == (1, 2)


def test_an_empty_snapshot_is_an_empty_book():
    decoder = opened()
    book = OrderBook(0.5)
    book.apply(decoder.receive(f"[{BOOK},[]]", 1))
    book.apply(decoder.receive(f"[{BOOK},[6000.5,1,1]]", 2))
    assert (book.best_bid, decoder.last.deltas) == (6000.5, 1)


def test_a_right_checksum_is_counted_and_prices_with_exponents_keep_their_text():
    decoder = with_book()
    decoder.receive(f'[{BOOK},"cs",{CHECKSUM}]', 2)
    assert (decoder.last.decoded, decoder.last.checksums_ok) == (1, 1)
    small = opened()
    small.receive(f"[{BOOK},[[2e-8,1,1.5]]]", 1)
    from zlib import crc32

    small.receive(f'[{BOOK},"cs",{crc32(b"2e-8:1.5") - 2**32 * (crc32(b"2e-8:1.5") >= 2**31)}]', 2)
    assert small.last.checksums_ok == 1


def test_a_wrong_checksum_subscribes_the_one_channel_anew():
    decoder = with_book()
    records = decoder.receive(f'[{BOOK},"cs",-1]', 2)
    assert records["kind"].tolist() == [Kind.GAP]
    (resync,) = decoder.take_resyncs()
    assert resync.why == f"the book's checksum must be -1, ours is {CHECKSUM}"
    assert [json.loads(text) for text in resync.send] == [
        {"event": "unsubscribe", "chanId": BOOK},
        {"event": "subscribe", "channel": "book", "symbol": PAIR, "prec": "P0", "freq": "F0", "len": "25"},
    ]
    # What is still under way on the old channel is not taken for a snapshot; the new channel's first list is one.
    decoder.receive(f"[{BOOK},[6000.5,0,1]]", 3)
    assert decoder.last.names == {"book update before its snapshot": 1}
    decoder.receive(json.dumps({"event": "unsubscribed", "status": "OK", "chanId": BOOK}), 4)
    decoder.receive(subscribed(77), 4)
    decoder.receive(f"[{BOOK},[6000.5,0,1]]", 4)
    assert decoder.last.names == {"data of an unknown channel": 1}
    decoder.receive(f"[77,{IMAGE}]", 5)
    decoder.receive(f'[77,"cs",{CHECKSUM}]', 5)
    assert decoder.last.checksums_ok == 1


@pytest.mark.parametrize(
    ("flags", "tail"), [(SEQ_ALL, "{}"), (SEQ_ALL | TIMESTAMP, "{},1700000000000")], ids=["last", "before the time"]
)
def test_a_gap_of_sequence_resyncs_every_book_of_the_socket(flags, tail):
    decoder = opened(flags)
    decoder.receive(subscribed(20, symbol="tETHUSD"), 0)
    decoder.receive(f"[{BOOK},{IMAGE},{tail.format(1)}]", 1)
    decoder.receive(f"[20,{IMAGE},{tail.format(2)}]", 1)
    decoder.receive(f'[{TRADES},"hb",{tail.format(3)}]', 1)
    assert decoder.last.sequence_gaps == 0
    records = decoder.receive(f'[{TRADES},"hb",{tail.format(5)}]', 1)
    assert decoder.last.sequence_gaps == 1
    assert records["kind"].tolist() == [Kind.GAP, Kind.GAP]
    resyncs = decoder.take_resyncs()
    assert [(resync.pair, resync.why) for resync in resyncs] == [
        (PAIR, "sequence: 4 must follow, received 5"), ("tETHUSD", "sequence: 4 must follow, received 5"),
    ]  # fmt: skip


def test_the_venues_time_is_taken_where_it_is_sent():
    decoder = opened(TIMESTAMP)
    assert decoder.receive(f"[{BOOK},{IMAGE},1700000000123]", 9)["ts_event"][0] == 1_700_000_000_123_000_000
    assert opened().receive(f"[{BOOK},{IMAGE}]", 9)["ts_event"][0] == 9


def test_te_and_tu_are_one_trade_and_the_snapshots_trades_are_old():
    decoder = opened()
    assert len(decoder.receive(f"[{TRADES},[[1,1000,0.5,6000],[2,1001,-0.5,6000.5]]]", 1)) == 0
    assert (decoder.last.old_trades, decoder.last.trades) == (2, 0)
    (trade,) = decoder.receive(f'[{TRADES},"te",[3,1002,-0.25,6001]]', 1)
    assert (trade["f0"], trade["i0"], trade["i1"], trade["ts_event"]) == (6001.0, 25_000_000, 3, 1_002_000_000)
    assert unpack_conditions(trade["code"]) == ["s"]
    assert len(decoder.receive(f'[{TRADES},"tu",[3,1002,-0.25,6001]]', 1)) == 0
    assert decoder.last.repeated_trades == 1
    assert len(decoder.receive(f'[{TRADES},"tu",[4,1003,0.25,6001]]', 1)) == 1  # its te was lost
    decoder.receive(f'[{TRADES},"te",[2,1001,-0.5,6000.5]]', 1)
    assert decoder.tallies[PAIR].trades == 2


def test_a_restart_of_the_server_asks_for_a_new_connection():
    decoder = with_book()
    decoder.receive('{"event":"info","code":20051,"msg":"Stopping"}', 1)
    (resync,) = decoder.take_resyncs()
    assert resync == (CONNECTION, "20051: the venue restarts its server", ())


def test_the_end_of_maintenance_resyncs_the_books_but_its_beginning_does_not():
    decoder = with_book()
    decoder.receive('{"event":"info","code":20060}', 1)
    assert decoder.take_resyncs() == []
    records = decoder.receive('{"event":"info","code":20061}', 1)
    assert records["kind"].tolist() == [Kind.GAP]
    assert [resync.pair for resync in decoder.take_resyncs()] == [PAIR]


@pytest.mark.parametrize(
    ("frame", "outcome", "name"),
    [
        ('{"event":"info","version":2}', "control", "info"),
        ('{"event":"info","code":20060}', "control", "info 20060"),
        ('{"event":"pong","ts":1}', "control", "pong"),
        ('{"event":"error","msg":"symbol: invalid","code":10300}', "control", "refused: 10300 symbol: invalid"),
        ('[999,"hb"]', "control", "heartbeat"),
        ("[999,[1,2,3]]", "ignored", "data of an unknown channel"),
        ('{"event":"dance"}', "ignored", "event dance is not known"),
        (f'[{BOOK},"cs",5]', "ignored", "checksum before its snapshot"),
        (f'[{TRADES},"fte",[1,2,3,4]]', "ignored", "trade message fte is not known"),
        ("[12,[[1,2,3]]]", "ignored", "funding book is not read"),
        ("[13,[[1,2,3]]]", "ignored", "book R0, of single orders, is not read"),
        ("[14,[[1,2,3]]]", "ignored", "channel candles is not read"),
        ("[15,[[1,2,3]]]", "ignored", "book of a pair that is not ours"),
        ("[]", "ignored", "unreadable"),
        ("nonsense", "ignored", "unreadable"),
    ],
)
def test_every_message_is_decoded_control_or_ignored_by_name(frame, outcome, name):
    decoder = opened(pairs=Pairs([PAIR]))
    decoder.receive(subscribed(12, symbol="fUSD"), 0)
    decoder.receive(subscribed(13, prec="R0"), 0)
    decoder.receive(subscribed(14, "candles", "", key="trade:1m:tBTCUSD"), 0)
    decoder.receive(subscribed(15, symbol="tETHUSD"), 0)
    assert len(decoder.receive(frame, 1)) == 0
    assert decoder.last.names == {name: 1}
    assert getattr(decoder.last, outcome) == 1


def test_the_capture_of_2021_has_no_gap_and_no_crossed_book(shared_data: Path):
    found = replay_capture(shared_data / "bitfinex_20210417").as_dict()
    assert (found["messages"], found["ignored"]) == (1693, 0)
    assert (found["snapshots"], found["deltas"], found["sequence_gaps"], found["crossed"]) == (7, 1593, 0, 0)
    assert (found["trades"], found["old_trades"]) == (0, 210)
    assert found["names"]["heartbeat"] == 42
    assert found["pairs"]["connection"]["names"]["heartbeat"] == 2  # they came before their `subscribed`
