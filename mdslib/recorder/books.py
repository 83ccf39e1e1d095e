"""The books of a venue while it is recorded: kept up to date, watched, and written as images."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from mdslib.book import OrderBook
from mdslib.book.grid import apply_on_grid
from mdslib.clock import monotonic_ns
from mdslib.errors import DataError
from mdslib.events import RECORD, BookFlag, Kind
from mdslib.protocols import Records

CROSSED_FOR = 5.0  # s that a book may stay crossed before it is asked for anew
_DELTA, _GAP = int(Kind.BOOK_DELTA), int(Kind.GAP)
_IMAGE, _CLEAR = int(BookFlag.SNAPSHOT), int(BookFlag.CLEAR)


@dataclass
class Kept:
    """One pair's book.

    Attributes
    ----------
    book : OrderBook or None
        None until its first image.
    valid : bool
        Whether it is the venue's: not before its image, nor from a GAP to the next one.
    time : int
        Venue's time of its latest change, ns UTC.
    crossed : int
        Messages after which it was crossed.
    """

    book: OrderBook | None = None
    valid: bool = False
    time: int = 0
    crossed: int = 0
    crossed_since: int = 0


class Books:
    """Every book of one venue.

    Parameters
    ----------
    count : int
        Number of instruments.
    """

    def __init__(self, count: int) -> None:
        self.kept = [Kept() for _ in range(count)]

    def apply(self, records: Records) -> list[tuple[int, str]]:
        """Bring the books up to date; return the places of those that can't be trusted any more, and why."""
        kinds = records["kind"]
        rows = np.flatnonzero((kinds == _DELTA) | (kinds == _GAP))
        if not len(rows):
            return []
        mine = records[rows[np.argsort(records["instrument"][rows], kind="stable")]]
        # What makes a book trusted or not is rare; whether there is any is asked once for all pairs.
        marked = bool(((mine["kind"] == _GAP) | (mine["flag"] & _CLEAR != 0)).any())
        cuts = [0, *(np.flatnonzero(np.diff(mine["instrument"])) + 1).tolist(), len(mine)]
        wrong = []
        for first, last in itertools.pairwise(cuts):
            place = int(mine["instrument"][first])
            why = self._one(self.kept[place], mine[first:last], marked)
            if why:
                wrong.append((place, why))
        return wrong

    def _one(self, kept: Kept, records: Records, marked: bool) -> str:
        if marked:
            gaps = np.flatnonzero(records["kind"] == _GAP)
            images = np.flatnonzero((records["kind"] == _DELTA) & (records["flag"] & _CLEAR != 0))
            if len(gaps) or len(images):
                kept.valid = bool(len(images)) and (not len(gaps) or bool(images[-1] > gaps[-1]))
            records = records[records["kind"] == _DELTA]
            if not len(records):
                return ""
        kept.time = int(records["ts_event"][-1])
        before = 0 if kept.book is None else kept.book.times_crossed
        try:
            kept.book = apply_on_grid(kept.book, records)
        except DataError as error:
            kept.valid = False
            return str(error)
        kept.crossed += kept.book.times_crossed - before
        return self._watch(kept)

    def _watch(self, kept: Kept) -> str:
        """Say that a book has stayed crossed for too long."""
        if kept.book is None or not (kept.valid and kept.book.crossed):
            kept.crossed_since = 0
            return ""
        now = monotonic_ns()
        kept.crossed_since = kept.crossed_since or now
        if now - kept.crossed_since < CROSSED_FOR * 1e9:
            return ""
        kept.crossed_since, kept.valid = 0, False
        bid, ask = kept.book.best_bid, kept.book.best_ask
        return f"its best bid {bid} has been at or above its best ask {ask} for {CROSSED_FOR:g} s"

    def images(self, ts_init: int, levels: int = 0) -> Records:
        """Return an image of every book that can be trusted.

        Parameters
        ----------
        ts_init : int
            When it is taken, ns UTC; its `ts_event` is the time of the book's latest change.
        levels : int
            Best levels of each side; 0 takes all.
        """
        parts = [
            _image(place, kept.book, kept.time, ts_init, levels)
            for place, kept in enumerate(self.kept)
            if kept.valid and kept.book is not None
        ]
        return np.concatenate(parts) if parts else np.zeros(0, RECORD)


def _image(place: int, book: OrderBook, time: int, ts_init: int, levels: int) -> Records:
    top = book.top(levels or max(book.counts))
    bids, asks = len(top.bid), len(top.ask)
    records = np.zeros(1 + bids + asks, RECORD)
    records["kind"], records["instrument"] = _DELTA, place
    records["ts_event"], records["ts_init"] = time, ts_init
    records["flag"], records["f1"] = _IMAGE, math.nan
    records["flag"][0] |= int(BookFlag.CLEAR)
    records["f0"][0] = math.nan
    records["f0"][1:], records["i0"][1:] = np.r_[top.bid, top.ask], np.r_[top.bid_size, top.ask_size]
    records["flag"][1 + bids :] |= int(BookFlag.ASK)
    records["flag"][-1] |= int(BookFlag.LAST)
    return records
