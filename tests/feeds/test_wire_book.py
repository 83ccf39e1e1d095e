"""The compiled book of texts against a plain dictionary of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.feeds.wire_book import WireBook

PRICES = st.integers(0, 300).map(lambda number: number / 4)
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "drop", "truncate", "clear"]), st.integers(0, 1), PRICES, st.integers(0, 10**9)),
    max_size=120,
)


def best(levels: dict[float, str], side: int, count: int) -> list[str]:
    return [levels[price] for price in sorted(levels, reverse=not side)[:count]]


@given(STEPS)
def test_levels_are_put_dropped_and_cut_off_as_in_a_dictionary(steps):
    book, plain = WireBook(), ({}, {})
    for what, side, price, number in steps:
        ours = plain[side]
        if what == "put":
            book.put(side, price, str(number))
            ours[price] = str(number)
        elif what == "drop":
            assert book.drop(side, price) == (ours.pop(price, None) is not None)
        elif what == "truncate":
            depth = number % 20 - 3
            worst = sorted(ours, reverse=bool(side))[: max(0, len(ours) - max(0, depth))]
            assert book.deeper(depth) == any(len(levels) > depth for levels in plain)
            assert book.truncate(side, depth) == worst
            for gone in worst:
                del ours[gone]
        elif number % 10 == 0:
            book.clear()
            plain[0].clear()
            plain[1].clear()
        assert len(book) == len(plain[0]) + len(plain[1])
        for one in (0, 1):
            assert book.best(one, 7) == best(plain[one], one, 7)


def test_a_book_has_room_for_a_thousand_levels():
    book = WireBook()
    for number in range(1_000):
        book.put(number % 2, float(number * 7919 % 1_009), str(number))
    assert len(book) == 1_000
    assert book.best(0, 1) == [
        str(number)
        for number in range(0, 1_000, 2)
        if number * 7919 % 1_009 == max(even * 7919 % 1_009 for even in range(0, 1_000, 2))
    ]


def test_a_text_longer_than_any_number_is_refused():
    with pytest.raises(ValueError, match=r"a level's text must be shorter than 64 bytes, received '1{64}'"):
        WireBook().put(0, 1.0, "1" * 64)
