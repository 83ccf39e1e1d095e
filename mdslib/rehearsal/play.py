"""Play one rehearsal in this process: exchange, session, a restart where one may help, and the verdict on the files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mdslib.clock import monotonic_ns
from mdslib.errors import MdsError
from mdslib.live.runner import STOP
from mdslib.live.verdict import ExitCode, Verdict, exit_code
from mdslib.rehearsal.case import Case
from mdslib.rehearsal.evidence import read_evidence
from mdslib.rehearsal.judge import Row, judge
from mdslib.sim import Exchange
from mdslib.units import KEYS

ROW = "row.json"  # in a case's folder
LIVES = 3  # a session that ends with code 4 is started again on its tape, as systemd does; so often at most
PATIENCE = 120.0  # s after the day in which a session must have ended by itself


def play(case: Case, *, forked: bool = False) -> Row:
    """Play a case and judge what it left behind.

    Parameters
    ----------
    case : Case
    forked : bool
        Fork the exchange from this process, which must have no other thread then; else it is a new process.

    Returns
    -------
    Row
        The verdict; it is in the case's folder as well, as ``row.json``.

    Raises
    ------
    ConfigError, ModelError
        What is wrong with the case itself.
    """
    began = monotonic_ns()
    case.run_dir.mkdir(parents=True, exist_ok=True)
    with local_keys(), case.exchange(forked=forked) as exchange:
        lives = _lives(case, exchange)
    row = judge(
        case.script,
        read_evidence(case.run_dir),
        flat=case.end_of_day == "flatten",
        lives=lives,
        seconds=(monotonic_ns() - began) / 1e9,
    )
    (case.folder / ROW).write_text(row.to_json() + "\n", encoding="utf-8")
    return row


@contextmanager
def local_keys() -> Iterator[None]:
    """Set key pairs of no value while a rehearsal is played: the exchange lets every pair in, and none may leak."""
    before = {name: os.environ.get(name) for name in KEYS}
    os.environ.update(dict.fromkeys(KEYS, "local-rehearsal"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _lives(case: Case, exchange: Exchange) -> int:
    """Run the session, and again where it ended with a failure of the venue's; return how often it was run."""
    for life in range(1, LIVES + 1):
        code = _in_notebook(case, exchange) if case.notebook else _in_process(case, exchange)
        if code is not ExitCode.VENUE:
            return life
    return LIVES


def _in_process(case: Case, exchange: Exchange) -> ExitCode:
    from mdslib.live import Session

    given = case.parameters(exchange)
    given |= {"date": str(case.data.sessions[0].date), "run_dir": str(case.run_dir)} | given.pop("options")
    with _deadline(case):
        try:
            Session.from_parameters(**given).run()
        except MdsError as error:  # it could not start, or could not record: no verdict of its own
            verdict = Verdict(exit_code(type(error)), str(error), "rehearsal")
            verdict.write(case.run_dir)
            return verdict.code
    verdict = Verdict.read(case.run_dir) or Verdict(ExitCode.NOTEBOOK, "the session left no verdict", "rehearsal")
    return verdict.code


@contextmanager
def _deadline(case: Case) -> Iterator[None]:
    """Ask the session to stop where it does not end by itself."""
    stop: Path = case.run_dir / STOP
    stop.unlink(missing_ok=True)
    timer = threading.Timer(case.seconds + PATIENCE, stop.touch)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _in_notebook(case: Case, exchange: Exchange) -> ExitCode:
    from mdslib.live.program import Request, trade

    said: list[str] = []
    given: dict[str, Any] = case.parameters(exchange)
    request = Request(
        model=case.model, parameters=given, date=str(case.data.sessions[0].date), run_dir=case.run_dir.absolute()
    )
    code = trade(request, said.append)
    (case.folder / "said.txt").write_text("\n".join(said) + "\n", encoding="utf-8")
    return code
