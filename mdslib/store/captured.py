"""Import raw captures of a venue's sockets, cryptofeed's and mdslib's own, through the venue's decoder."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np

from mdslib.errors import DataError
from mdslib.events import RECORD
from mdslib.feeds.capture import capture_files
from mdslib.feeds.replay import CaptureReport, replay_capture
from mdslib.instruments import parse_instrument
from mdslib.protocols import Records
from mdslib.store.imported import Imported, read_bytes, store_days
from mdslib.store.recorded import prices_of, tables_of
from mdslib.store.steps import with_step
from mdslib.store.tickstore import TickStore

_FIRST = int(datetime.datetime(2009, 1, 1, tzinfo=datetime.UTC).timestamp()) * 10**9


def import_capture(path: Path | str, store: TickStore, venue: str = "") -> tuple[list[Imported], CaptureReport]:
    """Decode a capture and store its trades, quotes, book deltas and gaps.

    Parameters
    ----------
    path : Path or str
        A capture's file, or the folder of one session's files; see `mdslib.feeds.capture`.
    store : TickStore
        Where the days go.
    venue : str, optional
        By default told from the capture.

    Returns
    -------
    tuple of list of Imported and CaptureReport
        The days, and what became of every message.

    Raises
    ------
    DataError
        It is no capture, has nothing that can be read, or does not tell when its messages came. What comes before a
        damage is stored, and the report's `damaged` names the place.
    """
    path = Path(path)
    parts: list[Records] = []
    report = replay_capture(path, venue, parts.append)
    records = np.concatenate([np.zeros(0, RECORD), *parts])
    if len(records) and int(records["ts_init"].min()) < _FIRST:
        raise DataError(f"import capture: {path} does not tell when its messages came, so they have no day")
    sources = [read_bytes(file)[1] for file in capture_files(path)]
    done: list[Imported] = []
    for place, symbol in enumerate(report.symbols):
        ours = records[records["instrument"] == place]
        instrument = with_step(parse_instrument(f"{report.venue}:{symbol}"), prices_of(ours))
        for table in tables_of(ours):
            done += store_days(table, instrument, store, sources)
    if not done and report.damaged:
        raise report.damaged[0]
    if not done:
        raise DataError(f"import capture: {path} holds no trade, quote or book; look at it with mds replay-capture")
    return done, report


__all__ = ["import_capture"]
