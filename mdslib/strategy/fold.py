"""The fold: a strategy with its parameters, its state and its account, fed with events in research and live alike."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np

from mdslib.errors import ModelError, ModelRaised
from mdslib.events import Kind
from mdslib.instruments import Instrument
from mdslib.jit import as_records, records
from mdslib.protocols import Records
from mdslib.risk import Limits
from mdslib.strategy.contract import Strategy
from mdslib.strategy.decide import DECISION, Core, new_core
from mdslib.strategy.driver import Shape, load_driver, strategy_fingerprint
from mdslib.strategy.market import Market, market_of
from mdslib.strategy.translate import one_line
from mdslib.table import MarketData

FREE = Limits(0.0, 0.0, 0.0, 0, 0.0, 0.0, 0, 0)


class Fold:
    """One run of a strategy over events, in one piece or in as many as they arrive in.

    Parameters
    ----------
    strategy : Strategy
    params : NamedTuple, optional
        The strategy's own type; its defaults otherwise.
    instruments : sequence of Instrument
        In the order that the strategy numbers them.
    limits : Limits, optional
        Checked on every decision; None checks nothing but that an answer is an order at all.
    hours : numpy.ndarray of int64, shape (n, 2), optional
        Sessions, open and close, for the session limit.
    cash : float
        Opening cash.
    split_flips : bool
        Close first, open after the fill, where a decision would flip a position (Alpaca refuses it in one order).

    Raises
    ------
    ModelError
        Where the strategy does not fit the instruments or can't be compiled.
    """

    def __init__(
        self,
        strategy: Strategy,
        params: Any = None,
        *,
        instruments: Sequence[Instrument],
        limits: Limits | None = None,
        hours: np.ndarray | None = None,
        cash: float = 0.0,
        split_flips: bool = False,
    ) -> None:
        if len(instruments) < strategy.instruments:
            named = ", ".join(i.symbol for i in instruments) or "none"
            raise ModelError(
                f"strategy {strategy.name!r} trades {strategy.instruments} instruments, received {len(instruments)} ({named})"
            )
        self.strategy = strategy
        self.params = strategy.make_params() if params is None else params
        self.instruments = tuple(instruments)
        self.limits = limits
        self.fingerprint = strategy_fingerprint(strategy)
        hours = np.zeros((0, 2), np.int64) if hours is None else hours
        self.core: Core = new_core(len(instruments), limits, hours, cash=cash)
        self._split = split_flips
        self.state = state_of(strategy, self.params)
        self.position = 0
        self._cursor = np.zeros(8, np.int64)
        self._out = records(256, DECISION)
        self._live: Any = None

    @property
    def account(self) -> Records:
        """The account that the strategy sees: ACCOUNT records, one an instrument."""
        return self.core.account

    def _shape(self, kinds: tuple[Kind, ...], *, single: bool) -> Shape:
        return Shape(kinds, self.limits is not None, single, split=self._split, flatten=True)

    def feed(self, arrived: Records) -> Records:
        """Fold tape records that have just arrived.

        Parameters
        ----------
        arrived : numpy.ndarray of RECORD
            In tape order, `seq` filled in.

        Returns
        -------
        numpy.ndarray of DECISION
            A copy.

        Raises
        ------
        ModelRaised
            Where the step raised; `row` is the index within `arrived`, and `decisions` on the error hold what stands.
        """
        if self._live is None:
            self._live = load_driver(self.strategy, self._shape(self.strategy.market_kinds, single=False))
        driver, arrived = self._live, as_records(arrived)
        return self._drive(
            lambda: driver.fold_records(
                arrived, self.state, self.core, self.params, self.limits or FREE, self._out, self._cursor
            ),
            len(arrived),
        )

    def run(self, data: MarketData) -> Records:
        """Fold recorded data from its first event to its last; the vectorised path of research.

        Returns
        -------
        numpy.ndarray of DECISION
            `seq` is the index of the event in the merged order, timers included.
        """
        market = market_of(self.strategy, data, self.strategy.market_kinds)
        return self.run_market(market)

    def run_market(self, market: Market) -> Records:
        """Fold columns that `market_of` has prepared."""
        driver = load_driver(self.strategy, self._shape(market.kinds, single=len(self.instruments) == 1))
        self._out = records(market.count // 4 + 256, DECISION)  # untouched pages cost nothing
        decisions = self._drive(
            lambda: driver.fold_columns(
                market.columns,
                market.kind,
                market.row,
                market.count,
                self.state,
                self.core,
                self.params,
                self.limits or FREE,
                self._out,
                self._cursor,
            ),
            market.count,
            copy=False,
        )
        self._out = records(256, DECISION)  # the old one is the caller's now
        return decisions

    def _drive(self, call: Any, count: int, copy: bool = True) -> Records:
        """Run a driver until it has taken `count` events, growing the room for decisions as it asks for it."""
        self._cursor[:] = 0
        parts: list[Records] = []
        while True:
            self._cursor[1] = 0
            try:
                guarded(call, self.strategy, self._cursor)
            except ModelRaised as error:
                error.decisions = _joined([*parts, self._out[: self._cursor[1]]])
                raise
            parts.append(self._out[: self._cursor[1]])
            if self._cursor[0] >= count:
                break
            self._out = records(4 * len(self._out) + 4 * len(self.instruments), DECISION)
        self.position += count
        return _joined(parts) if copy or len(parts) > 1 else parts[0]

    def digest(self) -> str:
        """Return the SHA-256 of everything that later decisions depend on."""
        hashed = hashlib.sha256()
        for array in (*_arrays(self.state), *self.core):
            plain = np.ascontiguousarray(array)
            hashed.update(repr((plain.dtype.descr, plain.shape)).encode())
            hashed.update(plain.tobytes())
        return hashed.hexdigest()

    def save(self) -> bytes:
        """Return state and account as bytes, for `restore` on a fold of the same strategy."""
        arrays = [np.array(a).view(np.ndarray) for a in (*_arrays(self.state), *self.core)]
        return pickle.dumps((self.fingerprint, self.position, [(a.dtype.descr, a.shape, a.tobytes()) for a in arrays]))

    def restore(self, saved: bytes) -> None:
        """Take over what `save` returned; it must come from this program, since it is unpickled.

        Raises
        ------
        ModelError
            Where it was saved by other code.
        """
        name, position, arrays = pickle.loads(saved)
        if name != self.fingerprint:
            raise ModelError(
                f"the saved state is of fingerprint {name}, strategy {self.strategy.name!r} is {self.fingerprint};"
                " fold the tape again with this code instead"
            )
        for array, (_, shape, raw) in zip((*_arrays(self.state), *self.core), arrays, strict=True):
            array[...] = np.frombuffer(raw, array.dtype).reshape(shape)
        self.position = position


def guarded(call: Any, strategy: Strategy, cursor: np.ndarray) -> None:
    """Call a driver; translate Numba's errors, and name the row where a step raised."""
    from numba.core.errors import NumbaError

    try:
        call()
    except NumbaError as error:
        raise one_line(error, strategy) from error
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except Exception as error:
        row = int(cursor[0])
        raise ModelRaised(
            f"model {strategy.name!r} raised {type(error).__name__}: {error} - at event {row}; the decisions before it stand",
            row,
        ) from error


def _joined(parts: list[Records]) -> Records:
    """Return the parts as one array that nothing else writes to."""
    return as_records(np.concatenate(parts))


def _arrays(state: Any) -> tuple[np.ndarray, ...]:
    return tuple(state) if isinstance(state, tuple) else (state,)


def state_of(strategy: Strategy, params: Any) -> Any:
    """Return a fresh state of a strategy, as compiled code takes it."""
    return _views(strategy.state(params))


def _views(state: Any) -> Any:
    """Return the state with structured arrays as `as_records` gives them; refuse what can't be saved bit for bit."""
    for array in _arrays(state):
        if not isinstance(array, np.ndarray) or array.dtype.hasobject:
            raise ModelError(
                f"a state must be a numpy array, or a NamedTuple of numpy arrays, received {type(array).__name__}"
            )
    if isinstance(state, tuple):
        return type(state)(*[as_records(a) if a.dtype.names else a for a in state])
    return as_records(state) if state.dtype.names else state
