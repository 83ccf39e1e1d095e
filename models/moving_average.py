"""Moving-average crossing on bars: long while the fast mean of closes is above the slow one, short while below."""

from typing import NamedTuple

import numpy as np

from mdslib import Bar, hold, records, strategy, target


class Params(NamedTuple):
    fast: int = 20
    slow: int = 100
    shares: float = 10.0


class State(NamedTuple):
    sums: np.ndarray  # one record
    ring: np.ndarray  # the last `slow` closes


SUMS = np.dtype([("count", "i8"), ("place", "i8"), ("fast", "f8"), ("slow", "f8")])


def new_state(p):
    return State(records(1, SUMS), np.zeros(p.slow))


@strategy(on=Bar, params=Params, state=new_state)
def moving_average(bar, state, account, p):
    s = state.sums[0]
    place = s.place
    left_fast = 0.0
    left_slow = 0.0
    if s.count >= p.fast:
        left_fast = state.ring[place - p.fast if place >= p.fast else place - p.fast + p.slow]
    if s.count >= p.slow:
        left_slow = state.ring[place]
    fast = s.fast + (bar.close - left_fast)
    slow = s.slow + (bar.close - left_slow)
    s.fast = fast
    s.slow = slow
    state.ring[place] = bar.close
    s.place = place + 1 if place + 1 < p.slow else 0
    s.count += 1
    if s.count < p.slow:
        return hold()
    return target(p.shares if fast / p.fast > slow / p.slow else -p.shares)
