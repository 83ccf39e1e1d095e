"""Back-tests: the fold with matching, the venue's rules and fees, on recorded data."""

from __future__ import annotations

from mdslib.backtesting.result import Result
from mdslib.backtesting.run import backtest

__all__ = ["Result", "backtest"]
