"""Coinbase's channel `full`: single orders by id against a plain list of orders, its snapshot by REST, its gaps."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.book import OrderBook
from mdslib.errors import DataError
from mdslib.events import Kind
from mdslib.feeds.coinbase import CoinbaseDecoder
from mdslib.feeds.replay import replay_capture

PAIR, TIME = "BTC-USD", "2017-06-25T11:23:14.775000Z"


class Venue:
    """A made venue: resting orders in a dictionary, and the messages that its engine would send."""

    def __init__(self) -> None:
        self.orders: dict[str, tuple[str, int, int]] = {}
        self.sequence = 100
        self.trades = 0

    def say(self, kind: str, **more: object) -> str:
        self.sequence += 1
        return json.dumps({"type": kind, "product_id": PAIR, "sequence": self.sequence, "time": TIME, **more})

    def place(self, side: str, price: int, size: int) -> list[str]:
        number = f"order-{self.sequence}"
        text = {"order_id": number, "side": side, "price": f"{price}.00"}
        self.orders[number] = (side, price, size)
        return [self.say("received", **text, size=str(size)), self.say("open", **text, remaining_size=str(size))]

    def cancel(self, number: str) -> list[str]:
        side, price, size = self.orders.pop(number)
        return [
            self.say("done", order_id=number, side=side, price=str(price), remaining_size=str(size), reason="canceled")
        ]

    def match(self, number: str, size: int) -> list[str]:
        side, price, resting = self.orders[number]
        size = min(size, resting)
        self.trades += 1
        text = {"maker_order_id": number, "taker_order_id": "t", "side": side, "size": str(size), "price": str(price)}
        said = [self.say("match", trade_id=self.trades, **text)]
        self.orders[number] = (side, price, resting - size)
        if size < resting:
            return said
        del self.orders[number]
        return [
            *said,
            self.say("done", order_id=number, side=side, price=str(price), reason="filled", remaining_size="0"),
        ]

    def change(self, number: str, size: int) -> list[str]:
        side, price, before = self.orders[number]
        self.orders[number] = (side, price, size)
        return [
            self.say("change", order_id=number, side=side, price=str(price), old_size=str(before), new_size=str(size))
        ]

    def snapshot(self) -> bytes:
        sides = {"buy": "bids", "sell": "asks"}
        body: dict[str, object] = {"sequence": self.sequence, "bids": [], "asks": []}
        for number, (side, price, size) in self.orders.items():
            body[sides[side]].append([str(price), str(size), number])  # type: ignore[attr-defined]
        return json.dumps(body).encode()

    def levels(self, side: str) -> list[tuple[float, int]]:
        sizes: Counter[int] = Counter()
        for own, price, size in self.orders.values():
            if own == side:
                sizes[price] += size * 10**8
        return sorted(((float(price), size) for price, size in sizes.items()), reverse=side == "buy")


def act(venue: Venue, choice: int, price: int, size: int) -> list[str]:
    numbers = sorted(venue.orders)
    if choice < 4 or not numbers:
        side = "buy" if price % 2 else "sell"
        return venue.place(side, 100 - price if side == "buy" else 101 + price, size)
    number = numbers[price % len(numbers)]
    if choice == 4:
        return venue.cancel(number)
    return venue.match(number, size) if choice == 5 else venue.change(number, size)


ACT = st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(1, 5))


@given(st.lists(ACT, max_size=20), st.lists(ACT, max_size=20), st.lists(ACT, max_size=20))
def test_levels_are_the_sums_of_the_resting_orders_whenever_the_snapshot_was_made(before, between, after):
    venue, decoder, book = Venue(), CoinbaseDecoder(), OrderBook(1.0)
    # Some messages come before the snapshot was made, some after it but before it arrives, some after that.
    for step in [(0, 1, 1), *before]:
        for text in act(venue, *step):
            book.apply(decoder.receive(text, 1))
    snapshot = venue.snapshot()
    for step in between:
        for text in act(venue, *step):
            book.apply(decoder.receive(text, 1))
    assert book.counts == (0, 0)
    book.apply(decoder.load_orders(PAIR, snapshot, 2))
    for step in after:
        for text in act(venue, *step):
            book.apply(decoder.receive(text, 3))
    top = book.top(1000)
    assert list(zip(top.bid.tolist(), top.bid_size.tolist(), strict=True)) == venue.levels("buy")
    assert list(zip(top.ask.tolist(), top.ask_size.tolist(), strict=True)) == venue.levels("sell")
    tally = decoder.tallies[PAIR]
    assert (tally.trades, tally.sequence_gaps, tally.snapshots) == (venue.trades, 0, 1)
    assert tally.messages == tally.decoded + tally.control + tally.ignored
    assert decoder.take_resyncs() == []


def opened():
    venue, decoder = Venue(), CoinbaseDecoder()
    for text in [*venue.place("buy", 100, 3), *venue.place("sell", 101, 2)]:
        decoder.receive(text, 1)
    decoder.load_orders(PAIR, venue.snapshot(), 2)
    return venue, decoder


def test_a_gap_makes_the_book_unknown_until_the_next_snapshot():
    venue, decoder = opened()
    venue.place("buy", 99, 1)
    first, second = venue.place("buy", 98, 1)
    assert decoder.receive(first, 3)["kind"].tolist() == [Kind.GAP]
    assert decoder.last.sequence_gaps == 1
    (resync,) = decoder.take_resyncs()
    assert (resync.pair, resync.why, resync.send) == (PAIR, "sequence: 105 must follow, received 107", ())
    assert len(decoder.receive(second, 3)) == 0
    assert decoder.last.names == {"full open before its snapshot": 1}
    book = OrderBook(1.0)
    book.apply(decoder.load_orders(PAIR, venue.snapshot(), 4))
    assert book.top(9).bid.tolist() == [100.0, 99.0, 98.0]


def test_a_snapshot_older_than_the_first_message_is_refused_and_asked_for_again():
    venue, decoder = Venue(), CoinbaseDecoder()
    old = venue.snapshot()
    venue.place("buy", 100, 1)
    for text in venue.place("buy", 99, 1):
        decoder.receive(text, 1)
    records = decoder.load_orders(PAIR, old, 2)
    assert records["kind"].tolist() == [Kind.GAP]
    (resync,) = decoder.take_resyncs()
    assert resync.why == "the book of orders is of 100, older than the messages from 103"


def test_a_snapshot_may_be_newer_than_the_feed():
    venue, decoder = Venue(), CoinbaseDecoder()
    early, late = venue.place("buy", 100, 1), venue.place("buy", 99, 1)
    for text in early:
        decoder.receive(text, 1)
    book = OrderBook(1.0)
    book.apply(decoder.load_orders(PAIR, venue.snapshot(), 2))
    for text in [*late, *venue.place("buy", 98, 4)]:
        book.apply(decoder.receive(text, 3))
    top = book.top(9)
    assert (top.bid.tolist(), top.bid_size.tolist()) == ([100.0, 99.0, 98.0], [10**8, 10**8, 4 * 10**8])


def test_a_match_with_an_unknown_maker_costs_the_book():
    venue, decoder = opened()
    text = venue.match(next(iter(venue.orders)), 1)[0].replace("order-100", "nobody")
    records = decoder.receive(text, 3)
    assert records["kind"].tolist() == [Kind.TRADE, Kind.GAP]  # the trade is a trade all the same
    (resync,) = decoder.take_resyncs()
    assert resync.why == "a match must be with an order of the book, received maker nobody for 100000000 lots"


def test_a_message_that_came_before_is_ignored_by_name():
    _, decoder = opened()
    done = {"type": "done", "product_id": PAIR, "sequence": 103, "time": TIME, "order_id": "order-100"}
    assert len(decoder.receive(json.dumps(done), 3)) == 0
    assert decoder.last.names == {"full done that came before": 1}


def test_an_activated_stop_order_has_no_sequence_and_changes_nothing():
    _, decoder = opened()
    assert len(decoder.receive(json.dumps({"type": "activate", "product_id": PAIR, "order_id": "x"}), 3)) == 0
    assert decoder.last.decoded == 1


def test_a_changed_price_moves_the_order():
    venue, decoder = opened()
    book = OrderBook(1.0)
    book.apply(decoder.load_orders(PAIR, venue.snapshot(), 2))
    text = venue.say(
        "change", order_id="order-100", reason="modify_order", old_price="100", new_price="99", new_size="5"
    )
    book.apply(decoder.receive(text, 3))
    assert (book.top(9).bid.tolist(), book.top(9).bid_size.tolist()) == ([99.0], [5 * 10**8])


def test_an_answer_that_is_no_book_of_orders_is_refused():
    with pytest.raises(DataError, match=r"coinbase BTC-USD: the answer can't be read: KeyError: 'bids'"):
        CoinbaseDecoder().load_orders(PAIR, b'{"message":"NotFound"}', 1)


def test_a_captures_rest_answers_begin_its_books(tmp_path: Path):
    venue = Venue()
    url = "https://api.exchange.coinbase.com/products/BTC-USD/book?level=3"
    lines = ["wss://ws-feed.exchange.coinbase.com <-> 1.0"]
    lines += [f"2.0: {text}" for text in venue.place("buy", 100, 1)]
    lines.append(f"{url} -> 3.0: {venue.snapshot().decode()}")
    lines += [f"4.0: {text}" for text in venue.place("sell", 105, 1)]
    (tmp_path / "C.0").write_text("\n".join(lines))
    records: list[np.ndarray] = []
    found = replay_capture(tmp_path, sink=records.append).as_dict()
    assert (found["snapshots"], found["deltas"], found["decoded"], found["ignored"]) == (1, 1, 2, 2)
    assert sum(map(len, records)) == found["records"] == 3


def test_the_capture_of_2017_has_no_gap_and_says_why_there_is_no_book(shared_data: Path):
    found = replay_capture(shared_data / "gdax_full_2017").as_dict()
    assert (found["messages"], found["control"], found["ignored"], found["sequence_gaps"]) == (23, 1, 22, 0)
    assert found["names"] == {"full done before its snapshot": 8, "full open before its snapshot": 7,
                              "full received before its snapshot": 7, "heartbeat": 1}  # fmt: skip
