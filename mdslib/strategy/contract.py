"""The contract: `@strategy` turns one scalar function into a model that research, back-test and live run unchanged."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mdslib.errors import ModelError, did_you_mean
from mdslib.events import Bar, Book, Kind, OrderUpdate, Quote, Trade
from mdslib.strategy.timers import BeforeClose, Every, TimerSpec, duration_ns

Step = Callable[..., Any]
EventKey = type[Trade] | type[Quote] | type[Bar] | type[Book] | type[OrderUpdate]
KINDS: dict[object, Kind] = {
    Trade: Kind.TRADE,
    Quote: Kind.QUOTE,
    Bar: Kind.BAR,
    Book: Kind.BOOK_DELTA,
    OrderUpdate: Kind.UPDATE,
}
MARKET_KINDS = (Kind.TRADE, Kind.QUOTE, Kind.BAR, Kind.BOOK_DELTA)


MAX_INSTRUMENTS = 200  # a close at the end of the day numbers its leg by the instrument, and a leg is one byte
DEPTH, MAX_DEPTH = 10, 1000  # levels of a side of a book: unless it is said, and at most


class NoParams(NamedTuple):
    """The parameters of a strategy that has none; the field exists because compiled code can't take an empty tuple."""

    unused: int = 0


def no_state(_params: Any) -> np.ndarray:
    """Return the state of a strategy that keeps none."""
    return np.zeros(1, np.int64)


@dataclass
class Strategy:
    """A model: one step function for each kind of event that it takes.

    Made by `strategy`; users rarely construct one. Calling it calls its first step, uncompiled, for tests.

    Attributes
    ----------
    name : str
        The function's name.
    params : type
        NamedTuple of the parameters, with defaults.
    state : callable
        ``state(params)`` returns a structured array of one record, or a NamedTuple of arrays.
    instruments : int
        How many instruments it trades.
    steps : dict
        Market kind or `Kind.UPDATE` to step function.
    timers : list of (Every or BeforeClose, step function)
    orders_on_backfill : bool
        Its orders go out while a gap is being filled in, too.
    depth : int or None
        Levels of a side of an order book that its step sees, where it was said; see `levels`.
    """

    name: str
    params: type[Any]
    state: Callable[[Any], Any]
    instruments: int
    steps: dict[Kind, Step] = field(default_factory=dict)
    timers: list[tuple[TimerSpec, Step]] = field(default_factory=list)
    doc: str = ""
    module: str = ""
    file: str = ""
    line: int = 0
    orders_on_backfill: bool = False
    depth: int | None = None

    def on(self, event: EventKey | TimerSpec) -> Callable[[Step], Step]:
        """Add a step for another kind of event, or for a timer.

        Examples
        --------
        >>> @strategy(on=Trade)
        ... def quiet(trade, state, account, p):
        ...     return hold()
        >>> @quiet.on(Every("1s"))
        ... def tick(timer, state, account, p):
        ...     return hold()
        >>> len(quiet.timers)
        1
        """

        def add(function: Step) -> Step:
            self._add(event, function)
            return function

        return add

    def _add(self, event: EventKey | TimerSpec, function: Step) -> None:
        where = f"strategy {self.name!r}, step {getattr(function, '__name__', function)!r}"
        python = getattr(function, "py_func", function)
        if not inspect.isfunction(python):
            raise ModelError(f"{where} must be a function, received {type(function).__name__}")
        count = len(inspect.signature(python).parameters)
        if count != 4:
            raise ModelError(f"{where} must take (event, state, account, p), received {count} parameters")
        if isinstance(event, Every | BeforeClose):
            duration_ns(event[0])
            if len(self.timers) == 8:
                raise ModelError(f"{where}: a strategy takes at most 8 timers")
            self.timers.append((event, python))
            return
        kind = KINDS.get(event) if isinstance(event, type) else None
        if kind is None:
            raise ModelError(
                f"{where}: on= must be Trade, Quote, Bar, Book, OrderUpdate, Every('1s') or BeforeClose('5m'),"
                f" received {event!r}"
            )
        if kind in self.steps:
            raise ModelError(f"{where}: {kind.name} has a step already; one step function for each kind")
        self.steps[kind] = python

    @property
    def market_kinds(self) -> tuple[Kind, ...]:
        """The kinds of market events that it takes, in the order TRADE, QUOTE, BAR, BOOK_DELTA."""
        return tuple(kind for kind in MARKET_KINDS if kind in self.steps)

    @property
    def levels(self) -> int:
        """Levels of a side of an order book that its step sees; 0 where it takes no books."""
        if Kind.BOOK_DELTA in self.steps:
            return self.depth or DEPTH
        if self.depth is not None:
            raise ModelError(
                f"strategy {self.name!r}: depth={self.depth!r} is for a step on Book, and it has none; leave it out"
            )
        return 0

    def make_params(self, **values: Any) -> Any:
        """Return the parameters with some defaults replaced, converted to the declared types.

        Raises
        ------
        ModelError
            For an unknown name or a value of another type.
        """
        typed = {name: self._typed(name, value) for name, value in values.items()}
        missing = [n for n in self.params._fields if n not in typed and n not in self.params._field_defaults]
        if missing:
            raise ModelError(
                f"strategy {self.name!r} needs a value for {', '.join(missing)}; pass it, or give it a default"
            )
        defaults = {n: self._typed(n, v) for n, v in self.params._field_defaults.items() if n not in typed}
        return self.params(**defaults, **typed)

    def _typed(self, name: str, value: Any) -> Any:
        if name not in self.params._fields:
            raise ModelError(
                f"strategy {self.name!r} has no parameter {name!r}. {did_you_mean(name, self.params._fields)}"
            )
        kind = _declared(self.params, name)
        try:
            if kind is bool and isinstance(value, str):
                return {"true": True, "false": False, "1": True, "0": False}[value.lower()]
            converted = kind(value)
            if kind is not float and not isinstance(value, str) and value != converted:
                raise ValueError(value)
            if kind is int and not -(2**63) <= converted < 2**63:
                raise ValueError(value)
        except (TypeError, ValueError, KeyError, OverflowError):
            raise ModelError(
                f"parameter {name!r} of strategy {self.name!r} must be {kind.__name__}, received {value!r}"
            ) from None
        default = self.params._field_defaults.get(name, 0.0)
        if isinstance(value, str) and kind is float and not math.isfinite(converted) and math.isfinite(default):
            raise ModelError(
                f"parameter {name!r} of strategy {self.name!r} must be a finite number, received {value!r};"
                " only one whose default is nan or inf may be so"
            )
        return converted

    def __call__(self, event: Any, state: Any, account: Any, p: Any) -> Any:
        """Run the first step once, uncompiled unless numba compiled it."""
        first = next(iter(self.steps.values())) if self.steps else self.timers[0][1]
        return first(event, state, account, p)


def _declared(params: type[Any], name: str) -> type[Any]:
    """Return the declared scalar type of a parameter."""
    known: dict[object, type[Any]] = {int: int, float: float, bool: bool, "int": int, "float": float, "bool": bool}
    hint = params.__annotations__.get(name)
    hint = getattr(hint, "__forward_arg__", hint)  # a module with `from __future__ import annotations`
    if hint not in known:
        raise ModelError(
            f"parameter {name!r} of {params.__name__} must be declared int, float or bool, received {hint!r}"
        )
    return known[hint]


def strategy(
    on: EventKey | TimerSpec,
    params: type[Any] = NoParams,
    state: Callable[[Any], Any] = no_state,
    instruments: int = 1,
    orders_on_backfill: bool = False,
    depth: int | None = None,
) -> Callable[[Step], Strategy]:
    """Declare a strategy.

    Parameters
    ----------
    on : Trade, Quote, Bar, Book, OrderUpdate, Every or BeforeClose
        What the decorated step takes; add others with ``@name.on(...)``.
    params : type
        NamedTuple of int, float and bool fields with defaults.
    state : callable
        ``state(params)`` returns what the model remembers: `records(1, dtype)`, or a NamedTuple of that and arrays.
    instruments : int
        How many instruments it trades; they are numbered in the order that the session names them.
    orders_on_backfill : bool
        Where a live feed had a gap, the missed events are filled in and reach the model, and its orders are denied as
        BACKFILL until the feed is whole again. True lets them through: late, on old prices.
    depth : int
        How many levels of each side a step on `Book` sees; 10 unless it is said.

    Returns
    -------
    callable
        Decorator that returns a `Strategy`.

    Raises
    ------
    ModelError
        Where the declaration breaks a rule of the contract.

    Examples
    --------
    >>> @strategy(on=Trade)
    ... def quiet(trade, state, account, p):
    ...     return hold()
    >>> quiet.name, [kind.name for kind in quiet.market_kinds]
    ('quiet', ['TRADE'])
    """
    if not (isinstance(params, type) and issubclass(params, tuple) and hasattr(params, "_fields") and params._fields):
        raise ModelError(
            f"strategy(params=...) must be a NamedTuple class with at least one field, received {params!r}"
        )
    for name in params._fields:
        _declared(params, name)
    if not isinstance(instruments, int) or not 1 <= instruments <= MAX_INSTRUMENTS:
        raise ModelError(f"strategy(instruments=...) must be from 1 to {MAX_INSTRUMENTS}, received {instruments!r}")
    if not callable(state):
        raise ModelError(f"strategy(state=...) must be a function of the parameters, received {state!r}")
    if depth is not None and (not isinstance(depth, int) or not 1 <= depth <= MAX_DEPTH):
        raise ModelError(f"strategy(depth=...) must be from 1 to {MAX_DEPTH}, received {depth!r}")
    if inspect.isfunction(on):
        raise ModelError(f"strategy {on.__name__!r} does not say what it takes; write @strategy(on=Trade) above it")

    def declare(function: Step) -> Strategy:
        python = getattr(function, "py_func", function)
        made = Strategy(
            name=python.__name__,
            params=params,
            state=state,
            instruments=instruments,
            doc=(inspect.getdoc(python) or inspect.getdoc(inspect.getmodule(python)) or "").partition("\n")[0],
            module=python.__module__,
            file=python.__code__.co_filename,
            line=python.__code__.co_firstlineno,
            orders_on_backfill=bool(orders_on_backfill),
            depth=depth,
        )
        made._add(on, python)
        return made

    return declare
