"""Waits between two tries: longer each time, left to chance by a half, and never hurried after 406 and 429."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.feeds.backoff import LONGEST, STEADY, Backoff


@given(seed=st.integers(0, 2**32), tries=st.integers(1, 40))
def test_each_wait_lies_between_half_and_all_of_a_doubling_time_up_to_the_longest(seed: int, tries: int) -> None:
    backoff = Backoff(1.0, 30.0, seed)
    for n in range(tries):
        whole = min(2.0**n, 30.0)
        assert whole / 2 <= backoff.wait() <= whole


def test_two_clients_that_were_cut_off_together_do_not_come_back_together() -> None:
    first, second = Backoff(seed=1), Backoff(seed=2)
    assert all(abs(first.wait() - second.wait()) > 1e-3 for _ in range(10))


@pytest.mark.parametrize(("code", "least"), [(406, 2.5), (429, 15.0), (500, 0.25), (None, 0.25)])
def test_alpaca_py_740_reconnects_do_not_become_a_storm(code: int | None, least: float) -> None:
    assert all(Backoff(seed=seed).wait(code) >= least for seed in range(200))


def test_only_a_connection_that_was_steady_begins_the_waits_anew() -> None:
    backoff = Backoff(1.0, LONGEST, seed=3)
    for _ in range(10):
        backoff.wait()
    backoff.held(STEADY - 1)
    assert backoff.wait() >= LONGEST / 2
    backoff.held(STEADY)
    assert backoff.wait() <= 1.0
