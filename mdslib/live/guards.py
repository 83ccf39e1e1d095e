"""When a run must be asked to stop, and when it must be ended: plain decisions, without clocks or processes."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Guards(NamedTuple):
    """Time limits of a run, in seconds.

    Attributes
    ----------
    start : float
        Until the first cell runs; kernels have been seen to hang at start.
    silence : float
        Longest time for which the session's heartbeat may stand still, once there has been one. It is the deciding
        loop's own, so a session that misses it can't end cleanly either: it is killed, and its orders canceled.
    stop : float
        From being asked to stop until the session has ended cleanly: cancelling, flattening, the audit.
    report : float
        For the cells after the session.
    run : float
        For the whole run; as a rule the time to the close, and half an hour.
    reap : float
        From killing the kernel until papermill has saved the notebook.
    """

    start: float = 120.0
    silence: float = 20.0
    stop: float = 90.0
    report: float = 600.0
    run: float = 12 * 3600.0
    reap: float = 30.0


class Action(Enum):
    """What the runner has to do now."""

    ASK = "ask the session to stop"
    KILL = "kill the kernel"
    ABANDON = "leave without waiting for papermill"


class Seen(NamedTuple):
    """What the runner sees of the run at one moment.

    Attributes
    ----------
    cell : bool
        A cell has begun.
    verdict : bool
        The session has ended and said how.
    heartbeat : int
        Changes whenever the session beats; 0 before the first.
    """

    cell: bool = False
    verdict: bool = False
    heartbeat: int = 0


class Watch:
    """Compares a run with its limits, tick by tick.

    Parameters
    ----------
    guards : Guards
        The limits.
    now : float
        When the run began, in seconds of any monotonic clock.

    Attributes
    ----------
    overdue : str
        Which limit was passed, in words; empty while none was.

    Examples
    --------
    >>> watch = Watch(Guards(start=10), now=0)
    >>> watch.tick(9, Seen()), watch.tick(11, Seen()), watch.overdue
    (None, <Action.KILL: 'kill the kernel'>, 'no cell began within 10 s')
    """

    def __init__(self, guards: Guards, now: float) -> None:
        self.guards = guards
        self.overdue = ""
        self._began = now
        self._asked: float | None = None
        self._asked_again = False
        self._killed: float | None = None
        self._reporting: float | None = None
        self._beat = (0, now)
        self.alive = True  # the deciding loop has turned since the last tick, or another limit holds at present

    def ask(self, now: float) -> Action | None:
        """Note that somebody wants the run to stop; the first such wish is passed on."""
        if self._asked is not None:
            return None
        self._asked = now
        return Action.ASK

    def tick(self, now: float, seen: Seen) -> Action | None:
        """Return what must be done now, if anything."""
        if self._killed is not None:
            return Action.ABANDON if now - self._killed > self.guards.reap else None
        if seen.verdict and self._reporting is None:
            self._reporting = now
        began = not self._beat[0] or self._reporting is not None or self._asked is not None
        self.alive = began or seen.heartbeat != self._beat[0]
        if seen.heartbeat != self._beat[0]:
            self._beat = (seen.heartbeat, now)
        reason = self._must_end(now, seen)
        if reason:
            self.overdue = self.overdue or reason
            self._killed = now
            return Action.KILL
        reason = self._should_end(now, seen)
        if reason and self._asked is None:
            self.overdue = reason
            return self.ask(now)
        return self._repeat(now, seen)

    def _must_end(self, now: float, seen: Seen) -> str:
        limits = self.guards
        if not seen.cell and now - self._began > limits.start:
            return f"no cell began within {limits.start:g} s"
        if self._reporting is not None:
            if now - self._reporting > limits.report:
                return f"the cells after the session took more than {limits.report:g} s"
            return ""
        if self._asked is not None and now - self._asked > limits.stop:
            return f"the session did not end within {limits.stop:g} s of being asked to stop"
        if seen.heartbeat and now - self._beat[1] > limits.silence:
            return f"the session's heartbeat stood still for {limits.silence:g} s"
        return ""

    def _should_end(self, now: float, seen: Seen) -> str:
        if self._reporting is not None:
            return ""
        if now - self._began > self.guards.run:
            return f"the session did not end by itself within {self.guards.run:g} s"
        return ""

    def _repeat(self, now: float, seen: Seen) -> Action | None:
        # An interrupt that arrives between two cells is ignored by the kernel, so a second one follows late enough
        # not to break into a clean end that goes well.
        if self._asked is None or self._asked_again or self._reporting is not None:
            return None
        if now - self._asked <= self.guards.stop * 2 / 3:
            return None
        self._asked_again = True
        return Action.ASK
