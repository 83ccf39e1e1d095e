"""The session's log: one JSON object a line, for people and programs. No credential is ever handed to it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from mdslib.clock import Clock
from mdslib.strictjson import dumps


class SessionLog:
    """Append events to ``log.jsonl``; safe from several threads.

    Parameters
    ----------
    path : Path
    clock : Clock
        Stamps ``ts``, ns UTC of the session's clock.

    Attributes
    ----------
    lost : int
        Lines that could not be written; a full disk must not stop what the line is about, canceling for instance.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.lost = 0
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def __call__(self, event: str, **fields: Any) -> None:
        """Write one line."""
        line = dumps({"ts": self._clock.now(), "event": event, **fields}, default=str)
        with self._lock:
            if self._file.closed:
                return
            try:
                self._file.write(line + "\n")
            except OSError:
                self.lost += 1

    def close(self) -> None:
        """Close the file; later lines are dropped, since nobody may be left to write them for."""
        with self._lock:
            try:
                self._file.close()
            except OSError:  # what was buffered does not fit
                self.lost += 1
