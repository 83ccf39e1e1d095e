"""It keeps its count in a global array."""

import numpy as np

from mdslib import Trade, buy, hold, strategy

SEEN = np.zeros(1, np.int64)


@strategy(on=Trade)
def global_writer(trade, state, account, p):
    SEEN[0] += 1
    return buy(1.0) if SEEN[0] % 10 == 0 else hold()
