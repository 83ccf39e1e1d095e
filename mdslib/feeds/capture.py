"""Reading captures: what a client sent and received, line by line, as it was recorded.

Three forms are read, each plain or compressed (``.zst``, ``.gz``):

* cryptofeed's raw capture: ``<url> <-> <time>`` opens a connection, ``<url> <- <time>: <text>`` is what the client
  sent, ``<time>: <text>`` what it received, ``<url> -> <time>: <text>`` a REST response, ``configuration: <text>`` a
  note. One file is one connection; a session's files, ``KRAKEN.ws.48.0`` and so on, are merged by time.
* one JSON message a line, received in this order at times unknown.
* ``.json``: one message, on as many lines as it likes; a REST response if its name begins with ``http``.
"""

from __future__ import annotations

import contextlib
import heapq
import io
import itertools
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import IO, Any, NamedTuple

from mdslib.errors import DataError
from mdslib.feeds.digits import whole

_COMPRESSED = {".zst": "zstd", ".gz": "gzip"}
_IGNORED = {".md", ".txt"}
_PIECE = 1 << 16
# A url, an arrow, a time, and a text: <-> has no text, a received message no url.
_LINE = re.compile(rb"(?:(\S+://\S+) (<->|<-|->) )?(\d+(?:\.\d+)?)(?:: (.*))?", re.DOTALL)


class What(Enum):
    """What a line of a capture is."""

    CONNECTED = "connected"
    SENT = "sent"
    RECEIVED = "received"
    REST = "rest"
    NOTE = "note"
    ENDED = "ended"  # no line: the file has no more


class Line(NamedTuple):
    """One line: `time` in ns UTC (0 where the capture has none), `connection` its file."""

    time: int
    connection: str
    what: What
    url: str
    text: bytes


def capture_files(path: Path) -> list[Path]:
    """Return a capture's files: the file itself, or those of a folder and the folders in it, in order of name.

    Raises
    ------
    DataError
        If there is nothing at `path`, or nothing that could be a capture.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(
            f"capture: there is no file or folder {path}; give a capture's file, or the folder of its files"
        )
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix not in _IGNORED)
    if not files:
        raise DataError(f"capture: the folder {path} holds no files; give a capture's file, or the folder of its files")
    return files


def read_capture(*files: Path, ends: bool = False, damaged: list[DataError] | None = None) -> Iterator[Line]:
    """Yield the lines of a capture's files in order of time; lines of one file keep their order.

    Parameters
    ----------
    *files : Path
        The files.
    ends : bool
        Whether each file whose lines have times has an `ENDED` after its last line.
    damaged : list of DataError, optional
        Where given, a file that is damaged ends where it is, the others go on, and its error is added here.

    Raises
    ------
    DataError
        If a file is no capture, or its compression is damaged; names the file and the line. What comes before is
        yielded first.
    """
    read = (_until_damage(file, damaged, ends) for file in files)
    return heapq.merge(*read, key=lambda line: line.time)


def _until_damage(file: Path, damaged: list[DataError] | None, ends: bool = False) -> Iterator[Line]:
    try:
        yield from _read_file(file, ends=ends)
    except DataError as error:
        if damaged is None:
            raise
        damaged.append(error)


def _read_file(file: Path, *, ends: bool = False) -> Iterator[Line]:
    time = 0
    number = 0
    try:
        with _open(file) as lines:
            if file.suffix == ".json":
                what = What.REST if file.name.startswith("http") else What.RECEIVED
                yield Line(0, str(file), what, "", lines.read())
                return
            for number, raw in enumerate(lines, 1):
                text = raw.strip()
                if not text:
                    continue
                line = _parse(file, number, text)
                # A file's order is the truth; a clock that was set back must not reorder a connection's messages.
                time = max(time, line.time)
                yield line._replace(time=time)
        if ends:
            yield Line(time, str(file), What.ENDED, "", b"")
    except OSError as error:
        raise DataError(f"capture: {file} can't be read after line {number}: {error}; copy it again") from None


def _open(file: Path) -> IO[bytes]:
    compression = _COMPRESSED.get(file.suffix)
    if compression is None:
        return file.open("rb")
    return io.BufferedReader(_Unpacked(file, compression), 1 << 20)


class _Unpacked(io.RawIOBase):
    """A compressed file's bytes: of one that was cut, as of a machine that lost its power, all up to the cut."""

    def __init__(self, file: Path, compression: str) -> None:
        self._file, self._compression = file, compression
        self._stream = self._opened()
        self._at = 0
        self._error: OSError | None = None

    def _opened(self) -> Any:
        import pyarrow as pa

        return pa.input_stream(str(self._file), compression=self._compression)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        if self._error is not None:
            raise self._error
        try:
            data = self._stream.read(min(len(buffer), _PIECE))
        except OSError as error:
            self._error = error
            data = self._last()
            if not data:
                raise
        self._at += len(data)
        buffer[: len(data)] = data
        return len(data)

    def _last(self) -> bytes:
        """Return what can be read from here to the damage: Arrow drops the whole piece in which there is some."""
        found = bytearray()
        with self._opened() as stream:
            left = self._at
            while left:
                left -= len(stream.read(min(left, _PIECE)))
            with contextlib.suppress(OSError):
                while len(found) < _PIECE:
                    found += stream.read(1)
        return bytes(found)


def _parse(file: Path, number: int, text: bytes) -> Line:
    name = str(file)
    if text[:1] in b"{[":
        return Line(0, name, What.RECEIVED, "", text)
    if text.startswith(b"configuration: "):
        return Line(0, name, What.NOTE, "", text.partition(b": ")[2])
    found = _LINE.fullmatch(text)
    if found is None:
        raise DataError(
            f"capture: {file.name}, line {number} must be '<time>: <message>' or a JSON message, "
            f"received {text[:60]!r}; is it a capture?"
        )
    url, arrow, time, rest = found.groups()
    what = {None: What.RECEIVED, b"<->": What.CONNECTED, b"<-": What.SENT, b"->": What.REST}[arrow]
    return Line(whole(time.decode(), 9), name, what, (url or b"").decode(), rest or b"")


def dialect_of(file: Path) -> str:
    """Return the protocol that a file's messages are in: a venue's name, and its version where there are several.

    Told by the address that the client connected to, or the name of the file's folder, and by the first messages.

    Raises
    ------
    DataError
        If none of them tells.
    """
    venue = file.parent.name if file.parent.name in _ADDRESSES else ""
    for line in itertools.islice(_until_damage(file, []), _LOOKED_AT):
        venue = _addressed(line) or venue
        if line.what is not What.RECEIVED:
            continue
        for dialect, shape in _SHAPES.items():
            if dialect.startswith(venue) and shape.search(line.text):
                return dialect
    if venue:
        return venue
    known = ", ".join(sorted(_SHAPES))
    raise DataError(f"capture: {file} does not tell whose protocol it is in; name it with --venue: {known}")


def protocol_of(file: Path, venue: str = "") -> str:
    """Return the protocol that a file's messages are in: `venue` where it is given, else what the file tells.

    Raises
    ------
    DataError
        If none is given and the file does not tell, or the address that its client connected to, or the name of its
        folder, is another venue's.
    """
    if not venue:
        return dialect_of(file)
    told = file.parent.name if file.parent.name in _ADDRESSES else ""
    for line in itertools.islice(_until_damage(file, []), _LOOKED_AT):
        told = _addressed(line) or told
    if told and told != venue.partition("-")[0]:
        raise DataError(f"capture: {file} is {told}'s, --venue says {venue}; leave --venue out")
    return venue


def _addressed(line: Line) -> str:
    return next((name for name, mark in _ADDRESSES.items() if mark in line.url), "")


_LOOKED_AT = 100  # lines
_ADDRESSES = {
    "bitfinex": "bitfinex.com",
    "bitmex": "bitmex.com",
    "coinbase": "coinbase.com",
    "kraken": "kraken.com",
}
# What only one protocol's messages say, most telling first.
_SHAPES = {
    "bitmex": re.compile(rb'"table"\s*:|BitMEX'),
    "coinbase-advanced": re.compile(rb'"sequence_num"\s*:'),
    "coinbase": re.compile(rb'"product_id"\s*:.*"type"\s*:|"type"\s*:.*"product_id"\s*:|"type"\s*:\s*"subscriptions"'),
    "bitfinex": re.compile(rb'"chanId"|"serverId"'),
    "kraken": re.compile(rb'"channelID"|"connectionID"'),
    "kraken-v2": re.compile(rb'"method"\s*:|"channel"\s*:|"feed"\s*:'),
}
