"""Forms: the shapes in which venues write nearly all of their book messages, as templates for a compiled reader.

A form is a frame's text with tags where it varies. ``FormReader.read`` holds a frame against its decoder's forms, one
compiled pass over the bytes, and writes the levels straight into records. Whatever is not exactly of a form (another
key, a blank, an unknown pair, a number that can't be kept exactly) is none, and goes to the decoder's own reader,
which is the oracle. So a form may be strict, but must never be wrong.

================================  ================================================================================
``<rows>`` … ``</rows>``          levels, with commas between them, before a ``]``; ``<row>`` begins a single one
``<if>`` … ``</if>``              text and tags that may be absent; begins with text
``<bid>`` ``<ask>``               the side of the rows that follow
``<side:buy|sell>``               the side of this row, by the venue's words for bid and ask
``<price>`` ``<size>``            of a row; ``<amount>`` is a size whose minus sign means an ask
``<count>``                       orders at the level; none deletes it
``<id>``                          of a level
``<time>`` ``<seconds>``          RFC 3339, or seconds since 1970 with a fraction; the latest counts
``<ms>``                          milliseconds since 1970
``<pair>`` ``<channel>``          who the frame is of; every one in the frame must be the same
``<sequence>`` ``<checksum>``     whole numbers; so is ``<depth>``
``<skip>`` ``<word>`` ``<flat>``  a number, or the inside of a text or of a flat object, that nobody reads
================================  ================================================================================
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mdslib.events import RECORD
from mdslib.feeds import form_scan as scan
from mdslib.jit import as_records, direct
from mdslib.protocols import Records

_TAG = re.compile(r"(</?[a-z]+(?::[^>]*)?>)")
_OPS = {
    "row": scan.ROW, "price": scan.PRICE, "size": scan.SIZE, "amount": scan.AMOUNT, "count": scan.COUNT,
    "id": scan.ID, "time": scan.TIME, "seconds": scan.SECONDS, "ms": scan.MS, "pair": scan.PAIR,
    "channel": scan.CHANNEL, "sequence": scan.SEQUENCE, "checksum": scan.CHECKSUM, "depth": scan.DEPTH,
    "skip": scan.SKIP, "word": scan.WORD, "flat": scan.FLAT, "bid": scan.BIDS, "ask": scan.ASKS,
}  # fmt: skip
_ROOM = 256  # records at first
_SHORTEST_ROW = 7  # bytes, such as [1,0,1]
_ITEM = RECORD.itemsize


class Form(NamedTuple):
    """A template, whether its frames are images of a whole book, and what the account calls them."""

    text: str
    image: bool = False
    name: str = "book update"


class Counts(NamedTuple):
    """How many frames of one form and pair were read, their levels, and those with a right checksum."""

    form: Form
    place: int
    messages: int
    levels: int
    good: int


def program(forms: Sequence[Form]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return what `form_scan.match` runs: the number of forms, where each begins, and their steps.

    Examples
    --------
    >>> program([Form("[<skip>]")]).tolist()[2:] == [0, scan.TEXT, 1, 91, scan.SKIP, scan.TEXT, 1, 93, scan.END]
    True
    """
    steps: list[int] = [len(forms), *(0 for _ in forms)]
    for number, form in enumerate(forms):
        steps[1 + number] = len(steps)
        steps.append(int(form.image))
        opened: list[int] = []
        for part in _TAG.split(form.text):
            _add(steps, opened, part)
        steps.append(scan.END)
    return np.array(steps, np.int64)


def _add(steps: list[int], opened: list[int], part: str) -> None:
    """Add one text or tag; `opened` are the places where the open tags' ends must be written."""
    name, _, words = part.strip("<>").partition(":")
    if not part.startswith("<"):
        steps += [scan.TEXT, len(part), *part.encode()] if part else []
    elif name in ("rows", "if"):
        opened.append(len(steps) + 1)
        steps += [scan.ROWS, 0, scan.ROW] if name == "rows" else [scan.IF, 0]
    elif name in ("/rows", "/if"):
        begin = opened.pop()
        steps += [scan.AGAIN, begin + 1] if name == "/rows" else []
        steps[begin] = len(steps)
    elif name == "side":
        bid, ask = words.split("|")
        steps += [scan.WHICH, len(bid), len(ask), *bid.encode(), *ask.encode()]
    else:
        steps.append(_OPS[name])


class FormReader:
    """Holds frames against forms, and what the last one said until the next.

    Parameters
    ----------
    forms : sequence of Form
        Tried in this order.

    Attributes
    ----------
    found : array of int
        What the last frame said, by `form_scan.ROWS_FOUND` and its likes; `words` is the same as an array of numpy's.
    form : Form
        Of the last frame.
    first : int
        Its first record that is a level: an image begins with one that clears the book.
    block : array of RECORD
        Its records.
    spans : array of int64, shape (n, 6)
        For each record, where the texts of price and size begin and end in the frame, and their decimal places.
    """

    def __init__(self, forms: Sequence[Form]) -> None:
        self.forms = tuple(forms)
        self._program = program(forms)
        self._known: dict[str | int, tuple[int, int]] = {}
        self._symbols = _symbol_table(16)
        self.found = array("q", [0] * scan.COUNTS)
        self._count_places(1)
        self._make_room(_ROOM)
        arguments = (b"{}", self._program, self._symbols, self.block, self.spans, self.words, 0)
        scan.match(*arguments)
        self._match = direct(scan.match, *arguments)

    def know(self, name: str | int, place: int, places: int) -> None:
        """Read frames of this pair or channel from now on: its place, and the decimal places of its lot."""
        if self._known.get(name) == (place, places):
            return
        key = _key(name)
        if key is None or not 0 <= places <= scan.FINEST:
            return  # its frames are of no form, then
        self._count_places(place + 1)
        anew = name in self._known
        self._known[name] = place, places
        if not anew and 2 * len(self._known) <= self._symbols[0]:
            scan.add_symbol(self._symbols, *key, place, places)
            return
        slots = int(self._symbols[0]) + 1
        self._symbols = _symbol_table(slots if 2 * len(self._known) < slots else 2 * slots)
        for known, value in self._known.items():
            scan.add_symbol(self._symbols, *(_key(known) or (0, 0)), *value)

    def read(self, data: bytes, ts_init: int) -> bool:
        """Tell whether the frame is of a form; what it says is then in the attributes, and counted."""
        if len(data) > self._longest:
            self._make_room(len(data) // _SHORTEST_ROW + _ROOM)
        self.received = ts_init
        found = self._match(data, self._program, self._symbols, self.block, self.spans, self.words, ts_init)
        if found >= 0:
            self.form = self.forms[found]
            self.first = int(self.form.image)
            return True
        return False

    def refuse(self) -> None:
        """Do not count the last frame: it is read another way."""
        counted = self.found[scan.COUNTED]
        self.found[counted] -= 1
        self.found[counted + 1] -= self.found[scan.ROWS_FOUND] - self.first

    def records(self) -> bytes:
        """Return the last frame's records, as bytes."""
        return self._bytes[: self.found[scan.ROWS_FOUND] * _ITEM].tobytes()

    def take_counts(self) -> list[Counts]:
        """Return what was counted since the last call."""
        counts = self.words[scan.COUNTS :].reshape(-1, len(self.forms), 3)
        rows = np.argwhere(counts[:, :, 0])
        found = [Counts(self.forms[form], place, *counts[place, form].tolist()) for place, form in rows.tolist()]
        counts[:] = 0
        return found

    def _count_places(self, places: int) -> None:
        more = scan.COUNTS + 3 * places * len(self.forms) - len(self.found)
        if more > 0:
            self.found = array("q", [*self.found, *(0 for _ in range(more))])
            self.words = np.frombuffer(self.found, np.int64)

    def _make_room(self, rows: int) -> None:
        self._longest = (rows - _ROOM // 2) * _SHORTEST_ROW
        self.block: Records = as_records(np.zeros(rows, RECORD))
        self._bytes = self.block.view(np.uint8).reshape(-1).data
        self.spans = np.zeros((rows, 6), np.int64)


def _symbol_table(slots: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    table = np.zeros(scan.HEAD + scan.SYMBOL * slots, np.int64)
    table[0] = slots - 1
    return table


def _key(name: str | int) -> tuple[int, int] | None:
    """Return the two words that a pair, or a channel's number, is looked up by; None where it has none."""
    if isinstance(name, int):
        return (name, -1) if 0 <= name < 2**62 else None
    data = name.encode()
    if not (data.isascii() and name.isprintable() and 0 < len(data) <= 16):
        return None
    return int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")
