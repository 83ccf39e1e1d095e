"""Reading captures: what a client sent and received, line by line, as it was recorded.

Three forms are read, each plain or compressed (``.zst``, ``.gz``):

* cryptofeed's raw capture: ``<url> <-> <time>`` opens a connection, ``<url> <- <time>: <text>`` is what the client
  sent, ``<time>: <text>`` what it received, ``<url> -> <time>: <text>`` a REST response, ``configuration: <text>`` a
  note. One file is one connection; a session's files, ``KRAKEN.ws.48.0`` and so on, are merged by time.
* one JSON message a line, received in this order at times unknown.
* ``.json``: one message, on as many lines as it likes; a REST response if its name begins with ``http``.
"""

from __future__ import annotations

import heapq
import io
import itertools
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


def read_capture(*files: Path, ends: bool = False) -> Iterator[Line]:
    """Yield the lines of a capture's files in order of time; lines of one file keep their order.

    With `ends`, each file whose lines have times has an `ENDED` after its last line.

    Raises
    ------
    DataError
        If a file is no capture, or its compression is damaged; names the file and the line.
    """
    return heapq.merge(*(_read_file(file, ends=ends) for file in files), key=lambda line: line.time)


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
    import pyarrow as pa

    return io.BufferedReader(pa.input_stream(str(file), compression=compression), 1 << 20)


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
    for line in itertools.islice(_read_file(file), _LOOKED_AT):
        venue = next((name for name, mark in _ADDRESSES.items() if mark in line.url), venue)
        if line.what is not What.RECEIVED:
            continue
        for dialect, shape in _SHAPES.items():
            if dialect.startswith(venue) and shape.search(line.text):
                return dialect
    if venue:
        return venue
    known = ", ".join(sorted(_SHAPES))
    raise DataError(f"capture: {file} does not tell whose protocol it is in; name it with --venue: {known}")


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
