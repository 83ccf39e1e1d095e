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
_GLANCE = 4_096  # prices of which a grid is told first, to be tried on all: sorting all takes long


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
    found = np.abs(np.concatenate([np.zeros(0), *prices]))
    found = found[np.isfinite(found)]
    grid = _grid(np.unique(found[:: max(1, len(found) // _GLANCE)]))
    if grid is None or not _suits(found, *grid):
        grid = _grid(np.unique(found))
    return instrument if grid is None else dataclasses.replace(instrument, tick=grid[1] / 10 ** grid[0])


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


def _grid(distinct: Array) -> tuple[int, int] | None:
    """Return the decimal places of the coarsest grid that holds all, and its step in units of the last place."""
    if len(distinct) < LEAST:
        return None
    for places in range(_FINEST):
        if _suits(distinct, places, 1):
            return places, int(np.gcd.reduce(np.rint(distinct * 10.0**places).astype("<i8")))
    return None


def _suits(prices: Array, places: int, step: int) -> bool:
    whole = np.rint(prices * 10.0**places)
    if not bool((whole < _EXACT).all() and (whole / 10.0**places == prices).all()):
        return False
    return step == 1 or not (whole.astype("<i8") % step).any()


__all__ = ["LEAST", "common_step", "with_step"]
