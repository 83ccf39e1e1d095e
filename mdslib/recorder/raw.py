"""What a socket said, kept as it came: compressed, in the form that `mds replay-capture` reads.

A file is one connection, in the folder of the day that it began on. It grows by whole zstd frames, one a flush, so
what a `kill -9` leaves is a file that ends at a flush.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mdslib.recorder.tape import DAY, date_of

_LEVEL = 3
_MOST_WAITING = 64 << 20  # bytes that wait for a disk before they are given up


class RawCapture:
    """The raw capture of one connection after the other; a `mdslib.feeds.venue_connection.Wire`.

    Parameters
    ----------
    folder : Path
        The venue's folder.
    name : str
        Begins the files' names.
    tell : callable
        Takes one line for a person.

    Attributes
    ----------
    bytes : int
        Compressed bytes written since the start.
    lost : int
        Bytes of text that were given up, for want of space.
    """

    def __init__(self, folder: Path, name: str, tell: Callable[[str], None]) -> None:
        self._folder, self._name, self._tell = folder, name, tell
        self._lines: list[bytes] = []
        self._size = 0
        self._fd = -1
        self._path = Path()
        self.bytes = self.lost = 0
        self._trouble = self._given_up = False

    def connected(self, url: str, time: int) -> None:
        """Begin a file."""
        self.flush()
        self._end()
        self._path = self._folder / date_of(time // DAY).isoformat() / "raw" / f"{self._name}.{time}.zst"
        self._keep(f"{url} <-> {_seconds(time)}\n".encode())

    def sent(self, url: str, time: int, text: str) -> None:
        """Note a message of ours."""
        self._keep(f"{url} <- {_seconds(time)}: {text}\n".encode())

    def received(self, time: int, frame: str | bytes) -> None:
        """Note a message of the venue; a line break inside it, which JSON may have between values, becomes a space."""
        data = frame.encode() if isinstance(frame, str) else frame
        if b"\n" in data or b"\r" in data:
            data = data.replace(b"\n", b" ").replace(b"\r", b" ")
        self._keep(b"%b: %b\n" % (_seconds(time).encode(), data))

    def flush(self) -> None:
        """Write what was kept since the last time."""
        if not self._lines:
            return
        import pyarrow as pa

        told = pa.Codec("zstd", _LEVEL).compress(b"".join(self._lines), asbytes=True)
        try:
            if self._fd < 0:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            at = os.lseek(self._fd, 0, os.SEEK_END)
            if os.write(self._fd, told) != len(told):
                os.ftruncate(self._fd, at)
                raise OSError(28, "only a part fitted on the disk")
        except OSError as error:
            if not self._trouble:
                self._tell(f"raw capture {self._path}: {error.strerror or error}; it is tried again, the tapes go on")
            self._trouble = True
            if self._size > _MOST_WAITING:
                self._give_up()
            return
        self._trouble = self._given_up = False
        self.bytes += len(told)
        self._lines, self._size = [], 0

    def close(self) -> None:
        """Write the rest, as far as the disk takes it, and close the file."""
        self.flush()
        if self._lines:
            self._give_up()
        self._end()

    def _give_up(self) -> None:
        if not self._given_up:
            self._tell(f"raw capture {self._path}: {self._size} bytes of text are given up, and what comes until it "
                       "can be written; the tapes have their events")  # fmt: skip
        self._given_up = True
        self.lost += self._size
        self._lines, self._size = [], 0

    def _end(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _keep(self, line: bytes) -> None:
        self._lines.append(line)
        self._size += len(line)


def _seconds(time: int) -> str:
    return f"{time // 1_000_000_000}.{time % 1_000_000_000:09d}"
