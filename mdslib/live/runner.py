"""The supervisor of a live run: starts the notebook, watches it, asks it to stop, and says how it ended.

SIGTERM, SIGINT and SIGHUP reach this process alone. It then writes a ``stop`` file into the run folder and interrupts
the *kernel*, so that the session cancels, flattens if so told, audits and writes its verdict; and it waits for that.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdslib import errors
from mdslib.clock import monotonic_ns
from mdslib.live.folder import check_free, put_aside
from mdslib.live.guards import Action, Guards, Seen, Watch
from mdslib.live.notebook import Execution
from mdslib.live.service import Service
from mdslib.live.verdict import VERDICT, ExitCode, Verdict, exit_code

if TYPE_CHECKING:
    from collections.abc import Iterator

STOP = "stop"  # in the run folder: the session ends cleanly once this file is there
HEARTBEAT = "heartbeat"  # in the run folder: the session touches it at least every few seconds
TICK = 0.2  # seconds between two looks


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, and within which limits.

    Parameters
    ----------
    notebook : Path
        The notebook to execute; ``runners/live.ipynb`` as a rule.
    run_dir : Path
        Folder of the day's files; made where it is missing.
    parameters : mapping
        For the notebook's cell tagged ``parameters``; `run_dir` is added.
    guards : Guards
        Time limits.
    """

    notebook: Path
    run_dir: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    guards: Guards = field(default_factory=Guards)


def _silent(_line: str) -> None:
    """Say nothing."""


def supervise(
    plan: Plan,
    *,
    rescue: Callable[[], str] | None = None,
    say: Callable[[str], None] = _silent,
    service: Service | None = None,
) -> Verdict:
    """Execute the notebook and return how it ended; ``verdict.json`` is there in every case.

    Parameters
    ----------
    plan : Plan
        What to run.
    rescue : callable, optional
        Called when the kernel died or hung, to cancel at the broker what the session no longer can; returns a sentence
        about what it did.
    say : callable, optional
        Takes a line for a person whenever the run is asked to stop or is ended.
    service : Service, optional
        The service manager; its watchdog is fed as long as the session's own heartbeat goes on.

    Returns
    -------
    Verdict
        The session's own, or the runner's where the session could not say. Where the disk is full, it is on standard
        error instead of in the file.

    Raises
    ------
    ConfigError
        Where the notebook is missing or the run folder can't be written.
    """
    run_dir, notebook = _prepare(plan)
    parameters = dict(plan.parameters) | {"run_dir": str(run_dir)}
    run = Execution(plan.notebook, notebook, parameters, plan.guards.start)
    asked: list[signal.Signals] = []
    with _signals(asked):
        run.start()
        watch = _follow(run, run_dir, plan.guards, asked, say, service or Service(""))
    session = Verdict.read(run_dir)
    verdict = judge(run.error, session, asked=asked[0] if asked else None, overdue=watch.overdue)
    if run.unsaved is not None and verdict.code is ExitCode.OK:
        why = f"{notebook} could not be saved ({run.unsaved.strerror}); the session said {verdict.line()}"
        verdict = Verdict(ExitCode.RECORD, why, "runner", verdict.details)
    if verdict.code is ExitCode.KERNEL and rescue is not None:
        verdict = Verdict(verdict.code, f"{verdict.reason}; {_rescued(rescue)}", verdict.by, verdict.details)
    return verdict if verdict == session else _written(verdict, run_dir)


def _written(verdict: Verdict, run_dir: Path) -> Verdict:
    """Write a verdict and return it; where that can't be, return one that says so."""
    try:
        verdict.write(run_dir)
    except errors.RecordError as error:
        return Verdict(ExitCode.RECORD, str(error), "runner", verdict.details)
    return verdict


def judge(
    error: BaseException | None, session: Verdict | None, *, asked: signal.Signals | None, overdue: str
) -> Verdict:
    """Weigh what papermill raised against what the session said.

    Parameters
    ----------
    error : BaseException or None
        What ended papermill's run.
    session : Verdict or None
        The session's own verdict, if it could write one.
    asked : signal or None
        Which signal asked the run to stop.
    overdue : str
        Which time limit was passed; empty if none.
    """
    details = session.details if session else {}
    name, what = _named(error)
    if overdue or (error is not None and name != "PapermillExecutionError"):
        said = f" (the session had said: {session.reason})" if session else ""
        return Verdict(ExitCode.KERNEL, (overdue or what) + said, "runner", details)
    if session is not None:
        if error is None or session.code is not ExitCode.OK:
            return session
        return Verdict(ExitCode.NOTEBOOK, f"the session ended well, but then {what}", "runner", details)
    if error is None:
        return Verdict(ExitCode.NOTEBOOK, "the notebook ended without a verdict: its session never ran", "runner")
    raised = str(getattr(error, "ename", ""))
    if asked is not None and raised == "KeyboardInterrupt":
        code = ExitCode.INTERRUPTED if asked is signal.SIGINT else ExitCode.TERMINATED
        return Verdict(code, f"stopped by {asked.name} before the session could end cleanly", "runner")
    kind = getattr(errors, raised, None)
    code = exit_code(kind) if isinstance(kind, type) else ExitCode.NOTEBOOK
    return Verdict(code, what, "runner")


def _named(error: BaseException | None) -> tuple[str, str]:
    if error is None:
        return "", ""
    name = type(error).__name__
    if name == "PapermillExecutionError":
        cell = getattr(error, "exec_count", "?")
        return name, f"cell {cell} raised {getattr(error, 'ename', '?')}: {getattr(error, 'evalue', '')}"
    if name == "DeadKernelError":
        return name, "the kernel died"
    return name, f"the notebook could not be executed: {name}: {error}"


def _prepare(plan: Plan) -> tuple[Path, Path]:
    """Return the run's folder, ready for another life, and where its notebook goes."""
    if not plan.notebook.is_file():
        raise errors.ConfigError(
            f"notebook must be a file, received {str(plan.notebook)!r}; the shipped one is runners/live.ipynb"
        )
    run_dir = plan.run_dir.absolute()
    check_free(run_dir)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        notebook = put_aside(run_dir)
        for name in (STOP, HEARTBEAT):
            (run_dir / name).unlink(missing_ok=True)
        (run_dir / ".writable").touch()
        (run_dir / ".writable").unlink()
    except OSError as error:
        raise errors.ConfigError(
            f"run folder {run_dir} must be writable, received {error.strerror}; "
            "free the disk, mend its owner or mode, or name another folder with --run-dir"
        ) from error
    return run_dir, notebook


@contextmanager
def _signals(asked: list[signal.Signals]) -> Iterator[None]:
    """Collect the signals that ask to stop; a thread other than the main one can't, and need not."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # the last: its terminal was closed
    before = [signal.signal(n, lambda got, _frame: asked.append(signal.Signals(got))) for n in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _follow(
    run: Execution,
    run_dir: Path,
    guards: Guards,
    asked: list[signal.Signals],
    say: Callable[[str], None],
    service: Service,
) -> Watch:
    watch = Watch(guards, _now())
    while not run.wait(TICK):
        action = watch.ask(_now()) if asked else None
        action = action or watch.tick(_now(), _look(run, run_dir))
        if watch.alive:
            service.alive()
        if action is Action.ASK:
            why = watch.overdue or (asked[0].name if asked else "")
            service.stopping()
            say(f"{why}: asking the session to stop; it has {guards.stop:g} s to end cleanly")
            with suppress(OSError):  # a full disk: the interrupt below asks as well
                (run_dir / STOP).touch()
            if not (run_dir / VERDICT).exists():  # else only the report's cells are left: let them finish
                run.signal_kernel(signal.SIGINT)
        elif action is Action.KILL:
            say(f"{watch.overdue}: killing the notebook's kernel")
            run.signal_kernel(signal.SIGKILL)
        elif action is Action.ABANDON:
            watch.overdue += ", and papermill did not return after that"
            break
    return watch


def _look(run: Execution, run_dir: Path) -> Seen:
    beat = 0
    with suppress(FileNotFoundError):
        beat = (run_dir / HEARTBEAT).stat().st_mtime_ns
    return Seen(run.cell_began, (run_dir / VERDICT).exists(), beat)


def _rescued(rescue: Callable[[], str]) -> str:
    try:
        return rescue()
    except errors.MdsError as error:
        return f"and cancelling at the broker failed: {error}"


def _now() -> float:
    return monotonic_ns() / 1e9
