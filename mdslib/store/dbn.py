"""Import Databento's DBN files through Databento's own decoder; needs the extra ``databento``.

Read are trades (``trades``), quotes (``mbp-1``, ``tbbo``: the book after the event), books (``mbo``, ``mbp-10``), and
bars (``ohlcv-1s``, ``-1m``, ``-1h``, stamped at their start there, at their close here). Others are counted by name.

Source: databento.com/docs, Schemas and data formats; the package databento_dbn.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdslib.errors import ConfigError, DataError
from mdslib.events import Kind, pack_conditions
from mdslib.instruments import Instrument
from mdslib.store.dbnbook import F_MAYBE_BAD_BOOK, PRICE, UNDEFINED, OrdersBook, columns_of, deltas_of_ten
from mdslib.store.imported import Imported, days_of, in_order, read_bytes, store_days
from mdslib.store.tickstore import TickStore

_BOOKS = {"MBOMsg": "mbo", "MBP10Msg": "mbp-10"}
_SIDES = {"A": pack_conditions(["s"]), "B": pack_conditions(["b"])}  # who took: an ask sold, a bid bought
# By the record's type. Daily ones are of UTC's days, which are no sessions, so they are left out.
_BARS = {32: ("1s", 1), 33: ("1m", 60), 34: ("1h", 3_600)}


class Dbn(NamedTuple):
    """What a file held: the days that were stored, and records that were left out, by name."""

    days: list[Imported]
    left_out: dict[str, int]


def import_dbn(path: Path | str, store: TickStore, venue: str = "") -> Dbn:
    """Import a DBN file, plain or ``.zst``.

    Parameters
    ----------
    path : Path or str
        The file.
    store : TickStore
        Where its days go, a part an instrument.
    venue : str, optional
        The venue to store it under; by default the file's dataset, such as ``XNAS.ITCH``.

    Raises
    ------
    ConfigError
        ``databento_dbn`` is not installed.
    DataError
        The file is no DBN, is cut off, or holds nothing that can be stored.
    """
    path = Path(path)
    metadata, records, source = _decoded(path)
    names = _symbols(metadata)
    found = _Found(path.name)
    for record in records:
        found.take(record, names.get(record.instrument_id, str(record.instrument_id)))
    if not found.rows and not found.books:
        held = ", ".join(f"{count} {name}" for name, count in found.left_out.items()) or "no records"
        raise DataError(f"{path.name}: must hold trades, best quotes, books or bars, received {held}")
    done: list[Imported] = []
    for symbol, kind, interval, columns in found.tables(venue or str(metadata.dataset)):
        instrument = Instrument(symbol, venue or str(metadata.dataset))
        done += store_days(in_order(kind, columns), instrument, store, [source], interval or None)
    return Dbn(done, {name: count for name, count in found.left_out.items() if count})


class _Found:
    """What a file's records say, by symbol."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.rows: dict[tuple[str, Kind, str], list[dict[str, Any]]] = defaultdict(list)
        self.books: dict[str, list[Any]] = defaultdict(list)
        self.left_out: Counter[str] = Counter()

    def take(self, record: Any, symbol: str) -> None:
        """Sort one record in."""
        rows = _rows(record)
        if type(record).__name__ in _BOOKS:
            self._take_book(record, symbol)
        elif rows is None:
            self.left_out[type(record).__name__] += 1
        for kind, interval, row in rows or ():
            self.rows[symbol, kind, interval].append(row)

    def _take_book(self, record: Any, symbol: str) -> None:
        before = self.books[symbol][-1] if self.books[symbol] else record
        if (type(before), before.publisher_id) != (type(record), record.publisher_id):
            raise DataError(
                f"{self._name}: must hold one book of {symbol}, received {_BOOKS[type(before).__name__]} of publisher"
                f" {before.publisher_id} and {_BOOKS[type(record).__name__]} of {record.publisher_id}; split the file"
            )
        self.books[symbol].append(record)
        if record.flags & F_MAYBE_BAD_BOOK and not before.flags & F_MAYBE_BAD_BOOK:
            times = {"ts_event": int(record.ts_event), "ts_init": int(record.ts_recv)}
            self.rows[symbol, Kind.GAP, ""].append(times | {"since": int(before.ts_event)})

    def tables(self, venue: str) -> Iterator[tuple[str, Kind, str, dict[str, Any]]]:
        """Yield each table's symbol, kind, interval and columns."""
        for (symbol, kind, interval), rows in self.rows.items():
            yield symbol, kind, interval, {name: np.array([row[name] for row in rows]) for name in rows[0]}
        for symbol, records in self.books.items():
            times = np.maximum.accumulate(np.array([record.ts_event for record in records], "<i8"))
            images = [first for _, first, _ in days_of(times, Kind.BOOK_DELTA, Instrument(symbol, venue))]
            if type(records[0]).__name__ == "MBP10Msg":
                yield symbol, Kind.BOOK_DELTA, "", deltas_of_ten(records, images)
                continue
            book = OrdersBook()
            for row, record in enumerate(records):
                if row in images and str(record.action) != "R":
                    book.image(record)
                book.receive(record)
            self.left_out["cancels of orders from before the file"] += book.unknown
            yield symbol, Kind.BOOK_DELTA, "", columns_of(book.rows)


def _decoded(path: Path) -> tuple[Any, list[Any], Any]:
    try:
        import databento_dbn
    except ImportError as error:
        raise ConfigError(
            f"Databento's decoder is not installed ({error}); run: pip install 'mdslib[databento]'"
        ) from None
    data, source = read_bytes(path)
    if path.suffix == ".zst":
        import pyarrow as pa

        data = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    decoder = databento_dbn.DBNDecoder()
    try:
        decoder.write(data)
        metadata, *records = decoder.decode()
    except (databento_dbn.DBNError, ValueError) as error:
        raise DataError(f"{path.name}: must be a DBN file, received: {error}; get the file anew") from None
    if decoder.buffer():
        raise DataError(
            f"{path.name}: must end with a whole record, received {len(decoder.buffer())} bytes more; get the file anew"
        )
    return metadata, records, source


def _symbols(metadata: Any) -> dict[int, str]:
    """Return the symbol of each instrument id; a file's ids mean one symbol each."""
    names: dict[int, str] = {}
    for symbol, intervals in dict(metadata.mappings).items():
        for interval in intervals:
            told = interval["symbol"] if isinstance(interval, dict) else interval.symbol
            if str(told).isdigit():
                names[int(told)] = str(symbol)
    return names


def _rows(record: Any) -> list[tuple[Kind, str, dict[str, Any]]] | None:
    """Return what a record says but for a book's levels, or None where it is nothing that is stored."""
    name = type(record).__name__
    if name == "OHLCVMsg":
        return _bar(record)
    if name not in ("TradeMsg", "MBP1Msg", *_BOOKS):
        return None
    times = {"ts_event": int(record.ts_event), "ts_init": int(record.ts_recv)}
    found: list[tuple[Kind, str, dict[str, Any]]] = []
    if str(record.action) == "T" and record.price != UNDEFINED:
        side = _SIDES.get(str(record.side), 0)
        trade = {"price": record.price / PRICE, "size": int(record.size), "conditions": side}
        found.append((Kind.TRADE, "", times | trade | {"trade_id": int(record.sequence)}))
    if name in ("MBP1Msg", "MBP10Msg"):
        found.append((Kind.QUOTE, "", times | _quote(record.levels[0])))
    return found


def _quote(best: Any) -> dict[str, Any]:
    return {
        "bid": np.nan if best.bid_px == UNDEFINED else best.bid_px / PRICE,
        "ask": np.nan if best.ask_px == UNDEFINED else best.ask_px / PRICE,
        "bid_size": int(best.bid_sz),
        "ask_size": int(best.ask_sz),
    }


def _bar(record: Any) -> list[tuple[Kind, str, dict[str, Any]]] | None:
    length = _BARS.get(int(record.rtype))
    if length is None:
        return None
    interval, seconds = length
    close = int(record.ts_event) + seconds * 10**9
    prices = {name: getattr(record, name) / PRICE for name in ("open", "high", "low", "close")}
    return [(Kind.BAR, interval, {"ts_event": close, "ts_init": close, "volume": int(record.volume)} | prices)]


__all__ = ["Dbn", "import_dbn"]
