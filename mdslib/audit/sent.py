"""Completeness: what the exchange sent against what the tape holds. Nothing lost, nothing doubled, order kept."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np

from mdslib.audit.report import AuditReport, Finding, Outcome
from mdslib.events import RECORD, SCHEMAS, BookFlag, Kind
from mdslib.instruments import Instrument
from mdslib.protocols import Records

MARKET = tuple(
    int(kind)
    for kind in (
        Kind.TRADE,
        Kind.QUOTE,
        Kind.BAR,
        Kind.BOOK_DELTA,
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
    fetched, late = _fetched(records), ""
    if until is not None:
        judged, own = sent["ts_event"] < until, records["ts_event"] < until
        late = f"; {int((~judged).sum()):,} later ones not judged" if not judged.all() else ""
        sent, records, fetched = sent[judged], records[own], fetched[own]
    gaps = int((records["kind"] == int(Kind.GAP)).sum())
    noted = f"; the tape itself notes {gaps} gaps{late}" if gaps else late
    on_tape = _rows(records)
    wanted, tape = sent[_rows(sent)], records[on_tape]
    if np.isin(records["kind"], (int(Kind.GAP), int(Kind.START))).any():
        renewed = _renewed(wanted, tape)
        wanted = wanted[~renewed]
        if renewed.any():
            noted += f"; {int(renewed.sum()):,} levels of books were lost, and came again with an image"
    found = _Compared(wanted, tape, fetched[on_tape])
    wrong = found.first_wrong(instruments)
    if wrong:
        return _report(Outcome.FAILED, f"{found.counts()}{wrong}{noted}")
    return _report(Outcome.PASSED, f"{found.summary()}{noted}")


class _Compared:
    """What was sent, what was streamed onto the tape, and what was fetched after a gap, event by event.

    A stream may say a trade twice (`mdslib.feeds` leaves the second one out), so of those sent with an id the first
    counts. What was fetched need not have been sent to us, but must not be there more often than it was sent.
    """

    def __init__(self, sent: Records, tape: Records, fetched: np.ndarray) -> None:
        self._sent, self._tape, self._fetched = sent, tape, fetched
        both = np.concatenate([_opaque(sent), _opaque(tape)])
        _, codes = np.unique(both, return_inverse=True)
        told, self._codes = codes[: len(sent)], codes[len(sent) :]
        first = np.zeros(len(sent), bool)
        first[np.unique(told, return_index=True)[1]] = True
        self._places = np.flatnonzero(first | ~_numbered(sent))  # of those sent that count
        self._told = told[self._places]
        kinds = int(codes.max(initial=0)) + 1
        wanted, live, filled = (
            np.bincount(part, minlength=kinds) for part in (self._told, self._codes[~fetched], self._codes[fetched])
        )
        self._balance = np.maximum(wanted, filled) - live - filled

    def counts(self) -> str:
        """Say how many were sent, kept, lost and doubled."""
        lost, doubled = int(self._balance.clip(0).sum()), int((-self._balance).clip(0).sum())
        return f"{len(self._sent):,} events sent, {len(self._tape):,} on the tape, {lost} lost, {doubled} doubled"

    def first_wrong(self, instruments: Sequence[Instrument]) -> str:
        """Name the first event that is lost, doubled or out of order; empty where all is right."""
        if (self._balance > 0).any():
            return self._of_sent("", _first(self._told, self._balance, 1), instruments)
        if (self._balance < 0).any():
            at = _first(self._codes, self._balance, -1)
            return f"; first: {said_of(self._tape[at], instruments)}, record {int(self._tape[at]['seq'])}"
        streamed = self._codes[~self._fetched]
        there = np.flatnonzero(np.isin(self._told, streamed))
        apart = np.flatnonzero(self._told[there] != streamed[: len(there)])
        return self._of_sent(", order not kept", int(there[apart[0]]), instruments) if len(apart) else ""

    def _of_sent(self, what: str, at: int, instruments: Sequence[Instrument]) -> str:
        place = int(self._places[at])
        return f"{what}; first: {said_of(self._sent[place], instruments)}, number {place + 1} of those sent"

    def summary(self) -> str:
        """Say that all is right, and what was filled in or came twice."""
        said = f"{len(self._told):,} events sent, all on the tape, once and in order"
        twice = len(self._sent) - len(self._told)
        said += f"; {twice:,} were sent twice" if twice else ""
        if self._fetched.any():
            filled = self._codes[self._fetched]
            unsent = int((~np.isin(filled, self._told)).sum())
            said += f"; {len(filled) - unsent:,} of them were filled in, and so were {unsent:,} that nobody was sent"
        return said


def _fetched(records: Records) -> np.ndarray:
    """Tell of each record whether it was fetched after a gap: those that follow a BACKFILL, as many as it says."""
    fetched = np.zeros(len(records), bool)
    for at in np.flatnonzero(records["kind"] == int(Kind.BACKFILL)):
        fetched[at + 1 : at + 1 + int(records["i0"][at])] = True
    return fetched


def _renewed(sent: Records, tape: Records) -> np.ndarray:
    """Tell of the levels of books that were sent which never came, and right after which an image did: nothing is lost.

    A connection that is cut takes frames with it. No history has a book's, and none is needed.
    """
    book = sent["kind"] == int(Kind.BOOK_DELTA)
    missing = book.copy()
    missing[book] = ~np.isin(_opaque(sent[book]), _opaque(tape[tape["kind"] == int(Kind.BOOK_DELTA)]))
    renewed = np.zeros(len(sent), bool)
    for k in np.unique(sent["instrument"][missing]).tolist():
        rows = np.flatnonzero(book & (sent["instrument"] == k))
        for at in np.flatnonzero((sent["flag"][rows] & BookFlag.CLEAR > 0) & ~missing[rows]):
            came = np.flatnonzero(~missing[rows[:at]])
            renewed[rows[came[-1] + 1 if len(came) else 0 : at]] = True
    return renewed


def _report(outcome: Outcome, text: str) -> AuditReport:
    return AuditReport("", (Finding("sent", outcome, text),))


def _rows(records: Records) -> np.ndarray:
    return np.flatnonzero(np.isin(records["kind"], MARKET))


def _opaque(rows: Records) -> np.ndarray:
    """Return each market event as one opaque value of bytes, comparable and sortable."""
    told = np.zeros(len(rows), [(name, RECORD[name]) for name in _EVENT])
    for name in _EVENT:
        told[name] = rows[name]
    return told.view(f"V{told.dtype.itemsize}")


def _numbered(rows: Records) -> np.ndarray:
    """Tell which events have something of their own that tells them from an equal one: a trade's id, a bar's time."""
    return np.asarray(((rows["kind"] == int(Kind.TRADE)) & (rows["i1"] != 0)) | (rows["kind"] == int(Kind.BAR)))


def _first(codes: np.ndarray, balance: np.ndarray, sign: int) -> int:
    """Return the first place whose event is out of balance; of equal events the last ones count as lost or doubled."""
    wrong = sign * balance
    for at in np.flatnonzero(wrong[codes] > 0):
        later = int((codes[at:] == codes[at]).sum())
        if later == wrong[codes[at]]:
            return int(at)
    return int(np.flatnonzero(wrong[codes] > 0)[0])


def said_of(record: np.void, instruments: Sequence[Instrument]) -> str:
    """Name a market event: kind, symbol, time and its main values."""
    kind, k, time = Kind(int(record["kind"])), int(record["instrument"]), int(record["ts_event"])
    symbol = instruments[k].symbol if k < len(instruments) else f"instrument {k}"
    seconds, rest = divmod(time, 1_000_000_000)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    names = {field.slot: name for name, field in SCHEMAS[kind].items()}
    told = {names.get(slot, slot): record[slot].item() for slot in ("f0", "f1", "i0", "i1") if slot in names}
    values = ", ".join(f"{name}={value:g}" for name, value in told.items() if value)
    return f"{kind.name} of {symbol} at {moment}.{rest:09d}Z ({values})"
