"""The one line that a running session shows: at most once a second, under one display id."""

from __future__ import annotations

import html
import sys
from typing import Any

from mdslib.clock import monotonic_ns

EVERY = 1_000_000_000


class Display:
    """A line that is replaced in place: in a notebook's cell, or on a terminal.

    A notebook keeps every output that is not an update, and papermill rewrites the whole file at each save; so there is
    one display, and it is updated.
    """

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown = 0
        self._notebook = _in_notebook()

    def show(self, text: str, last: bool = False) -> None:
        """Show a text, unless the one before is younger than a second; the last one is always shown."""
        now = monotonic_ns()
        if now - self._shown < EVERY and not last:
            return
        self._shown = now
        if self._notebook:
            self._update(text)
        elif sys.stderr.isatty():
            sys.stderr.write("\r\x1b[2K" + text + ("\n" if last else ""))
            sys.stderr.flush()

    def _update(self, text: str) -> None:
        from IPython.display import HTML, display

        shown: Any = HTML(f"<pre style='white-space:pre-wrap'>{html.escape(text)}</pre>")  # type: ignore[no-untyped-call]
        if self._handle is None:
            self._handle = display(shown, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(shown)


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and shell.get_ipython() is not None
