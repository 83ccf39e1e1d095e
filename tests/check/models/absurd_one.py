"""It orders more than there is."""

from mdslib import Trade, hold, sell, strategy


@strategy(on=Trade)
def absurd_one(trade, state, account, p):
    return sell(1e15) if trade.size % 50 == 0 else hold()
