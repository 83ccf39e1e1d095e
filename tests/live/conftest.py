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
