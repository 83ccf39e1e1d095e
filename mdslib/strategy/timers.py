"""Timers: a strategy's own clock marks, derived from the session and so the same in research and live."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from mdslib.errors import ConfigError

_UNITS = {"ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
_LONGEST = 2.0**62  # ns, 146 years: a time and a duration fit into 64 bits together


def duration_ns(text: str) -> int:
    """Return a duration such as ``1s``, ``250ms``, ``5m`` or ``1.5h`` in nanoseconds.

    Examples
    --------
    >>> duration_ns("5m")
    300000000000
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text.strip()) if isinstance(text, str) else None
    value = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0.5 < value < _LONGEST:
        raise ConfigError(
            f"a duration must be a positive number with ms, s, m or h, received {text!r}; write for example '5m'"
        )
    return round(value)


class Every(NamedTuple):
    """Fire at every multiple of `interval` after the session's open, up to its close.

    Examples
    --------
    >>> Every("1s").interval
    '1s'
    """

    interval: str


class BeforeClose(NamedTuple):
    """Fire once, `lead` before the session's close."""

    lead: str


TimerSpec = Every | BeforeClose


def schedule(timer: TimerSpec, sessions: np.ndarray) -> np.ndarray:
    """Return the firing times of a timer.

    Parameters
    ----------
    timer : Every or BeforeClose
    sessions : numpy.ndarray of int64, shape (n, 2)
        Open and close, ns.

    Returns
    -------
    numpy.ndarray of int64, shape (m,)
        Ascending times, ns.

    Examples
    --------
    >>> schedule(Every("1s"), np.array([[0, 3_000_000_000]])).tolist()
    [1000000000, 2000000000, 3000000000]
    """
    if isinstance(timer, BeforeClose):
        lead = duration_ns(timer.lead)
        return np.array([close - lead for opened, close in sessions if close - lead >= opened], np.int64)
    step = duration_ns(timer.interval)
    parts = [np.arange(opened + step, close + 1, step, dtype=np.int64) for opened, close in sessions]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
