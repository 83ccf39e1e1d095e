"""What the deciding thread does about an order of which the venue says nothing."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from mdslib.desk import Desk, Order
from mdslib.events import Status, TimeInForce
from mdslib.instruments import Instrument
from mdslib.live import orderflow as module
from mdslib.live.orderflow import OrderFlow
from mdslib.live.tally import Tally
from mdslib.protocols import NewOrder

SECOND = 1_000_000_000


class Scene:
    """An order flow with one order that works at the venue, a clock, and what the workers were told to do."""

    def __init__(self, limit: float, *, polls: bool = True) -> None:
        self.now, self.calls = SECOND, list[tuple[float, str]]()
        self.desk = Desk("PA1", "run", datetime.date(2025, 6, 12), [Instrument("SPY")])
        self.order = Order(NewOrder("c1", "SPY", 5.0, limit, TimeInForce.DAY), 0, 1, 0)
        self.order.venue_order_id, self.order.status = "v1", Status.NEW
        self.desk.orders["c1"] = self.order
        self.flow = OrderFlow(self.desk, Tally(), lambda *_, **__: None, polls=polls)
        self.flow.workers = self  # type: ignore[assignment]
        self.flow.watch([self.order])

    def cancel(self, order: Order) -> None:
        self.calls.append((self.now / SECOND - 1.0, "cancel"))

    def ask(self, order: Order) -> None:
        self.calls.append((self.now / SECOND - 1.0, "ask"))

    def pass_time(self, seconds: int) -> list[tuple[float, str]]:
        """Let so many seconds go by; return what was done in them, with its times."""
        for _ in range(seconds):
            self.now += SECOND
            self.flow.ask_silent()
        return self.calls


@pytest.fixture
def scene(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Scene:
    given: dict[str, Any] = getattr(request, "param", {"limit": 590.0})
    made = Scene(**given)
    monkeypatch.setattr(module, "monotonic_ns", lambda: made.now)
    return made


@pytest.fixture(autouse=True)
def begins_at_one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "monotonic_ns", lambda: SECOND)


def test_a_limit_order_may_be_silent_for_a_minute(scene: Scene) -> None:
    assert scene.pass_time(130) == [(60.0, "ask"), (120.0, "ask")]


@pytest.mark.parametrize("scene", [{"limit": float("nan")}], indirect=True)
def test_a_market_order_is_asked_for_soon_and_then_ever_more_rarely(scene: Scene) -> None:
    assert scene.pass_time(50) == [(3.0, "ask"), (9.0, "ask"), (21.0, "ask"), (45.0, "ask")]


def test_a_cancel_that_the_venue_took_and_did_not_carry_out_is_sent_again(scene: Scene) -> None:
    scene.pass_time(10)
    scene.flow.cancel_working()
    assert scene.pass_time(15) == [
        (10.0, "cancel"), (13.0, "cancel"), (13.0, "ask"), (19.0, "cancel"), (19.0, "ask"),
    ]  # fmt: skip


def test_a_cancel_that_came_to_be_is_not_sent_again(scene: Scene) -> None:
    scene.flow.cancel_working()
    scene.order.status = Status.CANCELED
    assert scene.pass_time(100) == [(0.0, "cancel")]


@pytest.mark.parametrize("scene", [{"limit": 590.0, "polls": False}], indirect=True)
def test_in_lock_step_nothing_is_asked_for_or_sent_again(scene: Scene) -> None:
    scene.flow.cancel_working()
    assert scene.pass_time(100) == [(0.0, "cancel")]
