"""Key pairs of no value, and a clean environment, for every session of these tests."""

from __future__ import annotations

import pytest

from .rehearsal import KEYS


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the four variables that cpquant reads."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MDS_CONFIG", raising=False)


@pytest.fixture(autouse=True, scope="session")
def imported() -> None:
    """Import alpaca-py now: while an exchange in this process starts, Python's warning filters are not thread-safe."""
    from mdslib.brokers.alpaca import _trading_client

    _trading_client()
