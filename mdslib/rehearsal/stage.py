"""Many rehearsals, a few at a time: each in a fork of this process, which has imported and compiled everything once.

A fork per case keeps them apart: what hangs is killed, what crashes fails alone, and nothing of one is left for the
next.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from mdslib.clock import monotonic_ns
from mdslib.errors import MdsError
from mdslib.rehearsal.case import Case
from mdslib.rehearsal.judge import Row, failed
from mdslib.rehearsal.play import LIVES, PATIENCE, play
from mdslib.sim import warm_core

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

OUTPUT = "output.txt"  # in a case's folder: what its process wrote


def rehearse(cases: Sequence[Case], jobs: int = 2) -> Iterator[Row]:
    """Play cases and yield their rows as they come; the longest are begun first.

    Parameters
    ----------
    cases : sequence of Case
        Of one model and one rule profile, as a rule: these are compiled beforehand.
    jobs : int
        How many at a time. A rehearsal mostly waits, so there may be more than cores.

    Notes
    -----
    This process is forked, so it must have no thread that holds a lock: call it from a program, not from a notebook.
    """
    if not cases:
        return
    warm_up(cases[0])
    left = sorted(cases, key=lambda case: -case.seconds)
    running: list[_Running] = []
    try:
        while left or running:
            while left and len(running) < jobs:
                running.append(_begin(left.pop(0)))
            wait([each.process.sentinel for each in running] + [each.line for each in running], timeout=0.5)
            for each in [each for each in running if each.over()]:
                running.remove(each)
                yield each.row()
    finally:
        for each in running:
            each.kill()


def warm_up(case: Case) -> None:
    """Import and compile what a rehearsal needs, so that its fork need not."""
    import httpx  # noqa: F401 - imported for the forks
    import uvicorn  # noqa: F401 - likewise

    from mdslib.brokers.alpaca import _trading_client
    from mdslib.feeds.alpaca_decode import AlpacaDecoder
    from mdslib.feeds.alpaca_history import CpquantHistory  # noqa: F401
    from mdslib.feeds.cpquant_client import cpquant_data
    from mdslib.live import Session  # noqa: F401
    from mdslib.sim import server  # noqa: F401
    from mdslib.strategy import Fold, find_model

    warm_core(case.rules)
    if not case.notebook:
        _trading_client(), cpquant_data()
        AlpacaDecoder([instrument.symbol for instrument in case.data.instruments], once=True)
        strategy = find_model(case.model)
        Fold(strategy, strategy.make_params(**case.params), instruments=case.data.instruments).prepare()


@dataclass
class _Running:
    """A case that is played in a process of its own."""

    case: Case
    process: BaseProcess
    line: Connection
    began: int

    def over(self) -> bool:
        """Tell whether it has ended, or must."""
        return self.line.poll() or not self.process.is_alive() or self._seconds() > self._allowed()

    def _seconds(self) -> float:
        return (monotonic_ns() - self.began) / 1e9

    def _allowed(self) -> float:
        return LIVES * (self.case.seconds + 2 * PATIENCE)

    def row(self) -> Row:
        """Return its row; of one that crashed or hangs, a failed one."""
        try:
            if self.line.poll():
                row: Row = self.line.recv()
                self.process.join(10)
                return row
        except EOFError:
            pass  # it crashed: its exit code tells below
        finally:
            hung = self.process.is_alive()
            self.kill()
        output = self.case.folder / OUTPUT
        how = f"hung and was killed after {self._seconds():.0f} s" if hung else f"crashed ({self.process.exitcode})"
        return failed(self.case.script, f"the rehearsal's process {how}; see {output}", self._seconds())

    def kill(self) -> None:
        """End it, if it is there; its exchange ends with it."""
        if self.process.is_alive():
            self.process.kill()
        self.process.join(10)
        self.line.close()


def _begin(case: Case) -> _Running:
    case.folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    sys.stdout.flush()
    sys.stderr.flush()
    process = context.Process(target=_play, args=(case, there))
    process.start()
    there.close()
    return _Running(case, process, here, monotonic_ns())


def _play(case: Case, line: Connection) -> None:
    """Play a case in its own process, whose output goes to a file."""
    output = os.open(case.folder / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        row = play(case, forked=True)
    except MdsError as error:
        row = failed(case.script, str(error))
    line.send(row)
    line.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of the session may still wait for something; nobody waits for them
