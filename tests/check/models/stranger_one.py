"""It orders an instrument that the session does not have."""

from mdslib import Trade, hold, leg, pair, strategy


@strategy(on=Trade)
def stranger_one(trade, state, account, p):
    return pair(leg(0, 1.0), leg(7, -1.0)) if trade.size % 50 == 0 else hold()
