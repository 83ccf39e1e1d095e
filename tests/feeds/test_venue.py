"""Laws of every venue's decoder: nonsense never raises, every message is accounted for, chunks do not matter."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdslib.book import OrderBook
from mdslib.errors import ConfigError
from mdslib.events import RECORD, SCHEMAS, BookFlag, Kind
from mdslib.feeds.capture import What, capture_files, read_capture
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.replay import decoder_for, replay_capture
from mdslib.table import Table

DIALECTS = ["bitfinex", "bitmex", "coinbase", "coinbase-advanced", "kraken", "kraken-v2"]
CAPTURES = ["bitfinex_20210417", "bitmex_20210722", "coinbase_20210417", "kraken_20210417"]

# Words that send a message down each reader's ways, beside any JSON at all.
KEYS = [
    "event", "table", "action", "data", "type", "channel", "events", "product_id", "symbol", "sequence_num", "a",
    "b", "chanId", "trade_id", "sequence", "filter", "side", "price", "size", "method", "result", "pair", "feed",
]  # fmt: skip
WORDS = [
    "subscribed", "trade", "book", "snapshot", "l2update", "orderBookL2", "partial", "insert", "update", "quote",
    "match", "open", "done", "ticker", "hb", "te", "cs", "info", "conf", "book-10", "l2_data", "X",
]  # fmt: skip
LEAF = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.integers(), st.floats(allow_nan=False), st.sampled_from(WORDS)
)
VALUE = st.recursive(
    LEAF,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)),
)


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=300)
@given(messages=st.lists(st.one_of(VALUE.map(json.dumps), st.binary(max_size=20), st.text(max_size=20)), max_size=6))
def test_nonsense_never_raises_and_is_accounted_for(dialect, messages):
    decoder = decoder_for(dialect)()
    for message in messages:
        records = decoder.receive(message, 1)
        assert records.dtype == RECORD
    tallies = decoder.tallies.values()
    assert sum(tally.messages for tally in tallies) == len(messages)
    assert sum(tally.decoded + tally.control + tally.ignored for tally in tallies) == len(messages)
    assert len(decoder.unread) == sum(tally.ignored for tally in tallies)


@pytest.mark.parametrize(
    ("dialect", "frame", "why"),
    [
        ("kraken", '[1,[["nan","1","1","b","l",""]],"trade","X"]', "a price must be a finite number, received nan"),
        (
            "kraken",
            '[1,{"as":[["inf","1","1"]],"bs":[]},"book-10","X"]',
            "a price must be a finite number, received inf",
        ),
        ("kraken-v2", '{"channel":"trade","type":"update","data":[{"symbol":"X","trade_id":1e400}]}', "can't be read"),
        ("coinbase", "[" * 100_000, "RecursionError"),
        ("bitmex", '{"table":"trade","action":"insert","data":{"a":1}}', "can't be read: TypeError"),
        ("coinbase", '{"type":[]}', "TypeError"),
        ("coinbase", '{"type":"match","product_id":7}', "a pair must be a text, received 7"),
        ("bitmex", '{"success":true,"subscribe":5,"table":null}', "can't be read"),
        (
            "bitfinex",
            '{"event":"subscribed","channel":"book","chanId":1,"symbol":5}',
            "a pair and a type must be texts",
        ),
        ("bitfinex", "[true]", "can't be read: IndexError"),
    ],
)
def test_a_message_that_breaks_its_format_is_kept_with_the_reason(dialect, frame, why):
    decoder = decoder_for(dialect)()
    kinds = decoder.receive(frame, 1)["kind"].tolist()
    assert kinds in ([], [Kind.GAP])
    assert decoder.last.names == {"unreadable": 1}
    assert why in decoder.unread[-1].why


def test_a_number_that_no_field_holds_is_refused():
    decoder = decoder_for("bitfinex")()
    decoder.receive('{"event":"subscribed","channel":"trades","chanId":1,"symbol":"tX"}', 1)
    assert len(decoder.receive(f'[1,"te",[{2**70},1000,1,5]]', 1)) == 0
    assert "can't be read: error: " in decoder.unread[-1].why


@pytest.mark.parametrize("capture", CAPTURES)
def test_every_record_of_a_capture_is_a_row_of_its_kinds_schema_and_ends_with_its_message(shared_data: Path, capture):
    decoders, kept = {}, []
    for line in read_capture(*capture_files(shared_data / capture)):
        if line.what is not What.RECEIVED:
            continue
        decoder = decoders.setdefault(line.connection, decoder_for(capture.partition("_")[0])())
        records = decoder.receive(line.text, line.time)
        assert (records["ts_init"] == line.time).all()
        assert (records["seq"] == 0).all()
        deltas = records[records["kind"] == Kind.BOOK_DELTA]
        if len(deltas):
            assert np.flatnonzero(deltas["flag"] & BookFlag.LAST).tolist() == [len(deltas) - 1]
            assert (deltas["i0"] >= 0).all()
        kept.append(records)
    together = np.concatenate(kept)
    for kind in set(together["kind"].tolist()):
        rows = together[together["kind"] == kind]
        table = Table.from_records(rows[np.argsort(rows["ts_event"], kind="stable")], Kind(kind))
        assert list(table.columns) == list(SCHEMAS[Kind(kind)])
        assert len(table) == len(rows)


def test_one_call_for_a_whole_capture_makes_the_book_that_calls_by_message_make(shared_data: Path):
    by_message, whole, kept = OrderBook(1e-8), OrderBook(1e-8), []
    decoder = decoder_for("coinbase")()
    for line in read_capture(*capture_files(shared_data / "coinbase_20210417")):
        if line.what is What.RECEIVED:
            records = decoder.receive(line.text, line.time)
            records = records[records["instrument"] == decoder.pairs.place("SKL-BTC")]
            by_message.apply(records)
            kept.append(records)
    whole.apply(np.concatenate(kept))
    assert whole.messages == by_message.messages == 1540
    for ours, theirs in zip(whole.top(10_000), by_message.top(10_000), strict=True):
        assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_pairs_book_times_never_run_backwards_so_a_table_keeps_their_order(shared_data: Path, capture):
    kept: list[np.ndarray] = []
    replay_capture(shared_data / capture, sink=kept.append)
    together = np.concatenate(kept)
    deltas = together[together["kind"] == Kind.BOOK_DELTA]
    for place in np.unique(deltas["instrument"]):
        ours = deltas[deltas["instrument"] == place]
        assert (np.diff(ours["ts_event"]) >= 0).all()
        Table.from_records(ours, Kind.BOOK_DELTA)  # would refuse them


def test_a_delta_stamped_before_its_snapshot_arrived_comes_after_it():
    decoder = decoder_for("coinbase")()
    decoder.receive('{"type":"snapshot","product_id":"X","bids":[["1","1"]],"asks":[]}', 2_000_000_000)
    update = '{"type":"l2update","product_id":"X","time":"1970-01-01T00:00:01Z","changes":[["buy","1","2"]]}'
    assert decoder.receive(update, 2_000_000_001)["ts_event"].tolist() == [2_000_000_000]


def test_pairs_have_the_places_of_the_session_or_grow():
    fixed = Pairs(["B", "A"])
    assert (fixed.place("A"), fixed.place("C"), fixed.symbols) == (1, None, ["B", "A"])
    grown = Pairs()
    assert [grown.place(symbol) for symbol in ("X", "Y", "X")] == [0, 1, 0]


def test_a_size_counts_the_pairs_own_lot():
    decoder = decoder_for("kraken")(Pairs(["X"], {"X": 0.01}))
    trade = '[1,[["5","%s","1","b","l",""]],"trade","X"]'
    assert decoder.receive(trade % "1.50", 1)["i0"].tolist() == [150]
    assert len(decoder.receive(trade % "1.505", 1)) == 0
    assert "a number must be a whole count of 1e-2 below 2**63, received '1.505'" in decoder.unread[-1].why
    with pytest.raises(ConfigError, match=r"the lot of X must be a power of ten, received 0\.25; write 1e-8 or 1\.0"):
        Pairs(["X"], {"X": 0.25})


def test_a_book_record_has_no_order_count_where_the_venue_tells_none():
    decoder = decoder_for("coinbase")()
    records = decoder.receive('{"type":"snapshot","product_id":"X","bids":[["1","1"]],"asks":[]}', 1)
    assert math.isnan(records["f1"][-1])
