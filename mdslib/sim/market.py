"""The day that the exchange plays: its events in order, as columns, as records and as text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from mdslib.errors import DataError
from mdslib.events import RECORD, Kind
from mdslib.sim.wire import CHANNELS, encode
from mdslib.sim.wire_msgpack import encode_packed
from mdslib.table import MarketData, Table

Array = npt.NDArray[Any]
BLOCK = 4096
T = TypeVar("T")


class Market:
    """A day's market events in one order, cut to what is played.

    Parameters
    ----------
    data : MarketData
        Trades, and quotes and bars where there are any.
    from_ts, to_ts : int or None
        First and last instant to play, ns UTC, both inclusive.

    Attributes
    ----------
    ts : int64 array
        Time of each event, in order.
    kinds : uint8 array
    rows : int64 array
        Row of each event in the table of its kind.
    erased : bool array or None
        Events that a halt lets not have been; None where there was none.
    hours, extended_hours : int64 arrays of shape (n, 2)
        Open and close of each session, regular and extended.
    start, end : int
        The instants that the clock begins and ends at: the session's open and close, or wider where the data is.
    """

    def __init__(self, data: MarketData, from_ts: int | None = None, to_ts: int | None = None) -> None:
        if from_ts is not None or to_ts is not None:
            last = np.iinfo(np.int64).max if to_ts is None else to_ts + 1
            data = data.between(from_ts or 0, last)
        self.data = data
        self.symbols = [instrument.symbol for instrument in data.instruments]
        self.tables: dict[Kind, Table] = {
            table.kind: _with_ids(table) for table in data.tables if table.kind in CHANNELS
        }
        kinds, rows = data.order
        if len(self.tables) != len(data.tables):
            kept = np.isin(kinds, [int(kind) for kind in self.tables])
            kinds, rows = kinds[kept], rows[kept]
        self.kinds, self.rows = kinds, rows
        self.ts = np.empty(len(kinds), np.int64)
        self.instruments = np.empty(len(kinds), np.uint16)
        for kind, table in self.tables.items():
            at = kinds == int(kind)
            self.ts[at] = table["ts_event"]
            self.instruments[at] = table["instrument"]
        if not len(self.ts):
            raise DataError(
                "the exchange has nothing to play, received 0 events in that span; check --date, --from, --to"
            )
        self.closes = [session.close for session in data.sessions]
        self.hours = np.array([(s.open, s.close) for s in data.sessions], np.int64).reshape(-1, 2)
        self.extended_hours = np.array([(s.pre_open, s.post_close) for s in data.sessions], np.int64).reshape(-1, 2)
        first, last_event = int(self.ts[0]), int(self.ts[-1])
        opens = [session.open for session in data.sessions if session.open <= first < session.close]
        self.start = from_ts if from_ts is not None else (opens[0] if opens else first)
        self.end = (
            to_ts if to_ts is not None else max([last_event, *(close for close in self.closes if close >= self.start)])
        )
        self.erased: npt.NDArray[np.bool_] | None = None
        self._texts = _Blocks(lambda table, lo, hi: encode(table, lo, hi, self.symbols))
        self._packed = _Blocks(lambda table, lo, hi: encode_packed(table, lo, hi, self.symbols))

    def __len__(self) -> int:
        return len(self.ts)

    def position(self, ts: int) -> int:
        """Return the number of events at or before an instant."""
        return int(np.searchsorted(self.ts, ts, "right"))

    def messages(self, lo: int, hi: int) -> list[str]:
        """Return events ``lo:hi`` as stream messages, in order."""
        return self._texts.take(self, lo, hi)

    def packed(self, lo: int, hi: int) -> list[bytes]:
        """Return events ``lo:hi`` as stream messages in msgpack, in order."""
        return self._packed.take(self, lo, hi)

    def records(self, lo: int, hi: int) -> Array:
        """Return events ``lo:hi`` as RECORD rows, not to be written to; ``seq`` and ``ts_init`` are 0."""
        return self._records[lo:hi]

    @functools.cached_property
    def _records(self) -> Array:
        records = np.zeros(len(self.ts), RECORD)
        for kind, table in self.tables.items():
            records[self.kinds == int(kind)] = table.to_records()
        records["ts_init"] = 0
        return records

    def columns(self, kind: Kind, lo: int, hi: int, names: tuple[str, ...]) -> list[Array]:
        """Return columns of one kind among events ``lo:hi``; empty where there are none."""
        table = self.tables.get(kind)
        if table is None:
            return [np.empty(0) for _ in names]
        at = self.kinds[lo:hi] == int(kind)
        rows = self.rows[lo:hi][at]
        if not len(rows):
            return [table[name][:0] for name in names]
        span = slice(int(rows[0]), int(rows[-1]) + 1)
        columns = [table[name][span] for name in names]
        return columns if self.erased is None else [column[~self.erased[lo:hi][at]] for column in columns]

    # -- what a fault script does to the day ------------------------------------------------------------

    def erase(self, lo: int, hi: int, instruments: Sequence[int]) -> None:
        """Let the events of some instruments among ``lo:hi`` not have been: these are halted."""
        if self.erased is None:
            self.erased = np.zeros(len(self.ts), bool)
        self.erased[lo:hi] |= np.isin(self.instruments[lo:hi], instruments)

    def played(self, sent: int) -> Array:
        """Return the records of the first `sent` events without what was erased."""
        kept = slice(0, sent) if self.erased is None else np.flatnonzero(~self.erased[:sent])
        return self._records[kept]

    def shown(self, kind: Kind) -> Table | None:
        """Return the table of a kind without what was erased."""
        table = self.tables.get(kind)
        if table is None or self.erased is None:
            return table
        kept = np.ones(len(table), bool)
        at = self.kinds == int(kind)
        kept[self.rows[at]] = ~self.erased[at]
        return table.take(kept)

    def sent_trade(self, sent: int, instrument: int, back: int) -> Any:
        """Return the record of an instrument's trade among the first `sent` events, `back` 1 the last; None: none."""
        of_it = (self.kinds[:sent] == int(Kind.TRADE)) & (self.instruments[:sent] == instrument)
        if self.erased is not None:
            of_it &= ~self.erased[:sent]
        found = np.flatnonzero(of_it)
        return self._records[found[-back]] if len(found) >= back else None


class _Blocks(Generic[T]):
    """The day's messages in one way of writing, made a block at a time; the last block is kept.

    Parameters
    ----------
    write : callable
        Writes rows ``lo:hi`` of a table.
    """

    def __init__(self, write: Callable[[Table, int, int], list[T]]) -> None:
        self.write = write
        self._number = -1
        self._block: list[T] = []

    def take(self, market: Market, lo: int, hi: int) -> list[T]:
        """Return events ``lo:hi`` in order."""
        out: list[T] = []
        while lo < hi:
            number = lo // BLOCK
            if number != self._number:
                self._block = self._written(market, number * BLOCK, min((number + 1) * BLOCK, len(market)))
                self._number = number
            stop = min(hi, (number + 1) * BLOCK)
            out += self._block[lo - number * BLOCK : stop - number * BLOCK]
            lo = stop
        return out

    def _written(self, market: Market, lo: int, hi: int) -> list[T]:
        # A table's rows lie in order in the merged order, so each kind's events of a block are one slice.
        texts = np.empty(hi - lo, object)
        for kind, table in market.tables.items():
            at = market.kinds[lo:hi] == int(kind)
            if at.any():
                rows = market.rows[lo:hi][at]
                texts[at] = self.write(table, int(rows[0]), int(rows[-1]) + 1)
        written: list[T] = texts.tolist()
        return written


def _with_ids(table: Table) -> Table:
    """Return the table as the venue's messages can carry it.

    Trades are numbered from 1 where their source has no ids. Conditions that are no letters (Lean's are bit flags) are
    left out: a message can't carry them, and what is sent is what the log of sent events must say.
    """
    if table.kind is not Kind.TRADE or not len(table):
        return table
    columns = dict(table.columns)
    if not table["trade_id"].any():
        columns["trade_id"] = np.arange(1, len(table) + 1, dtype=np.int64)
    columns["conditions"] = np.where(_sayable(table["conditions"]), table["conditions"], 0).astype(np.uint32)
    return Table(table.kind, columns)


def _sayable(packed: Array) -> npt.NDArray[np.bool_]:
    """Tell which packed conditions are printable letters that JSON needs no escape for."""
    letters = np.ascontiguousarray(packed, "<u4").view("u1").reshape(-1, 4)
    plain = (letters >= 0x20) & (letters < 0x7F) & (letters != ord('"')) & (letters != ord("\\"))
    gaps = (letters[:, :-1] == 0) & (letters[:, 1:] != 0)
    return np.asarray((plain | (letters == 0)).all(axis=1) & ~gaps.any(axis=1))
