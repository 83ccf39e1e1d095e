"""Alpaca's stream as a recording's source: cpquant's client in a thread, kept for months."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence

import numpy as np

from mdslib.calendar import session
from mdslib.clock import Clock, WallClock, monotonic_ns
from mdslib.errors import FeedError, FeedRefused, MdsError
from mdslib.events import RECORD, BookFlag, Kind
from mdslib.feeds.alpaca_address import feed_for
from mdslib.feeds.alpaca_socket import CpquantFeed
from mdslib.feeds.backoff import Backoff
from mdslib.feeds.lull import Lull, Quiet
from mdslib.instruments import Instrument
from mdslib.protocols import Records
from mdslib.recorder.source import PairState
from mdslib.recorder.tape import DAY, date_of

_KINDS = ("trades", "quotes")
_BOOKS = "orderbooks"  # of pairs alone
_TRADE, _QUOTE, _DELTA, _GAP = int(Kind.TRADE), int(Kind.QUOTE), int(Kind.BOOK_DELTA), int(Kind.GAP)
_REFUSED_FOR = 300.0  # s between two tries of what was refused for good: a plan may be changed
_LOOK_EVERY = 1.0  # s
_JOINED_WITHIN = 10.0  # s


class AlpacaSource:
    """Trades and quotes of some symbols, of pairs their order books too, in a thread of its own.

    Parameters
    ----------
    instruments : sequence of Instrument
        All stocks, or all crypto pairs.
    places : sequence of int
        Of each among the recording's instruments.
    feed : str
        For stocks: ``iex``, ``sip``.
    url : str
        The stream's host, ``wss://…``.
    tell : callable
        Takes one line for a person.
    """

    def __init__(
        self, instruments: Sequence[Instrument], places: Sequence[int], feed: str, url: str,
        tell: Callable[[str], None], clock: Clock | None = None, backoff: Backoff | None = None,
        lull: Lull | None = None,
    ) -> None:  # fmt: skip
        self._books = self._always = instruments[0].is_pair
        self.instruments = tuple(instruments)
        self._places = np.array(places, np.uint16)
        self._clock, self._tell, self._backoff = clock or WallClock(), tell, backoff or Backoff()
        kinds = (*_KINDS, _BOOKS) if self._books else _KINDS
        self._feed = CpquantFeed(instruments, feed_for(instruments, feed), url, kinds, clock=self._clock)
        self._taken: deque[Records] = deque()
        self._counts: Counter[tuple[int, int]] = Counter()  # records by kind and place
        self._ended: Counter[int] = Counter()  # messages of books by place, images included
        self._changed: Counter[int] = Counter()  # of which changes
        self._resyncs: Counter[int] = Counter()
        self._doubted: set[int] = set()  # places of books from a GAP to their next image
        self._unbelieved: Counter[int] = Counter()  # messages of such books by place
        self._state, self._said = "connecting", ""
        self._losses = 0
        self._last = 0
        self._lull = lull or Lull()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._fault: Exception | None = None

    @property
    def received(self) -> int:
        """Bytes received since the start."""
        return self._feed.bytes

    @property
    def raw_bytes(self) -> int:
        """0: this source keeps no raw capture."""
        return 0

    @property
    def raw_lost(self) -> int:
        """0: this source keeps no raw capture."""
        return 0

    def take(self) -> Records:
        """Return the records since the last call."""
        parts = [self._taken.popleft() for _ in range(len(self._taken))]
        if not parts:
            return np.zeros(0, RECORD)
        records = self._believed(np.concatenate(parts))
        self._counts.update(zip(records["kind"].tolist(), records["instrument"].tolist(), strict=True))
        last = (records["kind"] == _DELTA) & (records["flag"] & BookFlag.LAST > 0)
        self._ended.update(records["instrument"][last].tolist())
        self._changed.update(records["instrument"][last & (records["flag"] & BookFlag.SNAPSHOT == 0)].tolist())
        return records

    def _believed(self, records: Records) -> Records:
        """Leave out changes of a book from a GAP to its next image: the venue sends some before it has left a channel.

        It is done here and not in the decoder, which runs in another thread, so that none can slip in behind the GAP.
        """
        kinds, places = records["kind"], records["instrument"]
        gaps = kinds == _GAP
        if not (self._books and (self._doubted or gaps.any())):
            return records
        keep = np.ones(len(records), bool)
        for place in self._doubted | set(places[gaps].tolist()):
            doubted = place in self._doubted
            for at in np.flatnonzero((places == place) & (gaps | (kinds == _DELTA))).tolist():
                flag = int(records["flag"][at])
                doubted = bool(gaps[at]) or (doubted and not flag & BookFlag.CLEAR)
                keep[at] = bool(gaps[at]) or not doubted
                self._unbelieved[place] += not keep[at] and bool(flag & BookFlag.LAST)
            (self._doubted.add if doubted else self._doubted.discard)(place)
        return records[keep]

    def states(self) -> dict[str, PairState]:
        """Return how each of its symbols is; they share one connection."""
        found = {}
        for place, instrument in zip(self._places.tolist(), self.instruments, strict=True):
            trades, quotes = self._counts[_TRADE, place], self._counts[_QUOTE, place]
            ignored = self._feed.decoder.unread_of[instrument.symbol] + self._unbelieved[place]
            messages = trades + quotes + self._ended[place] + ignored
            state = "resync" if self._state == "live" and place in self._doubted else self._state
            found[instrument.symbol] = PairState(
                state, self._said, messages, trades, self._changed[place], quotes,
                resyncs=self._resyncs[place], losses=self._losses, ignored=ignored,
            )  # fmt: skip
        return found

    def resync(self, pair: str, why: str) -> None:
        """Ask for a pair's book anew: its image follows, and until then a GAP says that it is not to be trusted."""
        at = next((at for at, instrument in enumerate(self.instruments) if instrument.symbol == pair), None)
        if at is None or not self._books:
            return
        self._resyncs[int(self._places[at])] += 1
        self._taken.append(self._gaps(self._places[at : at + 1]))
        self._tell(f"alpaca: the book of {pair} is asked for anew: {why}")
        try:
            self._feed.ask_again(_BOOKS, pair)
        except FeedError:
            return  # the connection has ended, and the next one brings the image

    def flush(self) -> None:
        """Do nothing: this source keeps no raw capture."""

    async def run(self) -> None:
        """Keep the connection until `close`."""
        self._fault, looked = None, 0
        thread = self._thread = threading.Thread(target=self._keep_safely, name="alpaca", daemon=True)
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.1)
            if monotonic_ns() - looked > _LOOK_EVERY * 1e9:
                looked = monotonic_ns()
                self._watch()
        if self._fault is not None:
            raise self._fault

    def failed(self, why: str) -> None:
        """Note that `run` has ended with a fault."""
        self._lost(why, "stopped")

    def _watch(self) -> None:
        """Cut a connection that is open but mute; a quiet market is told from it by the day's longest lull."""
        feed = self._feed
        trading = self._state == "live" and self._trading()
        if self._lull.look(feed.silence, feed.frames, trading=trading) is Quiet.MUTE:
            feed.drop(f"nothing came for {feed.silence:.0f} s")
            self._lull.began()

    def _trading(self) -> bool:
        if self._always:
            return True
        now = self._clock.now()
        hours = session(date_of(now // DAY))
        return hours is not None and hours.open <= now < hours.close

    async def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._feed.close()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _JOINED_WITHIN)

    def _keep_safely(self) -> None:
        """Keep the connection; a fault ends it and is `run`'s to raise, for nobody sees what a thread raises."""
        try:
            self._keep()
        except Exception as error:
            self._fault = error
            self._feed.drop("of a fault")

    def _keep(self) -> None:
        while not self._stop.is_set():
            began, code, least = monotonic_ns(), None, 0.0
            try:
                self._feed.open()
                self._state, self._said = "live", ""
                self._feed.run(self._sink)
            except FeedError as error:
                code, least = error.code, _REFUSED_FOR if isinstance(error, FeedRefused) else 0.0
                self._lost(str(error), "refused" if isinstance(error, FeedRefused) else "connecting")
            except MdsError as error:
                least = _REFUSED_FOR
                self._lost(str(error), "refused")
            self._backoff.held((monotonic_ns() - began) / 1e9)
            self._stop.wait(max(least, self._backoff.wait(code)))

    def _sink(self, records: Records) -> None:
        if len(records):
            records = records.copy()
            records["instrument"] = self._places[records["instrument"]]
            self._last = max(self._last, int(records["ts_event"].max()))
            self._taken.append(records)

    def _lost(self, why: str, state: str) -> None:
        live, self._state = self._state == "live", state
        if live:
            self._losses += 1
            self._taken.append(self._gaps(self._places))
        if why != self._said:
            self._tell(f"alpaca: {why}; it is tried again")
        self._said = why

    def _gaps(self, places: np.ndarray) -> Records:
        gaps = np.zeros(len(places), RECORD)
        gaps["kind"], gaps["instrument"], gaps["i0"] = _GAP, places, self._last
        gaps["ts_event"] = gaps["ts_init"] = self._clock.now()
        return gaps
