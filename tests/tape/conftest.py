"""Made tapes for the tape's tests."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from mdslib.events import RECORD, Kind
from mdslib.instruments import Instrument
from mdslib.tape import TapeHeader


@pytest.fixture
def header() -> TapeHeader:
    """Return a small header."""
    return TapeHeader(
        "volume_modulo",
        "0123abcd",
        {"shares": 5.0},
        (Instrument("SPY"),),
        "PA3",
        datetime.date(2013, 10, 8),
        "spy",
        {"max_position": float("inf")},
    )


@pytest.fixture
def trades() -> np.ndarray:
    """Return a thousand made trades."""
    random = np.random.default_rng(7)
    records = np.zeros(1000, RECORD)
    records["kind"] = Kind.TRADE
    records["ts_event"] = 1_381_239_000_000_000_000 + np.sort(random.integers(0, 10**9, 1000))
    records["f0"] = 145.0 + random.integers(0, 100, 1000) / 100
    records["i0"] = random.integers(1, 1000, 1000)
    return records
