"""What keeps a session's market feed alive, wired from its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mdslib.clock import Clock
from mdslib.live.engine import Engine
from mdslib.live.filler import LAG, Filler
from mdslib.live.keeper import Keeper
from mdslib.live.orderflow import Log
from mdslib.live.plan import LivePlan
from mdslib.live.simlink import SimLink

if TYPE_CHECKING:
    from mdslib.feeds.alpaca_socket import CpquantFeed
    from mdslib.feeds.backfill import Backfill

# The feed whose history holds what a stream has sent; a stream that is not here has none.
HISTORY = {"iex": "iex", "sip": "sip", "delayed_sip": "sip"}


def make_keeper(
    plan: LivePlan, feed: CpquantFeed, engine: Engine, clock: Clock, link: SimLink | None, log: Log
) -> Keeper:
    """Return the keeper of a session's feed.

    A local exchange's history is never behind its stream, so nothing is waited for; in lock-step, where it may stand
    still for long, a quiet socket is no alarm.
    """
    from mdslib.config import credentials
    from mdslib.feeds.slot import Slot

    session = plan.session.open, plan.session.close
    filler = Filler(
        (lambda: _history(plan, feed, clock)) if plan.feed in HISTORY else None,
        plan.instruments,
        plan.run_dir / "tape",
        clock,
        session,
        engine.sync,
        engine.tally.feed,
        lag=LAG if link is None else 0.0,
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


def _history(plan: LivePlan, feed: CpquantFeed, clock: Clock) -> Backfill:
    from mdslib.feeds.alpaca_history import CpquantHistory
    from mdslib.feeds.backfill import Backfill

    history = CpquantHistory(plan.data_url, HISTORY[plan.feed], timeout=10.0, clock=clock)
    return Backfill(history, plan.instruments, (*feed.kinds, *feed.besides))
