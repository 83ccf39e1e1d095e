"""Times as Alpaca writes them: RFC 3339, in UTC or with an offset, with 0 to 9 digits of a second's fraction.

Python's own ``datetime`` keeps microseconds and drops the last three digits, so nanoseconds are read here.
"""

from __future__ import annotations

import datetime
import re
from functools import lru_cache

_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_LAST = 2**63 - 1


def to_ns(text: str) -> int:
    """Return nanoseconds since 1970-01-01 UTC.

    Parameters
    ----------
    text : str
        Such as ``2026-01-05T14:31:00.123456789Z`` or ``2026-01-05T09:31:00-05:00``.

    Returns
    -------
    int
        Nanoseconds, every digit kept.

    Raises
    ------
    ValueError
        If the text is not such a time, or lies outside 1677 to 2262.

    Examples
    --------
    >>> to_ns("1970-01-01T00:00:01.5Z")
    1500000000
    >>> to_ns("2026-01-05T09:31:00.123456789-05:00") == to_ns("2026-01-05T14:31:00.123456789Z")
    True
    """
    if len(text) == 27 and text[26] == "Z" and text[19] == "." and text[17:19] < "60":
        # The usual form of the crypto venues, to the microsecond: its minute was usually the last one's, too.
        minute_ns, fraction = _minute(text[:17]), text[20:26]
        if minute_ns is not None and fraction.isdecimal() and text[17:19].isdecimal() and text.isascii():
            return minute_ns + int(text[17:19]) * 1_000_000_000 + int(fraction) * 1000
    return _any_form(text)


@lru_cache(64)
def _minute(prefix: str) -> int | None:
    """Return ns of the minute that a time's first 17 characters name; None where they name none."""
    try:
        return _any_form(prefix + "00Z")
    except ValueError:
        return None


def _any_form(text: str) -> int:
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"a time must be RFC 3339 with a zone, like 2026-01-05T14:31:00.5Z, received {text!r}")
    year, month, day, hour, minute, second = (int(part) for part in found.group(1, 2, 3, 4, 5, 6))
    fraction, sign, off_hour, off_minute = found.group(7, 8, 9, 10)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"a time of day must lie in 00:00:00 to 23:59:59, received {text!r}")
    days = datetime.date(year, month, day).toordinal() - _EPOCH
    seconds = days * 86_400 + hour * 3_600 + minute * 60 + second
    if sign:
        offset = int(off_hour) * 3_600 + int(off_minute) * 60
        seconds -= offset if sign == "+" else -offset
    ns = seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))
    if not -_LAST <= ns <= _LAST:
        raise ValueError(f"a time must lie in 1677 to 2262, the range of int64 nanoseconds, received {text!r}")
    return ns


def from_ns(ns: int) -> str:
    """Return the RFC 3339 text in UTC with nine digits, which Alpaca takes in queries.

    Examples
    --------
    >>> from_ns(1500000000)
    '1970-01-01T00:00:01.500000000Z'
    """
    seconds, fraction = divmod(ns, 1_000_000_000)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"
