"""Checking what a public function was called with: numbers that are numbers, of the right size, and whole where due."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mdslib.errors import ConfigError


def number(where: str, value: Any, least: float = -math.inf, most: float = math.inf) -> float:
    """Return a finite number from `least` to `most` as a float.

    Parameters
    ----------
    where : str
        What was given, for the error: ``backtest(cash=...)``.
    value : object
        What came.

    Raises
    ------
    ConfigError
        Where it is no such number; true and false are none.

    Examples
    --------
    >>> number("backtest(cash=...)", 5, least=0)
    5.0
    >>> number("backtest(cash=...)", "5", least=0)
    Traceback (most recent call last):
        ...
    mdslib.errors.ConfigError: backtest(cash=...) must be a finite number >= 0, received '5'
    """
    if _is_number(value) and math.isfinite(value) and least <= value <= most:
        return float(value)
    raise ConfigError(f"{where} must be a finite number{_range(least, most)}, received {value!r}")


def whole(where: str, value: Any, least: int = -(2**63), most: int = 2**63 - 1) -> int:
    """Return a whole number from `least` to `most` as an int.

    Examples
    --------
    >>> whole("check_model(events=...)", 2.0, least=1)
    2
    >>> whole("check_model(events=...)", 0.5, least=1)
    Traceback (most recent call last):
        ...
    mdslib.errors.ConfigError: check_model(events=...) must be a whole number >= 1, received 0.5
    """
    if _is_number(value) and math.isfinite(value) and value == int(value) and least <= value <= most:
        return int(value)
    raise ConfigError(f"{where} must be a whole number{_range(least, most)}, received {value!r}")


def flag(where: str, value: Any) -> bool:
    """Return true or false.

    Examples
    --------
    >>> flag("load(extended=...)", True)
    True
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ConfigError(f"{where} must be True or False, received {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _range(least: float, most: float) -> str:
    low, high = least > -(2**63), most < 2**63 - 1
    if low and high:
        return f" from {_said(least)} to {_said(most)}"
    return f" >= {_said(least)}" if low else f" <= {_said(most)}" if high else ""


def _said(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"
