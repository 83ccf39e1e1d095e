"""One free-running exchange is shared where a test leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from mdslib.sim import Exchange

from .days import steps
from .lockstep_client import HEADERS


@pytest.fixture
def standing() -> Iterator[Exchange]:
    """An exchange whose day does not begin: nobody subscribes."""
    with Exchange(steps(10), in_process=True, auth_timeout=0.5, symbol_limit=1) as exchange:
        yield exchange


@pytest.fixture
def http(standing: Exchange) -> Iterator[httpx.Client]:
    """REST calls to `standing`, with keys."""
    with httpx.Client(base_url=standing.url, headers=HEADERS, timeout=120) as client:
        yield client
