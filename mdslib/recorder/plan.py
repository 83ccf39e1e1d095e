"""What is to be recorded, how, and where to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from mdslib.calendar import ALWAYS
from mdslib.errors import ConfigError, did_you_mean
from mdslib.feeds.endpoints import ENDPOINTS
from mdslib.instruments import Instrument, parse_instrument
from mdslib.store.tapefile import Durability

ALPACA = "alpaca"
SECOND = 1_000_000_000
_LEAST_EVERY = SECOND // 10


class Mode(Enum):
    """What is kept.

    =========  ========================================================================================
    FULL       every event; books are kept up to date and watched, and begin each day's tape
    LIGHT      every event; no books
    SNAPSHOT   the best levels of each book, every so many seconds
    =========  ========================================================================================
    """

    FULL = "full"
    LIGHT = "light"
    SNAPSHOT = "snapshot"


class Wanted(NamedTuple):
    """One instrument of a venue, in one of its protocols."""

    dialect: str
    symbol: str

    @property
    def venue(self) -> str:
        """The venue, whichever of its protocols is spoken."""
        return ALPACA if self.dialect == ALPACA else ENDPOINTS[self.dialect].venue

    @property
    def id(self) -> str:
        """``dialect:symbol``, as a person writes it."""
        return f"{self.dialect}:{self.symbol}"

    def instrument(self) -> Instrument:
        """Return the instrument as the tape's header has it; its `tick` is `UNTOLD_TICK`, since no feed says it."""
        return parse_instrument(self.symbol if self.dialect == ALPACA else f"{self.venue}:{self.symbol}")


def parse_wanted(text: str) -> Wanted:
    """Return what ``venue:SYMBOL`` names.

    Raises
    ------
    ConfigError
        If it is not of that form, or no such venue is known.

    Examples
    --------
    >>> parse_wanted("kraken:XBT/USD")
    Wanted(dialect='kraken', symbol='XBT/USD')
    """
    dialect, colon, symbol = text.strip().partition(":")
    if not (dialect and colon and symbol):
        raise ConfigError(f"what is recorded must be venue:SYMBOL, received {text!r}; write for example kraken:XBT/USD")
    known = [*ENDPOINTS, ALPACA]
    if dialect not in known:
        raise ConfigError(f"mds record: no venue is called {dialect!r}. {did_you_mean(dialect, known)}")
    wanted = Wanted(dialect, symbol)
    return wanted._replace(symbol=wanted.instrument().symbol)


@dataclass(frozen=True)
class Plan:
    """One process's recording.

    Parameters
    ----------
    wanted : tuple of Wanted
        In the order of the instruments.
    out : Path
        The recorder's folder.
    mode : Mode
        What is kept.
    every : int
        Between two snapshots, ns.
    levels : int
        Of each side of a snapshot.
    raw : bool
        Whether what the sockets say is kept too; not of Alpaca.
    durability : {"write", "fsync"}
        Whether a batch waits for the kernel, or for the disk.
    urls : mapping of str to str
        By venue, instead of its own address.
    name : str
        Of the status file, and of the tape where one process records one pair.
    alone : bool
        Whether this process records one pair for itself.
    feed : str
        Alpaca's feed.
    """

    wanted: tuple[Wanted, ...]
    out: Path
    mode: Mode = Mode.FULL
    every: int = SECOND
    levels: int = 50
    raw: bool = False
    durability: Durability = "write"
    urls: Mapping[str, str] = field(default_factory=dict)
    name: str = "record"
    alone: bool = False
    feed: str = "iex"

    def __post_init__(self) -> None:
        if not self.wanted:
            raise ConfigError("mds record needs something to record, received nothing; name it like kraken:XBT/USD")
        named = [(each.venue, each.symbol) for each in self.wanted]
        for venue, symbol in named:
            if named.count((venue, symbol)) > 1:
                raise ConfigError(f"mds record: {venue}:{symbol} is named twice; name each pair of a venue once")
        if self.raw and any(each.venue == ALPACA for each in self.wanted):
            raise ConfigError(
                "mds record: --raw keeps no frames of alpaca, received "
                f"{', '.join(each.id for each in self.wanted if each.venue == ALPACA)}; record them in a process of "
                "their own, without --raw"
            )
        if self.every < _LEAST_EVERY:
            raise ConfigError(f"--every must be at least 100ms, received {self.every / 1e6:g}ms")
        if not 1 <= self.levels <= 10_000:
            raise ConfigError(f"--levels must be from 1 to 10000, received {self.levels}")
        for venue in self.urls:
            known = [*ENDPOINTS, ALPACA]
            if venue not in known:
                raise ConfigError(f"--url: no venue is called {venue!r}. {did_you_mean(venue, known)}")

    def by_tape(self) -> list[tuple[Wanted, ...]]:
        """Return what shares a tape: what is of one venue and one calendar, since a tape's days are the calendar's."""
        found: dict[tuple[str, str], list[Wanted]] = {}
        for each in self.wanted:
            found.setdefault((each.venue, each.instrument().session), []).append(each)
        return [tuple(some) for some in found.values()]

    def tape_name(self, wanted: Sequence[Wanted]) -> str:
        """Return the folder's name of a day's tape of some that share one."""
        if self.alone:
            return f"tape@{file_name(wanted[0].symbol)}"
        calendar = wanted[0].instrument().session
        return "tape" if calendar == ALWAYS else f"tape@{calendar}"

    def of_each(self) -> list[Plan]:
        """Return a plan for a process of each pair."""
        return [
            replace(self, wanted=(each,), name=f"{each.venue}@{file_name(each.symbol)}", alone=True)
            for each in self.wanted
        ]


def parse_mode(text: str) -> Mode:
    """Return the mode of a name.

    Examples
    --------
    >>> parse_mode("light")
    <Mode.LIGHT: 'light'>
    """
    names: Sequence[str] = [mode.value for mode in Mode]
    if text not in names:
        raise ConfigError(f"--mode must be full, light or snapshot, received {text!r}. {did_you_mean(text, names)}")
    return Mode(text)


def file_name(symbol: str) -> str:
    """Return a symbol as the name of a file: what is no letter, digit, ``.``, ``_`` or ``-`` becomes ``%`` and hex.

    Examples
    --------
    >>> file_name("XBT/USD")
    'XBT%2FUSD'
    """
    safe = (chr(byte) if chr(byte).isalnum() or byte in b"._-" else f"%{byte:02X}" for byte in symbol.encode("ascii"))
    return "".join(safe)
