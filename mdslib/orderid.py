"""Client order ids: derived, never drawn, so that asking twice can't buy twice.

An id names the account and run (hashed), the trading date, the decision (tape sequence of its event, and leg) and the
attempt. A cell run again, a retry or a restart derives the same id, and the venue refuses the second order of one id.
`attempt` rises only after a *definite* rejection, because a venue keeps an id used even after the order was canceled.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import re
from typing import NamedTuple

from mdslib.errors import ConfigError

PREFIX = "mds"
MAX_LENGTH = 48  # Alpaca takes 128; FIX venues and exchanges' gateways often no more than 50
MAX_SEQ = 10**13 - 1
MAX_LEG = 255  # DECISION.leg is one byte
MAX_ATTEMPT = 999

_FORM = re.compile(rf"{PREFIX}-(\d{{8}})-([a-z2-7]{{12}})-(0|[1-9]\d{{0,12}})-(0|[1-9]\d{{0,2}})-(0|[1-9]\d{{0,2}})")


class OrderKey(NamedTuple):
    """What a client order id says.

    Attributes
    ----------
    trading_date : datetime.date
        The session's date.
    run : str
        Hash of account and run name; see `run_hash`.
    seq : int
        Tape sequence of the event that was decided on.
    leg : int
        Leg of the answer.
    attempt : int
        0 at first; one more after each definite rejection.
    """

    trading_date: datetime.date
    run: str
    seq: int
    leg: int
    attempt: int


def run_hash(account_id: str, run_name: str) -> str:
    """Return twelve letters that stand for one run name on one account (60 bits).

    Examples
    --------
    >>> run_hash("PA3", "spy") == run_hash("PA3", "spy"), len(run_hash("PA3", "spy"))
    (True, 12)
    >>> run_hash("a", "bc") == run_hash("ab", "c")
    False
    """
    told = f"{len(account_id)}:{account_id}{run_name}".encode()
    return base64.b32encode(hashlib.sha256(told).digest()[:10]).decode().lower()[:12]


@functools.lru_cache(maxsize=16)  # a session asks for one run's, on the path of every order
def run_prefix(account_id: str, trading_date: datetime.date, run_name: str) -> str:
    """Return how the ids of all orders of one run begin.

    Examples
    --------
    >>> run_prefix("PA3", datetime.date(2013, 10, 8), "spy")
    'mds-20131008-vygjygqjjkja-'
    """
    return f"{PREFIX}-{trading_date:%Y%m%d}-{run_hash(account_id, run_name)}-"


def client_order_id(
    account_id: str, trading_date: datetime.date, run_name: str, seq: int, leg: int, attempt: int
) -> str:
    """Return the id of one order; equal arguments give equal ids, on every machine.

    Parameters
    ----------
    account_id : str
        The venue's account.
    trading_date : datetime.date
        The session's date.
    run_name : str
        The run's name; two runs that trade one account on one day need two names.
    seq, leg, attempt : int
        The decision, and how many definite rejections came before.

    Returns
    -------
    str
        At most 48 characters.

    Raises
    ------
    ConfigError
        If an argument is empty or out of range.

    Examples
    --------
    >>> client_order_id("PA3", datetime.date(2013, 10, 8), "spy", 1234, 0, 0)
    'mds-20131008-vygjygqjjkja-1234-0-0'
    """
    for name, text in (("account_id", account_id), ("run_name", run_name)):
        if not text:
            raise ConfigError(
                f"client_order_id.{name} must not be empty, received {text!r}; two runs would share their order ids"
            )
    for name, value, top in (("seq", seq, MAX_SEQ), ("leg", leg, MAX_LEG), ("attempt", attempt, MAX_ATTEMPT)):
        if not 0 <= value <= top:
            raise ConfigError(
                f"client_order_id.{name} must be from 0 to {top}, received {value}; an id has {MAX_LENGTH} "
                "characters at most"
            )
    return f"{run_prefix(account_id, trading_date, run_name)}{seq}-{leg}-{attempt}"


def parse_client_order_id(text: str) -> OrderKey | None:
    """Return what an id says, or None where the order is not one of mdslib's.

    Examples
    --------
    >>> parse_client_order_id("mds-20131008-vygjygqjjkja-1234-0-2").attempt
    2
    >>> parse_client_order_id("61e69015-8549-4bfd-b9c3-01e75843f47d") is None
    True
    """
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    day, run, seq, leg, attempt = found.groups()
    try:
        date = datetime.date(int(day[:4]), int(day[4:6]), int(day[6:]))
    except ValueError:  # digits that are no date: not one of ours
        return None
    return OrderKey(date, run, int(seq), int(leg), int(attempt))


def decision_of(text: str) -> tuple[int, int]:
    """Return the decision (sequence, leg) that an id names; (0, 0), which is none, for an order that is not mdslib's.

    Examples
    --------
    >>> decision_of("mds-20131008-vygjygqjjkja-1234-1-2"), decision_of("61e69015")
    ((1234, 1), (0, 0))
    """
    key = parse_client_order_id(text)
    return (key.seq, key.leg) if key is not None else (0, 0)
