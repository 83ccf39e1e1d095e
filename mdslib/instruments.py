"""Instruments: what can be traded, its price grid, its lot, its currency and its trading hours."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mdslib.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Instrument:
    """One tradable thing at one venue.

    Parameters
    ----------
    symbol : str
        The venue's own symbol, such as ``SPY`` or ``BTC/USD``.
    venue : str
        Where it trades or is fed from; ``alpaca`` by default.
    tick : float
        Smallest price step, in `currency`.
    lot : float
        Smallest size step, in units; market sizes are integer counts of it.
    currency : str
        ISO code of the price's currency.
    session : str
        Name of its trading calendar: ``NYSE``, or ``24/7``.
    shortable, fractionable : bool
        What the venue allows.

    Examples
    --------
    >>> spy = Instrument("SPY")
    >>> spy.id, spy.on_tick(145.32), spy.on_tick(145.321)
    ('alpaca:SPY', True, False)
    """

    symbol: str
    venue: str = "alpaca"
    tick: float = 0.01
    lot: float = 1.0
    currency: str = "USD"
    session: str = "NYSE"
    shortable: bool = True
    fractionable: bool = False

    def __post_init__(self) -> None:
        if not self.symbol or self.symbol != self.symbol.strip():
            raise ConfigError(
                f"Instrument.symbol must be a venue symbol, received {self.symbol!r}; write it as the venue does: 'SPY'"
            )
        for name in ("tick", "lot"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(
                    f"Instrument.{name} of {self.symbol} must be > 0, received {value!r};"
                    " take it from the venue's specification"
                )

    @property
    def id(self) -> str:
        """``venue:symbol``."""
        return f"{self.venue}:{self.symbol}"

    def on_tick(self, price: float) -> bool:
        """Tell whether a price lies on the tick grid, to a millionth of a tick."""
        steps = price / self.tick
        return abs(steps - round(steps)) < 1e-6


def parse_instrument(text: str | Instrument) -> Instrument:
    """Return the instrument that ``SYMBOL`` or ``venue:SYMBOL`` names.

    A symbol with a slash is a crypto pair: 24/7, fractions of a hundred-millionth.

    Examples
    --------
    >>> parse_instrument("SPY").id
    'alpaca:SPY'
    >>> parse_instrument("alpaca:BTC/USD").session
    '24/7'
    """
    if isinstance(text, Instrument):
        return text
    venue, _, symbol = text.rpartition(":")
    if "/" in symbol:
        base = symbol.partition("/")[2] or "USD"
        return Instrument(symbol, venue or "alpaca", 1e-9, 1e-9, base, "24/7", shortable=False, fractionable=True)
    return Instrument(symbol.upper() if not venue else symbol, venue or "alpaca")
