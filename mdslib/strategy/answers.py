"""What a strategy's step returns: one plain form for every answer, of two legs.

Quantities are floats in units (shares), positive: a `buy` or `sell` of nothing, or of less, is no valid order. `target`
takes a signed position. A limit price of nan is a market
order. Every function here is compiled and may be called from a step or from plain Python.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from mdslib.events import TimeInForce, Verb
from mdslib.jit import jit_open

_HOLD, _ORDER, _TARGET, _CANCEL = int(Verb.HOLD), int(Verb.ORDER), int(Verb.TARGET), int(Verb.CANCEL)
DAY, GTC, IOC = int(TimeInForce.DAY), int(TimeInForce.GTC), int(TimeInForce.IOC)
THIS = -1  # the instrument of the event
NAN = math.nan


class Leg(NamedTuple):
    """One order, target or cancelation; `instrument` -1 is the event's own, `qty` is signed."""

    verb: int
    instrument: int
    qty: float
    limit: float
    tif: int


class Answer(NamedTuple):
    """Both legs of an answer; an unused leg holds."""

    first: Leg
    second: Leg


IDLE = Leg(_HOLD, THIS, 0.0, NAN, DAY)


@jit_open
def hold() -> Answer:
    """Do nothing."""
    return Answer(IDLE, IDLE)


@jit_open
def buy(qty: float, limit: float = NAN, tif: int = DAY) -> Answer:
    """Buy `qty` units of the event's instrument, at the market or at `limit`.

    Examples
    --------
    >>> buy(5.0).first.qty
    5.0
    """
    units = qty * 1.0
    return Answer(Leg(_ORDER, THIS, units if units >= 0.0 else NAN, limit * 1.0, tif), IDLE)


@jit_open
def sell(qty: float, limit: float = NAN, tif: int = DAY) -> Answer:
    """Sell `qty` units of the event's instrument, at the market or at `limit`.

    Examples
    --------
    >>> sell(5.0).first.qty
    -5.0
    """
    units = qty * 1.0
    return Answer(Leg(_ORDER, THIS, -units if units >= 0.0 else NAN, limit * 1.0, tif), IDLE)


@jit_open
def target(position: float, limit: float = NAN, tif: int = DAY) -> Answer:
    """Bring the event's instrument to a signed position, open orders counted; nothing where it is there already."""
    return Answer(Leg(_TARGET, THIS, position * 1.0, limit * 1.0, tif), IDLE)


@jit_open
def cancel() -> Answer:
    """Cancel this model's working orders on the event's instrument."""
    return Answer(Leg(_CANCEL, THIS, 0.0, NAN, DAY), IDLE)


@jit_open
def leg(instrument: int, qty: float, limit: float = NAN, tif: int = DAY) -> Leg:
    """Return an order for one leg of a `pair`; `qty` is signed."""
    return Leg(_ORDER, instrument, qty * 1.0, limit * 1.0, tif)


@jit_open
def target_leg(instrument: int, position: float, limit: float = NAN, tif: int = DAY) -> Leg:
    """Return a target for one leg of a `pair`; `position` is signed."""
    return Leg(_TARGET, instrument, position * 1.0, limit * 1.0, tif)


@jit_open
def cancel_leg(instrument: int) -> Leg:
    """Return a cancelation for one leg of a `pair`."""
    return Leg(_CANCEL, instrument, 0.0, NAN, DAY)


@jit_open
def pair(first: Leg, second: Leg) -> Answer:
    """Answer with two legs on one event, sent in this order."""
    return Answer(first, second)
