"""The fold: a strategy with its parameters, its state and its account, fed with events in research and live alike."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from mdslib.book.seen import mend, with_capacity
from mdslib.errors import DataError, ModelError, ModelRaised
from mdslib.events import RECORD, Kind
from mdslib.instruments import Instrument
from mdslib.jit import as_records, collecting_later, compiling, direct, records
from mdslib.memory import room
from mdslib.protocols import Records
from mdslib.risk import Limits, make_limits
from mdslib.strategy.contract import MAX_INSTRUMENTS, Strategy
from mdslib.strategy.core import BookCore, Core, new_core
from mdslib.strategy.cursor import BY_DELTA, DECIDED, ROW, STOPPED, new_cursor, numbers
from mdslib.strategy.decide import DECISION
from mdslib.strategy.driver import load_driver, strategy_fingerprint
from mdslib.strategy.market import Market, market_of
from mdslib.strategy.shape import Shape
from mdslib.strategy.translate import one_line, reason, where_raised, while_compiling
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

    bounded : bool
        Let the compiled step raise on an index outside its array, which otherwise ends the process; it costs time.

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
        bounded: bool = False,
    ) -> None:
        check_count(strategy, [i.symbol for i in instruments])
        self.strategy = strategy
        self.params = typed_params(strategy, params)
        self.instruments = tuple(instruments)
        self.limits = None if limits is None else make_limits(**limits._asdict())
        self.fingerprint = strategy_fingerprint(strategy)
        hours = np.zeros((0, 2), np.int64) if hours is None else hours
        self.core: Core | BookCore = new_core(self.instruments, self.limits, hours, cash=cash, depth=strategy.levels)
        self._split = split_flips
        self._bounded = bounded
        self.state = state_of(strategy, self.params)
        self.position = 0
        self._cursor = new_cursor()
        self._place = numbers(self._cursor)
        self._out = self._new_out(256)
        self._nothing = self._out[:0].copy()
        self._live: Any = None
        self._live_code: Any = None

    @property
    def account(self) -> Records:
        """The account that the strategy sees: ACCOUNT records, one an instrument."""
        return self.core.account

    def _new_out(self, room: int) -> Records:
        """Return room for decisions: untouched pages cost nothing, and going flat asks for one an instrument."""
        return records(room + 4 * len(self.instruments), DECISION)

    def prepare(self) -> None:
        """Compile the live loop now, and make a signature that was not seen yet an error instead of a long pause.

        Raises
        ------
        ModelError
            Where the model can't be compiled.
        """
        if self._live is None:
            self._live = load_driver(self.strategy, self._shape(self.strategy.market_kinds, single=False))
        if compiling():  # an earlier session's model may have been imported anew since, so its types are others
            self._live.fold_records.disable_compile(False)
        with collecting_later():
            self.feed(np.zeros(0, RECORD))
        if compiling():
            self._live.fold_records.disable_compile()

    def _shape(self, kinds: tuple[Kind, ...], *, single: bool) -> Shape:
        return Shape(kinds, self.limits is not None, single, split=self._split, flatten=True, bounded=self._bounded)

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
        DataError
            Where a record names an instrument that the session does not have.
        """
        code = self._live_code
        if code is None or arrived.dtype != RECORD or not arrived.flags.c_contiguous:
            return self._feed_any(arrived)
        # What `_drive` comes to where the records are folded in one call, as they are but for a flood of decisions.
        place, count, limits = self._place, len(arrived), self.limits or FREE
        place[ROW] = place[DECIDED] = place[STOPPED] = 0
        try:
            code(arrived, self.state, self.core, self.params, limits, self._out, self._cursor)
        except MemoryError:
            raise
        except Exception as error:
            raise self._stopped(error, []) from error
        if place[ROW] < count or place[STOPPED]:
            return self._drive(partial(self._call, code, arrived), count, arrived, begun=True)
        self.position += count
        return _joined([self._out[: place[DECIDED]]]) if place[DECIDED] else self._nothing

    def _feed_any(self, arrived: Records) -> Records:
        """Feed records before the live loop has run, or such as it is not compiled for."""
        if self._live is None:
            self._live = load_driver(self.strategy, self._shape(self.strategy.market_kinds, single=False))
        arrived = as_records(arrived)
        code = self._live.fold_records
        if self._live_code is None:
            # Compiled already, for an earlier fold: Numba's own look-up was seen to miss it, and may compile no more.
            code = self._direct(arrived)
        decisions = self._drive(partial(self._call, code, arrived), len(arrived), arrived)
        if self._live_code is None and compiling():
            self._live_code = self._direct(arrived)
        return decisions

    def _call(self, code: Any, arrived: Records) -> None:
        code(arrived, self.state, self.core, self.params, self.limits or FREE, self._out, self._cursor)

    def _direct(self, arrived: Records) -> Any:
        limits = self.limits or FREE
        code = self._live.fold_records
        return direct(code, arrived, self.state, self.core, self.params, limits, self._out, self._cursor)

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
        for columns in market.columns:
            highest = int(columns.instrument.max(initial=0)) if "instrument" in columns._fields else 0
            if highest >= len(self.instruments):
                raise self._stranger(highest)
        shape = self._shape(market.kinds, single=len(self.instruments) == 1)._replace(marks=market.marks)
        driver = load_driver(self.strategy, shape)
        self._out = room(market.count // 4 + 256 + 4 * len(self.instruments), DECISION)
        with collecting_later():
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
                market,
            )
        self._out = self._new_out(256)  # the old one is the caller's now
        return decisions

    def _stranger(self, instrument: int) -> DataError:
        return DataError(
            f"an event names instrument {instrument}, but the fold of {self.strategy.name!r} has"
            f" {len(self.instruments)} ({', '.join(i.symbol for i in self.instruments)}), numbered from 0"
        )

    def _drive(self, call: Any, count: int, events: Records | Market, *, begun: bool = False) -> Records:
        """Run a driver until it has taken `count` events, growing the room for what it asks for.

        Where it has `begun`, the first call has been made already.
        """
        place, parts = self._place, list[Records]()
        if not begun:
            place[ROW] = place[STOPPED] = 0
        while True:
            if not begun:
                place[DECIDED] = 0
                try:
                    call()
                except MemoryError:
                    raise
                except Exception as error:
                    raise self._stopped(error, parts) from error
            begun = False
            if place[DECIDED]:
                parts.append(self._out[: place[DECIDED]])
            if place[STOPPED] >= BY_DELTA:
                if place[DECIDED]:
                    parts[-1] = parts[-1].copy()  # the next call writes there
                place[STOPPED] = self._mend_book(events, place[ROW], place[STOPPED] - 1)
                continue
            if place[STOPPED] and not isinstance(events, Market):
                raise self._stranger(int(events[place[ROW]]["instrument"]))
            if place[ROW] >= count:
                break
            self._out = self._new_out(4 * len(self._out))
        self.position += count
        if not parts:
            return self._nothing
        return parts[0] if isinstance(events, Market) and len(parts) == 1 else _joined(parts)

    def _mend_book(self, events: Records | Market, row: int, why: int) -> int:
        """Make the books such that the delta of event `row` can be applied; return that nothing stops the driver."""
        assert isinstance(self.core, BookCore)
        if isinstance(events, Market):
            k, price, size = events.delta(row)
        else:
            k, price, size = (events[row][name].item() for name in ("instrument", "f0", "i0"))
        self.core = self.core.with_seen(mend(self.core.seen, why, k, price, size, self.instruments[k].symbol))
        return 0

    def _stopped(self, error: Exception, parts: list[Records]) -> Exception:
        """Return what a driver's error means; `parts` are the decisions of its earlier calls."""
        told = meant(error, self.strategy, self._cursor)
        if isinstance(told, ModelRaised):
            told.decisions = _joined([*parts, self._out[: self._place[DECIDED]]])
        return told

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
            Where it was saved by other code, or with other parameters, instruments or limits.
        """
        name, position, arrays = pickle.loads(saved)
        if name != self.fingerprint:
            raise ModelError(
                f"the saved state is of fingerprint {name}, strategy {self.strategy.name!r} is {self.fingerprint};"
                " fold the tape again with this code instead"
            )
        if isinstance(self.core, BookCore):
            _, (_, capacity), _ = arrays[len(_arrays(self.state)) + BookCore._fields.index("far_key")]
            self.core = self.core.with_seen(with_capacity(self.core.seen, capacity))
        mine = (*_arrays(self.state), *self.core)
        if [(a.dtype.descr, a.shape) for a in mine] != [(descr, shape) for descr, shape, _ in arrays]:
            raise ModelError(
                f"the saved state of strategy {self.strategy.name!r} has other sizes; restore it into a fold with the"
                " parameters, instruments and limits that it was saved with"
            )
        for array, (_, shape, raw) in zip(mine, arrays, strict=True):
            array[...] = np.frombuffer(raw, array.dtype).reshape(shape)
        self.position = position


def check_count(strategy: Strategy, symbols: Sequence[str]) -> None:
    """Raise `ModelError` where a session's instruments are fewer than the strategy trades, or too many."""
    if len(symbols) < strategy.instruments:
        raise ModelError(
            f"strategy {strategy.name!r} trades {strategy.instruments} instruments, received {len(symbols)}"
            f" ({', '.join(symbols) or 'none'}); load them together"
        )
    if len(symbols) > MAX_INSTRUMENTS:
        raise ModelError(f"a session has at most {MAX_INSTRUMENTS} instruments, received {len(symbols)}")


def typed_params(strategy: Strategy, params: Any) -> Any:
    """Return a strategy's parameters in the declared types, for one compilation; None is the defaults."""
    if params is None:
        return strategy.make_params()
    if not isinstance(params, strategy.params):
        raise ModelError(
            f"parameters of strategy {strategy.name!r} must be its {strategy.params.__name__}, received {params!r};"
            " make_params() makes them"
        )
    return strategy.make_params(**params._asdict())


def guarded(call: Any, strategy: Strategy, cursor: Records) -> None:
    """Call a driver; translate Numba's errors, and name the row where a step raised."""
    try:
        call()
    except MemoryError:
        raise
    except Exception as error:
        raise meant(error, strategy, cursor) from error


def meant(error: Exception, strategy: Strategy, cursor: Records) -> Exception:
    """Return what a driver's error says to a person."""
    from numba.core.errors import NumbaError  # here, since the live path asks for nothing that it does not need

    if isinstance(error, NumbaError) or while_compiling(error):
        return one_line(error, strategy)
    row, place = int(cursor[0]["row"]), where_raised(error, strategy)
    return ModelRaised(
        f"model {strategy.name!r} {reason(error)} - at event {row}{place}; the decisions before it stand", row
    )


def _joined(parts: list[Records]) -> Records:
    """Return the parts as one array that nothing else writes to."""
    # As raw bytes: numpy copies structured arrays field by field, 5 us for a single record.
    return as_records(np.concatenate([_raw(part) for part in parts]).view(DECISION))


def _raw(part: Records) -> np.ndarray:
    return np.asarray(part).view(np.ndarray).view(np.uint8)


def _arrays(state: Any) -> tuple[np.ndarray, ...]:
    return tuple(state) if isinstance(state, tuple) else (state,)


def state_of(strategy: Strategy, params: Any) -> Any:
    """Return a fresh state of a strategy, as compiled code takes it."""
    try:
        state = strategy.state(params)
    except Exception as error:
        raise ModelError(
            f"state(params) of strategy {strategy.name!r} raised {type(error).__name__}: {error}"
        ) from error
    return _views(state, strategy)


def _views(state: Any, strategy: Strategy) -> Any:
    """Return a copy of the state, structured arrays as `as_records` gives them; refuse what can't be saved bit for bit.

    A copy, because a model may hand out an array that it keeps: two runs would share it.
    """
    rule = f"the state of strategy {strategy.name!r} must be a numpy array, or a NamedTuple of numpy arrays"
    if isinstance(state, tuple) and not (state and hasattr(state, "_fields")):
        raise ModelError(f"{rule}, received a plain tuple of {len(state)}")
    for array in _arrays(state):
        if not isinstance(array, np.ndarray):
            raise ModelError(f"{rule}, received {type(array).__name__}")
        if array.dtype.hasobject or array.ndim == 0:
            held = "Python objects" if array.dtype.hasobject else "no dimension"
            raise ModelError(f"{rule} of numbers, received one with {held} ({array.dtype})")
    if isinstance(state, tuple):
        return type(state)(*[_own(a) for a in state])
    return _own(state)


def _own(array: np.ndarray) -> np.ndarray:
    own = np.array(array).view(np.ndarray)
    return as_records(own) if own.dtype.names else own
