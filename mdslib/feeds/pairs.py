"""The pairs of a crypto session: their places among its instruments, and their lots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from mdslib.errors import ConfigError
from mdslib.feeds.book_time import BookTimes


class Pairs:
    """The pairs of a session, their places, and the decimal places of their lots; shared by its connections.

    Parameters
    ----------
    symbols : sequence of str, optional
        The venue's symbols in the order of the session's instruments. Where none are given, every pair that appears
        gets the next place.
    lots : mapping of str to float, optional
        Smallest size step of a pair, a power of ten.

    Examples
    --------
    >>> pairs = Pairs(["XBT/USD"], {"XBT/USD": 0.0001})
    >>> pairs.place("XBT/USD"), pairs.place("ETH/USD"), Pairs().place("ETH/USD")
    (0, None, 0)
    """

    def __init__(self, symbols: Sequence[str] | None = None, lots: Mapping[str, float] | None = None) -> None:
        self._grows = symbols is None
        self.symbols: list[str] = []
        self.book_times = BookTimes()
        self._places: dict[str, int] = {}
        self._exponents = {symbol: places_of(symbol, lot) for symbol, lot in (lots or {}).items()}
        for symbol in symbols or ():
            self._add(symbol)

    def place(self, symbol: str) -> int | None:
        """Return the pair's place, or None where it is not one of ours."""
        place = self._places.get(symbol)
        return self._add(symbol) if place is None and self._grows else place

    def find(self, symbol: str) -> int | None:
        """Return the pair's place if it has one; unlike `place` this never gives it one."""
        return self._places.get(symbol)

    def exponent(self, symbol: str, default: int) -> int:
        """Return the decimal places of the pair's lot."""
        return self._exponents.get(symbol, default)

    def _add(self, symbol: str) -> int:
        self._places[symbol] = len(self.symbols)
        self.symbols.append(symbol)
        self.book_times.add()
        return len(self.symbols) - 1


def places_of(symbol: str, lot: float) -> int:
    """Return the decimal places of a lot, which is a power of ten.

    Examples
    --------
    >>> places_of("BTC-USD", 1e-8), places_of("XBTUSD", 1.0)
    (8, 0)
    """
    exponent = -Decimal(repr(float(lot))).normalize().as_tuple().exponent if lot > 0 else 0  # type: ignore[operator]
    if Decimal(10) ** -exponent != Decimal(repr(float(lot))):
        raise ConfigError(f"the lot of {symbol} must be a power of ten, received {lot!r}; write 1e-8 or 1.0")
    return exponent
