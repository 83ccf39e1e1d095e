"""The order state machine as a specification: what the venue says in any order, and what the tape then adds up to."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.account import new_account
from mdslib.desk import BY_DESK, Desk, Order
from mdslib.events import Kind, Status, TimeInForce, Verb
from mdslib.instruments import Instrument
from mdslib.orderid import parse_client_order_id
from mdslib.protocols import NewOrder, OrderState, Position, Records, Update
from mdslib.risk import Denial
from mdslib.strategy.decide import DECISION, book, reserve

DATE = datetime.date(2013, 10, 8)
MARKET = math.nan


def new_desk() -> Desk:
    return Desk("PA1", "spy", DATE, [Instrument("SPY"), Instrument("BAC")])


def decision(seq: int = 7, qty: float = 10.0, instrument: int = 0, **fields: float) -> Records:
    row = np.zeros(1, DECISION)
    row["seq"], row["qty"], row["instrument"], row["verb"] = seq, qty, instrument, int(Verb.ORDER)
    row["limit"], row["reference"], row["ts_event"] = MARKET, 100.0, 1_000
    for name, value in fields.items():
        row[name] = value
    return row


def cancel_all(instrument: int = 0, seq: int = 8) -> Records:
    return decision(seq, 0.0, instrument, verb=int(Verb.CANCEL))


@pytest.fixture
def desk() -> Desk:
    return new_desk()


@pytest.fixture
def order(desk: Desk) -> Order:
    """A buy of 10 that has been handed to the workers."""
    return desk.take(decision(), 2_000).orders[0]


def state(order: Order, status: Status, filled: float = 0.0, avg: float = math.nan) -> OrderState:
    qty = order.new.qty
    name = order.new.client_order_id
    return OrderState(name, "v1", order.new.symbol, status, qty, filled, avg, qty - filled, 5_000)


def says(
    order: Order, status: Status, filled: float = 0.0, avg: float = math.nan, last: float = 0.0, px: float = 0.0
) -> Update:
    return Update(state(order, status, filled, avg), status.name.lower(), "x", last, px, math.nan, 5_000)


def accepted(order: Order) -> Update:
    return says(order, Status.NEW)


def fill(order: Order, last: float, px: float, filled: float, avg: float) -> Update:
    status = Status.FILLED if filled == order.new.qty else Status.PARTIALLY_FILLED
    return says(order, status, filled, avg, last, px)


def told(records: Records) -> list[tuple[str, float, float]]:
    return [(Status(int(r["code"])).name, float(r["f0"]), float(r["f1"])) for r in records]


# Decisions ------------------------------------------------------------------------------------------------------------


def test_a_decision_becomes_an_intent_and_an_order_whose_id_names_the_decision(desk: Desk) -> None:
    intents = desk.take(decision(7, -5.0, 1, leg=1, limit=9.5, tif=int(TimeInForce.IOC)), 2_000)
    (record,), (order,) = intents.records, intents.orders
    assert (record["kind"], record["i0"], record["flag"], record["instrument"]) == (int(Kind.INTENT), 7, 1, 1)
    assert (record["f0"], record["f1"], record["f2"]) == (-5.0, 9.5, 100.0)
    assert int(record["code"]) == int(Verb.ORDER) + 256 * int(TimeInForce.IOC)
    key = parse_client_order_id(order.new.client_order_id)
    assert key is not None
    assert (key.trading_date, key.seq, key.leg, key.attempt) == (DATE, 7, 1, 0)
    assert order.new[1:] == ("BAC", -5.0, 9.5, TimeInForce.IOC)
    assert desk.working() == [order]


def test_a_denied_decision_becomes_a_denied_record_and_no_order(desk: Desk) -> None:
    refused = decision(denied=int(Denial.ORDER_QTY), bound=5.0, value=10.0)
    intents = desk.take(refused, 2_000)
    (record,) = intents.records
    assert (record["kind"], record["code"], record["f2"], record["f3"]) == (
        int(Kind.DENIED), int(Denial.ORDER_QTY), 5.0, 10.0,
    )  # fmt: skip
    assert intents.orders == []
    assert desk.working() == []


def test_a_decision_that_only_parks_a_quantity_has_no_record(desk: Desk) -> None:
    intents = desk.take(decision(qty=0.0, parked=-10.0), 2_000)
    assert len(intents.records) == 0
    assert intents.orders == []


# The usual way --------------------------------------------------------------------------------------------------------


def test_an_order_is_accepted_and_filled(desk: Desk, order: Order) -> None:
    assert not desk.named(order, state(order, Status.PENDING_NEW))
    assert told(desk.on_update(says(order, Status.PENDING_NEW), 1)) == []
    assert told(desk.on_update(accepted(order), 1)) == [("NEW", 0.0, 0.0)]
    records = desk.on_update(fill(order, 10.0, 100.5, 10.0, 100.5), 6_000)
    assert told(records) == [("FILLED", 10.0, 100.5)]
    (record,) = records
    assert (record["i0"], record["flag"], record["f2"], record["f3"]) == (7, 0, 10.0, 0.0)
    assert (record["ts_event"], record["ts_init"]) == (5_000, 6_000)
    assert order.done
    assert desk.working() == []


def test_partial_fills_add_up_and_the_last_one_ends_the_order(desk: Desk, order: Order) -> None:
    first = desk.on_update(fill(order, 4.0, 100.0, 4.0, 100.0), 1)
    second = desk.on_update(fill(order, 6.0, 101.0, 10.0, 100.6), 1)
    assert told(first) + told(second) == [("PARTIALLY_FILLED", 4.0, 100.0), ("FILLED", 6.0, 101.0)]
    assert [float(r["f3"]) for r in np.concatenate([first, second])] == [6.0, 0.0]


def test_a_sale_is_kept_with_signed_quantities(desk: Desk) -> None:
    order = desk.take(decision(qty=-10.0), 1).orders[0]
    assert told(desk.on_update(fill(order, -4.0, 100.0, -4.0, 100.0), 1)) == [("PARTIALLY_FILLED", -4.0, 100.0)]
    assert order.leaves == -6.0


# Out of the usual way -------------------------------------------------------------------------------------------------


def test_a_fill_before_the_answer_to_its_post_is_booked_at_once(desk: Desk, order: Order) -> None:
    assert told(desk.on_update(fill(order, 10.0, 100.5, 10.0, 100.5), 1)) == [("FILLED", 10.0, 100.5)]
    assert not desk.named(order, state(order, Status.PENDING_NEW))
    assert order.status is Status.FILLED
    assert told(desk.on_update(accepted(order), 1)) == []


def test_a_fill_that_is_told_twice_is_booked_once(desk: Desk, order: Order) -> None:
    message = fill(order, 4.0, 100.0, 4.0, 100.0)
    assert len(desk.on_update(message, 1)) == 1
    assert len(desk.on_update(message, 1)) == 0
    assert order.filled == 4.0


def test_fills_that_come_out_of_order_are_booked_once_each(desk: Desk, order: Order) -> None:
    later = desk.on_update(fill(order, 6.0, 101.0, 10.0, 100.6), 1)
    earlier = desk.on_update(fill(order, 4.0, 100.0, 4.0, 100.0), 1)
    assert told(later) == [("PARTIALLY_FILLED", 4.0, 100.0), ("FILLED", 6.0, 101.0)]
    assert told(earlier) == []


def test_a_missed_fill_gets_a_record_of_its_own_at_the_price_that_the_average_implies(desk: Desk, order: Order) -> None:
    desk.on_update(fill(order, 2.0, 100.0, 2.0, 100.0), 1)
    # 3 at 102 were missed: (2 x 100 + 3 x 102 + 1 x 99) / 6
    records = desk.on_update(fill(order, 1.0, 99.0, 6.0, 605.0 / 6.0), 1)
    assert told(records) == [("PARTIALLY_FILLED", 3.0, 102.0), ("PARTIALLY_FILLED", 1.0, 99.0)]


def test_a_missed_fill_without_an_average_price_is_not_guessed(desk: Desk, order: Order) -> None:
    assert told(desk.on_update(says(order, Status.CANCELED, 4.0), 1)) == []
    assert desk.working() == [order], "so it is asked for again"
    assert told(desk.on_state(state(order, Status.CANCELED, 4.0, 100.0), 1)) == [
        ("PARTIALLY_FILLED", 4.0, 100.0),
        ("CANCELED", 0.0, 0.0),
    ]


def test_asking_for_an_order_brings_what_the_stream_has_not_told(desk: Desk, order: Order) -> None:
    records = desk.on_state(state(order, Status.FILLED, 10.0, 100.25), 1)
    assert told(records) == [("FILLED", 10.0, 100.25)]
    assert len(desk.on_update(fill(order, 10.0, 100.25, 10.0, 100.25), 1)) == 0


def test_canceled_with_fills_frees_what_was_left(desk: Desk, order: Order) -> None:
    desk.on_update(fill(order, 4.0, 100.0, 4.0, 100.0), 1)
    records = desk.on_update(says(order, Status.CANCELED, 4.0, 100.0), 1)
    assert told(records) == [("CANCELED", 0.0, 0.0)]
    assert float(records[0]["f3"]) == 6.0
    assert order.leaves == 0.0


def test_canceled_before_its_fill_is_told_books_the_fill_first(desk: Desk, order: Order) -> None:
    records = desk.on_update(says(order, Status.CANCELED, 4.0, 100.0), 1)
    assert told(records) == [("PARTIALLY_FILLED", 4.0, 100.0), ("CANCELED", 0.0, 0.0)]
    assert len(desk.on_update(fill(order, 4.0, 100.0, 4.0, 100.0), 1)) == 0


def test_a_fill_after_the_end_is_booked_and_nothing_is_freed_twice(desk: Desk, order: Order) -> None:
    account = new_account(1)
    reserve(account, 0, 10.0)
    records = np.concatenate(
        [
            desk.on_update(says(order, Status.CANCELED), 1),
            desk.on_update(fill(order, 4.0, 100.0, 4.0, 100.0), 1),
        ]
    )
    assert told(records) == [("CANCELED", 0.0, 0.0), ("CANCELED", 4.0, 100.0)]
    for r in records:
        book(account, 0, int(r["code"]), float(r["f0"]), float(r["f1"]), float(r["f3"]), 0.0)
    assert float(account[0]["position"]) == 4.0
    assert float(account[0]["open_qty"]) == 0.0


def test_expired_at_the_close(desk: Desk, order: Order) -> None:
    desk.on_update(accepted(order), 1)
    assert told(desk.on_update(says(order, Status.EXPIRED), 1)) == [("EXPIRED", 0.0, 0.0)]


def test_rejected_after_it_was_accepted(desk: Desk, order: Order) -> None:
    desk.on_update(accepted(order), 1)
    assert told(desk.on_update(says(order, Status.REJECTED), 1)) == [("REJECTED", 0.0, 0.0)]
    assert order.done


def test_refused_outright(desk: Desk, order: Order) -> None:
    (record,) = desk.reject(order, 1)
    assert (record["code"], record["f3"]) == (int(Status.REJECTED), 10.0)
    assert desk.working() == []


def test_a_refusal_of_an_order_that_the_stream_shows_at_work_is_not_believed(desk: Desk, order: Order) -> None:
    desk.on_update(accepted(order), 1)
    assert len(desk.reject(order, 1)) == 0
    assert desk.working() == [order]


def test_no_answer_makes_it_unknown_until_the_stream_speaks(desk: Desk, order: Order) -> None:
    (record,) = desk.unknown(order, 1)
    assert (record["kind"], record["i0"], record["f0"]) == (int(Kind.UNKNOWN), 7, 10.0)
    assert order.status is Status.UNKNOWN
    assert desk.working() == [order]
    assert told(desk.on_update(accepted(order), 1)) == [("NEW", 0.0, 0.0)]


def test_no_answer_is_no_news_once_the_stream_has_told_the_fate(desk: Desk, order: Order) -> None:
    desk.on_update(fill(order, 10.0, 100.5, 10.0, 100.5), 1)
    assert len(desk.unknown(order, 1)) == 0
    assert order.status is Status.FILLED


def test_an_order_of_somebody_else_is_left_alone(desk: Desk, order: Order) -> None:
    stranger = OrderState("61e69015", "v9", "SPY", Status.FILLED, 5.0, 5.0, 100.0, 0.0, 1)
    assert len(desk.on_update(Update(stranger, "fill", "x", 5.0, 100.0, 5.0, 1), 1)) == 0
    assert desk.working() == [order]


def test_the_desk_stops_an_order_at_the_last_moment(desk: Desk, order: Order) -> None:
    (record,) = desk.withhold(order, Denial.HALT_FILE, 1)
    assert (record["kind"], record["code"]) == (int(Kind.DENIED), BY_DESK + int(Denial.HALT_FILE))
    assert desk.working() == []


# Cancels --------------------------------------------------------------------------------------------------------------


def test_cancel_reaches_the_named_orders_of_its_instrument_once(desk: Desk) -> None:
    orders = desk.take(np.concatenate([decision(1), decision(2, instrument=1), decision(3)]), 1).orders
    for order in orders:
        desk.named(order, state(order, Status.NEW))
    assert desk.take(cancel_all(0), 1).cancels == [orders[0], orders[2]]
    assert desk.take(cancel_all(0, seq=9), 1).cancels == [], "asked for already"


def test_a_cancel_wanted_before_the_venue_named_the_order_waits_for_the_name(desk: Desk, order: Order) -> None:
    intents = desk.take(cancel_all(), 1)
    assert intents.cancels == []
    assert intents.records["kind"].tolist() == [int(Kind.INTENT)]
    assert desk.named(order, state(order, Status.PENDING_NEW)), "now it can be sent"
    assert not desk.named(order, state(order, Status.PENDING_NEW)), "and only once"


def test_a_cancel_that_waited_is_not_sent_for_an_order_that_has_filled_meanwhile(desk: Desk, order: Order) -> None:
    desk.take(cancel_all(), 1)
    desk.on_update(fill(order, 10.0, 100.5, 10.0, 100.5), 1)
    assert not desk.named(order, state(order, Status.PENDING_NEW))


# Any interleaving -----------------------------------------------------------------------------------------------------

Fills = list[tuple[float, float]]


def conversation(order: Order, fills: Fills, end: Status | None) -> list[tuple[str, object]]:
    """Return what a venue says of one order: its name, acceptance, fills and end."""
    said: list[tuple[str, object]] = [("named", state(order, Status.PENDING_NEW)), ("update", accepted(order))]
    filled = paid = 0.0
    for qty, px in fills:
        filled, paid = filled + qty, paid + qty * px
        said.append(("update", fill(order, qty, px, filled, paid / filled)))
    if end is not None and filled < order.new.qty:
        said.append(("update", says(order, end, filled, paid / filled if filled else math.nan)))
    last = said[-1][1]
    said.append(("polled", last.order if isinstance(last, Update) else last))
    return said


def hear(desk: Desk, order: Order, messages: Sequence[tuple[str, object]]) -> Records:
    records = []
    for way, message in messages:
        if way == "named":
            desk.named(order, message)  # type: ignore[arg-type]
        elif way == "polled":
            records.append(desk.on_state(message, 1))  # type: ignore[arg-type]
        else:
            records.append(desk.on_update(message, 1))  # type: ignore[arg-type]
    return np.concatenate(records)


PRICES = st.integers(9_900, 10_100).map(lambda cents: cents / 100)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Fills, Status | None, list[int]]:
    count = draw(st.integers(0, 4))
    fills = [(float(draw(st.integers(1, 2))), draw(PRICES)) for _ in range(count)]
    left = 10.0 - sum(qty for qty, _ in fills)
    end = draw(st.sampled_from([None, "rest", Status.CANCELED, Status.EXPIRED]))
    if end == "rest":
        fills.append((left, draw(PRICES)))
    length = 3 + len(fills) + (isinstance(end, Status))
    order = draw(st.permutations(range(length)))
    again = draw(st.lists(st.sampled_from(range(length)), max_size=6))
    mixed = list(order)
    for which in again:
        mixed.insert(draw(st.integers(0, len(mixed))), which)
    return fills, end if isinstance(end, Status) else None, mixed


@given(conversations())
def test_any_interleaving_and_repetition_books_every_fill_once(case: tuple[Fills, Status | None, list[int]]) -> None:
    fills, end, mixed = case
    desk = new_desk()
    order = desk.take(decision(), 1).orders[0]
    messages = conversation(order, fills, end)
    account = new_account(1)
    reserve(account, 0, 10.0)
    records = hear(desk, order, [messages[which] for which in mixed])
    total = sum(qty for qty, _ in fills)
    assert order.filled == pytest.approx(total)
    assert float(records["f0"].sum()) == pytest.approx(total)
    assert order.spent == pytest.approx(sum(qty * px for qty, px in fills), abs=1e-6)
    for r in records:
        book(account, 0, int(r["code"]), float(r["f0"]), float(r["f1"]), float(r["f3"]), 0.0)
    assert float(account[0]["position"]) == pytest.approx(total)
    ended = end is not None or total == 10.0
    assert order.done == ended
    assert float(account[0]["open_qty"]) == pytest.approx(0.0 if ended else 10.0 - total)
    assert sum(int(code) in (4, 6, 8) and qty == 0.0 for code, qty in records[["code", "f0"]].tolist()) <= 1


# Replaced by somebody else --------------------------------------------------------------------------------------------


def chain(
    order: Order, qty: float, filled: float, avg: float, status: Status = Status.NEW, name: str = "v2"
) -> OrderState:
    """What `Broker.order` says of an order and its successor together."""
    leaves = 0.0 if status is Status.FILLED else qty - filled
    ours = order.new.client_order_id
    return OrderState(ours, name, "SPY", status, qty, filled, avg, leaves, 6_000)


def folded(*parts: Records, reserved: float = 10.0) -> Records:
    account = new_account(1)
    reserve(account, 0, reserved)
    for row in np.concatenate(parts):
        book(account, 0, int(row["code"]), float(row["f0"]), float(row["f1"]), float(row["f3"]), 0.0)
    return account[0]


def replaced_message(order: Order, filled: float = 0.0, avg: float = math.nan) -> Update:
    said = says(order, Status.REPLACED, filled, avg)
    return said._replace(order=said.order._replace(replaced_by="v2"))


def test_an_order_that_somebody_replaces_works_on_with_the_new_quantity_under_the_new_name(
    desk: Desk, order: Order
) -> None:
    first = desk.on_update(fill(order, 4.0, 100.0, 4.0, 100.0), 1)
    message = replaced_message(order, 4.0, 100.0)
    assert told(desk.on_update(message, 1)) == [], "what both orders come to is asked for"
    assert desk.successor_of(message.order) is order
    assert not order.done
    records = desk.on_state(chain(order, 4.0 + 8.0, 4.0, 100.0), 2)
    assert told(records) == [("PENDING_REPLACE", 0.0, 0.0), ("REPLACED", 0.0, 0.0)]
    assert records["f3"].tolist() == [8.0, 6.0], "what the new one leaves, what the old one left"
    assert (order.new.qty, order.leaves, order.venue_order_id, order.status) == (
        12.0,
        8.0,
        "v2",
        Status.PARTIALLY_FILLED,
    )
    account = folded(first, records)
    assert (account["position"], account["open_qty"], account["buys"], account["sells"]) == (4.0, 8.0, 8.0, 0.0)
    ended = desk.on_state(chain(order, 12.0, 12.0, 101.0, Status.FILLED), 3)
    assert told(ended) == [("FILLED", 8.0, 101.5)]
    account = folded(first, records, ended)
    assert (account["position"], account["open_qty"], account["buys"]) == (12.0, 0.0, 0.0)
    assert order.done


def test_a_smaller_order_in_the_place_of_a_sale_frees_what_it_does_not_take(desk: Desk) -> None:
    order = desk.take(decision(qty=-10.0), 1).orders[0]
    desk.named(order, state(order, Status.NEW))
    account = folded(desk.on_state(chain(order, -3.0, 0.0, math.nan), 2), reserved=-10.0)
    assert (account["open_qty"], account["buys"], account["sells"]) == (-3.0, 0.0, 3.0)


def test_messages_of_the_order_that_was_replaced_are_late_and_its_successor_s_are_ours(
    desk: Desk, order: Order
) -> None:
    desk.named(order, state(order, Status.NEW))
    desk.on_state(chain(order, 8.0, 0.0, math.nan), 1)
    for late in (replaced_message(order), says(order, Status.CANCELED), fill(order, 4.0, 100.0, 4.0, 100.0)):
        assert told(desk.on_update(late, 2)) == []
    stranger = OrderState("theirs", "v2", "SPY", Status.NEW, 8.0, 0.0, math.nan, 8.0, 1, replaces="v1")
    assert desk.successor_of(stranger) is order
    assert desk.successor_of(stranger._replace(venue_order_id="v9", replaces="")) is None, "somebody else's own"
    assert desk.named(order, state(order, Status.NEW)) is False
    assert order.venue_order_id == "v2", "the answer to the POST, come late, is of the one before"


def test_the_order_that_took_the_place_of_ours_is_canceled_under_its_own_name(desk: Desk, order: Order) -> None:
    desk.named(order, state(order, Status.NEW))
    desk.take(cancel_all(), 1)
    assert order.cancel_asked
    desk.on_state(chain(order, 8.0, 0.0, math.nan), 2)
    assert desk.want_canceled([order]) == [order], "the cancel went to the name before"
    canceled = desk.on_state(chain(order, 8.0, 0.0, math.nan, Status.CANCELED), 3)
    assert told(canceled) == [("CANCELED", 0.0, 0.0)]
    assert order.done


def test_a_restart_knows_which_order_works_in_the_place_of_ours(desk: Desk, order: Order) -> None:
    parts = [desk.take(decision(), 1).records, desk.on_update(fill(order, 4.0, 100.0, 4.0, 100.0), 1)]
    parts.append(desk.on_state(chain(order, 12.0, 4.0, 100.0), 2))
    again = new_desk()
    names = iter(["v1", "", "v2"])
    again.adopt(np.concatenate(parts), lambda _row: next(names))
    (found,) = again.orders.values()
    assert (found.new.qty, found.leaves, found.venue_order_id, found.status, found.replaced) == (
        12.0, 8.0, "v2", Status.PARTIALLY_FILLED, True,
    )  # fmt: skip


def test_an_order_that_is_replaced_by_one_that_the_venue_does_not_name_has_ended(desk: Desk, order: Order) -> None:
    records = desk.on_update(says(order, Status.REPLACED), 1)
    assert told(records) == [("REPLACED", 0.0, 0.0)]
    assert order.done
    assert folded(records)["open_qty"] == 0.0


# A restart ------------------------------------------------------------------------------------------------------------


@given(conversations(), st.booleans())
def test_a_tape_gives_every_order_back_as_it_was(case: tuple[Fills, Status | None, list[int]], unsure: bool) -> None:
    fills, end, mixed = case
    desk = new_desk()
    intents = desk.take(decision(), 1)
    order = intents.orders[0]
    parts = [intents.records, desk.unknown(order, 1)] if unsure else [intents.records]
    messages = conversation(order, fills, end)
    records = np.concatenate([*parts, hear(desk, order, [messages[which] for which in mixed])])
    again = new_desk()
    again.adopt(records, lambda _row: "v1")
    (found,) = again.orders.values()
    assert repr(found.new) == repr(order.new), "market: its limit is nan"
    assert (found.seq, found.leg, found.status) == (order.seq, order.leg, order.status)
    assert (found.filled, found.spent) == (order.filled, order.spent)


def test_a_tape_tells_which_orders_were_withheld_denied_or_to_be_canceled(desk: Desk, order: Order) -> None:
    told = [desk.take(decision(9, instrument=1, qty=-2.0, limit=101.0, tif=1), 1), desk.take(cancel_all(1, 10), 1)]
    told.append(desk.take(decision(11, denied=int(Denial.POSITION)), 1))
    withheld = desk.withhold(desk.take(decision(12), 1).orders[0], Denial.HALT_FILE, 2)
    first = desk.take(decision(12), 1).records
    again = new_desk()
    again.adopt(np.concatenate([*(part.records for part in told), first, withheld]), lambda _row: "")
    limit, stopped = again.orders.values()
    assert limit.new == desk.orders[limit.new.client_order_id].new
    assert (limit.new.limit, limit.new.time_in_force, limit.cancel_wanted) == (101.0, TimeInForce.GTC, True)
    assert not limit.cancel_asked, "whether the call was made is not on the tape: it is made again"
    assert (stopped.seq, stopped.status, stopped.cancel_wanted) == (12, Status.CANCELED, False)


def test_positions_that_differ_from_the_opening_ones_and_our_fills_are_named_and_dust_is_none() -> None:
    desk = Desk("PA1", "run", datetime.date(2013, 10, 8), [Instrument("SPY"), Instrument("BAC"), Instrument("X")])
    for k, filled in ((0, 5.0), (0, -2.0), (1, 0.3)):
        desk.orders[f"{k}{filled}"] = Order(
            NewOrder(f"{k}{filled}", "", filled, math.nan, TimeInForce.DAY), k, 1, 0, filled=filled
        )
    held = {"SPY": Position("SPY", 3.0, 9.0), "BAC": Position("BAC", 0.1 + 0.2, 9.0)}
    assert desk.apart(np.zeros(3), held) == []
    found = desk.apart(np.array([1.0, 0.0, -2.0]), held)
    assert [str(each) for each in found] == [
        "position of SPY: ours +4, the venue's +3",
        "position of X: ours -2, the venue's +0",
    ]
