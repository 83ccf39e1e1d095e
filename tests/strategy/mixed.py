"""A model for tests: trades, quotes, a timer, its own updates, two instruments and two legs."""

from typing import NamedTuple

import numpy as np

from mdslib import (
    IOC,
    Every,
    OrderUpdate,
    Quote,
    Trade,
    buy,
    cancel,
    cancel_leg,
    hold,
    leg,
    pair,
    records,
    sell,
    strategy,
    target,
    target_leg,
)

ONE = np.dtype([("trades", "<i8"), ("filled", "<f8"), ("ended", "<i8"), ("mean", "<f8", (2,))])


class Params(NamedTuple):
    window: int = 8
    shares: float = 4.0


class State(NamedTuple):
    one: np.ndarray
    ring: np.ndarray


def new_state(p):
    return State(records(1, ONE), np.zeros((2, p.window)))


@strategy(on=Trade, params=Params, state=new_state, instruments=2)
def mixed(trade, state, account, p):
    s = state.one[0]
    k = trade.instrument
    s.trades += 1
    state.ring[k, s.trades % p.window] = trade.price
    s.mean[k] = 0.0
    for i in range(p.window):
        s.mean[k] += state.ring[k, i] / p.window
    if trade.size % 7 == 0:
        return buy(p.shares, trade.price)
    if trade.size % 11 == 0:
        return sell(p.shares, trade.price, IOC)
    if trade.size % 13 == 0:
        return pair(leg(0, p.shares), target_leg(1, -p.shares))
    if trade.size % 17 == 0:
        return cancel()
    return hold()


@mixed.on(Quote)
def on_quote(quote, state, account, p):
    if quote.bid_size % 5 == 0:
        return target(p.shares if quote.bid > state.one[0].mean[quote.instrument] else -p.shares)
    return hold()


@mixed.on(OrderUpdate)
def on_update(update, state, account, p):
    s = state.one[0]
    s.filled += update.last_qty
    if update.status >= 6 and update.status <= 8:
        s.ended += 1
        if s.ended % 3 == 0:
            return target(account[update.instrument].position)
    return hold()


@mixed.on(Every("1s"))
def on_timer(timer, state, account, p):
    if timer.number % 10 == 3:
        return pair(cancel_leg(0), target_leg(1, 0.0))
    return hold()
