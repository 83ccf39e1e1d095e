"""Names in a store: a kind and its spacing, an instrument, and the day or year of a part."""

from __future__ import annotations

import datetime
from typing import NamedTuple
from urllib.parse import quote, unquote

from mdslib.events import Kind
from mdslib.instruments import Instrument

YEARLY = frozenset({"1h", "1d"})


class Key(NamedTuple):
    """What one part holds: ``trade``, ``coinbase``, ``BTC-USD``, ``date=2021-04-17``."""

    label: str
    venue: str
    symbol: str
    period: str

    @property
    def folder(self) -> str:
        """Its folder in a store: Hive's names, everything but letters, digits and ``_.-~`` escaped with ``%``.

        Examples
        --------
        >>> key = Key("trade", "kraken", "XBT/USD", "date=2021-04-17")
        >>> key.folder
        'kind=trade/venue=kraken/symbol=XBT%2FUSD/date=2021-04-17'
        >>> Key.parse(key.folder) == key
        True
        """
        return (
            f"kind={self.label}/venue={quote(self.venue, safe='')}/symbol={quote(self.symbol, safe='')}/{self.period}"
        )

    @classmethod
    def parse(cls, folder: str) -> Key | None:
        """Return the key whose folder this is, or None where it is none's."""
        words = folder.split("/")
        names = [word.partition("=") for word in words]
        if [name for name, _, _ in names[:3]] != ["kind", "venue", "symbol"] or len(words) != 4:
            return None
        if names[3][0] not in ("date", "year"):
            return None
        return cls(unquote(names[0][2]), unquote(names[1][2]), unquote(names[2][2]), words[3])


def label_of(kind: Kind, interval: str | None = None) -> str:
    """Return the name of a kind in the store: ``trade``, ``quote``, ``bar_1m`` (bars of a minute are the default)."""
    interval = interval or ("1m" if kind == Kind.BAR else "")
    return kind.name.lower() + (f"_{interval}" if interval else "")


def parse_label(label: str) -> tuple[Kind, str | None]:
    """Return the kind and the spacing that a label names.

    Examples
    --------
    >>> parse_label("book_delta"), parse_label("bar_1m")
    ((<Kind.BOOK_DELTA: 29>, None), (<Kind.BAR: 3>, '1m'))
    """
    if label.upper() in Kind.__members__:
        return Kind[label.upper()], None
    name, _, interval = label.rpartition("_")
    return Kind[name.upper()], interval


def period_of(label: str, date: datetime.date) -> str:
    """Return the period that a day lies in: itself, or its year for bars of an hour and more."""
    return f"year={date.year}" if label.rpartition("_")[2] in YEARLY else f"date={date.isoformat()}"


def key_of(label: str, instrument: Instrument, period: str) -> Key:
    """Return the key of an instrument's part."""
    return Key(label, instrument.venue, instrument.symbol, period)


__all__ = ["YEARLY", "Key", "key_of", "label_of", "parse_label", "period_of"]
