"""The keeper of the market feed: reconnects it, fills in what was missed, and tells the tape of both.

Two threads. The *reader* runs cpquant's `listen`; what it receives goes straight to the engine while the feed is whole.
When the connection ends, it writes a GAP, connects anew with growing waits, and reads on, into a queue of its own. The
*filler* meanwhile asks the venue's history for what was missed, hands that to the engine, then the frames that waited,
in order, and then RESYNC. So live events follow the backfill, and the reader never waits for either.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import numpy as np

from mdslib.clock import Clock, monotonic_ns
from mdslib.errors import FeedError, FeedRefused
from mdslib.events import BookFlag, Kind
from mdslib.feeds.backoff import Backoff
from mdslib.feeds.lull import Lull, Quiet
from mdslib.feeds.slot import Slot
from mdslib.live.filler import Filler, Hole
from mdslib.live.keeping import Feed, Sink, State
from mdslib.live.orderflow import Log
from mdslib.protocols import Records

_DELTA = int(Kind.BOOK_DELTA)
LOOK = 0.25  # s between two looks at the queue and at a quiet socket
STALE = 90.0  # s that the first connection waits for a slot which a stale session holds (406)
UNREADABLE = 60.0  # s within which a second frame that can't be read makes for a new connection
MOST = 100_000  # frames that may wait for the deciding thread, and frames that may wait for a backfill
IMAGES = 5.0  # s that the books' images may take to come after a reconnection, before it counts as whole without them
WORTH_WAITING = frozenset({404, 406, 429, 500})  # at the start; other errors are told at once


class Keeper:
    """Keeps one feed alive for one session.

    Parameters
    ----------
    feed : Feed
    sink : Sink
    filler : Filler
        Fetches what was missed.
    clock : Clock
        The session's.
    session : tuple of int
        Open and close, ns UTC; the watchdog judges only in between.
    tally : Counter
        Counts losses, reconnections and what was dropped.
    log : callable
    slot : Slot, optional
        The account's only connection, on this machine.
    mute_after : float
        Quiet that is never suspicious, s; 0 turns the watchdog off.
    most : int
        Frames that may wait.
    backoff : Backoff, optional

    Attributes
    ----------
    state : State
    """

    def __init__(
        self,
        feed: Feed,
        sink: Sink,
        filler: Filler,
        clock: Clock,
        session: tuple[int, int],
        tally: Counter[str],
        log: Log,
        *,
        slot: Slot | None = None,
        mute_after: float = 30.0,
        most: int = MOST,
        backoff: Backoff | None = None,
    ) -> None:
        self.state = State.WHOLE
        self._feed, self._sink, self._filler = feed, sink, filler
        feed.on_unreadable = self._unreadable
        self._clock, self._session, self._tally, self._log = clock, session, tally, log
        self._slot, self._most, self._backoff = slot, most, backoff or Backoff()
        self._lull = Lull(mute_after) if mute_after else None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._work = threading.Event()  # there is a hole to fill
        self._waiting: list[tuple[Records, int]] = []
        self._hole: Hole | None = None
        self._images: set[int] | None = None  # books whose image has come since the connection was lost; None: all are
        self._up_since = 0
        self._mute = False  # the connection that ends now was mute
        self._unread_at = 0  # monotonic time of the last frame that could not be read
        self._warned = 1_000  # frames that waited at the last warning

    # The reader --------------------------------------------------------------------------------------------------

    def open(self, stopped: Callable[[], bool] = bool) -> None:
        """Connect for the first time; waits out a stale session that holds the account's only slot.

        Parameters
        ----------
        stopped : callable
            Tells whether somebody wants the session to end, so that nothing is waited for any more.

        Raises
        ------
        FeedRefused, FeedError, ConfigError
            As the feed says. A slot that is taken (406) is waited for during 90 s.
        """
        if self._slot is not None:
            self._slot.take()
        deadline = monotonic_ns() + int(STALE * 1e9)
        while True:
            try:
                self._feed.open()
                self._up_since, self._filler.began = monotonic_ns(), self._clock.now()
                return
            except FeedRefused:
                raise
            except FeedError as error:
                wait = self._backoff.wait(error.code)
                if error.code not in WORTH_WAITING or monotonic_ns() + wait * 1e9 > deadline:
                    raise
                self._tally[f"connection refused, {error.code}"] += 1
                self._log("feed-waits", error=str(error), seconds=round(wait, 1))
                until = monotonic_ns() + int(wait * 1e9)
                while monotonic_ns() < until:
                    if stopped() or self._closing.wait(LOOK):
                        raise

    def begin_with(self, why: str, since: int, *, told: bool = False) -> None:
        """Treat what happened until now as missed: a start in mid-session, or a restart.

        Parameters
        ----------
        since : int
            ns UTC; 0: since the last event on the tape.
        told : bool
            The GAP is on the tape already.
        """
        with self._lock:
            if told:
                self._hole = Hole(why, since)
            else:
                self._miss(why, since)
            self._images = set()
            self._fill()

    def suspect(self, why: str) -> None:
        """Take a hint that events were missed without a sign: the history is asked for the whole session."""
        with self._lock:
            if self.state in (State.WHOLE, State.WATCHED):
                self._miss(why, self._session[0])
                self._fill()

    def read(self) -> None:
        """Read until `close`, through as many connections as it takes; the reader thread's body.

        Raises
        ------
        FeedRefused
            The venue refuses for good: keys (402), plan (409) and the like.
        """
        while not self._closing.is_set():
            try:
                self._feed.run_together(self._take)
                return
            except FeedRefused:
                raise
            except FeedError as error:
                self._lost(error)
            self._reconnect()

    def _take(self, records: Records, frames: int) -> None:
        """Take what was received at once, in the reader thread."""
        if self._sink.queued >= self._most and self.state in (State.WHOLE, State.WATCHED):
            self._spill()
        if self.state is State.WHOLE:
            self._sink.on_market(records, frames)
        else:
            self._take_slowly(records, frames)

    def _take_slowly(self, records: Records, frames: int) -> None:
        with self._lock:
            if self.state is State.SPILLED:
                self._tally["events dropped, to be fetched"] += len(records)
                return
            if self.state is State.FILLING:
                self._waiting.append((records, frames))
                if self._images is not None:
                    clears = (records["kind"] == _DELTA) & (records["flag"] & BookFlag.CLEAR > 0)
                    self._images.update(records["instrument"][clears].tolist())
                if len(self._waiting) > self._most:
                    self._overflow()
                return
        # Only this thread leaves these two states for a worse one.
        if self.state is State.WATCHED:
            fresh, over = self._filler.watch(records)
            if over:
                self.state = State.WHOLE
            records = fresh
        self._sink.on_market(records, frames)  # a frame all the same where nothing of it is left, for who counts them

    def _unreadable(self, error: FeedError) -> bool:
        """Fill in what a damaged frame said, and read on; where they follow each other, a new connection may help.

        Of a book no history has what a frame said: only a new connection makes it whole again, by its image.
        """
        now, before = monotonic_ns(), self._unread_at
        self._unread_at = now
        self._tally["frames that could not be read"] += 1
        if self._feed.books or (before and now - before < int(UNREADABLE * 1e9)):
            return False
        with self._lock:
            if self.state is not State.SPILLED:  # else it is fetched with all that is dropped
                self._miss(str(error))
                self._fill()
        return True

    def _lost(self, error: FeedError) -> None:
        """Write the loss down; from here on events are missed."""
        self._backoff.held((monotonic_ns() - self._up_since) / 1e9)
        self._tally["connections lost"] += 1
        if error.code == 407:
            self._tally["called a slow client (407)"] += 1
        with self._lock:
            self._miss(str(error))  # frames that wait go on waiting: not all of them can be fetched
            self.state = State.LOST
            self._images = set()

    def _reconnect(self) -> None:
        """Connect anew, as often as it takes; the session's close ends it."""
        while not self._closing.is_set():
            try:
                self._feed.open()
            except FeedRefused:
                raise
            except FeedError as error:
                self._tally["reconnections that failed"] += 1
                wait = self._backoff.wait(error.code)
                self._log("feed-waits", error=str(error), seconds=round(wait, 1), tries=self._backoff.tries)
                self._closing.wait(wait)
                continue
            self._up_since = monotonic_ns()
            self._tally["reconnections"] += 1
            self._log("feed-reconnected", tries=self._backoff.tries)
            with self._lock:
                self._fill()
            return

    # Both, under the lock ----------------------------------------------------------------------------------------

    def _miss(self, why: str, since: int = 0) -> None:
        """Open a hole, or widen the one that is being filled: what was fetched of it stays."""
        self._sink.on_gap(why, since)
        before = self._hole or Hole(why)
        self._hole = Hole(why, since or before.since, mute=self._mute or before.mute)
        self._mute = False

    def _fill(self) -> None:
        assert self._hole is not None
        self._hole.until_real = monotonic_ns()
        self.state = State.FILLING
        self._work.set()
        if self._lull is not None:
            self._lull.began()

    def _spill(self) -> None:
        """Drop frames while the deciding thread is too far behind: memory is bounded, and the hole is fetched later."""
        with self._lock:
            self._tally["queue overflowed"] += 1
            self._miss(f"{self._most:,} frames waited for the deciding thread; what followed was dropped")
            self.state = State.SPILLED

    def _overflow(self) -> None:
        self._tally["queue overflowed"] += 1
        self._tally["events dropped, to be fetched"] += sum(len(records) for records, _ in self._waiting)
        self._waiting.clear()
        self._miss(f"{self._most:,} frames waited for the backfill; they were dropped")
        self.state = State.SPILLED

    # The filler --------------------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Fill holes, watch the queue and a quiet socket, until `close`; the filler thread's body."""
        self._filler.prepare()
        while not self._closing.is_set():
            self._work.wait(LOOK)
            if self._closing.is_set():
                break
            if self.state is State.SPILLED and self._sink.queued <= self._most // 2:
                self._after_spilling()
            if self._work.is_set():
                self._work.clear()
                self._mend()
            self._watch()
        self._filler.close()

    def _after_spilling(self) -> None:
        """Take frames again; books that frames were dropped of come whole with a new connection."""
        if self._feed.books:
            self._feed.drop("frames were dropped, and the books are asked for anew")
            self._closing.wait(LOOK)  # the reader takes its part: it notes the loss, and connects
            return
        with self._lock:
            if self.state is State.SPILLED:
                self._fill()

    def _mend(self) -> None:
        """Fill the hole, then let the frames that waited follow; gives up where it has grown meanwhile."""
        with self._lock:
            hole = self._hole
        if hole is None or self.state is not State.FILLING:
            return

        def stale() -> bool:
            return self._closing.is_set() or self._hole is not hole or self.state is not State.FILLING

        for piece in self._filler.fill(hole, stale, self._first_waiting):
            if stale():
                return
            self._sink.on_backfill(*piece)
        self._await_images(stale)
        while not stale():
            with self._lock:
                if stale():
                    return
                waiting, self._waiting = self._waiting, []
                if not waiting:
                    self._sink.on_resync(*self._filler.told())
                    self._hole, self._images = None, None
                    self.state = State.WATCHED
                    return
            for records, frames in waiting:
                self._sink.on_market(self._filler.watch(records)[0], frames)

    def _await_images(self, stale: Callable[[], bool]) -> None:
        """Wait for the books that a new connection sends whole: until then orders would go out on old ones."""
        until = monotonic_ns() + int(IMAGES * 1e9)
        while not stale() and self._images is not None and len(self._images) < self._feed.books:
            if monotonic_ns() > until:
                self._tally["books of which no image has come"] += self._feed.books - len(self._images)
                return
            self._closing.wait(0.01)

    def _first_waiting(self) -> Records | None:
        """Return the first frames that wait, for the filler to see whether what it fetched reaches up to them."""
        with self._lock:
            return np.concatenate([records for records, _ in self._waiting[:50]]) if self._waiting else None

    # Watching ----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Warn of a queue that grows, and cut a socket that is open but mute."""
        queued = self._sink.queued
        if queued > 2 * self._warned:
            self._warned = queued
            self._tally["times that the queue had doubled"] += 1
            self._log("queue-grows", frames=queued)
        if self._lull is None or self.state not in (State.WHOLE, State.WATCHED):
            return
        now = self._clock.now()
        quiet = self._feed.silence
        verdict = self._lull.look(quiet, self._feed.frames, trading=self._session[0] <= now < self._session[1])
        if verdict is Quiet.CALM:
            return
        missed = self._filler.missed(now)
        if missed is False:
            self._lull.confirmed()
        elif missed or verdict is Quiet.MUTE:
            known = "the venue's history has newer events" if missed else "the history could not be asked"
            self._tally["mute connections cut"] += 1
            self._mute = True
            self._feed.drop(f"mute for {quiet:.0f} s, longest lull of the day {self._lull.longest:.0f} s, {known}")

    @property
    def silence(self) -> float:
        """Seconds since the last frame of market data."""
        return self._feed.silence

    @property
    def line(self) -> str:
        """One phrase for the display; empty while the feed is whole."""
        if self.state in (State.WHOLE, State.WATCHED):
            return ""
        why = self._hole.why if self._hole is not None else ""
        return f"feed {self.state.value}: {why}"

    def close(self) -> None:
        """End both threads' bodies, and count what the feed has to tell; harmless when repeated."""
        if not self._closing.is_set():
            self._tally.update({name: count for name, count in self._feed.counts().items() if count})
        self._closing.set()
        self._filler.closing.set()
        self._work.set()
        self._feed.close()
        if self._slot is not None:
            self._slot.give_back()


__all__ = ["Keeper", "State"]
