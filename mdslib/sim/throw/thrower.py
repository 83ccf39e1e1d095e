"""`Thrower`: plays a fault script alongside the day, and answers the exchange's questions about it.

Whoever moves time asks `until` before it does, and `release` how far it may; the sockets, the calls and the books ask
about the faults that are there now. Nothing here draws on the machine's clock but what a script calls real: in
lock-step the same script gives the same run.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from mdslib.calendar import zone
from mdslib.errors import ConfigError, did_you_mean
from mdslib.sim.accepted import Order
from mdslib.sim.faults import kinds
from mdslib.sim.faults.kinds import DATA, UPDATES, Fault
from mdslib.sim.faults.script import Script
from mdslib.sim.throw.acts import Acts, Floor
from mdslib.sim.throw.calls import pattern
from mdslib.sim.throw.lines import Codec, Line, Plain, UpdateLine
from mdslib.sim.throw.log import FaultLog
from mdslib.sim.throw.standing import NEVER, Standing
from mdslib.sim.throw.wires import Wires


class Thrower:
    """Plays one script on one exchange.

    Parameters
    ----------
    script : Script
        What to throw.
    floor : Floor
        The exchange.
    folder : Path or None
        Where the log goes.
    lockstep : bool
        How time passes.

    Raises
    ------
    ConfigError
        The script names a symbol that this exchange does not trade.
    """

    def __init__(self, script: Script, floor: Floor, folder: Path | None, *, lockstep: bool) -> None:
        self.script = script
        self.floor = floor
        self.lockstep = lockstep
        self.market = floor.market
        self._check_symbols()
        lines = script.lines or (0,) * len(script.faults)
        self.standing = [
            Standing(number, fault, line, script.seed, self._comes(fault), lockstep=lockstep)
            for number, (fault, line) in enumerate(zip(script.faults, lines, strict=True), 1)
        ]
        self.log = FaultLog(folder)
        self.wires = Wires()
        self.updates = UpdateLine(self, Plain(), list(self.market.symbols))
        self.acts = Acts(self, floor, self.wires)
        self._calls = {s.number: pattern(s.fault.call) for s in self.standing if isinstance(s.fault, kinds.OnCalls)}
        self._later: dict[asyncio.Task[None], asyncio.Event] = {}
        for standing in self.standing:
            if standing.comes == NEVER and standing.events is None and standing.orders is None:
                self._begin(standing)  # there from the start; what it does at once, it does when the loop runs
        self._undone = [standing for standing in self.standing if standing.open]

    # -- when ------------------------------------------------------------

    def _check_symbols(self) -> None:
        for number, fault in enumerate(self.script.faults):
            symbol = getattr(fault, "symbol", None)
            if symbol is not None and symbol not in self.market.symbols:
                line = f", line {self.script.lines[number]}" if self.script.lines else ""
                raise ConfigError(
                    f"fault script {self.script.name}{line}: this exchange does not trade {symbol!r}. "
                    f"{did_you_mean(symbol, self.market.symbols)}"
                )

    def _comes(self, fault: Fault) -> int:
        """Return the instant at which a fault comes, or `NEVER`."""
        if fault.after is not None:
            return self._open() + fault.after.ns
        if fault.at is None:
            return NEVER
        where = zone(self.market.data.instruments[0].session)
        day = datetime.datetime.fromtimestamp(self.market.start // 10**9, where).date()
        seconds, rest = divmod(fault.at.ns, 10**9)
        clock = datetime.time(seconds // 3600, seconds // 60 % 60, seconds % 60)
        return int(datetime.datetime.combine(day, clock, where).timestamp()) * 10**9 + rest

    def _open(self) -> int:
        start = self.market.start
        return next((s.open for s in self.market.data.sessions if s.close > start), start)

    @property
    def now(self) -> int:
        """The exchange's time, ns UTC."""
        return self.floor.core.now

    def real(self) -> float:
        """Return the loop's clock, s."""
        return asyncio.get_running_loop().time()

    def is_there(self, standing: Standing) -> bool:
        """Tell whether a fault is there now."""
        return standing.open and not standing.spent() and standing.active(self.now, self.real())

    def there(self, kind: type[Fault], socket: str = "") -> list[Standing]:
        """Return the faults of a kind that are there now, in the script's order; of one socket, where it is named."""
        return [
            standing
            for standing in self.standing
            if standing.open
            and isinstance(standing.fault, kind)
            and (not socket or getattr(standing.fault, "socket", socket) == socket)
            and self.is_there(standing)
        ]

    def _begin(self, standing: Standing) -> None:
        standing.begin(self.now, self.real())
        self.log.note(standing, "began", self.now)

    async def until(self, ts: int) -> None:
        """Let time pass up to `ts`: what comes or ends by then does so, in order, and what is held back goes out."""
        core = self.floor.core
        await self._do_undone()
        while True:
            await self._counted()
            due = [(standing.until, 0, standing) for standing in self.standing if standing.open]
            due += [(standing.comes, 1, standing) for standing in self.standing]
            at, coming, standing = min(due, key=lambda entry: entry[:2])
            if at > ts:
                break
            core.now = max(core.now, at)
            await self._come(standing) if coming else await self._end(standing)
        core.now = max(core.now, ts)
        await self._held_out()

    async def ordered(self) -> None:
        """Let come what a number of orders brings; in lock-step it comes with the next instant."""
        if not self.lockstep:
            await self._counted()

    async def _do_undone(self) -> None:
        undone, self._undone = self._undone, []
        for standing in undone:
            await self.acts.begin(standing)

    async def _counted(self) -> None:
        """Let come and end what events, orders and real time bring."""
        sent, orders, real = self.floor.sent, len(self.floor.core.orders), self.real()
        for standing in self.standing:
            if (standing.events is not None and sent >= standing.events) or (
                standing.orders is not None and orders >= standing.orders
            ):
                await self._come(standing)
            elif standing.open and (standing.spent() or real >= standing.deadline):
                await self._end(standing)

    async def _come(self, standing: Standing) -> None:
        if standing.open:
            await self._end(standing)
        self._begin(standing)
        await self.acts.begin(standing)

    async def _end(self, standing: Standing) -> None:
        self._close(standing)
        await self.acts.end(standing)

    def _close(self, standing: Standing) -> None:
        standing.open = False
        counts = {"hits": standing.hits} if isinstance(standing.fault, kinds.Hitting) else {}
        self.log.note(standing, "ended", self.now, **counts, **standing.counts)

    async def _held_out(self, *, all_out: bool = False) -> None:
        self.acts.work(all_out=all_out)
        await self.floor.send_held(all_out=all_out)
        if not self.lockstep:
            await self.floor.send_updates()

    def release(self, lo: int, hi: int) -> int:
        """Return how many of the events ``lo:hi`` may be released before something comes or ends; a halt erases."""
        for standing in self.standing:
            for at in (standing.comes, standing.until if standing.open else NEVER):
                if at < NEVER:
                    before = self.market.position(at - 1)
                    hi = min(hi, before) if before > lo else hi
            if standing.events is not None and standing.events > lo:
                hi = min(hi, standing.events)
        self.acts.erase(lo, hi)
        return hi

    async def finish(self) -> None:
        """Let out all that is held back: the day is over."""
        await self._do_undone()
        for standing in self.standing:
            if standing.open:
                await self._end(standing)
            elif standing.began is None:
                self.log.note(standing, "never", self.now)
        await self._held_out(all_out=True)

    async def settle(self) -> None:
        """Carry out the calls that come late, now: lock-step goes on."""
        tasks = list(self._later)
        for event in self._later.values():
            event.set()
        if tasks:
            await asyncio.gather(*tasks)

    # -- what calls and connections ask ------------------------------------------------------------

    def note_hit(self, standing: Standing, **more: Any) -> None:
        """Log a hit; one that was the last ends the fault."""
        self.log.note(standing, "hit", self.now, **more)
        if standing.spent():
            self._close(standing)

    def call_fault(self, method: str, path: str) -> Standing | None:
        """Return the fault that hits a call."""
        for standing in self.there(kinds.OnCalls):
            if self._calls[standing.number].match(f"{method} {path}") and standing.hit():
                standing.counts["calls"] += 1
                return standing
        return None

    def down(self) -> bool:
        """Tell whether the exchange takes no connection."""
        return any(standing.lasts is not None for standing in self.there(kinds.Restart))

    def refusal(self, path: str) -> int | None:
        """Return the HTTP status that refuses a websocket."""
        socket = socket_of(path)
        for standing in self.there(kinds.Disconnect):
            fault = standing.fault
            assert isinstance(fault, kinds.Disconnect)
            if fault.lasts is not None and fault.socket in (socket, "both"):
                standing.counts["refused"] += 1
                return fault.status
        error = self.said(socket, "connect")
        return None if error is None else error.code

    def said(self, socket: str, on: str) -> kinds.SocketError | None:
        """Return the error that a socket says in place of something."""
        for standing in self.there(kinds.SocketError, socket):
            fault = standing.fault
            assert isinstance(fault, kinds.SocketError)
            if fault.on == on and standing.hit():
                self.note_hit(standing, socket=socket, on=on, code=fault.code)
                return fault
        return None

    def line(self, codec: Codec) -> Line:
        """Return the line of a new data connection."""
        return Line(self, codec, list(self.market.symbols))

    def call_later(
        self, seconds: float, gone: asyncio.Event, work: Callable[[], Awaitable[None]]
    ) -> asyncio.Task[None]:
        """Do some work after a time, or sooner where `gone` is set or lock-step goes on."""

        async def wait() -> None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(gone.wait(), seconds)
            await work()

        task = asyncio.create_task(wait())
        self._later[task] = gone
        task.add_done_callback(self._later.pop)
        return task

    # -- what the books ask ------------------------------------------------------------

    @property
    def skew(self) -> int:
        """How far the venue's clock is ahead, ns."""
        faults = (standing.fault for standing in self.there(kinds.ClockSkew))
        return sum(fault.by.ns for fault in faults if isinstance(fault, kinds.ClockSkew))

    def rejects(self, order: Order) -> str | None:
        """Return why an order that was just accepted is rejected at once."""
        return self.acts.rejects(order)

    def ignores_cancel(self, order: Order) -> bool:
        """Tell whether a cancel is taken in and forgotten."""
        for standing in self.there(kinds.CancelIgnored):
            if standing.hit():
                standing.counts["orders"] += 1
                self.note_hit(standing, client_order_id=order.client_order_id)
                return True
        return False

    def report(self) -> dict[str, Any]:
        """Return the script and what has been thrown so far."""
        faults = [
            {"fault": s.number, "what": s.what, "line": s.line, "began": s.began, "hits": s.all_hits}
            for s in self.standing
        ]
        return {"script": self.script.name, "seed": self.script.seed, "faults": faults, "log": self.log.entries}


def socket_of(path: str) -> str:
    """Return which socket a websocket's path is."""
    return UPDATES if path == "/stream" else DATA
