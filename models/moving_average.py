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


SUMS = np.dtype([("count", "i8"), ("fast", "f8"), ("slow", "f8")])


def new_state(p):
    return State(records(1, SUMS), np.zeros(p.slow))


@strategy(on=Bar, params=Params, state=new_state)
def moving_average(bar, state, account, p):
    s = state.sums[0]
    place = s.count % p.slow
    if s.count >= p.fast:
        s.fast -= state.ring[(s.count - p.fast) % p.slow]
    if s.count >= p.slow:
        s.slow -= state.ring[place]
    state.ring[place] = bar.close
    s.fast += bar.close
    s.slow += bar.close
    s.count += 1
    if s.count < p.slow:
        return hold()
    return target(p.shares if s.fast / p.fast > s.slow / p.slow else -p.shares)
