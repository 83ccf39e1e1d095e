"""How long to wait before the next try of a connection: longer each time, and never twice the same."""

from __future__ import annotations

import random

FIRST = 0.5  # s before the second try
LONGEST = 30.0  # s between two tries
STEADY = 60.0  # s that a connection must have held for the waits to begin anew
LEAST = {406: 5.0, 429: 30.0}  # s by the venue's code: a slot that is still taken, and too many connections


class Backoff:
    """Waits that double from `first` to `longest`, of which a half is left to chance.

    The chance keeps clients that were cut off together from coming back together. An account's stale connection holds
    its only slot for a while (406), and hurried tries are answered with 429, so after these codes the wait is at least
    half of what `LEAST` says.

    Parameters
    ----------
    first, longest : float
        The first and the longest wait, s.
    seed : int, optional
        Repeats the chance, for tests.

    Attributes
    ----------
    tries : int
        Waits since the last `held`.

    Examples
    --------
    >>> backoff = Backoff(1.0, 4.0, seed=1)
    >>> [0.5 <= backoff.wait() <= 1.0, 1.0 <= backoff.wait() <= 2.0, 2.0 <= backoff.wait() <= 4.0]
    [True, True, True]
    >>> backoff.wait(429) >= 15.0
    True
    """

    def __init__(self, first: float = FIRST, longest: float = LONGEST, seed: int | None = None) -> None:
        self._first, self._longest = first, longest
        self._chance = random.Random(seed)
        self.tries = 0

    def wait(self, code: int | None = None) -> float:
        """Return how long to wait now, s; `code` is what the venue said at the last try."""
        whole = min(self._first * 2.0 ** min(self.tries, 30), self._longest)
        self.tries += 1
        whole = max(whole, LEAST.get(code or 0, 0.0))
        return whole * (0.5 + 0.5 * self._chance.random())

    def held(self, seconds: float) -> None:
        """Note how long a connection has held; only one that was steady begins the waits anew."""
        if seconds >= STEADY:
            self.tries = 0
