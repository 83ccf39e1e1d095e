"""It orders nothing."""

from mdslib import Trade, buy, hold, strategy


@strategy(on=Trade)
def zero_one(trade, state, account, p):
    return buy(0.0) if trade.size % 50 == 0 else hold()
