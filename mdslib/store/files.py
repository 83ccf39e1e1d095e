"""Where files lie: a local folder, behind the few calls that a store needs. A bucket is `mdslib.store.bucket`."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from mdslib.clock import wall_ns

_STALE = 3_600 * 10**9  # ns


class Found(NamedTuple):
    """A file: its path under the root, with slashes, and its length in bytes."""

    path: str
    size: int


class Files(Protocol):
    """Files by path under one root; every call raises `OSError` where it can't be done."""

    def name(self, path: str) -> str:
        """Return the full name, for messages."""

    def open(self, path: str) -> Any:
        """Return the file as it is now: a buffer or an input file; `FileNotFoundError` where there is none."""

    def write(self, path: str, data: Any) -> None:
        """Replace the file, whole or not at all."""

    def has(self, path: str) -> bool:
        """Tell whether there is such a file."""

    def size(self, path: str) -> int:
        """Return its length in bytes."""

    def find(self, pattern: str) -> Iterator[Found]:
        """Yield the files whose path matches, a ``*`` standing for one name or a part of it, in order of path."""


class LocalFiles:
    """Files in a folder; it is made at the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def name(self, path: str) -> str:
        """Return the full path."""
        return str(self.root / path)

    def open(self, path: str) -> Any:
        """Map the file: what is mapped stays as it is, even when the file is replaced meanwhile."""
        with pa.memory_map(str(self.root / path)) as file:
            return file.read_buffer()

    def write(self, path: str, data: Any) -> None:
        """Write beside the file, wait for the disk, and rename."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # The process and thread in the name: two imports at once must not write one file.
        partial = target.with_name(f".{os.getpid()}-{threading.get_ident()}.partial")
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        _sweep(target.parent)

    def has(self, path: str) -> bool:
        """Tell whether there is such a file."""
        return (self.root / path).is_file()

    def size(self, path: str) -> int:
        """Return its length in bytes."""
        return (self.root / path).stat().st_size

    def find(self, pattern: str) -> Iterator[Found]:
        """Yield the files whose path matches, in order of path."""
        for path in sorted(self.root.glob(pattern)):
            yield Found(path.relative_to(self.root).as_posix(), path.stat().st_size)


def _sweep(folder: Path) -> None:
    """Remove what a process that was killed left half written; nobody writes one part for an hour."""
    for partial in folder.glob(".*.partial"):
        with contextlib.suppress(OSError):  # another one swept it
            if wall_ns() - partial.stat().st_mtime_ns > _STALE:
                partial.unlink()


__all__ = ["Files", "Found", "LocalFiles"]
