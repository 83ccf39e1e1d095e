"""What a fault does when it comes and when it ends: to connections, to the market, to the exchange's books."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol

import numpy as np

from mdslib.events import RECORD, Kind
from mdslib.sim.accepted import Order
from mdslib.sim.core import Core
from mdslib.sim.faults import kinds
from mdslib.sim.faults.kinds import Fault
from mdslib.sim.market import Market
from mdslib.sim.orders import Refusal
from mdslib.sim.throw.standing import Standing
from mdslib.sim.throw.wires import Peer, Use, Wires

_LULD = ("LUDP", "M")
_NEW_IDS = 9_000_000_000_000  # ids of corrections: beyond those of any day's trades


class Floor(Protocol):
    """What is needed of the exchange's floor."""

    market: Market
    core: Core
    sent: int

    async def send_updates(self) -> bool:
        """Send the updates that are due."""

    async def send_held(self, *, all_out: bool = False) -> None:
        """Send the data frames that are due."""

    def forget(self, peers: Collection[Peer]) -> None:
        """Send nothing more to these connections: they are cut, though nobody has noticed yet."""

    async def notify(self, channel: str, symbol: str, message: dict[str, Any], record: Any) -> None:
        """Send one message of our own to the data clients that have subscribed to it."""


class Player(Protocol):
    """What is needed of the script's player."""

    @property
    def now(self) -> int:
        """The exchange's time, ns UTC."""

    def there(self, kind: type[Fault], socket: str = "") -> list[Standing]:
        """Return the faults of a kind that are there now."""

    def note_hit(self, standing: Standing, **more: Any) -> None:
        """Log a hit."""


class Acts:
    """Does what the faults of a script do by themselves."""

    def __init__(self, player: Player, floor: Floor, wires: Wires) -> None:
        self.player = player
        self.floor = floor
        self.wires = wires
        self.core = floor.core
        self.market = floor.market
        self.halted: set[int] = set()
        self._venue = self.core.engine.venue
        self._rejecting: list[tuple[int, str, Order, Standing]] = []
        self._corrections = 0
        self._begins: dict[type[Fault], Callable[[Standing, Any], Awaitable[None]]] = {
            kinds.Disconnect: self._disconnect,
            kinds.Restart: self._restart,
            kinds.Halt: self._halt,
            kinds.Correction: self._correct,
            kinds.TradeCancel: self._cancel_trade,
            kinds.ForeignOrder: self._foreign_order,
        }

    async def begin(self, standing: Standing) -> None:
        """Do what a fault does when it comes."""
        act = self._begins.get(type(standing.fault))
        if act is not None:
            await act(standing, standing.fault)
            if standing.lasts is None and not isinstance(standing.fault, kinds.Halt):
                standing.until = self.player.now  # it is done
        self._set_venue()

    async def end(self, standing: Standing) -> None:
        """Do what a fault does when it ends."""
        if isinstance(standing.fault, kinds.Halt):
            await self._resume(standing.fault)
        self._set_venue()

    def _set_venue(self) -> None:
        """Set what the matching core depends on, from the faults that are there now."""
        venue = self._venue
        for fault in (standing.fault for standing in self.player.there(Fault)):
            if isinstance(fault, kinds.PartialFills):
                venue = venue._replace(partial=max(venue.partial, fault.chance))
            if isinstance(fault, kinds.Latency):
                venue = venue._replace(latency=max(venue.latency, fault.by.ns))
        self.core.engine.venue = venue

    # -- connections ------------------------------------------------------------

    async def _disconnect(self, standing: Standing, fault: kinds.Disconnect) -> None:
        wires = self.wires
        peers = wires.sockets(data=fault.socket != kinds.UPDATES, updates=fault.socket != kinds.DATA)
        for peer in peers:
            if fault.how == "close":
                use: Use = wires.uses[peer]
                try:
                    await use.send({"type": "websocket.close", "code": fault.code})
                except RuntimeError:
                    wires.cut(peer)  # its handshake is under way, or it is ending already
            else:
                wires.cut(peer)
        self.floor.forget(peers)
        standing.counts["connections"] += len(peers)

    async def _restart(self, standing: Standing, fault: kinds.Restart) -> None:
        peers = self.wires.cut_all()
        self.floor.forget(peers)
        standing.counts["connections"] += len(peers)

    # -- the market ------------------------------------------------------------

    def _instrument(self, symbol: str | None) -> int:
        return 0 if symbol is None else list(self.market.symbols).index(symbol)

    async def _halt(self, standing: Standing, fault: kinds.Halt) -> None:
        k = self._instrument(fault.symbol)
        self.core.settle(self.floor.sent)  # what came before is matched as it was
        self.halted.add(k)
        if fault.reason in _LULD:
            price = self.core.price(k)
            await self._band(k, round(price * (1 + fault.band), 2), round(price * (1 - fault.band), 2))
        await self._status(k, "2", "Trading Halt", fault.reason)

    async def _resume(self, fault: kinds.Halt) -> None:
        k = self._instrument(fault.symbol)
        self.core.settle(self.floor.sent)
        self.halted.discard(k)
        await self._status(k, "3", "Trading Resume", "")

    async def _status(self, k: int, code: str, text: str, reason: str) -> None:
        at, symbol = self.player.now, self.market.symbols[k]
        packed = int.from_bytes(reason.encode("ascii", "replace")[:7], "little")
        record = _record(Kind.STATUS, at, k, flag=ord("A"), code=ord(code), i0=packed, f0=np.nan, f1=np.nan)
        message = {"T": "s", "S": symbol, "sc": code, "sm": text, "rc": reason, "rm": reason, "t": at, "z": "A"}
        await self.floor.notify("statuses", symbol, message, record)

    async def _band(self, k: int, up: float, down: float) -> None:
        at, symbol = self.player.now, self.market.symbols[k]
        record = _record(Kind.STATUS, at, k, flag=ord("A"), code=ord("B"), i1=1, f0=up, f1=down)
        message = {"T": "l", "S": symbol, "u": up, "d": down, "i": "B", "t": at, "z": "A"}
        await self.floor.notify("lulds", symbol, message, record)

    def erase(self, lo: int, hi: int) -> None:
        """Let the events of halted symbols among ``lo:hi`` not have been."""
        if self.halted:
            self.market.erase(lo, hi, sorted(self.halted))

    def _trade(self, symbol: str | None, back: int) -> Any:
        """Return the record of a trade that was sent, or None."""
        return self.market.sent_trade(self.floor.sent, self._instrument(symbol), back)

    async def _correct(self, standing: Standing, fault: kinds.Correction) -> None:
        trade = self._trade(fault.symbol, fault.back)
        if trade is None:
            return
        self._corrections += 1
        at, k, old = self.player.now, int(trade["instrument"]), float(trade["f0"])
        old_id, new_id, size = int(trade["i1"]), _NEW_IDS + self._corrections, int(trade["i0"])
        price, symbol = round(old + fault.shift, 9), self.market.symbols[k]
        exchange = chr(trade["flag"]) if trade["flag"] else ""
        record = _record(
            Kind.CORRECTION, at, k, flag=int(trade["flag"]), f0=old, f1=price, f2=size, f3=size, i0=old_id, i1=new_id
        )
        message = {"T": "c", "S": symbol, "x": exchange, "oi": old_id, "op": old, "os": size, "oc": []}
        message |= {"ci": new_id, "cp": price, "cs": size, "cc": [], "t": at, "z": "A"}
        standing.counts["messages"] += 1
        await self.floor.notify("trades", symbol, message, record)

    async def _cancel_trade(self, standing: Standing, fault: kinds.TradeCancel) -> None:
        trade = self._trade(fault.symbol, fault.back)
        if trade is None:
            return
        at, k, price, size = self.player.now, int(trade["instrument"]), float(trade["f0"]), int(trade["i0"])
        flag, number, symbol = int(trade["flag"]), int(trade["i1"]), self.market.symbols[k]
        record = _record(Kind.CANCEL_ERROR, at, k, flag=flag, code=ord(fault.action), f0=price, i0=size, i1=number)
        message = {"T": "x", "S": symbol, "i": number, "x": chr(flag) if flag else "", "p": price, "s": size}
        standing.counts["messages"] += 1
        await self.floor.notify("trades", symbol, message | {"a": fault.action, "t": at, "z": "A"}, record)

    # -- orders ------------------------------------------------------------

    def rejects(self, order: Order) -> str | None:
        """Return why an order that was just accepted is rejected at once; with a delay it is noted for later."""
        for standing in self.player.there(kinds.Reject):
            fault = standing.fault
            assert isinstance(fault, kinds.Reject)
            if standing.hit():
                standing.counts["orders"] += 1
                self.player.note_hit(standing, client_order_id=order.client_order_id)
                if not fault.delay.ns:
                    return fault.reason
                self._rejecting.append((self.player.now + fault.delay.ns, fault.reason, order, standing))
        return None

    def work(self, *, all_out: bool = False) -> None:
        """Do what was put off until now."""
        due = [entry for entry in self._rejecting if all_out or entry[0] <= self.player.now]
        self._rejecting = [entry for entry in self._rejecting if entry not in due]
        for _, reason, order, _ in due:
            self.core.reject(order, reason)

    async def _foreign_order(self, standing: Standing, fault: kinds.ForeignOrder) -> None:
        symbol = self.market.symbols[self._instrument(fault.symbol)]
        body = {"symbol": symbol, "qty": str(fault.qty), "side": fault.side, "type": "market", "time_in_force": "day"}
        self.core.settle(self.floor.sent)
        try:
            order = self.core.submit(body)
            standing.counts["orders"] += 1
            self.player.note_hit(standing, client_order_id=order["client_order_id"])
        except Refusal as refusal:
            self.player.note_hit(standing, refused=str(refusal))


def _record(kind: Kind, ts: int, instrument: int, **slots: Any) -> Any:
    record = np.zeros(1, RECORD)
    record["kind"], record["ts_event"], record["instrument"] = int(kind), ts, instrument
    for name, value in slots.items():
        record[name] = value
    return record
