"""Research to live: one strategy function from a notebook to paper trades.

The contract (`strategy`, the answers, the events, `jit`) is imported at once; what needs more than numpy and numba is
imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mdslib.errors import MdsError
from mdslib.events import Bar, Book, OrderUpdate, Quote, Status, Timer, Trade
from mdslib.instruments import Instrument
from mdslib.jit import jit, records
from mdslib.strategy import (
    DAY,
    GTC,
    IOC,
    BeforeClose,
    Every,
    buy,
    cancel,
    cancel_leg,
    find_model,
    hold,
    leg,
    pair,
    sell,
    strategy,
    target,
    target_leg,
)

if TYPE_CHECKING:
    from mdslib.backtesting import backtest
    from mdslib.check import check_model
    from mdslib.matching import Fees
    from mdslib.risk import make_limits
    from mdslib.store.load import load

__version__ = "0.1.0"

_LAZY = {
    "backtest": "mdslib.backtesting",
    "check_model": "mdslib.check",
    "load": "mdslib.store.load",
    "Fees": "mdslib.matching",
    "make_limits": "mdslib.risk",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = globals()[name] = getattr(importlib.import_module(_LAZY[name]), name)
        return value
    raise AttributeError(f"module 'mdslib' has no attribute {name!r}")


__all__ = [
    "DAY",
    "GTC",
    "IOC",
    "Bar",
    "BeforeClose",
    "Book",
    "Every",
    "Fees",
    "Instrument",
    "MdsError",
    "OrderUpdate",
    "Quote",
    "Status",
    "Timer",
    "Trade",
    "backtest",
    "buy",
    "cancel",
    "cancel_leg",
    "check_model",
    "find_model",
    "hold",
    "jit",
    "leg",
    "load",
    "make_limits",
    "pair",
    "records",
    "sell",
    "strategy",
    "target",
    "target_leg",
]
