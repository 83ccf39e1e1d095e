"""Pairs trading on trades: sell the spread when its z-score is high, buy it when low, leave when it comes home."""

import math
from typing import NamedTuple

import numpy as np

from mdslib import Trade, hold, pair, records, strategy, target_leg


class Params(NamedTuple):
    ratio: float = 1.0  # units of the second instrument against one of the first
    half_life: float = 500.0  # of the running mean and variance of the spread, in trades
    warm_up: int = 1000
    entry: float = 2.0
    exit: float = 0.5
    shares: float = 10.0


STATE = np.dtype([("price", "f8", (2,)), ("mean", "f8"), ("variance", "f8"), ("count", "i8"), ("side", "i8")])


def new_state(p):
    return records(1, STATE)


@strategy(on=Trade, params=Params, state=new_state, instruments=2)
def pairs_zscore(trade, state, account, p):
    s = state[0]
    s.price[trade.instrument] = trade.price
    if s.price[0] == 0.0 or s.price[1] == 0.0:
        return hold()
    spread = s.price[0] - p.ratio * s.price[1]
    if s.count == 0:
        s.mean = spread
    alpha = 1.0 - 0.5 ** (1.0 / p.half_life)
    gap = spread - s.mean
    s.mean += alpha * gap
    s.variance += alpha * (gap * gap - s.variance)
    s.count += 1
    if s.count < p.warm_up or s.variance <= 0.0:
        return hold()
    z = gap / math.sqrt(s.variance)
    side = s.side
    if z > p.entry:
        side = -1
    elif z < -p.entry:
        side = 1
    elif abs(z) < p.exit:
        side = 0
    if side == s.side:
        return hold()
    s.side = side
    return pair(target_leg(0, side * p.shares), target_leg(1, -side * p.ratio * p.shares))
