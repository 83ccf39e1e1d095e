"""One fault of a script while it is played: has its time come, is it over, and which things does it hit."""

from __future__ import annotations

import random
from collections import Counter

from mdslib.sim.faults.kinds import Fault, Hitting, Lasting, what
from mdslib.sim.faults.when import FOREVER, Duration

NEVER = 2**63 - 1


class Standing:
    """A fault's state. Times of the day are ns UTC; real times are seconds of the loop's clock.

    Parameters
    ----------
    number : int
        Its number in the script, from 1.
    fault : Fault
        What the script says.
    line : int
        Its line in the script.
    seed : int
        The script's seed; each fault has a sequence of its own.
    comes : int
        When it comes; `NEVER` where it is not a time that brings it.
    lockstep : bool
        Real lengths are the day's.

    Attributes
    ----------
    hits : int
        What it has hit since it came last; `all_hits` since the day began.
    lockstep : bool
        Real lengths are the day's.
    counts : Counter
        What it did, in messages, calls or orders, since it came last.
    """

    def __init__(self, number: int, fault: Fault, line: int, seed: int, comes: int, *, lockstep: bool) -> None:
        self.number = number
        self.fault = fault
        self.what = what(fault)
        self.line = line
        self.comes = comes
        self.events = fault.after_events
        self.orders = fault.after_orders
        self.began: int | None = None
        self.open = False
        self.until = NEVER
        self.deadline = float("inf")
        self.seen = self.hits = self.all_hits = 0
        self.counts: Counter[str] = Counter()
        self.random = random.Random(f"{seed}/{number}")
        self.lockstep = lockstep

    @property
    def lasts(self) -> Duration | None:
        """How long it lasts, where it says so."""
        return self.fault.lasts if isinstance(self.fault, Lasting) else None

    @property
    def most(self) -> int:
        """How many things it hits at most, each time that it comes."""
        if not isinstance(self.fault, Hitting):
            return NEVER
        return self.fault.times or (1 if self.fault.lasts is None else NEVER)

    def begin(self, now: int, real: float) -> None:
        """Let it come."""
        came = now if self.comes == NEVER else self.comes  # which may lie before the day that is played
        self.began, self.open = now, True
        self.seen = self.hits = 0
        self.counts.clear()
        self.until, self.deadline = NEVER, float("inf")
        length = self.lasts
        if length is not None and length.ns < FOREVER:
            if length.real and not self.lockstep:
                self.deadline = real + length.seconds
            else:
                self.until = came + length.ns
        self.events = self.orders = None
        every = self.fault.every
        self.comes = NEVER if every is None else came + every.ns * max(1, -(-(now + 1 - came) // every.ns))

    def active(self, now: int, real: float) -> bool:
        """Tell whether it is there."""
        return self.open and now < self.until and real < self.deadline

    def spent(self) -> bool:
        """Tell whether it has hit all that it was to hit."""
        return self.hits >= self.most

    def hit(self) -> bool:
        """Tell whether it hits the next thing; it must be there."""
        fault = self.fault
        assert isinstance(fault, Hitting)
        self.seen += 1
        if self.seen < fault.nth or self.spent() or (fault.chance < 1 and self.random.random() >= fault.chance):
            return False
        self.hits += 1
        self.all_hits += 1
        return True

    @property
    def singles(self) -> bool:
        """Whether each hit is worth a line: it does not hit everything in a span of time."""
        fault = self.fault
        return isinstance(fault, Hitting) and (fault.lasts is None or fault.times is not None or fault.chance < 1)
