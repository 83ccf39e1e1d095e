"""The HTTP session below alpaca-py: every call is bounded in time and rate, and no order is sent again.

alpaca-py has no time limit and repeats any call, a POST too, on 429 and 504. It does so when it sees the answer; so
this session raises before it can.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Mapping
from typing import Any, cast

import requests
import requests.utils
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProxyError, SSLError

from mdslib.brokers.allowance import Allowance

ASKED = 3  # times for a question that is refused for its rate


class HttpRefused(Exception):
    """An answer with a status of 300 or more; `said` is the venue's message and `code` its number, or None."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.code: int | None = None
        self.said = body.decode("utf-8", "replace")[:200]
        try:
            told = json.loads(body)
        except ValueError:
            told = None
        if isinstance(told, dict):
            self.said = str(told.get("message", self.said))[:500]
            self.code = told.get("code")
        number = "" if self.code is None else f", code {self.code}"
        super().__init__(f"HTTP {self.status}{number}: {self.said}")


class NoAnswer(Exception):
    """No answer came to a POST; `sent` is False where it certainly never left."""

    def __init__(self, error: Exception) -> None:
        self.sent = not isinstance(error, NewConnectionError | ConnectTimeoutError | ProxyError)
        if isinstance(error, SSLError) and error.args and isinstance(error.args[0], ssl.SSLCertVerificationError):
            self.sent = False
        super().__init__(type(error).__name__)


class BoundedSession(requests.Session):
    """A `requests.Session` with a time limit, kept connections, and errors raised at once.

    Parameters
    ----------
    url : str
        Where the calls go.
    timeout : float
        Longest wait for the connection, and for the answer, s.
    allowance : Allowance
        Every call waits for a token of it; a DELETE, which cancels, goes first.
    """

    def __init__(self, url: str, timeout: float, allowance: Allowance) -> None:
        super().__init__()
        self._timeout, self._allowance = timeout, allowance
        # The environment is read once: requests would do it at every call, for a tenth of a millisecond, and would let
        # a .netrc file replace the keys.
        self.trust_env = False
        self.proxies = requests.utils.get_environ_proxies(url)
        self.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        self._straight: dict[str, tuple[HTTPConnectionPool, str]] = {}
        for scheme in ("https://", "http://"):
            self.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=16, max_retries=0))

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        """Send one request, once; a question that is refused for its rate is asked again once the pause is over.

        Raises
        ------
        HttpRefused
            For an answer with a status of 400 or more.
        requests.RequestException
            If no answer came.
        """
        options.setdefault("timeout", self._timeout)
        for _ in range(ASKED if method == "GET" else 1):
            self._allowance.wait(urgent=method == "DELETE")
            answer = super().request(method, url, *args, **options)
            self._allowance.answered(answer.status_code, answer.headers)
            if answer.status_code != 429:
                break
        if answer.status_code >= 300:  # a redirection is no answer either: alpaca-py forbids to follow it
            raise HttpRefused(answer.status_code, answer.content)
        return answer

    def post_straight(self, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Send one POST, once, over the same kept connections, without what `requests` does for each call.

        That is half a millisecond where an order waits; of TLS, proxy and time limits nothing is left out, since they
        belong to the connections.

        Raises
        ------
        HttpRefused
            For an answer with a status of 300 or more.
        NoAnswer
            If none came.
        """
        pool, target = self._straight.get(url) or self._find(url)
        self._allowance.wait(urgent=False)
        try:
            answer = pool.urlopen(
                "POST", target, body=body, headers=headers, retries=False, redirect=False, timeout=self._timeout
            )
        except HTTPError as error:
            raise NoAnswer(error) from error
        self._allowance.answered(answer.status, answer.headers)
        if answer.status >= 300:
            raise HttpRefused(answer.status, answer.data)
        return answer.data

    def _find(self, url: str) -> tuple[HTTPConnectionPool, str]:
        """Return the pool that `requests` would use, and what stands in the request's first line."""
        request = self.prepare_request(requests.Request("POST", url))
        adapter = self.get_adapter(url)
        assert isinstance(adapter, HTTPAdapter)
        pool = cast("HTTPConnectionPool", adapter.get_connection_with_tls_context(request, self.verify, self.proxies))
        found = self._straight[url] = pool, adapter.request_url(request, self.proxies)
        return found
