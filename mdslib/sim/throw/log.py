"""What was thrown when: ``faults.jsonl`` in the exchange's folder, and the same in memory.

One line each, in order, with nothing that differs between two equal runs::

    {"fault":1,"what":"mute","phase":"began","now":1381242900000000000,"at":"2013-10-08T14:35:00Z"}
    {"fault":1,"what":"mute","phase":"ended","now":...,"at":...,"hits":41,"messages":3210}

``phase`` is ``began``, ``hit`` (with what was hit), ``ended`` (with counts) or ``never`` (the day ended before).
``fault`` is the fault's number in the script, from 1. `mdslib.sim.read_faults` reads it back.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any

from mdslib.sim.log import FAULTS
from mdslib.sim.throw.standing import Standing
from mdslib.sim.wire import stamp

_MOST_HITS = 1000  # lines of single hits a fault; all are counted


class FaultLog:
    """The log of what was thrown; without a folder it is kept in memory alone."""

    def __init__(self, folder: Path | None) -> None:
        self.entries: list[dict[str, Any]] = []
        self._file: IO[str] | None = None if folder is None else (folder / FAULTS).open("w", encoding="utf-8")

    def note(self, standing: Standing, phase: str, now: int, **more: Any) -> None:
        """Append a line; it survives a kill of the process."""
        if phase == "hit" and standing.all_hits > _MOST_HITS:
            return
        entry = {"fault": standing.number, "what": standing.what, "phase": phase, "now": now, "at": stamp(now), **more}
        self.entries.append(entry)
        if self._file is not None:
            self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
