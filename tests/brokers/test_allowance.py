"""Requests a minute: never more than the venue takes in any 60 s, the last ones for cancels; its pauses are kept."""

from __future__ import annotations

import math
import threading
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.brokers.allowance import LONGEST_PAUSE, Allowance
from mdslib.brokers.alpaca import AlpacaBroker
from mdslib.clock import monotonic_ns, wall_ns
from mdslib.errors import BrokerError, OrderRejected
from mdslib.events import TimeInForce
from mdslib.protocols import NewOrder

SECOND = 10**9
BUY = NewOrder("c1", "SPY", 5.0, math.nan, TimeInForce.DAY)
ORDER = {"id": "v1", "client_order_id": "c1", "symbol": "SPY", "side": "buy", "qty": "5", "filled_qty": "0",
         "filled_avg_price": None, "status": "new", "submitted_at": "2026-01-05T09:31:00-05:00"}  # fmt: skip


class Steps:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


@pytest.fixture
def clock() -> Steps:
    return Steps()


@given(st.lists(st.tuples(st.floats(0.0, 30.0), st.booleans()), min_size=1, max_size=200), st.integers(2, 20))
def test_no_sixty_seconds_ever_have_more_requests_than_the_venue_takes(steps, requests) -> None:
    clock, left = Steps(), list[int]()
    allowance = Allowance(requests, now=clock)
    for seconds, urgent in steps:
        clock.forward(seconds)
        left += [clock.now] * sum(allowance.take(urgent=urgent) for _ in range(requests // 2 + 1))
    for begin in left:
        assert sum(begin <= ts < begin + 60 * SECOND for ts in left) <= requests


def test_the_last_tenth_is_for_cancels(clock: Steps) -> None:
    allowance = Allowance(now=clock)
    assert sum(allowance.take(urgent=False) for _ in range(300)) == 180
    assert (allowance.left, repr(allowance)) == (20, "Allowance(200 a minute, 20 left)")
    assert sum(allowance.take(urgent=True) for _ in range(300)) == 20


def test_a_wait_is_told_to_the_nanosecond_and_cancels_wait_for_less(clock: Steps) -> None:
    allowance = Allowance(10, now=clock)
    for _ in range(10):
        allowance.take(urgent=True)
        clock.forward(1.0)
    assert allowance.pause(urgent=True) == 50.0, "the first token is back a minute after it was spent"
    assert allowance.pause(urgent=False) == 51.0, "an order leaves one for a cancel"
    clock.forward(50.0)
    assert (allowance.pause(urgent=True), allowance.pause(urgent=False)) == (0.0, 1.0)
    assert not allowance.take(urgent=False)
    clock.forward(1.0)
    assert allowance.take(urgent=False)


def test_a_claimed_token_is_the_claiming_thread_s_own_and_its_next_call_does_not_wait(clock: Steps) -> None:
    allowance, theirs = Allowance(2, now=clock), list[float]()
    assert (allowance.claim(urgent=False), allowance.claim(urgent=False)) == (0.0, 0.0), "one token, however often"
    other = threading.Thread(target=lambda: theirs.append(allowance.claim(urgent=False)))
    other.start()
    other.join(120)
    assert theirs == [60.0]
    assert allowance.left == 1
    allowance.wait(urgent=False)
    assert (allowance.left, allowance.claim(urgent=False)) == (1, 60.0)


def test_without_a_limit_nothing_waits(clock: Steps) -> None:
    allowance = Allowance(0, now=clock)
    assert all(allowance.take(urgent=False) for _ in range(1_000))
    assert allowance.left == -1


def test_a_negative_number_is_named() -> None:
    with pytest.raises(ValueError, match=r"Allowance\.requests must be >= 0, received -1; 0 sets no limit"):
        Allowance(-1)


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "7"}, 7.0, 7.0),
        ({"Retry-After": formatdate(wall_ns() / 1e9 + 3600, usegmt=True)}, LONGEST_PAUSE, LONGEST_PAUSE),
        ({"Retry-After": "900"}, LONGEST_PAUSE, LONGEST_PAUSE),
        ({"Retry-After": "soon"}, 1.0, 1.0),
        ({"X-Ratelimit-Reset": str(wall_ns() // SECOND + 40)}, 1.0, 40.0),
        ({"X-Ratelimit-Reset": "1"}, 1.0, 1.0),  # long past
        ({"X-Ratelimit-Reset": "never"}, 1.0, 1.0),
        ({}, 1.0, 1.0),
    ],
)
def test_after_429_nothing_leaves_for_as_long_as_the_venue_says(clock: Steps, headers, least, most) -> None:
    allowance = Allowance(now=clock)
    allowance.answered(429, headers)
    assert least <= allowance.pause(urgent=True) <= most, "cancels neither"
    assert not allowance.take(urgent=True)
    clock.forward(most)
    assert allowance.take(urgent=False)
    assert allowance.refused == 1


def test_pauses_grow_where_the_venue_names_none_until_it_answers_again(clock: Steps) -> None:
    allowance, pauses = Allowance(0, now=clock), []
    for status in (429, 429, 429, 200, 429):
        clock.forward(100.0)
        allowance.answered(status, {})
        pauses.append(allowance.pause(urgent=False))
    assert pauses == [1.0, 2.0, 4.0, 0.0, 1.0]


def test_a_shorter_pause_does_not_end_a_longer_one(clock: Steps) -> None:
    allowance = Allowance(now=clock)
    allowance.answered(429, {"Retry-After": "9"})
    allowance.answered(429, {"Retry-After": "1"})
    assert allowance.pause(urgent=True) == 9.0


def test_the_end_lets_go_whoever_waits() -> None:
    allowance = Allowance(1)
    allowance.wait(urgent=True)
    waiting = threading.Thread(target=lambda: allowance.wait(urgent=True))
    waiting.start()
    allowance.close()
    waiting.join(120)
    assert not waiting.is_alive()


def test_the_broker_waits_as_long_as_a_429_says_before_its_next_call(host) -> None:
    broker = AlpacaBroker(host.url)
    host.add({"code": 42910000, "message": "rate limit exceeded"}, 429, Retry_After="1")
    host.add(ORDER)
    with pytest.raises(OrderRejected):
        broker.submit(BUY)
    refused = monotonic_ns()
    broker.submit(BUY)
    assert monotonic_ns() - refused > 0.9 * SECOND
    assert len(host.asked) == 2, "nothing is sent twice by itself"
    broker.close()


def test_a_question_that_is_refused_for_its_rate_is_asked_again_and_given_up_in_the_end(host) -> None:
    broker = AlpacaBroker(host.url)
    host.add({"message": "rate limit exceeded"}, 429, Retry_After="0")
    host.add([])
    assert broker.positions() == {}
    for _ in range(3):
        host.add({"message": "rate limit exceeded"}, 429, Retry_After="0")
    with pytest.raises(BrokerError, match="HTTP 429"):
        broker.positions()
    assert len(host.asked) == 5
    broker.close()


def test_every_kind_of_call_takes_a_token(host) -> None:
    broker = AlpacaBroker(host.url, allowance=Allowance(100))
    host.add(ORDER)
    host.add({}, 204)
    host.add([])
    broker.submit(BUY)
    broker.cancel("61e69015")
    broker.open_orders()
    assert broker.allowance.left == 97
    broker.close()
