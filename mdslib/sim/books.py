"""The order books of the day that the exchange plays: its messages, and an image at any of them."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mdslib.events import BookFlag, Kind
from mdslib.table import MarketData, Table, from_columns, merge

Array = npt.NDArray[Any]
_ASK, _LAST, _SNAPSHOT, _CLEAR = (
    int(flag) for flag in (BookFlag.ASK, BookFlag.LAST, BookFlag.SNAPSHOT, BookFlag.CLEAR)
)


class BookMessages(NamedTuple):
    """Book deltas as the venue's messages can carry them.

    Attributes
    ----------
    table : Table of BOOK_DELTA
        Of each message the CLEAR first, then bids, then asks; numbers of orders, sequences and checksums left out.
    first, stop : int64 arrays, shape (m,)
        Rows of each message.
    of_row : int64 array, shape (n,)
        Message of each row.
    """

    table: Table
    first: Array
    stop: Array
    of_row: Array


def messages_of(deltas: Table) -> BookMessages:
    """Return recorded deltas message by message; one whose end is missing ends where time or instrument change."""
    flags, ts, instrument = deltas["flags"], deltas["ts_event"], deltas["instrument"]
    begins = np.ones(len(deltas), bool)
    begins[1:] = (flags[:-1] & _LAST > 0) | (ts[1:] != ts[:-1]) | (instrument[1:] != instrument[:-1])
    begins |= flags & _CLEAR > 0
    of_row = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    stop = np.append(first[1:], len(deltas)).astype(np.int64)
    clear, side = flags & _CLEAR > 0, flags & _ASK
    image = clear[first][of_row] if len(first) else clear
    order = np.lexsort((np.arange(len(deltas)), side, ~clear, of_row))
    told = side | np.where(image, _SNAPSHOT, 0) | np.where(clear, _CLEAR, 0)
    told = told[order].astype("u1")
    told[stop - 1] |= _LAST
    columns = {"ts_event": ts, "instrument": instrument, "price": deltas["price"][order], "size": deltas["size"][order]}
    return BookMessages(from_columns(Kind.BOOK_DELTA, columns | {"flags": told}), first, stop, of_row)


def image_of(deltas: Table, instrument: int, ts: int) -> Table:
    """Return one book as it is after some deltas, as an image of the time `ts`, ns UTC; empty where it never was."""
    rows = np.flatnonzero(deltas["instrument"] == instrument)
    flags, price, size = (deltas[name][rows] for name in ("flags", "price", "size"))
    cleared = np.flatnonzero(flags & _CLEAR)
    since = int(cleared[-1]) + 1 if len(cleared) else 0
    if not len(rows):
        return deltas.slice(0, 0)
    side, price, size = (flags & _ASK)[since:], price[since:], size[since:]
    # Of each level the last word counts; best levels first.
    _, last = np.unique(np.where(side, price, -price)[::-1], return_index=True)
    kept = len(price) - 1 - last
    kept = kept[size[kept] > 0]
    flags = np.concatenate([[_CLEAR | _SNAPSHOT], side[kept] | _SNAPSHOT]).astype("u1")
    flags[-1] |= _LAST
    count = len(flags)
    return from_columns(
        Kind.BOOK_DELTA,
        {
            "ts_event": np.full(count, ts), "instrument": np.full(count, instrument, "<u2"), "flags": flags,
            "price": np.append(np.nan, price[kept]), "size": np.append(0, size[kept]),
        },
    )  # fmt: skip


def cut_with_images(data: MarketData, start: int, end: int) -> MarketData:
    """Return a part of a day, ``start <= ts < end`` in ns UTC, whose books begin as they were at its beginning."""
    part, deltas = data.between(start, end), data.book_deltas
    if deltas is None or part.book_deltas is None:
        return part
    before = deltas.between(0, start)
    images = [image_of(before, k, start) for k in range(len(data.instruments))]
    whole = merge([*(image for image in images if len(image)), part.book_deltas])
    tables = tuple(whole if table.kind is Kind.BOOK_DELTA else table for table in part.tables)
    return dataclasses.replace(part, tables=tables)
