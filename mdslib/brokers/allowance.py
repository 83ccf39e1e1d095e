"""How many requests the venue takes: a bucket of tokens in front of every call, and the pauses that it asks for.

Alpaca takes 200 requests a minute and account. A token comes back a minute after it was spent, not little by little, so
that no minute ever has more requests than tokens, whenever the venue's own minute begins.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

from mdslib.clock import monotonic_ns, wall_ns

REQUESTS_A_MINUTE = 200  # Source: Alpaca, "Usage limits": 200 a minute and account, paper as live
RESERVE = 10  # per cent of the tokens that only cancels may take
MINUTE = 60.0  # s
FIRST_PAUSE = 1.0  # s after a 429 that names no time; then twice as long, and so on
WAITED_AT_ONCE = 5.0  # s
LONGEST_PAUSE = 60.0  # s; the venue counts by minutes


class Allowance:
    """Tokens for requests: each call takes one, cancels first, and after a 429 nobody does for a while.

    Cancels may take every token; all else leaves the last tenth for them, so cancels go first where tokens are scarce.
    It may be used from several threads.

    Parameters
    ----------
    requests : int
        Tokens a minute; 0: without end, and only the venue's own pauses are kept.
    now : callable, optional
        Monotonic time, ns.

    Attributes
    ----------
    refused : int
        How often the venue answered 429.
    on_wait : callable
        Called every few seconds by whoever waits for a token; for a heartbeat.

    Examples
    --------
    >>> allowance = Allowance(10, now=lambda: 0)
    >>> sum(allowance.take(urgent=False) for _ in range(20)), sum(allowance.take(urgent=True) for _ in range(20))
    (9, 1)
    >>> allowance.pause(urgent=True)
    60.0
    """

    def __init__(self, requests: int = REQUESTS_A_MINUTE, now: Callable[[], int] = monotonic_ns) -> None:
        if requests < 0:
            raise ValueError(f"Allowance.requests must be >= 0, received {requests}; 0 sets no limit")
        self.requests, self._now = requests, now
        self._reserve = max(1, requests * RESERVE // 100) if requests > 1 else 0
        self._spent: deque[int] = deque()  # when each token was taken that is not back yet
        self._lock = threading.Lock()
        self._claimed = threading.local()  # .one: this thread has a token that it has not used yet
        self._closed_until = 0
        self._pause = FIRST_PAUSE
        self._ended = threading.Event()
        self.refused = 0
        self.on_wait: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"Allowance({self.requests} a minute, {self.left} left)"

    @property
    def left(self) -> int:
        """How many requests may leave now; -1 where there is no limit."""
        if not self.requests:
            return -1
        with self._lock:
            self._give_back(self._now())
            return self.requests - len(self._spent)

    def take(self, *, urgent: bool) -> bool:
        """Take a token if there is one; `urgent` for a cancel."""
        return self._take(urgent) == 0.0

    def claim(self, *, urgent: bool) -> float:
        """Take a token for this thread's next `wait`, and return 0; or return how long to wait for one, s.

        So whoever has something better to do than to wait knows that its call will leave at once: another thread can't
        take the token in between.
        """
        if getattr(self._claimed, "one", False):
            return 0.0
        pause = self._take(urgent)
        self._claimed.one = pause == 0.0
        return pause

    def pause(self, *, urgent: bool) -> float:
        """Return how long a request has to wait, s; 0 where it may leave now."""
        with self._lock:
            return max(0, self._wait(self._now(), urgent)) / 1e9

    def wait(self, *, urgent: bool) -> None:
        """Wait for a token and take it, or use the one that was claimed; at a session's end nothing is waited for."""
        if getattr(self._claimed, "one", False):
            self._claimed.one = False
            return
        while pause := self._take(urgent):
            if self._ended.wait(min(pause, WAITED_AT_ONCE)):
                return
            self.on_wait()

    def _take(self, urgent: bool) -> float:
        """Take a token and return 0, or return the pause until there is one, s."""
        with self._lock:
            now = self._now()
            pause = max(0, self._wait(now, urgent)) / 1e9
            if self.requests and not pause:
                self._spent.append(now)
            return pause

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Take note of an answer: after a 429 nothing leaves for as long as it says."""
        if status != 429:
            self._pause = FIRST_PAUSE
            return
        with self._lock:
            self.refused += 1
            pause = _told(headers)
            if pause is None:
                pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
            self._closed_until = max(self._closed_until, self._now() + int(min(pause, LONGEST_PAUSE) * 1e9))

    def close(self) -> None:
        """Let go whoever waits."""
        self._ended.set()

    def _wait(self, now: int, urgent: bool) -> int:
        """Return ns until a token may be taken."""
        closed = self._closed_until - now
        if not self.requests:
            return closed
        self._give_back(now)
        over = len(self._spent) - (self.requests - (0 if urgent else self._reserve))
        if over < 0:
            return closed
        return max(closed, self._spent[over] + int(MINUTE * 1e9) - now)

    def _give_back(self, now: int) -> None:
        while self._spent and now - self._spent[0] >= MINUTE * 1e9:
            self._spent.popleft()


def _told(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a 429 asks for: ``Retry-After`` (seconds, or a date), else Alpaca's time of reset."""
    after, reset = headers.get("Retry-After", ""), headers.get("X-Ratelimit-Reset", "")
    try:
        if after:
            said = (
                float(after) if after.strip().isdigit() else parsedate_to_datetime(after).timestamp() - wall_ns() / 1e9
            )
            return max(0.0, said)
        until = float(reset) - wall_ns() / 1e9 if reset else 0.0
    except (ValueError, OverflowError):  # words that say nothing
        return None
    return until if 0.0 < until <= LONGEST_PAUSE else None
