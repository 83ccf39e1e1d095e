"""Lock-step on the session's side: hold what arrives until the exchange's instant is complete."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from mdslib.clock import monotonic_ns
from mdslib.events import BookFlag, Kind
from mdslib.live.mailbox import Item
from mdslib.protocols import Records

CALM = 50_000_000  # ns without a frame, after which an instant is taken as whole that lost frames


class Barriers:
    """Items of the deciding thread's mailbox, kept until a barrier says that none of its instant is missing.

    Attributes
    ----------
    frames, updates : int
        How many were given out so far.

    Parameters
    ----------
    known : RECORD array, optional
        Events of the newest instant on the tape: after a restart the exchange sends that instant again.
    """

    def __init__(self, known: Records | None = None) -> None:
        self._known = Counter(() if known is None else _plain(known[~_of_image(known)]))
        self.frames = self.updates = 0
        self._held: list[Item] = []
        self._barriers: list[dict[str, Any]] = []
        self._lossy = self._filled = False  # frames were lost since the last complete instant; the hole is filled
        self._heard = 0  # monotonic time of the last frame

    def hold(self, items: list[Item]) -> list[Item]:
        """Keep what belongs to an instant; return what is to be dealt with at once."""
        urgent = []
        for item in items:
            if item[0] == "barrier":
                self._barriers.append(item[1])
            elif item[0] in ("market", "update"):
                self._held.append(item)
                self._heard = monotonic_ns()
            else:
                urgent.append(item)
                self._note(item[0])
        return urgent

    def _note(self, what: str) -> None:
        """Look after a lost connection: its frames can't be counted, so what waits is fetched again with the rest."""
        if what == "gap":
            self._lossy, self._filled = True, False
            self._held = [item for item in self._held if item[0] != "market"]
        elif what == "resync":
            self._filled = True

    def complete(self) -> dict[str, Any] | None:
        """Return the next barrier of which everything has arrived, or None."""
        if not self._barriers:
            return None
        barrier = self._barriers[0]
        if barrier["phase"] != "end":
            frames = self.frames + _frames(self._held)
            updates = self.updates + sum(item[0] == "update" for item in self._held)
            if self._lossy:
                if not self._filled or monotonic_ns() - self._heard < CALM:
                    return None
                self.frames += barrier.get("frames", 0) - frames
                frames, self._lossy = barrier.get("frames", 0), False
            if frames < barrier.get("frames", 0) or updates < barrier.get("updates", 0):
                return None
        return self._barriers.pop(0)

    def release(self) -> list[Item]:
        """Give out what was held."""
        items, self._held = self._held, []
        self.frames += _frames(items)
        self.updates += sum(item[0] == "update" for item in items)
        if self._known:
            items = [(item[0], self._new(item[1]), *item[2:]) if item[0] == "market" else item for item in items]
            self._known.clear()
        return items

    def _new(self, records: Records) -> Records:
        """Leave out what the tape has; an image of a book stays whole, since a part of it would be another book."""
        keep = np.ones(len(records), bool)
        image = _of_image(records).tolist()
        for row, event in enumerate(_plain(records)):
            if self._known[event] and not image[row]:
                self._known[event] -= 1
                keep[row] = False
        return records[keep]


def _of_image(records: Records) -> np.ndarray:
    return np.asarray((records["kind"] == int(Kind.BOOK_DELTA)) & (records["flag"] & BookFlag.SNAPSHOT > 0))


def _plain(records: Records) -> list[bytes]:
    """Return what each event says, without what the tape adds to it."""
    copy = np.array(records)
    for name in ("seq", "ts_init", "side", "crc"):
        copy[name] = 0
    return [row.tobytes() for row in copy]


def _frames(items: list[Item]) -> int:
    return sum(item[3] for item in items if item[0] == "market")
