"""Who is let in, and how often: API keys and the rate limit of the REST calls."""

from __future__ import annotations

import secrets
from typing import Any

from mdslib.clock import wall_ns

CALLS_A_MINUTE = 200


class Keys:
    """The key pairs that are let in: one, or any that is not empty.

    Parameters
    ----------
    key, secret : str
        The only pair; empty lets in every pair.

    Examples
    --------
    >>> Keys().match("any", "thing"), Keys().match("", ""), Keys("k", "s").match("k", "other")
    (True, False, False)
    """

    def __init__(self, key: str = "", secret: str = "") -> None:
        self._key = key
        self._secret = secret

    def match(self, key: Any, secret: Any) -> bool:
        """Tell whether a pair is let in."""
        if not (isinstance(key, str) and isinstance(secret, str) and key and secret):
            return False
        if not self._key:
            return True
        same_key = secrets.compare_digest(key.encode(), self._key.encode())
        return secrets.compare_digest(secret.encode(), self._secret.encode()) and same_key


class RateLimit:
    """Calls a minute of real time, as the headers of Alpaca's answers tell them."""

    def __init__(self, *, enforced: bool) -> None:
        self.enforced = enforced
        self._minute = 0
        self._used = 0

    def count(self) -> tuple[bool, dict[str, str]]:
        """Count a call; return whether it is within the limit, and the headers of its answer."""
        minute = wall_ns() // 60_000_000_000
        if minute != self._minute:
            self._minute, self._used = minute, 0
        self._used += 1
        left = max(0, CALLS_A_MINUTE - self._used)
        headers = {
            "X-Ratelimit-Limit": str(CALLS_A_MINUTE),
            "X-Ratelimit-Remaining": str(left),
            "X-Ratelimit-Reset": str(60 * (minute + 1)),
        }
        return not self.enforced or self._used <= CALLS_A_MINUTE, headers
