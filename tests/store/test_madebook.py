"""Made books repeat byte for byte, are never crossed, and their trades take what the book showed."""

from __future__ import annotations

import numpy as np
import pytest

from mdslib import calendar
from mdslib.errors import ConfigError
from mdslib.events import BookFlag
from mdslib.store.madebook import made_books
from mdslib.table import MarketData


@pytest.fixture(scope="module")
def day() -> MarketData:
    """Two pairs of a day."""
    return made_books(pairs=("BTC/USD", "ETH/USD"), messages=3_000)


def books(day: MarketData, pair: int) -> dict[int, tuple[dict[float, int], dict[float, int]]]:
    """Return a pair's book after each message, by time: a slow and plain reading of the deltas."""
    table, sides, found = day.book_deltas, ({}, {}), {}
    assert table is not None
    columns = (table[name].tolist() for name in ("ts_event", "instrument", "price", "size", "flags"))
    for ts, instrument, price, size, flags in zip(*columns, strict=True):
        if instrument != pair:
            continue
        if flags & BookFlag.CLEAR:
            sides = ({}, {})
        elif size:
            sides[flags & BookFlag.ASK][price] = size
        else:
            del sides[flags & BookFlag.ASK][price]  # a level that is taken away was there
        if flags & BookFlag.LAST:
            assert ts not in found, "a pair has one message at a time"
            found[ts] = (dict(sides[0]), dict(sides[1]))
    return found


def test_the_same_arguments_make_the_same_bytes_and_another_seed_or_pair_other_ones() -> None:
    first, again, other = (made_books(messages=300, seed=seed) for seed in (7, 7, 8))
    for one, two in zip(first.tables, again.tables, strict=True):
        assert one.equals(two)
    assert not first.tables[1].equals(other.tables[1])
    assert not first.tables[1].equals(made_books(pairs="ETH/USD", messages=300).tables[1])


def test_the_spread_does_not_widen_through_the_day(day: MarketData) -> None:
    spreads = [min(asks) - max(bids) for bids, asks in books(day, 0).values()]
    assert np.mean(spreads[-1_000:]) < 2 * np.mean(spreads[500:1_500]) < 10.0


@pytest.mark.parametrize("pair", [0, 1])
def test_a_book_begins_with_an_image_and_is_never_crossed_or_without_a_side(day: MarketData, pair: int) -> None:
    found = books(day, pair)
    assert len(found) == 3_000
    assert [len(side) for side in next(iter(found.values()))] == [20, 20]
    for bids, asks in found.values():
        assert len(bids) >= 5
        assert len(asks) >= 5
        assert max(bids) < min(asks)


@pytest.mark.parametrize("pair", [0, 1])
def test_trades_take_what_the_book_showed_best_first_and_the_book_of_that_time_lacks_it(
    day: MarketData, pair: int
) -> None:
    found, trades = books(day, pair), day.trades
    assert trades is not None
    times = list(found)
    before = dict(zip(times[1:], times, strict=False))
    own = trades["instrument"] == pair
    assert trades["trade_id"][own].tolist() == list(range(1, int(own.sum()) + 1))
    assert own.sum() > 200
    columns = (trades[name][own].tolist() for name in ("ts_event", "price", "size", "conditions"))
    taken: dict[int, list[tuple[float, int, int]]] = {}
    for ts, price, size, letter in zip(*columns, strict=True):
        taken.setdefault(ts, []).append((price, size, int(letter == ord("B"))))
    for ts, prints in taken.items():
        side = prints[0][2]
        was, now = found[before[ts]][side], found[ts][side]
        best = sorted(was, reverse=not side)[: len(prints)]
        assert [price for price, _, _ in prints] == best
        for price, size, _ in prints:
            assert now.get(price, 0) == was[price] - size


def test_the_larger_side_of_the_best_sizes_foretells_which_side_is_taken(day: MarketData) -> None:
    found, trades = books(day, 0), day.trades
    assert trades is not None
    times = list(found)
    before = dict(zip(times[1:], times, strict=False))
    right = total = 0
    own = trades["instrument"] == 0
    for ts, letter in dict(
        zip(trades["ts_event"][own].tolist(), trades["conditions"][own].tolist(), strict=True)
    ).items():
        bids, asks = found[before[ts]]
        right += (bids[max(bids)] > asks[min(asks)]) == (letter == ord("B"))
        total += 1
    assert right / total > 0.6


def test_a_part_of_the_day_can_be_asked_for() -> None:
    session = calendar.session("2025-06-12", calendar.ALWAYS)
    assert session is not None
    hour = 3_600_000_000_000
    part = made_books(messages=200, start=session.open + hour, end=session.open + 2 * hour)
    assert part.book_deltas is not None
    times = part.book_deltas["ts_event"]
    assert times[0] == session.open + hour
    assert times[-1] < session.open + 2 * hour
    assert (np.diff(np.unique(times)) > 0).all()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"messages": 0}, "made_books: messages must be 1 to 86400000 in this span, received 0"),
        ({"seed": -1}, "a seed must be >= 0, received -1"),
        ({"pairs": ("BTC/USD", "SPY")}, "pairs must be one or more of one calendar, received ('BTC/USD', 'SPY')"),
        ({"start": 5}, "made_books: start and end must lie in the session"),
    ],
)
def test_what_can_not_be_made_is_refused(wrong: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made_books(**{"messages": 100, **wrong})  # type: ignore[arg-type]
    assert text in str(caught.value)
