"""The command `mds audit`, which asks whether a session's record adds up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def audit_command(
    run: Annotated[
        Path,
        typer.Argument(help="Folder of a run; with --clear also the folder that holds the runs.", show_default=False),
    ],
    model: Annotated[str, typer.Option(help="Model to fold with, if it is not the one that the tape names.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Unblock starting after a failed audit.")] = False,
    why: Annotated[str, typer.Option(help="With --clear: what you found; kept in the log with your name.")] = "",
) -> None:
    """Fold a session's tape again and compare decisions and state bit for bit; exit 0 if it passed, 1 if not.

    Where the venue was the local exchange, also compare the tape with what it sent and with its orders.
    """
    if clear:
        _clear(run, why)
        return
    from mdslib.live.day_audit import audit_run

    report = audit_run(run, model or None)
    sys.stdout.write((report.to_json() if json else str(report)) + "\n")
    raise typer.Exit(report.exit_code)


def _clear(run: Path, why: str) -> None:
    from mdslib.findings import counted
    from mdslib.store.auditblock import LOG, clear

    runs = run.resolve().parent if (run / "tape").is_dir() else run
    count = clear(runs, why)
    sys.stdout.write(f"cleared {counted(count, 'failed audit')}; noted in {runs / LOG}. The next start is free.\n")
