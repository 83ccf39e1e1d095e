"""A websocket that is read in the thread which calls `recv`: no hop between threads before a frame is seen.

websockets' own connection reads in a thread of its own and hands each message over, which costs more than all that we
do with a frame. Here `websockets.sync.client.connect` still opens the connection (address, proxy, TLS), and its
protocol class still speaks the protocol; only the reading is ours.

That class takes a dozen calls for a frame. So whole, plain data frames of less than 64 kB, all that a venue sends but a
few, are cut out of the bytes here. Whatever else begins (a ping, a closing, a fragment, a large frame, a reserved bit)
goes to the protocol class with all that follows it, until it stands between two frames again.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import CLOSED, OPEN

from mdslib.clock import monotonic_ns

if TYPE_CHECKING:
    from websockets.client import ClientProtocol

_READ = 1 << 17  # bytes read at once: a burst is taken in a few calls; at least one frame of less than 64 kB
_SLICE = 1.0  # s; longest sleep of a read, so that a silent connection is pinged in time
_DATA = (Opcode.TEXT, Opcode.BINARY)
_WHOLE = (0x81, 0x82)  # first byte of a text or binary frame that is a whole message, without reserved bits


class DirectConnection:
    """What `connect` makes when told ``create_connection=DirectConnection``.

    One thread calls `recv`; `close` may come from any other. A silent venue is pinged; one that sends is alive, and its
    own pings are answered while we read.

    Parameters
    ----------
    sock : socket.socket
        Connected, with TLS where the address asks for it.
    protocol : ClientProtocol
        Speaks the protocol, without input or output.
    ping_interval, ping_timeout, close_timeout : float
        Silence before a ping, longest wait for its answer, longest wait for the venue's closing frame; s.
    max_queue : int, optional
        Not used: what is not read waits in the socket.

    Attributes
    ----------
    waiting : deque of bytes
        Messages that were read with one that `recv` has returned.
    """

    def __init__(
        self,
        sock: socket.socket,
        protocol: ClientProtocol,
        *,
        ping_interval: float = 20.0,
        ping_timeout: float = 20.0,
        close_timeout: float = 10.0,
        max_queue: int | None = None,
    ) -> None:
        self.socket, self.protocol = sock, protocol
        self.recv_events_thread = _NoThread()
        self._ping_every, self._pong_within, self._close_within = ping_interval, ping_timeout, close_timeout
        self.waiting: deque[bytes] = deque()
        self._buffer = bytearray(_READ)
        self._view = memoryview(self._buffer)
        self._held = 0  # bytes at the buffer's start: of a frame that is not whole yet
        self._between = False  # the protocol class stands between two frames: plain ones need not go through it
        self._parts: list[bytes] = []  # of a message that is not whole yet
        self._responses: list[Any] = []
        self._mutex = threading.Lock()  # guards the protocol's state
        self._reading = threading.Lock()  # held by the thread that reads
        self._heard, self._pinged = monotonic_ns(), 0  # times of the last bytes, and of a ping without an answer
        self._broken: BaseException | None = None

    # What `connect` calls ----------------------------------------------------------------------------------------

    def handshake(self, headers: Any = None, user_agent: str | None = None, timeout: float | None = None) -> None:
        """Upgrade the connection, or raise why it was not."""
        request = self.protocol.connect()
        request.headers.update(headers or {})
        if user_agent is not None:
            request.headers.setdefault("User-Agent", user_agent)
        with self._mutex:
            self.protocol.send_request(request)
            self._flush()
        deadline = monotonic_ns() + int((timeout or 60.0) * 1e9)
        while not self._responses and self.protocol.handshake_exc is None and self._read(deadline):
            if monotonic_ns() > deadline:
                raise TimeoutError("no answer to the upgrade")
        if self.protocol.handshake_exc is not None:
            raise self.protocol.handshake_exc

    def start_keepalive(self) -> None:
        """Do nothing: the reader pings."""

    def close_socket(self) -> None:
        """Cut the connection; a thread that reads it wakes."""
        with contextlib.suppress(OSError):  # the other side may have cut it already
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    # What the feed calls -----------------------------------------------------------------------------------------

    def recv(self, timeout: float | None = None) -> bytes:
        """Return the next message; a text as UTF-8.

        Raises
        ------
        TimeoutError
            None came within `timeout` seconds.
        ConnectionClosed
            The connection has ended; see `connect.why_closed`.
        """
        messages = self.waiting
        if messages:
            return messages.popleft()
        deadline = None if timeout is None else monotonic_ns() + int(timeout * 1e9)
        with self._reading:
            while not messages:
                if not self._read(deadline):
                    raise self.protocol.close_exc from self._broken
                if deadline is not None and not messages and monotonic_ns() > deadline:
                    raise TimeoutError(f"no message within {timeout:g} s")
        return messages.popleft()

    def send(self, text: str) -> None:
        """Send a text."""
        with self._mutex:
            if self.protocol.state is not OPEN:
                said = self.protocol
                raise ConnectionClosed(said.close_rcvd, said.close_sent, said.close_rcvd_then_sent)
            self.protocol.send_text(text.encode())
            self._flush()

    def close(self) -> None:
        """Say goodbye, wait a little for the answer, and cut the connection; safe from any thread, and twice."""
        with self._mutex:
            if self.protocol.state is OPEN:
                self.protocol.send_close(CloseCode.NORMAL_CLOSURE)
                with contextlib.suppress(OSError):  # then it is cut, which is what we want
                    self._flush()
        deadline = monotonic_ns() + int(self._close_within * 1e9)
        while self.protocol.state is not CLOSED and monotonic_ns() < deadline:
            if self._reading.acquire(timeout=0.01):  # nobody reads, so the answer is ours to take
                try:
                    self._read(deadline)
                finally:
                    self._reading.release()
        self.close_socket()

    # Reading -----------------------------------------------------------------------------------------------------

    def _read(self, deadline: int | None) -> bool:
        """Take in what comes next, or a second of silence; False once the connection has ended."""
        if self.protocol.state is CLOSED:
            return False
        left = _SLICE if deadline is None else min(_SLICE, max((deadline - monotonic_ns()) / 1e9, 0.001))
        held = self._held
        try:
            if self.socket.gettimeout() != left:
                self.socket.settimeout(left)
            count = self.socket.recv_into(self._view[held:] if held else self._view)
        except TimeoutError:
            return self._silent()
        except OSError as error:  # cut; from here, or by the network
            self._broken, count = error, 0
        self._heard = monotonic_ns()
        if count:
            self._pinged = 0
            start = self._cut(held + count) if self._between else 0
            if start == held + count:
                return True
        else:
            start = 0
        return self._hand_over(start, held + count, ended=not count)

    def _cut(self, end: int) -> int:
        """Take the plain frames that stand at the buffer's start; return where something else begins, or `end`.

        A frame that is not whole is moved to the start, to be read on.
        """
        buffer, view, take = self._buffer, self._view, self.waiting.append
        at = 0
        while end - at >= 2:
            length = buffer[at + 1]
            if buffer[at] not in _WHOLE or length > 126:
                self._held = 0
                return at
            begin = at + 2
            if length == 126:
                if end - at < 4:
                    break
                length = buffer[at + 2] << 8 | buffer[at + 3]
                begin = at + 4
            if begin + length > end:
                break
            at = begin + length
            take(bytes(view[begin:at]))
        self._held = end - at
        if at and at < end:
            buffer[: end - at] = buffer[at:end]
        return end

    def _hand_over(self, start: int, end: int, *, ended: bool) -> bool:
        """Let the protocol class take the buffer's bytes from `start` on; False once the connection has ended."""
        protocol = self.protocol
        self._held = 0
        with self._mutex:
            if end > start:
                protocol.receive_data(bytes(self._view[start:end]))
            if ended:
                protocol.receive_eof()
            events = protocol.events_received()
            with contextlib.suppress(OSError):  # a pong that can't be sent: the next read says why
                self._flush()
            self._between = (
                protocol.state is OPEN
                and not protocol.reader.buffer
                and protocol.current_size is None
                and not protocol.extensions
            )
        for event in events:
            self._take(event)
        return bool(self.waiting) or protocol.state is not CLOSED

    def _take(self, event: Any) -> None:
        if not isinstance(event, Frame):
            self._responses.append(event)
        elif event.opcode in _DATA and event.fin:
            self.waiting.append(bytes(event.data))
        elif event.opcode in _DATA or event.opcode is Opcode.CONT:
            self._parts.append(bytes(event.data))
            if event.fin:
                self.waiting.append(b"".join(self._parts))
                self._parts = []

    def _silent(self) -> bool:
        """Ping a silent venue, and give up one that does not answer; also one that does not end what it should."""
        now = monotonic_ns()
        with self._mutex:
            if self.protocol.close_expected():
                if now - self._heard > self._close_within * 1e9:
                    self.protocol.receive_eof()
            elif self.protocol.state is OPEN and self._pinged == 0 and now - self._heard > self._ping_every * 1e9:
                self._pinged = now
                self.protocol.send_ping(b"")
                self._flush()
            elif self._pinged and now - self._pinged > self._pong_within * 1e9:
                self.protocol.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
                with contextlib.suppress(OSError):  # nobody may be there to hear it
                    self._flush()
                self.protocol.receive_eof()
        return self.protocol.state is not CLOSED

    def _flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.socket.sendall(data)
            else:
                with contextlib.suppress(OSError):  # cut already
                    self.socket.shutdown(socket.SHUT_WR)


class _NoThread:
    """Stands where `connect` looks for the thread that reads."""

    def join(self) -> None:
        """Return at once."""


__all__ = ["DirectConnection"]
