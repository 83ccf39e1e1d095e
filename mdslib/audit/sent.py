"""Completeness: what the exchange sent against what the tape holds. Nothing lost, nothing doubled, order kept."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np

from mdslib.audit.report import AuditReport, Finding, Outcome
from mdslib.events import RECORD, SCHEMAS, Kind
from mdslib.instruments import Instrument
from mdslib.protocols import Records

MARKET = tuple(
    int(kind)
    for kind in (
        Kind.TRADE,
        Kind.QUOTE,
        Kind.BAR,
        Kind.BAR_REVISION,
        Kind.DAILY_BAR,
        Kind.CORRECTION,
        Kind.CANCEL_ERROR,
        Kind.STATUS,
    )
)
# What an event says, without what the tape adds to it: sequence, time of receipt, text, CRC.
_EVENT = [name for name in RECORD.names or () if name not in ("seq", "ts_init", "side", "crc")]


def compare_sent(
    records: Records, sent: Records, instruments: Sequence[Instrument] = (), until: int | None = None
) -> AuditReport:
    """Compare the market events on a tape with those that an exchange says it sent.

    Parameters
    ----------
    records : RECORD array
        The tape.
    sent : RECORD array
        The exchange's log of what it sent to this client, in order.
    instruments : sequence of Instrument, optional
        For symbols in the report.
    until : int, optional
        Events from this time on (ns UTC) are not judged, and counted: the session had stopped reading.

    Returns
    -------
    AuditReport
        One finding, ``sent``: names the first event that is lost, doubled or out of order. Events are compared by
        everything they say; two equal prints are two events.

    Examples
    --------
    >>> sent = np.zeros(3, RECORD)
    >>> sent["kind"], sent["ts_event"], sent["f0"] = Kind.TRADE, [1, 2, 3], [10.0, 10.1, 10.2]
    >>> compare_sent(sent, sent).ok
    True
    >>> print(compare_sent(sent[[0, 2]], sent).findings[0].text)
    3 events sent, 2 on the tape, 1 lost, 0 doubled; first: TRADE of instrument 0 at 1970-01-01T00:00:00.000000002Z
    (price=10.1), number 2 of those sent
    """
    late = ""
    fetched = _fetched(records)
    if until is not None:
        judged = sent["ts_event"] < until
        late = f"; {int((~judged).sum()):,} later ones not judged" if not judged.all() else ""
        sent, own = sent[judged], records["ts_event"] < until
        records, fetched = records[own], fetched[own]
    told, kept, filled = _market(sent), _market(records[~fetched]), _market(records[fetched])
    gaps = int((records["kind"] == int(Kind.GAP)).sum())
    noted = f"; the tape itself notes {gaps} gaps" if gaps else ""
    noted += late
    if not len(filled) and told.tobytes() == kept.tobytes():
        return _report(Outcome.PASSED, f"{len(told):,} events sent, all on the tape, once and in order{noted}")
    everything = np.concatenate([told, kept, filled])
    _, codes = np.unique(everything, return_inverse=True)
    codes_told, codes_kept, codes_filled = np.split(codes, [len(told), len(told) + len(kept)])
    balance = _balance(codes_told, codes_kept, codes_filled)
    lost, doubled = int(balance.clip(0).sum()), int((-balance).clip(0).sum())
    counts = f"{len(told):,} events sent, {len(kept) + len(filled):,} on the tape, {lost} lost, {doubled} doubled"
    market = records[_rows(records)]
    if lost:
        at = _first(codes_told, balance, 1)
        where = f"{_said(sent[_rows(sent)][at], instruments)}, number {at + 1} of those sent"
    elif doubled:
        on_tape = np.empty(len(market), codes.dtype)
        on_tape[fetched[_rows(records)]] = codes_filled
        on_tape[~fetched[_rows(records)]] = codes_kept
        at = _first(on_tape, balance, -1)
        where = f"{_said(market[at], instruments)}, record {int(market[at]['seq'])}"
    else:
        streamed = codes_told[np.isin(codes_told, codes_kept)]
        size = min(len(streamed), len(codes_kept))
        apart = np.flatnonzero(streamed[:size] != codes_kept[:size])
        if not len(apart):
            unsent = int((~np.isin(codes_filled, codes_told)).sum())
            filled_in = f"{len(filled) - unsent:,} of them filled in; so were {unsent:,} that were sent to nobody"
            return _report(
                Outcome.PASSED, f"{len(told):,} events sent, all on the tape, once and in order, {filled_in}{noted}"
            )
        counts += ", order not kept"
        at = int(np.flatnonzero(np.isin(codes_told, codes_kept))[apart[0]])
        where = f"{_said(sent[_rows(sent)][at], instruments)}, number {at + 1} of those sent"
    return _report(Outcome.FAILED, f"{counts}; first: {where}{noted}")


def _fetched(records: Records) -> np.ndarray:
    """Tell of each record whether it was fetched after a gap: those that follow a BACKFILL, as many as it says."""
    fetched = np.zeros(len(records), bool)
    for at in np.flatnonzero(records["kind"] == int(Kind.BACKFILL)):
        fetched[at + 1 : at + 1 + int(records["i0"][at])] = True
    return fetched


def _balance(told: np.ndarray, kept: np.ndarray, filled: np.ndarray) -> np.ndarray:
    """Return of each event how often it is lost (positive) or doubled (negative).

    What was fetched need not have been sent to us; but it must not be there as often as it was sent, and once more.
    """
    kinds = int(max(part.max(initial=0) for part in (told, kept, filled))) + 1
    sent, live, fetched = (np.bincount(part, minlength=kinds) for part in (told, kept, filled))
    return np.asarray(np.maximum(sent, fetched) - live - fetched)


def _report(outcome: Outcome, text: str) -> AuditReport:
    return AuditReport("", (Finding("sent", outcome, text),))


def _rows(records: Records) -> np.ndarray:
    return np.flatnonzero(np.isin(records["kind"], MARKET))


def _market(records: Records) -> np.ndarray:
    """Return each market event as one opaque value of bytes, comparable and sortable."""
    rows = records[_rows(records)]
    told = np.zeros(len(rows), [(name, RECORD[name]) for name in _EVENT])
    for name in _EVENT:
        told[name] = rows[name]
    return told.view(f"V{told.dtype.itemsize}")


def _first(codes: np.ndarray, balance: np.ndarray, sign: int) -> int:
    """Return the first place whose event is out of balance; of equal events the last ones count as lost or doubled."""
    wrong = sign * balance
    for at in np.flatnonzero(wrong[codes] > 0):
        later = int((codes[at:] == codes[at]).sum())
        if later == wrong[codes[at]]:
            return int(at)
    return int(np.flatnonzero(wrong[codes] > 0)[0])


def _said(record: np.void, instruments: Sequence[Instrument]) -> str:
    kind, k, time = Kind(int(record["kind"])), int(record["instrument"]), int(record["ts_event"])
    symbol = instruments[k].symbol if k < len(instruments) else f"instrument {k}"
    seconds, rest = divmod(time, 1_000_000_000)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    names = {field.slot: name for name, field in SCHEMAS[kind].items()}
    told = {names.get(slot, slot): record[slot].item() for slot in ("f0", "f1", "i0", "i1") if slot in names}
    values = ", ".join(f"{name}={value:g}" for name, value in told.items() if value)
    return f"{kind.name} of {symbol} at {moment}.{rest:09d}Z ({values})"
