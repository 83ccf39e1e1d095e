"""Import LOBSTER's files: executions as trades, the order-book file's levels as book deltas, its best level as quotes.

Prices are ten-thousandths, times seconds of New York's day. A message file says what changed, the order-book file what
the book was after each message, so both have one row a message. Trading halts (type 7) and auctions (type 6) are no
trades of the book and are counted, not stored.

Source: lobsterdata.com, Data structure of output files.
"""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from mdslib.errors import DataError
from mdslib.events import Kind, pack_conditions
from mdslib.instruments import Instrument
from mdslib.store.imported import Imported, parse_csv, read_bytes, store_days
from mdslib.store.tickstore import Source, TickStore
from mdslib.store.views import View, deltas_of
from mdslib.table import Array, Table, from_columns

_NAME = re.compile(r"(?P<symbol>[A-Za-z.]+)_(?P<date>\d{4}-\d{2}-\d{2})_\d+_\d+_message_(?P<level>\d+)\b.*\.csv(\.gz)?")
_MESSAGE = {
    "time": pa.string(),  # up to nanoseconds, which a float of a whole day does not hold
    "type": pa.int64(),
    "order": pa.int64(),
    "size": pa.int64(),
    "price": pa.int64(),
    "direction": pa.int64(),
}
_VISIBLE, _HIDDEN = 4, 5
_NONE = 9_999_999_999  # the price of a level that is not there


class Lobster(NamedTuple):
    """What a file held: the days that were stored, its messages, and how many of them were executions."""

    days: list[Imported]
    messages: int
    executions: int


def import_lobster(path: Path | str, store: TickStore, venue: str = "lobster") -> Lobster:
    """Import a message file, and the order-book file beside it where there is one.

    Parameters
    ----------
    path : Path or str
        ``AAPL_2012-06-21_34200000_57600000_message_10.csv``, plain or ``.gz``.
    store : TickStore
        Where the day goes.
    venue : str
        The venue to store it under.

    Raises
    ------
    DataError
        The name or a row is not LOBSTER's, or the two files do not belong together.
    """
    path = Path(path)
    named = _NAME.fullmatch(path.name)
    if named is None:
        raise DataError(f"{path.name}: the name must be like AAPL_2012-06-21_34200000_57600000_message_10.csv")
    instrument = Instrument(named["symbol"].upper(), venue)
    data, source = read_bytes(path)
    rows = parse_csv(data, path.name, _MESSAGE, list(_MESSAGE))
    times = _times(rows["time"], datetime.date.fromisoformat(named["date"]), path.name)
    executed = np.isin(rows["type"], [_VISIBLE, _HIDDEN])
    done: list[Imported] = []
    if executed.any():
        done += store_days(_trades(times, rows, executed), instrument, store, [source])
    book = path.with_name(path.name.replace("_message_", "_orderbook_"))
    if book.exists():
        sides, origin = _views(book, len(times), int(named["level"]))
        done += store_days(_quotes(times, sides), instrument, store, [origin])
        deltas = from_columns(Kind.BOOK_DELTA, deltas_of({"ts_event": times}, sides["bid"], sides["ask"]))
        done += store_days(deltas, instrument, store, [origin])
    return Lobster(done, len(times), int(executed.sum()))


def _times(texts: Array, date: datetime.date, where: str) -> Array:
    from zoneinfo import ZoneInfo

    noon = datetime.datetime.combine(date, datetime.time(12), ZoneInfo("America/New_York"))
    midnight = (int(noon.timestamp()) - 12 * 3_600) * 10**9
    try:
        seconds = np.array([int(Decimal(text).scaleb(9)) for text in texts], "<i8")
    except ArithmeticError as error:
        raise DataError(f"{where}: times must be seconds after midnight, received {error}") from None
    falls = np.flatnonzero(seconds[1:] < seconds[:-1])
    if len(falls):
        row = int(falls[0]) + 2
        raise DataError(f"{where}, line {row}: times must not run backwards, received {texts[row - 1]}")
    times: Array = midnight + seconds
    return times


def _trades(times: Array, rows: dict[str, Array], executed: Array) -> Table:
    """Return the executions; a message's direction is the resting order's, so a taker sold where it is 1."""
    taker = np.where(rows["direction"][executed] == 1, pack_conditions(["s"]), pack_conditions(["b"]))
    hidden = np.where(rows["type"][executed] == _HIDDEN, ord("h") << 8, 0)
    return from_columns(
        Kind.TRADE,
        {
            "ts_event": times[executed],
            "price": rows["price"][executed] / 10_000.0,
            "size": rows["size"][executed],
            "conditions": (taker | hidden).astype("<u4"),
        },
    )


def _views(path: Path, messages: int, level: int) -> tuple[dict[str, View], Source]:
    """Return each side's levels after each message."""
    names = [f"{side}_{what}{n}" for n in range(1, level + 1) for side in ("ask", "bid") for what in ("price", "size")]
    data, source = read_bytes(path)
    rows = parse_csv(data, path.name, dict.fromkeys(names, pa.int64()), names)
    if len(rows[names[0]]) != messages:
        raise DataError(
            f"{path.name}: must have a row for each of the {messages} messages, received {len(rows[names[0]])};"
            " the two files are not of one download"
        )
    sides = {}
    for side in ("bid", "ask"):
        price, size = (
            np.stack([rows[f"{side}_{what}{n}"] for n in range(1, level + 1)], axis=1) for what in ("price", "size")
        )
        known = np.abs(price) != _NONE
        sides[side] = View(
            np.where(known, price / 10_000.0, np.nan), np.where(known, size, 0), np.full(price.shape, np.nan)
        )
    return sides, source


def _quotes(times: Array, sides: dict[str, View]) -> Table:
    """Return the best level after each message that changed it."""
    best = {side: view.price[:, 0] for side, view in sides.items()}
    best |= {f"{side}_size": view.size[:, 0] for side, view in sides.items()}
    changed = np.zeros(len(times), bool)
    changed[:1] = True
    for column in best.values():
        changed[1:] |= (column[1:] != column[:-1]) & ~(np.isnan(column[1:]) & np.isnan(column[:-1]))
    return from_columns(
        Kind.QUOTE, {name: column[changed] for name, column in best.items()} | {"ts_event": times[changed]}
    )


__all__ = ["Lobster", "import_lobster"]
