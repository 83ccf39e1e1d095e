"""A failed audit blocks the next start, until a person has looked and cleared it.

In the folder that holds the runs lies ``AUDIT_FAILED`` for as long as starting is blocked, and ``audit_cleared.jsonl``,
a log of who cleared what, when and why.
"""

from __future__ import annotations

import datetime
import getpass
import json
import os
from pathlib import Path
from typing import Any

from mdslib.audit import AuditReport
from mdslib.clock import wall_ns
from mdslib.errors import AuditError, ConfigError
from mdslib.strictjson import dumps

BLOCK = "AUDIT_FAILED"
LOG = "audit_cleared.jsonl"


def mark_failed(runs_dir: Path, report: AuditReport, run: str = "") -> Path:
    """Block further starts; an earlier block stays, and this one is added to it.

    Parameters
    ----------
    runs_dir : Path
        The folder that holds the runs of one model and account.
    report : AuditReport
        What failed.
    run : str
        Name of the run's folder.

    Returns
    -------
    Path
        The file that blocks.
    """
    runs_dir.mkdir(parents=True, exist_ok=True)
    path = runs_dir / BLOCK
    told = {"when": _now(), "run": run, **report.to_dict()}
    with path.open("a", encoding="utf-8") as file:
        file.write(dumps(told, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return path


def is_blocked(runs_dir: Path) -> str | None:
    """Return why starting is blocked and what to do, in one line, or None."""
    path = runs_dir / BLOCK
    if not path.exists():
        return None
    told = _entries(path)
    first = told[0] if told else {}
    wrong = (f["text"] for f in first.get("findings", []) if f["outcome"] in ("failed", "not comparable"))
    found = next(wrong, "the file says no more")
    more = f" (and {len(told) - 1} later audits)" if len(told) > 1 else ""
    return (
        f"the audit of {first.get('title') or first.get('run') or 'an earlier run'} did not pass{more}: {found}. "
        f"Look at it, then run: mds audit --clear {runs_dir} --why 'what you found'"
    )


def refuse_if_blocked(runs_dir: Path) -> None:
    """Raise `AuditError` if an earlier audit failed and nobody has cleared it."""
    why = is_blocked(runs_dir)
    if why is not None:
        raise AuditError(f"this run may not start: {why}")


def clear(runs_dir: Path, why: str) -> int:
    """Unblock; who, when, why and what had failed are appended to the log first.

    Returns
    -------
    int
        How many failed audits were cleared.

    Raises
    ------
    ConfigError
        If no reason is given, or nothing is blocked.
    """
    path = runs_dir / BLOCK
    if not why.strip():
        raise ConfigError(
            "mds audit --clear needs --why TEXT, received none; say what you found, it is kept in the log"
        )
    if not path.exists():
        raise ConfigError(
            f"{runs_dir} is not blocked: there is no {BLOCK} in it; give the folder that holds the runs, or a run in it"
        )
    failed = _entries(path)
    entry = {"when": _now(), "who": getpass.getuser(), "why": why.strip(), "failed": failed}
    with (runs_dir / LOG).open("a", encoding="utf-8") as file:
        file.write(dumps(entry, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
    return len(failed)


def _entries(path: Path) -> list[dict[str, Any]]:
    """Return the failed audits of a block; a line that is no JSON counts too, since anything in the file blocks."""
    told: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            entry = None
        told.append(entry if isinstance(entry, dict) else {"findings": [{"outcome": "failed", "text": line}]})
    return told


def _now() -> str:
    return datetime.datetime.fromtimestamp(wall_ns() // 10**9, datetime.UTC).isoformat()
