"""What comes by the clock: a model's timers, and going flat before the close."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mdslib.desk import ENDING, control_record, mark_record
from mdslib.events import Kind
from mdslib.protocols import Records
from mdslib.strategy import Strategy
from mdslib.strategy.decide import RETRY
from mdslib.strategy.market import timer_columns

FLATTEN = 3  # the CONTROL code
_FLAT, _AGAIN = -1, -2  # in a timer's place


class Due:
    """The session's marks in order of time; going flat comes before timers of its time, as in a back-test.

    Parameters
    ----------
    strategy : Strategy
        Its timers.
    session : tuple of int
        Open and close, ns UTC.
    flatten : int or None
        When to go flat, ns UTC. From then on it is looked at every `RETRY` whether a close was refused.
    stuck : callable
        Tells whether a close was refused, and nothing closes the position any more.
    """

    def __init__(
        self, strategy: Strategy, session: tuple[int, int], flatten: int | None, stuck: Callable[[], bool]
    ) -> None:
        self._stuck = stuck
        due: list[tuple[int, int, int]] = []
        if strategy.timers:
            columns = timer_columns([timer for timer, _ in strategy.timers], np.array([session], np.int64))
            due = list(zip(columns.ts_event.tolist(), columns.timer.tolist(), columns.number.tolist(), strict=True))
        if flatten is not None:
            due.append((flatten, _FLAT, 0))
            due += [(ts, _AGAIN, 0) for ts in range(flatten + RETRY, session[1], RETRY)]
        self._close = session[1]
        self._marks = sorted(due, key=lambda mark: (mark[0], mark[1] >= 0))
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
        last = int(records["ts_event"].max(initial=0))
        self._marks = [mark for mark in self._marks if mark not in told and (mark[1] != _AGAIN or mark[0] > last)]

    def join(self, now: int) -> int:
        """Leave out the timers before `now`, where a session begins in mid-day; return how many.

        They were for a session that was not there. Going flat is not left out, since after its time nothing is opened;
        but after the close there is nobody to sell to.
        """
        late = [mark for mark in self._marks if mark[0] < now and (mark[1] != _FLAT or now >= self._close)]
        self._marks = [mark for mark in self._marks if mark not in set(late)]
        return sum(timer != _AGAIN for _, timer, _ in late)

    def records(self, now: int) -> list[Records]:
        """Return CONTROL and TIMER records whose time has come, stamped with the time that they were due at."""
        found: list[Records] = []
        again: tuple[int, int] | None = None  # place and time: of several looks that are due at once the last counts
        while self._next < len(self._marks) and self._marks[self._next][0] <= now:
            ts, timer, number = self._marks[self._next]
            self._next += 1
            if timer == _AGAIN:
                again = len(found), ts
                continue
            if timer == _FLAT:
                found.append(control_record(FLATTEN, ts, now))
                continue
            record = mark_record(Kind.TIMER, ts, now)
            record["flag"], record["i0"] = timer, number
            found.append(record)
        if again is not None and self._stuck():
            found.insert(again[0], control_record(FLATTEN, again[1], now))
        return found
