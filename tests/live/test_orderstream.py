"""The order stream is connected again, and what it missed is asked for; the first connection is not insisted on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from mdslib.errors import FeedError, FeedRefused
from mdslib.feeds.backoff import Backoff
from mdslib.live.orderstream import OrderStream

LOST = FeedError("the connection was cut")


class Told:
    """What the engine is told."""

    def __init__(self) -> None:
        self.back = 0

    def on_update(self, _update: Any) -> None:
        raise AssertionError("no update was sent")

    def on_stream_back(self) -> None:
        self.back += 1


def stream(*connections: tuple[bool, Exception | None]) -> Callable[..., None]:
    """A broker's stream: each connection comes up or not, then ends with an error, or well."""
    left = list(connections)

    def run(_sink: Any, ready: Callable[[], None]) -> None:
        up, error = left.pop(0)
        if up:
            ready()
        if error is not None:
            raise error

    return run


def run(*connections: tuple[bool, Exception | None], keep: bool = True) -> tuple[Told, Counter[str], list[str]]:
    told, tally, ready = Told(), Counter[str](), list[str]()
    made = OrderStream(
        stream(*connections), told, tally, lambda *_, **__: None, keep=keep, backoff=Backoff(0.001, 0.002)
    )
    made.run(lambda: ready.append("ready"))
    return told, tally, ready


def test_after_each_reconnection_working_orders_are_asked_for() -> None:
    told, tally, ready = run((True, LOST), (True, LOST), (True, None))
    assert (told.back, ready) == (2, ["ready"])
    assert tally == {"order stream lost": 2, "order stream reconnected": 2}


def test_tries_that_fail_are_counted_apart_and_tell_nothing() -> None:
    told, tally, _ = run((True, LOST), (False, LOST), (False, LOST), (True, None))
    assert told.back == 1
    assert tally["order stream lost"] == 1
    assert tally["order stream's reconnections that failed"] == 2


def test_a_stream_that_never_came_up_is_told_at_once() -> None:
    with pytest.raises(FeedError, match="the connection was cut"):
        run((False, LOST))


def test_keys_that_are_refused_are_final() -> None:
    with pytest.raises(FeedRefused, match="unauthorized"):
        run((True, LOST), (False, FeedRefused("unauthorized", 401)))


def test_in_lock_step_the_first_loss_is_the_end() -> None:
    with pytest.raises(FeedError, match="the connection was cut"):
        run((True, LOST), keep=False)
