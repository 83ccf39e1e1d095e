"""The book changes of one instrument as columns on a grid, as compiled code reads them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdslib.book.book import Floats, Ints
from mdslib.book.grid import decimal_places
from mdslib.book.images import check_image, known_rows
from mdslib.book.replay import MOST
from mdslib.errors import DataError, did_you_mean
from mdslib.events import BookFlag
from mdslib.instruments import Instrument
from mdslib.table import Array, MarketData, Table


class BookRows(NamedTuple):
    """Book changes of one instrument, in their order.

    Attributes
    ----------
    instrument : Instrument
        Whose they are.
    place : int
        Its place in the data.
    ts_event : array of int64, shape (n,)
        Venue time, ns UTC.
    tick : array of int64, shape (n,)
        Prices in units of 10 ** -places; 0 where a row clears the book.
    size : array of int64, shape (n,)
        In lots; 0 deletes the level.
    flags : array of uint8, shape (n,)
        See `BookFlag`.
    table : Table
        The rows with all columns that were loaded.
    places : int
        Decimal places that hold every price.
    """

    instrument: Instrument
    place: int
    ts_event: Ints
    tick: Ints
    size: Ints
    flags: Array
    table: Table
    places: int

    def prices(self, ticks: Ints) -> Floats:
        """Return ticks as prices: the floats that came, since a whole number is divided once."""
        found: Floats = ticks / 10.0**self.places
        return found


def book_rows(data: MarketData, instrument: str | int | None = None) -> BookRows:
    """Return the book changes of one instrument of `data`: from its first image on, emptied from a gap to the next.

    Parameters
    ----------
    data : MarketData
        With book deltas; with gaps where there may be any, since else they can't be known.
    instrument : str or int, optional
        Its symbol, ``venue:symbol``, or place in ``data.instruments``; may be left out where there is only one.

    Raises
    ------
    DataError
        There are no book deltas, or no image among them, the instrument is not there or was not said, a size is
        negative, or prices lie on no decimal grid.
    """
    place = which(data, instrument)
    table = data.book_deltas
    if table is None:
        raise DataError(f"order books: the data must have book deltas, received {data!r}; load(kind=...) names kinds")
    gaps = data.gaps
    if len(data.instruments) > 1:
        table = table.take(table["instrument"] == place)
        gaps = None if gaps is None else gaps.take(gaps["instrument"] == place)
    check_image(data.instruments[place], table["flags"])
    prices = _prices(table)
    places = decimal_places(prices)
    scaled = np.rint(prices * 10.0**places)
    wrong = ~((np.abs(scaled) < MOST) & (scaled / 10.0**places == prices))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"order books: a price must lie on a decimal grid, received {prices[row].item()!r} at row {row}"
        )
    if len(table) and int(table["size"].min()) < 0:
        row = int(np.argmin(table["size"]))
        least = int(table["size"][row])
        raise DataError(f"order books: a size must be >= 0, received {least} at row {row}; 0 deletes the level")
    known = known_rows(table, gaps)
    if known is not table:
        table, scaled = known, np.rint(_prices(known) * 10.0**places)
    columns = (table["ts_event"], scaled.astype(np.int64), table["size"], table["flags"])
    return BookRows(data.instruments[place], place, *columns, table, places)


def _prices(table: Table) -> Floats:
    """Return the rows' prices; 0 where a row clears the book."""
    found: Floats = np.where((table["flags"] & BookFlag.CLEAR) != 0, 0.0, table["price"])
    return found


def which(data: MarketData, instrument: str | int | None) -> int:
    """Return an instrument's place in ``data.instruments``; see `book_rows`."""
    ids = [each.id for each in data.instruments]
    if instrument is None:
        if len(ids) == 1:
            return 0
        raise DataError(f"order books: instrument= must say which one, the data have {', '.join(ids)}")
    for place, each in enumerate(data.instruments):
        if instrument in (place, each.symbol, each.id):
            return place
    hint = did_you_mean(str(instrument), ids)
    raise DataError(f"order books: the data have no instrument {instrument!r}. {hint}")
