"""The exchange's floor: what its sockets and its clock share."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from mdslib.events import Kind
from mdslib.sim.core import Core
from mdslib.sim.keys import Keys, RateLimit
from mdslib.sim.log import RunLog
from mdslib.sim.market import Market
from mdslib.sim.options import Mode, SimOptions
from mdslib.sim.throw import Thrower, update_frame


class DataClient(Protocol):
    """A data connection that has subscribed."""

    number: int

    @property
    def peer(self) -> tuple[str, int]:
        """The client's address."""

    def leave(self) -> None:
        """Take it off the floor: nothing more is sent to it."""

    def hears(self, kind: int, instrument: int) -> bool:
        """Tell whether it has subscribed to the events of a kind and instrument."""

    async def send_again(self, lo: int, hi: int, logged: int) -> int:
        """Send events that a connection before this one was sent, and log all but the first `logged` of them."""

    async def send_events(self, lo: int, hi: int) -> int:
        """Send those of the market events ``lo:hi`` that are subscribed; return the number of frames."""

    async def send_held(self, *, all_out: bool) -> int:
        """Send the frames that a fault held back and that are due; return their number."""

    async def send_notice(self, channel: str, symbol: str, message: dict[str, Any], record: Any) -> int:
        """Send one message, if it is subscribed; return the number of frames."""


class UpdateClient(Protocol):
    """A connection that listens to ``trade_updates``."""

    number: int

    @property
    def peer(self) -> tuple[str, int]:
        """The client's address."""

    def leave(self) -> None:
        """Take it off the floor: nothing more is sent to it."""

    async def send_update(self, body: str | bytes) -> None:
        """Send one update as a binary frame."""

    async def end(self) -> None:
        """Close the connection."""


@dataclass
class Phase:
    """What was sent last, and to which connections, for a session that begins again before it has dealt with it.

    Attributes
    ----------
    lo, hi : int
        Market events.
    updates : list of bytes
    to : set of int
        Numbers of the connections.
    logged : int
        How many of the subscribed events are in a connection's log.
    """

    lo: int = 0
    hi: int = 0
    updates: list[bytes] = field(default_factory=list)
    to: set[int] = field(default_factory=set)
    logged: int = 0


class Floor:
    """One exchange: its market, its books, its log, its open connections, and how far the day has come.

    Attributes
    ----------
    sent : int
        Number of market events released so far.
    told : Counter
        Data frames and order updates sent so far, by kind (``frames``, ``updates``) and number of the connection.
    last : Phase
        What was sent last.
    phase : str
        ``waiting``, ``market``, ``updates`` or ``end``.
    between : bool
        In lock-step, whether the session has been told an instant and has not done with it.
    thrower : Thrower or None
        Plays the fault script, where there is one.
    """

    def __init__(self, market: Market, options: SimOptions) -> None:
        self.market = market
        self.options = options
        self.mode = Mode(options.mode)
        self.keys = Keys(options.key, options.secret)
        self.rate_limit = RateLimit(enforced=options.enforce_rate_limit)
        self.log = RunLog(options.log_dir, market.symbols)
        self.core = Core(market, options, self.log)
        self.slots: set[tuple[str, str]] = set()
        self.data_clients: list[DataClient] = []
        self.update_clients: list[UpdateClient] = []
        self.time_clients: list[Any] = []
        self.sent = 0
        self.numbers = count(1)  # of connections, in the order in which they came
        self.told: Counter[tuple[str, int]] = Counter()
        self.last = Phase()
        self.phase = "waiting"
        self.changed = asyncio.Event()  # a subscription, or a side-channel client, came or went
        self.last_subscription = 0.0
        self.play_now = False
        self.warmed = asyncio.Event()
        self.between = False
        self.thrower: Thrower | None = None
        if options.faults is not None:
            lockstep = self.mode is Mode.LOCKSTEP
            self.thrower = Thrower(options.faults, self, options.log_dir, lockstep=lockstep)
            self.core.troubles = self.thrower

    @property
    def now(self) -> int:
        """The exchange's time, ns UTC."""
        return self.core.now

    async def warm(self) -> None:
        """Compile the matching core and lay out the day's records in a thread, while the first clients shake hands."""
        await asyncio.to_thread(self.core.warm)
        await asyncio.to_thread(self.market.records, 0, 1)
        self.warmed.set()

    def subscribed(self) -> None:
        """Note that a client has changed its subscription."""
        self.last_subscription = asyncio.get_running_loop().time()
        self.changed.set()

    def is_idle(self, event: int) -> bool:
        """Tell whether an event is a bar that nobody hears and no order matches on."""
        kind = int(self.market.kinds[event])
        if kind != Kind.BAR or self.core.matches_on is Kind.BAR or not self.data_clients:
            return False
        instrument = int(self.market.instruments[event])
        return not any(client.hears(kind, instrument) for client in self.data_clients)

    @property
    def frames(self) -> int:
        """Data frames sent so far."""
        return self._count("frames", 0)

    @property
    def updates(self) -> int:
        """Order updates sent so far."""
        return self._count("updates", 0)

    def _count(self, what: str, since: int) -> int:
        """Return how many were sent on connections that came after number `since`."""
        return sum(sent for (kind, number), sent in self.told.items() if kind == what and number > since)

    async def send_market(self, lo: int, hi: int) -> None:
        """Send events ``lo:hi`` to every data client."""
        self.sent = hi
        self.last = Phase(lo, hi, [], {client.number for client in self.data_clients})
        for client in tuple(self.data_clients):
            self.told["frames", client.number] += await client.send_events(lo, hi)

    async def send_updates(self) -> bool:
        """Send what the books have put out; tell whether there was anything."""
        outbox, self.core.outbox = self.core.outbox, []
        if self.thrower is not None:
            return await self._send_struck(outbox)
        if outbox:
            self.last = Phase(0, 0, outbox, {client.number for client in self.update_clients})
        for body in outbox:
            for client in tuple(self.update_clients):
                self.told["updates", client.number] += 1
                await client.send_update(body)
        return bool(outbox)

    async def send_again(self) -> None:
        """Send what was sent last to the newest connections, unless they have it."""
        last = self.last
        if last.hi > last.lo and self.data_clients and self.data_clients[-1].number not in last.to:
            data = self.data_clients[-1]
            last.to.add(data.number)
            self.told["frames", data.number] += await data.send_again(last.lo, last.hi, last.logged)
        if last.updates and self.update_clients and self.update_clients[-1].number not in last.to:
            stream = self.update_clients[-1]
            last.to.add(stream.number)
            self.told["updates", stream.number] += len(last.updates)
            for body in last.updates:
                await stream.send_update(body)

    # -- with a fault script ------------------------------------------------------------

    async def _send_struck(self, outbox: list[bytes], *, all_out: bool = False) -> bool:
        assert self.thrower is not None
        frames = self.thrower.updates.push(map(update_frame, outbox), all_out=all_out)
        before = self.updates
        for frame in frames:
            body = frame.messages[0] if frame.payload is None else frame.payload
            for client in tuple(self.update_clients):
                self.told["updates", client.number] += 1
                await client.send_update(body)
                if frame.close:
                    await client.end()
        return self.updates > before

    async def send_held(self, *, all_out: bool = False) -> None:
        """Send the data frames that are due; at the day's end, all of them, and all updates."""
        for client in tuple(self.data_clients):
            self.told["frames", client.number] += await client.send_held(all_out=all_out)
        if all_out:
            await self._send_struck([], all_out=True)

    def forget(self, peers: Collection[tuple[str, int]]) -> None:
        """Send nothing more to these connections: they are cut, though nobody has noticed yet."""
        clients: list[DataClient | UpdateClient] = [*self.data_clients, *self.update_clients]
        for client in clients:
            if client.peer in peers:
                client.leave()

    async def notify(self, channel: str, symbol: str, message: dict[str, Any], record: Any) -> None:
        """Send one message of our own to the data clients that have subscribed to it."""
        for client in tuple(self.data_clients):
            self.told["frames", client.number] += await client.send_notice(channel, symbol, message, record)

    def time_message(self, since: int = 0) -> dict[str, Any]:
        """Return what the side channel tells; frames and updates are those of connections after number `since`."""
        speed = {Mode.REAL: 1.0, Mode.FAST: self.options.speed}.get(self.mode, 0)
        return {
            "now": self.core.now,
            "speed": speed,
            "mode": self.mode.value,
            "rules": self.core.rules.name.lower(),
            "frames": self._count("frames", since),
            "updates": self._count("updates", since),
            "phase": self.phase,
        }
