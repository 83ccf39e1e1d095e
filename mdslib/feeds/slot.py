"""The account's one data connection: who holds it on this machine.

The venue lets in one connection an account and endpoint, and answers a second one with 406. Two sessions of one person
would drive each other out without end, so the second one is refused here, by name, before it connects.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
from types import TracebackType

from mdslib.errors import ConfigError, FeedRefused


def slot_folder() -> Path:
    """Return the folder of the lock files: under ``$MDSLIB_CACHE_DIR``, else the user's cache folder."""
    base = os.environ.get("MDSLIB_CACHE_DIR")
    home = Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "mdslib"
    return home / "connections"


class Slot:
    """A lock file for one key at one address; the kernel lets go of it when the process ends, however it ends.

    Parameters
    ----------
    url : str
        The stream's address.
    key : str
        The public key; the file's name has a digest of it.
    folder : Path, optional
        Where the file lies.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Slot("wss://host/v2/iex", "AK", Path(folder)):
    ...     Slot("wss://host/v2/iex", "AK", Path(folder)).holder == str(os.getpid())
    True
    """

    def __init__(self, url: str, key: str, folder: Path | None = None) -> None:
        name = hashlib.sha256(f"{url} {key}".encode()).hexdigest()[:16]
        self.url = url
        self.path = (slot_folder() if folder is None else folder) / f"{name}.lock"
        self._fd = -1

    @property
    def holder(self) -> str:
        """Process id of who has noted itself last, as text; empty where nobody has."""
        try:
            return self.path.read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            return ""

    def take(self) -> None:
        """Take the slot; harmless where this very object has it already.

        Raises
        ------
        FeedRefused
            If another process of this machine holds it; names the process.
        ConfigError
            If the lock file can't be made.
        """
        if self._fd >= 0:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"the lock file {self.path} can't be made ({error.strerror}); set MDSLIB_CACHE_DIR to a folder that can"
                " be written"
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise FeedRefused(
                f"process {self.holder or 'unknown'} of this machine holds the account's only data connection to"
                f" {self.url}; stop that session first",
                code=406,
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd

    def give_back(self) -> None:
        """Let go of the slot; harmless when repeated."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Slot:
        self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()
