"""It looks at nothing, and keeps a count in its module."""

from numba import objmode

from mdslib import Trade, buy, hold, strategy

SEEN = []


def remember():
    SEEN.append(1)
    return len(SEEN)


@strategy(on=Trade)
def module_state(trade, state, account, p):
    with objmode(count="int64"):
        count = remember()
    if count % 7 == 0:
        return buy(1.0)
    return hold()
