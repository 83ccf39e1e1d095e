"""Trades for a while, then answers a quantity that is no number."""

import math
from typing import NamedTuple

from mdslib import Trade, buy, hold, records, strategy


class Params(NamedTuple):
    at: int = 300


def new_state(p):
    return records(1, [("trades", "i8")])


@strategy(on=Trade, params=Params, state=new_state)
def nonsense(trade, state, account, p):
    s = state[0]
    s.trades += 1
    if s.trades == p.at:
        return buy(math.nan)
    if s.trades % 10 == 1:
        return buy(1.0, limit=round(trade.price - (25.0 if s.trades % 20 == 1 else -1.0), 2))
    return hold()
