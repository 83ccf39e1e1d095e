"""Alpaca's market-data frames to records: bytes in, events out, no sockets.

A compiled scanner (`alpaca_scan`) reads the common frames, arrays of trades, quotes and bars; anything else goes whole
through msgspec (`alpaca_messages`), which is exact, knows every message, and says what is wrong with a bad one. Both
give equal records.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import numpy as np

from mdslib.errors import ConfigError, FeedError
from mdslib.events import RECORD, BookFlag
from mdslib.feeds import alpaca_messages as messages
from mdslib.feeds.alpaca_messages import Control, Row
from mdslib.jit import as_records, direct, records
from mdslib.protocols import Records

_BLOCK = 4096  # records allocated at once; what `receive` returns is a slice of a block
_SHORTEST = 48  # bytes of the shortest message that the scanner takes; bounds the records of a frame
_KEPT = 1000  # unread messages that are kept as text


class Unread(NamedTuple):
    """A message that gave no record: its type, its symbol, why, and its text."""

    kind: str
    symbol: str
    why: str
    text: str


class AlpacaDecoder:
    """Turns frames of Alpaca's stock and crypto streams into arrays of `mdslib.events.RECORD`.

    Parameters
    ----------
    symbols : sequence of str
        Symbols in the order of the session's instruments; a record's ``instrument`` is the place in it.
    lots : sequence of float, optional
        Smallest size step of each; 1.0 by default.

    once : bool
        Leave out a trade or bar that has come before: the same id (a bar: the same close) of the same exchange and
        instrument, at the same time, as large. Equal prints with ids of their own are two trades.

    Attributes
    ----------
    controls : list of Success, Refusal or Subscription
        Control messages of the frame read last.
    unknown : deque of Unread
        The latest messages that gave no record; `unread` counts all of them.
    unread : Counter of str
        Such messages by type; `unread_of` by symbol.
    unsubscribed : Counter of str
        Data messages by symbol, of symbols that are not ours; they give no record.

    Notes
    -----
    Minute bars are stamped by the venue at their start and by us at their close, 60 s later. A quote's side with price
    0 is empty: price nan, size 0.

    A book's message becomes a record a level (`mdslib.events.BookFlag`): LAST on its last one, and in front of an image
    a CLEAR. The venue gives books no sequence numbers. So after `begin`, which a new connection calls, changes of a
    book are not read before its image has come: the old book can't be taken for the new one.

    Examples
    --------
    >>> decoder = AlpacaDecoder(["SPY"])
    >>> frame = '[{"T":"t","S":"SPY","i":7,"x":"V","p":779.87,"s":4,"c":["@"],"z":"B","t":"2026-10-06T22:36:01.5Z"}]'
    >>> trade = decoder.receive(frame, ts_init=0)[0]
    >>> float(trade["f0"]), int(trade["i0"]), decoder.counts
    (779.87, 4, {'t': 1})
    """

    def __init__(self, symbols: Sequence[str], lots: Sequence[float] | None = None, *, once: bool = False) -> None:
        lots = [1.0] * len(symbols) if lots is None else list(lots)
        if len(lots) != len(symbols) or len(set(symbols)) != len(symbols) or len(symbols) > 65_535:
            raise ConfigError(
                f"AlpacaDecoder needs at most 65,535 different symbols and one lot for each, received {len(symbols)} "
                f"symbols ({len(set(symbols))} different) and {len(lots)} lots"
            )
        # Imported here: loading compiled code is for those who decode, not for those who only import.
        from mdslib.feeds import alpaca_scan

        self._places = {symbol: place for place, symbol in enumerate(symbols)}
        self._lots = [Decimal(repr(float(lot))) for lot in lots]
        self._once = once
        self._table = _symbol_table(symbols, self._lots, once)
        self._seen = alpaca_scan.HEAD + alpaca_scan.SYMBOL * (int(self._table[0]) + 1)
        self._new_block(_BLOCK)
        # Compile, or load what was compiled, now: a session makes its decoder well before the open.
        first = (np.frombuffer(b"[]", np.uint8), self._table, self._block, 0, 0, 1)
        alpaca_scan.scan(*first)
        self._scan = direct(alpaca_scan.scan, *first)
        self._slow: Counter[str] = Counter()
        self._whole: set[int] = set()  # instruments whose book's image has come
        self.controls: list[Control] = []
        self.unknown: deque[Unread] = deque(maxlen=_KEPT)
        self.unread: Counter[str] = Counter()
        self.unread_of: Counter[str] = Counter()
        self.unsubscribed: Counter[str] = Counter()

    @property
    def counts(self) -> dict[str, int]:
        """Messages that were read, by Alpaca's ``T``, control messages included."""
        fast = Counter(dict(zip("tqb", self._table[1:4].tolist(), strict=True)))
        return {kind: count for kind, count in sorted((fast + self._slow).items()) if count}

    @property
    def doubles(self) -> int:
        """Trades and bars left out, since they had come before."""
        return int(self._table[self._seen]) if self._once else 0

    def begin(self) -> None:
        """Begin with a new connection: each book's image comes first."""
        self._whole.clear()

    def receive(self, frame: str | bytes, ts_init: int) -> Records:
        """Return the records of one frame, in its order.

        Parameters
        ----------
        frame : str or bytes
            JSON text of an array of messages.
        ts_init : int
            When the frame was received, ns UTC.

        Returns
        -------
        array of RECORD, shape (n,)
            Never written again while somebody holds it; ``seq`` and ``crc`` are 0. Empty for a control message.

        Raises
        ------
        FeedError
            If the frame is not JSON or breaks Alpaca's format; none of its messages is counted or returned.
        """
        data = frame.encode() if isinstance(frame, str) else frame
        if self.controls:
            self.controls = []
        found = self._scanned(data, ts_init, 1)
        return self._receive_slowly(data, ts_init) if found is None else found

    def receive_together(self, frames: Sequence[bytes], ts_init: int) -> Records | None:
        """Return the records of frames that were received at once, if all of them are plain market data.

        Where one is not, nothing is read and None is returned: `receive` them one after the other.
        """
        found = self._scanned(b"\n".join(frames), ts_init, len(frames))
        if found is not None:
            self.controls = []
        return found

    def _scanned(self, data: bytes, ts_init: int, frames: int) -> Records | None:
        most = len(data) // _SHORTEST + 1
        if sys.getrefcount(self._owner) == self._alone:  # nobody holds records of this block: its memory is still warm
            self._used = 0
        if self._used + most > len(self._block):
            self._new_block(max(_BLOCK, most))
        first = self._used
        count = self._scan(np.frombuffer(data, np.uint8), self._table, self._block, first, ts_init, frames)
        if count < 0:
            return None
        self._used = first + count
        found: Records = self._block[first : self._used]
        return found

    def _new_block(self, size: int) -> None:
        self._block: Any = records(size, RECORD)
        self._owner: Any = self._block if self._block.base is None else self._block.base  # what every view of it holds
        self._alone = sys.getrefcount(self._owner)
        self._used = 0

    def _receive_slowly(self, data: bytes, ts_init: int) -> Records:
        try:
            raws = messages.read_frame(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FeedError(
                f"Alpaca frame of {len(data)} bytes must be a JSON array of messages: {error}; it begins {data[:60]!r}"
            ) from None
        # Everything is read before anything is counted, so that a bad frame leaves no trace but its error.
        reading = _Reading(self._places, self._lots, self._whole)
        for place, raw in enumerate(raws):
            try:
                reading.message(raw)
            except (msgspec.DecodeError, UnicodeError, ValueError) as error:
                text = bytes(raw)[:200]
                raise FeedError(f"Alpaca frame, message {place} of {len(raws)}: {error}; received {text!r}") from None
        self._slow += reading.counts
        self.unread += reading.unread
        self.unread_of += Counter(unread.symbol for unread in reading.unknown)
        self.unsubscribed += reading.unsubscribed
        self.unknown.extend(reading.unknown)
        self.controls = reading.controls
        self._whole = reading.whole
        found = _to_records(reading.rows, ts_init)
        if self._once and len(found):
            from mdslib.feeds.alpaca_scan import without_doubles

            return found[: without_doubles(as_records(found), self._table)]
        return found


class _Reading:
    """What one frame says, before it is believed."""

    def __init__(self, places: Mapping[str, int], lots: Sequence[Decimal], whole: set[int]) -> None:
        self.places, self.lots, self.whole = places, lots, set(whole)
        self.rows: list[Row] = []
        self.controls: list[Control] = []
        self.unknown: list[Unread] = []
        self.counts: Counter[str] = Counter()
        self.unread: Counter[str] = Counter()
        self.unsubscribed: Counter[str] = Counter()

    def message(self, raw: msgspec.Raw) -> None:
        head = messages.read_head(raw)
        kind, symbol = head.kind, head.symbol
        if kind in messages.CONTROLS:
            self.controls.append(messages.read_control(kind, raw))
        elif kind not in messages.KNOWN:
            self._keep(kind, symbol, f"messages of type {kind!r} are not read", raw)
        elif symbol not in self.places:
            self.unsubscribed[symbol] += 1
        else:
            place = self.places[symbol]
            try:
                rows = messages.read_data(kind, raw, self.lots[place])
                if kind == messages.BOOK:
                    self._check_whole(place, rows)
                self.rows += [{"instrument": place, **row} for row in rows]
            except messages.Unreadable as why:
                self._keep(kind, symbol, str(why), raw)
        self.counts[kind] += 1

    def _check_whole(self, place: int, rows: list[Row]) -> None:
        if rows and rows[0]["flag"] & BookFlag.CLEAR:
            self.whole.add(place)
        elif place not in self.whole:
            raise messages.Unreadable("a change of a book of which this connection has sent no image")

    def _keep(self, kind: str, symbol: str, why: str, raw: msgspec.Raw) -> None:
        self.unread[kind] += 1
        self.unknown.append(Unread(kind, symbol, why, bytes(raw).decode("utf-8", "replace")))


def _to_records(rows: list[Row], ts_init: int) -> Records:
    found = np.zeros(len(rows), RECORD)
    found["ts_init"] = ts_init
    for place, row in enumerate(rows):
        for slot, value in row.items():
            found[slot][place] = value
    return found


def _symbol_table(
    symbols: Sequence[str], lots: Sequence[Decimal], once: bool
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the scanner's state: mask, counts, then symbols by their bytes, then room for what came lately.

    A symbol that it can't hold goes the slow path.
    """
    from mdslib.feeds import alpaca_scan as scanner

    size = 8
    while size < 2 * len(symbols):
        size *= 2
    lately = 1 + scanner.SEEN * scanner.SLOTS if once else 0
    table = np.zeros(scanner.HEAD + scanner.SYMBOL * size + lately, np.int64)
    table[0] = size - 1
    for place, (symbol, lot) in enumerate(zip(symbols, lots, strict=True)):
        exponent = -lot.log10()
        plain = symbol.isascii() and symbol.isprintable() and len(symbol) <= 16
        if plain and exponent == exponent.to_integral_value() and 0 <= exponent <= 18:
            text = symbol.encode()
            low, high = int.from_bytes(text[:8], "little"), int.from_bytes(text[8:], "little")
            scanner.add_symbol(table, low, high, place, int(exponent))
    return table


__all__ = ["AlpacaDecoder", "Unread"]
