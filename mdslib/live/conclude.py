"""The end of a session: our books against the venue's, and the verdict."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdslib.audit.report import AuditReport, Finding, Outcome
from mdslib.errors import BrokerError, CredentialError, FeedError, MdsError, ModelError, ModelRaised
from mdslib.live.closeout import Closeout, named
from mdslib.live.ending import CLOSED
from mdslib.live.engine import Engine
from mdslib.live.verdict import ExitCode, Verdict, exit_code
from mdslib.protocols import Broker, OrderState
from mdslib.store.auditblock import mark_failed

if TYPE_CHECKING:
    from mdslib.live.report import DayReport

CENT = 0.01  # currency
LAST_WISH = 3  # interrupts, after which a person no longer waits for a clean end
WORKING = "working"  # the finding on orders that may still fill


def books(broker: Broker, engine: Engine, opening_cash: float) -> AuditReport:
    """Compare our books with the venue's; findings ``working``, ``cash`` and ``books``.

    Our position is the opening one and our fills, not the model's account, which stands still once a model has failed.
    Cash is compared apart from positions, since fills may be right and fees not: no message of the venue tells of fees.
    """
    closeout = _closeout(engine)
    try:
        still = [state for state in broker.open_orders() if closeout.mine(state)]
        positions, cash = broker.positions(), broker.account().cash
    except (BrokerError, CredentialError) as error:
        asked = Finding("books", Outcome.NOT_COMPARABLE, f"the venue's books could not be read: {error}")
        return AuditReport("", (_working(closeout, None), asked))
    engine.progress()
    found = engine.desk.apart(engine.opening, positions)
    text = "; ".join(map(str, found)) or "positions equal the venue's"
    outcome = Outcome.FAILED if found else Outcome.PASSED
    findings = _working(closeout, still), _cash(engine, opening_cash, cash), Finding("books", outcome, text)
    return AuditReport("", findings)


def _cash(engine: Engine, opening: float, theirs: float) -> Finding:
    """Compare the opening cash and what our fills have cost with the venue's cash; to the cent, as it tells it."""
    ours = opening - sum(order.spent for order in engine.desk.orders.values())
    if abs(ours - theirs) < CENT:
        return Finding("cash", Outcome.PASSED, f"cash equals the venue's: {theirs:,.2f}")
    text = f"by our fills cash is {ours:,.2f}, the venue has {theirs:,.2f}, {theirs - ours:+,.2f}"
    return Finding("cash", Outcome.NOTED, f"{text}: fees, interest, or trades that are not of this run")


def _closeout(engine: Engine) -> Closeout:
    assert engine.closeout is not None, "a session sets it before the deciding thread starts"
    return engine.closeout


def _working(closeout: Closeout, still: Sequence[OrderState] | None) -> Finding:
    """Tell whether orders of this run work at the venue, or may; `still` is None where it could not be asked."""
    left = [named(state) for state in still or ()]
    unknown = closeout.unknown(still or ())
    told = []
    if left:
        told.append(f"{len(left)} of this run's orders still work at the venue, cancel them there: {', '.join(left)}")
    if unknown:
        told.append(f"what became of {len(unknown)} orders is not known, look at the venue: {', '.join(unknown)}")
    if left:
        return Finding(WORKING, Outcome.FAILED, "; ".join(told))
    if unknown or still is None:
        told = told or ["the venue could not be asked whether an order of this run works; our books have none"]
        return Finding(WORKING, Outcome.NOT_COMPARABLE, told[0])
    return Finding(WORKING, Outcome.PASSED, "no order of this run works at the venue")


def unrecorded(engine: Engine) -> MdsError:
    """Return the error of a session whose tape could not be written to its end, and what works at the venue."""
    assert engine.failure is not None
    closeout = _closeout(engine)
    if closeout.clear:
        return type(engine.failure)(f"{engine.failure} No order of this run works at the venue.")
    last = closeout.last
    finding = _working(closeout, last.working if last.answered else None)
    return type(engine.failure)(f"{engine.failure} And {finding.text}.")


def judged(engine: Engine, report: DayReport, run_dir: Path) -> Verdict:
    """Block the next start if the audit failed, write the verdict, and return it.

    Raises
    ------
    RecordError
        Where the disk is full; the verdict is on standard error then.
    """
    verdict = verdict_of(engine, report)
    if report.audit.verdict == Outcome.FAILED.value:
        try:
            mark_failed(run_dir.parent, report.audit, run_dir.name)
        except OSError as error:
            why = f"the next start could not be blocked ({error.strerror}): start nothing before a person has looked"
            verdict = replace(verdict, reason=f"{verdict.reason}; {why}")
    verdict.write(run_dir)
    return verdict


def verdict_of(engine: Engine, report: DayReport) -> Verdict:
    """Return how a session ended: orders that may still fill weigh most, then a failed audit, then what ended it."""
    details = report.figures()
    failure, audit = engine.failure, report.audit
    wrong = "; ".join(f.line() for f in audit.findings if f.outcome is not Outcome.PASSED)
    venue_failed = isinstance(failure, FeedError | BrokerError)  # another start asks the venue again
    if _may_fill(report.audit, engine) and not venue_failed:
        return Verdict(ExitCode.LEFT_OPEN, f"{engine.reason}; {wrong}", "session", details)
    if audit.verdict == Outcome.FAILED.value or (failure is None and not audit.ok):
        return Verdict(ExitCode.AUDIT_FAILED, f"audit {audit.verdict}: {wrong}", "session", details)
    if failure is not None:
        code = ExitCode.MODEL_RAISED if isinstance(failure, ModelRaised | ModelError) else exit_code(type(failure))
        left = wrong if _may_fill(report.audit, engine) else ""
        said = "; ".join(part for part in (str(failure), report.held_over, left) if part)
        return Verdict(code, said, "session", details)
    parts = (engine.reason, report.held_over, report.halt, f"audit {audit.summary()}")
    said = "; ".join(part for part in parts if part)
    if not len(report.market):  # where somebody ended it early, there was perhaps no time for one
        code = ExitCode.CONFIG if engine.reason == CLOSED else ExitCode.OK
        return Verdict(code, f"{_no_event(engine, report)}; {said}", "session", details)
    return Verdict(ExitCode.LEFT_OPEN if report.held_over else ExitCode.OK, said, "session", details)


def _no_event(engine: Engine, report: DayReport) -> str:
    """Say that nothing came of what was subscribed."""
    asked = " and ".join(f"{kind.name.lower()}s" for kind in engine.fold.strategy.market_kinds) or "events"
    outside = sum(report.tally.outside.values())
    told = f" ({outside:,} came before the open or after the close)" if outside else ""
    symbols = ", ".join(instrument.symbol for instrument in report.instruments)
    return f"no market event arrived{told}: does the feed send {asked} of {symbols}?"


def _may_fill(audit: AuditReport, engine: Engine) -> bool:
    """Tell whether the venue has an order of ours that works, or one of which it has not said that it ended."""
    found = next((f.outcome for f in audit.findings if f.name == WORKING), Outcome.PASSED)
    return found is Outcome.FAILED or (found is Outcome.NOT_COMPARABLE and bool(engine.desk.working()))


@contextmanager
def interrupts(stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGINT and SIGTERM ask for a clean end, wherever in the session they come; the third SIGINT breaks in.

    Without it, a `KeyboardInterrupt` would be raised at any line, between two steps of the clean end as well.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen = 0

    def handle(number: int, _frame: Any) -> None:
        nonlocal seen
        seen += number == signal.SIGINT
        stop()
        if seen >= LAST_WISH:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
