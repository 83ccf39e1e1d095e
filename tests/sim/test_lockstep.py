"""Lock-step: one instant at a time, matched first, sent second, decided third, told fourth."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from websockets.sync.client import connect

from mdslib.sim import Exchange
from mdslib.sim.log import read_sent

from .days import CLOSE, MS, OPEN, day_of, steps
from .lockstep_client import LockstepSession


def nothing(session: LockstepSession, now: int, phase: str) -> None:
    """Decide nothing."""


def events(session: LockstepSession) -> list[tuple[str, str]]:
    return [(update["event"], update["order"]["client_order_id"]) for update in session.heard]


def test_events_of_one_time_come_as_one_instant_in_as_few_frames_as_batch_allows() -> None:
    day = day_of((1, "SPY", 10.0, 1), (1, "SPY", 10.0, 2), (1, "BAC", 5.0, 3), (2, "SPY", 10.1, 4))
    with Exchange(day, mode="lockstep", batch=2, in_process=True) as exchange:
        session = LockstepSession(exchange, nothing).run()
        session.close()
    assert [[message["s"] for message in frame] for frame in session.frames] == [[1, 2], [3], [4]]
    assert session.instants == [
        (OPEN, "market"),
        (OPEN + MS, "market"),
        (OPEN + 2 * MS, "market"),
        (CLOSE, "market"),
        (CLOSE, "end"),
    ]


def test_order_fills_at_the_first_event_after_latency_and_its_fill_comes_before_later_acks() -> None:
    def act(session: LockstepSession, now: int, phase: str) -> None:
        if phase == "market" and now in (OPEN + 1000 * MS, OPEN + 2000 * MS):
            assert session.post(client_order_id=f"at-{(now - OPEN) // MS}").status_code == 200

    with Exchange(steps(4), mode="lockstep", latency=MS, in_process=True) as exchange:
        session = LockstepSession(exchange, act).run()
        session.close()
    assert events(session) == [
        ("pending_new", "at-1000"),
        ("new", "at-1000"),
        ("fill", "at-1000"),
        ("pending_new", "at-2000"),
        ("new", "at-2000"),
        ("fill", "at-2000"),
    ]
    fill = session.heard[2]
    assert (fill["price"], fill["qty"], fill["position_qty"]) == ("100.01", "1", "1")
    assert fill["timestamp"] == "2013-10-08T13:30:02Z"
    assert fill["order"]["status"] == "filled"
    assert fill["order"]["submitted_at"] == "2013-10-08T13:30:01Z"


def test_order_is_not_eligible_at_exactly_its_time_plus_latency() -> None:
    def act(session: LockstepSession, now: int, phase: str) -> None:
        if phase == "market" and now == OPEN + MS:
            session.post()

    day = day_of((1, "SPY", 10.0, 1), (2, "SPY", 11.0, 1), (3, "SPY", 12.0, 1))
    with Exchange(day, mode="lockstep", latency=MS, in_process=True) as exchange:
        session = LockstepSession(exchange, act).run()
        session.close()
    assert [update["price"] for update in session.heard if update["event"] == "fill"] == ["12"]


def test_books_hold_the_fills_of_an_instant_before_its_updates_are_sent() -> None:
    seen: list[tuple[str, str, int]] = []

    def act(session: LockstepSession, now: int, phase: str) -> None:
        if phase == "market" and now == OPEN + 1000 * MS:
            session.post(qty=3)
        if now == OPEN + 2000 * MS:
            held = session.http.get("/v2/positions/SPY").json()
            seen.append((phase, held["qty"], len(session.heard)))

    with Exchange(steps(3), mode="lockstep", in_process=True) as exchange:
        session = LockstepSession(exchange, act).run()
        session.close()
    assert seen == [("market", "3", 2), ("updates", "3", 3)]


def test_a_wake_is_an_instant_of_its_own_without_market_events() -> None:
    def act(session: LockstepSession, now: int, phase: str) -> None:
        if now == OPEN + 1000 * MS:
            session.wake = OPEN + 1500 * MS
        if phase == "market" and now == OPEN + 1500 * MS:
            session.post()

    with Exchange(steps(2), mode="lockstep", in_process=True) as exchange:
        session = LockstepSession(exchange, act).run()
        session.close()
    assert (OPEN + 1500 * MS, "market") in session.instants
    assert [update["timestamp"] for update in session.heard] == ["2013-10-08T13:30:01.5Z"] * 2 + [
        "2013-10-08T13:30:02Z"
    ]


def test_a_timer_before_the_first_event_is_named_at_the_days_start() -> None:
    def act(session: LockstepSession, now: int, phase: str) -> None:
        if now < OPEN + 300 * MS:
            session.wake = now + 100 * MS

    with Exchange(steps(1), mode="lockstep", in_process=True) as exchange:
        session = LockstepSession(exchange, act).run()
        session.close()
    assert [(now - OPEN) // MS for now, _ in session.instants[:5]] == [0, 100, 200, 300, 1000]


def test_day_orders_expire_in_the_instant_of_the_close() -> None:
    def act(session: LockstepSession, now: int, phase: str) -> None:
        if phase == "market" and now == OPEN + 1000 * MS:
            session.post(type="limit", limit_price="1", client_order_id="low")
            session.post(type="limit", limit_price="1", client_order_id="keep", time_in_force="gtc")

    with Exchange(steps(2), mode="lockstep", in_process=True) as exchange:
        session = LockstepSession(exchange, act).run()
        orders = session.http.get("/v2/orders", params={"status": "open"}).json()
        session.close()
    assert events(session)[-1] == ("expired", "low")
    assert session.instants[-3:] == [(CLOSE, "market"), (CLOSE, "updates"), (CLOSE, "end")]
    assert [order["client_order_id"] for order in orders] == ["keep"]


def test_orders_posted_while_the_close_is_worked_through_are_queued_and_say_so() -> None:
    def act(session: LockstepSession, now: int, phase: str) -> None:
        if phase == "market" and now == OPEN + 1000 * MS:
            session.post(type="limit", limit_price="1", client_order_id="low")
        if now == CLOSE and phase == "market":
            assert session.post(client_order_id="at-close").json()["status"] == "accepted"
        if now == CLOSE and session.heard[-1]["event"] == "expired":
            assert session.post(client_order_id="on-expiry").json()["status"] == "accepted"

    with Exchange(steps(2), mode="lockstep", in_process=True) as exchange:
        session = LockstepSession(exchange, act).run()
        orders = session.http.get("/v2/orders", params={"status": "open", "direction": "asc"}).json()
        session.close()
    assert events(session)[2:] == [("accepted", "at-close"), ("expired", "low"), ("accepted", "on-expiry")]
    assert [(order["client_order_id"], order["status"]) for order in orders] == [
        ("at-close", "accepted"),
        ("on-expiry", "accepted"),
    ]


def test_orders_posted_on_a_fill_are_acknowledged_in_another_round_of_the_same_instant() -> None:
    def act(session: LockstepSession, now: int, phase: str) -> None:
        if phase == "market" and now == OPEN + 1000 * MS:
            session.post(client_order_id="first")
        if phase == "updates" and session.heard[-1]["event"] == "fill" and len(session.heard) == 3:
            session.post(side="sell", client_order_id="second")

    with Exchange(steps(3), mode="lockstep", in_process=True) as exchange:
        session = LockstepSession(exchange, act).run()
        session.close()
    assert [phase for now, phase in session.instants if now == OPEN + 2000 * MS] == ["market", "updates", "updates"]
    assert events(session)[3:] == [("pending_new", "second"), ("new", "second"), ("fill", "second")]


def test_two_runs_are_the_same_to_the_last_byte() -> None:
    def act(session: LockstepSession, now: int, phase: str) -> None:
        if phase == "market":
            session.post(qty=5, side="buy" if (now // MS) % 3 else "sell")

    def once() -> tuple[object, ...]:
        with Exchange(steps(12), mode="lockstep", rules="alpaca", in_process=True) as exchange:
            session = LockstepSession(exchange, act).run()
            session.close()
        return session.frames, session.heard, session.instants

    assert once() == once()


class Killed(Exception):
    """The session is gone, its sockets closed by the system."""


@pytest.mark.parametrize("dies_at", [(2000, "market"), (2000, "updates"), (5000, "market"), (5000, "updates")])
@pytest.mark.parametrize("answered", [False, True])
def test_a_session_that_begins_again_is_sent_the_phase_again_that_it_died_in(
    dies_at: tuple[int, str], answered: bool, tmp_path: Path
) -> None:
    """Once before it has said that it is done, once after that: then the exchange has moved on, to sockets gone."""

    def act(session: LockstepSession, now: int, phase: str) -> None:
        if phase == "market" and now in (OPEN + 1000 * MS, OPEN + 4000 * MS) and not session.second:
            session.post(client_order_id=f"at-{(now - OPEN) // MS}")
        if (now, phase) == (OPEN + dies_at[0] * MS, dies_at[1]) and not session.second:
            if answered:
                session.time.send(json.dumps({"done": now, "phase": phase, "wake": None}))
            raise Killed

    with Exchange(steps(6), mode="lockstep", log_dir=tmp_path, in_process=True) as exchange:
        first = LockstepSession(exchange, act)
        with pytest.raises(Killed):
            first.run()
        first.close()
        second = LockstepSession(exchange, act, second=True).run()
        second.close()
    at, phase = OPEN + dies_at[0] * MS, dies_at[1]
    if answered:
        assert (at, phase) not in second.instants
        assert second.instants[0] > (at, "")
        frames = first.frames + second.frames
        heard = events(first) + events(second)
    else:
        assert second.instants[0] == (at, phase)
        again = 1 if phase == "market" else 0
        frames = first.frames[: len(first.frames) - again] + second.frames
        assert first.frames[len(first.frames) - again :] == second.frames[:again]
        told = len(events(first)) - (0 if phase == "market" else events(first)[::-1].index(events(second)[0]) + 1)
        heard = events(first)[:told] + events(second)
    assert [message["s"] for frame in frames for message in frame] == [1, 2, 3, 4, 5, 6]
    assert heard == [
        (event, name)
        for name in ("at-1000", "at-4000")[: 1 + (dies_at[0] > 4000)]
        for event in ("pending_new", "new", "fill")
    ]
    assert len(read_sent(tmp_path)) == 6, "the log has every event once"


def test_a_session_that_comes_after_the_end_is_told_so() -> None:
    with Exchange(steps(2), mode="lockstep", in_process=True) as exchange:
        LockstepSession(exchange, nothing).run().close()
        channel = connect(exchange.time_url)
        assert json.loads(channel.recv(120))["phase"] == "end"
        channel.close()


def test_exchange_stands_still_while_the_session_thinks() -> None:
    def act(session: LockstepSession, now: int, phase: str) -> None:
        if phase == "market" and now == OPEN + 1000 * MS:
            time.sleep(0.2)
            assert session.http.get("/v2/clock").json()["timestamp"] == "2013-10-08T09:30:01-04:00"
            assert session.http.get("/sim/sent").json()["counts"] == {"trade": 1}

    with Exchange(steps(2), mode="lockstep", in_process=True) as exchange:
        session = LockstepSession(exchange, act).run()
        session.close()


def test_lock_step_needs_a_latency() -> None:
    with pytest.raises(Exception, match="latency must be >= 0 ns \\(> 0 in lock-step\\), received 0"):
        Exchange(steps(1), mode="lockstep", latency=0)
