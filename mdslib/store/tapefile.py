"""The tape on disk: one writer, any number of readers.

``append`` returns when the kernel has the bytes, so what it acknowledged survives ``kill -9``; ``durability="fsync"``
waits for the disk as well, for power loss. What a crash left of an unacknowledged record is cut when the tape is opened
again, and kept beside it as ``*.torn``.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal

from mdslib.errors import RecordError, TapeError
from mdslib.protocols import Records
from mdslib.store.tapereader import TapeReader, segment_paths, side_path
from mdslib.tape import FIRST_SEQ, Side, TapeHeader, encode_header, encode_side, encode_side_head
from mdslib.tape.codec import words_of
from mdslib.tape.crc import direct_stamp

Durability = Literal["write", "fsync"]
SEGMENT_BYTES = 256 << 20


class TapeWriter:
    """Append records to a tape: the one place where a sequence is given out.

    One thread writes. A second writer on the same folder is refused. Opening a tape that exists cuts its torn tail and
    goes on: in the same segment if the header is the same, in a new one if not.

    Parameters
    ----------
    folder : Path
        The run's ``tape/``; made if absent.
    header : TapeHeader
        Who decides, with what.
    durability : {"write", "fsync"}
        Whether ``append`` waits for the kernel (survives ``kill -9``) or for the disk (survives power loss).
    segment_bytes : int
        A new segment begins where one would grow beyond this.
    meet : callable, optional
        Called with the reader of a tape that exists, before anything of it is changed. It returns the header to go on
        under; what it raises refuses the tape.

    Attributes
    ----------
    next_seq : int
        Sequence that the next record gets; everything below is safe on the tape.
    torn : int
        Bytes of a torn tail that were cut on opening.
    found : TapeReader or None
        The tape as it was on opening, where there was one.

    Raises
    ------
    TapeError
        If the folder can't be written, is held by another writer, or holds a damaged tape.
    """

    def __init__(
        self,
        folder: Path,
        header: TapeHeader,
        durability: Durability = "write",
        segment_bytes: int = SEGMENT_BYTES,
        meet: Callable[[TapeReader], TapeHeader] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.header = header
        self.found: TapeReader | None = None
        self.next_seq = FIRST_SEQ
        self.torn = 0
        self.segment_bytes = segment_bytes
        self.durability = durability
        self._sync = durability == "fsync"
        self._stamp = direct_stamp()
        self._fd = self._side_fd = self._lock = -1
        self._number = self._first = self._size = self._side_size = self._sides = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.folder)
            if segment_paths(self.folder):
                self._resume(meet)
            else:
                self._begin(1)
        except OSError as error:
            self.close()
            raise RecordError(
                f"tape folder {self.folder} must be writable, received {error.strerror or error}; nothing was "
                "recorded: "
                "free space or choose another runs folder"
            ) from error
        except BaseException:
            self.close()
            raise

    def append(self, records: Records, sides: Sequence[Side] = ()) -> int:
        """Seal a batch in place, write it in one call, and return its first sequence.

        Parameters
        ----------
        records : RECORD array
            Contiguous and writable; ``seq`` and ``crc`` are stamped, ``side`` too for rows that have a text.
        sides : sequence of Side
            Texts for single records of the batch, by `Side.row`; they are written first.

        Returns
        -------
        int
            Sequence of the first record. When this returns, the batch is safe.

        Raises
        ------
        TapeError
            If it could not be written whole: then nothing of the batch is on the tape, and the text says what is.
        """
        words = words_of(records)
        first, length = self.next_seq, words.nbytes
        if not length:
            return first
        try:
            if self._size + length > self.segment_bytes and first > self._first:
                self._begin(self._number + 1)
            if sides:
                self._append_sides(records, sides)
            self._stamp(words, first)
            if os.write(self._fd, words.data) != length:
                raise OSError(errno.ENOSPC, "only a part of the batch fitted on the disk")
            if self._sync:
                os.fdatasync(self._fd)
        except OSError as error:
            raise self._undo(error, f"{len(records)} records from sequence {first}") from error
        self._size += length
        self.next_seq = first + len(records)
        return first

    def swap(self, header: TapeHeader) -> None:
        """Begin a new segment under another header, as when the model is swapped.

        Raises
        ------
        TapeError
            If the new segment can't be written; the tape stays as it was, under the old header.
        """
        before, self.header = self.header, header
        try:
            self._begin(self._number + 1)
        except OSError as error:
            self.header = before
            raise self._undo(error, "a new segment's header") from error

    def close(self) -> None:
        """Close the files and give up the tape; harmless when repeated."""
        for fd in (self._fd, self._side_fd, self._lock):
            if fd >= 0:
                os.close(fd)
        self._fd = self._side_fd = self._lock = -1

    def __enter__(self) -> TapeWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, number: int) -> None:
        """Open a new segment; its header appears whole or not at all, under its final name."""
        path = self.folder / f"{number:08d}.tape"
        draft = path.with_suffix(".new")
        opening = encode_header(self.header, self.next_seq)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            if os.write(fd, opening) != len(opening):
                raise OSError(errno.ENOSPC, "no space for a new segment's header")
            if self._sync:
                os.fsync(fd)
            draft.rename(path)
            if self._sync:
                _sync_folder(self.folder)
        except OSError:
            os.close(fd)
            raise
        for old in (self._fd, self._side_fd):
            if old >= 0:
                os.close(old)
        self._fd, self._side_fd = fd, -1
        self._number, self._first, self._size, self._side_size = number, self.next_seq, len(opening), 0

    def _resume(self, meet: Callable[[TapeReader], TapeHeader] | None) -> None:
        """Verify the tape, cut its torn tail, and go on behind its last whole record."""
        found = self.found = TapeReader(self.folder)
        if meet is not None:
            self.header = meet(found)
        last, self._sides = found.segments[-1], found.side_count
        self.next_seq, self.torn = found.next_seq, found.torn
        self._number, self._first, self._size = len(found.segments), last.first_seq, last.size
        side_bytes, same = found.last_side_bytes, last.header == self.header
        path = segment_paths(self.folder)[-1]
        _cut(path, self._size)
        _cut(side_path(path), side_bytes)
        if not same:
            self._begin(self._number + 1)
            return
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        if side_bytes:
            self._side_fd, self._side_size = (
                os.open(side_path(path), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC),
                side_bytes,
            )

    def _append_sides(self, records: Records, sides: Sequence[Side]) -> None:
        told = b"".join(encode_side(side.kind, self.next_seq + side.row, side.text) for side in sides)
        if self._side_fd < 0:
            path = side_path(self.folder / f"{self._number:08d}.tape")
            self._side_fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
        if not self._side_size:
            told = encode_side_head(self._sides) + told
        if os.write(self._side_fd, told) != len(told):
            raise OSError(errno.ENOSPC, "only a part of the texts fitted on the disk")
        if self._sync:
            os.fdatasync(self._side_fd)
        for place, side in enumerate(sides):
            records["side"][side.row] = self._sides + place + 1
        self._side_size += len(told)
        self._sides += len(sides)

    def _undo(self, error: OSError, what: str) -> RecordError:
        """Take back what a failed write left, so that no half record stays, and say what is safe."""
        left = ""
        try:
            os.ftruncate(self._fd, self._size)
            if self._side_fd >= 0:
                os.ftruncate(self._side_fd, self._side_size)
        except OSError as worse:
            left = f" Its torn end could not be cut ({worse.strerror}); opening the tape again cuts it."
        safe = (
            f"records {FIRST_SEQ} to {self.next_seq - 1} are safe on the tape"
            if self.next_seq > FIRST_SEQ
            else "no record was on the tape yet"
        )
        return RecordError(
            f"tape {self.folder}, segment {self._number:08d}: {what} could not be written "
            f"({error.strerror or error}); {safe}, nothing of this is. Free space, then start the run again.{left}"
        )


def writer_of(folder: Path) -> str:
    """Return the process id of who writes a tape now, as text; empty where nobody does."""
    try:
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(fd)
    return ""


def _lock(folder: Path) -> int:
    """Hold the folder for one writer; the kernel lets go when the process ends, however it ends."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise TapeError(
            f"tape {folder} must have one writer, and process {holder} writes it now; stop that run first"
        ) from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _cut(path: Path, size: int) -> None:
    """Cut a file to its whole records; what is cut is kept beside it."""
    if not path.exists() or path.stat().st_size <= size:
        return
    with path.open("r+b") as file:
        file.seek(size)
        path.with_name(f"{path.name}.{size}.torn").write_bytes(file.read())
        file.truncate(size)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


__all__ = ["SEGMENT_BYTES", "Durability", "TapeReader", "TapeWriter", "writer_of"]
