"""Audit a run's folder: read what lies in it, and let `mdslib.audit` judge."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mdslib.audit import AuditReport, Finding, audit, compare_orders, compare_sent, fold_of
from mdslib.audit.report import Outcome
from mdslib.audit.sent import MARKET
from mdslib.errors import AuditError, ModelError, TapeError
from mdslib.events import Kind, Status
from mdslib.findings import counted
from mdslib.protocols import OrderState, Records
from mdslib.store.tapefile import TapeReader
from mdslib.store.verify import sealed_end
from mdslib.strategy import Strategy, find_model
from mdslib.tape import TapeHeader

EXCHANGE_CLOCKS = ("stepped", "scaled")  # of a header: a local exchange set the time


def audit_run(
    run_dir: Path, model: str | Path | Strategy | None = None, progress: Callable[[], None] = lambda: None
) -> AuditReport:
    """Audit one session by its folder.

    Parameters
    ----------
    run_dir : Path
        Holds ``tape/``, and ``sent/`` if the venue was the local exchange.
    model : str, Path or Strategy, optional
        The model; by default the one that the tape's header names.
    progress : callable
        Called whenever a part of it is done, so that somebody who waits sees it from a hung audit.

    Returns
    -------
    AuditReport
        The tape is whole; decisions and state fold again bit-equal; and with ``sent/``, nothing was lost, and the
        exchange's orders are the tape's. A damaged tape is a finding that failed, and the only one.

    Raises
    ------
    AuditError
        If the folder holds no run.
    ModelError
        If the model can't be found.

    Notes
    -----
    Where a model was changed for another, each is audited on the records of its own header, where it began afresh; of
    one whose code is not here any more, that is said.
    """
    run_dir = Path(run_dir)
    if not (run_dir / "tape").is_dir():
        raise AuditError(
            f"{run_dir} must hold a run's tape/ folder, and does not; give the folder of one run, as `mds live` "
            "printed it"
        )
    try:
        opened = TapeReader(run_dir / "tape")
    except TapeError as error:
        sealed = f". It was sealed: {_names(run_dir)}" if sealed_end(run_dir) is not None else ""
        return AuditReport(run_dir.resolve().name, (Finding("tape", Outcome.FAILED, f"{error}{sealed}"),))
    with opened as tape:
        report = _whole(tape, run_dir)
        progress()
        for part in _parts(tape, model, progress):
            report += part
            progress()
        return report + _at_the_exchange(tape, run_dir / "sent", progress)


def _whole(tape: TapeReader, run_dir: Path) -> AuditReport:
    """Tell that the tape has no gap; one that was cut where a record ends has none either, but its seal knows."""
    header, last, sealed = tape.header, tape.next_seq - 1, sealed_end(run_dir)
    text = f"{counted(last, 'record')} in {counted(len(tape.segments), 'segment')}, whole and without a gap"
    if tape.torn:
        text += f"; {tape.torn} bytes of an unacknowledged record cut at the end"
    title = f"{header.run_name}, {header.model or 'recording'}, {header.trading_date.isoformat()}"
    if sealed is not None and last < sealed:
        cut = f"it ends at record {last:,}, and was sealed at {sealed:,}: it was cut; {_names(run_dir)}"
        return AuditReport(title, (Finding("tape", Outcome.FAILED, cut),))
    return AuditReport(title, (Finding("tape", Outcome.PASSED, text),))


def _names(run_dir: Path) -> str:
    return f"mds verify {run_dir} names what was changed since"


def _parts(
    tape: TapeReader, model: str | Path | Strategy | None, progress: Callable[[], None]
) -> Iterator[AuditReport]:
    runs = tape.runs()
    for header, part in runs[:-1]:
        if header.fingerprint:
            yield _earlier(tape, header, part, progress)
    header, part = runs[-1]
    if header.fingerprint:
        chosen = find_model(model if model is not None else header.source or header.model)
        closes = part[part["kind"] == int(Kind.CLOSE)]
        digest = tape.text(closes[-1]) if len(closes) else ""
        yield audit(part, header, chosen, digest=digest, digests=_digests(tape, part), progress=progress)


def _digests(tape: TapeReader, part: Records) -> dict[int, str]:
    """Return what the live fold said of its state on the way, by the record that says it."""
    rows = part[np.isin(part["kind"], (int(Kind.CHECKPOINT), int(Kind.CLOSE)))]
    return {int(row["seq"]): text for row in rows if (text := tape.text(row))}


def _earlier(tape: TapeReader, header: TapeHeader, part: Records, progress: Callable[[], None]) -> AuditReport:
    """Audit what a model decided that was changed for another; its part ends with the START that did so.

    What the venue said of its orders after that was not folded, and where its code is not here any more, nothing of it
    can be.
    """
    starts = np.flatnonzero(part["kind"] == int(Kind.START))
    part = part[: int(starts[-1])] if len(starts) else part
    title = f"records {int(part['seq'][0])} to {int(part['seq'][-1])}" if len(part) else "no records"
    try:
        found = find_model(header.source or header.model)
    except ModelError as error:
        return _not_here(f"{title} were decided by {header.model} {header.fingerprint}: {error}")
    if fold_of(header, found).fingerprint != header.fingerprint:
        return _not_here(
            f"{title} were decided by {header.model} {header.fingerprint}, which is not here any more; a person"
            " accepted the change"
        )
    report = audit(part, header, found, digests=_digests(tape, part), cut=True, progress=progress)
    return AuditReport(report.title, report.findings[:2])


def _not_here(text: str) -> AuditReport:
    return AuditReport("", (Finding("decisions", Outcome.NOT_COMPARED, text),))


def _at_the_exchange(tape: TapeReader, folder: Path, progress: Callable[[], None]) -> AuditReport:
    """Compare with the local exchange's log, where there is one."""
    from mdslib.sim.log import read_orders, read_sent

    report, header = AuditReport("", ()), tape.header
    local = header.clock in EXCHANGE_CLOCKS
    if (folder / "sent.json").is_file():
        sent = read_sent(folder, [instrument.symbol for instrument in header.instruments])
        progress()
        report += compare_sent(tape.records(), np.asarray(sent), header.instruments, _until(tape))
        progress()
    elif local:
        report += _without(folder / "sent.json", "sent")
    if (folder / "orders.jsonl").is_file():
        report += compare_orders(tape.records(), header, _chains(read_orders(folder)))
    elif local:
        report += _without(folder / "orders.jsonl", "orders", "fills")
    return report


def _without(file: Path, *names: str) -> AuditReport:
    text = f"the local exchange left no {file.parent.name}/{file.name} here; mds sim --log writes it"
    return AuditReport("", tuple(Finding(name, Outcome.NOT_COMPARED, text) for name in names))


def _until(tape: TapeReader) -> int | None:
    """Return the time up to which everything sent must be on the tape: the close, or an earlier end of the session.

    A session that was stopped early left frames on the wire, so the last instant that it saw is not judged.
    """
    records = tape.records()
    ends = records["ts_event"][records["kind"] == int(Kind.CLOSE)]
    if not len(ends) or not tape.header.hours:
        return None
    close = tape.header.hours[-1][1]
    if ends[-1] >= close:
        return close
    seen = records["ts_event"][np.isin(records["kind"], MARKET)]
    return int(seen.max(initial=0))


def _chains(orders: list[dict[str, Any]]) -> list[OrderState]:
    """Return the orders of an exchange; one that somebody has replaced has filled what its successors have as well."""
    later = {order["id"]: order for order in orders}
    found = []
    for order in orders:
        state, link = _state(order), order
        while link.get("replaced_by"):
            link = later[link["replaced_by"]]
            state = state._replace(filled_qty=state.filled_qty + _state(link).filled_qty)
        found.append(state)
    return found


def _state(order: dict[str, Any]) -> OrderState:
    """Return an order of the exchange's log, as Alpaca writes it, with signed quantities."""
    sign = -1.0 if order["side"] == "sell" else 1.0
    qty, filled = sign * float(order["qty"]), sign * float(order["filled_qty"])
    name = str(order["status"]).upper()
    status = Status[name] if name in Status.__members__ else Status.UNKNOWN
    price = order.get("filled_avg_price")
    return OrderState(
        str(order["client_order_id"]), str(order["id"]), str(order["symbol"]), status, qty, filled,
        math.nan if price is None else float(price), qty - filled, 0,
    )  # fmt: skip
