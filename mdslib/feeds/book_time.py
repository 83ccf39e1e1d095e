"""Which time a message is taken to be of: the venue's, unless it can't be; where the venue tells none, ours."""

from __future__ import annotations

from typing import NamedTuple

AHEAD = 300_000_000_000  # ns: a venue's time that lies later than five minutes after its receipt is not taken
CLOCK = 10**18  # ns UTC, in 2001: a receipt before is of no clock, or of one that was never set
HELD = 1_000_000_000  # ns: what bears our clock holds the venue's later times back by so much at most


class Taken(NamedTuple):
    """A time, ns UTC, and whether it replaces one that the venue told."""

    time: int
    wrong: bool


def taken(told: int, received: int) -> Taken:
    """Return the time of a message: the venue's, or its receipt's where the venue's lies far ahead of that.

    Parameters
    ----------
    told : int
        The venue's time, ns UTC.
    received : int
        Ours, ns UTC; before `CLOCK` it is not known, and then the venue's is taken.

    Examples
    --------
    >>> now, day = 1_700_000_000_000_000_000, 86_400_000_000_000
    >>> taken(told=now + day, received=now), taken(told=now, received=0).wrong
    (Taken(time=1700000000000000000, wrong=True), False)
    """
    wrong = CLOCK <= received < told - AHEAD
    return Taken(received if wrong else told, wrong)


class BookTimes:
    """The times of the pairs' books, by place.

    A book is its records in their order, so their times should not run backwards: whoever sorts by time keeps it. What
    the venue timed is never set before what it timed earlier. An image without a time of the venue bears our clock,
    which may be wrong: it holds back what follows by `HELD` at most, and else the venue's times go on as they are.
    """

    def __init__(self) -> None:
        self._latest: list[int] = []  # of each pair's latest book record
        self._told: list[int] = []  # the venue's own latest

    def add(self) -> None:
        """Make a place for one more pair."""
        self._latest.append(0)
        self._told.append(0)

    def next(self, place: int, told: int, received: int) -> tuple[int, bool]:
        """Return what `taken` does for a pair's next book message; `told` is `received` where the venue tells none."""
        latest, wrong = self._latest[place], CLOCK <= received < told - AHEAD  # for every message: no call, no `Taken`
        if wrong or told == received:
            time = received if received > latest else latest
        else:
            time = self._told[place]
            if told > time:
                self._told[place] = time = told
            if time < latest <= time + HELD:
                time = latest
        self._latest[place] = time
        return time, wrong
