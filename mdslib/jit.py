"""The one place where compiler options are set.

Every compiled function of the library, and every building block that a user writes, goes through `jit`. It never caches:
a cached leaf goes on serving old code after something that it calls has been edited. Only the drivers of
`mdslib.strategy.driver` are cached, under a name that covers everything they reach.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

# Intel's short vector math library gives other last bits than libm, so uncompiled runs would differ from compiled ones.
os.environ.setdefault("NUMBA_DISABLE_INTEL_SVML", "1")

import numba
import numpy as np
from numba import njit

from mdslib.protocols import Records

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """Compile a scalar function for use inside a strategy; no fast math, no cache, the interpreter lock released.

    Examples
    --------
    >>> @jit
    ... def ema(previous, x, alpha):
    ...     return previous + (x - previous) * alpha
    >>> ema(1.0, 2.0, 0.5)
    1.5
    """
    compiled: F = njit(nogil=True)(function)
    return compiled


def compiling() -> bool:
    """Tell whether `jit` compiles; False under ``NUMBA_DISABLE_JIT=1``, for a debugger or for coverage."""
    return not numba.config.DISABLE_JIT


def records(count: int, dtype: np.dtype[Any]) -> Records:
    """Return zeroed records whose fields can be read as attributes, compiled or not.

    Compiled code reads attributes of plain structured arrays. Uncompiled code needs `numpy.recarray`, which costs 6 us
    more for each compiled call, so only uncompiled runs get it.
    """
    return as_records(np.zeros(count, dtype))


def as_records(array: np.ndarray[Any, Any]) -> Records:
    """Return a view of a structured array that suits `records`; no copy."""
    if compiling() or isinstance(array, np.recarray):
        return array
    return array.view(np.recarray)
