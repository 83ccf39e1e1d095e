"""Depth imbalance: long while the bids of the best levels outweigh the asks, flat again when the asks do."""

import math
from typing import NamedTuple

import numpy as np

from mdslib import GTC, Book, hold, records, strategy, target
from mdslib.book.signals import depth_imbalance


class Params(NamedTuple):
    levels: int = 3  # of each side, 10 at most
    half_life: float = 12.0  # of the running mean, in messages
    entry: float = 0.15  # from here on long
    leave: float = -0.15  # from here on flat
    units: float = 1.0


STATE = np.dtype([("mean", "f8"), ("count", "i8")])


def new_state(p):
    return records(1, STATE)


@strategy(on=Book, params=Params, state=new_state, depth=10)
def book_imbalance(book, state, account, p):
    now = depth_imbalance(book, min(p.levels, 10))
    if math.isnan(now):
        return hold()
    s = state[0]
    s.mean += (now - s.mean) * (1.0 - 0.5 ** (1.0 / p.half_life))
    s.count += 1
    if s.count < p.half_life:
        return hold()
    if s.mean >= p.entry:
        return target(p.units, tif=GTC)
    if s.mean <= p.leave:
        return target(0.0, tif=GTC)
    return hold()
