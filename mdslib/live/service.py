"""What systemd is told of a run: that it is up, that it is alive, what it does (``sd_notify``).

One datagram a message to the socket that ``$NOTIFY_SOCKET`` names; without one nobody asked, and nothing is told. The
supervisor passes on the deciding loop's own heartbeat, and has none of its own: a hung session must not look alive.
"""

from __future__ import annotations

import os
import socket
from types import TracebackType

VARIABLE = "NOTIFY_SOCKET"


class Service:
    """The connection to the service manager that started this process, if one did.

    Parameters
    ----------
    address : str
        A path, or an abstract name that begins with ``@``; empty for none. ``$NOTIFY_SOCKET`` by default.

    Examples
    --------
    >>> with Service("") as service:
    ...     service.ready("waiting for the open")
    """

    def __init__(self, address: str | None = None) -> None:
        address = os.environ.get(VARIABLE, "") if address is None else address
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        if self._socket is not None:
            self._socket.setblocking(False)  # a manager that does not listen must not hold up the supervisor
        self.failed = ""

    def ready(self, status: str) -> None:
        """Say that the run is up; from now on the watchdog counts."""
        self._tell(f"READY=1\nSTATUS={status}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._tell("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Say what the run does, in a line that ``systemctl status`` shows."""
        self._tell(f"STATUS={text}")

    def stopping(self) -> None:
        """Say that the run is ending."""
        self._tell("STOPPING=1")

    def _tell(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.replace("\r", " ").encode(), self._address)
        except OSError as error:  # trading goes on without it; systemd's watchdog draws its own conclusion
            self.failed = str(error)

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.close()
