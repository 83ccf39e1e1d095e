"""It raises in mid-stream."""

import numpy as np

from mdslib import Trade, hold, records, strategy

STATE = np.dtype([("count", "<i8")])


def new_state(p):
    return records(1, STATE)


@strategy(on=Trade, state=new_state)
def raiser(trade, state, account, p):
    state[0].count += 1
    if state[0].count > 100:
        raise ValueError("a hundred is enough")
    return hold()
