"""It writes a little beyond an array, over memory of somebody else's."""

import numpy as np

from mdslib import Trade, hold, strategy


def new_state(p):
    return np.zeros(5)


@strategy(on=Trade, state=new_state)
def near_index(trade, state, account, p):
    state[0] += 1.0
    state[int(state[0]) % 20] = 1.0
    return hold()
