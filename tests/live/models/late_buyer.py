"""Buys one share five and a half minutes before the close, and never sells."""

from mdslib import BeforeClose, Trade, buy, hold, strategy


@strategy(on=Trade)
def late_buyer(trade, state, account, p):
    return hold()


@late_buyer.on(BeforeClose("330s"))
def late(timer, state, account, p):
    return buy(1.0)
