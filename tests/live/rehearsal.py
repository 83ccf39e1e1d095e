"""A live session against a local exchange in a few lines, and what of it must equal a back-test."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mdslib.backtesting import backtest
from mdslib.bars import bars_from_trades
from mdslib.calendar import session as trading_session
from mdslib.events import Kind
from mdslib.instruments import Instrument
from mdslib.live import Session
from mdslib.live.report import DayReport
from mdslib.protocols import Records
from mdslib.sim import Exchange
from mdslib.store.made import made_day
from mdslib.store.tapereader import TapeReader
from mdslib.table import MarketData, merge

# Distinctive, so that a search for them in what a run wrote can't hit anything else. The tests run in several processes
# at a time, each with an account of its own: a session holds its account's only slot until it has ended, and meanwhile
# another process may be given the port of the exchange that it was connected to.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw")
KEYS = {
    "ALPACA_DATA_PUBLIC_KEY": f"PKDATAqz7314xv{WORKER}",
    "ALPACA_DATA_SECRET_KEY": "datasecretWq90817hhj",
    "ALPACA_TRADE_PUBLIC_KEY": "PKTRADEkk5521bn",
    "ALPACA_TRADE_SECRET_KEY": "tradesecretRt66203lmz",
}
DATE = "2025-06-12"
DAY = trading_session(DATE)
assert DAY is not None
LATENCY = 1_000_000  # ns
MINUTE = 60_000_000_000


def made_trades(count: int = 1_500, *symbols: str) -> MarketData:
    """Return a made day of `count` trades of each symbol, merged."""
    names = symbols or ("SPY",)
    tables = [made_day(DATE, symbol=name, trades=count) for name in names]
    numbered = [t.replace(instrument=np.full(len(t), k, "<u2")) for k, t in enumerate(tables)]
    return MarketData(tuple(Instrument(name) for name in names), (merge(numbered),), (DAY,))


def made_bars(count: int = 40_000) -> MarketData:
    """Return the minute bars of a made day."""
    bars = bars_from_trades(made_day(DATE, trades=count), MINUTE, DAY.open)
    return MarketData((Instrument("SPY"),), (bars,), (DAY,))


def parameters(
    exchange: Exchange, data: MarketData, run_dir: Path, model: str | Path, **options: Any
) -> dict[str, Any]:
    """Return what `Session.from_parameters` takes for a session on a local exchange."""
    given: dict[str, Any] = {
        "model": str(model),
        "symbols": [i.symbol for i in data.instruments],
        "data_stream_url": exchange.url.replace("http", "ws", 1),
        "data_url": exchange.url,
        "trade_url": exchange.trade_url,
        "date": str(data.sessions[0].date),
        "run_dir": str(run_dir),
        "time_url": exchange.time_url,
    }
    return given | options


@contextmanager
def exchange_for(data: MarketData, run_dir: Path, **options: Any) -> Iterator[Exchange]:
    """Run a local exchange whose log lies in the run's folder; in this process, which starts it quicker."""
    chosen = {"in_process": True, "latency": LATENCY, "log_dir": run_dir / "sent"} | options
    with Exchange(data, **chosen) as exchange:
        yield exchange


def rehearse(
    data: MarketData,
    model: str | Path,
    run_dir: Path,
    *,
    sim: dict[str, Any] | None = None,
    during: Callable[[Session, Exchange], None] | None = None,
    **options: Any,
) -> DayReport:
    """Run one session to its end; `during` may look at the session, or disturb it, from a thread of its own.

    In fast time a day keeps its positions: the minutes before its close would be gone before an order has arrived.
    """
    if (sim or {}).get("mode") == "fast":
        options.setdefault("end_of_day", "keep")
    with exchange_for(data, run_dir, **(sim or {})) as exchange:
        session = Session.from_parameters(**parameters(exchange, data, run_dir, model, **options))
        thread = None
        if during is not None:
            thread = threading.Thread(target=during, args=(session, exchange))
            thread.start()
        try:
            return session.run()
        finally:
            if thread is not None:
                thread.join(120)


def lockstep(
    data: MarketData,
    model: str | Path,
    run_dir: Path,
    rules: str = "permissive",
    flatten: str | None = "5m",
    params: dict[str, Any] | None = None,
    **sim: Any,
) -> tuple[DayReport, Any]:
    """Run a session in lock-step, and the back-test of the same; return both."""
    end = {"end_of_day": "keep"} if flatten is None else {"end_of_day": "flatten", "flatten_before": flatten}
    report = rehearse(
        data,
        model,
        run_dir,
        sim={"mode": "lockstep", "rules": rules, **sim},
        params=params or {},
        **end,
    )
    tested = backtest(model, data, params=params, rules=rules, latency=LATENCY, flatten=flatten)
    return report, tested


def assert_same_fills(report: DayReport, tested: Any) -> None:
    """Fill for fill: time, instrument, quantity, price; and decision for decision."""
    live, back = report.fills, tested.fills
    names = (("ts_event", "ts"), ("instrument", "instrument"), ("f0", "qty"), ("f1", "px"))
    ours = [tuple(row[a].item() for a, _ in names) for row in live]
    theirs = [tuple(row[b].item() for _, b in names) for row in back]
    assert ours == theirs
    assert decisions_on(report.records) == [_decision(row) for row in tested.decisions if _is_told(row)]


def decisions_on(records: Records) -> list[tuple[Any, ...]]:
    """Return every decision on a tape: (time, instrument, leg, denied, quantity)."""
    rows = records[np.isin(records["kind"], (int(Kind.INTENT), int(Kind.DENIED)))]
    return [
        (
            int(row["ts_event"]),
            int(row["instrument"]),
            int(row["flag"]),
            int(row["code"]) if row["kind"] == int(Kind.DENIED) else 0,
            float(row["f0"]),
        )
        for row in rows
    ]


def _is_told(decision: Any) -> bool:
    return bool(decision["qty"] != 0.0 or decision["verb"] == 3 or decision["denied"] != 0)


def _decision(row: Any) -> tuple[Any, ...]:
    return (
        int(row["ts_event"]), int(row["instrument"]), int(row["leg"]), int(row["denied"]), float(row["qty"]),
    )  # fmt: skip


def tape(run_dir: Path) -> TapeReader:
    """Open the run's tape."""
    return TapeReader(run_dir / "tape")


def of_kind(report: DayReport, kind: Kind) -> Records:
    """Return the records of one kind."""
    return report.records[report.records["kind"] == int(kind)]


def wait_until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until something is true; fail if it never is."""
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it never came to be"
        time.sleep(0.01)
