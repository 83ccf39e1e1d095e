"""What a live session measures, as it is at the moment of asking: for Prometheus and for the notebook alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mdslib.live.latency import Latency
from mdslib.metrics import Histogram, Measure, Measures, serve

if TYPE_CHECKING:
    from mdslib.live.engine import Engine
    from mdslib.live.keeper import Keeper

# Seconds: from what a decision takes at best to what nobody should have to wait for.
BOUNDS = (20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 0.1, 0.2, 0.5, 1.0, 5.0)


def session_measures(engine: Engine, silence: float) -> Measures:
    """Return the measures of a session.

    Parameters
    ----------
    engine : Engine
    silence : float
        Seconds since the last market event was received.
    """
    tally, account = engine.tally, engine.fold.account
    symbols = [instrument.symbol for instrument in engine.fold.instruments]
    allowance = engine.workers.allowance
    free = allowance.left
    left = [Measure("mdslib_requests_left", "Requests that the venue takes now.", free)] if free >= 0 else []
    positions = {symbol: float(account[k]["position"]) for k, symbol in enumerate(symbols)}
    return [
        Measure("mdslib_events_total", "Market events on the tape.", tally.events),
        Measure("mdslib_decisions_total", "Decisions of the model.", tally.decisions),
        Measure("mdslib_orders_total", "Orders handed to the broker.", tally.intents),
        Measure("mdslib_fills_total", "Fills.", tally.fills),
        Measure("mdslib_cancels_total", "Cancels asked for.", tally.cancels),
        Measure("mdslib_denials_total", "Orders that a limit denied.", dict(tally.denied), "limit"),
        Measure("mdslib_rejects_total", "Orders that the venue refused.", dict(tally.rejected), "reason"),
        Measure("mdslib_requests_refused_total", "Requests refused as too many (429).", allowance.refused),
        *left,
        Measure("mdslib_unknown_outcomes_total", "Orders without an answer at first.", tally.unknown),
        Measure("mdslib_outside_session_total", "Market events outside the session.", dict(tally.outside), "when"),
        Measure("mdslib_gaps_total", "Gaps in the market data.", engine.gaps.count),
        Measure("mdslib_feed_total", "What befell the feed and the order stream.", dict(tally.feed), "what"),
        Measure("mdslib_replaced_total", "Orders that somebody has replaced at the venue.", tally.replaced),
        Measure("mdslib_foreign_updates_total", "Updates of orders that are not of this run.", tally.foreign),
        Measure("mdslib_queue_depth", "Items that wait for the deciding thread.", engine.queued),
        Measure("mdslib_queue_longest", "The most that ever waited.", tally.longest_queue),
        Measure("mdslib_silence_seconds", "Time since the last market event was received.", silence),
        Measure("mdslib_position_units", "Position, signed.", positions, "symbol"),
        histogram("mdslib_handover_seconds", "From the frame's receipt to the deciding thread.", engine.handover),
        histogram("mdslib_decision_seconds", "From the frame's receipt to the decision.", engine.decision),
        histogram("mdslib_answer_seconds", "From the order's call to the venue's answer.", engine.workers.to_answer),
    ]


@contextmanager
def served(port: int, engine: Engine, keeper: Keeper) -> Iterator[None]:
    """Serve a session's measures to Prometheus while the block runs; port 0: nowhere.

    Raises
    ------
    ConfigError
        If the port is taken.
    """
    if not port:
        yield
        return
    with serve(port, lambda: session_measures(engine, keeper.silence)):
        engine.log("metrics", at=f"http://127.0.0.1:{port}/metrics")
        yield


def histogram(name: str, text: str, latency: Latency) -> Histogram:
    """Return a latency's distribution over `BOUNDS`.

    Examples
    --------
    >>> latency = Latency()
    >>> for ns in (30_000, 40_000, 3_000_000): latency.add(ns)
    >>> made = histogram("x_seconds", "", latency)
    >>> made.counts[:3], made.entries
    ([0, 2, 2], 3)
    """
    counts = latency.at_most([int(bound * 1e9) for bound in BOUNDS])
    return Histogram(name, text, BOUNDS, counts, latency.count, latency.total / 1e9)
