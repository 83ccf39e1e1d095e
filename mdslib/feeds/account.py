"""The account of every message that a venue sends: how it ended, what it counted, what it asks for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

CONNECTION = "connection"  # the account of messages that belong to no pair


class Outcome(Enum):
    """How a message ended."""

    DECODED = "decoded"
    CONTROL = "control"
    IGNORED = "ignored"


class Resync(NamedTuple):
    """A pair whose book must be subscribed anew, and the messages to send for it.

    The pair ``connection``, with nothing to send, asks to connect anew.
    """

    pair: str
    why: str
    send: tuple[str, ...]


class Unread(NamedTuple):
    """An ignored message: its pair, why, and its text."""

    pair: str
    why: str
    text: str


@dataclass
class Tally:
    """The account of one pair, or of the messages that belong to no pair.

    `messages` is always ``decoded + control + ignored``; `names` counts messages by what they were. `snapshots` and
    `deltas` count messages, `levels` what they set; `trades` and `old_trades` count trades. `wrong_times` counts
    times of the venue's that lay far ahead of their receipt, which was taken instead.
    """

    messages: int = 0
    decoded: int = 0
    control: int = 0
    ignored: int = 0
    snapshots: int = 0
    deltas: int = 0
    levels: int = 0
    trades: int = 0
    old_trades: int = 0
    repeated_trades: int = 0
    quotes: int = 0
    checksums_ok: int = 0
    checksums_bad: int = 0
    sequence_gaps: int = 0
    wrong_times: int = 0
    names: Counter[str] = field(default_factory=Counter)


class Frame:
    """One message while it is read.

    Counts go straight into the accounts of its pairs, and records to the end of `rows`; `undo` takes both back.
    """

    __slots__ = ("_before", "_mark", "_more", "_totals", "name", "pair", "place", "places", "rows", "ts_init", "why")

    def __init__(self, totals: dict[str, Tally], rows: list[bytes]) -> None:
        self._totals, self.rows = totals, rows
        self._before: dict[str, dict[str, Any]] = {}
        self._more: list[tuple[Tally, str, int]] = []
        self.places = 8  # decimal places of the pair's lot
        self.begin(0)

    def begin(self, ts_init: int) -> None:
        """Begin the next message."""
        self.ts_init = ts_init
        self.pair, self.place, self.name, self.why = "", 0, "", ""
        self._before.clear()
        self._more.clear()
        self._mark = len(self.rows)

    @property
    def tally(self) -> Tally:
        """The account of the pair that is being read."""
        pair = self.pair or CONNECTION
        found = self._totals.get(pair)
        if found is None:
            found = self._totals[pair] = Tally()
        if pair not in self._before:
            self._before[pair] = vars(found).copy()
        return found

    @property
    def first(self) -> Tally:
        """The account that the message itself counts in: of its pair, the first if it has several."""
        for pair in self._before:
            return self._totals[pair]
        return self.tally

    def added(self) -> Tally:
        """Return what the message added to the account that it counts in."""
        for pair, before in self._before.items():
            now = vars(self._totals[pair])
            names = Counter({self.name: 1} | {name: number for _, name, number in self._more})
            return Tally(**{name: now[name] - before[name] for name in now if name != "names"}, names=names)
        return Tally()

    def count(self, name: str, number: int) -> None:
        """Count something besides the message itself, under a name."""
        self.tally.names[name] += number
        self._more.append((self.tally, name, number))

    def undo(self) -> None:
        """Take back what was read so far."""
        for pair, before in self._before.items():
            vars(self._totals[pair]).update(before)
        for tally, name, number in self._more:
            tally.names[name] -= number
        self._before.clear()
        self._more.clear()
        del self.rows[self._mark :]


def add(total: Tally, part: Tally) -> None:
    """Add `part` to `total`, in place."""
    for name, value in vars(part).items():
        if name == "names":
            total.names.update(value)
        elif value:
            setattr(total, name, getattr(total, name) + value)
