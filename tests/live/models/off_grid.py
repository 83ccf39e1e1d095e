"""Orders now and then what the venue has no grid for: a sub-penny limit, a fraction; and sometimes what it has."""

from mdslib import Trade, buy, hold, sell, strategy


@strategy(on=Trade)
def off_grid(trade, state, account, p):
    if trade.size % 7 == 0:
        return buy(1.0, limit=trade.price + 0.0123)
    if trade.size % 11 == 0:
        return buy(0.5)
    if trade.size % 13 == 0:
        return sell(2.0) if account[0].position > 0.0 else buy(2.0)
    return hold()
