"""Images of recorded books: from one to a gap the deltas make a book, and an image of it can be made at any time."""

from __future__ import annotations

from typing import Any

import numpy as np

from mdslib.errors import DataError
from mdslib.events import BookFlag, Kind
from mdslib.instruments import Instrument
from mdslib.table import Array, Table, from_columns

_CLEAR, _SNAPSHOT = int(BookFlag.CLEAR), int(BookFlag.SNAPSHOT)
_ASK, _LAST = int(BookFlag.ASK), int(BookFlag.LAST)
_EMPTIED = int(BookFlag.CLEAR | BookFlag.SNAPSHOT | BookFlag.LAST)


def check_image(instrument: Instrument, flags: Array) -> None:
    """Refuse deltas of one instrument of which no book can be made.

    Parameters
    ----------
    instrument : Instrument
        Whose they are, for the message.
    flags : array of uint8, shape (n,)
        Of its deltas; none at all are no error.

    Raises
    ------
    DataError
        There is no image among them.
    """
    if len(flags) and not (flags & _CLEAR).any():
        raise DataError(
            f"the book deltas of {instrument.symbol} begin with no image of the book and hold none, so the book"
            " can't be known; load from an earlier day on, or record in mode full, which begins each day with one"
        )


def known_rows(deltas: Table, gaps: Table | None) -> Table:
    """Return the deltas from the first image on; at a gap the book is emptied, and stays so until its next image.

    A gap is where it came among the deltas, by the times of receipt, since the venue's clock is another one; by
    ``ts_event`` where those were not loaded.

    Parameters
    ----------
    deltas : Table
        Of one instrument, in order of arrival, with an image.
    gaps : Table, optional
        Of the same instrument.
    """
    images = np.flatnonzero((deltas["flags"] & _CLEAR) != 0)
    count = len(deltas)
    if not len(images) or (images[0] == 0 and (gaps is None or not len(gaps))):
        return deltas
    keep = np.ones(count, bool)
    keep[: images[0]] = False
    if gaps is None or not len(gaps):
        return deltas.take(np.flatnonzero(keep))
    begins, which = np.unique(_places(deltas, gaps), return_index=True)
    inside = begins > images[0]
    begins, which = begins[inside], which[inside]
    nexts = np.append(images, count)[np.searchsorted(images, begins)]
    first = np.append([True], nexts[1:] != nexts[:-1])[: len(nexts)]  # a hole may have several gaps
    begins, which, nexts = begins[first], which[first], nexts[first]
    for begin, after in zip(begins.tolist(), nexts.tolist(), strict=True):
        keep[begin:after] = False
    return _emptied(deltas, keep, begins, gaps.take(which))


def _places(deltas: Table, gaps: Table) -> Array:
    """Return for each gap the row of the first delta after it."""
    told = all("ts_init" in table.columns and int(table["ts_init"].min()) > 0 for table in (deltas, gaps))
    by = "ts_init" if told else "ts_event"
    found: Array = np.searchsorted(np.maximum.accumulate(deltas[by]), gaps[by], side="left")
    return found


def _emptied(deltas: Table, keep: Array, begins: Array, gaps: Table) -> Table:
    """Return the rows that are kept, and before each row of `begins` one that empties the book, at the gap's time."""
    times, count = deltas["ts_event"], len(deltas)
    rising = np.maximum(gaps["ts_event"], times[begins - 1])
    later = begins < count
    rising[later] = np.minimum(rising[later], times[begins[later]])
    place = np.cumsum(keep)[begins - 1]
    filled: dict[str, Any] = {"ts_event": rising, "price": np.nan, "orders": np.nan, "flags": _EMPTIED}
    columns = {}
    for name, values in deltas.columns.items():
        given = gaps[name] if name in ("ts_init", "instrument") and name in gaps.columns else filled.get(name, 0)
        columns[name] = np.insert(values[keep], place, given)
    return Table(deltas.kind, columns)


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


__all__ = ["check_image", "image_of", "known_rows"]
