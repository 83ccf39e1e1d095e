"""Everything that the contract has, rightly used: four kinds, timers, two instruments, two legs, limit prices."""

from typing import NamedTuple

import numpy as np

from mdslib import (
    IOC,
    Bar,
    BeforeClose,
    Every,
    OrderUpdate,
    Quote,
    Trade,
    buy,
    cancel,
    hold,
    leg,
    pair,
    records,
    strategy,
    target,
    target_leg,
)

STATE = np.dtype([("mean", "<f8"), ("count", "<i8"), ("fills", "<i8"), ("last", "<f8", (2,))])


class Params(NamedTuple):
    every: int = 40
    shares: float = 10.0
    limits: bool = True


class State(NamedTuple):
    one: np.ndarray
    window: np.ndarray


def new_state(p):
    return State(records(1, STATE), np.zeros(p.every))


@strategy(on=Trade, params=Params, state=new_state, instruments=2)
def good_one(trade, state, account, p):
    s = state.one[0]
    s.count += 1
    s.mean += (trade.price - s.mean) / s.count
    s.last[trade.instrument] = trade.price
    state.window[s.count % p.every] = trade.price
    if s.count % p.every == 0 and p.limits:
        return buy(p.shares, trade.price, IOC)
    if s.count % p.every == 1:
        return pair(leg(0, p.shares), target_leg(1, -p.shares))
    return hold()


@good_one.on(Quote)
def on_quote(quote, state, account, p):
    if quote.bid_size > 3000:
        return target(-p.shares)
    return hold()


@good_one.on(Bar)
def on_bar(bar, state, account, p):
    if bar.volume % 7 == 0 and account[bar.instrument].position > 0.0:
        return target(0.0)
    return hold()


@good_one.on(OrderUpdate)
def on_update(update, state, account, p):
    if update.last_qty != 0.0:
        state.one[0].fills += 1
    if state.one[0].fills % 10 == 9:
        return cancel()
    return hold()


@good_one.on(Every("10s"))
def on_timer(timer, state, account, p):
    if timer.number % 5 == 0:
        return target(p.shares)
    return hold()


@good_one.on(BeforeClose("5m"))
def on_end(timer, state, account, p):
    return target(0.0)
