"""The look back at a day by the venue's own history, where that can't be asked."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mdslib.clock import WallClock
from mdslib.errors import FeedError
from mdslib.events import RECORD, Kind
from mdslib.feeds import alpaca_history
from mdslib.instruments import Instrument
from mdslib.live import wiring
from mdslib.live.wiring import past_checked


class NoHistory:
    """A venue's history that answers nothing."""

    closed = 0

    def __init__(self, *given: Any, **named: Any) -> None:
        pass

    def trades(self, *given: Any) -> Any:
        raise FeedError("HTTP 500")

    def close(self) -> None:
        NoHistory.closed += 1


def test_a_history_that_fails_is_closed_and_the_report_says_that_nothing_was_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = np.zeros(2, RECORD)
    records["kind"], records["ts_event"] = Kind.TRADE, [10, 20]
    monkeypatch.setattr(wiring, "TapeReader", lambda path: nullcontext(SimpleNamespace(records=lambda: records)))
    monkeypatch.setattr(alpaca_history, "CpquantHistory", NoHistory)
    plan: Any = SimpleNamespace(
        options={"check_history": "yes"}, feed="iex", data_url="http://127.0.0.1", run_dir=Path("run"),
        strategy=SimpleNamespace(market_kinds=(Kind.TRADE,)), instruments=(Instrument("SPY"),),
        session=SimpleNamespace(open=0, close=100),
    )  # fmt: skip
    engine: Any = SimpleNamespace(link=None, progress=lambda: None, clock=WallClock())
    logged = []
    report = past_checked(plan, engine, lambda event, **fields: logged.append((event, fields)))
    assert logged == [("history-not-compared", {"error": "HTTP 500"})]
    assert [finding.line() for finding in report.findings] == ["- history: HTTP 500"]
    assert NoHistory.closed == 1
