"""It takes numpy's mean, whose last bits are not those of a compiled loop."""

from typing import NamedTuple

import numpy as np

from mdslib import Trade, buy, hold, records, strategy

STATE = np.dtype([("count", "<i8"), ("mean", "<f8")])


class State(NamedTuple):
    one: np.ndarray
    window: np.ndarray


def new_state(p):
    return State(records(1, STATE), np.zeros(300))


@strategy(on=Trade, state=new_state)
def numpy_summer(trade, state, account, p):
    s = state.one[0]
    state.window[s.count % 300] = trade.price * 1.1
    s.count += 1
    s.mean = np.mean(state.window)
    return buy(1.0) if trade.price < s.mean else hold()
