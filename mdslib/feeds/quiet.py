"""Catches what cpquant prints, without touching standard output.

cpquant reports its troubles with ``print``. Redirecting `sys.stdout` would catch other threads' lines too, so the name
``print`` is bound in cpquant's own module instead: to a function that keeps the lines of threads that are inside one of
our adapters, and prints everybody else's as before.
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_thread = threading.local()


def _print(*values: Any, **options: Any) -> None:
    lines: list[str] | None = getattr(_thread, "lines", None)
    if lines is None:
        builtins.print(*values, **options)  # noqa: T201 (somebody uses cpquant directly)
    else:
        lines.append(" ".join(map(str, values)))


@contextmanager
def caught_prints(module: ModuleType) -> Iterator[list[str]]:
    """Collect what this thread prints inside `module` while the block runs.

    Examples
    --------
    >>> import types
    >>> module = types.ModuleType("noisy")
    >>> exec("def speak(): print('hello', 1)", module.__dict__)
    >>> with caught_prints(module) as lines:
    ...     module.speak()
    >>> lines
    ['hello 1']
    >>> module.speak()
    hello 1
    """
    vars(module)["print"] = _print
    outer, _thread.lines = getattr(_thread, "lines", None), []
    try:
        yield _thread.lines
    finally:
        _thread.lines = outer
