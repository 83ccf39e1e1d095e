"""Its branches return different types."""

from mdslib import Trade, buy, strategy


@strategy(on=Trade)
def two_types(trade, state, account, p):
    if trade.size > 100:
        return buy(1.0)
    return 0
