"""Buys one share far below the market now and then, so that orders rest and never fill."""

from typing import NamedTuple

from mdslib import Trade, buy, hold, records, strategy


class Params(NamedTuple):
    every: int = 20
    below: float = 20.0


def new_state(p):
    return records(1, [("trades", "i8")])


@strategy(on=Trade, params=Params, state=new_state)
def resting(trade, state, account, p):
    s = state[0]
    s.trades += 1
    if s.trades % p.every == 1:
        return buy(1.0, limit=round(trade.price - p.below, 2))
    return hold()
