"""Remembers enough that a wrong restart shows: means, counts, and orders that depend on both."""

from typing import NamedTuple

import numpy as np

from mdslib import OrderUpdate, Trade, buy, cancel, hold, records, sell, strategy


class Params(NamedTuple):
    every: int = 7


STATE = np.dtype([("trades", "i8"), ("mean", "f8"), ("fills", "i8"), ("bought", "f8")])


def new_state(p):
    return records(1, STATE)


@strategy(on=Trade, params=Params, state=new_state)
def sturdy(trade, state, account, p):
    s = state[0]
    s.trades += 1
    s.mean += (trade.price - s.mean) / s.trades
    if s.trades % 41 == 0:
        return cancel()
    if s.trades % (3 * p.every) == 0:
        return buy(1.0, limit=round(trade.price - 0.05, 2))
    if s.trades % p.every == 0:
        return buy(1.0 + s.fills % 3) if trade.price < s.mean or account[0].position < 0.0 else sell(1.0 + s.fills % 2)
    return hold()


@sturdy.on(OrderUpdate)
def heard(update, state, account, p):
    s = state[0]
    if update.last_qty != 0.0:
        s.fills += 1
        s.bought += update.last_qty * update.last_px
        if s.fills % 9 == 0:
            return sell(1.0) if account[0].position > 0.0 else buy(1.0)
    return hold()
