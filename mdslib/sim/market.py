"""The day that the exchange plays: its events in order, as columns, as records and as text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from mdslib.book.best import tops_of
from mdslib.book.history import cut
from mdslib.book.images import image_of
from mdslib.errors import DataError
from mdslib.events import RECORD, Kind
from mdslib.sim.books import BookMessages, messages_of
from mdslib.sim.wire import CHANNELS, encode
from mdslib.sim.wire_msgpack import encode_packed
from mdslib.sim.wire_pairs import PairWriter
from mdslib.table import MarketData, Table

Array = npt.NDArray[Any]
BLOCK = 4096
T = TypeVar("T")


class Market:
    """A day's market events in one order, cut to what is played.

    An event is what one message tells: a trade, a quote, a bar, or all the levels of one message of a book.

    Parameters
    ----------
    data : MarketData
        Trades, and quotes, bars and order books where there are any: of stocks, or of crypto pairs. Books of stocks are
        left out, since Alpaca has none.
    from_ts, to_ts : int or None
        First and last instant to play, ns UTC, both inclusive.

    Attributes
    ----------
    ts : int64 array
        Time of each event, in order.
    kinds : uint8 array
    rows : int64 array
        Row of each event in the table of its kind; of a book's message its number among them.
    pairs : bool
        Whether it is a market of crypto pairs.
    books : BookMessages or None
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
            first = from_ts or 0
            data = data.between(first, last) if data.book_deltas is None else cut(data, first, last)
        self.data = data
        self.symbols = [instrument.symbol for instrument in data.instruments]
        self.pairs = _are_pairs(data)
        self.tables: dict[Kind, Table] = {
            table.kind: _with_ids(table)
            for table in data.tables
            if table.kind in CHANNELS and (self.pairs or table.kind is not Kind.BOOK_DELTA)
        }
        self.books: BookMessages | None = None
        if Kind.BOOK_DELTA in self.tables:
            self.books = messages_of(self.tables[Kind.BOOK_DELTA])
            self.tables[Kind.BOOK_DELTA] = self.books.table
        self.kinds, self.rows = self._ordered()
        self.ts = np.empty(len(self.kinds), np.int64)
        self.instruments = np.empty(len(self.kinds), np.uint16)
        for kind, table in self.tables.items():
            at, rows = self.kinds == int(kind), self._last_rows(kind)
            self.ts[at] = table["ts_event"][rows]
            self.instruments[at] = table["instrument"][rows]
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
        self._images: list[Array] = []
        if self.pairs:
            self._writer = PairWriter(data.instruments)
            self._texts = _Blocks(lambda table, lo, hi: self._writer.texts(table, self._spans(table, lo, hi)))
            self._packed = _Blocks(lambda table, lo, hi: self._writer.packed(table, self._spans(table, lo, hi)))
        else:
            self._texts = _Blocks(lambda table, lo, hi: encode(table, lo, hi, self.symbols))
            self._packed = _Blocks(lambda table, lo, hi: encode_packed(table, lo, hi, self.symbols))

    def _ordered(self) -> tuple[Array, Array]:
        """Return kind and row of each event, in order; a book's message stands where its last row does."""
        kinds, rows = self.data.order
        kept = np.isin(kinds, [int(kind) for kind in self.tables])
        if self.books is not None:
            of_book = np.flatnonzero(kinds == int(Kind.BOOK_DELTA))
            message = self.books.of_row[rows[of_book]]
            kept[of_book] = rows[of_book] == self.books.stop[message] - 1
            rows = rows.copy()
            rows[of_book] = message
        return kinds[kept], rows[kept]

    def _last_rows(self, kind: Kind) -> Any:
        """Return the last row of each event of a kind, in order."""
        return self.books.stop - 1 if self.books is not None and kind is Kind.BOOK_DELTA else slice(None)

    def _spans(self, table: Table, lo: int, hi: int) -> list[tuple[int, int]]:
        """Return the rows of each of a kind's events ``lo:hi``."""
        if self.books is None or table.kind is not Kind.BOOK_DELTA:
            return [(row, row + 1) for row in range(lo, hi)]
        return list(zip(self.books.first[lo:hi].tolist(), self.books.stop[lo:hi].tolist(), strict=True))

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
        """Return events ``lo:hi`` as RECORD rows, one each, not to be written to; ``seq`` and ``ts_init`` are 0.

        A book's message shows its last record; `whole` gives all of them.
        """
        return self._records[lo:hi]

    @functools.cached_property
    def _records(self) -> Array:
        records = np.zeros(len(self.ts), RECORD)
        for kind, table in self.tables.items():
            records[self.kinds == int(kind)] = table.to_records()[self._last_rows(kind)]
        if self.books is not None:
            records["seq"][self.kinds == int(Kind.BOOK_DELTA)] = 1 + np.arange(len(self.books.first))
        records["ts_init"] = 0
        return records

    @functools.cached_property
    def _levels(self) -> Array:
        levels = self.tables[Kind.BOOK_DELTA].to_records()
        levels["ts_init"] = 0
        return levels

    def whole(self, records: Array) -> Array:
        """Return all records of what `records` and `images` show one each of, in order."""
        if self.books is None or not records["seq"].any():
            return records
        parts = []
        for place, number in enumerate(records["seq"].tolist()):
            if number > 0:
                parts.append(self._levels[self.books.first[number - 1] : self.books.stop[number - 1]])
            else:
                parts.append(self._images[-number - 1] if number else records[place : place + 1])
        return np.concatenate(parts)

    def images(self, sent: int, instruments: Sequence[int], ts: int) -> tuple[list[str], list[bytes], Array]:
        """Return the images of some books after the first `sent` events: their messages, in both ways, and records.

        A book that has not begun has none: its own first message is one.
        """
        if self.books is None:
            return [], [], self._records[:0]
        messages = int(np.count_nonzero(self.kinds[:sent] == int(Kind.BOOK_DELTA)))
        told = self.books.table.slice(0, int(self.books.stop[messages - 1]) if messages else 0)
        texts, packed, heads = [], [], np.zeros(0, RECORD)
        for k in instruments:
            image = image_of(told, k, ts)
            if not len(image):
                continue
            texts += self._writer.texts(image, [(0, len(image))])
            packed += self._writer.packed(image, [(0, len(image))])
            records = image.to_records()
            records["ts_init"] = 0
            self._images.append(records)
            heads = np.concatenate([heads, records[-1:]])
            heads["seq"][-1] = -len(self._images)
        return texts, packed, heads

    @functools.cached_property
    def tops(self) -> Table:
        """Best bid and ask after each message of the books, as quotes."""
        assert self.books is not None
        return tops_of(self.books.table)

    def columns(self, kind: Kind, lo: int, hi: int, names: tuple[str, ...]) -> list[Array]:
        """Return columns of one kind among events ``lo:hi``; of books, those of `tops`. Empty where there are none."""
        table = self.tops if kind is Kind.BOOK_DELTA and self.books is not None else self.tables.get(kind)
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
        return self.whole(self._records[kept])

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


def _are_pairs(data: MarketData) -> bool:
    """Tell whether the instruments are crypto pairs; raises DataError where stocks are among them."""
    pairs = [instrument.symbol for instrument in data.instruments if instrument.is_pair]
    stocks = [instrument.symbol for instrument in data.instruments if not instrument.is_pair]
    if pairs and stocks:
        raise DataError(
            f"the exchange plays stocks or crypto pairs, received {', '.join(stocks)} and {', '.join(pairs)}; play them"
            " on an exchange each"
        )
    return bool(pairs)


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
