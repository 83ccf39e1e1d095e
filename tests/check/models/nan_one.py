"""It orders a quantity that is not a number."""

import math

from mdslib import Trade, buy, hold, strategy


@strategy(on=Trade)
def nan_one(trade, state, account, p):
    if trade.size % 50 == 0:
        return buy(math.nan)
    return hold()
