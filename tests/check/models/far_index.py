"""Its helper reads far beyond an array, which compiled ends the process."""

import numpy as np

from mdslib import Trade, buy, hold, jit, strategy


def new_state(p):
    return np.zeros(5)


@jit
def look(array, place):
    return array[place]


@strategy(on=Trade, state=new_state)
def far_index(trade, state, account, p):
    return buy(1.0) if look(state, trade.size * 1_000_000_000) > 0.0 else hold()
