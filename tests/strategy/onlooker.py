"""Writes down every book that it is shown, and buys or sells a lot by the heavier side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdslib import Book, hold, records, strategy, target

DEPTH = 4


class Params(NamedTuple):
    keep: int = 1000


class State(NamedTuple):
    told: np.ndarray  # one record: how many books were shown
    head: np.ndarray  # time and instrument of each
    price: np.ndarray  # (keep, side, level)
    size: np.ndarray


def new_state(p: Params) -> State:
    shape = p.keep, 2, DEPTH
    return State(
        records(1, np.dtype([("count", "i8")])),
        np.zeros((p.keep, 2), np.int64),
        np.zeros(shape),
        np.zeros(shape, np.int64),
    )


@strategy(on=Book, params=Params, state=new_state, instruments=2, depth=DEPTH)
def onlooker(book, state, account, p):
    told = state.told[0]
    if told.count < p.keep:
        state.head[told.count, 0] = book.ts_event
        state.head[told.count, 1] = book.instrument
        for level in range(DEPTH):
            state.price[told.count, 0, level] = book.bid[level]
            state.price[told.count, 1, level] = book.ask[level]
            state.size[told.count, 0, level] = book.bid_size[level]
            state.size[told.count, 1, level] = book.ask_size[level]
    told.count += 1
    if book.bid_size[0] > 2 * book.ask_size[0]:
        return target(1.0)
    if book.ask_size[0] > 2 * book.bid_size[0]:
        return target(-1.0)
    return hold()
