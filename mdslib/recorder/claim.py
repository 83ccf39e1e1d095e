"""A recording's folder, proven to take it before anything is connected: it can be written, and nobody records there."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from mdslib.errors import ConfigError, TapeError
from mdslib.recorder.plan import Plan, file_name
from mdslib.recorder.status import FOLDER

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})  # passes by itself, and a recorder waits for it in memory


@contextlib.contextmanager
def claimed(plan: Plan) -> Iterator[None]:
    """Hold what a plan writes; the kernel lets go when the process ends, however it ends.

    Who records several pairs of a venue holds its tape alone. Processes that record a pair each share that, and each
    holds its own pair. A full disk is no reason to refuse, where the folders are there.

    Raises
    ------
    ConfigError
        If the folder can't be made or written.
    TapeError
        If another recorder has one of the tapes.
    """
    with contextlib.ExitStack() as held:
        try:
            for place, mode in _places(plan):
                held.callback(os.close, _hold(place, mode))
            for venue in sorted({each.venue for each in plan.wanted}):
                _prove(plan.out / venue)
        except OSError as error:
            raise ConfigError(
                f"what is recorded goes to {plan.out}, which must be a folder that can be written, received "
                f"{error.strerror or error} ({error.filename or plan.out}); name another with --out"
            ) from None
        yield


def _places(plan: Plan) -> Iterator[tuple[Path, int]]:
    """Give each lock of a plan, and whether it is shared."""
    locks = plan.out / FOLDER
    for wanted in plan.by_tape():
        venue = wanted[0].venue
        whole = locks / f"{venue}.{file_name(wanted[0].instrument().session)}.lock"
        yield whole, fcntl.LOCK_SH if plan.alone else fcntl.LOCK_EX
        if plan.alone:
            yield locks / f"{venue}.{plan.tape_name(wanted)}.lock", fcntl.LOCK_EX


def _hold(path: Path, mode: int) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, mode | fcntl.LOCK_NB)
        _note(fd)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise TapeError(
            f"the tapes of {path.name.partition('.')[0]} in {path.parent.parent} must have one recorder, and process "
            f"{holder} writes them now; stop that one first, or name another folder with --out"
        ) from None
    except OSError:
        os.close(fd)
        raise
    return fd


def _note(fd: int) -> None:
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise


def _prove(folder: Path) -> None:
    """Make the folder and a file in it."""
    probe = folder / f".{os.getpid()}.new"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
        probe.unlink()
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise


__all__ = ["claimed"]
