"""Order workers: what waits for what, and what never does."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mdslib.brokers.allowance import Allowance
from mdslib.desk import Desk, Order
from mdslib.errors import BrokerError, OrderRejected, OutcomeUnknown
from mdslib.events import Status, TimeInForce
from mdslib.instruments import Instrument
from mdslib.live import workers as module
from mdslib.live.workers import Answer, Workers
from mdslib.protocols import NewOrder, OrderState
from mdslib.risk import Denial

from .rehearsal import wait_until

DESK = Desk("PA1", "run", datetime.date(2025, 6, 12), [Instrument("SPY")])


def order(number: int) -> Order:
    made = Order(NewOrder(f"c{number}", "SPY", 5.0, float("nan"), TimeInForce.DAY), 0, number, 0)
    made.venue_order_id = f"v{number}"
    return made


class Venue:
    """A broker whose answers get lost; it knows the orders that a test says."""

    def __init__(self) -> None:
        self.knows: set[str] = set()
        self.lost: set[str] = set()
        self.errors: list[BaseException] = []
        self.over: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def _note(self, verb: str, name: str) -> None:
        with self._lock:
            self.calls.append((verb, name))

    def submit(self, new: NewOrder) -> OrderState:
        self._note("submit", new.client_order_id)
        if new.client_order_id in self.lost:
            raise OutcomeUnknown("no answer within 5 s")
        return self.state(new.client_order_id)

    def state(self, name: str) -> OrderState:
        return OrderState(name, name.replace("c", "v"), "SPY", Status.NEW, 5.0, 0.0, float("nan"), 5.0, 1)

    def order(self, name: str) -> OrderState | None:
        self._note("order", name)
        if self.errors:
            raise self.errors.pop(0)
        return self.state(name) if name in self.knows else None

    def cancel(self, name: str) -> None:
        self._note("cancel", name)
        if name in self.over:
            raise BrokerError("order is not cancelable", 422)


class Scene:
    """Workers on a venue, and what they told."""

    def __init__(self, within: float = 30.0) -> None:
        self.venue, self.told = Venue(), list[Answer]()
        self.workers = Workers(self.venue, self.told.append, (Path("/nowhere/HALT"),), 1, within)  # type: ignore[arg-type]

    def named(self, verb: str) -> list[str]:
        return [name for called, name in self.venue.calls if called == verb]

    def words(self) -> list[tuple[str, Any]]:
        return [(answer.order.new.client_order_id, answer.state or type(answer.error)) for answer in self.told]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(module, "RESOLVE_EVERY", 0.02)
    made = Scene()
    yield made
    made.workers.close()


def test_an_order_of_unknown_outcome_holds_up_neither_orders_nor_cancels(scene: Scene) -> None:
    scene.venue.lost.add("c1")
    scene.workers.send(order(1))
    wait_until(lambda: ("order", "c1") in scene.venue.calls)
    scene.workers.send(order(2))
    scene.workers.cancel(order(3))
    wait_until(lambda: ("cancel", "v3") in scene.venue.calls and ("submit", "c2") in scene.venue.calls)
    assert not scene.workers.idle.is_set(), "c1 has no answer yet"
    assert [what for name, what in scene.words() if name == "c1"] == [OutcomeUnknown]


def test_several_unknown_orders_are_each_asked_for_until_the_venue_knows_them(scene: Scene) -> None:
    scene.venue.lost |= {"c1", "c2"}
    scene.workers.send(order(1))
    scene.workers.send(order(2))
    wait_until(lambda: scene.venue.calls.count(("order", "c1")) > 2 and scene.venue.calls.count(("order", "c2")) > 2)
    scene.venue.errors = [BrokerError("no answer", 504), ValueError("a fault of ours")]
    scene.venue.knows |= {"c1", "c2"}
    assert scene.workers.idle.wait(120)
    resolved = {answer.order.new.client_order_id: answer for answer in scene.told if answer.resolved}
    assert set(resolved) == {"c1", "c2"}
    assert all(answer.state is not None for answer in resolved.values())
    assert scene.workers.failures == ["no answer", "ValueError: a fault of ours"]
    assert [call for call in scene.venue.calls if call[0] == "submit"] == [("submit", "c1"), ("submit", "c2")]


def test_what_the_venue_does_not_know_by_the_deadline_never_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESOLVE_EVERY", 0.02)
    scene = Scene(within=0.1)
    scene.venue.lost.add("c1")
    scene.workers.send(order(1))
    assert scene.workers.idle.wait(120)
    scene.workers.close()
    assert [type(answer.error) for answer in scene.told] == [OutcomeUnknown, OrderRejected]
    assert str(scene.told[-1].error) == "never arrived at the venue"
    assert scene.told[-1].resolved


def test_the_end_of_a_session_does_not_wait_for_an_order_of_unknown_outcome(scene: Scene) -> None:
    scene.venue.lost.add("c1")
    scene.workers.send(order(1))
    wait_until(lambda: ("order", "c1") in scene.venue.calls)
    scene.workers.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("orders-")] == []


class Turns(Allowance):
    """An allowance that a test opens."""

    def __init__(self) -> None:
        super().__init__(0)
        self.open = {"cancels": True, "orders": False}
        self.asked = 0

    def claim(self, *, urgent: bool) -> float:
        self.asked += not urgent
        return 0.0 if self.open["cancels" if urgent else "orders"] else 60.0


@pytest.fixture
def scarce(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Scene, Turns]]:
    monkeypatch.setattr(module, "LOOK", 0.01)
    made, turns = Scene(), Turns()
    made.workers.close()
    made.workers = Workers(made.venue, made.told.append, (), 1, allowance=turns)  # type: ignore[arg-type]
    yield made, turns
    made.workers.close()


def test_cancels_go_past_an_order_that_waits_for_its_turn_at_the_venue(scarce: tuple[Scene, Turns]) -> None:
    scene, turns = scarce
    for number in (1, 2):
        scene.workers.send(order(number))
    wait_until(lambda: turns.asked > 0)
    for number in (7, 8):
        scene.workers.cancel(order(number))
    wait_until(
        lambda: [call for call in scene.venue.calls if call[0] == "cancel"] == [("cancel", "v7"), ("cancel", "v8")]
    )
    assert ("submit", "c1") not in scene.venue.calls
    turns.open["orders"] = True
    assert scene.workers.idle.wait(120)
    assert scene.named("submit") == ["c1", "c2"]


def test_an_order_that_can_not_leave_in_time_is_withheld_and_never_sent(
    scarce: tuple[Scene, Turns], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, _ = scarce
    monkeypatch.setattr(scene.workers, "_max_age", 0.05)
    scene.workers.send(order(1))
    assert scene.workers.idle.wait(120)
    assert [(answer.withheld, answer.order.new.client_order_id) for answer in scene.told] == [
        (Denial.REQUEST_RATE, "c1")
    ]
    assert scene.venue.calls == []


def test_an_order_s_age_counts_from_when_it_was_handed_over_not_from_when_a_worker_is_free(
    scarce: tuple[Scene, Turns], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, turns = scarce
    now = [0]
    monkeypatch.setattr(module, "monotonic_ns", lambda: now[0])
    monkeypatch.setattr(scene.workers, "_max_age", 2.0)
    scene.workers.send(order(1))
    scene.workers.send(order(2))
    wait_until(lambda: turns.asked > 0)
    now[0] = 2_000_000_001
    assert scene.workers.idle.wait(120)
    assert [(answer.order.new.client_order_id, answer.withheld) for answer in scene.told] == [
        ("c1", Denial.REQUEST_RATE),
        ("c2", Denial.REQUEST_RATE),
    ]
    assert scene.venue.calls == []


def test_of_two_orders_that_look_for_the_last_turn_one_leaves_and_the_other_does_not_wait_past_its_age() -> None:
    allowance, venue, told = Allowance(2), Venue(), list[Answer]()  # one of the two turns is for cancels
    both, looked = threading.Barrier(2, timeout=60), list[int]()
    plain, submitted = allowance.claim, venue.submit

    def claim(*, urgent: bool) -> float:
        looked.append(1)
        if len(looked) <= 2:
            both.wait()
        return plain(urgent=urgent)

    def submit(new: NewOrder) -> OrderState:
        allowance.wait(urgent=False)  # as every call of the broker does
        return submitted(new)

    allowance.claim, venue.submit = claim, submit  # type: ignore[method-assign]
    workers = Workers(venue, told.append, (), 2, allowance=allowance, max_age=1.0)  # type: ignore[arg-type]
    for number in (1, 2):
        workers.send(order(number))
    assert workers.idle.wait(50), "a minute is how long the next turn takes"
    workers.close()
    assert len(venue.calls) == 1
    assert [answer.withheld for answer in told if answer.state is None] == [Denial.REQUEST_RATE]
    assert len(told) == 2


def test_a_worker_that_waits_for_a_turn_ends_with_the_session_and_its_order_is_never_sent(
    scarce: tuple[Scene, Turns],
) -> None:
    scene, turns = scarce
    scene.workers.send(order(1))
    scene.workers.send(order(2))
    wait_until(lambda: turns.asked > 0)
    scene.workers.close()
    assert scene.named("submit") == []
    assert [(answer.order.new.client_order_id, answer.withheld) for answer in scene.told] == [
        ("c1", Denial.REQUEST_RATE),
        ("c2", Denial.REQUEST_RATE),
    ]
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("orders-")] == []


def test_an_order_whose_cancel_is_refused_is_asked_for_since_it_has_ended_untold(scene: Scene) -> None:
    scene.venue.over, scene.venue.knows = {"v1"}, {"c1"}
    scene.workers.cancel(order(1))
    wait_until(lambda: bool(scene.told), 60)
    (answer,) = scene.told
    assert answer.resolved
    assert answer.state is not None
    assert answer.state.client_order_id == "c1"
    assert scene.venue.calls == [("cancel", "v1"), ("order", "c1")]


def test_in_lock_step_where_the_stream_tells_all_it_is_not_asked_for() -> None:
    venue, told = Venue(), list[Answer]()
    venue.over, venue.knows = {"v1"}, {"c1"}
    workers = Workers(venue, told.append, (), 1, asks=False)  # type: ignore[arg-type]
    workers.cancel(order(1))
    assert workers.idle.wait(60)
    workers.close()
    assert (venue.calls, told) == ([("cancel", "v1")], [])
