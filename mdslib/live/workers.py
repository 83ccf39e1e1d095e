"""Order workers: threads that talk to the broker, so that deciding never waits for it. Cancels go first."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mdslib.clock import monotonic_ns
from mdslib.desk import Order
from mdslib.errors import BrokerError, CredentialError, MdsError, OrderRejected, OutcomeUnknown
from mdslib.live.halt import halted
from mdslib.live.latency import Latency
from mdslib.protocols import Broker, OrderState
from mdslib.risk import Denial

RESOLVE_EVERY = 1.0  # s between two questions after an order of unknown outcome
CANCEL_TRIES = 3
RESOLVE_WITHIN = 30.0  # s; after that it is reported as never arrived, and trading only reduces


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one order: the venue's state, our own refusal, or an error.

    Attributes
    ----------
    state : OrderState or None
    withheld : Denial or None
        Stopped by the desk at the last moment: nothing was sent.
    error : MdsError or None
        `OrderRejected` is definite; `OutcomeUnknown` is followed by another answer once it is resolved.
    """

    order: Order
    state: OrderState | None = None
    withheld: Denial | None = None
    error: MdsError | None = None
    resolved: bool = False


Job = tuple[str, Order] | None  # None: the end


class Jobs:
    """What waits for the workers, in order but for cancels, which go first.

    A `queue.PriorityQueue` does the same in ten times the steps, and the deciding thread makes them.

    Examples
    --------
    >>> jobs = Jobs()
    >>> jobs.put(("send", 1)); jobs.put(("send", 2)); jobs.put(("cancel", 0), first=True)
    >>> jobs.get(), jobs.get(), jobs.get()
    (('cancel', 0), ('send', 1), ('send', 2))
    """

    def __init__(self) -> None:
        self._first: deque[Job] = deque()
        self._then: deque[Job] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()  # one entry for each job that waits

    def put(self, job: Job, *, first: bool = False) -> None:
        """Add a job, and wake a worker."""
        (self._first if first else self._then).append(job)
        self._bell.put(None)

    def get(self) -> Job:
        """Wait for a job and take it."""
        self._bell.get()
        while True:  # there is one for us; another worker may take it while we look, and leaves us another
            for waiting in (self._first, self._then):
                with contextlib.suppress(IndexError):
                    return waiting.popleft()


class Workers:
    """A few threads that send orders and cancels in turn, and hand the answers to `tell`.

    Parameters
    ----------
    broker : Broker
    tell : callable
        Takes each `Answer`; called from the workers' threads.
    stop_files : tuple of Path
        Any of these forbids new orders.
    threads : int
        1 keeps the order of the orders.
    """

    def __init__(
        self, broker: Broker, tell: Callable[[Answer], None], stop_files: tuple[Path, ...], threads: int
    ) -> None:
        self._broker, self._tell, self._stop_files = broker, tell, stop_files
        self._jobs = Jobs()
        self._open = 0
        self.idle = threading.Event()  # every job that was handed over is answered
        self.idle.set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.failures: list[str] = []
        self.to_answer = Latency()
        self._threads = [threading.Thread(target=self._work, name=f"orders-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def send(self, order: Order) -> None:
        """Send an order after those that wait already."""
        self._put("send", order)

    def cancel(self, order: Order) -> None:
        """Cancel an order before anything else that waits."""
        self._put("cancel", order, first=True)

    def ask(self, order: Order) -> None:
        """Ask the venue what became of an order."""
        self._put("ask", order)

    def _put(self, verb: str, order: Order, *, first: bool = False) -> None:
        with self._lock:
            self._open += 1
            if self._open == 1:
                self.idle.clear()
        self._jobs.put((verb, order), first=first)

    def close(self) -> None:
        """End the threads; jobs that wait are left."""
        self._ended.set()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(timeout=10.0)

    def _work(self) -> None:
        while not self._ended.is_set():
            job = self._jobs.get()
            if job is None:
                return
            try:
                self._do(*job)
            finally:
                with self._lock:
                    self._open -= 1
                    if not self._open:
                        self.idle.set()

    def _do(self, verb: str, order: Order) -> None:
        if verb == "cancel":
            self._cancel(order)
        elif verb == "ask":
            self._ask(order)
        elif halted(self._stop_files):
            self._tell(Answer(order, withheld=Denial.HALT_FILE))
        else:
            self._send(order)

    def _send(self, order: Order) -> None:
        began = monotonic_ns()
        try:
            state = self._broker.submit(order.new)
        except OutcomeUnknown as error:
            self._tell(Answer(order, error=error))
            self._resolve(order)
        except (BrokerError, CredentialError) as error:  # definite: nothing was placed
            self._tell(Answer(order, error=error))
        # A fault of ours in the broker's code must not leave the order unanswered: what became of it is unknown.
        except Exception as error:
            self._tell(Answer(order, error=OutcomeUnknown(f"{type(error).__name__}: {error}")))
            self._resolve(order)
        else:
            self.to_answer.add(monotonic_ns() - began)
            self._tell(Answer(order, state=state))

    def _resolve(self, order: Order) -> None:
        """Ask by client order id until the venue knows the order, the deadline is over, or the session ends."""
        deadline = monotonic_ns() + int(RESOLVE_WITHIN * 1e9)
        while monotonic_ns() < deadline:
            if self._ended.wait(RESOLVE_EVERY):
                return
            try:
                state = self._broker.order(order.new.client_order_id)
            except (BrokerError, CredentialError) as error:
                self.failures.append(str(error))
                continue
            if state is not None:
                self._tell(Answer(order, state=state, resolved=True))
                return
        self._tell(Answer(order, error=OrderRejected("never arrived at the venue"), resolved=True))

    def _cancel(self, order: Order) -> None:
        """Ask to cancel; canceling twice does no harm, so a call without an answer is repeated."""
        for attempt in range(CANCEL_TRIES):
            try:
                self._broker.cancel(order.venue_order_id)
                return
            except (BrokerError, CredentialError) as error:
                self.failures.append(f"cancel {order.new.client_order_id}: {error}")
                status = getattr(error, "status", None)
                definite = status is not None and status < 500 and status != 429  # it may have ended meanwhile
                if definite or attempt == CANCEL_TRIES - 1 or self._ended.wait(RESOLVE_EVERY):
                    break
        order.cancel_asked = False  # a later cancel is sent again

    def _ask(self, order: Order) -> None:
        try:
            state = self._broker.order(order.new.client_order_id)
        except (BrokerError, CredentialError) as error:
            self.failures.append(str(error))
            return
        if state is not None:
            self._tell(Answer(order, state=state, resolved=True))
