"""One model with the events that it is checked on, and what a plain fold of them gives."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from mdslib.check.made import made_data, records_of, with_fills
from mdslib.errors import ModelRaised
from mdslib.events import Kind
from mdslib.protocols import Records
from mdslib.strategy import Fold, Strategy
from mdslib.strategy.market import Market, market_of
from mdslib.table import MarketData


class Outcome(NamedTuple):
    """What a fold of a whole tape gives: its decisions, and every array of its state by name."""

    decisions: Records
    state: dict[str, np.ndarray]


class Case:
    """A model under check.

    Parameters
    ----------
    strategy : Strategy
    params : NamedTuple, optional
        The strategy's own; its defaults otherwise.
    events : int
        How many made events.
    seed : int
        Of the events and of everything else that is drawn.
    data : MarketData, optional
        Real data instead of made events.
    """

    def __init__(
        self,
        strategy: Strategy,
        params: Any = None,
        *,
        events: int = 5000,
        seed: int = 1,
        data: MarketData | None = None,
    ) -> None:
        self.strategy = strategy
        self.params = strategy.make_params() if params is None else params
        self.seed = seed
        self.data = made_data(strategy, events, seed) if data is None else data

    def fold(self) -> Fold:
        """Return a fresh fold."""
        return Fold(self.strategy, self.params, instruments=self.data.instruments, cash=100_000.0)

    def random(self) -> np.random.Generator:
        """Return a generator that draws the same numbers for the same seed."""
        return np.random.default_rng([self.seed, 7])

    @functools.cached_property
    def market(self) -> Market:
        """The events as columns, timers merged in."""
        return market_of(self.strategy, self.data, self.strategy.market_kinds or (Kind.TRADE,))

    @functools.cached_property
    def tape(self) -> Records:
        """The events as records, with the fates of the model's own orders."""
        tape = with_fills(self.fold(), records_of(self.market), self.seed)
        tape.flags.writeable = False
        return tape

    @functools.cached_property
    def whole(self) -> Outcome:
        """What folding the tape in one piece gives."""
        return self.run([len(self.tape)])

    def run(self, ends: list[int], fold: Fold | None = None) -> Outcome:
        """Fold the tape in pieces that end at these rows, on a fresh fold or on a given one."""
        fold = fold or self.fold()
        start = fold.position
        parts = []
        for end in ends:
            parts.append(fold.feed(self.tape[start:end].copy()))
            start = end
        return Outcome(np.concatenate(parts), snapshot(fold))


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


__all__ = ["Case", "ModelRaised", "Outcome", "differ", "differ_decisions", "differ_state", "snapshot"]
