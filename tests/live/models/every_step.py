"""A model of every kind of step: trades, two timers, own order updates; market, limit and IOC orders; cancels."""

from typing import NamedTuple

import numpy as np

from mdslib import DAY, IOC, BeforeClose, Every, OrderUpdate, Trade, buy, cancel, hold, records, sell, strategy


class Params(NamedTuple):
    gap: float = 0.02  # of a limit order from the last price


STATE = np.dtype([("price", "f8"), ("ticks", "i8"), ("trades", "i8"), ("heard", "i8"), ("ended", "i8"), ("late", "i8")])


def new_state(p):
    return records(1, STATE)


@strategy(on=Trade, params=Params, state=new_state)
def every_step(trade, state, account, p):
    s = state[0]
    s.price = trade.price
    s.trades += 1
    if s.late == 1:
        return hold()
    if s.trades % 97 == 0:
        return cancel()
    if s.trades % 31 == 0:
        return buy(2.0, limit=round(trade.price + p.gap, 2), tif=IOC)
    if s.trades % 13 == 0:
        return buy(1.0, limit=round(trade.price - p.gap, 2), tif=DAY)
    return hold()


@every_step.on(Every("10m"))
def tick(timer, state, account, p):
    s = state[0]
    s.ticks += 1
    if s.late == 1 or s.price == 0.0:
        return hold()
    return sell(1.0) if s.ticks % 2 == 0 else buy(1.0)


@every_step.on(OrderUpdate)
def heard(update, state, account, p):
    s = state[0]
    s.heard += 1
    if update.status == 6 or update.status == 8:
        s.ended += 1
    if s.late == 0 and update.status == 4 and s.heard % 11 == 0:
        return sell(1.0)
    return hold()


@every_step.on(BeforeClose("20m"))
def last_call(timer, state, account, p):
    state[0].late = 1
    return cancel()
