"""What comes by the clock: timers and going flat, at a first start and after a restart."""

from __future__ import annotations

import numpy as np

from mdslib import BeforeClose, Every, Trade, hold, strategy
from mdslib.desk import control_record
from mdslib.events import Kind
from mdslib.live.due import FLATTEN, Due

SECOND = 10**9
OPEN, CLOSE, FLAT = 100 * SECOND, 200 * SECOND, 190 * SECOND


def ticking():
    @strategy(on=Trade)
    def ticks(trade, state, account, p):
        return hold()

    @ticks.on(Every("30s"))
    def tick(timer, state, account, p):
        return hold()

    @ticks.on(BeforeClose("10s"))
    def last_call(timer, state, account, p):
        return hold()

    return ticks


def new_due(flat: int = FLAT, *, stuck: bool = False) -> Due:
    return Due(ticking(), (OPEN, CLOSE), flat, lambda: stuck)


def told(due: Due, now: int) -> list[tuple[int, str, int]]:
    return [
        (int(r["ts_event"][0]) // SECOND, Kind(int(r["kind"][0])).name, int(r["flag"][0])) for r in due.records(now)
    ]


def test_going_flat_comes_before_timers_of_its_time() -> None:
    assert told(new_due(), CLOSE) == [
        (130, "TIMER", 0), (160, "TIMER", 0), (190, "CONTROL", 0), (190, "TIMER", 0), (190, "TIMER", 1),
    ]  # fmt: skip


def test_a_restart_leaves_out_what_the_tape_tells_of_and_nothing_else() -> None:
    first = new_due()
    tape = np.concatenate(first.records(165 * SECOND))
    again = new_due()
    again.done(tape)
    assert again.wake == FLAT
    assert told(again, CLOSE) == [(190, "CONTROL", 0), (190, "TIMER", 0), (190, "TIMER", 1)]


def test_a_restart_goes_flat_once_whoever_else_did_before() -> None:
    again = new_due()
    again.done(
        np.concatenate([control_record(FLATTEN, 150 * SECOND, 0), control_record(FLATTEN, FLAT, 0, ending=True)])
    )
    assert (190, "CONTROL", 0) in told(again, CLOSE), "a person's, and an ending's, are not the one before the close"
    again = new_due()
    again.done(control_record(FLATTEN, FLAT, 0))
    assert "CONTROL" not in [kind for _, kind, _ in told(again, CLOSE)]


def test_timers_of_a_time_when_nothing_ran_are_left_out_but_going_flat_is_not() -> None:
    due = new_due()
    assert due.join(195 * SECOND) == 4
    assert told(due, 196 * SECOND) == [(190, "CONTROL", 0)]
    late = new_due()
    assert late.join(CLOSE) == 5
    assert told(late, CLOSE + SECOND) == [], "after the close there is nobody to sell to"


def test_a_close_that_was_refused_is_tried_again_every_fifteen_seconds_until_the_close() -> None:
    due = new_due(150 * SECOND, stuck=True)
    found = [ts for now in range(100, 201) for ts, kind, _ in told(due, now * SECOND) if kind == "CONTROL"]
    assert found == [150, 165, 180, 195]
    assert due.wake is None


def test_nothing_is_tried_again_where_something_is_on_its_way_or_nothing_is_held() -> None:
    due = new_due(150 * SECOND)
    assert [ts for ts, kind, _ in told(due, CLOSE) if kind == "CONTROL"] == [150]


def test_of_several_looks_that_are_due_at_once_the_last_counts_and_comes_before_timers_of_its_time() -> None:
    due = new_due(145 * SECOND, stuck=True)
    told(due, 150 * SECOND)
    assert told(due, 191 * SECOND) == [
        (160, "TIMER", 0), (190, "CONTROL", 0), (190, "TIMER", 0), (190, "TIMER", 1),
    ]  # fmt: skip


def test_a_restart_does_not_repeat_the_looks_that_the_tape_has_passed() -> None:
    again = new_due(150 * SECOND, stuck=True)
    again.done(np.concatenate([control_record(FLATTEN, 150 * SECOND, 0), control_record(0, 170 * SECOND, 0)]))
    assert [ts for ts, kind, _ in told(again, 182 * SECOND) if kind == "CONTROL"] == [180]
