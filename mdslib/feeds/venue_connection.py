"""One connection to a venue, kept for months: connect, subscribe, decode, answer, notice silence, begin anew.

The thin shell around a `VenueDecoder`. It hands every frame to the decoder, sends what the decoder's resyncs ask for,
and keeps the decoder's records until they are taken. Whatever goes wrong is counted and told in one line.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mdslib.clock import Clock, WallClock, monotonic_ns
from mdslib.errors import FeedError, MdsError, fault_of
from mdslib.events import RECORD, Kind
from mdslib.feeds.account import CONNECTION, Outcome, Resync, Tally, Unread, add
from mdslib.feeds.backoff import Backoff
from mdslib.feeds.connect import check_encrypted, open_async, why_closed
from mdslib.feeds.endpoints import EVERYTHING, Channel, Endpoint
from mdslib.feeds.lull import Lull, Quiet
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.replay import decoder_for
from mdslib.feeds.venue import VenueDecoder
from mdslib.protocols import Records

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

OPENS_WITHIN = 15.0  # s
IMAGE_WITHIN = 60.0  # s from a resync's request to the pair's image; then the connection begins anew
LOOK_EVERY = 1.0  # s
_PACE = 0.02  # s between two messages of ours: Coinbase takes 100 a second from one address
_LONGEST = 60.0  # s between two tries to connect


class Wire(Protocol):
    """Who keeps what goes over the socket, such as a raw capture."""

    def connected(self, url: str, time: int) -> None:
        """Note a new connection; times are ns UTC."""

    def sent(self, url: str, time: int, text: str) -> None:
        """Note a message of ours."""

    def received(self, time: int, frame: str | bytes) -> None:
        """Note a message of the venue."""


@dataclass
class Health:
    """How one pair of a connection is.

    Attributes
    ----------
    state : str
        ``connecting``, ``waiting`` for the first image or message, ``live``, ``resync``, ``refused``, or ``stopped``
        by a fault.
    refusal : str
        What the venue said, if it refused the pair; nothing once the pair is live.
    """

    state: str = "connecting"
    refusal: str = ""
    resyncs: int = 0


@dataclass
class Counts:
    """What happened on the connection since the start."""

    frames: int = 0
    bytes: int = 0
    connects: int = 0
    losses: int = 0
    refusals: int = 0
    last_frame: int = 0  # ns UTC
    why_lost: str = ""


@dataclass
class _Asked:
    """A resync that was asked for: until when its image must come, and how many images there were before."""

    deadline: float
    images: int


@dataclass
class _State:
    """What holds for one socket only."""

    socket: ClientConnection
    decoder: VenueDecoder
    asked: dict[str, _Asked] = field(default_factory=dict)
    heard: int = 0  # monotonic ns of the last frame
    told: int = 0  # monotonic ns of the last frame that told something of the market
    pinged: int = 0
    cut: str = ""


class VenueConnection:
    """Keep one connection of a venue for some of its pairs.

    Parameters
    ----------
    endpoint : Endpoint
        The venue's protocol.
    pairs : sequence of str
        The venue's symbols.
    places : Pairs
        All pairs of the venue's recording: a record's `instrument` is the place among them.
    channels : sequence of Channel
        What is asked for of each.
    url : str
        Instead of the endpoint's own.
    tell : callable, optional
        Takes one line for a person.
    wire : Wire, optional
        Keeps what is sent and received.
    clock, backoff, lull
        For tests.

    Raises
    ------
    ConfigError
        If the address is neither encrypted nor on this machine.

    Attributes
    ----------
    health : dict of str to Health
        By pair.
    counts : Counts
        Of this connection, all reconnects together.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        pairs: Sequence[str],
        places: Pairs,
        channels: Sequence[Channel] = EVERYTHING,
        *,
        url: str = "",
        tell: Callable[[str], None] | None = None,
        wire: Wire | None = None,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        lull: Lull | None = None,
    ) -> None:
        self.endpoint, self.pairs, self.places, self.channels = endpoint, tuple(pairs), places, tuple(channels)
        self.url = url or endpoint.url
        check_encrypted(self.url, f"{endpoint.dialect} data stream")
        self.health = {pair: Health() for pair in self.pairs}
        self.counts = Counts()
        self._tell = tell or (lambda line: None)
        self._wire, self._clock = wire, clock or WallClock()
        self._backoff = backoff or Backoff(longest=_LONGEST)
        self._calm = {pair: Backoff() for pair in self.pairs}
        self._resynced: dict[str, int] = {}
        self._lull = lull or Lull()
        self._totals: dict[str, Tally] = {}  # of sockets that are no more
        self._early: list[Records] = []
        self._now: _State | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._last_event = 0

    def __repr__(self) -> str:
        return f"VenueConnection({self.endpoint.dialect}: {', '.join(self.pairs)} from {self.url})"

    # ------------------------------------------------------------ what came

    def take(self) -> Records:
        """Return the records since the last call, in order of arrival."""
        found = self._now.decoder.take() if self._now is not None else np.zeros(0, RECORD)
        if len(found):
            self._last_event = max(self._last_event, int(found["ts_event"].max()))
        if self._early:
            found = np.concatenate([*self._early, found])
            self._early.clear()
        return found

    def tallies(self) -> Mapping[str, Tally]:
        """Return the account of every message by pair, since the start."""
        sums = {pair: Tally() for pair in (*self.pairs, CONNECTION)}
        for part in (self._totals, self._now.decoder.tallies if self._now is not None else {}):
            for pair, tally in part.items():
                add(sums.setdefault(pair, Tally()), tally)
        return sums

    # ------------------------------------------------------------ the loop

    async def run(self) -> None:
        """Keep the connection until `close`; a connection that is lost, or never opens, is tried again for ever."""
        while not self._closing.is_set():
            began = monotonic_ns()
            code = None
            try:
                await self._hold()
            except MdsError as error:
                code = getattr(error, "code", None)
                self._lost(str(error))
            if self._closing.is_set():
                return
            self._backoff.held((monotonic_ns() - began) / 1e9)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._backoff.wait(code))

    def failed(self, why: str) -> None:
        """Note that `run` has ended with a fault; it may be called again."""
        self._lost(why, "stopped")

    async def close(self) -> None:
        """Say goodbye and read what is still on its way; `run` then ends."""
        self._closing.set()
        now = self._now
        if now is not None:
            await now.socket.close()

    async def _hold(self) -> None:
        """Open one socket and read it to its end."""
        what = f"{self.endpoint.dialect} data stream"
        socket = await open_async(self.url, OPENS_WITHIN, what)
        now = self._now = _State(socket, decoder_for(self.endpoint.dialect)(self.places))
        now.heard = now.told = monotonic_ns()
        self._lull.began()
        self.counts.connects += 1
        if self._wire is not None:
            self._wire.connected(self.url, self._clock.now())
        for health in self.health.values():
            health.state = "waiting" if health.state != "refused" else "refused"
        self._spawn(self._subscribe(now))
        watching = self._spawn(self._watch(now))
        try:
            await self._read(now)
        finally:
            for task in list(self._tasks):
                task.cancel()
            watching.cancel()
            socket.transport.abort()

    async def _read(self, now: _State) -> None:
        from websockets.exceptions import ConnectionClosed

        recv, clock, wire, counts = now.socket.recv, self._clock.now, self._wire, self.counts
        feed, decoder = now.decoder.feed, now.decoder
        try:
            while True:
                frame = await recv(decode=False)
                time = clock()
                now.heard = monotonic_ns()
                counts.frames += 1
                counts.bytes += len(frame)
                counts.last_frame = time
                if wire is not None:
                    wire.received(time, frame)
                feed(frame, time)
                if decoder.outcome is Outcome.DECODED:
                    now.told = now.heard
                if decoder.asks:
                    self._answer(now)
        except ConnectionClosed as error:
            if self._closing.is_set():
                return
            why = now.cut or why_closed(error)
            raise FeedError(f"{self.endpoint.dialect} data stream ended: {why}") from None

    def _lost(self, why: str, state: str = "connecting") -> None:
        """Note that the market is not seen: a GAP for every pair that was, and one line."""
        now, self._now = self._now, None
        if now is not None:
            records = now.decoder.take()
            self._early.append(records)
            if len(records):
                self._last_event = max(self._last_event, int(records["ts_event"].max()))
            for pair, tally in now.decoder.tallies.items():
                add(self._totals.setdefault(pair, Tally()), tally)
            self._early.append(self._gaps())
            self.counts.losses += 1
        for health in self.health.values():
            health.state = state
        if why != self.counts.why_lost or now is not None:
            self._tell(f"{self.endpoint.dialect}: {why}; {', '.join(self.pairs)} will be tried again")
        self.counts.why_lost = why

    def _gaps(self) -> Records:
        gaps = np.zeros(len(self.pairs), RECORD)
        gaps["kind"], gaps["i0"] = int(Kind.GAP), self._last_event
        gaps["ts_event"] = gaps["ts_init"] = self._clock.now()
        gaps["instrument"] = [self.places.place(pair) or 0 for pair in self.pairs]
        return gaps

    # ------------------------------------------------------------ what is sent

    async def _subscribe(self, now: _State) -> None:
        await self._send(now, self.endpoint.opening)
        for pair in self.pairs:
            await self._send(now, self.endpoint.messages(pair, self.channels))

    async def _send(self, now: _State, messages: Sequence[str]) -> None:
        from websockets.exceptions import ConnectionClosed

        for text in messages:
            with contextlib.suppress(ConnectionClosed):  # the reader learns of it too, and tells
                await now.socket.send(text)
                if self._wire is not None:
                    self._wire.sent(self.url, self._clock.now(), text)
            await asyncio.sleep(_PACE)

    def _spawn(self, work: object) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Begin anew where what watches over the connection, or sends, has failed."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._now is not None:
            self._cut(self._now, fault_of(error))

    # ------------------------------------------------------------ resyncs and refusals

    def resync(self, pair: str, why: str) -> None:
        """Ask for a pair's book anew, because whoever keeps the book can't trust it."""
        if self._now is not None:
            self._now.decoder.distrust(pair, why, self._clock.now())
            self._answer(self._now)

    def _answer(self, now: _State) -> None:
        """Do what the decoder asks for."""
        for resync in now.decoder.take_resyncs():
            if resync.pair == CONNECTION or not resync.send:
                self._cut(now, resync.why)
            else:
                self._begin_resync(now, resync)
        for refusal in now.decoder.refusals:
            self._refused(refusal)
        now.decoder.refusals.clear()

    def _refused(self, refusal: Unread) -> None:
        """Note what the venue does not want; the same words about the same pairs are told once."""
        self.counts.refusals += 1
        named = [pair for pair in self.pairs if pair == refusal.pair or f'"{pair}"' in refusal.text]
        named = named or [pair for pair in self.pairs if pair in refusal.text]
        known = bool(named) and all(self.health[pair].refusal == refusal.why for pair in named)
        for pair in named:
            self.health[pair].state, self.health[pair].refusal = "refused", refusal.why
        if not known:
            self._tell(f"{self.endpoint.dialect}: the venue {refusal.why}: {refusal.text[:200]}")

    def _begin_resync(self, now: _State, resync: Resync) -> None:
        health = self.health.get(resync.pair)
        if health is None:
            return
        health.state = "resync"
        health.resyncs += 1
        time = monotonic_ns()
        self._calm[resync.pair].held((time - self._resynced.get(resync.pair, 0)) / 1e9)
        first = self._calm[resync.pair].tries == 0
        wait = self._calm[resync.pair].wait() - (1.0 if first else 0.0)
        self._resynced[resync.pair] = time
        self._tell(f"{self.endpoint.dialect}:{resync.pair}: {resync.why}; its book is asked for anew")
        self._spawn(self._ask(now, resync, max(0.0, wait)))

    async def _ask(self, now: _State, resync: Resync, wait: float) -> None:
        await asyncio.sleep(wait)
        now.asked[resync.pair] = _Asked(monotonic_ns() / 1e9 + IMAGE_WITHIN, self._images(now, resync.pair))
        await self._send(now, resync.send)

    def _images(self, now: _State, pair: str) -> int:
        tally = now.decoder.tallies.get(pair)
        return tally.snapshots if tally is not None else 0

    # ------------------------------------------------------------ silence

    async def _watch(self, now: _State) -> None:
        """Look once a second whether the venue still speaks and whether every pair has what it waits for."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            time = monotonic_ns()
            quiet = (time - now.heard) / 1e9
            if quiet > self.endpoint.silence:
                self._cut(now, f"nothing came for {quiet:.0f} s, not even a heartbeat")
                return
            if self._lull.look((time - now.told) / 1e9, self.counts.frames, trading=self._any_live()) is Quiet.MUTE:
                self._cut(now, f"heartbeats came, but nothing of the market for {(time - now.told) / 1e9:.0f} s")
                return
            if self.endpoint.ping and quiet > self.endpoint.ping_after and time - now.pinged > 5e9:
                now.pinged = time
                await self._send(now, (self.endpoint.ping,))
            self._look_at_pairs(now)

    def _any_live(self) -> bool:
        return any(health.state == "live" for health in self.health.values())

    def _look_at_pairs(self, now: _State) -> None:
        for pair, health in self.health.items():
            tally, asked = now.decoder.tallies.get(pair), now.asked.get(pair)
            if asked is not None and self._images(now, pair) > asked.images:
                now.asked.pop(pair)
                health.state, health.refusal = "live", ""
            elif asked is not None and monotonic_ns() / 1e9 > asked.deadline:
                self._cut(now, f"{pair} got no image within {IMAGE_WITHIN:g} s of its resync")
                return
            elif health.state == "waiting" and tally is not None and tally.decoded:
                health.state, health.refusal = "live", ""

    def _cut(self, now: _State, why: str) -> None:
        now.cut = now.cut or why
        now.socket.transport.abort()
