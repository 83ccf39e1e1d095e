"""Time on the exchange: releases the day's events in real time, N times faster, or as fast as the clients read.

The exchange's time never passes an event that has not been sent. Matching comes before sending: an order that a fill
ends is filled in the books at once, and the update follows the frame of the events that filled it. Lock-step is in
`lockstep`.
"""

from __future__ import annotations

import asyncio

from mdslib.sim.floor import Floor
from mdslib.sim.options import Mode

TELL_EVERY = 0.015  # s of real time between two messages of the side channel
_YIELD_EVERY = 10  # events between two looks at the other sockets


async def wait_to_begin(floor: Floor) -> None:
    """Hold the day until a data client has subscribed and has been quiet for `settle` seconds (or says ``play``)."""
    options, loop = floor.options, asyncio.get_running_loop()
    while options.wait_for_client and not floor.play_now:
        left = floor.last_subscription + options.settle - loop.time() if floor.data_clients else 3600.0
        if left <= 0:
            return
        floor.changed.clear()
        try:
            await asyncio.wait_for(floor.changed.wait(), left)
        except TimeoutError:
            continue


class Player:
    """Plays a floor's day in one of the modes that don't wait for the session."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self._told = 0.0
        self._since_yield = 0
        self._closes = sorted(close for close in floor.market.closes if floor.market.start <= close <= floor.market.end)
        self._mark()

    async def play(self) -> None:
        """Play the day from its first event to its end."""
        floor = self.floor
        await wait_to_begin(floor)
        floor.phase = "market"
        if floor.mode is Mode.FREE:
            await self._free()
        else:
            await self._timed(floor.options.speed if floor.mode is Mode.FAST else 1.0)
        floor.core.finish()
        if floor.thrower is not None:
            await floor.thrower.finish()
        await floor.send_updates()
        floor.phase = "end"
        floor.log.flush()
        await self._tell(force=True)

    async def _free(self) -> None:
        market, floor = self.floor.market, self.floor
        while floor.sent < len(market):
            await self._release(min(floor.sent + floor.options.batch, len(market)))
            await self._tell()
        await self._pass_time(market.end)

    async def _timed(self, speed: float) -> None:
        market, floor, loop = self.floor.market, self.floor, asyncio.get_running_loop()
        began, origin = loop.time(), floor.now
        while floor.now < market.end:
            target = min(origin + int((loop.time() - began) * speed * 1e9), market.end)
            due = market.position(target)
            while floor.sent < due:
                await self._release(min(floor.sent + floor.options.batch, due))
            await self._pass_time(target)
            await self._tell()
            following = int(market.ts[floor.sent]) if floor.sent < len(market) else market.end
            left = (following - origin) / 1e9 / speed - (loop.time() - began)
            await asyncio.sleep(min(max(left, 0.0), TELL_EVERY))

    async def _release(self, hi: int) -> None:
        """Match and send the events up to number `hi`, cut after a session's close so that DAY orders expire there."""
        floor, market = self.floor, self.floor.market
        while floor.sent < hi:
            while self._closes and floor.sent >= self._upto_close:
                await self._close()
            lo, stop = floor.sent, min(hi, self._upto_close)
            if floor.thrower is not None:
                await floor.thrower.until(int(market.ts[lo]))
                stop = floor.thrower.release(lo, stop)
            floor.core.now = max(floor.now, int(market.ts[stop - 1]))
            floor.core.on_market(stop)
            await floor.send_market(lo, stop)
            if floor.core.outbox:
                await floor.send_updates()
            self._since_yield += stop - lo
            if self._since_yield >= _YIELD_EVERY:
                self._since_yield = 0
                await asyncio.sleep(0)

    async def _pass_time(self, target: int) -> None:
        """Let the clock run to `target`, yet never past an event that has not been sent."""
        floor, market = self.floor, self.floor.market
        if floor.sent < len(market):
            target = min(target, int(market.ts[floor.sent]))
        while self._closes and self._closes[0] <= target and floor.sent >= self._upto_close:
            await self._close()
        if floor.thrower is not None:
            await floor.thrower.until(target)
        floor.core.now = max(floor.now, target)

    def _mark(self) -> None:
        """Note how many events there are up to the next close; those of its own time can still fill DAY orders."""
        market = self.floor.market
        self._upto_close = market.position(self._closes[0]) if self._closes else len(market)

    async def _close(self) -> None:
        close = self._closes.pop(0)
        self._mark()
        self.floor.core.now = max(self.floor.now, close)
        self.floor.core.expire(close)
        await self.floor.send_updates()

    async def _tell(self, *, force: bool = False) -> None:
        at = asyncio.get_running_loop().time()
        if self.floor.time_clients and (force or at - self._told >= TELL_EVERY):
            self._told = at
            for client in tuple(self.floor.time_clients):
                await client.tell(self.floor.time_message(client.number))
