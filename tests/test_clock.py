"""Clocks: the real one, the fast one and the one that stands still."""

from __future__ import annotations

import threading

import pytest

from mdslib.clock import Clock, ScaledClock, SteppedClock, WallClock, monotonic_ns
from mdslib.errors import ConfigError


def test_wall_clock_waits_until_its_time() -> None:
    clock = WallClock()
    until = clock.now() + 3_000_000
    assert clock.wait(threading.Event(), until) is False
    assert clock.now() >= until


@pytest.mark.parametrize("clock", [WallClock(), ScaledClock(0), SteppedClock(0)])
def test_an_event_ends_every_wait_early(clock: Clock) -> None:
    event = threading.Event()
    threading.Timer(0.02, event.set).start()
    started = monotonic_ns()
    assert clock.wait(event, clock.now() + 10**11) is True
    assert monotonic_ns() - started < 5 * 10**9


@pytest.mark.parametrize("clock", [WallClock(), ScaledClock(0), SteppedClock(0)])
def test_a_time_that_has_passed_is_not_waited_for(clock: Clock) -> None:
    event = threading.Event()
    assert clock.wait(event, clock.now()) is False
    event.set()
    assert clock.wait(event, clock.now()) is True


def test_scaled_clock_runs_faster_and_never_past_its_cap() -> None:
    clock = ScaledClock(1_000, speed=1_000.0)
    assert clock.wait(threading.Event(), 1_000 + 10**9) is False  # a second in about a millisecond
    assert clock.now() >= 1_000 + 10**9
    clock.adjust(0, speed=1.0)
    clock.cap(10)
    clock.adjust(5_000)
    assert clock.now() == 10
    clock.cap(None)
    assert clock.now() >= 5_000


def test_scaled_clock_notices_an_adjustment_while_somebody_waits() -> None:
    clock = ScaledClock(0, speed=1.0)
    threading.Timer(0.02, clock.adjust, (10**12,)).start()
    assert clock.wait(threading.Event(), 10**12) is False


def test_stepped_clock_wakes_who_waits_and_never_goes_back() -> None:
    clock = SteppedClock(100)
    threading.Timer(0.02, clock.advance, (200,)).start()
    assert clock.wait(threading.Event(), 200) is False
    clock.advance(200)
    with pytest.raises(ConfigError, match="must not go back, received 199 at 200"):
        clock.advance(199)


@pytest.mark.parametrize("speed", [0, -1.0, float("nan")])
def test_a_speed_must_be_positive(speed: float) -> None:
    with pytest.raises(ConfigError, match="speed must be > 0"):
        ScaledClock(0, speed)
