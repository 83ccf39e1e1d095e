"""Import Tardis.dev's downloadable CSV files: trades, quotes, order books by increments and by snapshots.

Times are microseconds, sizes are units. A message of a book ends where ``local_timestamp`` changes; an image begins
where ``is_snapshot`` turns true, and empties the book first. Rows of ``book_snapshot_5`` and ``_25`` show the best
levels; they become one image, and what changed from row to row.

Source: docs.tardis.dev, Downloadable CSV files: ``trades``, ``quotes``, ``incremental_book_L2``, ``book_snapshot_25``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mdslib.errors import DataError
from mdslib.events import BookFlag, Kind, pack_conditions
from mdslib.instruments import UNTOLD_TICK, Instrument, parse_instrument, quote_currency
from mdslib.store.imported import Imported, days_of, in_order, lots, parse_csv, read_bytes, store_days
from mdslib.store.tickstore import TickStore
from mdslib.store.views import View, deltas_of
from mdslib.table import Array, Table

_HEAD = {"exchange": pa.string(), "symbol": pa.string(), "timestamp": pa.int64(), "local_timestamp": pa.int64()}
_TRADES = _HEAD | {"id": pa.string(), "side": pa.string(), "price": pa.float64(), "amount": pa.float64()}
_QUOTES = _HEAD | dict.fromkeys(("ask_amount", "ask_price", "bid_price", "bid_amount"), pa.float64())
_BOOK = _HEAD | {"is_snapshot": pa.bool_(), "side": pa.string(), "price": pa.float64(), "amount": pa.float64()}
# Told by the columns: a file can be renamed.
_FORMS = (("is_snapshot", _BOOK), ("bid_price", _QUOTES), ("id", _TRADES))
_SIDES = {"buy": pack_conditions(["b"]), "sell": pack_conditions(["s"]), "unknown": 0}


def import_tardis(path: Path | str, store: TickStore, instrument: str | Instrument = "") -> list[Imported]:
    """Import one of Tardis's CSV files, plain or ``.gz``.

    Parameters
    ----------
    path : Path or str
        The file.
    store : TickStore
        Where its days go.
    instrument : str or Instrument, optional
        Whose rows they are; by default the file's exchange and symbol, a market that never closes with a lot of 1e-8.

    Raises
    ------
    DataError
        The file is none of Tardis's, or holds several symbols.
    """
    path = Path(path)
    data, source = read_bytes(path)
    header = data[: data.find(b"\n")].decode("utf-8", "replace").strip().split(",")
    form = next((form for mark, form in _FORMS if mark in header), None)
    if "asks[0].price" in header:
        form = _HEAD | dict.fromkeys((name for name in header if name not in _HEAD), pa.float64())
    if form is None:
        raise DataError(
            f"{path.name}: must be Tardis's trades, quotes, incremental_book_L2 or book_snapshot, received the columns"
            f" {', '.join(header)[:200]}"
        )
    rows = parse_csv(data, path.name, form)
    names = sorted(
        {f"{exchange}:{symbol}" for exchange, symbol in set(zip(rows["exchange"], rows["symbol"], strict=True))}
    )
    if len(names) != 1:
        raise DataError(
            f"{path.name}: must hold one symbol, received {', '.join(names[:5]) or 'no rows'}; split the file"
        )
    whose = parse_instrument(instrument) if instrument else _instrument(names[0])
    return store_days(_table(form, rows, whose, path.name), whose, store, [source])


def _instrument(name: str) -> Instrument:
    venue, _, symbol = name.partition(":")
    known = parse_instrument(name)
    if known.session == "24/7":
        return known
    return Instrument(symbol, venue, UNTOLD_TICK, 1e-8, quote_currency(venue, symbol), "24/7", shortable=False)


def _table(form: dict[str, Any], rows: dict[str, Array], instrument: Instrument, where: str) -> Table:
    times = {"ts_event": rows["timestamp"] * 1_000, "ts_init": rows["local_timestamp"] * 1_000}
    if form is _QUOTES:
        sizes = {
            f"{side}_size": lots(np.nan_to_num(rows[f"{side}_amount"]), instrument, where) for side in ("bid", "ask")
        }
        return in_order(Kind.QUOTE, times | {"bid": rows["bid_price"], "ask": rows["ask_price"]} | sizes)
    if "asks[0].price" in form:
        return _snapshots(times, rows, instrument, where)
    size = lots(rows["amount"], instrument, where)
    if form is _TRADES:
        ids = np.array([int(text) if text.isdigit() and len(text) < 19 else 0 for text in rows["id"]], "<i8")
        sides = np.array([_SIDES.get(side, 0) for side in rows["side"]], "<u4")
        return in_order(
            Kind.TRADE, times | {"price": rows["price"], "size": size, "trade_id": ids, "conditions": sides}
        )
    return _book(times, rows, size, where)


def _book(times: dict[str, Array], rows: dict[str, Array], size: Array, where: str) -> Table:
    """Return deltas with their messages' ends, and a CLEAR before each image."""
    known = np.isin(rows["side"], ["bid", "ask"])
    if not known.all():
        row = int(np.argmin(known))
        raise DataError(f"{where}, data row {row + 1}: side must be bid or ask, received {rows['side'][row]!r}")
    image = rows["is_snapshot"].astype(bool)
    local = rows["local_timestamp"]
    flags = np.where(rows["side"] == "ask", int(BookFlag.ASK), 0) | np.where(image, int(BookFlag.SNAPSHOT), 0)
    ends = np.append((local[1:] != local[:-1]) | (image[1:] != image[:-1]), True)
    flags = (flags | np.where(ends, int(BookFlag.LAST), 0)).astype("u1")
    begins = np.flatnonzero(image & ~np.concatenate([[False], image[:-1]]))
    clear = int(BookFlag.CLEAR | BookFlag.SNAPSHOT)
    columns: dict[str, Array] = {name: np.insert(column, begins, column[begins]) for name, column in times.items()}
    columns |= {
        "price": np.insert(rows["price"], begins, np.nan),
        "size": np.insert(size, begins, 0),
        "flags": np.insert(flags, begins, clear),
    }
    return in_order(Kind.BOOK_DELTA, columns)


def _snapshots(times: dict[str, Array], rows: dict[str, Array], instrument: Instrument, where: str) -> Table:
    """Return an image at each day's start, and what changed from row to row."""
    levels = sum(name.startswith("asks[") and name.endswith(".price") for name in rows)
    times["ts_event"] = np.maximum.accumulate(times["ts_event"])
    sides = []
    for side in ("bids", "asks"):
        price, amount = (
            np.stack([_column(rows, f"{side}[{level}].{what}", where) for level in range(levels)], axis=1)
            for what in ("price", "amount")
        )
        size: Any = lots(np.nan_to_num(amount).ravel(), instrument, where)
        sides.append(View(price, size.reshape(price.shape), np.full(price.shape, np.nan)))
    images = [first for _, first, _ in days_of(times["ts_event"], Kind.BOOK_DELTA, instrument)]
    return in_order(Kind.BOOK_DELTA, deltas_of(times, sides[0], sides[1], images))


def _column(rows: dict[str, Array], name: str, where: str) -> Array:
    if name not in rows:
        raise DataError(f"{where}: must have a column {name} beside the others, received none; get the file anew")
    return rows[name]


__all__ = ["import_tardis"]
