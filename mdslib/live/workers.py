"""Order workers: threads that talk to the broker, so that deciding never waits for it. Cancels go first."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mdslib.brokers.allowance import Allowance
from mdslib.clock import monotonic_ns
from mdslib.desk import Order
from mdslib.errors import BrokerError, CredentialError, MdsError, OrderRejected, OutcomeUnknown
from mdslib.live.halt import halted
from mdslib.live.latency import Latency
from mdslib.protocols import Broker, OrderState
from mdslib.risk import Denial

RESOLVE_EVERY = 1.0  # s between two questions after an order of unknown outcome
CANCEL_TRIES = 3
LOOK = 0.05  # s between two looks for a cancel, while an order waits for its turn at the venue
RESOLVE_WITHIN = 30.0  # s by default; after that it is reported as never arrived, and trading only reduces


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


Job = tuple[str, Order, int]  # what is to be done, of which order, since when (monotonic ns)


class Jobs:
    """What waits for the workers, in order but for cancels, which go first.

    A `queue.PriorityQueue` does the same in ten times the steps, and the deciding thread makes them.

    Examples
    --------
    >>> jobs = Jobs()
    >>> jobs.put(("send", 1, 0)); jobs.put(("send", 2, 0)); jobs.put(("cancel", 0, 0), first=True)
    >>> jobs.get(), jobs.get(), jobs.get()
    (('cancel', 0, 0), ('send', 1, 0), ('send', 2, 0))
    """

    def __init__(self) -> None:
        self._first: deque[Job | None] = deque()
        self._then: deque[Job | None] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()  # one entry for each job that waits

    def put(self, job: Job | None, *, first: bool = False) -> None:
        """Add a job, or None for the end, and wake a worker."""
        (self._first if first else self._then).append(job)
        self._bell.put(None)

    def get(self) -> Job | None:
        """Wait for a job and take it."""
        self._bell.get()
        while True:  # there is one for us; another worker may take it while we look, and leaves us another
            for waiting in (self._first, self._then):
                with contextlib.suppress(IndexError):
                    return waiting.popleft()

    def take_first(self) -> Job | None:
        """Take a job that goes first if one waits; None otherwise."""
        if not self._first:
            return None
        try:
            self._bell.get_nowait()
        except queue.Empty:  # another worker is about to take it
            return None
        with contextlib.suppress(IndexError):
            return self._first.popleft()
        self._bell.put(None)
        return None


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
    resolve_within : float
        How long an order of unknown outcome is asked for, s. These are asked for in a thread of their own, so that
        other orders and cancels go on.
    allowance : Allowance, optional
        The broker's; by default one without a limit. Where an order or a question has to wait for its turn, cancels are
        not held up by it.
    max_age : float
        An order that could not leave within so many seconds after it was handed over is withheld: the market that it
        was meant for has gone.
    asks : bool
        Ask for an order whose cancel was refused: it has ended, and the stream may not have told.
    """

    def __init__(
        self,
        broker: Broker,
        tell: Callable[[Answer], None],
        stop_files: tuple[Path, ...],
        threads: int,
        resolve_within: float = RESOLVE_WITHIN,
        allowance: Allowance | None = None,
        max_age: float = float("inf"),
        asks: bool = True,
    ) -> None:
        self.allowance = Allowance(0) if allowance is None else allowance
        self._max_age, self._asks, self._within = max_age, asks, resolve_within
        self._unknown: list[tuple[Order, int]] = []  # of unknown outcome, each with its deadline, monotonic ns
        self._resolver: threading.Thread | None = None
        self._broker, self._tell, self._stop_files = broker, tell, stop_files
        self._jobs = Jobs()
        self._open = 0
        self.idle = threading.Event()  # every job that was handed over is answered
        self.idle.set()
        self._lock = threading.Lock()
        self._withholds = False
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
        self._jobs.put((verb, order, monotonic_ns()), first=first)

    def withhold(self) -> None:
        """Let no order leave from now on; each that waits is answered as withheld. Cancels and questions go on."""
        self._withholds = True

    def close(self) -> None:
        """End the threads; orders that wait are withheld, cancels and questions are left."""
        self.withhold()
        self._ended.set()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in (*self._threads, *([self._resolver] if self._resolver is not None else [])):
            thread.join(timeout=10.0)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job[0] == "send" or not self._ended.is_set():
                self._finish(job)

    def _finish(self, job: Job) -> None:
        try:
            self._do(*job)
        finally:
            self._done()

    def _done(self) -> None:
        with self._lock:
            self._open -= 1
            if not self._open:
                self.idle.set()

    def _has_turn(self, verb: str, since: int) -> bool:
        """Wait until the venue takes another request, and cancel meanwhile; False where an order may not leave now."""
        while True:
            if verb == "send" and (self._withholds or monotonic_ns() - since > self._max_age * 1e9):
                return False
            pause = self.allowance.claim(urgent=verb == "cancel")
            if not pause:
                return True
            if verb != "cancel" and (first := self._jobs.take_first()) is not None:
                self._finish(first)
            elif self._ended.wait(min(pause, LOOK)) and verb != "send":
                return True  # the session is over: its last cancels and questions don't wait, and it sends no order

    def _do(self, verb: str, order: Order, since: int) -> None:
        if not self._has_turn(verb, since):
            self._tell(Answer(order, withheld=Denial.REQUEST_RATE))
        elif verb == "cancel":
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
        """Hand an order to the thread that asks for such: a worker that waits here would hold up orders and cancels."""
        with self._lock:
            self._open += 1
            self._unknown.append((order, monotonic_ns() + int(self._within * 1e9)))
            if self._resolver is None:
                self._resolver = threading.Thread(target=self._ask_unknown, name="orders-unknown", daemon=True)
                self._resolver.start()

    def _ask_unknown(self) -> None:
        """Ask for the orders of unknown outcome until the session ends; the body of a thread of its own."""
        while not self._ended.wait(RESOLVE_EVERY):
            for entry in list(self._unknown):
                if self._ended.is_set():
                    return
                if self._resolved(*entry):
                    with self._lock:
                        self._unknown.remove(entry)
                    self._done()

    def _resolved(self, order: Order, deadline: int) -> bool:
        """Ask by client order id; tell what the venue knows, or that its deadline is over."""
        late = monotonic_ns() >= deadline
        try:
            state = self._broker.order(order.new.client_order_id)
        except (BrokerError, CredentialError) as error:
            self.failures.append(str(error))
            state = None
        # A fault of ours must not leave the others without an answer: this one is asked for again, until its deadline.
        except Exception as error:
            self.failures.append(f"{type(error).__name__}: {error}")
            state = None
        if state is not None:
            self._tell(Answer(order, state=state, resolved=True))
        elif late:
            self._tell(Answer(order, error=OrderRejected("never arrived at the venue"), resolved=True))
        return late or state is not None

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
                if definite and self._asks:
                    self._ask(order)
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
