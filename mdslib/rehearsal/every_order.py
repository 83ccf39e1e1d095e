"""The model that is rehearsed by default: it trades little and does everything that a model can do with orders.

Market orders both ways, limit orders that rest and are canceled, limit orders that fill, a flip from long to short and
back: so that every fault meets something.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdslib import Trade, buy, cancel, hold, records, sell, strategy


class Params(NamedTuple):
    """How many trades a round takes, and how many shares an order has."""

    round: int = 90
    shares: float = 5.0


def new_state(p):  # type: ignore[no-untyped-def]
    """Count trades."""
    return records(1, np.dtype([("trades", "i8")]))


@strategy(on=Trade, params=Params, state=new_state)
def every_order(trade, state, account, p):  # type: ignore[no-untyped-def]
    """Go through the same round again and again."""
    s = state[0]
    s.trades += 1
    step = s.trades % p.round
    if step == 5:
        return buy(p.shares)
    if step == 15:
        return buy(p.shares, limit=round(trade.price - 20.0, 2))  # rests, until it is canceled
    if step == 25:
        return cancel()
    if step == 35:
        return sell(2.0 * p.shares)  # a flip: long to short
    if step == 55:
        return buy(p.shares, limit=round(trade.price + 0.1, 2))  # fills at once
    if step == 70:
        return buy(p.shares, limit=round(trade.price - 20.0, 2))
    if step == 80:
        return cancel()
    return hold()
