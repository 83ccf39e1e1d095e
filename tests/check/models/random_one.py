"""It draws random numbers."""

import numpy as np

from mdslib import Trade, buy, hold, strategy


@strategy(on=Trade)
def random_one(trade, state, account, p):
    if np.random.random() < 0.1:  # noqa: NPY002
        return buy(1.0)
    return hold()
