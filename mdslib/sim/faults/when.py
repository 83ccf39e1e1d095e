"""Times in a fault script: how long (``"90s"``, ``"2s real"``, ``"day"``) and when in the day (``"10:15"``)."""

from __future__ import annotations

import datetime
import re

_LENGTH = re.compile(r"(?P<sign>-?)(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h)(?P<real> real)?\Z")
_UNITS = {"ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
_CLOCK = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,3}))?)?\Z")
FOREVER = 2**62  # ns: longer than any day


class Duration:
    """A length of time: of the played day, or of real time.

    Parameters
    ----------
    ns : int
        Length in ns; below 0 only where a field says so.
    real : bool
        Real time, by the machine's clock; else the day's, which a scaled run passes faster. In lock-step there is no
        real time, and it means the day's too.

    Examples
    --------
    >>> parse_duration("1.5s"), parse_duration("250ms real")
    (Duration('1.5s'), Duration('0.25s real'))
    """

    __slots__ = ("ns", "real")

    def __init__(self, ns: int, *, real: bool = False) -> None:
        self.ns = ns
        self.real = real

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.ns / 1e9

    def __str__(self) -> str:
        return "day" if self.ns == FOREVER else f"{self.seconds:g}s{' real' if self.real else ''}"

    def __repr__(self) -> str:
        return f"Duration({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and (self.ns, self.real) == (other.ns, other.real)

    def __hash__(self) -> int:
        return hash((self.ns, self.real))


class TimeOfDay:
    """A time of day at the exchange, in ns after midnight.

    Examples
    --------
    >>> parse_time_of_day("09:30:15.5")
    TimeOfDay('09:30:15.5')
    """

    __slots__ = ("ns",)

    def __init__(self, ns: int) -> None:
        self.ns = ns

    def __str__(self) -> str:
        minutes, rest = divmod(self.ns, _UNITS["m"])
        seconds = f":{rest / 1e9:06.3f}".rstrip("0").rstrip(".") if rest else ""
        return f"{minutes // 60:02d}:{minutes % 60:02d}{seconds}"

    def __repr__(self) -> str:
        return f"TimeOfDay({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TimeOfDay) and self.ns == other.ns

    def __hash__(self) -> int:
        return hash(self.ns)


def parse_duration(text: object) -> Duration:
    """Return the length that a text like ``"90s"``, ``"2m real"`` or ``"day"`` means.

    Raises
    ------
    ValueError
        It is no such text.
    """
    if text == "day":
        return Duration(FOREVER)
    found = _LENGTH.match(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError('a length like "250ms", "90s", "2m", "1h", "2s real" or "day"')
    ns = round(float(found["number"]) * _UNITS[found["unit"]])
    return Duration(-ns if found["sign"] else ns, real=bool(found["real"]))


def parse_time_of_day(text: object) -> TimeOfDay:
    """Return the time of day that a text like ``"10:15"`` or ``"10:15:30.250"``, or a TOML time, means.

    Raises
    ------
    ValueError
        It is no such text.
    """
    if isinstance(text, datetime.time):
        text = text.isoformat()[:12]
    found = _CLOCK.match(text) if isinstance(text, str) else None
    if found is None or int(found[1]) > 23 or int(found[2]) > 59 or int(found[3] or 0) > 59:
        raise ValueError('a time of day at the exchange, like "10:15" or "10:15:30.250"')
    hours, minutes, seconds = (int(part or 0) for part in found.groups()[:3])
    return TimeOfDay(
        ((hours * 60 + minutes) * 60 + seconds) * _UNITS["s"] + int((found[4] or "0").ljust(3, "0")) * 10**6
    )
