"""Nothing lost, nothing doubled, order kept; orders at the exchange are the intents on the tape."""

from __future__ import annotations

import numpy as np
import pytest

from mdslib.audit import compare_orders, compare_sent
from mdslib.audit.orders import intended
from mdslib.events import Kind, Status
from mdslib.instruments import Instrument
from mdslib.protocols import OrderState
from tests.audit.session import header_of, session, trades

SPY = (Instrument("SPY"),)


def test_everything_sent_and_recorded_passes_whatever_else_is_on_the_tape() -> None:
    records, _ = session(header_of())
    sent = trades()
    sent["ts_init"] = 5
    report = compare_sent(records, sent, SPY)
    assert report.lines()[1] == "✓ sent: 1,000 events sent, all on the tape, once and in order"


def test_a_gap_that_the_tape_notes_is_told() -> None:
    tape = trades()
    tape["kind"][500] = Kind.GAP
    assert "1 lost, 0 doubled" in str(compare_sent(tape, trades()))
    assert "the tape itself notes 1 gaps" in str(compare_sent(tape, trades()))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            np.r_[0:500, 501:1000],
            "1,000 events sent, 999 on the tape, 1 lost, 0 doubled; first: TRADE of SPY at 2013-10-08T13:30:0",
        ),
        (
            np.r_[0:500, 500:1000, 999],
            "1,000 events sent, 1,001 on the tape, 0 lost, 1 doubled; first: TRADE of SPY at",
        ),
        (np.r_[0:500, 501, 500, 502:1000], "0 lost, 0 doubled, order not kept; first: TRADE of SPY at"),
        (np.r_[0:0], "0 on the tape, 1000 lost, 0 doubled; first: TRADE of SPY"),
    ],
)
def test_the_first_event_lost_doubled_or_exchanged_is_named(rows: np.ndarray, said: str) -> None:
    report = compare_sent(trades()[rows], trades(), SPY)
    assert not report.ok
    assert said in str(report)


def test_the_lost_event_is_named_by_number_price_and_size() -> None:
    sent = trades()
    lost = sent[500]
    text = str(compare_sent(np.delete(sent, 500), sent, SPY))
    assert f"price={lost['f0']:g}, size={lost['i0']}, trade_id=500), number 501 of those sent" in text


def test_of_equal_prints_each_counts() -> None:
    sent = np.repeat(trades(10), 3)
    sent["i1"] = 0  # without ids; with them they are one trade, sent three times
    assert compare_sent(sent, sent).ok
    assert "1 lost, 0 doubled" in str(compare_sent(np.delete(sent, 4), sent))


def test_a_trade_that_was_sent_twice_under_one_id_belongs_on_the_tape_once() -> None:
    once = trades(10)
    twice = once[np.r_[0:5, 4, 5:10]]
    report = compare_sent(once, twice)
    assert report.ok
    assert "10 events sent, all on the tape, once and in order; 1 were sent twice" in str(report)
    assert "0 lost, 1 doubled" in str(compare_sent(twice, twice))


def filled(tape: np.ndarray, start: int, stop: int) -> np.ndarray:
    """The tape with rows from `start` to `stop` marked as fetched after a gap."""
    mark = np.zeros(3, tape.dtype)
    mark["kind"], mark["i0"][1] = [Kind.GAP, Kind.BACKFILL, Kind.RESYNC], stop - start
    made = np.concatenate([tape[:start], mark[:2], tape[start:stop], mark[2:], tape[stop:]])
    made["seq"] = np.arange(1, len(made) + 1)
    return made


def test_what_was_fetched_after_a_gap_need_not_have_been_sent() -> None:
    day = trades(100)
    sent = np.delete(day, np.r_[45:55])  # the connection was away, and five more were lost on the way
    report = compare_sent(filled(day, 40, 55), sent)
    assert report.ok
    assert (
        "90 events sent, all on the tape, once and in order; 5 of them were filled in, and so were 10 that nobody was"
        " sent; the tape itself notes 1 gaps"
    ) in str(report)


def test_what_was_fetched_and_streamed_is_doubled_and_what_was_neither_is_lost() -> None:
    day = trades(100)
    tape = filled(day, 40, 50)
    again = np.concatenate([tape, day[45:46]])
    assert "0 lost, 1 doubled" in str(compare_sent(again, day))
    assert "1 lost, 0 doubled" in str(compare_sent(filled(np.delete(day, 44), 40, 49), day))


def test_the_order_of_what_was_streamed_is_judged_around_what_was_fetched() -> None:
    tape = filled(trades(100), 40, 50)
    exchanged = tape[np.r_[0:70, 71, 70, 72 : len(tape)]]
    assert "order not kept" in str(compare_sent(exchanged, trades(100)))


@pytest.fixture(scope="module")
def day() -> tuple[np.ndarray, list[OrderState]]:
    header = header_of()
    records, _ = session(header)
    rejected = {int(row["i0"]) for row in records if row["kind"] == Kind.UPDATE and row["code"] == Status.REJECTED}
    orders = [
        OrderState(name, f"v{place}", symbol, Status.FILLED, qty, qty, 145.5, 0.0, 0)
        for place, (name, (symbol, qty)) in enumerate(intended(records, header).items())
        if int(name.split("-")[3]) not in rejected
    ]
    assert rejected
    return records, orders


def test_every_intent_at_the_exchange_once_passes_and_other_runs_are_left_alone(
    day: tuple[np.ndarray, list[OrderState]],
) -> None:
    records, orders = day
    others = [
        orders[0]._replace(client_order_id="by hand", qty=3.0),
        orders[0]._replace(client_order_id="mds-20131008-aaaaaaaaaaaa-1-0-0"),
        orders[0]._replace(client_order_id=orders[0].client_order_id.replace("20131008", "20131007")),
    ]
    report = compare_orders(records, header_of(), orders + others)
    assert report.ok, str(report)
    assert "rejected, withheld or unknown, each once" in str(report)
    assert "the same at the exchange" in str(report)


def test_missing_foreign_doubled_and_changed_orders_are_named(day: tuple[np.ndarray, list[OrderState]]) -> None:
    records, orders = day
    run = orders[0].client_order_id.split("-")[2]
    stranger = orders[0]._replace(client_order_id=f"mds-20131008-{run}-999999-0-0")
    bent = orders[2]._replace(qty=99.0)
    text = str(compare_orders(records, header_of(), [stranger, orders[1], orders[1], bent, *orders[3:]]))
    assert f"1 not at the exchange (first: {orders[0].client_order_id})" in text
    assert f"1 not on the tape (first: {stranger.client_order_id})" in text
    assert f"1 there twice (first: {orders[1].client_order_id})" in text
    assert f"1 with another symbol or quantity (first: {bent.client_order_id})" in text


def test_a_fill_that_never_reached_the_tape_is_found(day: tuple[np.ndarray, list[OrderState]]) -> None:
    records, orders = day
    row = np.flatnonzero(records["kind"] == Kind.UPDATE)[-1]
    text = str(compare_orders(np.delete(records, row), header_of(), orders))
    assert "✗ fills:" in text
    assert "at the exchange net" in text


def test_what_was_sent_after_the_session_had_stopped_reading_is_not_judged() -> None:
    sent = trades()
    until = int(sent["ts_event"][900])
    report = compare_sent(sent[:905], sent, SPY, until)
    assert report.ok
    assert "900 events sent, all on the tape, once and in order; 100 later ones not judged" in str(report)
    assert "1 lost" in str(compare_sent(np.delete(sent[:905], 899), sent, SPY, until))
