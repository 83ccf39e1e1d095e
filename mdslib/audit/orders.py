"""Orders at the exchange against intents on the tape: each id on both sides once, with one quantity, filled alike."""

from __future__ import annotations

import math
from collections.abc import Iterable

from mdslib.account import DUST
from mdslib.audit.decisions import BY_DESK
from mdslib.audit.report import AuditReport, Finding, Outcome
from mdslib.events import Kind, Status, Verb
from mdslib.orderid import client_order_id, decision_of, parse_client_order_id, run_hash
from mdslib.protocols import OrderState, Records
from mdslib.tape import TapeHeader

_NAMED = 3  # ids named in a finding; more would hide the first


def intended(records: Records, header: TapeHeader) -> dict[str, tuple[str, float]]:
    """Return client order id to (symbol, signed quantity) of every order that the tape says was to be sent."""
    orders: dict[str, tuple[str, float]] = {}
    for row in records[records["kind"] == int(Kind.INTENT)]:
        if int(row["code"]) % 256 == Verb.CANCEL:
            continue
        name = client_order_id(
            header.account_id, header.trading_date, header.run_name, int(row["i0"]), int(row["flag"]), int(row["i1"])
        )
        orders[name] = (header.instruments[int(row["instrument"])].symbol, float(row["f0"]))
    return orders


def compare_orders(records: Records, header: TapeHeader, orders: Iterable[OrderState]) -> AuditReport:
    """Compare an exchange's orders with a tape's intents.

    Parameters
    ----------
    records : RECORD array
        The tape.
    header : TapeHeader
        Its account, date and run name give the order ids.
    orders : iterable of OrderState
        The exchange's orders of the day; those of other runs are left alone.

    Returns
    -------
    AuditReport
        Findings ``orders`` (every intent there once, nothing else there, quantities equal) and ``fills`` (the same
        quantity filled). An intent that the venue rejected, or of unknown outcome, may be absent there.
    """
    told = intended(records, header)
    run = run_hash(header.account_id, header.run_name)
    there: dict[str, OrderState] = {}
    doubled: list[str] = []
    for order in orders:
        key = parse_client_order_id(order.client_order_id)
        if key is None or key.run != run or key.trading_date != header.trading_date:
            continue
        if order.client_order_id in there:
            doubled.append(order.client_order_id)
        there[order.client_order_id] = order
    excused = _may_be_absent(records)
    missing = [name for name in told if name not in there and decision_of(name) not in excused]
    foreign = [name for name in there if name not in told]
    unequal = [
        name
        for name, (symbol, qty) in told.items()
        if name in there and (there[name].symbol, there[name].qty) != (symbol, qty)
    ]
    wrong = _listed("not at the exchange", missing) + _listed("not on the tape", foreign)
    wrong += _listed("there twice", doubled) + _listed("with another symbol or quantity", unequal)
    absent = sum(name not in there for name in told) - len(missing)
    same = f"{len(told):,} intents on the tape, {len(there):,} orders at the exchange"
    same += f", {absent} rejected, withheld or unknown" if absent else ""
    first = Finding(
        "orders",
        Outcome.FAILED if wrong else Outcome.PASSED,
        "; ".join([same, *wrong]) if wrong else f"{same}, each once",
    )
    return AuditReport("", (first, _fills(records, there)))


def _may_be_absent(records: Records) -> set[tuple[int, int]]:
    """Return the decisions that the venue refused definitely, of whose fate nobody knows, or that the desk withheld."""
    kind = records["kind"]
    refused = (kind == int(Kind.UPDATE)) & (records["code"] == int(Status.REJECTED))
    withheld = (kind == int(Kind.DENIED)) & (records["code"] >= BY_DESK)
    rows = records[refused | withheld | (kind == int(Kind.UNKNOWN))]
    return set(zip(rows["i0"].tolist(), rows["flag"].tolist(), strict=True))


def _fills(records: Records, there: dict[str, OrderState]) -> Finding:
    updates = records[(records["kind"] == int(Kind.UPDATE)) & (records["f0"] != 0)]
    by_tape = math.fsum(updates["f0"].tolist())
    by_venue = math.fsum(order.filled_qty for order in there.values())
    traded = math.fsum(abs(updates["f0"]).tolist()), math.fsum(abs(order.filled_qty) for order in there.values())
    equal = math.isclose(by_tape, by_venue, rel_tol=1e-13, abs_tol=DUST) and math.isclose(*traded, abs_tol=DUST)
    text = f"{len(updates):,} fills on the tape, net {by_tape:g}, traded {traded[0]:g}"
    if equal:
        return Finding("fills", Outcome.PASSED, f"{text}, the same at the exchange")
    return Finding("fills", Outcome.FAILED, f"{text}; at the exchange net {by_venue:g}, traded {traded[1]:g}")


def _listed(what: str, names: list[str]) -> list[str]:
    return [f"{len(names)} {what} (first: {', '.join(names[:_NAMED])})"] if names else []
