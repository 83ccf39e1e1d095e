"""The fast way of reading book messages: it gives what the decoders' own readers give, or leaves the frame to them."""

from __future__ import annotations

import itertools
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdslib.feeds.account import Tally
from mdslib.feeds.capture import What, capture_files, dialect_of, read_capture
from mdslib.feeds.form import Form, FormReader
from mdslib.feeds.form_scan import AT, CHECK, LEVELS, NUMBER, PLACE, ROWS_FOUND
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.replay import decoder_for
from mdslib.feeds.venue import VenueDecoder
from mdslib.sim.venues.made import made_capture
from mdslib.tape.crc import text_crc

CAPTURES = ["bitfinex_20210417", "bitmex_20210417", "bitmex_20210722", "coinbase_20210417", "kraken_20210417"]
MADE = {
    "bitfinex": "tBTCUSD", "bitmex": "XBTUSD", "coinbase": "BTC-USD", "coinbase-advanced": "BTC-USD",
    "kraken": "XBT/USD", "kraken-v2": "BTC/USD",
}  # fmt: skip


def oracle(dialect: str, pairs: Pairs | None = None) -> VenueDecoder:
    """Return the decoder without its fast way."""
    kind: Any = type("Oracle", (decoder_for(dialect),), {"forms": ()})
    decoder: VenueDecoder = kind(pairs)
    return decoder


def told(decoder: VenueDecoder, frame: bytes, time: int) -> tuple[Any, ...]:
    """Return all that a decoder says about a frame."""
    records = decoder.receive(frame, time)
    return records.tobytes(), decoder.outcome, decoder.last, decoder.take_resyncs(), list(decoder.unread)[-1:]


def frames_of(dialect: str, count: int) -> list[bytes]:
    lines = list(made_capture(dialect, [MADE[dialect]], count))
    frames = [line.partition(": ")[2].encode() for line in lines]
    if dialect == "bitfinex":  # made frames have no number; with the flags that are asked for, they have
        frames = [b'{"event":"conf","status":"OK","flags":196608}', *frames]
        number = itertools.count(1)
        frames = [f[:-1] + b",%d]" % next(number) if f.startswith(b"[") else f for f in frames]
    return frames


@pytest.mark.compiled
@pytest.mark.parametrize("capture", CAPTURES)
def test_the_fast_way_gives_the_records_and_the_account_of_the_slow_one_for_every_message(shared_data: Path, capture):
    files = capture_files(shared_data / capture)
    dialects = {str(file): dialect_of(file) for file in files}
    lines = [line for line in read_capture(*files) if line.what is What.RECEIVED]
    pairs, ours = Pairs(), Pairs()
    slow = {name: oracle(dialect, pairs) for name, dialect in dialects.items()}
    expected = [told(slow[line.connection], line.text, line.time) for line in lines]
    for symbol in pairs.symbols:
        ours.place(symbol)
    fast = {name: decoder_for(dialect)(ours) for name, dialect in dialects.items()}
    quick: Counter[bool] = Counter()
    for line, answer in zip(lines, expected, strict=True):
        decoder = fast[line.connection]
        assert told(decoder, line.text, line.time) == answer, line.text[:300]
        quick[decoder.fast] += answer[2].levels
    for name in dialects:
        assert fast[name].tallies == slow[name].tallies
    assert quick[False] == 0  # every level of every capture came the fast way


@pytest.mark.parametrize("dialect", MADE)
def test_made_frames_of_every_dialect_take_the_fast_way_and_give_the_same(dialect):
    frames = frames_of(dialect, 150)
    pairs = Pairs([MADE[dialect]])
    fast, slow = decoder_for(dialect)(pairs), oracle(dialect, Pairs([MADE[dialect]]))
    slowly: list[bytes] = []
    for time, frame in enumerate(frames):
        answer = told(slow, frame, time)
        assert told(fast, frame, time) == answer, frame
        if answer[2].levels and not fast.fast:
            slowly.append(frame)
    assert fast.tallies == slow.tallies
    assert fast.tallies[MADE[dialect]].deltas >= 120
    assert slowly == []


# What may be put into a frame: digits and signs that change a number, marks that change a form, and rubbish.
BITS = st.one_of(
    st.sampled_from([b"0", b"1", b"9", b".", b"-", b"e-7", b"E5", b"+", b"00", b"_", b"1" * 25]),
    st.sampled_from([b'"', b",", b"[", b"]", b"{", b"}", b":", b"[]", b",,", b" ", b"\\", b"\n", b"null", b'"r"']),
    st.sampled_from([b"buy", b"sell", b"bid", b"Buy", b"Z", b"T", b"\xff", b"\x00", b"\xc3\xa9", b"nan", b"X"]),
)
CHANGE = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 3), BITS)


def damaged(frames: list[bytes], changes: list[tuple[int, int, int, bytes]]) -> list[bytes]:
    """Return the frames with pieces put in, written over, cut out, or a whole frame sent twice."""
    frames = list(frames)
    for which, where, how, bit in changes:
        number = which % len(frames)
        frame = frames[number]
        at = where % max(1, len(frame))
        if how == 3:
            frames.insert(number, frame)
        else:
            cut = (0, len(bit), 1)[how]
            frames[number] = frame[:at] + (bit if how < 2 else b"") + frame[at + cut :]
    return frames


@pytest.mark.compiled
@pytest.mark.parametrize("dialect", MADE)
@settings(max_examples=60, deadline=None)
@given(changes=st.lists(CHANGE, min_size=1, max_size=8))
def test_damaged_frames_give_what_the_slow_way_gives(dialect, changes):
    frames = damaged(KNOWN_FRAMES[dialect], changes)
    fast, slow = decoder_for(dialect)(), oracle(dialect)
    for time, frame in enumerate(frames):
        assert told(fast, frame, time) == told(slow, frame, time), frame
    assert fast.tallies == slow.tallies


KNOWN_FRAMES = {dialect: frames_of(dialect, 25) for dialect in MADE}
PLACES = 8
READER = FormReader([Form('["<pair>",<row>"<price>","<size>"]')])
READER.know("X", 0, PLACES)
NUMBER_TEXT = st.one_of(
    st.decimals(0, 10**7, allow_nan=False, allow_infinity=False).map(lambda number: format(number, "f")),
    st.from_regex(r"[0-9]{1,20}(\.[0-9]{1,20})?", fullmatch=True),
    st.from_regex(r"[0-9](\.[0-9]{1,5})?e-[0-9]{1,3}", fullmatch=True),
)


@settings(max_examples=150, deadline=None)
@given(price=NUMBER_TEXT, size=NUMBER_TEXT)
def test_a_price_is_the_nearest_double_and_a_size_whole_lots_or_the_frame_is_left_alone(price, size):
    if READER.read(f'["X","{price}","{size}"]'.encode(), 0):
        assert READER.block["f0"][0] == float(price)
        assert READER.block["i0"][0] == Decimal(size).scaleb(PLACES)


@given(st.integers(0, 2**53).flatmap(lambda digits: st.tuples(st.just(digits), st.integers(0, 8))))
def test_every_price_of_up_to_fifteen_digits_is_read(number):
    digits, places = number
    text = f"{Decimal(digits).scaleb(-places):f}"
    assert READER.read(f'["X","{text}","1"]'.encode(), 0)
    assert READER.block["f0"][0] == float(text)


@pytest.mark.parametrize(
    ("price", "is_read"),
    [
        ("99999997.00000000", True),  # more digits than a double has, but zeros
        ("99999997.00000001", False),
        ("1e-10", True), ("2.5e-7", True), ("1e-0", False), ("1e-19", False), ("1e7", False), ("1E-7", True),
        ("007", False), (".5", False), ("5.", False), ("", False), ("-1", False), ("+1", False), ("1_0", False),
        ("0", True), ("0.0", True), ("123456789012345678", False), ("12345678901234567890", False),
    ],
)  # fmt: skip
def test_what_the_fast_way_takes_for_a_price(price, is_read):
    assert (READER.read(f'["X","{price}","1"]'.encode(), 0)) == is_read
    if is_read:
        assert READER.block["f0"][0] == float(price)


def test_what_a_form_says_besides_its_levels():
    form = '[<channel>,[<rows>[<price>,<count>,<amount>]</rows>]<if>,"<word>"</if>,<sequence>,<ms>,<checksum>,<depth>]'
    reader = FormReader([Form(form, image=True)])
    reader.know(77, place=5, places=2)
    assert reader.read(b'[77,[[10.5,3,-1.25],[9,0,1]],"any",12,3456,4294967295,25]', 1)
    found = reader.found
    assert [found[word] for word in (ROWS_FOUND, PLACE, AT, CHECK, NUMBER, LEVELS)] == [
        3, 5, 3_456_000_000, 4294967295, 12, 25,
    ]  # fmt: skip
    assert reader.block["f0"][1:3].tolist() == [10.5, 9.0]
    assert reader.block["i0"][:3].tolist() == [0, 125, 0]
    assert (reader.block["flag"][1] & 1, reader.block["f1"][1], reader.block["instrument"][2]) == (1, 3.0, 5)
    assert not reader.read(b"[78,[[10.5,3,-1.25]],12,3456,1,25]", 1)  # a channel that is not known
    assert not reader.read(b"[77,[[10.5,3,-1.255]],12,3456,1,25]", 1)  # finer than the lot
    assert not reader.read(b"[77,[[10.5,3,-1.25]],12,3456,4294967296,25]", 1)  # no 32 bits
    assert reader.read(b"[77,[],12,3456,1,25]", 9)
    assert reader.found[ROWS_FOUND] == 1  # an image of an empty book


def test_a_reader_learns_many_pairs_and_what_changes_of_them():
    reader = FormReader([Form("[<row><pair>,<price>,<size>]".replace("<pair>", '"<pair>"'))])
    for number in range(500):
        reader.know(f"P{number}/EUR", number, number % 9)
    reader.know("P7/EUR", 1007, 0)
    for number in (0, 7, 250, 499):
        assert reader.read(f'["P{number}/EUR",1.5,2]'.encode(), 3)
        assert reader.found[PLACE] == (1007 if number == 7 else number)
    assert not reader.read(b'["P500/EUR",1.5,2]', 3)
    reader.know("a name that is longer than sixteen bytes", 1, 0)
    assert not reader.read(b'["a name that is longer than sixteen bytes",1.5,2]', 3)


@pytest.mark.compiled
def test_a_frame_of_any_length_is_read_whole():
    rows = ",".join(f"[{price},1]" for price in range(30_000))
    reader = FormReader([Form('["<pair>",[<rows>[<price>,<size>]</rows>]]')])
    reader.know("X", 0, 0)
    assert reader.read(f'["X",[{rows}]]'.encode(), 1)
    assert reader.found[ROWS_FOUND] == 30_000
    assert reader.block["f0"][:30_000].tolist() == list(range(30_000))


@given(st.binary(max_size=100))
def test_the_compiled_crc_of_a_text_is_zlibs(data):
    padded = np.frombuffer(data + b"\0" * 3, np.uint8).copy()
    assert int(text_crc(padded, len(data))) == crc32(data)


def test_a_tally_of_the_fast_way_says_what_the_message_added():
    decoder = decoder_for("coinbase")(Pairs(["X"]))
    decoder.receive('{"type":"snapshot","product_id":"X","asks":[["2","1"]],"bids":[["1","1"]]}', 5)
    assert decoder.last == Tally(1, 1, snapshots=1, levels=2, names=Counter({"book snapshot": 1}))
