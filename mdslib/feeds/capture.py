"""Reading captures: what a client sent and received, line by line, as it was recorded.

Two forms are read, each plain or compressed (``.zst``, ``.gz``):

* cryptofeed's raw capture: ``<url> <-> <time>`` opens a connection, ``<url> <- <time>: <text>`` is what the client
  sent, ``<time>: <text>`` what it received, ``<url> -> <time>: <text>`` a REST response, ``configuration: <text>`` a
  note. One file is one connection; a session's files, ``KRAKEN.ws.48.0`` and so on, are merged by time.
* one JSON message a line, received in this order at times unknown.
"""

from __future__ import annotations

import heapq
import io
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import IO, NamedTuple

from mdslib.errors import DataError
from mdslib.feeds.digits import whole

_COMPRESSED = {".zst": "zstd", ".gz": "gzip"}
_IGNORED = {".md", ".txt"}
# A url, an arrow, a time, and a text: <-> has no text, a received message no url.
_LINE = re.compile(rb"(?:(\S+://\S+) (<->|<-|->) )?(\d+(?:\.\d+)?)(?:: (.*))?", re.DOTALL)


class What(Enum):
    """What a line of a capture is."""

    CONNECTED = "connected"
    SENT = "sent"
    RECEIVED = "received"
    REST = "rest"
    NOTE = "note"


class Line(NamedTuple):
    """One line: `time` in ns UTC (0 where the capture has none), `connection` the name of its file."""

    time: int
    connection: str
    what: What
    url: str
    text: bytes


def capture_files(path: Path) -> list[Path]:
    """Return a capture's files: the file itself, or those of a folder, in order of name.

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
    files = sorted(file for file in path.iterdir() if file.is_file() and file.suffix not in _IGNORED)
    if not files:
        raise DataError(f"capture: the folder {path} holds no files; give a capture's file, or the folder of its files")
    return files


def read_capture(path: Path) -> Iterator[Line]:
    """Yield a capture's lines in order of time; lines of one file keep their order.

    Parameters
    ----------
    path : Path
        A file, or a folder whose files are one session.

    Raises
    ------
    DataError
        If a file is no capture, or its compression is damaged; names the file and the line.
    """
    files = capture_files(path)
    return heapq.merge(*(_read_file(file) for file in files), key=lambda line: line.time)


def _read_file(file: Path) -> Iterator[Line]:
    time = 0
    number = 0
    try:
        with _open(file) as lines:
            for number, raw in enumerate(lines, 1):
                text = raw.strip()
                if not text:
                    continue
                line = _parse(file, number, text)
                # A file's order is the truth; a clock that was set back must not reorder a connection's messages.
                time = max(time, line.time)
                yield line._replace(time=time)
    except OSError as error:
        raise DataError(f"capture: {file} can't be read after line {number}: {error}; copy it again") from None


def _open(file: Path) -> IO[bytes]:
    compression = _COMPRESSED.get(file.suffix)
    if compression is None:
        return file.open("rb")
    import pyarrow as pa

    return io.BufferedReader(pa.input_stream(str(file), compression=compression), 1 << 20)


def _parse(file: Path, number: int, text: bytes) -> Line:
    name = file.name
    if text[:1] in b"{[":
        return Line(0, name, What.RECEIVED, "", text)
    if text.startswith(b"configuration: "):
        return Line(0, name, What.NOTE, "", text.partition(b": ")[2])
    found = _LINE.fullmatch(text)
    if found is None:
        raise DataError(
            f"capture: {name}, line {number} must be '<time>: <message>' or a JSON message, received {text[:60]!r}; "
            "is it a capture?"
        )
    url, arrow, time, rest = found.groups()
    what = {None: What.RECEIVED, b"<->": What.CONNECTED, b"<-": What.SENT, b"->": What.REST}[arrow]
    return Line(whole(time.decode(), 9), name, what, (url or b"").decode(), rest or b"")


def venue_of(path: Path) -> str:
    """Return the venue that a capture is of, by the address it was connected to, or by its first messages.

    Raises
    ------
    DataError
        If neither tells.
    """
    for line in _first_lines(path):
        for venue, mark in _ADDRESSES:
            if mark in line.url:
                return venue
        if line.what is What.RECEIVED:
            for venue, pattern in _SHAPES:
                if pattern.search(line.text[:400]):
                    return venue
    raise DataError(
        f"capture: {path} does not tell its venue; name it: --venue {' or '.join(v for v, _ in _ADDRESSES)}"
    )


def _first_lines(path: Path) -> Iterator[Line]:
    for file in capture_files(path):
        for number, line in enumerate(_read_file(file)):
            yield line
            if number > 100:
                break


_ADDRESSES = (
    ("kraken", "kraken.com"),
    ("bitfinex", "bitfinex.com"),
    ("bitmex", "bitmex.com"),
    ("coinbase", "coinbase.com"),
)
_SHAPES = (
    ("bitmex", re.compile(rb'"table":|BitMEX')),
    ("coinbase", re.compile(rb'"product_id"')),
    ("bitfinex", re.compile(rb'"chanId"|"serverId"')),
    ("kraken", re.compile(rb'"channelID"|"connectionID"')),
)
