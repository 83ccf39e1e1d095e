"""What a fold of a whole tape gives, and where two of them differ."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mdslib.protocols import Records
from mdslib.strategy import Fold


class Outcome(NamedTuple):
    """What a fold of a whole tape gives: its decisions, and every array of its state by name."""

    decisions: Records
    state: dict[str, np.ndarray]


def snapshot(fold: Fold) -> dict[str, np.ndarray]:
    """Return copies of every array that later decisions depend on, by the name that a person would use."""
    state: Any = fold.state
    if isinstance(state, tuple):
        named = {f"state.{name}": array for name, array in state._asdict().items()}  # type: ignore[attr-defined]
    else:
        named = {"state": state}
    named |= fold.core._asdict()
    return {name: np.array(array).view(np.ndarray) for name, array in named.items()}


def differ(one: Outcome, other: Outcome) -> str:
    """Return the first difference of two outcomes, decisions before state, or an empty text."""
    return differ_decisions(one.decisions, other.decisions) or differ_state(one.state, other.state)


def differ_decisions(one: Records, other: Records) -> str:
    """Return the first difference of two arrays of decisions, field by field and bit for bit."""
    for number in range(min(len(one), len(other))):
        if one[number].tobytes() == other[number].tobytes():
            continue
        for name in one.dtype.names or ():
            a, b = np.asarray(one[number][name]), np.asarray(other[number][name])
            if a.tobytes() != b.tobytes():
                where = f"decision {number} (on event {int(one[number]['seq'])})"
                return f"{where} has {name} {a.tolist()!r} against {b.tolist()!r}"
    if len(one) != len(other):
        longer = one if len(one) > len(other) else other
        extra = int(longer[min(len(one), len(other))]["seq"])
        return f"{len(one)} decisions against {len(other)}, apart from event {extra} on"
    return ""


def differ_state(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> str:
    """Return the first difference of two snapshots."""
    for name, mine in one.items():
        yours = other[name]
        if mine.shape != yours.shape or mine.dtype != yours.dtype:
            return f"{name} has shape {mine.shape} of {mine.dtype} against {yours.shape} of {yours.dtype}"
        if mine.tobytes() == yours.tobytes():
            continue
        for field in mine.dtype.names or ("",):
            a, b = (mine[field], yours[field]) if field else (mine, yours)
            rows = [row for row in range(len(a)) if a[row].tobytes() != b[row].tobytes()]
            if rows:
                where = f"{name}[{rows[0]}]" + (f".{field}" if field else "")
                return f"{where} is {a[rows[0]].tolist()!r} against {b[rows[0]].tolist()!r} at the end"
    return ""
