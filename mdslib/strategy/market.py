"""Recorded data as the compiled loops take it: columns of each kind, timers included, and the merged order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mdslib.book.images import check_image
from mdslib.errors import DataError
from mdslib.events import SCHEMAS, Kind
from mdslib.memory import zeros
from mdslib.strategy.contract import Strategy
from mdslib.strategy.driver import COLUMNS, MarkColumns, TimerColumns, event_columns
from mdslib.strategy.timers import TimerSpec, schedule
from mdslib.table import MarketData, Table

MARKS = (Kind.GAP, Kind.RESYNC, Kind.STATUS)  # what keeps orders back; at equal times in this order


class Market(NamedTuple):
    """What a driver's column loops take.

    Attributes
    ----------
    kinds : tuple of Kind
        Market kinds, in merge order; gaps and statuses come before them where the data have any, then timers where
        the model has any.
    marks : bool
        Whether the data have any.
    columns : tuple
        One NamedTuple of columns a kind, gaps and statuses first, then timers.
    kind, row : numpy.ndarray of uint8 and int64, shape (count,)
        The merged order; empty where there is one kind only.
    time : numpy.ndarray of int64, shape (count,)
        The time of every event in merged order, ns.
    count : int
        Events in all.
    """

    kinds: tuple[Kind, ...]
    columns: tuple[Any, ...]
    kind: np.ndarray
    row: np.ndarray
    time: np.ndarray
    count: int  # type: ignore[assignment]  # hides tuple.count
    marks: bool = False

    def delta(self, row: int) -> tuple[int, float, int]:
        """Return instrument, price and size of the book delta that is event `row`."""
        columns = self.columns[-len(self.kinds) :][self.kinds.index(Kind.BOOK_DELTA)]
        row = int(self.row[row]) if len(self.row) else row
        return int(columns.instrument[row]), float(columns.price[row]), int(columns.size[row])


def hours_of(data: MarketData) -> np.ndarray:
    """Return the regular sessions of the data, int64 of shape (n, 2): open and close."""
    return np.array([(s.open, s.close) for s in data.sessions], np.int64).reshape(-1, 2)


def market_of(strategy: Strategy, data: MarketData, kinds: Sequence[Kind]) -> Market:
    """Prepare data for a strategy.

    Parameters
    ----------
    strategy : Strategy
    data : MarketData
    kinds : sequence of Kind
        Which of the data's kinds to merge; the data must have those that the strategy takes.

    Raises
    ------
    DataError
        Where the data lacks a kind that the strategy takes, or has no sessions to derive timers from.
    """
    tables = [table for table in data.tables if table.kind in kinds]
    missing = [kind.name.lower() for kind in strategy.market_kinds if kind not in {t.kind for t in tables}]
    if missing:
        held = ", ".join(t.kind.name.lower() for t in data.tables) or "nothing"
        raise DataError(
            f"strategy {strategy.name!r} takes {' and '.join(missing)} events, the data holds {held};"
            f" load them with kind={missing[0] + 's'!r}"
        )
    if strategy.timers and not data.sessions:
        raise DataError(
            f"strategy {strategy.name!r} has timers, but the data has no sessions; load it with mdslib.load"
        )
    for table in tables:
        if table.kind is Kind.BOOK_DELTA:
            for place, instrument in enumerate(data.instruments):
                check_image(instrument, table["flags"][table["instrument"] == place])
    columns = [_columns(table) for table in tables]
    times = [np.asarray(c.ts_event) for c in columns]
    codes = [int(table.kind) for table in tables]
    if strategy.timers:
        timer = timer_columns([spec for spec, _ in strategy.timers], hours_of(data))
        columns.insert(0, timer)
        times.insert(0, timer.ts_event)
        codes.insert(0, int(Kind.TIMER))
    marks = [table for which in MARKS for table in data.tables if table.kind is which and len(table)]
    if marks:
        columns.insert(0, mark_columns(marks))
        times.insert(0, columns[0].ts_event)
        codes.insert(0, int(Kind.GAP))
    kind, row, time = _merge(times, codes)
    return Market(tuple(t.kind for t in tables), tuple(columns), kind, row, time, len(time), bool(marks))


def _columns(table: Table) -> Any:
    """Return a table's columns as the compiled loops take them; one that was not loaded is zeros, never touched."""
    names = event_columns(table.kind)
    made = (
        table[name] if name in table.columns else zeros(len(table), np.dtype(SCHEMAS[table.kind][name].dtype))
        for name in names
    )
    return COLUMNS[table.kind](*made)


def mark_columns(tables: Sequence[Table]) -> MarkColumns:
    """Return gaps, resyncs and trading statuses in order of time, then of the tables."""
    parts = []
    for table in tables:
        zero = np.zeros(len(table), np.int64)
        code, luld = (table["held"], zero) if table.kind is Kind.GAP else (zero, zero)
        if table.kind is Kind.STATUS:
            code, luld = table["status"], table["luld"]
        what = np.full(len(table), int(table.kind), np.uint8)
        parts.append((table["ts_event"], table["instrument"], what, code.astype(np.int64), luld))
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    by_time = np.argsort(joined[0], kind="stable")
    return MarkColumns(*(column[by_time] for column in joined))


def timer_columns(timers: Sequence[TimerSpec], hours: np.ndarray) -> TimerColumns:
    """Return all firings of some timers in order of time, then of declaration.

    Examples
    --------
    >>> from mdslib.strategy.timers import BeforeClose, Every
    >>> columns = timer_columns([Every("1s"), BeforeClose("1s")], np.array([[0, 2_000_000_000]]))
    >>> columns.ts_event.tolist(), columns.timer.tolist(), columns.number.tolist()
    ([1000000000, 1000000000, 2000000000], [0, 1, 0], [0, 0, 1])
    """
    times = [schedule(timer, hours) for timer in timers]
    which = np.concatenate([np.full(len(t), i, np.uint8) for i, t in enumerate(times)])
    number = np.concatenate([np.arange(len(t), dtype=np.int64) for t in times])
    joined = np.concatenate(times)
    by_time = np.argsort(joined, kind="stable")
    return TimerColumns(joined[by_time], which[by_time], number[by_time])


def _merge(times: list[np.ndarray], codes: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge by time, then by place; a single kind needs no order."""
    if len(times) == 1:
        return np.zeros(0, np.uint8), np.zeros(0, np.int64), times[0]
    kind = np.concatenate([np.full(len(t), code, np.uint8) for t, code in zip(times, codes, strict=True)])
    row = np.concatenate([np.arange(len(t), dtype=np.int64) for t in times])
    time = np.concatenate(times)
    by_time = np.argsort(time, kind="stable")
    return kind[by_time], row[by_time], time[by_time]
