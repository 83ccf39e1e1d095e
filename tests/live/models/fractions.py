"""Buys fractions of a share and sells some of them; an IOC order now and then, which takes no fraction."""

from mdslib import IOC, Trade, buy, hold, sell, strategy


@strategy(on=Trade)
def fractions(trade, state, account, p):
    if trade.size % 11 == 0:
        return buy(0.75, tif=IOC)
    if trade.size % 5 == 0:
        return buy(1.25)
    if trade.size % 7 == 0:
        return buy(0.000000001)
    if trade.size % 3 == 0 and account[0].position > 0.5:
        return sell(0.5)
    return hold()
