"""The end of a session: our books against the venue's, and the verdict."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mdslib.audit.report import AuditReport, Finding, Outcome
from mdslib.errors import BrokerError, CredentialError, ModelError, ModelRaised
from mdslib.live.engine import Engine
from mdslib.live.verdict import ExitCode, Verdict, exit_code
from mdslib.protocols import Broker

if TYPE_CHECKING:
    from mdslib.live.report import DayReport

EPSILON = 1e-9  # units
LAST_WISH = 3  # interrupts, after which a person no longer waits for a clean end


def books(broker: Broker, engine: Engine) -> AuditReport:
    """Compare our positions and orders with the venue's; one finding, ``books``.

    Our position is the opening one and our fills, not the model's account, which stands still once a model has failed.
    """
    try:
        positions = broker.positions()
        working = {state.client_order_id for state in broker.open_orders()}
    except (BrokerError, CredentialError) as error:
        return _finding(Outcome.NOT_COMPARABLE, f"the venue's books could not be read: {error}")
    found = []
    for k, instrument in enumerate(engine.fold.instruments):
        ours = float(engine.opening[k]) + sum(o.filled for o in engine.desk.orders.values() if o.instrument == k)
        theirs = positions[instrument.symbol].qty if instrument.symbol in positions else 0.0
        if abs(ours - theirs) > EPSILON:
            found.append(f"position of {instrument.symbol}: ours {ours:+g}, the venue's {theirs:+g}")
    for name, order in engine.desk.orders.items():
        if order.done and name in working:
            found.append(f"order {name} works at the venue, ours ended as {order.status.name}")
    if found:
        return _finding(Outcome.FAILED, "; ".join(found))
    return _finding(Outcome.PASSED, "positions and working orders equal the venue's")


def _finding(outcome: Outcome, text: str) -> AuditReport:
    return AuditReport("", (Finding("books", outcome, text),))


def verdict_of(engine: Engine, report: DayReport) -> Verdict:
    """Return how a session ended: a failed audit weighs most, then what ended or halted it."""
    details = report.figures()
    failure, audit = engine.failure, report.audit
    if audit.verdict == Outcome.FAILED.value or (failure is None and not audit.ok):
        wrong = "; ".join(f.line() for f in audit.findings if f.outcome is not Outcome.PASSED)
        return Verdict(ExitCode.AUDIT_FAILED, f"audit {audit.verdict}: {wrong}", "session", details)
    if failure is not None:
        code = ExitCode.MODEL_RAISED if isinstance(failure, ModelRaised | ModelError) else exit_code(type(failure))
        return Verdict(code, str(failure), "session", details)
    return Verdict(ExitCode.OK, f"{engine.reason}; audit passed", "session", details)


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
