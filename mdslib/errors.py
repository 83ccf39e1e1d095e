"""Every error that mdslib raises on purpose, in one tree.

::

    MdsError
    ├── ConfigError             a setting, option or argument is wrong or missing
    │   └── CredentialError     a key is missing, or the venue refused it
    ├── DataError               market data is missing, damaged or of the wrong shape
    ├── ModelError              a strategy can't be found, compiled or trusted
    │   └── ModelRaised         a strategy raised while it ran; names the row
    ├── TapeError               a tape can't be read or written
    │   └── RecordError         what a run writes can't be written: full disk, unwritable folder
    ├── FeedError               a market-data connection failed
    │   └── FeedRefused         the venue refused it for good (402, 409); retrying can't help
    ├── BrokerError             an order call failed
    │   ├── OrderRejected       the venue refused the order, definitely
    │   └── OutcomeUnknown      no answer came: the order may have landed
    └── SessionError            a live run can't start or go on
        └── AuditError          the day's record does not add up

Every message says where, which rule, what was received and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class MdsError(Exception):
    """The root of every deliberate error; the command line prints it as one line."""


class ConfigError(MdsError):
    """A setting, an option or an argument is wrong or missing."""


class CredentialError(ConfigError):
    """A key is missing from the environment, or the venue refused it."""


class DataError(MdsError):
    """Market data is missing, damaged or of the wrong shape."""


class ModelError(MdsError):
    """A strategy can't be found, compiled or trusted."""


class ModelRaised(ModelError):
    """A strategy raised while it ran.

    Attributes
    ----------
    row : int
        Index of the event that it raised on, counted from 0.
    decisions : object
        The decisions that were made before it; they stand.
    """

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row
        self.decisions: Any = None


class TapeError(MdsError):
    """A tape can't be read or written."""


class RecordError(TapeError):
    """What a run writes, its tape or its verdict, can't be written: the disk is full, or the folder is not writable."""


class FeedError(MdsError):
    """A market-data connection failed; trying again may help.

    Attributes
    ----------
    code : int or None
        The venue's own error code, where it sent one.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class FeedRefused(FeedError):
    """The venue refused the feed for good; trying again can't help."""


class BrokerError(MdsError):
    """A call to the broker failed.

    Attributes
    ----------
    status : int or None
        The HTTP status of the answer, where one came.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class OrderRejected(BrokerError):
    """The venue refused the order, definitely: nothing was placed."""


class OutcomeUnknown(BrokerError):
    """No answer came, so the order may have landed: ask by its client order id, never resend."""


class SessionError(MdsError):
    """A live run can't start or go on."""


class AuditError(SessionError):
    """The day's record does not add up."""


def did_you_mean(received: str, known: Iterable[str]) -> str:
    """Return a closing sentence that offers the nearest known names.

    Parameters
    ----------
    received : str
        What the user wrote.
    known : iterable of str
        What would have been accepted.

    Returns
    -------
    str
        `` Did you mean 'x'?`` where a near name exists, else the sorted list of known names.

    Examples
    --------
    >>> did_you_mean("volume_modulu", ["volume_modulo", "pairs_zscore"])
    "Did you mean 'volume_modulo'?"
    >>> did_you_mean("x", ["b", "a"])
    'Known: a, b.'
    """
    names = sorted(known)
    near = difflib.get_close_matches(received, names, n=1)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Known: {', '.join(names)}." if names else "None are known."


def fault_of(error: BaseException) -> str:
    """Return one line about an exception that nobody foresaw: what it is, and where it was raised.

    Examples
    --------
    >>> fault_of(KeyError("price"))
    "a fault of mdslib, KeyError: 'price'"
    """
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
    return f"a fault of mdslib, {type(error).__name__}: {error}{where}"
