"""It makes itself rich."""

from mdslib import Trade, buy, hold, strategy


@strategy(on=Trade)
def account_writer(trade, state, account, p):
    account[0].cash += 1.0
    return buy(1.0) if trade.size % 50 == 0 else hold()
