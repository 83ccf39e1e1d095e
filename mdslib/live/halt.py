"""The halt file: a person's switch that works on a hung session, because every order looks for it before it is sent."""

from __future__ import annotations

import os
from pathlib import Path

from mdslib.errors import SessionError
from mdslib.live.verdict import ExitCode, Verdict, replace_file

HALT = "HALT"
LONGEST = 500  # characters of a reason that go onto the tape
VENUE = "venue"  # in the run folder: the trading API that its orders went to


def halt_files(run_dir: Path) -> tuple[Path, ...]:
    """Return the files that halt a run: its own, and those of the two folders above it.

    So the folder ``runs`` halts ``runs/DATE-MODEL`` and ``runs/demo/DATE-MODEL-TIME`` alike.
    """
    folder = run_dir.absolute()
    return folder / HALT, folder.parent / HALT, folder.parent.parent / HALT


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


def refuse_if_halted(run_dir: Path) -> None:
    """Raise `SessionError` if a halt file is there before a session starts: it would be denied every order.

    Raises
    ------
    SessionError
        It names the file, who wrote it and why, and how to clear it.
    """
    file = next((file for file in halt_files(run_dir) if file.exists()), None)
    if file is not None:
        raise SessionError(
            f"this run may not start: {file} forbids new orders ({why_halted((file,))}); "
            f"if that is over, run: mds halt --clear {file.parent}"
        )


def clear_halt(folder: Path) -> list[Path]:
    """Remove the halt files of a folder and of the runs below it, and return them.

    Raises
    ------
    SessionError
        Where there is none, or one can't be removed.
    """
    found = [file for file in (folder / HALT, *(place / HALT for place in _below(folder))) if file.exists()]
    if not found:
        raise SessionError(f"{folder} is not halted: there is no {HALT} in it or in a run below; nothing to clear")
    for file in found:
        try:
            file.unlink()
        except OSError as error:
            raise SessionError(f"{file} can't be removed ({error.strerror}); remove it by hand") from error
    return found


def find_runs(folder: Path) -> list[Path]:
    """Return the run folders that a halt of this folder reaches: itself, or those one and two levels below."""
    return [place for place in (folder, *_below(folder)) if _is_run(place)]


def venues(folder: Path) -> list[str]:
    """Return the trading APIs at which runs of a folder may have working orders, each once.

    Those are the runs whose session has not said how it ended, and the ones that ended with orders at work. A run that
    is named itself is always among them.
    """
    told = [venue_of(run) for run in find_runs(folder) if run == folder or _may_have_orders(run)]
    return [url for url in dict.fromkeys(told) if url]


def _below(folder: Path) -> list[Path]:
    return [place for pattern in ("*", "*/*") for place in sorted(folder.glob(pattern)) if place.is_dir()]


def _is_run(folder: Path) -> bool:
    return (folder / VENUE).is_file() or (folder / "tape").is_dir()


def _may_have_orders(run: Path) -> bool:
    try:
        verdict = Verdict.read(run)
    except SessionError:  # a damaged verdict proves nothing
        return True
    if verdict is None or verdict.by != "session":  # whoever wrote it could not know
        return True
    return verdict.code in (ExitCode.LEFT_OPEN, ExitCode.RECORD)


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
