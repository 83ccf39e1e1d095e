"""The halt file: a person's switch that works on a hung session, because every order looks for it before it is sent."""

from __future__ import annotations

import os
from pathlib import Path

from mdslib.errors import SessionError
from mdslib.live.verdict import replace_file

HALT = "HALT"
LONGEST = 500  # characters of a reason that go onto the tape
VENUE = "venue"  # in the run folder: the trading API that its orders went to


def halt_files(run_dir: Path) -> tuple[Path, Path]:
    """Return the files that halt a run: its own, and the one of all runs beside it."""
    return run_dir / HALT, run_dir.parent / HALT


def halted(files: tuple[Path, ...]) -> bool:
    """Tell whether one of the files is there."""
    return any(
        map(os.path.exists, files)
    )  # looked at on the path of every order, where `Path.exists` takes thrice as long


def why_halted(files: tuple[Path, ...]) -> str:
    """Say who halted and why, from the first of the files that is there; by a person's hand it may be empty."""
    file = next((file for file in files if file.exists()), None)
    if file is None:
        return "mds halt"
    try:
        who = file.owner()
        why = " ".join(file.read_text(encoding="utf-8", errors="replace").split())[:LONGEST]
    except (OSError, KeyError) as error:  # gone again, not ours to read, or an owner without a name
        return f"mds halt ({error})"
    return f"mds halt by {who}: {why}" if why else f"mds halt by {who}"


def write_halt(folder: Path, why: str) -> Path:
    """Halt one run, or all runs of a folder.

    Raises
    ------
    SessionError
        Where the folder is not there, or the file can't be written.
    """
    if not folder.is_dir():
        raise SessionError(f"{folder} is not a folder; give a run's folder, or the folder of all runs")
    file = folder / HALT
    try:
        replace_file(file, why + "\n")
    except OSError as error:
        raise SessionError(f"{file} can't be written ({error.strerror}); cancel at the venue's own page") from error
    return file


def venue_of(folder: Path) -> str:
    """Return the trading API of a run, or an empty text for a folder that is no run's.

    Halting a rehearsal must cancel at the local exchange that it trades on, never at the account of the settings.
    """
    file = folder / VENUE
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""
