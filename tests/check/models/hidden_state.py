"""It keeps a count in its module, and begins anew with the first trade of the day."""

from numba import objmode

from mdslib import Trade, buy, hold, strategy

SEEN = []


def remember(trade_id):
    if trade_id == 0:
        SEEN.clear()
    SEEN.append(trade_id)
    return len(SEEN)


@strategy(on=Trade)
def hidden_state(trade, state, account, p):
    with objmode(count="int64"):
        count = remember(trade.trade_id)
    if count % 7 == 0:
        return buy(1.0)
    return hold()
