"""A restart with another model: the orders of the one before are ended, then its part of the tape."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

from mdslib.clock import monotonic_ns
from mdslib.desk import Desk, mark_record
from mdslib.errors import BrokerError, SessionError
from mdslib.events import Kind
from mdslib.live.replay import venue_id
from mdslib.orderid import run_prefix
from mdslib.protocols import Broker
from mdslib.store.tapefile import TapeWriter
from mdslib.tape import Side, SideKind, TapeHeader

EVERY = 0.5  # s from one look to the next
GRACE = 10.0  # s for a cancel to be done


def retire(tape: TapeWriter, header: TapeHeader, broker: Broker, now: Callable[[], int], resolve_within: float) -> None:
    """End the orders that an earlier model has left working, then begin a segment under the new header.

    Parameters
    ----------
    tape : TapeWriter
        Opened under the earlier header; what the venue says of the orders still belongs there.
    header : TapeHeader
        Of the model from now on; its state is a fresh one.
    broker : Broker
    now : callable
        The session's time, ns UTC.
    resolve_within : float
        An order that the venue does not know after so many seconds never arrived.

    Raises
    ------
    SessionError
        Where orders still work, or their fate is not known.
    """
    assert tape.found is not None
    old, text = tape.header, tape.found.text
    desk = Desk(old.account_id, old.run_name, old.trading_date, old.instruments)
    desk.adopt(tape.found.records(), lambda row: venue_id(text(row)))
    said = f"started again with another model: {header.model} {header.fingerprint}, before {old.fingerprint}"
    tape.append(mark_record(Kind.START, now(), now()), [Side(0, SideKind.TEXT, said)])
    began, pause = monotonic_ns(), threading.Event()
    while not _ended(tape, desk, broker, now(), late=(monotonic_ns() - began) / 1e9 > resolve_within):
        if (monotonic_ns() - began) / 1e9 > resolve_within + GRACE:
            names = ", ".join(order.new.client_order_id for order in desk.working())
            raise SessionError(
                f"orders of the earlier model did not end ({names or 'our books have none, the venue has'}); cancel"
                " them at the venue's own page, then start again"
            )
        pause.wait(EVERY)
    tape.swap(header)


def _ended(tape: TapeWriter, desk: Desk, broker: Broker, now: int, *, late: bool) -> bool:
    """Cancel what works at the venue, record what became of our orders, and tell whether all have ended."""
    prefix = run_prefix(desk.account_id, desk.date, desk.run_name)
    left = [state for state in broker.open_orders() if state.client_order_id.startswith(prefix)]
    for state in left:
        try:
            broker.cancel(state.venue_order_id)
        except BrokerError as error:
            if error.status is None or error.status >= 500:  # else it has ended meanwhile
                raise
    for order in desk.working():
        found = broker.order(order.new.client_order_id)
        if found is None and not late:
            continue
        if found is None:
            records, kind, text = desk.reject(order, now), SideKind.ERROR, "never arrived at the venue"
        else:
            records, kind = desk.on_state(found, now), SideKind.ORDER
            text = json.dumps({"order": found.venue_order_id, "execution": ""})
        if len(records):
            tape.append(records, [Side(len(records) - 1, kind, text)])
    return not left and not desk.working()
