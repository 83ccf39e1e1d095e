"""What a session asks of the venue's market data, wired from its plan: the feed's keeper, a look back at the end."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from mdslib.audit.report import AuditReport, Finding, Outcome
from mdslib.clock import Clock, monotonic_ns
from mdslib.errors import FeedError, MdsError
from mdslib.events import Kind
from mdslib.feeds.backfill import WITH_HISTORY
from mdslib.live.engine import Engine
from mdslib.live.filler import LAG, Filler
from mdslib.live.keeper import Keeper
from mdslib.live.orderflow import Log
from mdslib.live.plan import LivePlan
from mdslib.live.simlink import SimLink
from mdslib.store.tapereader import TapeReader

if TYPE_CHECKING:
    from mdslib.feeds.alpaca_socket import CpquantFeed
    from mdslib.feeds.backfill import Backfill

LOOK_BACK = 60.0  # s that the look back at the day may take
CHANNEL = {Kind.TRADE: "trades", Kind.QUOTE: "quotes", Kind.BAR: "bars", Kind.BOOK_DELTA: "orderbooks"}
# The feed whose history holds what a stream has sent; a stream that is not here has none.
HISTORY = {"iex": "iex", "sip": "sip", "delayed_sip": "sip"}


def make_keeper(
    plan: LivePlan, feed: CpquantFeed, engine: Engine, clock: Clock, link: SimLink | None, log: Log, skew: float
) -> Keeper:
    """Return the keeper of a session's feed.

    A local exchange's history is never behind its stream, so nothing is waited for; in lock-step, where it may stand
    still for long, a quiet socket is no alarm.

    Parameters
    ----------
    skew : float
        How far the venue's clock was ahead of ours at the start, s.
    """
    from mdslib.config import credentials
    from mdslib.feeds.slot import Slot

    session = plan.session.open, plan.session.close
    filler = Filler(
        (lambda: _history(plan, feed, clock, link)) if plan.feed in HISTORY else None,
        plan.instruments,
        plan.run_dir / "tape",
        clock,
        session,
        engine.sync,
        engine.tally.feed,
        lag=LAG if link is None else 0.0,
        ahead=max(int(-skew * 1e9), 0) if link is None else 0,
    )
    still = link is not None and link.mode not in ("real", "fast")
    keeper = Keeper(
        feed,
        engine,
        filler,
        clock,
        session,
        engine.tally.feed,
        log,
        slot=Slot(feed.url, credentials("data").key),
        mute_after=0.0 if still else float(plan.options["mute_after"]),
        most=int(plan.options["max_queue"]),
    )
    engine.day.on_missing = keeper.suspect
    return keeper


def _history(plan: LivePlan, feed: CpquantFeed, clock: Clock, link: SimLink | None) -> Backfill:
    from mdslib.feeds.alpaca_history import CpquantHistory
    from mdslib.feeds.backfill import Backfill

    history = CpquantHistory(plan.data_url, HISTORY[plan.feed], timeout=10.0, clock=clock)
    # A local exchange's day may run so fast that our clock is no judge of which of its bars have closed.
    return Backfill(history, plan.instruments, (*feed.kinds, *feed.besides), closed_only=link is not None)


def past_checked(plan: LivePlan, engine: Engine, log: Log) -> AuditReport:
    """Compare the tape with the venue's own history after the close; where it can't be asked, say so and no more."""
    from mdslib.audit.history import compare_history
    from mdslib.feeds.alpaca_history import CpquantHistory
    from mdslib.feeds.backfill import Backfill, slices

    wanted = plan.options["check_history"]
    if wanted == "no" or (wanted == "auto" and engine.link is not None) or plan.feed not in HISTORY:
        return AuditReport("", ())
    channels = tuple(CHANNEL[kind] for kind in plan.strategy.market_kinds if CHANNEL[kind] in WITH_HISTORY)
    with TapeReader(plan.run_dir / "tape") as tape:
        records = np.array(tape.records())
    seen = records["ts_event"][np.isin(records["kind"], (int(Kind.TRADE), int(Kind.BAR)))]
    if not channels or not len(seen):
        return AuditReport("", ())
    engine.progress()
    # To the close where the session reached it, however early the last event came: a socket may have been mute by then.
    closed = (records["kind"] == int(Kind.CLOSE)) & (records["ts_event"] >= plan.session.close)
    start, end = int(seen.min()), plan.session.close + 1 if closed.any() else int(seen.max()) + 1
    try:
        history = CpquantHistory(plan.data_url, HISTORY[plan.feed], timeout=10.0)
        history.progress = engine.progress
        past = Backfill(history, plan.instruments, channels)
        now = engine.clock.now()
        deadline, parts = monotonic_ns() + int(LOOK_BACK * 1e9), []
        with closing(past):
            for begin, stop in slices(start, end, end):
                if monotonic_ns() > deadline:
                    raise FeedError(f"the venue's history was not read to its end within {LOOK_BACK:g} s")
                parts.append(past.fetch(begin, min(stop, end), now))
    except MdsError as error:
        log("history-not-compared", error=str(error))
        return AuditReport("", (Finding("history", Outcome.NOT_COMPARED, str(error)),))
    there = np.concatenate(parts)
    late = (there["kind"] == int(Kind.TRADE)) & (there["ts_event"] >= plan.session.close)  # the session has ended
    return compare_history(records, there[~late], plan.instruments)
