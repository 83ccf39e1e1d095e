"""JSON as its standard has it: what is no number there (nan, inf) is null, since other tools refuse the whole file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def dumps(value: Any, **options: Any) -> str:
    """Return a value as strict JSON.

    Parameters
    ----------
    value : object
        NaN and infinities become null, numpy's numbers plain ones, tuples lists.
    **options
        Of `json.dumps`.

    Examples
    --------
    >>> dumps({"equity": float("nan"), "orders": (1, 2.5)})
    '{"equity": null, "orders": [1, 2.5]}'
    """
    return json.dumps(plain(value), allow_nan=False, **options)


def plain(value: Any) -> Any:
    """Return a value with null for what is no number.

    Examples
    --------
    >>> plain([1.5, float("inf")])
    [1.5, None]
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _key(key: Any) -> Any:
    key = key.item() if isinstance(key, np.generic) else key
    return str(key) if isinstance(key, float) and not math.isfinite(key) else key
