"""When a session has ended, nothing of it works at the venue any more, or the verdict names what does."""

from __future__ import annotations

import datetime
import math
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mdslib.audit.report import Outcome
from mdslib.brokers.allowance import Allowance
from mdslib.brokers.alpaca import AlpacaBroker
from mdslib.desk import Desk
from mdslib.errors import BrokerError
from mdslib.events import Kind, Status
from mdslib.instruments import Instrument
from mdslib.live import Session, closeout, ending
from mdslib.live.closeout import Closeout, Look
from mdslib.live.runner import STOP
from mdslib.live.verdict import ExitCode, Verdict
from mdslib.protocols import OrderState
from mdslib.strategy.decide import DECISION

from .proxy import Proxy
from .rehearsal import exchange_for, made_trades, of_kind, parameters, wait_until
from .test_session import FAST, RESTING, SLOW, has_orders, orders


class Venue:
    """A venue in a dictionary: orders by id, of which some arrive late and some can't be canceled."""

    def __init__(self) -> None:
        self.orders: dict[str, OrderState] = {}
        self.stubborn = False
        self.down = False
        self.late: list[OrderState] = []  # one arrives before each look

    def add(self, name: str, status: Status = Status.NEW) -> OrderState:
        state = OrderState(name, f"v-{name}", "SPY", status, 1.0, 0.0, math.nan, 1.0, 5)
        self.orders[state.venue_order_id] = state
        return state

    def open_orders(self) -> list[OrderState]:
        if self.down:
            raise BrokerError("the venue can't be reached")
        if self.late:
            self.add(self.late.pop(0).client_order_id)
        return [state for state in self.orders.values() if state.status is Status.NEW]

    def cancel(self, venue_order_id: str) -> None:
        if self.stubborn:
            raise BrokerError("HTTP 500", 500)
        self.orders[venue_order_id] = self.orders[venue_order_id]._replace(status=Status.CANCELED, leaves_qty=0.0)

    def order(self, client_order_id: str) -> OrderState | None:
        return self.orders.get(f"v-{client_order_id}")


def desk_with(orders: int) -> Desk:
    """Return a desk that has sent so many orders."""
    desk = Desk("PA1", "spy", datetime.date(2013, 10, 8), [Instrument("SPY")])
    decisions = np.zeros(orders, DECISION)
    decisions["seq"], decisions["qty"], decisions["verb"], decisions["limit"] = np.arange(orders) + 1, 1.0, 1, 9.0
    desk.take(decisions, 0)
    return desk


def made(venue: Venue, desk: Desk) -> Closeout:
    return Closeout(venue, desk, lambda look: None)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closeout, "EVERY", 0.01)


def test_an_order_that_reaches_the_venue_late_is_canceled_by_a_later_look() -> None:
    venue, desk = Venue(), desk_with(3)
    venue.late = [OrderState(n, "", "SPY", Status.NEW, 1.0, 0.0, math.nan, 1.0, 5) for n in desk.orders]
    end = made(venue, desk)
    end.insist()
    assert end.clear
    assert end.looks == 4, "one for each that arrived, and one that found none"
    assert {state.status for state in venue.orders.values()} == {Status.CANCELED}
    assert desk.working() == []


def test_an_order_of_this_run_that_our_books_do_not_know_is_canceled() -> None:
    venue, desk = Venue(), desk_with(0)
    venue.add("mds-20131008-" + "a" * 12 + "-7-0-0")  # another run's
    end = made(venue, desk)
    mine = venue.add(end._prefix + "7-0-0")
    end.insist()
    assert end.clear
    assert [state.client_order_id for state in venue.open_orders()] == ["mds-20131008-" + "a" * 12 + "-7-0-0"]
    assert venue.order(mine.client_order_id).status is Status.CANCELED  # type: ignore[union-attr]


def test_it_gives_up_at_its_deadline_and_names_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closeout, "WITHIN", 0.1)
    venue, desk = Venue(), desk_with(2)
    works, unheard_of = desk.orders
    venue.add(works)
    venue.stubborn = True
    end = made(venue, desk)
    end.insist()
    assert not end.clear
    assert [closeout.named(state) for state in end.last.working] == [f"{works} (+1 SPY of +1)"]
    assert end.unknown(end.last.working) == [f"{unheard_of} (+1 SPY)"]


def test_a_venue_that_does_not_answer_clears_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closeout, "WITHIN", 0.05)
    venue, desk = Venue(), desk_with(0)
    venue.down = True
    end = made(venue, desk)
    end.insist()
    assert end.last == Look(errors=("the venue can't be reached",))
    assert not end.clear
    venue.down = False
    end.insist()
    assert end.clear


def test_the_deciding_thread_drives_it_without_waiting() -> None:
    venue, desk, found = Venue(), desk_with(1), []
    venue.add(next(iter(desk.orders)))
    end = Closeout(venue, desk, found.append)  # type: ignore[arg-type]
    came = []
    while not end.over():
        if found:
            look = found.pop()
            came.append((len(look.working), end.heard(look)))
            for state in look.states:
                desk.on_state(state, 0)
        time.sleep(0.001)
    assert came == [(1, True), (0, False)], "only the first look that finds something says so"


def test_an_error_of_ours_in_a_look_is_told_and_does_not_hang_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closeout, "WITHIN", 0.05)
    end = made(None, desk_with(0))  # type: ignore[arg-type]
    end.insist()
    assert end.last.errors[0].startswith("AttributeError: ")


# Over real sockets ----------------------------------------------------------------------------------------------------

GTC = """
from typing import NamedTuple
from mdslib import GTC, Trade, buy, hold, records, strategy

def new_state(p):
    return records(1, [("trades", "i8")])

@strategy(on=Trade, state=new_state)
def good_till_canceled(trade, state, account, p):
    state[0].trades += 1
    if state[0].trades % 200 == 1:
        return buy(1.0, limit=round(trade.price - 20.0, 2), tif=GTC)
    return hold()
"""


@pytest.mark.parametrize("mode", [FAST, {"mode": "lockstep"}])
def test_an_order_that_would_outlive_the_day_is_canceled_at_its_end(mode: dict[str, object], tmp_path: Path) -> None:
    model = tmp_path / "good_till_canceled.py"
    model.write_text(GTC)
    data, run = made_trades(600), tmp_path / "run"
    with exchange_for(data, run, **mode) as exchange:
        report = Session.from_parameters(**parameters(exchange, data, run, model, end_of_day="keep")).run()
        there = orders(exchange)
    assert [order["status"] for order in there] == ["canceled"] * 3
    assert report.reason == "the session closed"
    assert report.audit.ok, "\n".join(report.audit.lines())
    findings = {finding.name: finding.text for finding in report.audit.findings}
    assert findings["working"] == "no order of this run works at the venue"
    ended = of_kind(report, Kind.UPDATE)
    assert (ended["code"] == int(Status.CANCELED)).sum() == 3
    assert report.records[-1]["kind"] == int(Kind.CLOSE), "the cancels are on the tape before it is closed"
    assert Verdict.read(run).code is ExitCode.OK  # type: ignore[union-attr]


def test_an_order_whose_request_reaches_the_venue_after_the_stop_is_canceled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "SETTLE", 0.5)
    monkeypatch.setattr(
        "mdslib.brokers.alpaca.AlpacaBroker",
        lambda url, **more: AlpacaBroker(url, timeout=1.0, **more),
    )
    held, seen = threading.Event(), []

    def hold_third(request: bytes) -> str:
        if request.startswith(b"POST /v2/orders"):
            seen.append(request)
            if len(seen) == 3:
                held.set()
                time.sleep(4.0)
        return "pass"

    def stop(running: Session) -> None:
        held.wait(120)
        (run / STOP).touch()

    data, run = made_trades(2_000), tmp_path / "run"
    with exchange_for(data, run, **SLOW) as exchange, Proxy(exchange.port, hold_third) as proxy:
        running = Session.from_parameters(**parameters(exchange, data, run, RESTING, trade_url=proxy.url))
        thread = threading.Thread(target=stop, args=(running,))
        thread.start()
        report = running.run()
        thread.join(120)
        there = orders(exchange)
    assert len(there) >= 3
    assert {order["status"] for order in there} == {"canceled"}
    assert report.audit.ok, "\n".join(report.audit.lines())


def test_an_order_that_waits_for_its_turn_at_the_end_is_never_sent_and_the_tape_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "SETTLE", 0.5)
    monkeypatch.setattr(Allowance, "claim", lambda self, *, urgent: 0.0 if urgent else 60.0)
    data, run = made_trades(600), tmp_path / "run"
    with exchange_for(data, run, **FAST) as exchange:
        given = parameters(exchange, data, run, "volume_modulo", end_of_day="keep", max_age=86_400.0)
        report = Session.from_parameters(**given).run()
        assert orders(exchange) == []
    assert report.tally.intents > 2
    assert report.tally.denied["REQUEST_RATE"] == report.tally.intents
    assert report.audit.ok, "\n".join(report.audit.lines())
    findings = {finding.name: finding.text for finding in report.audit.findings}
    assert findings["working"] == "no order of this run works at the venue"
    assert Verdict.read(run).code is ExitCode.OK  # type: ignore[union-attr]


def test_an_order_that_the_venue_does_not_cancel_is_named_and_the_session_is_not_ok(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closeout, "WITHIN", 1.0)
    monkeypatch.setattr(ending, "SETTLE", 1.0)
    data, run = made_trades(2_000), tmp_path / "run"

    def deaf_to_cancels(request: bytes) -> str:
        return "lose-request" if request.startswith(b"DELETE") else "pass"

    with exchange_for(data, run, **SLOW) as exchange, Proxy(exchange.port, deaf_to_cancels) as proxy:

        def stop(running: Session) -> None:
            has_orders(running, 1)
            wait_until(lambda: len(running.engine.desk.working()) > 0)  # type: ignore[union-attr]
            (run / STOP).touch()

        running = Session.from_parameters(**parameters(exchange, data, run, RESTING, trade_url=proxy.url))
        thread = threading.Thread(target=stop, args=(running,))
        thread.start()
        report = running.run()
        thread.join(120)
        left = [order for order in orders(exchange) if order["status"] == "new"]
    working = next(finding for finding in report.audit.findings if finding.name == "working")
    assert working.outcome is Outcome.FAILED
    assert working.text.startswith(f"{len(left)} of this run's orders still work at the venue, cancel them there: mds-")
    assert all(order["client_order_id"] in working.text for order in left)
    verdict = Verdict.read(run)
    assert verdict is not None
    assert verdict.code is ExitCode.LEFT_OPEN
    assert verdict.reason.startswith("a person or the supervisor asked for it; ✗ working: ")
    assert (tmp_path / "AUDIT_FAILED").exists(), "a person must have looked before the next start"


def test_a_venue_that_has_gone_leaves_the_fate_of_its_orders_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closeout, "WITHIN", 0.5)
    monkeypatch.setattr(ending, "SETTLE", 1.0)
    data, run = made_trades(2_000), tmp_path / "run"
    with exchange_for(data, run, **SLOW, in_process=False) as exchange:

        def kill(running: Session) -> None:
            has_orders(running, 1)
            wait_until(lambda: any(order.venue_order_id for order in running.engine.desk.working()))  # type: ignore[union-attr]
            exchange._runner._child.kill()  # type: ignore[union-attr]

        running = Session.from_parameters(**parameters(exchange, data, run, RESTING))
        thread = threading.Thread(target=kill, args=(running,))
        thread.start()
        report = running.run()
        thread.join(120)
    working = next(finding for finding in report.audit.findings if finding.name == "working")
    assert working.outcome is Outcome.NOT_COMPARABLE
    assert "is not known, look at the venue: mds-20250612-" in working.text
    verdict = Verdict.read(run)
    assert verdict is not None
    assert verdict.code is ExitCode.VENUE, "another start asks the venue again"
    assert working.text in verdict.reason
