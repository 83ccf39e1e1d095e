"""Its limit prices are off the tick."""

from mdslib import Trade, buy, hold, strategy


@strategy(on=Trade)
def off_tick_one(trade, state, account, p):
    return buy(1.0, trade.price * 0.9999) if trade.size % 50 == 0 else hold()
