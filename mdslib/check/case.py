"""One model with the events that it is checked on, and what a plain fold of them gives."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from mdslib.arguments import whole
from mdslib.check.made import made_data, records_of, with_fills
from mdslib.check.outcome import Outcome, snapshot
from mdslib.check.uncompiled import Plain, Uncompiled
from mdslib.errors import ConfigError
from mdslib.events import Kind
from mdslib.protocols import Records
from mdslib.strategy import Fold, Strategy
from mdslib.strategy.fold import typed_params
from mdslib.strategy.market import Market, market_of
from mdslib.table import MarketData

MOST = 10_000_000  # events


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
        self.params = typed_params(strategy, params)
        self.seed = whole("check_model(seed=...)", seed, least=0)
        events = whole("check_model(events=...)", events, least=1, most=MOST)
        if data is not None and not isinstance(data, MarketData):
            raise ConfigError(f"check_model(data=...) must be what mdslib.load returns, received {type(data).__name__}")
        self.data = made_data(strategy, events, self.seed) if data is None else data

    def fold(self) -> Fold:
        """Return a fresh fold."""
        bounded = not self.in_file  # an index outside its array would end this process
        return Fold(self.strategy, self.params, instruments=self.data.instruments, cash=100_000.0, bounded=bounded)

    @property
    def in_file(self) -> bool:
        """Whether another process can find the model, so that it is run uncompiled first."""
        return self.strategy.file.endswith(".py") and Path(self.strategy.file).is_file()

    def random(self) -> np.random.Generator:
        """Return a generator that draws the same numbers for the same seed."""
        return np.random.default_rng([self.seed, 7])

    @functools.cached_property
    def market(self) -> Market:
        """The events as columns, timers merged in."""
        return market_of(self.strategy, self.data, self.strategy.market_kinds or (Kind.TRADE,))

    @functools.cached_property
    def events(self) -> Records:
        """The events as records."""
        return records_of(self.market)

    @functools.cached_property
    def plain(self) -> Plain | None:
        """What came of the uncompiled run; None where the model is in no file of its own."""
        if not self.in_file:
            return None
        uncompiled = Uncompiled(self.strategy, self.params, self.data.instruments, self.events, self.seed)
        try:
            self.fold().feed(self.events[:0])  # compiled meanwhile, which takes about as long
        except BaseException:
            uncompiled.drop()
            raise
        return uncompiled.wait()

    @functools.cached_property
    def tape(self) -> Records:
        """The events as records, with the fates of the model's own orders.

        The orders are those of the uncompiled run, where there is one and it went well.
        """
        known = self.plain
        tape = known.tape if known is not None else None
        if tape is None:
            tape = with_fills(self.fold(), self.events, self.seed)
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
