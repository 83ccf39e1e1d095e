"""The end at the venue: when a session has ended, none of its orders works there any more.

The venue is asked, not our books: an order may reach it after everything was canceled. What works there under this
run's order ids is canceled, and the venue is asked again, until it names none and tells what became of all we sent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mdslib.clock import monotonic_ns
from mdslib.desk import Desk
from mdslib.errors import BrokerError, CredentialError
from mdslib.orderid import run_prefix
from mdslib.protocols import Broker, OrderState

WITHIN = 30.0  # s; what works then is named in the verdict
EVERY = 0.5  # s from one look to the next


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the venue found.

    Attributes
    ----------
    working : tuple of OrderState
        Orders of this run that worked there; each was asked to be canceled.
    states : tuple of OrderState
        What the venue knows of the orders that our books took for working.
    errors : tuple of str
        What could not be asked or canceled.
    answered : bool
        The venue named its working orders.
    """

    working: tuple[OrderState, ...] = ()
    states: tuple[OrderState, ...] = ()
    errors: tuple[str, ...] = ()
    answered: bool = False


class Closeout:
    """Looks at the venue until nothing of this run works there, or time is up; driven by the deciding thread.

    Parameters
    ----------
    broker : Broker
    desk : Desk
        Its account, date and run name tell which orders are this run's.
    tell : callable
        Takes each `Look`; called from a thread that lasts one look.

    Attributes
    ----------
    looks : int
        How often the venue was asked.
    last : Look
        What the last look found.
    """

    def __init__(self, broker: Broker, desk: Desk, tell: Callable[[Look], None]) -> None:
        self._broker, self._desk, self._tell = broker, desk, tell
        self._prefix = run_prefix(desk.account_id, desk.date, desk.run_name)
        self.looks = 0
        self.last = Look()
        self._looking = self._found = False
        self._next = 0
        self._deadline = 0

    def mine(self, state: OrderState) -> bool:
        """Tell whether an order is this run's, or took the place of one."""
        return state.client_order_id.startswith(self._prefix) or self._desk.successor_of(state) is not None

    @property
    def clear(self) -> bool:
        """Whether the venue has said that nothing of this run works there, and the fate of every order is known."""
        return self.last.answered and not self.last.working and not self._desk.working()

    def over(self) -> bool:
        """Tell whether there is nothing left to do; else look again when it is time."""
        if self._looking:
            return False
        now = monotonic_ns()
        self._deadline = self._deadline or now + int(WITHIN * 1e9)
        if self.clear or (self.looks and now > self._deadline):
            return True
        if now >= self._next:
            self._looking = True
            names = [order.new.client_order_id for order in self._desk.working()]
            threading.Thread(target=lambda: self._tell(self._look(names)), name="closeout", daemon=True).start()
        return False

    def heard(self, look: Look) -> bool:
        """Note what a look has found; tell whether it is the first one after which something worked, or may have."""
        self.looks += 1
        self.last, self._looking = look, False
        self._next = monotonic_ns() + int(EVERY * 1e9)
        before, self._found = self._found, self._found or bool(look.working) or bool(self._desk.working())
        return self._found and not before

    def insist(self) -> None:
        """Do all of it at once, where nothing can be recorded any more; our books follow without a record."""
        pause = threading.Event()
        deadline = monotonic_ns() + int(WITHIN * 1e9)
        while True:
            self.heard(self._look([order.new.client_order_id for order in self._desk.working()]))
            for state in self.last.states:
                self._desk.on_state(state, state.ts_event)
            if self.clear or monotonic_ns() > deadline:
                return
            pause.wait(EVERY)

    def _look(self, names: Sequence[str]) -> Look:
        try:
            return self._ask(names)
        except (BrokerError, CredentialError) as error:
            return Look(errors=(str(error),))
        # A fault of ours must not leave the session waiting for an answer: it is told like any other.
        except Exception as error:
            return Look(errors=(f"{type(error).__name__}: {error}",))

    def _ask(self, names: Sequence[str]) -> Look:
        """Cancel what works at the venue, then ask for the orders `names`."""
        errors: list[str] = []
        working = tuple(state for state in self._broker.open_orders() if self.mine(state))
        for state in working:
            try:
                self._broker.cancel(state.venue_order_id)
            except (BrokerError, CredentialError) as error:  # it may have ended meanwhile: the next look tells
                errors.append(f"cancel of {state.client_order_id}: {error}")
        states = []
        for name in names:
            try:
                found = self._broker.order(name)
            except (BrokerError, CredentialError) as error:
                errors.append(str(error))
                continue
            if found is not None:
                states.append(found)
        return Look(working, tuple(states), tuple(errors), answered=True)

    def unknown(self, known: Sequence[OrderState] = ()) -> list[str]:
        """Name the orders that were sent and of which the venue has not said that they ended, but for the known."""
        told = {state.client_order_id for state in known}
        new = [order.new for order in self._desk.working() if order.new.client_order_id not in told]
        return [f"{each.client_order_id} ({each.qty:+g} {each.symbol})" for each in new]


def named(state: OrderState) -> str:
    """Name an order that works, with what is left of it."""
    return f"{state.client_order_id} ({state.leaves_qty:+g} {state.symbol} of {state.qty:+g})"
