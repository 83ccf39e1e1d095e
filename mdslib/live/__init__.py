"""Live sessions: the same fold as research, fed from a socket, with orders going out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdslib.live.report import DayReport
    from mdslib.live.session import Session

_LAZY = {"Session": "mdslib.live.session", "DayReport": "mdslib.live.report"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = globals()[name] = getattr(importlib.import_module(_LAZY[name]), name)
        return value
    raise AttributeError(f"module 'mdslib.live' has no attribute {name!r}")


__all__ = ["DayReport", "Session"]
