"""The engine's side of a lost feed: GAP, BACKFILL and RESYNC become records, and are counted."""

from __future__ import annotations

import threading

import numpy as np

from mdslib.desk import mark_record
from mdslib.events import Kind
from mdslib.live.batch import inside, market_events
from mdslib.live.mailbox import Item
from mdslib.live.orderflow import Log, Sides
from mdslib.live.tally import Tally
from mdslib.protocols import Records
from mdslib.tape import Side, SideKind

ITEMS = ("gap", "backfill", "resync", "sync")
HELD = 1  # the code of a GAP after which orders are held; 0 lets them through


class Gaps:
    """Makes the records of a feed's losses, in the deciding thread.

    Parameters
    ----------
    held : bool
        Orders are held until the RESYNC.
    session : tuple of int
        Open and close, ns UTC.
    tally : Tally
    log : callable

    Attributes
    ----------
    count : int
        GAPs so far; 0 means that every frame of the session was streamed.
    open : bool
        A GAP has no RESYNC yet.
    """

    def __init__(self, tally: Tally, log: Log, session: tuple[int, int], *, held: bool) -> None:
        self.count = 0
        self.open = False
        self._tally, self._log, self._session, self._held = tally, log, session, held
        self._waiting: list[threading.Event] = []

    def records(self, item: Item, now: int, sides: Sides) -> list[Records]:
        """Return the records of a ``gap``, ``backfill`` or ``resync`` item; a ``sync`` item has none."""
        if item[0] == "sync":
            self._waiting.append(item[1])
            return []
        if item[0] == "gap":
            return [self._gap(item[1], item[2], now, sides)]
        if item[0] == "backfill":
            return self._backfill(item[1], item[2], item[3], now, sides)
        return [self._resync(item[1], item[2], item[3], now, sides)]

    def _gap(self, why: str, since: int, now: int, sides: Sides) -> Records:
        self.count, self.open = self.count + 1, True
        record = mark_record(Kind.GAP, now, now)
        record["code"], record["i0"] = HELD if self._held else 0, since
        sides.append((record, Side(0, SideKind.ERROR, why)))
        self._log("gap", why=why, orders="held" if self._held else "let through")
        return record

    def _backfill(self, records: Records, why: str, doubled: int, now: int, sides: Sides) -> list[Records]:
        kept = np.array(inside(records, self._session, self._tally.outside))
        mark = mark_record(Kind.BACKFILL, now, now)
        mark["i0"], mark["i1"] = len(kept), doubled
        sides.append((mark, Side(0, SideKind.TEXT, why)))
        self._tally.feed["events filled in"] += market_events(kept)
        return [mark, kept]

    def _resync(self, why: str, recovered: int, doubled: int, now: int, sides: Sides) -> Records:
        self.open = False
        record = mark_record(Kind.RESYNC, now, now)
        record["i0"], record["i1"] = recovered, doubled
        sides.append((record, Side(0, SideKind.TEXT, why)))
        self._log("resync", why=why, recovered=recovered, doubled=doubled)
        return record

    def left_open(self) -> None:
        """Count a hole that nobody could fill before the session's end."""
        if self.open:
            self._tally.feed["gaps not filled in"] += 1
            self._log("gap-left-open", why="the session ended before the feed was whole again")

    def written(self) -> None:
        """Tell those who wait for it that all that they handed over is on the tape."""
        for event in self._waiting:
            event.set()
        self._waiting.clear()
