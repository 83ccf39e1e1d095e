"""What was lost or doubled, on tapes and books made by hand."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest

from mdslib.events import RECORD, Kind, Status, Verb
from mdslib.instruments import Instrument
from mdslib.orderid import client_order_id
from mdslib.protocols import Records
from mdslib.rehearsal.losses import Books, Events, compare_books, compare_events, compare_orders, holes_of
from mdslib.tape import TapeHeader

DAY = datetime.date(2025, 6, 12)
HEADER = TapeHeader("m", "f", {}, (Instrument("SPY"),), "PA3", DAY, "r", hours=((0, 100),))


def rows(*told: tuple[Any, ...]) -> Records:
    """Return records: kind, then (field, value) pairs."""
    made = np.zeros(len(told), RECORD)
    for at, (kind, *fields) in enumerate(told):
        made["kind"][at], made["seq"][at] = int(kind), at + 1
        for name, value in fields:
            made[name][at] = value
    return made


def trades(*times: int) -> Records:
    return rows(*[(Kind.TRADE, ("ts_event", ts), ("i1", ts)) for ts in times])


def name(seq: int, account: str = "PA3") -> str:
    return client_order_id(account, DAY, "r", seq, 0, 0)


def order(seq: int, status: str = "filled", qty: float = 5.0, filled: float = 5.0, **more: Any) -> dict[str, Any]:
    made = {"client_order_id": name(seq), "symbol": "SPY", "side": "buy", "status": status, "qty": qty}
    return made | {"filled_qty": filled, "filled_avg_price": 10.0 if filled else None} | more


def intent(seq: int) -> tuple[Any, ...]:
    return Kind.INTENT, ("i0", seq), ("code", int(Verb.ORDER)), ("f0", 5.0)


def update(seq: int, status: Status, qty: float = 0.0) -> tuple[Any, ...]:
    return Kind.UPDATE, ("i0", seq), ("code", int(status)), ("f0", qty), ("f1", 10.0 if qty else 0.0)


@pytest.mark.parametrize(
    ("kept", "holes", "found"),
    [
        ((1, 2, 3), (), Events(3, 0, 0, 0, 0)),
        ((3, 1, 2), (), Events(3, 0, 0, 0, 0)),  # the tape's order is that of arrival
        ((1, 3), (), Events(3, 1, 0, 0, 0)),
        ((1, 3), ((2, 2),), Events(3, 0, 1, 0, 0)),
        ((1, 2, 2, 3), (), Events(3, 0, 0, 1, 0)),
        ((1, 2, 3, 4), (), Events(3, 0, 0, 0, 1)),
        ((), (), Events(3, 3, 0, 0, 0)),
    ],
    ids=["all", "out of order", "lost", "told", "doubled", "invented", "none"],
)
def test_each_event_that_came_to_be_must_be_on_the_tape_once(
    kept: tuple[int, ...], holes: tuple[tuple[int, int], ...], found: Events
) -> None:
    assert compare_events(trades(1, 2, 3), trades(*kept), holes) == found


def test_an_event_that_differs_in_one_field_is_another() -> None:
    other = trades(1, 2)
    other["f0"][1] = 600.0
    assert compare_events(trades(1, 2), other) == Events(2, 1, 0, 0, 1)


def test_a_hole_is_what_a_gap_left_that_was_not_filled() -> None:
    gap, resync = (Kind.GAP, ("ts_event", 20), ("i0", 15)), (Kind.RESYNC, ("ts_event", 40))
    close = (Kind.CLOSE, ("ts_event", 100))
    tape = rows((Kind.TRADE, ("ts_event", 10)), gap, resync, close)
    assert holes_of(tape, {3: "5 trades of SPY filled in; no history of statuses: those are missing"}, 100) == []
    assert holes_of(tape, {3: "5 trades filled in; not all: the history had no answer"}, 100) == [(15, 40)]
    assert holes_of(rows(gap, close), {}, 100) == [(15, 100)], "never filled"
    early = rows((Kind.TRADE, ("ts_event", 10)), (Kind.CLOSE, ("ts_event", 60)))
    assert holes_of(early, {}, 100) == [(0, 100)], "it ended before the close"


@pytest.mark.parametrize(
    ("tape", "venue", "lost", "doubled", "misfilled"),
    [
        ([intent(7), update(7, Status.FILLED, 5.0)], [order(7)], 0, 0, 0),
        ([intent(7), update(7, Status.REJECTED)], [], 0, 0, 0),
        ([intent(7)], [], 1, 0, 0),
        ([intent(7), update(7, Status.NEW)], [order(7, "new", filled=0.0)], 1, 0, 0),
        ([intent(7), update(7, Status.FILLED, 5.0)], [order(7), order(7)], 0, 1, 0),
        ([], [order(7, "canceled", filled=0.0)], 0, 1, 0),
        ([intent(7), update(7, Status.CANCELED)], [order(7)], 0, 0, 1),
        ([intent(7), update(7, Status.FILLED, 5.0)], [order(7, filled_avg_price=10.1)], 0, 0, 1),
        ([], [order(7, client_order_id="somebody else's")], 0, 0, 0),
    ],
    ids=["filled", "refused", "not there", "still works", "twice", "unknown to the tape", "untold fill", "other price",
         "foreign"],
)  # fmt: skip
def test_each_intent_is_one_order_at_the_venue_with_the_same_fills(
    tape: list[tuple[Any, ...]], venue: list[dict[str, Any]], lost: int, doubled: int, misfilled: int
) -> None:
    found = compare_orders(rows(*tape), HEADER, venue)
    assert (len(found.lost), len(found.doubled), len(found.misfilled)) == (lost, doubled, misfilled)


def test_positions_are_compared_without_what_somebody_else_traded() -> None:
    tape = rows(intent(7), update(7, Status.FILLED, 5.0))
    foreign = order(9, client_order_id="mine", side="sell", filled=2.0)
    assert compare_books(tape, HEADER, [order(7), foreign]) == Books({"SPY": 5.0}, {}, {"SPY": -2.0})
    assert compare_books(tape, HEADER, [order(7, filled=3.0)]).off == {"SPY": 2.0}
