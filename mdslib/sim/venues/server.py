"""A venue on this machine: a capture's market over real websockets, to any number of clients.

The market has one time for all: who connects late, or again, gets images of the books as they are, and what follows.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdslib.clock import wall_ns
from mdslib.errors import ConfigError, DataError, did_you_mean
from mdslib.feeds.capture import What, capture_files, protocol_of, read_capture
from mdslib.feeds.digits import whole
from mdslib.sim.server import HOST, bind
from mdslib.sim.venues.made import MADE_STEP, made_capture
from mdslib.sim.venues.side import Client, Topic, VenueSide

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

SIDES = {
    "bitfinex": "bitfinex:BitfinexSide",
    "bitmex": "bitmex:BitmexSide",
    "coinbase": "coinbase:CoinbaseSide",
    "coinbase-advanced": "coinbase_advanced:AdvancedSide",
    "kraken": "kraken:KrakenSide",
    "kraken-v2": "kraken_v2:KrakenV2Side",
}
FAULTS = ("cut", "drop")
_LOOKED_AT = 20_000  # messages of an endless market that tell its topics beforehand
_WAITING = 2000  # messages that wait for a client before the market waits for it
# s without a new subscription before the market begins: where every pair was asked for, and where not.
_SETTLES, _MORE = 0.5, 3.0


@dataclass
class _Line:
    """One connection, and what waits to be sent on it."""

    client: Client
    socket: ServerConnection
    box: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(_WAITING + 10_000))


class VenueServer:
    """Plays a market as its venue would.

    Parameters
    ----------
    venue : str
        The protocol.
    market : iterable of (int, bytes)
        The venue's messages and their times, ns UTC; see `of_capture` and `of_made`.
    speed : float
        Recorded seconds in a second; 0 plays as fast as the clients read.
    faults : mapping of int to str
        By number of the market's frame, from 1: ``cut`` ends every connection before it, ``drop`` keeps it from all.
    going : callable, optional
        Returns the messages to play, without end, each made when it is due; `market` then only tells what there is.

    Attributes
    ----------
    played : int
        Frames of the market so far.
    frames : int or None
        Frames that the market has; None where it goes on without end.
    finished : asyncio.Event
        Set once the last has been handed to every client's connection.

    Raises
    ------
    ConfigError
        If no side speaks the venue's protocol.
    DataError
        If there is no market data in it, or a message is not the venue's.
    """

    def __init__(
        self,
        venue: str,
        market: Iterable[tuple[int, bytes]],
        speed: float = 1.0,
        faults: Mapping[int, str] | None = None,
        going: Callable[[], Iterator[tuple[int, bytes]]] | None = None,
    ) -> None:
        self.venue, self.side = venue, _side(venue)
        self.speed, self.faults = speed, dict(faults or {})
        self._going = going
        self._market = self._learn(list(market))
        if not self._market:
            raise DataError(f"sim: the capture has no market data of {venue}; look at it with mds replay-capture")
        self.frames, self.played = len(self._market) if going is None else None, 0
        self.finished = asyncio.Event()
        self._lines: dict[int, _Line] = {}
        self._connections = 0
        self._subscribed = asyncio.Event()

    @classmethod
    def of_capture(
        cls, path: Path, venue: str = "", speed: float = 1.0, faults: Mapping[int, str] | None = None
    ) -> VenueServer:
        """Return a server that plays a capture: a file, or a folder of them; its venue may tell itself.

        Raises
        ------
        DataError
            If the capture can't be read, or is of several venues.
        """
        if venue:
            _side(venue)
        files = capture_files(path)
        venues = {protocol_of(file, venue) for file in files}
        if len(venues) != 1:
            raise DataError(f"sim: {path} holds {', '.join(sorted(venues))}; name the capture of one venue")
        lines = ((line.time, line.text) for line in read_capture(*files) if line.what is What.RECEIVED)
        return cls(venues.pop(), lines, speed, faults)

    @classmethod
    def of_made(
        cls, venue: str, pairs: Sequence[str], frames: int, speed: float = 1.0, faults: Mapping[int, str] | None = None
    ) -> VenueServer:
        """Return a server that plays a made market of some pairs, the same each time; see `made_capture`."""
        return cls(venue, map(_timed, made_capture(venue, pairs, frames)), speed, faults)

    @classmethod
    def of_endless(
        cls, venue: str, pairs: Sequence[str], speed: float = 1.0, faults: Mapping[int, str] | None = None
    ) -> VenueServer:
        """Return a server of a made market without end, whose messages bear the time at which they are sent."""

        def going() -> Iterator[tuple[int, bytes]]:
            return map(_timed, made_capture(venue, pairs, None, clock=wall_ns))

        return cls(venue, map(_timed, made_capture(venue, pairs, _LOOKED_AT)), speed, faults, going)

    def _learn(self, told: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """Show every message to the venue's side; return those of the market."""
        number, found = 0, list[tuple[int, bytes]]()
        try:
            for _, frame in told:
                number += 1
                self.side.learn(frame)
            number = 0
            for message in told:
                number += 1
                if self.side.topic(message[1]) is not None:
                    found.append(message)
            return found
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise DataError(
                f"sim: message {number} of the capture can't be read as {self.venue}'s: {type(error).__name__}: "
                f"{error}; is it another venue's? Look at it with mds replay-capture"
            ) from None

    # ------------------------------------------------------------ connections

    async def serve(self, port: int = 0, *, ready: Any = None) -> None:
        """Listen on this machine until cancelled; `ready` is called with the port."""
        from websockets.asyncio.server import serve

        with contextlib.closing(bind(port)) as listener:
            async with serve(self._meet, sock=listener, compression=None, close_timeout=1.0, ping_interval=None):
                if ready is not None:
                    ready(int(listener.getsockname()[1]))
                await asyncio.gather(self._play(), self._beat())

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent."""
        return all(line.box.empty() for line in self._lines.values())

    def cut(self) -> None:
        """End every connection without a word."""
        for line in list(self._lines.values()):
            line.socket.transport.abort()

    async def _meet(self, socket: ServerConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        self._connections += 1
        line = _Line(Client(self._connections), socket)
        self._lines[line.client.number] = line
        sending = asyncio.create_task(self._send(line))
        try:
            self._put(line, self.side.opening(line.client))
            async for text in socket:
                message = self.side.read(text if isinstance(text, str) else text.decode())
                self._put(line, self.side.hear(message, line.client))
                self._subscribed.set()
        except ConnectionClosed:
            return
        finally:
            self._lines.pop(line.client.number, None)
            sending.cancel()

    async def _send(self, line: _Line) -> None:
        from websockets.exceptions import ConnectionClosed

        with contextlib.suppress(ConnectionClosed):
            while True:
                await line.socket.send(await line.box.get())
                line.box.task_done()
        # Whoever waits for its queue must not wait for a client that has gone.
        self._lines.pop(line.client.number, None)

    def _put(self, line: _Line, texts: Sequence[str]) -> None:
        for text in texts:
            line.box.put_nowait(text)

    # ------------------------------------------------------------ the market

    async def _play(self) -> None:
        await self._settle()
        if self._going is not None:
            return await self._go_on(self._going())
        first, began = self._market[0][0], asyncio.get_running_loop().time()
        for time, frame in self._market:
            if self.speed:
                due = began + (time - first) / 1e9 / self.speed
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            await self._room()
            self._one(time, frame)
            if not self.played % 100:
                await asyncio.sleep(0)
        self.finished.set()

    async def _go_on(self, market: Iterator[tuple[int, bytes]]) -> None:
        """Play a market without end; a message is made when it is due, so that its time is then."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            if self.speed:
                await asyncio.sleep(max(0.0, began + self.played * MADE_STEP / 1e9 / self.speed - loop.time()))
            while not (self.speed or self._lines):
                await asyncio.sleep(0.05)
            await self._room()
            time, frame = next(market)
            if self.side.topic(frame) is not None:
                self._one(time, frame)
            if not self.played % 100:
                await asyncio.sleep(0)

    async def _settle(self) -> None:
        """Wait until clients have subscribed: to every pair, and then for a moment to nothing more."""
        await self._subscribed.wait()
        while self._subscribed.is_set():
            self._subscribed.clear()
            asked = {topic.pair for line in self._lines.values() for topic in line.client.topics}
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._subscribed.wait(), _SETTLES if asked >= self.side.pairs else _MORE)

    async def _room(self) -> None:
        while any(line.box.qsize() > _WAITING for line in self._lines.values()):
            await asyncio.sleep(0.001)

    def _one(self, time: int, frame: bytes) -> None:
        self.played += 1
        side = self.side
        topic = side.topic(frame)
        assert topic is not None
        fault = self.faults.get(self.played, "")
        if fault == "cut":
            self.cut()
            self._lines.clear()
        side.now = max(side.now, time)
        side.play(frame)
        for line in self._lines.values():
            if topic not in line.client.topics:
                continue
            if fault == "drop":
                side.skip(topic, line.client)
            else:
                self._put(line, side.dress(frame, topic, line.client).split("\n"))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for line in self._lines.values():
                if line.box.qsize() < _WAITING:
                    self._put(line, self.side.beat(line.client))


def _timed(line: str) -> tuple[int, bytes]:
    time, _, text = line.partition(": ")
    return whole(time, 9), text.encode()


def _side(venue: str) -> VenueSide:
    if venue not in SIDES:
        raise ConfigError(f"sim: no side speaks the protocol of {venue!r}. {did_you_mean(venue, SIDES)}")
    module, _, name = SIDES[venue].partition(":")
    made: VenueSide = getattr(import_module(f"mdslib.sim.venues.{module}"), name)()
    return made


__all__ = ["FAULTS", "HOST", "SIDES", "Topic", "VenueServer"]
