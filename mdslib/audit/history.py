"""The tape against the venue's own history: which of its trades and bars never reached us, though no gap was seen."""

from __future__ import annotations

import numpy as np

from mdslib.audit.report import AuditReport, Finding, Outcome
from mdslib.audit.sent import said_of
from mdslib.events import Kind
from mdslib.instruments import Instrument
from mdslib.protocols import Records


def compare_history(records: Records, history: Records, instruments: tuple[Instrument, ...] = ()) -> AuditReport:
    """Look for events of a venue's history that the tape has not.

    Parameters
    ----------
    records : RECORD array
        The tape.
    history : RECORD array
        Trades and bars of the session, as the venue gives them afterwards.
    instruments : tuple of Instrument
        For symbols in the report.

    Returns
    -------
    AuditReport
        One finding, ``history``. What is missing is named and does not fail the audit: a stream may lose a message
        without a sign, and decisions were made on what there was.

    Examples
    --------
    >>> from mdslib.events import RECORD
    >>> past = np.zeros(2, RECORD)
    >>> past["kind"], past["ts_event"], past["i1"] = Kind.TRADE, [1, 2], [7, 8]
    >>> compare_history(past, past).findings[0].text
    "2 events in the venue's history, all on the tape"
    """
    history = history[(history["kind"] != int(Kind.TRADE)) | (history["i1"] != 0)]  # one without an id can't be found
    corrected = set(records["i1"][records["kind"] == int(Kind.CORRECTION)].tolist())  # told by a message of its own
    there = set(_keys(records))
    missing = [
        place for place, key in enumerate(_keys(history)) if key not in there and history["i1"][place] not in corrected
    ]
    text = f"{len(history):,} events in the venue's history"
    if not missing:
        return AuditReport("", (Finding("history", Outcome.PASSED, f"{text}, all on the tape"),))
    first = said_of(history[missing[0]], instruments)
    text += f", {len(missing):,} of them never came; first: {first}"
    return AuditReport("", (Finding("history", Outcome.NOTED, text),))


def _keys(records: Records) -> list[tuple[int, int, int, int]]:
    """Return what tells trades and bars from each other: kind, instrument, exchange, and id or close."""
    rows = records[np.isin(records["kind"], (int(Kind.TRADE), int(Kind.BAR)))]
    trades = rows["kind"] == int(Kind.TRADE)
    numbers = np.where(trades, rows["i1"], rows["ts_event"])
    letters = np.where(trades, rows["flag"], 0)
    columns = (rows["kind"].tolist(), rows["instrument"].tolist(), letters.tolist(), numbers.tolist())
    return list(zip(*columns, strict=True))
