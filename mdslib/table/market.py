"""All kinds of events of some instruments, with their sessions, and the order in which they came."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mdslib.errors import DataError
from mdslib.events import Kind
from mdslib.instruments import Instrument
from mdslib.table.rows import Array, Table

if TYPE_CHECKING:
    import pandas as pd

    from mdslib.calendar import Session


@dataclass(frozen=True, eq=False, repr=False)
class MarketData:
    """Market events of some instruments: what `mdslib.load` returns and a back-test takes.

    Parameters
    ----------
    instruments : tuple of Instrument
        Column ``instrument`` of the tables is an index into it.
    tables : tuple of Table
        At most one a kind. Their position is their rank: at equal times the earlier table's events come first.
    sessions : tuple of Session
        The trading sessions that the data spans, in order.

    Examples
    --------
    >>> from mdslib.instruments import Instrument
    >>> from mdslib.table import trades
    >>> data = MarketData((Instrument("SPY"),), (trades([1, 2], [10.0, 10.1], [5, 6]),), ())
    >>> len(data), data.trades["size"].tolist(), data.quotes is None
    (2, [5, 6], True)
    """

    instruments: tuple[Instrument, ...]
    tables: tuple[Table, ...]
    sessions: tuple[Session, ...] = ()

    def __post_init__(self) -> None:
        kinds = [table.kind for table in self.tables]
        if len(set(kinds)) != len(kinds):
            received = ", ".join(kind.name for kind in kinds)
            raise DataError(
                f"MarketData.tables must have at most one table a kind, received {received}; merge() joins them"
            )
        for table in self.tables:
            highest = int(table["instrument"].max(initial=0))
            if len(table) and highest >= len(self.instruments):
                raise DataError(
                    f"MarketData: column 'instrument' must be below {len(self.instruments)} (all instruments), "
                    f"received {highest}"
                )

    def __len__(self) -> int:
        return sum(len(table) for table in self.tables)

    def table(self, kind: Kind) -> Table | None:
        """Return the table of one kind, or None where there is none."""
        return next((table for table in self.tables if table.kind == kind), None)

    @property
    def trades(self) -> Table | None:
        """The trades, or None."""
        return self.table(Kind.TRADE)

    @property
    def quotes(self) -> Table | None:
        """The quotes, or None."""
        return self.table(Kind.QUOTE)

    @property
    def bars(self) -> Table | None:
        """The bars, or None."""
        return self.table(Kind.BAR)

    @property
    def book_deltas(self) -> Table | None:
        """The changes of order books, or None."""
        return self.table(Kind.BOOK_DELTA)

    @property
    def gaps(self) -> Table | None:
        """Where market events were missed, or None."""
        return self.table(Kind.GAP)

    @functools.cached_property
    def order(self) -> tuple[Array, Array]:
        """The merged order: kind codes (u1, shape (n,)) and row numbers in that kind's table (i8, shape (n,)).

        Sorted by (``ts_event``, position of the table, row). Computed once.
        """
        kinds = np.concatenate([np.full(len(t), int(t.kind), "u1") for t in self.tables] or [np.empty(0, "u1")])
        rows = np.concatenate([np.arange(len(t), dtype="<i8") for t in self.tables] or [np.empty(0, "<i8")])
        if len(self.tables) > 1:
            by_time = np.argsort(np.concatenate([table["ts_event"] for table in self.tables]), kind="stable")
            kinds, rows = kinds[by_time], rows[by_time]
        return kinds, rows

    def between(self, start: int, end: int) -> MarketData:
        """Return the events with ``start <= ts_event < end`` (ns UTC) and their sessions, without a copy."""
        sessions = tuple(s for s in self.sessions if s.post_close > start and s.pre_open < end)
        return MarketData(self.instruments, tuple(table.between(start, end) for table in self.tables), sessions)

    def to_pandas(self) -> pd.DataFrame:
        """Return one frame, in merged order where there are several kinds (then with a column ``kind``)."""
        import pandas as pd

        if len(self.tables) == 1:
            return self.tables[0].to_pandas()
        frames = [table.to_pandas().assign(kind=table.kind.name.lower()) for table in self.tables]
        return pd.concat(frames).sort_index(kind="stable") if frames else pd.DataFrame()

    def __repr__(self) -> str:
        symbols = ", ".join(instrument.symbol for instrument in self.instruments)
        counts = ", ".join(f"{len(table):,} {table.kind.name.lower().replace('_', ' ')}s" for table in self.tables)
        days = f"{self.sessions[0].date}" if self.sessions else "no session"
        if len(self.sessions) > 1:
            days += f" to {self.sessions[-1].date} ({len(self.sessions)} sessions)"
        return f"MarketData({symbols}: {counts or 'no events'}; {days})"

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>" + "".join(table.slice(0, 5).to_pandas().to_html() for table in self.tables)
