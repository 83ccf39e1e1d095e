"""What comes by the clock: a model's timers, and going flat before the close."""

from __future__ import annotations

import numpy as np

from mdslib.desk import ENDING, control_record, mark_record
from mdslib.events import Kind
from mdslib.protocols import Records
from mdslib.strategy import Strategy
from mdslib.strategy.market import timer_columns

FLATTEN = 3  # the CONTROL code
_FLAT = -1  # in a timer's place


class Due:
    """The session's marks in order of time; going flat comes before timers of its time, as in a back-test.

    Parameters
    ----------
    strategy : Strategy
        Its timers.
    session : tuple of int
        Open and close, ns UTC.
    flatten : int or None
        When to go flat, ns UTC.
    """

    def __init__(self, strategy: Strategy, session: tuple[int, int], flatten: int | None) -> None:
        due: list[tuple[int, int, int]] = []
        if strategy.timers:
            columns = timer_columns([timer for timer, _ in strategy.timers], np.array([session], np.int64))
            due = list(zip(columns.ts_event.tolist(), columns.timer.tolist(), columns.number.tolist(), strict=True))
        if flatten is not None:
            due.append((flatten, _FLAT, 0))
        self._close = session[1]
        self._marks = sorted(due, key=lambda mark: (mark[0], mark[1] != _FLAT))
        self._next = 0

    @property
    def wake(self) -> int | None:
        """Time of the next mark, ns UTC; None after the last."""
        return self._marks[self._next][0] if self._next < len(self._marks) else None

    def done(self, records: Records) -> None:
        """Leave out what a tape tells of already, where a session goes on after a restart."""
        timers = records[records["kind"] == int(Kind.TIMER)]
        flat = (records["kind"] == int(Kind.CONTROL)) & (records["code"] == FLATTEN) & (records["flag"] != ENDING)
        told = set(zip(*(timers[name].tolist() for name in ("ts_event", "flag", "i0")), strict=True))
        told |= {(ts, _FLAT, 0) for ts in records["ts_event"][flat].tolist()}
        self._marks = [mark for mark in self._marks if mark not in told]

    def join(self, now: int) -> int:
        """Leave out the timers before `now`, where a session begins in mid-day; return how many.

        They were for a session that was not there. Going flat is not left out, since after its time nothing is opened;
        but after the close there is nobody to sell to.
        """
        late = [mark for mark in self._marks if mark[0] < now and (mark[1] != _FLAT or now >= self._close)]
        self._marks = [mark for mark in self._marks if mark not in set(late)]
        return len(late)

    def records(self, now: int) -> list[Records]:
        """Return CONTROL and TIMER records whose time has come, stamped with the time that they were due at."""
        found = []
        while self._next < len(self._marks) and self._marks[self._next][0] <= now:
            ts, timer, number = self._marks[self._next]
            self._next += 1
            if timer == _FLAT:
                found.append(control_record(FLATTEN, ts, now))
                continue
            record = mark_record(Kind.TIMER, ts, now)
            record["flag"], record["i0"] = timer, number
            found.append(record)
        return found
