"""Tapes as a recorder leaves them, made for the tests of the store."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np

from mdslib.events import RECORD, BookFlag, Kind
from mdslib.instruments import Instrument, parse_instrument
from mdslib.protocols import Records
from mdslib.store.tapefile import TapeWriter
from mdslib.tape import Side, SideKind, TapeHeader, make_header

DAY = datetime.date(2021, 4, 17)
MIDNIGHT = 1_618_617_600_000_000_000
BTC, ETH = (parse_instrument(name) for name in ("kraken:XBT/USD", "kraken:ETH/USD"))


def header(instruments: tuple[Instrument, ...] = (BTC, ETH), day: datetime.date = DAY) -> TapeHeader:
    """Return a recorder's header."""
    return make_header(
        model="", fingerprint="", parameters={}, instruments=instruments, account_id="", trading_date=day,
        run_name="full",
    )  # fmt: skip


def made_records(count: int, seed: int = 7, start: int = MIDNIGHT, pairs: int = 2) -> Records:
    """Return trades, quotes and book deltas of several pairs, with a GAP now and then, as a feed hands them over."""
    random = np.random.default_rng(seed)
    records = np.zeros(count, RECORD)
    records["ts_init"] = start + np.sort(random.integers(0, 3_600 * 10**9, count))
    records["ts_event"] = records["ts_init"] - random.integers(0, 50_000_000, count)
    records["instrument"] = random.integers(0, pairs, count)
    kinds = [Kind.BOOK_DELTA, Kind.TRADE, Kind.QUOTE, Kind.GAP, Kind.START]
    records["kind"] = random.choice([int(kind) for kind in kinds], count, p=[0.7, 0.2, 0.09, 0.009, 0.001])
    records["f0"] = np.round(60_000 + random.integers(-500, 500, count) * 0.1, 1)
    records["f1"] = np.where(records["kind"] == Kind.QUOTE, records["f0"] + 0.1, 0.0)
    records["i0"] = random.integers(0, 10**9, count)
    records["i1"] = np.arange(count)
    deltas = records["kind"] == Kind.BOOK_DELTA
    records["f1"][deltas] = np.nan
    records["flag"][deltas] = random.choice([int(BookFlag.LAST), int(BookFlag.LAST | BookFlag.ASK)], int(deltas.sum()))
    # A venue's book times never run backwards: its decoder sees to that.
    for pair in range(pairs):
        rows = deltas & (records["instrument"] == pair)
        records["ts_event"][rows] = np.maximum.accumulate(records["ts_event"][rows])
    return records


def make_tape(
    folder: Path, records: Records, head: TapeHeader | None = None, segment_bytes: int = 1 << 18, text: str = ""
) -> None:
    """Append records to a tape, in small segments; `text` goes beside the first GAP."""
    gaps = np.flatnonzero(records["kind"] == Kind.GAP)
    told = int(gaps[0]) if text and len(gaps) else -1
    with TapeWriter(folder, head or header(), segment_bytes=segment_bytes) as tape:
        for first in range(0, len(records), 1_000):
            batch = records[first : first + 1_000].copy()
            sides = [Side(told - first, SideKind.TEXT, text)] if first <= told < first + 1_000 else []
            tape.append(batch, sides)
