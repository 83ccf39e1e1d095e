# ruff: noqa: E501 (messages are kept on one line, as the venue sends them)
"""Alpaca's frames become records; the compiled scanner and msgspec agree on every frame."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdslib.errors import ConfigError, FeedError
from mdslib.events import SCHEMAS, Kind, unpack_conditions
from mdslib.feeds.alpaca_decode import AlpacaDecoder
from mdslib.feeds.alpaca_messages import Refusal, Subscription, Success
from mdslib.feeds.rfc3339 import from_ns, to_ns

SYMBOLS = ["SPY", "AAPL", "MSFT", "BTC/USD", "A"]
LOTS = [1.0, 1.0, 1.0, 1e-9, 1.0]
TRADE = {"T": "t", "S": "SPY", "i": 52983625699126, "x": "P", "p": 779.87, "s": 4, "c": [" ", "I"], "z": "B", "t": "2026-10-06T22:36:01.216274112Z"}  # fmt: skip
QUOTE = {"T": "q", "S": "SPY", "bx": "K", "bp": 779.8, "bs": 480, "ax": "P", "ap": 779.87, "as": 1000, "c": ["R"], "z": "B", "t": "2026-10-06T22:36:01Z"}  # fmt: skip
BAR = {"T": "b", "S": "MSFT", "o": 419.86, "h": 420, "l": 419.5, "c": 419.9, "v": 131, "t": "2024-03-28T16:58:00Z", "n": 3, "vw": 419.846565}  # fmt: skip


def text(*messages: dict[str, object]) -> str:
    return json.dumps(messages, separators=(",", ":"))


def decoder() -> AlpacaDecoder:
    return AlpacaDecoder(SYMBOLS, LOTS)


def fast(frame: str) -> np.ndarray | None:
    """Return what the scanner alone says, or None if it hands the frame on."""
    alpaca = decoder()
    count = alpaca._scan(np.frombuffer(frame.encode(), np.uint8), alpaca._table, alpaca._block, 0, 5, 1)
    return None if count < 0 else alpaca._block[:count]


def slow(frame: str) -> np.ndarray:
    return decoder()._receive_slowly(frame.encode(), 5)


def test_trade_carries_price_size_id_exchange_conditions_and_nanoseconds():
    (trade,) = decoder().receive(text(TRADE), ts_init=5)
    assert (trade["kind"], trade["instrument"], trade["ts_init"]) == (Kind.TRADE, 0, 5)
    assert trade["ts_event"] == to_ns("2026-10-06T22:36:01.216274112Z")
    assert (trade["f0"], trade["i0"], trade["i1"], chr(trade["flag"])) == (779.87, 4, 52983625699126, "P")
    assert unpack_conditions(trade["code"]) == [" ", "I"]


def test_bar_is_stamped_at_its_close_sixty_seconds_after_the_venue_s_start():
    (bar,) = decoder().receive(text(BAR), ts_init=5)
    assert bar["ts_event"] == to_ns("2024-03-28T16:59:00Z")
    assert [bar[slot] for slot in ("f0", "f1", "f2", "f3", "f4", "i0", "i1")] == [
        419.86,
        420.0,
        419.5,
        419.9,
        419.846565,
        131,
        3,
    ]


def test_quote_side_with_price_0_is_empty():
    (quote,) = decoder().receive(text({**QUOTE, "bp": 0, "bs": 7, "bx": " "}), ts_init=5)
    assert math.isnan(quote["f0"])
    assert (quote["i0"], quote["f1"], quote["i1"]) == (0, 779.87, 1000)


def test_trade_id_beyond_2_to_53_is_exact():
    for number in (2**53 + 1, 3447222699101865076, 2**63 - 1):
        (trade,) = decoder().receive(text({**TRADE, "i": number}), ts_init=5)
        assert trade["i1"] == number


def test_fractional_size_is_counted_in_the_instrument_s_lots():
    message = {"T": "t", "S": "BTC/USD", "i": 1, "p": 71859.53, "s": 0.27994, "t": "2024-03-12T10:38:50.79613221Z"}
    (trade,) = decoder().receive(text(message), ts_init=5)
    assert trade["i0"] == 279_940_000


def test_size_off_the_lot_is_kept_as_text_and_named():
    alpaca = decoder()
    assert len(alpaca.receive(text({**TRADE, "s": 0.5}, TRADE), ts_init=5)) == 1
    assert alpaca.unknown[0].why == "its size 0.5 is not a whole number of lots of 1.0"
    assert json.loads(alpaca.unknown[0].text)["s"] == 0.5
    assert alpaca.unread == {"t": 1}


@pytest.mark.parametrize(("letter", "kind"), [("u", Kind.BAR_REVISION), ("d", Kind.DAILY_BAR)])
def test_updated_and_daily_bars_are_kinds_of_their_own_so_that_no_model_takes_them_for_new_bars(letter, kind):
    (bar,) = decoder().receive(text({**BAR, "T": letter}), ts_init=5)
    assert bar["kind"] == kind
    assert bar["ts_event"] == to_ns("2024-03-28T16:59:00Z" if letter == "u" else "2024-03-28T16:58:00Z")


def _named(record: np.void) -> dict[str, object]:
    return {name: record[field.slot].item() for name, field in SCHEMAS[Kind(int(record["kind"]))].items()}


def test_correction_names_both_trades():
    message = {"T": "c", "S": "SPY", "x": "V", "oi": 1201, "op": 135.2, "os": 40, "oc": ["@"], "ci": 1209, "cp": 135.25, "cs": 41, "cc": ["@", "I"], "z": "A", "t": "2026-01-05T14:33:00Z"}  # fmt: skip
    (found,) = map(_named, decoder().receive(text(message), ts_init=5))
    assert (found["old_trade_id"], found["old_price"], found["old_size"]) == (1201, 135.2, 40)
    assert (found["trade_id"], found["price"], found["size"]) == (1209, 135.25, 41)


def test_cancel_error_names_the_trade_and_what_it_is():
    message = {"T": "x", "S": "SPY", "i": 1209, "x": "V", "p": 135.25, "s": 40, "a": "C", "z": "A", "t": "2026-01-05T14:34:00Z"}  # fmt: skip
    (found,) = map(_named, decoder().receive(text(message), ts_init=5))
    assert (found["trade_id"], found["size"], chr(found["action"]), chr(found["exchange"])) == (1209, 40, "C", "V")


def test_status_and_luld_share_a_kind():
    halt = {
        "T": "s",
        "S": "SPY",
        "sc": "H",
        "sm": "Halt",
        "rc": "T12",
        "rm": "x",
        "z": "C",
        "t": "2026-01-05T14:34:00Z",
    }
    band = {"T": "l", "S": "SPY", "u": 780.5, "d": 700.25, "i": "B", "z": "C", "t": "2026-01-05T14:34:00Z"}
    first, second = map(_named, decoder().receive(text(halt, band), ts_init=5))
    assert (chr(first["status"]), first["reason"].to_bytes(7, "little").rstrip(b"\0"), first["luld"]) == (
        "H",
        b"T12",
        0,
    )
    assert (second["limit_up"], second["limit_down"], second["luld"]) == (780.5, 700.25, 1)


def test_control_messages_are_handed_over_and_give_no_record():
    alpaca = decoder()
    assert len(alpaca.receive('[{"T":"success","msg":"connected"}]', ts_init=5)) == 0
    assert alpaca.controls == [Success("connected")]
    alpaca.receive('[{"T":"error","code":406,"msg":"connection limit exceeded"}]', ts_init=5)
    assert alpaca.controls == [Refusal(406, "connection limit exceeded")]
    alpaca.receive('[{"T":"subscription","trades":["SPY"],"updatedBars":["A"]}]', ts_init=5)
    assert alpaca.controls == [Subscription(trades=["SPY"], updated_bars=["A"])]
    alpaca.receive(text(TRADE), ts_init=5)
    assert alpaca.controls == []
    assert alpaca.counts == {"error": 1, "subscription": 1, "success": 1, "t": 1}


def test_symbols_that_are_not_ours_are_counted_by_name():
    alpaca = decoder()
    assert len(alpaca.receive(text({**TRADE, "S": "TSLA"}, TRADE), ts_init=5)) == 1
    assert alpaca.unsubscribed == {"TSLA": 1}


def test_unknown_message_type_is_counted_named_and_kept():
    alpaca = decoder()
    assert len(alpaca.receive('[{"T":"zz","S":"SPY","new":1}]', ts_init=5)) == 0
    assert alpaca.unread == {"zz": 1}
    assert alpaca.unknown[0] == ("zz", "SPY", "messages of type 'zz' are not read", '{"T":"zz","S":"SPY","new":1}')


def test_bytes_read_as_text_does():
    assert decoder().receive(text(TRADE).encode(), 5).tobytes() == decoder().receive(text(TRADE), 5).tobytes()


def test_records_that_were_handed_over_are_never_written_again():
    alpaca = decoder()
    kept = [alpaca.receive(text({**TRADE, "i": number}), 5) for number in range(10_000)]
    assert [int(records["i1"][0]) for records in kept] == list(range(10_000))


def test_memory_of_records_that_nobody_holds_any_more_is_used_again():
    alpaca = decoder()
    kept = alpaca.receive(text(TRADE, TRADE), 5)
    part = kept[1:]["f0"]
    assert not np.shares_memory(kept, alpaca.receive(text(QUOTE), 5))
    address = kept.ctypes.data
    del kept
    assert alpaca.receive(text(QUOTE), 5).ctypes.data != address, "a column of it is still held"
    assert part.tolist() == [779.87]
    del part
    assert alpaca.receive(text(QUOTE), 5).ctypes.data == address


def test_frames_received_together_are_read_as_if_each_came_alone():
    together, alone = decoder(), decoder()
    frames = [text(TRADE).encode(), text(QUOTE, BAR).encode(), text(TRADE, TRADE).encode()]
    found = together.receive_together(frames, 5)
    assert found is not None
    assert found.tobytes() == b"".join(alone.receive(frame, 5).tobytes() for frame in frames)
    assert together.counts == alone.counts == {"t": 3, "q": 1, "b": 1}


@pytest.mark.parametrize(
    "other", ['[{"T":"success","msg":"connected"}]', "[]", "", "not JSON", '[{"T":"t","S":"SPY"}]']
)
def test_where_one_of_the_frames_received_together_is_not_plain_none_is_read(other):
    alpaca = decoder()
    assert alpaca.receive_together([text(TRADE).encode(), other.encode(), text(TRADE).encode()], 5) is None
    assert alpaca.counts == {}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=3), st.sampled_from([b"", b"\n", b"]\n["]))
def test_pieces_that_only_make_sense_together_are_never_read_together(cuts, between):
    whole = text(TRADE, QUOTE).encode() + between + text(BAR).encode()
    places = sorted({min(cut, len(whole)) for cut in cuts})
    pieces = [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]
    if decoder().receive_together(pieces, 5) is not None:
        for piece in pieces:
            assert fast(piece.decode()) is not None, piece


def test_frame_of_more_records_than_a_block_is_whole():
    assert len(decoder().receive(text(*[TRADE] * 9_000), 5)) == 9_000


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ("", "Alpaca frame of 0 bytes must be a JSON array of messages"),
        ("[{", "must be a JSON array of messages: Input data was truncated; it begins b'[{'"),
        ('{"T":"t"}', "must be a JSON array of messages: Expected `array`, got `object`"),
        ("[1]", "message 0 of 1: Expected `object`, got `int`"),
        ('[{"S":"SPY"}]', "message 0 of 1: Object missing required field `T`"),
        (text(TRADE, {**TRADE, "p": "1"}), "message 1 of 2: Expected `float`, got `str` - at `$.p`"),
        (text({k: v for k, v in TRADE.items() if k != "s"}), "message 0 of 1: Object missing required field `s`"),
        (text({**TRADE, "t": "2026-02-30T00:00:00Z"}), "message 0 of 1: day is out of range for month"),
        (text({**TRADE, "t": "yesterday"}), "a time must be RFC 3339 with a zone"),
        (text({**TRADE, "s": -1}), "a size must be >= 0, received -1"),
        (text(TRADE)[:-2] + "]", "must be a JSON array of messages: JSON is malformed"),
        (text(TRADE).replace("779.87", "0779.87"), "JSON is malformed"),
        (text(TRADE).replace("779.87", "779."), "JSON is malformed"),
    ],
)
def test_bad_frame_is_one_error_with_its_place_and_leaves_nothing_behind(frame, says):
    alpaca = decoder()
    with pytest.raises(FeedError) as caught:
        alpaca.receive(frame, 5)
    assert says in str(caught.value)
    assert (alpaca.counts, list(alpaca.unknown), alpaca.controls) == ({}, [], [])


def test_every_cut_of_a_frame_is_an_error_and_never_half_read():
    frame = text(TRADE, QUOTE, BAR)
    for end in range(len(frame)):
        with pytest.raises(FeedError):
            decoder().receive(frame[:end], 5)


def test_symbols_must_be_different():
    with pytest.raises(ConfigError, match=r"received 2 symbols \(1 different\)"):
        AlpacaDecoder(["SPY", "SPY"])


def test_real_frames_read_alike_by_both_paths(shared_data: Path):
    for line in (shared_data / "alpaca_stream" / "frames_real.jsonl").read_text().splitlines():
        alpaca = decoder()
        assert alpaca.receive(line, 5).tobytes() == slow(line).tobytes()
        assert sum(alpaca.counts.values()) == len(json.loads(line))


def test_common_frames_take_the_compiled_path():
    found = fast(text(TRADE, QUOTE, BAR, {**TRADE, "r": "2026-10-06T22:36:01Z"}))
    assert found is not None
    assert found["kind"].tolist() == [Kind.TRADE, Kind.QUOTE, Kind.BAR, Kind.TRADE]


@pytest.mark.parametrize(
    "frame", ['[{"T":"t","S":"S\\u0050Y"}]', text({**TRADE, "p": 1e22}), text({**TRADE, "S": "TSLA"}), "[]", "[ ]"]
)
def test_what_the_scanner_does_not_fully_understand_it_hands_on(frame):
    assert fast(frame) is None


# Values as the venue sends them, by key; and strange ones, of which a message holds none, one or a few.
PRICES = st.builds(
    lambda whole, cents, digits: f"{whole}.{cents:0{digits}d}"[: len(str(whole)) + 1 + digits],
    st.integers(0, 10**6),
    st.integers(0, 99),
    st.integers(2, 6),
) | st.integers(0, 10**6).map(str)
COUNTS = st.integers(0, 10**8).map(str)
IDS = st.integers(0, 10**18 - 1).map(str)
TIMES = st.integers(0, 9_214_646_399_999_999_999).map(lambda ns: f'"{from_ns(ns)[:-1].rstrip("0").rstrip(".")}Z"')
LETTERS = st.lists(st.sampled_from(["@", "I", " ", "", "AB", "F"]), max_size=6).map(
    lambda c: json.dumps(c, separators=(",", ":"))
)
LETTER = st.sampled_from(['"V"', '""', '" "', '"AB"'])
STRANGE = st.sampled_from(
    [
        "1e3",
        "-1",
        "01",
        "1.",
        ".5",
        "0.5",
        "1.0",
        "100.00",
        "9007199254740993.0",
        "9223372036854775807",
        "9223372036854775808",
        "123456789012345678901234567890",
        "0.1234567890123456789",
        "null",
        "true",
        '"1"',
        "[]",
        '["@"]',
        '["\\u0041"]',
        '["é"]',
        '"\\""',
        '"é"',
        "{}",
        '"2024-02-29T23:59:59.5Z"',
        '"2026-10-06T22:36:01.2-04:00"',
        '"2023-02-29T00:00:00Z"',
        '"1969-01-01T00:00:00Z"',
        '"2026-10-06T22:36:01.1234567890Z"',
        '"2026-10-06T22:36:60Z"',
        '"2026-10-06T24:36:00Z"',
        '"2300-01-01T00:00:00Z"',
        '"2026-10-06 22:36:01Z"',
    ]
)
FIELDS = {
    "t": {"i": IDS, "x": LETTER, "p": PRICES, "s": COUNTS, "c": LETTERS, "z": LETTER, "t": TIMES},
    "q": {
        "bx": LETTER,
        "bp": PRICES,
        "bs": COUNTS,
        "ax": LETTER,
        "ap": PRICES,
        "as": COUNTS,
        "c": LETTERS,
        "z": LETTER,
        "t": TIMES,
    },
    "b": {"o": PRICES, "h": PRICES, "l": PRICES, "c": PRICES, "v": COUNTS, "t": TIMES, "n": COUNTS, "vw": PRICES},
}
OPTIONAL = {"x", "c", "z", "i", "n", "vw", "bx", "ax"}


@st.composite
def plain_messages(draw: st.DrawFn) -> list[tuple[str, str]]:
    kind = draw(st.sampled_from("tqb"))
    keys = [
        key for key in FIELDS[kind] if key not in OPTIONAL or (kind == "b" and key == "c") or draw(st.integers(0, 9))
    ]
    pairs = [(key, draw(FIELDS[kind][key])) for key in keys]
    pairs = draw(st.permutations(pairs)) if draw(st.booleans()) else pairs
    return [("T", f'"{kind}"'), ("S", f'"{draw(st.sampled_from(SYMBOLS))}"'), *pairs]


@st.composite
def strange_messages(draw: st.DrawFn) -> list[tuple[str, str]]:
    pairs = draw(plain_messages())
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.integers(0, len(pairs) - 1))
        change = draw(st.sampled_from(["value", "key", "drop", "twice", "move", "kind", "symbol"]))
        if change == "value":
            pairs[place] = (pairs[place][0], draw(STRANGE))
        elif change == "key":
            pairs[place] = (
                draw(st.sampled_from(["T", "S", "t", "p", "s", "zz", "r", "", "toolong", "é", "\\u0070"])),
                pairs[place][1],
            )
        elif change == "drop" and len(pairs) > 1:
            del pairs[place]
        elif change == "twice":
            pairs.append(pairs[place])
        elif change == "move":
            pairs.insert(draw(st.integers(0, len(pairs) - 1)), pairs.pop(place))
        elif change == "kind":
            pairs[0] = ("T", json.dumps(draw(st.sampled_from("tqbudxczl"))))
        else:
            pairs[min(1, len(pairs) - 1)] = (
                "S",
                draw(st.sampled_from(['"TSLA"', '""', '"SPYSPYSPYSPYSPYSPY"', '"é"', '"SP\\u0059"', "1"])),
            )
    return pairs


def written(messages: list[list[tuple[str, str]]]) -> str:
    return "[" + ",".join("{" + ",".join(f'"{key}":{value}' for key, value in pairs) + "}" for pairs in messages) + "]"


@settings(max_examples=400, deadline=None)
@given(st.lists(plain_messages(), min_size=1, max_size=4))
def test_scanner_takes_every_plain_frame_and_reads_it_as_msgspec_does(messages):
    frame = written(messages)
    quick = fast(frame)
    assert quick is not None, frame
    assert quick.tobytes() == slow(frame).tobytes()


@settings(max_examples=1000, deadline=None)
@given(strange_messages(), st.booleans())
def test_scanner_never_reads_a_strange_message_that_msgspec_refuses_or_reads_otherwise(message, after_a_plain_one):
    frame = written([message])
    if after_a_plain_one:
        frame = text(TRADE)[:-1] + "," + frame[1:]
    quick = fast(frame)
    if quick is not None:
        assert quick.tobytes() == slow(frame).tobytes()


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_scanner_never_accepts_a_damaged_frame_that_msgspec_refuses_or_reads_otherwise(data):
    frame = bytearray(text(TRADE, QUOTE, BAR).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(frame) - 1))
        change = data.draw(st.sampled_from(["set", "cut", "twice"]))
        if change == "set":
            frame[place] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(list(b'"\\,:{}[]0.eE-'))))
        else:
            frame[place : place + 1] = frame[place : place + 1] * (2 if change == "twice" else 0)
    alpaca = decoder()
    count = alpaca._scan(np.frombuffer(bytes(frame), np.uint8), alpaca._table, alpaca._block, 0, 5, 1)
    if count >= 0:
        assert alpaca._block[:count].tobytes() == decoder()._receive_slowly(bytes(frame), 5).tobytes()


@pytest.mark.parametrize("places", range(1, 16))
def test_prices_are_correctly_rounded_at_any_number_of_decimals(places):
    random = np.random.default_rng(places)
    for mantissa in random.integers(1, 2**53, 200):
        price = f"{int(mantissa) // 10**places}.{int(mantissa) % 10**places:0{places}d}"
        found = fast(text(TRADE).replace("779.87", price))
        assert found is not None
        assert found["f0"][0] == float(price)


# Doubles --------------------------------------------------------------------------------------------------------------


def trade(number: int, **other: object) -> dict[str, object]:
    made = {"T": "t", "S": "SPY", "i": number, "x": "V", "p": 145.5, "s": 17, "t": "2026-01-05T14:31:00Z"}
    return made | other


def bar(minute: int, volume: int = 5) -> dict[str, object]:
    prices = {"o": 1.0, "h": 1.0, "l": 1.0, "c": 1.0}
    return {"T": "b", "S": "SPY", **prices, "v": volume, "t": f"2026-01-05T14:{minute:02d}:00Z"}


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize(
    ("frames", "left"),
    [
        ([[trade(1), trade(1), trade(2)], [trade(2), trade(3)]], [[1, 2], [3]]),
        ([[trade(1)], [trade(1, x="P")], [trade(1, S="QQQ")], [trade(1)]], [[1], [1], [1], []]),
        ([[trade(1)], [trade(1, s=18)], [trade(1, t="2026-01-05T14:31:00.1Z")]], [[1], [1], [1]]),
        ([[trade(0), trade(0)]], [[0, 0]]),
    ],
    ids=["same-id", "other-exchange-or-instrument", "other-size-or-time", "without-an-id"],
)
def test_a_trade_that_comes_twice_is_left_out_and_counted(
    frames: list[list[dict[str, object]]], left: list[list[int]], slow: bool
) -> None:
    decoder = AlpacaDecoder(["SPY", "QQQ"], once=True)
    blank = " " if slow else ""  # the scanner takes no blanks
    got = [decoder.receive(blank + json.dumps(frame, separators=(",", ":")), 0)["i1"].tolist() for frame in frames]
    assert got == left
    assert decoder.doubles == sum(map(len, frames)) - sum(map(len, left))


@pytest.mark.compiled  # uncompiled it takes half a minute
def test_every_trade_of_a_long_frame_that_comes_twice_is_left_out() -> None:
    decoder = AlpacaDecoder(["SPY"], once=True)
    for first in range(1, 20_001, 100):
        made = [trade(number, x="VPQZ"[number % 4]) for number in range(first, first + 100)]
        frame = json.dumps(made, separators=(",", ":"))
        assert [len(decoder.receive(frame, 0)) for _ in range(2)] == [100, 0], first
    assert decoder.doubles == 20_000


def test_a_bar_that_comes_twice_is_left_out() -> None:
    decoder = AlpacaDecoder(["SPY"], once=True)
    frame = json.dumps([bar(1), bar(1), bar(2), bar(1, volume=6)], separators=(",", ":"))
    assert decoder.receive(frame, 0)["i0"].tolist() == [5, 5, 6]


def test_equal_prints_with_ids_of_their_own_are_two_trades() -> None:
    decoder = AlpacaDecoder(["SPY"], once=True)
    frame = json.dumps([trade(1), trade(2)], separators=(",", ":"))
    assert decoder.receive(frame, 0)["f0"].tolist() == [145.5, 145.5]


def test_a_decoder_that_is_not_told_to_leaves_nothing_out() -> None:
    decoder = AlpacaDecoder(["SPY"])
    frame = json.dumps([trade(1), trade(1)], separators=(",", ":"))
    assert (len(decoder.receive(frame, 0)), decoder.doubles) == (2, 0)
