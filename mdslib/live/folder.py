"""A run's folder when a life begins: what an earlier life left in it stays, under names of its own."""

from __future__ import annotations

from pathlib import Path

from mdslib.errors import ConfigError, SessionError, TapeError
from mdslib.events import Kind
from mdslib.live.verdict import VERDICT, Verdict
from mdslib.store.tapefile import writer_of
from mdslib.store.tapetail import last_record

NOTEBOOK = "live.ipynb"  # the executed notebook of the first life; live.2.ipynb of the second, and so on


def is_begun(run_dir: Path) -> bool:
    """Tell whether a session has begun there: there is a tape to go on with."""
    return any((run_dir / "tape").glob("*.tape"))


def is_cut_short(run_dir: Path) -> bool:
    """Tell whether a session has begun there that did not run to its close, or was not judged."""
    return is_begun(run_dir) and not (_is_closed(run_dir) and _is_judged(run_dir))


def check_free(run_dir: Path) -> None:
    """Refuse a folder whose session runs now, or is over.

    Raises
    ------
    ConfigError
        Nothing in the folder was changed.
    """
    if not is_begun(run_dir):
        return
    writer = writer_of(run_dir / "tape")
    if writer:
        raise ConfigError(f"process {writer} runs the session of {run_dir} now; stop it first, or wait for its end")
    if not is_cut_short(run_dir):
        raise ConfigError(
            f"the session of {run_dir} is over and was judged: see its notebook and {VERDICT}; to run it once more,"
            " choose another folder with --run-dir"
        )


def put_aside(run_dir: Path) -> Path:
    """Keep the verdict of an earlier life as ``verdict.1.json`` and so on; return where this life's notebook goes."""
    if not is_begun(run_dir):
        (run_dir / VERDICT).unlink(missing_ok=True)
        return run_dir / NOTEBOOK
    life = 1 + len(list(run_dir.glob("live*.ipynb")))
    verdict = run_dir / VERDICT
    if verdict.exists():
        verdict.rename(_free(run_dir, "verdict", "json", life - 1))
    return run_dir / NOTEBOOK if life == 1 else _free(run_dir, "live", "ipynb", life)


def newest_notebook(run_dir: Path) -> Path:
    """Return where the notebook of the newest life lies."""
    found = [run_dir / NOTEBOOK, *run_dir.glob("live.*.ipynb")]
    return max(found, key=lambda path: int(number) if (number := path.name.split(".")[1]).isdigit() else 1)


def _free(run_dir: Path, name: str, suffix: str, number: int) -> Path:
    """Return the first numbered name that is not taken."""
    while (path := run_dir / f"{name}.{number}.{suffix}").exists():
        number += 1
    return path


def _is_closed(run_dir: Path) -> bool:
    try:
        header, record = last_record(run_dir / "tape")
    except (TapeError, OSError):  # the session says what is wrong with it
        return False
    if record is None or not header.hours:
        return False
    return int(record["kind"]) == int(Kind.CLOSE) and int(record["ts_event"]) >= header.hours[-1][1]


def _is_judged(run_dir: Path) -> bool:
    try:
        verdict = Verdict.read(run_dir)
    except SessionError:
        return False
    return verdict is not None and verdict.by == "session"
