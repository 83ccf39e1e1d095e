"""What `mds live` and `runners/live.py` share: is there a session, where does it go, run it, say how it ended."""

from __future__ import annotations

import datetime
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mdslib.calendar import parse_date, session, why_closed, zone
from mdslib.clock import wall_ns
from mdslib.errors import MdsError
from mdslib.live.folder import is_begun, is_cut_short, newest_notebook
from mdslib.live.guards import Guards
from mdslib.live.notebook import THREAD
from mdslib.live.runner import Plan, supervise
from mdslib.live.service import Service
from mdslib.live.verdict import ExitCode
from mdslib.resources import resource

GRACE = 30 * 60.0  # seconds after the close within which a session must have ended by itself
REPLAY = 12 * 3600.0  # seconds for a session that is played to us, which need not follow the wall clock


@dataclass(frozen=True, slots=True)
class Request:
    """What a person or a timer asked for.

    Parameters
    ----------
    model : str
        Name, module path or file of the model; the run folder is named after it.
    parameters : mapping
        For the notebook's cell tagged ``parameters``; `model`, `date` and `run_dir` are added.
    runs : Path
        Folder of run folders.
    date : str
        ISO date of a session that a local exchange plays; empty for the real one of today.
    exchange : str
        Whose calendar decides.
    extended : bool
        Whether the session lasts to the end of extended hours.
    run_dir : Path, optional
        Run folder; ``runs/DATE-MODEL`` by default.
    notebook : Path, optional
        The notebook; the shipped ``runners/live.ipynb`` by default.
    """

    model: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    runs: Path = Path("runs")
    date: str = ""
    exchange: str = "NYSE"
    extended: bool = False
    run_dir: Path | None = None
    notebook: Path | None = None


def trade(request: Request, say: Callable[[str], None], *, rescue: Callable[[], str] | None = None) -> ExitCode:
    """Run one session in the notebook and return its exit code; where there is no session, say so and return OK.

    Parameters
    ----------
    request : Request
        What to run.
    say : callable
        Takes the few lines for a person, or for the journal.
    rescue : callable, optional
        Cancels at the broker when the kernel died or hung; see `mdslib.live.runner.supervise`.

    Raises
    ------
    ConfigError
        Where the date, the notebook or the run folder is wrong.
    """
    with Service() as service:
        service.ready(f"{request.model}: looking for today's session")
        return _trade(request, say, rescue, service)


def _trade(
    request: Request, say: Callable[[str], None], rescue: Callable[[], str] | None, service: Service
) -> ExitCode:
    now = wall_ns()
    date = parse_date(request.date) if request.date else today(now, request.exchange)
    plan, reason = make_plan(date, now, request), no_session(date, now, request)
    if reason and not is_cut_short(plan.run_dir):
        say(reason)
        return ExitCode.OK
    if reason:
        say(f"{plan.run_dir} was cut short before its close: it is brought to its end")
    elif is_cut_short(plan.run_dir):
        say(f"{plan.run_dir} was cut short: going on where its tape ends")
    say(f"session of {date}: {request.model}; files in {plan.run_dir}")
    service.status(f"session of {date}: {request.model}; files in {plan.run_dir}")
    verdict = supervise(plan, rescue=rescue, say=say, service=service)
    service.status(f"{verdict.code.name} ({int(verdict.code)}): {verdict.reason}")
    say(f"{verdict.code.name} ({int(verdict.code)}): {verdict.reason}")
    say(f"notebook: {newest_notebook(plan.run_dir)}")
    _seal(plan.run_dir, say)
    _leave_if_hung(verdict.code)
    return verdict.code


def _seal(run_dir: Path, say: Callable[[str], None]) -> None:
    """Seal the run's record; a session that never began has none."""
    from mdslib.store.seal import seal

    if not is_begun(run_dir):
        return
    try:
        say(f"sealed: {seal(run_dir).digest}")
    except (MdsError, OSError) as error:  # the day is traded and judged all the same
        say(f"not sealed: {error}")


def today(now: int, exchange: str = "NYSE") -> datetime.date:
    """Return the date at the exchange.

    Examples
    --------
    >>> today(1_381_190_000_000_000_000).isoformat()  # half past midnight UTC on the 8th is the 7th in New York
    '2013-10-07'
    """
    return datetime.datetime.fromtimestamp(now // 1_000_000_000, zone(exchange)).date()


def no_session(date: datetime.date, now: int, request: Request) -> str:
    """Return why nothing is to be done, or an empty string."""
    day = session(date, request.exchange)
    if day is None:
        return f"no session on {date}: {why_closed(date, request.exchange)}; nothing to do"
    close = day.post_close if request.extended else day.close
    if not request.date and now >= close:
        return f"the session of {date} at {request.exchange} is over; nothing to do"
    return ""


def make_plan(date: datetime.date, now: int, request: Request) -> Plan:
    """Return what the supervisor is to run: folder, notebook, parameters and time limits."""
    name = Path(request.model).stem if request.model.endswith(".py") else request.model.replace(":", ".")
    run_dir = request.run_dir or request.runs / f"{date}-{name}"
    notebook = request.notebook or resource("runners") / "live.ipynb"
    parameters = dict(request.parameters) | {"model": request.model, "date": str(date)}
    day = session(date, request.exchange)
    seconds = REPLAY
    if day is not None and not request.date:
        close = day.post_close if request.extended else day.close
        seconds = max(close - now, 0) / 1e9 + GRACE
    return Plan(notebook, run_dir.expanduser(), parameters, Guards(run=seconds))


def _leave_if_hung(code: ExitCode) -> None:
    """Exit at once where papermill's thread hangs: what it registered for the interpreter's exit would hang as well."""
    if any(thread.name == THREAD and thread.is_alive() for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
