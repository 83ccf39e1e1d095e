"""The arrays beside a strategy's own state that its decisions depend on: accounts, risk, and the books that it sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mdslib.account import new_account
from mdslib.book.seen import Seen, new_seen
from mdslib.instruments import Instrument
from mdslib.jit import records
from mdslib.protocols import Records
from mdslib.risk import RISK, Limits


class Core(NamedTuple):
    """Everything beside the strategy's own state that decisions depend on.

    Kernels take its arrays one by one: Numba counts references to what it takes out of a tuple, 5 ns a time.
    """

    account: Records  # ACCOUNT, (instruments,)
    risk: Records  # RISK, (1,)
    recent: np.ndarray  # int64, times of the last orders
    hours: np.ndarray  # int64, (sessions, 2)


class BookCore(NamedTuple):
    """A `Core` with the order books that a strategy sees; see `mdslib.book.seen.Seen`."""

    account: Records
    risk: Records
    recent: np.ndarray
    hours: np.ndarray
    ring: np.ndarray
    sides: np.ndarray
    far_key: np.ndarray
    far_size: np.ndarray
    pairs: Records
    prices: np.ndarray
    sizes: np.ndarray

    @property
    def seen(self) -> Seen:
        """The books."""
        return Seen(*self[4:])

    def with_seen(self, seen: Seen) -> BookCore:
        """Return this core with other arrays of books."""
        return BookCore(*self[:4], *seen)


def new_core(
    instruments: Sequence[Instrument], limits: Limits | None, hours: np.ndarray, *, cash: float, depth: int = 0
) -> Core | BookCore:
    """Return the state before the first event; with a `depth`, order books that show so many levels are part of it."""
    account = new_account(len(instruments), cash)
    account["long_only"] = [not instrument.shortable for instrument in instruments]
    for k, instrument in enumerate(instruments):
        for name, step in instrument.steps._asdict().items():
            account[name][k] = step
    rate = limits.max_orders_per_minute if limits is not None else 0
    risk = records(1, RISK)
    recent = np.zeros(max(1, rate), np.int64)
    hours = np.ascontiguousarray(hours, np.int64).reshape(-1, 2)
    core = Core(account, risk, recent, hours)
    return BookCore(*core, *new_seen(len(instruments), depth)) if depth else core
