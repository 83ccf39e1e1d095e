"""It orders fractions of a share that is sold whole."""

from mdslib import Trade, buy, hold, strategy


@strategy(on=Trade)
def off_lot_one(trade, state, account, p):
    return buy(2.5) if trade.size % 50 == 0 else hold()
