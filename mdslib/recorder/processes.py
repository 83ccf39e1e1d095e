"""A process for each pair: started, watched, started again, and told when to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mdslib.clock import monotonic_ns
from mdslib.feeds.backoff import Backoff

_LOOK_EVERY = 0.2  # s
_ENDS_WITHIN = 20.0  # s after the signal
_GIVEN_UP = 2  # the exit code of what can't be helped by starting again: mdslib.cli.ERROR


@dataclass
class _Child:
    name: str
    words: list[str]
    process: subprocess.Popen[bytes] | None = None
    began: int = 0
    due: int = 0
    done: bool = False
    backoff: Backoff = field(default_factory=Backoff)


def record_each(commands: Sequence[tuple[str, list[str]]], tell: Callable[[str], None]) -> int:
    """Run a process for each pair until SIGINT or SIGTERM, which every process is sent too.

    Parameters
    ----------
    commands : sequence of (str, list of str)
        A pair's name, and the arguments of its `mds record`.
    tell : callable
        Takes one line for a person.

    Returns
    -------
    int
        0, or 2 if a process ended with an error of its own (2): in what was asked, or for want of space at its end.
    """
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    children = [_Child(name, words) for name, words in commands]
    try:
        while not stop.wait(_LOOK_EVERY) and not all(child.done for child in children):
            for child in children:
                _look(child, tell)
    finally:
        failed = [_end(child) for child in children]
        for number, handler in before.items():
            signal.signal(number, handler)
    return _GIVEN_UP if any(failed) else 0


def _look(child: _Child, tell: Callable[[str], None]) -> None:
    now = monotonic_ns()
    if child.done or (child.process is None and now < child.due):
        return
    if child.process is None:
        child.process = subprocess.Popen([sys.executable, "-m", "mdslib.cli", *child.words], start_new_session=True)
        child.began = now
        return
    code = child.process.poll()
    if code is None:
        return
    child.process = None
    if code == _GIVEN_UP:
        child.done = True
        tell(f"{child.name}: its process ended with code {code}, see above; it is not started again")
        return
    child.backoff.held((now - child.began) / 1e9)
    wait = child.backoff.wait()
    child.due = now + int(wait * 1e9)
    tell(f"{child.name}: its process ended with code {code}; it is started again in {wait:.1f} s")


def _end(child: _Child) -> bool:
    """End a process; tell whether it failed for good. One that a signal ended did what it was told."""
    process = child.process
    if process is None:
        return child.done
    if process.poll() is None:
        os.kill(process.pid, signal.SIGTERM)
        try:
            process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode == _GIVEN_UP
