"""`mds notify` and `mds cancel`: what the systemd units call when a run has failed."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer


def notify_command(
    unit: Annotated[str, typer.Argument(help="The unit that failed.")] = "mdslib-live.service",
    runs: Annotated[Path | None, typer.Option(help="Folder of all runs; the settings' by default.")] = None,
) -> None:
    """Tell a person that a run has failed, as the settings notify_webhook and notify_command say.

    The message names machine, unit, how it ended, and the newest run's verdict. systemd calls it by OnFailure=.
    """
    from mdslib.config import load_settings
    from mdslib.live.tell import tell

    settings = load_settings()
    text = message(unit, runs or settings.runs)
    said = tell(text, settings.notify_webhook.get_secret_value(), settings.notify_command)
    sys.stdout.write("\n".join([text, *(said or ["nobody is named: set notify_webhook or notify_command"])]) + "\n")


def cancel_command(
    run: Annotated[Path | None, typer.Argument(help="A run's folder; by default the newest of all runs.")] = None,
) -> None:
    """Cancel every working order where a run trades, without halting it: for a run whose supervisor has died."""
    from mdslib.cli.live import cancel_at_broker
    from mdslib.config import load_settings
    from mdslib.live.halt import venue_of

    settings = load_settings()
    folder = run or newest(settings.runs)
    url = (venue_of(folder) if folder is not None else "") or settings.trade_url
    sys.stdout.write(f"{cancel_at_broker(url)} at {url}\n")


def newest(runs: Path) -> Path | None:
    """Return the run that was last at work, or None where there is none."""
    found = [path.parent for path in runs.glob("*/venue")]
    return max(found, key=lambda folder: (folder / "venue").stat().st_mtime, default=None)


def message(unit: str, runs: Path) -> str:
    """Return one line on how a unit ended; systemd tells it by the environment."""
    from mdslib.live.verdict import Verdict

    result = os.environ.get("MONITOR_SERVICE_RESULT", "failed")
    status = os.environ.get("MONITOR_EXIT_STATUS", "")
    folder = newest(runs)
    verdict = Verdict.read(folder) if folder is not None else None
    last = f"; the newest run, {folder.name}: {verdict.code.name}, {verdict.reason}" if folder and verdict else ""
    return f"{unit} on {socket.gethostname()}: {result}{f' ({status})' if status else ''}{last}"
