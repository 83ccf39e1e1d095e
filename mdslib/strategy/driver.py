"""Drivers: the compiled loops around a model's step, generated as a small module for each model and cached.

One source serves every model; what a model or a run does not need is left out of the text, so that it is neither
compiled nor paid for. The file's name is the fingerprint of all that the driver reaches, so Numba's cache of it can't
be stale. The three loops are built from the same `take` functions:

* `fold_columns`: research, over columns of one kind or of several kinds merged;
* `fold_records`: live, over whatever records have just arrived;
* `backtest_columns`: research with matching, the venue's rules and fees.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from mdslib import matching
from mdslib.book.seen import take_delta
from mdslib.errors import ModelError
from mdslib.events import EVENT_TYPES, SCHEMAS, Kind, OrderUpdate, Timer
from mdslib.flat import Flat, jit_flat
from mdslib.jit import borrow, checking_bounds, compiling, jit_bounded, jit_inner, read_only
from mdslib.strategy import decide
from mdslib.strategy.contract import Strategy
from mdslib.strategy.fingerprint import fingerprint, reached_names
from mdslib.strategy.inline import reached_objects, write_out
from mdslib.strategy.shape import Shape
from mdslib.strategy.source import HEAD, marking_kind, take_update
from mdslib.strategy.source_backtest import backtest
from mdslib.strategy.source_fold import folds


class TradeColumns(NamedTuple):
    """Columns of trades, in the order of `Trade`."""

    ts_event: Any
    instrument: Any
    price: Any
    size: Any
    trade_id: Any
    exchange: Any
    conditions: Any


class QuoteColumns(NamedTuple):
    """Columns of quotes, in the order of `Quote`."""

    ts_event: Any
    instrument: Any
    bid: Any
    ask: Any
    bid_size: Any
    ask_size: Any


class BarColumns(NamedTuple):
    """Columns of bars, in the order of `Bar`."""

    ts_event: Any
    instrument: Any
    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any
    trades: Any
    vwap: Any


class BookColumns(NamedTuple):
    """Columns of book deltas, in the order that the kernel takes them."""

    ts_event: Any
    instrument: Any
    price: Any
    size: Any
    flags: Any


class TimerColumns(NamedTuple):
    """Columns of timers: time, which timer, how often it has fired."""

    ts_event: Any
    timer: Any
    number: Any


class MarkColumns(NamedTuple):
    """Columns of what keeps orders back: its kind, its code, and whether it is a price band."""

    ts_event: Any
    instrument: Any
    what: Any
    code: Any
    luld: Any


COLUMNS: dict[Kind, type[Any]] = {
    Kind.TRADE: TradeColumns,
    Kind.QUOTE: QuoteColumns,
    Kind.BAR: BarColumns,
    Kind.BOOK_DELTA: BookColumns,
    Kind.TIMER: TimerColumns,
}


def cache_folder() -> Path:
    """Return the folder of generated drivers: ``$MDSLIB_CACHE_DIR``, else the user's cache folder."""
    base = os.environ.get("MDSLIB_CACHE_DIR")
    if base:
        return Path(base) / "drivers"
    return Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "mdslib" / "drivers"


# Long kernels that a driver calls from several places, of orders that a limit denies or that wait for a close.
APART = ("check_limits", "release")


def strategy_fingerprint(strategy: Strategy) -> str:
    """Return the name of everything that the strategy's decisions depend on, its parameters' values aside."""
    functions = [*strategy.steps.values(), *(step for _, step in strategy.timers), strategy.state]
    timers = tuple((type(timer).__name__, timer[0]) for timer, _ in strategy.timers)
    kinds = tuple(int(kind) for kind in strategy.steps)
    fields = tuple((n, str(strategy.params.__annotations__[n])) for n in strategy.params._fields)
    return fingerprint(functions, kinds, timers, fields, strategy.instruments, strategy.levels, _kernels_mark())


@functools.cache
def _kernels_mark() -> str:
    """Return the fingerprint of the library's own kernels: they don't change while it runs, and a walk costs 1 ms."""
    return fingerprint([*_kernels().values(), take_delta, write_out], APART)


def _kernels() -> dict[str, Callable[..., Any]]:
    """Return the library's kernels that drivers call, by the names that the source uses."""
    kernels = (
        decide.asks,
        decide.note,
        decide.reserve,
        decide.free,
        decide.by_state,
        decide.by_limits,
        decide.split_flip,
        decide.drop_parked,
        decide.book,
        decide.release,
        decide.flatten,
        decide.resume,
        decide.hold_orders,
        decide.restrict,
        decide.take_status,
        matching.match,
        matching.accept,
        matching.refuse,
        matching.end_orders,
        matching.works_from,
        matching.write_fill,
    )
    return {kernel.__name__: kernel for kernel in kernels}


@functools.cache
def _reached() -> dict[str, Any]:
    """Return the kernels and all that they name: what a driver's text may mention."""
    return _kernels() | reached_objects(_kernels().values())


def driver_source(strategy: Strategy, shape: Shape) -> str:
    """Return the source text of a driver for a strategy and a shape, with calls of kernels."""
    loops = backtest(strategy, shape) if shape.backtest else folds(strategy, shape)
    return "\n".join([HEAD, take_update(strategy, shape), *loops])


_loaded: dict[tuple[object, ...], ModuleType] = {}  # by all that decides their text


def load_driver(strategy: Strategy, shape: Shape, mark: str = "") -> ModuleType:
    """Return the driver module of a strategy for a shape; generated, compiled and cached as needed.

    Parameters
    ----------
    strategy : Strategy
    shape : Shape
    mark : str
        The strategy's fingerprint, where the caller has just made it.

    Raises
    ------
    ModelError
        Where the cache folder can't be written.
    """
    mark = mark or strategy_fingerprint(strategy)
    place = mark, shape, strategy.module, strategy.params.__module__, compiling(), checking_bounds()
    module = _loaded.get(place)
    if module is None or not _same_steps(module, strategy):
        source = driver_source(strategy, shape._replace(late=_marks_late(strategy, shape, mark)))
        if not _importable(strategy):
            source = source.replace("cache=True, ", "")
        name = "driver_" + fingerprint([], source, *place)
        module = _load(name, source, _names(strategy, jit_bounded if shape.bounded else jit_inner))
        _loaded[place] = module
    return module


_mentioned: dict[str, set[str]] = {}  # by fingerprint: the names that the steps and all they reach mention


def _mentions(strategy: Strategy, mark: str, *names: str) -> bool:
    """Tell whether a strategy's code mentions one of some names."""
    if mark not in _mentioned:
        steps = [*strategy.steps.values(), *(step for _, step in strategy.timers)]
        _mentioned[mark] = reached_names(steps)
    return not _mentioned[mark].isdisjoint(names)


def seems_plain(strategy: Strategy, mark: str) -> bool:
    """Tell whether a strategy looks as if it sent market orders only, and no cancels.

    A guess that saves compiling what it does not need: the driver for plain orders notices where it was wrong.
    """
    return not _mentions(strategy, mark, "_CANCEL", "limit", "IOC")


def _marks_late(strategy: Strategy, shape: Shape, mark: str) -> bool:
    """Tell whether last prices need not be marked on every event, which would read a column that nobody asked for.

    That is so for one instrument and one kind of event, where no step can see them: then they are marked when something
    is decided, before orders are told, and at the end.
    """
    one = shape.single and not strategy.timers and len(shape.kinds) == 1 and shape.kinds[0] is marking_kind(strategy)
    if not one or shape.marks or shape.kinds[0] in (Kind.QUOTE, Kind.BOOK_DELTA):
        return False
    return not _mentions(strategy, mark, "last_px")


def _importable(strategy: Strategy) -> bool:
    """Tell whether another process finds the model's classes: the cache pickles them, and a notebook's are its own."""
    return strategy.module != "__main__" and strategy.params.__module__ != "__main__"


def _same_steps(module: ModuleType, strategy: Strategy) -> bool:
    """Tell whether a loaded driver holds these very functions: another notebook cell may define equal ones anew."""
    steps = [*strategy.steps.values(), *(step for _, step in strategy.timers)]
    return bool(module.__dict__["STEPS"] == steps)


def _names(strategy: Strategy, jit: Callable[..., Any]) -> dict[str, Any]:
    names: dict[str, Any] = _reached() | {"borrow": borrow, "int64": np.int64}
    names |= {"hot": jit_inner, "apart": jit_flat, "Flat": Flat, "take_delta": take_delta, "read_only": read_only}
    names |= {kind.__name__: kind for kind in (*EVENT_TYPES.values(), OrderUpdate, Timer)}
    names |= {f"step_{kind.name.lower()}": jit(step) for kind, step in strategy.steps.items()}
    names |= {f"step_timer_{i}": jit(step) for i, (_, step) in enumerate(strategy.timers)}
    names["STEPS"] = [*strategy.steps.values(), *(step for _, step in strategy.timers)]
    return names


def _load(name: str, source: str, names: dict[str, Any]) -> ModuleType:
    file = cache_folder() / f"{name}.py"
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=file.parent, suffix=".tmp", delete=False) as draft:
                draft.write(write_out(source, _reached(), APART) if compiling() else source)
            Path(draft.name).replace(file)
    except OSError as error:
        raise ModelError(
            f"the driver cache {file.parent} can't be written ({error.strerror});"
            " set MDSLIB_CACHE_DIR to a folder that can"
        ) from error
    module = ModuleType(name)
    module.__file__ = str(file)
    module.__dict__.update(names)
    sys.modules[name] = module
    exec(compile(file.read_text(), str(file), "exec"), module.__dict__)
    return module


def event_columns(kind: Kind) -> tuple[str, ...]:
    """Return the names of a kind's columns that a step sees."""
    return tuple(COLUMNS[kind]._fields)


assert all(set(event_columns(kind)) <= set(SCHEMAS[kind]) for kind in COLUMNS)
