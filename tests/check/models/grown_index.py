"""Its integer overflows when compiled, and only then reads outside an array; uncompiled it only grows."""

import numpy as np

from mdslib import Trade, buy, hold, jit, strategy


def new_state(p):
    return np.zeros(5)


@jit
def grown(number):
    for _ in range(9):
        number = number * 1_000_003 + 1
    return number


@strategy(on=Trade, state=new_state)
def grown_index(trade, state, account, p):
    place = grown(3 + 0 * int(trade.size))
    return buy(1.0) if place < 0 and state[place // 1_000_000] > 0.0 else hold()
