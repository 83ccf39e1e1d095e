"""What a batch of the tape is put together from."""

from __future__ import annotations

from collections import Counter

import numpy as np

from mdslib.desk import control_record, mark_record
from mdslib.events import RECORD, Kind
from mdslib.live.orderflow import Sides
from mdslib.protocols import Records
from mdslib.tape import Side, SideKind

RESUME, REDUCE, HALT = 0, 1, 2  # CONTROL codes
_MARKET = bytes((Kind.TRADE, Kind.QUOTE, Kind.BAR, Kind.BOOK_DELTA))


def inside(records: Records, session: tuple[int, int], outside: Counter[str]) -> Records:
    """Return the events of the session: open <= time < close, and the bars that are stamped at the close.

    The others are counted in `outside`.
    """
    opened, close = session
    ts = records["ts_event"]
    times = ts.tolist()  # a frame is short: looking at plain numbers is quicker than three arrays
    if times and min(times) >= opened and max(times) < close:
        return records
    end = np.where(records["kind"] == int(Kind.BAR), close + 1, close)
    within = (ts >= opened) & (ts < end)
    outside["before the open"] += int(np.count_nonzero(ts < opened))
    outside["after the close"] += int(np.count_nonzero(ts >= end))
    return records if within.all() else records[within]


def market_events(batch: Records) -> int:
    """Return how many records of a batch are trades, quotes, bars or levels of books."""
    return len(batch) - len(batch["kind"].tobytes().translate(None, _MARKET))


def placed(parts: list[Records], sides: Sides) -> list[Side]:
    """Return the texts with the row of their record in the joined batch."""
    if not sides:
        return []
    starts: dict[int, int] = {}
    at = 0
    for part in parts:
        starts[id(part)] = at
        at += len(part)
    return [side._replace(row=starts[id(records)] + side.row) for records, side in sides if id(records) in starts]


def fault_records(seq: int, why: str, ts: int, now: int) -> tuple[Records, list[Side]]:
    """Return FAULT and the halt that follows from it, with their texts; the model raised on record `seq`."""
    fault = mark_record(Kind.FAULT, ts, now)
    fault["i0"] = seq
    both = np.concatenate([fault, control_record(HALT, ts, now)])
    return both, [Side(0, SideKind.ERROR, why), Side(1, SideKind.COMMAND, "the model failed")]


def joined(parts: list[Records]) -> Records:
    """Return records as one array; joined as bytes, since numpy copies records field by field, 5 us for one."""
    return parts[0] if len(parts) == 1 else np.concatenate([part.view(np.uint8) for part in parts]).view(RECORD)
