"""Lock-step: the exchange moves an instant at a time, and stands still until the session has dealt with it.

A live run over real sockets becomes repeatable, and equal to a back-test fill for fill. It measures no latency. The
conversation runs on ``/sim/time``, in JSON text frames; ``now`` and ``wake`` are ns UTC.

0. The session connects here first, then to data and order updates, and then says ``{"ready": true}``.
1. An *instant* T is all market events with one ``ts_event``, or a timer of the session's, or the trading day's close
   (which comes before events of the same time). A bar that nobody has subscribed to is left out where orders match on
   trades or quotes: it would be an instant of which nobody learns. The exchange matches the working orders against T's
   events (an order sent at S matches from the first event after S + latency), so its books hold T's fills at once. It
   sends T's events on the data websocket, in as few frames as ``batch`` allows, then tells ::

       {"now": T, "phase": "market", "frames": F, "updates": U, "speed": 0, "mode": "lockstep", "rules": "alpaca"}

   where F and U count the data frames and order updates that it has sent on connections younger than this one.
2. The session answers when it has consumed F frames and U updates, has decided, and every POST of it is answered::

       {"done": T, "phase": "market", "wake": ns or null}

   ``wake`` is its next timer, and replaces the one that it named before. Orders that it posted were checked by the
   rules against the books and carry the time T.
3. If there are order updates (T's fills, in the order of matching; then pending_new and new of each order posted, and
   cancels, in the order of the requests), the exchange sends them on ``/stream`` and tells the same with phase
   ``updates`` and a new U. The session answers ``{"done": T, "phase": "updates", "wake": ...}``; this repeats while new
   updates come up. An order that is posted at the close or later is queued for the next session: its one update says
   ``accepted``.
4. The first instant is the day's start (the open, or ``--from``), so that a session can name its first timer. The next
   is always the earliest of the next market event, ``wake`` (if it lies after T) and a session's close, where DAY
   orders expire. After the last event come timers and the close.
5. At the end the exchange tells ``{"now": end, "phase": "end", ...}`` and waits for nothing.

Should the session's side channel close, as when it is killed, the exchange stands still until another one is ready.
That one is sent again what was sent last (an instant's market events, or its order updates), and told the same phase;
what of it was dealt with before, it knows from its tape. A session that comes after the end is told so at once.
"""

from __future__ import annotations

from typing import Any

from mdslib.sim.floor import Floor
from mdslib.sim.player import wait_to_begin


class Stepper:
    """Plays a floor's day in lock-step."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.wake: int | None = None
        self._closes = sorted(close for close in floor.market.closes if floor.market.start <= close <= floor.market.end)

    async def play(self) -> None:
        """Play the day from its first instant to its end."""
        floor = self.floor
        await wait_to_begin(floor)
        if floor.market.start < int(floor.market.ts[0]):
            await self._play_instant(floor.market.start)
        while (instant := self._next()) is not None:
            await self._play_instant(instant)
        floor.core.now = max(floor.now, floor.market.end)
        floor.core.finish()
        if floor.thrower is not None:
            await floor.thrower.finish()
        await self._updates()
        floor.phase = "end"
        floor.log.flush()
        for client in tuple(floor.time_clients):
            await client.tell(floor.time_message(client.number))

    def _next(self) -> int | None:
        floor, market = self.floor, self.floor.market
        while floor.sent < len(market) and floor.is_idle(floor.sent):
            floor.sent += 1
        due = [int(market.ts[floor.sent])] if floor.sent < len(market) else []
        due += self._closes[:1]
        if self.wake is not None and floor.now < self.wake <= market.end:
            due.append(self.wake)
        return min(due) if due else None

    async def _play_instant(self, instant: int) -> None:
        floor = self.floor
        if floor.thrower is not None:
            await floor.thrower.until(instant)
        floor.core.now = instant
        floor.phase = "market"
        lo, hi = floor.sent, floor.market.position(instant)
        if hi > lo:
            if floor.thrower is not None:
                floor.thrower.release(lo, hi)
            floor.core.on_market(hi)
            await floor.send_market(lo, hi)
        await self._barrier()
        await self._updates()
        if self._closes and self._closes[0] <= instant:
            # After everything that happens at the close, its last bar included, as in the back-test.
            self._closes.pop(0)
            floor.core.expire(instant)
            await self._updates()

    async def _updates(self) -> None:
        floor = self.floor
        while await floor.send_updates():
            floor.phase = "updates"
            await self._barrier()

    async def _barrier(self) -> None:
        """Tell the instant and wait until the session has done with it."""
        floor = self.floor
        while True:
            while not (ready := [client for client in floor.time_clients if client.ready]):
                floor.changed.clear()
                await floor.changed.wait()
            client = ready[-1]
            await floor.send_again()
            told = floor.time_message(client.number)
            await client.tell(told)
            while (answer := await self._heard(client)) is not None:
                if self._answers(answer, told):
                    if floor.thrower is not None:
                        await floor.thrower.settle()
                    return

    async def _heard(self, client: Any) -> dict[str, Any] | None:
        """Wait for what the session says; images that a new connection is sent meanwhile are of this instant."""
        self.floor.between = True
        try:
            answer: dict[str, Any] | None = await client.heard.get()
        finally:
            self.floor.between = False
        return answer

    def _answers(self, answer: dict[str, Any], told: dict[str, Any]) -> bool:
        """Tell whether an answer is to this barrier; one to an earlier barrier (told twice on a reconnect) is not."""
        if answer.get("done") != told["now"] or answer.get("phase") != told["phase"]:
            return False
        wake = answer.get("wake")
        self.wake = None if wake is None else int(wake)
        return True
