"""The price step of a pair whose venue does not say it: the coarsest on which all its prices of a day lie.

Venues tell their steps elsewhere than in their streams, one changes it with the price, and all change it now and then.
What was recorded is always at hand, and a step that is told from it suits the data by itself. It may be coarser than
the venue's where few prices were seen, so it is told only of many.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

from mdslib.instruments import UNTOLD_TICK, Instrument
from mdslib.table import Array

LEAST = 50  # distinct prices; with fewer, a step that is too coarse could come by chance
_FINEST = 9  # decimal places: those of UNTOLD_TICK
_EXACT = 2.0**53


def with_step(instrument: Instrument, prices: Iterable[Array]) -> Instrument:
    """Return an instrument with the step on which its prices lie, where its own is not known.

    Parameters
    ----------
    instrument : Instrument
        Of whom the prices are; one whose tick is known is returned as it is.
    prices : iterable of array of float
        In its currency; nan is no price.

    Examples
    --------
    >>> from mdslib.instruments import parse_instrument
    >>> with_step(parse_instrument("bitmex:XBTUSD"), [np.arange(60_000.0, 60_100.0, 0.5)]).tick
    0.5
    """
    if instrument.tick != UNTOLD_TICK:
        return instrument
    distinct = np.unique(np.concatenate([np.zeros(0), *map(np.unique, prices)]))
    distinct = np.abs(distinct[np.isfinite(distinct)])
    return instrument if len(distinct) < LEAST else dataclasses.replace(instrument, tick=_step(distinct))


def common_step(ticks: Sequence[float]) -> float:
    """Return the coarsest step on whose grid several grids lie.

    Examples
    --------
    >>> common_step([0.5, 0.2]), common_step([1e-9, 0.5])
    (0.1, 1e-09)
    """
    steps = [Fraction(repr(tick)) for tick in set(ticks)]
    shared = math.lcm(*(step.denominator for step in steps))
    return float(Fraction(math.gcd(*(int(step * shared) for step in steps)), shared))


def _step(distinct: Array) -> float:
    for places in range(_FINEST):
        whole = np.rint(distinct * 10.0**places)
        if (whole < _EXACT).all() and bool((whole / 10.0**places == distinct).all()):
            return int(np.gcd.reduce(whole.astype("<i8"))) / 10**places or UNTOLD_TICK
    return UNTOLD_TICK


__all__ = ["LEAST", "common_step", "with_step"]
