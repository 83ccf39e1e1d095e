"""What was missed: merged by time, rid of what is there by its id, and never by its values."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.errors import FeedRefused
from mdslib.events import RECORD, Kind
from mdslib.feeds.backfill import DELAY, MINUTE, SLICE, Backfill, Known, slices
from mdslib.instruments import Instrument
from mdslib.table import Table, empty, from_columns, trades

TWO = (Instrument("SPY"), Instrument("QQQ"))


def records(*rows: tuple[int, int], kind: Kind = Kind.TRADE, **slots: Any) -> np.ndarray:
    """Return records of (time, id)."""
    made = np.zeros(len(rows), RECORD)
    made["kind"], made["ts_event"], made["i1"] = kind, [t for t, _ in rows], [i for _, i in rows]
    for name, value in slots.items():
        made[name] = value
    return made


def ids(found: np.ndarray) -> list[int]:
    numbers: list[int] = found["i1"].tolist()
    return numbers


# What is known --------------------------------------------------------------------------------------------------------


def test_a_trade_is_known_by_its_id_whatever_else_it_says() -> None:
    known = Known()
    known.add(records((1, 70), (2, 71), f0=10.0))
    assert ids(known.without(records((1, 70), (3, 72), f0=11.0))) == [72]
    assert known.has_any(records((9, 71)))
    assert not known.has_any(records((1, 72)))


def test_equal_prints_are_two_trades() -> None:
    known = Known()
    known.add(records((1, 70), f0=10.0, i0=100))
    assert ids(known.without(records((1, 71), f0=10.0, i0=100))) == [71]


@pytest.mark.parametrize("other", [{"instrument": 1}, {"flag": ord("P")}])
def test_an_id_counts_for_one_instrument_and_one_exchange(other: dict[str, int]) -> None:
    known = Known()
    known.add(records((1, 70), flag=ord("V")))
    assert ids(known.without(records((1, 70), **({"flag": ord("V")} | other)))) == [70]


def test_a_bar_is_known_by_its_close() -> None:
    known = Known()
    known.add(records((60, 5), (120, 9), kind=Kind.BAR))
    assert known.without(records((120, 1), (180, 9), kind=Kind.BAR))["ts_event"].tolist() == [180]


def test_a_trade_without_an_id_is_known_up_to_the_latest_event() -> None:
    known = Known()
    known.add(records((5, 0), (9, 70)))
    assert known.without(records((9, 0), (10, 0)))["ts_event"].tolist() == [10]


@pytest.mark.parametrize("kind", [Kind.QUOTE, Kind.STATUS, Kind.CORRECTION])
def test_events_of_other_kinds_never_are_known(kind: Kind) -> None:
    known = Known()
    known.add(records((5, 70)))
    known.add(records((5, 1), kind=kind))
    assert len(known.without(records((5, 1), kind=kind))) == 1
    assert len(known) == 1


@given(taken=st.lists(st.integers(1, 30), unique=True), cut=st.integers(0, 30), order=st.randoms(use_true_random=False))
def test_tape_backfill_and_stream_together_hold_every_trade_once(taken: list[int], cut: int, order: Any) -> None:
    day = [(number, number) for number in range(1, 31)]
    tape = [row for row in day if row[1] in taken]
    live = [row for row in day if row[0] > cut]
    order.shuffle(live)
    known = Known()
    known.add(records(*tape))
    fetched = known.without(records(*day))
    known.add(fetched)
    kept = known.without(records(*live))
    assert sorted(ids(records(*tape)) + ids(fetched) + ids(kept)) == list(range(1, 31))


# Fetching -------------------------------------------------------------------------------------------------------------


class Past:
    """A history of made trades and bars, and of what was asked."""

    def __init__(self, refuses_after: int | None = None) -> None:
        self.asked: list[tuple[str, str, int, int]] = []
        self._refuses_after = refuses_after

    def trades(self, symbol: Any, start: Any, end: Any) -> Table:
        self.asked.append((symbol.symbol, "trades", start, end))
        if self._refuses_after is not None and end > self._refuses_after:
            raise FeedRefused("subscription does not permit querying recent SIP data", 403)
        first = 10 if symbol.symbol == "SPY" else 15
        times = np.arange(first, 60, 10)
        return trades(times, np.ones(len(times)), np.ones(len(times)), trade_id=times).between(start, end)

    def bars(self, symbol: Any, timeframe: str, start: Any, end: Any) -> Table:
        self.asked.append((symbol.symbol, timeframe, start, end))
        starts = np.arange(0, 5) * MINUTE
        starts = starts[(starts >= start) & (starts < end)]
        if not len(starts):
            return empty(Kind.BAR)
        one = np.ones(len(starts))
        prices = {name: one for name in ("open", "high", "low", "close")}
        return from_columns(Kind.BAR, {"ts_event": starts + MINUTE, **prices, "volume": one, "trades": one})

    def close(self) -> None:
        self.asked.append(("", "close", 0, 0))


def test_trades_of_several_instruments_come_in_order_of_time_stamped_as_received_now() -> None:
    fill = Backfill(Past(), TWO, ("trades",))
    found = fill.fetch(15, 40, now=99)
    assert found["ts_event"].tolist() == [15, 20, 25, 30, 35]
    assert found["instrument"].tolist() == [1, 0, 1, 0, 1]
    assert set(found["ts_init"].tolist()) == {99}


def test_a_bar_that_is_not_over_is_left_out_and_one_that_began_before_the_hole_is_not() -> None:
    fill = Backfill(Past(), TWO[:1], ("bars",))
    found = fill.fetch(MINUTE + 5, 10 * MINUTE, now=3 * MINUTE + 1)
    assert found["ts_event"].tolist() == [2 * MINUTE, 3 * MINUTE]


def test_where_the_history_has_closed_bars_only_no_clock_of_ours_judges_that() -> None:
    fill = Backfill(Past(), TWO[:1], ("bars",), closed_only=True)
    found = fill.fetch(MINUTE + 5, 10 * MINUTE, now=3 * MINUTE - 1)
    assert found["ts_event"].tolist() == [2 * MINUTE, 3 * MINUTE, 4 * MINUTE, 5 * MINUTE]


def test_channels_without_a_history_are_named() -> None:
    fill = Backfill(Past(), TWO, ("trades", "quotes", "statuses"))
    assert (fill.without_history, fill.possible) == (("quotes", "statuses"), True)
    assert not Backfill(Past(), TWO, ("quotes",)).possible


def test_a_plan_that_keeps_the_last_quarter_of_an_hour_back_gives_what_is_older() -> None:
    now = 2 * DELAY
    fill = Backfill(Past(refuses_after=now - DELAY), TWO[:1], ("trades",))
    found, until = fill.fetch_allowed(1, now, now)
    assert (len(found), until) == (5, now - DELAY)


def test_a_plan_that_gives_nothing_of_the_range_is_refused() -> None:
    now = 2 * DELAY
    fill = Backfill(Past(refuses_after=0), TWO[:1], ("trades",))
    with pytest.raises(FeedRefused, match="recent SIP data"):
        fill.fetch_allowed(now - 5, now, now)
    fill.close()


@given(start=st.integers(0, 10**14), length=st.integers(0, 10**14), more=st.integers(0, 10**14))
def test_slices_cover_the_range_once_and_are_bounded(start: int, length: int, more: int) -> None:
    now, end = start + length, start + length + more
    found = slices(start, now, end)
    assert found[0][0] == start
    assert found[-1][1] >= end
    assert all(a[1] == b[0] for a, b in itertools.pairwise(found))
    assert all(stop - begin == SLICE for begin, stop in found[:-1])
    assert len(found) == max(1, -(-length // SLICE))
