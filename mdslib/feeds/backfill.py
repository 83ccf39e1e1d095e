"""What a live feed missed, from the venue's history: fetched, put in order, and rid of what is there already.

A trade is known by its id, its exchange's letter and its instrument; a bar by its interval. Never by its values: two
equal prints are two trades.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from mdslib.errors import FeedRefused
from mdslib.events import RECORD, Kind
from mdslib.instruments import Instrument
from mdslib.protocols import Records
from mdslib.table import Table

SLICE = 900_000_000_000  # ns of event time fetched at once; a quarter of an hour of SPY is some ten pages
DELAY = 901_000_000_000  # ns; on the free plan the history of SIP ends a quarter of an hour ago
MINUTE = 60_000_000_000
# What of a subscription has a history: `CpquantHistory` knows trades and bars.
WITH_HISTORY = ("trades", "bars")

_KEY = np.dtype([("kind", "u1"), ("exchange", "u1"), ("instrument", "<u2"), ("number", "<i8")])


class History(Protocol):
    """What a backfill asks, as `CpquantHistory` answers it."""

    def trades(self, symbol: Instrument | str, start: int | str, end: int | str) -> Table:
        """Return the trades with ``start <= t < end``."""

    def bars(self, symbol: Instrument | str, timeframe: str, start: int | str, end: int | str) -> Table:
        """Return the bars that start in a range, stamped at their close."""

    def close(self) -> None:
        """Free the connections."""


class Known:
    """Which trades and bars are there already; grows with what is added.

    A trade without an id can't be told from an equal one. It counts as known up to the latest event that was added.

    Attributes
    ----------
    latest : int
        Time of the latest event added, ns UTC.

    Examples
    --------
    >>> trades = np.zeros(2, RECORD)
    >>> trades["kind"], trades["ts_event"], trades["i1"] = Kind.TRADE, [5, 6], [70, 71]
    >>> known = Known()
    >>> known.add(trades[:1])
    >>> known.without(trades)["i1"].tolist()
    [71]
    """

    def __init__(self) -> None:
        self._keys: set[bytes] = set()
        self.latest = 0

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, records: Records) -> None:
        """Remember the trades and bars among some events."""
        own = records[_told_apart(records)]
        if len(own):
            self.latest = max(self.latest, int(own["ts_event"].max()))
            self._keys.update(_keys(own))

    def without(self, records: Records) -> Records:
        """Return the events that are not known; events of other kinds never are."""
        if not self._keys:
            return records
        known = np.array([key in self._keys for key in _keys(records)], bool)
        nameless = (records["kind"] == int(Kind.TRADE)) & (records["i1"] == 0)
        known = np.where(nameless, records["ts_event"] <= self.latest, known) & _told_apart(records)
        return records[~known] if known.any() else records

    def has_any(self, records: Records) -> bool:
        """Tell whether one of the events is known."""
        return len(self.without(records)) < len(records)


def _told_apart(records: Records) -> np.ndarray:
    return np.asarray((records["kind"] == int(Kind.TRADE)) | (records["kind"] == int(Kind.BAR)))


def _keys(records: Records) -> list[bytes]:
    trades = records["kind"] == int(Kind.TRADE)
    keys = np.zeros(len(records), _KEY)
    keys["kind"], keys["instrument"] = records["kind"], records["instrument"]
    keys["exchange"] = np.where(trades, records["flag"], 0)
    keys["number"] = np.where(trades, records["i1"], records["ts_event"])
    found: list[bytes] = keys.view(f"V{_KEY.itemsize}").tolist()
    return found


class Backfill:
    """Fetches the trades and bars of some instruments, merged by time.

    Parameters
    ----------
    history : History
    instruments : sequence of Instrument
        A record's ``instrument`` is the place in it.
    channels : sequence of str
        What is subscribed; those without a history are named in `without_history`.
    closed_only : bool
        The history never shows a bar before it has closed, so that no clock of ours has to judge that.
    """

    def __init__(
        self, history: History, instruments: Sequence[Instrument], channels: Sequence[str], *, closed_only: bool = False
    ) -> None:
        self._history, self._closed_only = history, closed_only
        self._instruments = tuple(instruments)
        self._channels = tuple(channels)

    @property
    def without_history(self) -> tuple[str, ...]:
        """The channels of which nothing can be fetched."""
        return tuple(channel for channel in self._channels if channel not in WITH_HISTORY)

    @property
    def possible(self) -> bool:
        """Whether anything can be fetched at all."""
        return len(self.without_history) < len(self._channels)

    def fetch(self, start: int, end: int, now: int) -> Records:
        """Return what happened from `start` to `end` (exclusive), in order of time.

        Parameters
        ----------
        start, end, now : int
            ns UTC; `now` is stamped as the time of receipt, and bars that close after it are left out, unless the
            history has closed ones only.

        Raises
        ------
        CredentialError, FeedRefused, FeedError, DataError
            As the history says.
        """
        parts = [part for k, instrument in enumerate(self._instruments) for part in self._of(k, instrument, start, end)]
        records = np.concatenate(parts) if parts else np.zeros(0, RECORD)
        records["ts_init"] = now
        if not self._closed_only:
            records = records[(records["kind"] != int(Kind.BAR)) | (records["ts_event"] <= now)]
        merged: Records = records[np.argsort(records["ts_event"], kind="stable")]
        return merged

    def _of(self, k: int, instrument: Instrument, start: int, end: int) -> Iterable[Records]:
        if "trades" in self._channels:
            yield self._history.trades(instrument, start, end).to_records(k)
        if "bars" in self._channels:
            first = (start - 1) // MINUTE * MINUTE  # the bar that closes at `start` or after it
            bars = self._history.bars(instrument, "1Min", first, end).to_records(k)
            yield bars[(bars["ts_event"] >= start) & (bars["ts_event"] < end)]

    def fetch_allowed(self, start: int, end: int, now: int) -> tuple[Records, int]:
        """Fetch, and where the plan keeps the last minutes back, what it gives; return up to which time it was asked.

        Raises
        ------
        FeedRefused
            If the plan gives nothing of the range.
        """
        try:
            return self.fetch(start, end, now), end
        except FeedRefused as refused:
            earlier = min(end, now - DELAY)
            if refused.code != 403 or earlier <= start:
                raise
            return self.fetch(start, earlier, now), earlier

    def close(self) -> None:
        """Free the connections."""
        self._history.close()


def slices(start: int, now: int, end: int) -> list[tuple[int, int]]:
    """Return the ranges to fetch one after the other, the last one up to `end`, so that memory is bounded.

    Examples
    --------
    >>> slices(0, 2 * SLICE - 1, 10 * SLICE) == [(0, SLICE), (SLICE, 10 * SLICE)]
    True
    >>> slices(5, 5, 9)
    [(5, 9)]
    """
    edges = list(range(start, max(now, start + 1), SLICE))
    return list(zip(edges, [*edges[1:], max(end, edges[-1] + 1)], strict=True))
