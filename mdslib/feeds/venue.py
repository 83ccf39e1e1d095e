"""What the decoders of the crypto venues share: pairs, records, and an account of every message.

A decoder takes one connection's frames in order and gives records: bytes in, records out, no sockets. Every message
ends in one of three ways: *decoded* (it changed a book, was a trade, or a quote), *control* (heartbeats, replies,
notices) or *ignored*, under a name that says why. A pair whose book can't be trusted any more, after a wrong checksum
or a gap, gives a GAP record and a `Resync`, and its deltas are ignored until its next snapshot.
"""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np

from mdslib.errors import DataError
from mdslib.events import RECORD, BookFlag, Kind, pack_conditions
from mdslib.feeds.account import CONNECTION, Frame, Outcome, Resync, Tally, Unread
from mdslib.feeds.book_time import taken
from mdslib.feeds.digits import whole
from mdslib.feeds.form import Counts, Form, FormReader
from mdslib.feeds.form_scan import AT, CHECK, OURS, PLACE, ROWS_FOUND
from mdslib.feeds.pairs import Pairs, places_of
from mdslib.instruments import CRYPTO_LOTS
from mdslib.protocols import Records

_PACK = struct.Struct("<qqqBBHIdddddqqII").pack
assert struct.calcsize("<qqqBBHIdddddqqII") == RECORD.itemsize
_FLAG_AT, _CODE_AT = RECORD.fields["flag"][1], RECORD.fields["code"][1]  # type: ignore[index]
_NAN = math.nan
_KEPT = 1000
# Plain integers: operations on enums cost more than packing a record.
_SNAPSHOT, _CLEAR, _LAST, _CHECKSUM = map(int, (BookFlag.SNAPSHOT, BookFlag.CLEAR, BookFlag.LAST, BookFlag.CHECKSUM))
_DELTA, _TRADE, _QUOTE, _GAP = map(int, (Kind.BOOK_DELTA, Kind.TRADE, Kind.QUOTE, Kind.GAP))
# What reading a message that breaks its venue's format may raise: wrong JSON, a missing key, a list for a number, a
# number that no field holds, brackets a thousand deep.
_NONSENSE = (
    msgspec.DecodeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
    struct.error,
)


class Level(NamedTuple):
    """One level of a book message: side 0 is bids, 1 asks; `size` in lots, 0 deletes."""

    side: int
    price: float
    size: int
    orders: float = math.nan


class VenueDecoder(ABC):
    """One connection of a venue, its frames turned into records.

    Parameters
    ----------
    pairs : Pairs, optional
        Shared by a session's connections; by default every pair that appears gets a place.

    Attributes
    ----------
    unread : deque of Unread
        The latest ignored messages.
    outcome : Outcome
        How the last message ended.
    fast : bool
        Whether it was read by its form.
    refusals : list of Unread
        Messages in which the venue refused something; who reads them empties the list.
    """

    venue: ClassVar[str]
    forms: ClassVar[tuple[Form, ...]] = ()  # of the book messages that are read the fast way; without any, none is

    def __init__(self, pairs: Pairs | None = None) -> None:
        self.pairs = Pairs() if pairs is None else pairs
        self.lot_places = places_of(self.venue, CRYPTO_LOTS[self.venue])  # where `pairs` does not say
        self._tallies: dict[str, Tally] = {}
        self.unread: deque[Unread] = deque(maxlen=_KEPT)
        self.outcome = Outcome.CONTROL
        self.refusals: list[Unread] = []
        self._resyncs: list[Resync] = []
        self._packed: list[bytes] = []
        self._frame = Frame(self._tallies, self._packed)
        self._reader: FormReader | None = None
        self._use_forms(self.forms)
        self.fast = self._wrong_time = False

    @abstractmethod
    def _read(self, data: bytes) -> Outcome:
        """Read one message into `self._frame`."""

    @abstractmethod
    def _resync_messages(self, pair: str) -> tuple[str, ...]:
        """Return what to send so that the venue sends the pair's book anew."""

    @abstractmethod
    def _forget(self, pair: str) -> None:
        """Drop what is known of a pair's book; its deltas are ignored until the next snapshot."""

    def _formed(self, reader: FormReader, data: bytes, ts_init: int) -> bool:
        """Take in a frame of a form, which `reader` has read; False, with nothing changed, leaves it to `_read`."""
        return False

    def receive(self, frame: str | bytes, ts_init: int) -> Records:
        """Return the records of one message.

        Parameters
        ----------
        frame : str or bytes
            The message as it came.
        ts_init : int
            When it came, ns UTC.

        Returns
        -------
        array of RECORD, shape (n,)
            In the message's order; ``seq`` and ``crc`` are 0. A message that can't be read gives none, and is kept in
            `unread`: one bad message must not end a recording.
        """
        self.feed(frame, ts_init)
        return self.take()

    def feed(self, frame: str | bytes, ts_init: int) -> None:
        """Read one message as `receive` does, and keep its records until `take`: for many messages at once."""
        data = frame.encode() if isinstance(frame, str) else frame
        reader = self._reader
        if reader is not None and reader.read(data, ts_init):
            if self._formed(reader, data, ts_init):
                self.outcome, self.fast = Outcome.DECODED, True
                return
            reader.refuse()
        self.fast = False
        now = self._frame
        now.begin(ts_init)
        try:
            outcome = self._read(data)
            if not (isinstance(now.pair, str) and isinstance(now.name, str)):
                raise TypeError(f"a pair and a type must be texts, received {now.pair!r} and {now.name!r}")
        except _NONSENSE as error:
            outcome = self._unreadable(error)
        self.outcome = outcome
        tally = now.first
        tally.messages += 1
        tally.names[now.name] += 1
        if outcome is Outcome.DECODED:
            tally.decoded += 1
            return
        if outcome is Outcome.CONTROL:
            tally.control += 1
        else:
            tally.ignored += 1
            self.unread.append(Unread(now.pair, now.why or now.name, data[:2000].decode("utf-8", "replace")))
        if now.name.startswith("refused"):
            self.refusals.append(Unread(now.pair, now.name, data[:2000].decode("utf-8", "replace")))

    def take(self) -> Records:
        """Return the records that were kept since the last call, in order."""
        found: Records = np.frombuffer(bytearray(b"".join(self._packed)), RECORD)
        self._packed.clear()
        return found

    def rest(self, url: str, body: bytes, ts_init: int) -> Records:
        """Return the records of a REST answer; none, for most."""
        return np.zeros(0, RECORD)

    def _outside(self, pair: str, ts_init: int, read: Callable[[], None]) -> Records:
        """Return the records that `read` adds for a pair, outside any message; they count, but not as a message."""
        now, self.fast = self._frame, False
        now.begin(ts_init)
        place = self.pairs.place(pair)
        now.pair, now.place, now.places = pair, place or 0, self.pairs.exponent(pair, self.lot_places)
        if place is None:
            return np.zeros(0, RECORD)
        try:
            read()
        except _NONSENSE as error:
            now.undo()
            raise DataError(f"{self.venue} {pair}: the answer can't be read: {type(error).__name__}: {error}") from None
        return self.take()

    def distrust(self, pair: str, why: str, ts_init: int) -> None:
        """Ask for a pair's book anew, for a reason that only its reader can see, such as a book that stays crossed.

        Its GAP is kept until `take`; what to send is in `take_resyncs`.
        """
        now = self._frame
        now.begin(ts_init)
        now.pair, now.place = pair, self.pairs.place(pair) or 0
        self._distrust(why)

    @property
    def tallies(self) -> dict[str, Tally]:
        """The account of every message by pair; of those without one under ``connection``."""
        self._add_counts()
        return self._tallies

    def _add_counts(self) -> None:
        if self._reader is not None:
            for counts in self._reader.take_counts():
                _count(self._tallies.setdefault(self.pairs.symbols[counts.place], Tally()), counts)

    @property
    def last(self) -> Tally:
        """What the last message added to the account of its pair, the first if it has several."""
        reader = self._reader
        if reader is None or not self.fast:
            return self._frame.added()
        found, added = reader.found, Tally()
        good, checked = found[OURS] == found[CHECK], found[OURS] >= 0
        _count(added, Counts(reader.form, 0, 1, found[ROWS_FOUND] - reader.first, int(checked and good)))
        added.checksums_bad = int(checked and not good)
        added.wrong_times = int(self._wrong_time)
        return added

    @property
    def asks(self) -> bool:
        """Whether there is a resync or a refusal that nobody has looked at."""
        return bool(self._resyncs or self.refusals)

    def take_resyncs(self) -> list[Resync]:
        """Return the resyncs that were asked for since the last call."""
        taken, self._resyncs = self._resyncs, []
        return taken

    def _unreadable(self, error: Exception) -> Outcome:
        now = self._frame
        now.undo()
        now.pair, now.name = (text if isinstance(text, str) else "" for text in (now.pair, now.name))
        now.why = f"{now.name or 'message'} can't be read: {type(error).__name__}: {error}"
        if now.name.startswith("book") and self.pairs.place(now.pair) is not None:
            self._distrust(now.why)
        now.name = "unreadable"
        return Outcome.IGNORED

    # ------------------------------------------------------------ for the venues' readers

    def _of(self, pair: str) -> bool:
        """Say which pair the message is of; False, and ignored, if it is not one of ours."""
        now = self._frame
        if not (isinstance(pair, str) and pair):
            raise TypeError(f"a pair must be a text, received {pair!r}")
        place = self.pairs.place(pair)
        now.pair = pair
        if place is None:
            self._ignore(f"{now.name} of a pair that is not ours")
            return False
        now.place, now.places = place, self.pairs.exponent(pair, self.lot_places)
        self._know(pair, pair)
        return True

    def _use_forms(self, forms: Sequence[Form]) -> None:
        """Read frames of these forms the fast way, if the decoder does so at all."""
        self._add_counts()
        self._reader = FormReader(forms) if self.forms else None
        for pair in self.pairs.symbols:
            self._know(pair, pair)

    def _know(self, name: str | int, pair: str) -> None:
        """Read forms that name one of our pairs so: by its symbol, or by the number of a channel."""
        place = self.pairs.find(pair)
        if self._reader is not None and place is not None:
            self._reader.know(name, place, self.pairs.exponent(pair, self.lot_places))

    def _keep(self, reader: FormReader) -> None:
        """Add the records of the book message that the reader holds; it has counted them."""
        found = reader.found
        place, told = found[PLACE], found[AT]
        time, wrong = self.pairs.book_times.next(place, told, reader.received)
        self._wrong_time = wrong
        if time != told:
            reader.block["ts_event"][: found[ROWS_FOUND]] = time
        if wrong:
            self._tallies.setdefault(self.pairs.symbols[place], Tally()).wrong_times += 1
        self._packed.append(reader.records())

    def _check_kept(self, reader: FormReader, pair: str, ts_init: int) -> None:
        """Distrust a pair whose checksum, which `WireBook.keep` has computed, is not the one that was sent."""
        sent, ours = reader.found[CHECK], reader.found[OURS]
        if ours != sent:
            self._tallies.setdefault(pair, Tally()).checksums_bad += 1
            self.distrust(pair, f"the book's checksum must be {sent}, ours is {ours}", ts_init)

    def _ignore(self, name: str, why: str = "") -> Outcome:
        self._frame.name, self._frame.why = name, why
        return Outcome.IGNORED

    def _control(self, name: str) -> Outcome:
        self._frame.name = name
        return Outcome.CONTROL

    def _lots(self, text: str) -> int:
        return whole(text, self._frame.places)

    def _distrust(self, why: str, pair: str = "") -> None:
        """Note that a pair's book is not the venue's any more: a GAP, until its next snapshot."""
        now = self._frame
        pair = pair or now.pair
        messages = self._resync_messages(pair)
        self._forget(pair)
        place = self.pairs.place(pair)
        if place is not None:
            now.rows.append(_PACK(0, now.ts_init, now.ts_init, _GAP, 0, place, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        self._resyncs.append(Resync(pair, why, messages))

    def _reconnect(self, why: str) -> None:
        """Ask for a new connection."""
        self._resyncs.append(Resync(CONNECTION, why, ()))

    def _book(
        self,
        levels: Iterable[Level],
        ts_event: int,
        *,
        snapshot: bool = False,
        checksum: int | None = None,
        sequence: int = 0,
    ) -> None:
        """Add one book message's records."""
        now = self._frame
        place, tally, rows, ts_init = now.place, now.tally, now.rows, now.ts_init
        ts_event, wrong = self.pairs.book_times.next(place, ts_event, ts_init)
        tally.wrong_times += wrong
        before, common = len(rows), 0
        if snapshot:
            common = _SNAPSHOT
            tally.snapshots += 1
            rows.append(
                _PACK(0, ts_event, ts_init, _DELTA, common | _CLEAR, place, 0, _NAN, _NAN, 0.0, 0.0, 0.0,
                      0, sequence, 0, 0)
            )  # fmt: skip
        else:
            tally.deltas += 1
        for side, price, size, orders in levels:
            if price - price != 0.0:  # nan and infinities
                raise ValueError(f"a price must be a finite number, received {price}")
            rows.append(
                _PACK(0, ts_event, ts_init, _DELTA, common | side, place, 0, price, orders, 0.0, 0.0, 0.0,
                      size, sequence, 0, 0)
            )  # fmt: skip
        tally.levels += len(rows) - before - snapshot
        if len(rows) > before:
            _end(rows, checksum)

    def _trade(self, ts_event: int, price: float, size: int, trade_id: int, letters: Sequence[str]) -> None:
        """Add a new trade; `letters` begins with the side of who took: b bought, s sold."""
        now = self._frame
        if not math.isfinite(price):
            raise ValueError(f"a price must be a finite number, received {price}")
        now.tally.trades += 1
        ts_event, wrong = taken(ts_event, now.ts_init)
        now.tally.wrong_times += wrong
        now.rows.append(
            _PACK(0, ts_event, now.ts_init, _TRADE, 0, now.place, pack_conditions(tuple(letters)), price, 0.0, 0.0,
                  0.0, 0.0, size, trade_id, 0, 0)
        )  # fmt: skip

    def _quote(self, ts_event: int, bid: float, ask: float, bid_size: int = 0, ask_size: int = 0) -> None:
        """Add best prices as the venue tells them; sizes of 0 where it does not."""
        now = self._frame
        now.tally.quotes += 1
        ts_event, wrong = taken(ts_event, now.ts_init)
        now.tally.wrong_times += wrong
        now.rows.append(
            _PACK(0, ts_event, now.ts_init, _QUOTE, 0, now.place, 0, bid, ask, 0.0, 0.0, 0.0, bid_size, ask_size,
                  0, 0)
        )  # fmt: skip


def _end(rows: list[bytes], checksum: int | None) -> None:
    """Mark the last record as its message's last, with the checksum that the venue sent for the book after it."""
    last = bytearray(rows[-1])
    last[_FLAG_AT] |= _LAST
    if checksum is not None:
        last[_FLAG_AT] |= _CHECKSUM
        last[_CODE_AT : _CODE_AT + 4] = checksum.to_bytes(4, "little")
    rows[-1] = bytes(last)


def _count(tally: Tally, counts: Counts) -> None:
    """Add what the fast way has counted to an account."""
    tally.messages += counts.messages
    tally.decoded += counts.messages
    tally.levels += counts.levels
    tally.checksums_ok += counts.good
    tally.names[counts.form.name] += counts.messages
    if counts.form.image:
        tally.snapshots += counts.messages
    else:
        tally.deltas += counts.messages


def dumps(message: Any) -> str:
    """Return a message to send, as compact JSON text."""
    return msgspec.json.encode(message).decode()
