"""The HTTP session below alpaca-py: every call is bounded in time, and no refused call is sent again.

alpaca-py has no time limit and repeats any call, a POST too, on 429 and 504. It does so when it sees the answer; so
this session raises before it can.
"""

from __future__ import annotations

import os
from typing import Any

import requests
import requests.utils
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError


class HttpRefused(Exception):
    """An answer with a status of 400 or more; `said` is the venue's message and `code` its number, or None."""

    def __init__(self, answer: requests.Response) -> None:
        self.status = answer.status_code
        self.code: int | None = None
        self.said = answer.text[:200]
        try:
            body = answer.json()
        except ValueError:
            body = None
        if isinstance(body, dict):
            self.said = str(body.get("message", self.said))[:500]
            self.code = body.get("code")
        number = "" if self.code is None else f", code {self.code}"
        super().__init__(f"HTTP {self.status}{number}: {self.said}")


class BoundedSession(requests.Session):
    """A `requests.Session` with a time limit, kept connections, and errors raised at once.

    Parameters
    ----------
    url : str
        Where the calls go.
    timeout : float
        Longest wait for the connection, and for the answer, s.
    """

    def __init__(self, url: str, timeout: float) -> None:
        super().__init__()
        self._timeout = timeout
        # The environment is read once: requests would do it at every call, for a tenth of a millisecond, and would let
        # a .netrc file replace the keys.
        self.trust_env = False
        self.proxies = requests.utils.get_environ_proxies(url)
        self.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        for scheme in ("https://", "http://"):
            self.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=16, max_retries=0))

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        """Send one request, once.

        Raises
        ------
        HttpRefused
            For an answer with a status of 400 or more.
        requests.RequestException
            If no answer came.
        """
        options.setdefault("timeout", self._timeout)
        answer = super().request(method, url, *args, **options)
        if answer.status_code >= 300:  # a redirection is no answer either: alpaca-py forbids to follow it
            raise HttpRefused(answer)
        return answer


def was_never_sent(error: requests.RequestException) -> bool:
    """Tell whether a call failed before a byte of it left: then nothing can have landed."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError | requests.exceptions.ProxyError):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)
