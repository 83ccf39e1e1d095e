"""Faults on what a socket sends: frames go in as the exchange makes them, and come out as the script wants them.

No I/O. A line is one direction of one socket. Frames that are held back keep their order; whoever sends asks for them
again with `push()` whenever time has passed.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec.json
import numpy as np
import numpy.typing as npt

from mdslib.events import RECORD, Kind
from mdslib.sim.faults import kinds
from mdslib.sim.faults.kinds import DATA, UPDATES, Fault
from mdslib.sim.throw.damage import damaged
from mdslib.sim.throw.standing import Standing
from mdslib.sim.wire import CHANNELS

Array = npt.NDArray[Any]
_NOTHING = np.zeros(0, RECORD)
_OTHER = {int(Kind.CORRECTION): "corrections", int(Kind.CANCEL_ERROR): "cancelErrors"}
_CHANNELS = {int(kind): channel for kind, channel in CHANNELS.items()} | _OTHER


class Codec(Protocol):
    """How a connection writes."""

    def join(self, messages: list[Any]) -> str | bytes:
        """Return the frame of some messages."""

    def message(self, fields: dict[str, Any]) -> Any:
        """Return one message."""

    def fields(self, message: Any) -> dict[str, Any]:
        """Return what one message says."""

    def control(self, text: str) -> str | bytes:
        """Return the frame of a control message that is JSON."""


class Plain:
    """`trade_updates`: one JSON object a frame."""

    def join(self, messages: list[Any]) -> str | bytes:
        """Return the only message."""
        body: bytes = messages[0]
        return body

    def message(self, fields: dict[str, Any]) -> bytes:
        """Return one message."""
        return json.dumps(fields).encode()

    def fields(self, message: Any) -> dict[str, Any]:
        """Return what one message says."""
        told: dict[str, Any] = msgspec.json.decode(message)
        return told

    def control(self, text: str) -> bytes:
        """Return a control message's frame."""
        return text.encode()


@dataclass(slots=True, eq=False)
class Frame:
    """What goes out in one piece."""

    messages: list[Any]
    records: Array  # the same events, for the log of what was sent
    payload: str | bytes | None = None  # instead of the messages
    close: bool = False  # the socket ends after it
    after: int = 0  # held back until this time of the day, ns UTC
    after_real: float = 0.0  # and until this time of the loop's clock
    by: Standing | None = None  # and while this is there


class Moment(Protocol):
    """What a line asks the script's player."""

    @property
    def now(self) -> int:
        """The exchange's time, ns UTC."""

    def real(self) -> float:
        """Return the loop's clock, s."""

    def there(self, kind: type[Fault], socket: str = "") -> list[Standing]:
        """Return the faults of a kind that are there now, in the script's order; of one socket, where it is named."""

    def is_there(self, standing: Standing) -> bool:
        """Tell whether a fault is there now."""

    def note_hit(self, standing: Standing, **more: Any) -> None:
        """Log a hit."""


class Line:
    """One direction of one socket."""

    socket = DATA

    def __init__(self, moment: Moment, codec: Codec, symbols: list[str]) -> None:
        self.moment = moment
        self.codec = codec
        self.symbols = symbols
        self.held: deque[Frame] = deque()
        self._swapped: Frame | None = None

    def push(self, frames: Iterable[Frame] = (), *, all_out: bool = False) -> list[Frame]:
        """Return what is to be sent now, in order: frames held before that are due, then the new ones.

        Parameters
        ----------
        frames : iterable of Frame
            New ones.
        all_out : bool
            Hold nothing back any more: the day is over.
        """
        out: list[Frame] = []
        for frame in frames:
            out += self._struck(frame)
        self.held.extend(out)
        if all_out and self._swapped is not None:
            self.held.append(self._swapped)
            self._swapped = None
        due: list[Frame] = []
        while self.held and (all_out or self._is_due(self.held[0])):
            due += self._let_go(self.held.popleft())
        return due

    def _is_due(self, frame: Frame) -> bool:
        moment = self.moment
        if frame.after > moment.now or (frame.after_real and frame.after_real > moment.real()):
            return False
        return frame.by is None or not moment.is_there(frame.by)

    def _let_go(self, frame: Frame) -> list[Frame]:
        fault = frame.by.fault if frame.by is not None else None
        if not isinstance(fault, kinds.Burst) or fault.size is None or self.socket == UPDATES:
            return [frame]
        # The size of a burst's frames is its own: those that follow it at once are put together with it.
        messages, records = list(frame.messages), [frame.records]
        while self.held and self.held[0].by is frame.by and self.held[0].payload is None:
            more = self.held.popleft()
            messages += more.messages
            records.append(more.records)
        rows, size = np.concatenate(records), fault.size
        return [Frame(messages[i : i + size], rows[i : i + size]) for i in range(0, len(messages), size)]

    # -- one frame through the faults ------------------------------------------------------------

    def _struck(self, frame: Frame) -> list[Frame]:
        for standing in self._there(kinds.Mute):
            if self._hits(standing, frame):
                return []
        for standing in self._there(kinds.Drop):
            self._drop(standing, frame)
        for standing in self._there(kinds.Duplicate):
            self._repeat(standing, frame)
        if not frame.messages:
            return []
        frames = self._repeat_frame(frame)
        frames = self._reorder(frames)
        for standing in self._there(kinds.Corrupt):
            self._corrupt(standing, frame)
        for standing in self._there(kinds.SocketError):
            frames = self._say_error(standing, frames)
        for one in frames:
            self._hold(one)
        return frames

    def _there(self, kind: type[Fault]) -> list[Standing]:
        return self.moment.there(kind, self.socket)

    def _hits(self, standing: Standing, frame: Frame) -> bool:
        """Tell whether a fault hits a frame as a whole."""
        matched = sum(self._matches(standing.fault, frame))
        if not matched or not standing.hit():
            return False
        standing.counts["messages"] += len(frame.messages)
        self._note(standing, frame, len(frame.messages))
        return True

    def _hit_messages(self, standing: Standing, frame: Frame) -> list[int]:
        """Return the places of the messages of a frame that a fault hits."""
        hit = [at for at, fits in enumerate(self._matches(standing.fault, frame)) if fits and standing.hit()]
        if hit:
            standing.counts["messages"] += len(hit)
            self._note(standing, frame, len(hit), hit[0])
        return hit

    def _note(self, standing: Standing, frame: Frame, count: int, at: int = 0) -> None:
        if standing.singles:
            told = self._said(frame, at)
            self.moment.note_hit(standing, socket=self.socket, messages=count, **told)

    def _said(self, frame: Frame, at: int) -> dict[str, Any]:
        if not len(frame.records):
            return {}
        row = frame.records[at]
        return {"symbol": self.symbols[int(row["instrument"])], "ts_event": int(row["ts_event"])}

    def _matches(self, fault: Any, frame: Frame) -> list[bool]:
        """Tell of each message whether the fault is about it."""
        if not (fault.only or fault.symbol):
            return [True] * len(frame.messages)
        fits = np.ones(len(frame.messages), bool)
        if fault.symbol:
            fits &= frame.records["instrument"] == self.symbols.index(fault.symbol)
        if fault.only:
            fits &= [_channel(row) in fault.only for row in frame.records]
        return [bool(fit) for fit in fits]

    def _drop(self, standing: Standing, frame: Frame) -> None:
        lost = set(self._hit_messages(standing, frame))
        if lost:
            kept = [at for at in range(len(frame.messages)) if at not in lost]
            self._take(frame, kept)

    def _repeat(self, standing: Standing, frame: Frame) -> None:
        fault = standing.fault
        if not isinstance(fault, kinds.Duplicate) or fault.unit != "message" or self.socket == UPDATES:
            return
        hit = set(self._hit_messages(standing, frame))
        if hit:
            order = [at for at in range(len(frame.messages)) for _ in range(1 + fault.copies * (at in hit))]
            self._take(frame, order)

    def _repeat_frame(self, frame: Frame) -> list[Frame]:
        frames = [frame]
        for standing in self._there(kinds.Duplicate):
            fault = standing.fault
            assert isinstance(fault, kinds.Duplicate)
            if (fault.unit == "frame" or self.socket == UPDATES) and self._hits(standing, frame):
                frames += [Frame(frame.messages, frame.records) for _ in range(fault.copies)]
        return frames

    @staticmethod
    def _take(frame: Frame, order: list[int]) -> None:
        frame.messages = [frame.messages[at] for at in order]
        frame.records = frame.records[order] if len(frame.records) else frame.records

    def _reorder(self, frames: list[Frame]) -> list[Frame]:
        waited, self._swapped = self._swapped, None
        for standing in self._there(kinds.Reorder):
            fault = standing.fault
            assert isinstance(fault, kinds.Reorder)
            if waited is not None or self._swapped is not None or not self._hits(standing, frames[0]):
                continue
            if fault.how == "swap":
                self._swapped, frames = frames[0], frames[1:]
                break
            order = list(range(len(frames[0].messages)))
            standing.random.shuffle(order)
            self._take(frames[0], order)
        return frames if waited is None else [*frames, waited]

    def _corrupt(self, standing: Standing, frame: Frame) -> None:
        if self._hits(standing, frame):
            fault = standing.fault
            assert isinstance(fault, kinds.Corrupt)
            frame.payload = damaged(frame.messages, fault.how, self.codec, standing.random)
            # Bytes for text can be read all the same; of a damaged message the others of its frame may be.
            readable = {"binary": 0, "wrong-type": 1, "missing-field": 1, "unknown-type": 1}
            frame.records = frame.records[readable.get(fault.how, len(frame.records)) :]

    def _say_error(self, standing: Standing, frames: list[Frame]) -> list[Frame]:
        fault = standing.fault
        assert isinstance(fault, kinds.SocketError)
        if fault.on != "stream" or not standing.hit():
            return frames
        standing.counts["messages"] += 1
        self.moment.note_hit(standing, socket=self.socket, code=fault.code)
        said = Frame([], _NOTHING, payload=self.codec.control(self.error(fault.code)), close=fault.close)
        return [said] if fault.close else [said, *frames]

    def error(self, code: int) -> str:
        """Return the error message of a code."""
        from mdslib.sim.subscription import error

        return error(code)

    def _hold(self, frame: Frame) -> None:
        for standing in self._there(kinds.Slow):
            fault = standing.fault
            if isinstance(fault, kinds.Slow) and self._hits(standing, frame):
                if fault.delay.real and not standing.lockstep:
                    frame.after_real = self.moment.real() + fault.delay.seconds
                else:
                    frame.after = self.moment.now + fault.delay.ns
        for standing in self._there(kinds.Burst):
            if self._hits(standing, frame):
                frame.by = standing


class UpdateLine(Line):
    """`trade_updates`: one message a frame, the same for every connection."""

    socket = UPDATES

    def _matches(self, fault: Any, frame: Frame) -> list[bool]:
        if not (fault.only or fault.symbol):
            return [True]
        told = self.codec.fields(frame.messages[0])["data"]
        fits = not fault.only or told["event"] in fault.only
        return [fits and (not fault.symbol or told["order"]["symbol"] == fault.symbol)]

    def _said(self, frame: Frame, at: int) -> dict[str, Any]:
        told = self.codec.fields(frame.messages[0])["data"]
        order = told["order"]
        said = {"event": told["event"], "client_order_id": order["client_order_id"]}
        return said | ({"execution_id": told["execution_id"]} if told.get("execution_id") else {})

    def error(self, code: int) -> str:
        """Return the stream's only error message."""
        return '{"action":"error","data":{"error_message":"internal server error"}}'


def update_frame(body: bytes) -> Frame:
    """Return the frame of one order update."""
    return Frame([body], _NOTHING)


def _channel(row: Any) -> str:
    kind = int(row["kind"])
    return _CHANNELS.get(kind) or ("lulds" if row["i1"] else "statuses")
