"""Instruments: what can be traded, its price grid, its lot, its currency and its trading hours."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from mdslib.errors import ConfigError

_EXACT = 2.0**53  # from here on every float is a whole number
_FRACTION = 1e-9  # units: Alpaca takes quantities of up to nine decimals
UNTOLD_TICK = 1e-9  # of a pair whose price step nobody has told: finer than any venue's
# Smallest size steps by which the venues' sizes are counted; where they trade, every day is a session.
CRYPTO_LOTS = {"bitfinex": 1e-8, "bitmex": 1.0, "coinbase": 1e-8, "kraken": 1e-8}
_CONTRACTS = ("bitmex",)  # where sizes count contracts, whose worth is not quantity times price
_CODE = re.compile("[A-Z0-9]{2,}")


class Steps(NamedTuple):
    """The grid that an order must lie on.

    Attributes
    ----------
    tick, subtick : float
        Step of a limit price of 1.00 and more, and of one below, in the instrument's currency.
    lot, fraction : float
        Step of a quantity, in units: of GTC and IOC orders, and of DAY orders.
    """

    tick: float
    subtick: float
    lot: float
    fraction: float


def on_grid(value: float, step: float) -> bool:
    """Tell whether a number is a multiple of a step, to a millionth of the step and what a float can hold.

    Examples
    --------
    >>> on_grid(0.1 + 0.2, 0.01), on_grid(145.321, 0.01), on_grid(12345.678901234, 1e-9)
    (True, False, True)
    """
    steps = value / step
    if not abs(steps) < _EXACT:
        return steps == steps
    return abs(steps - math.floor(steps + 0.5)) < 1e-6 + 5e-16 * abs(steps)


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
        Smallest price step, in `currency`; a stock in USD has a hundredth of it below 1.00 (US rule 612).
    lot : float
        Smallest size step, in units; market sizes are integer counts of it, and so are orders' quantities.
    currency : str
        Code of the price's currency, as the venue writes it; empty where nobody has told it.
    session : str
        Name of its trading calendar: ``NYSE``, or ``24/7``.
    shortable : bool
        Whether the venue lets it be sold short.
    fractionable : bool
        Whether the venue takes fractions of a lot, to nine decimals, in DAY orders.

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
        text = self.symbol if isinstance(self.symbol, str) else ""
        if not text or not text.isascii() or not text.isprintable() or " " in text:
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

    @property
    def steps(self) -> Steps:
        """The grid of its orders' prices and quantities. Source: alpaca.markets, Placing Orders; Fractional Trading.

        Examples
        --------
        >>> Instrument("SPY", fractionable=True).steps
        Steps(tick=0.01, subtick=0.0001, lot=1.0, fraction=1e-09)
        """
        stock = self.currency == "USD" and self.session != "24/7"
        return Steps(
            tick=self.tick,
            subtick=self.tick / 100.0 if stock else self.tick,
            lot=self.lot,
            fraction=min(_FRACTION, self.lot) if self.fractionable else self.lot,
        )

    @property
    def is_pair(self) -> bool:
        """Whether it is a pair such as ``BTC/USD``, for which Alpaca has a stream and rules of its own."""
        return "/" in self.symbol

    def on_tick(self, price: float) -> bool:
        """Tell whether a price lies on the tick grid, to a millionth of a tick."""
        steps = self.steps
        return on_grid(price, steps.tick if price >= 1.0 else steps.subtick)


def parse_instrument(text: str | Instrument) -> Instrument:
    """Return the instrument that ``SYMBOL`` or ``venue:SYMBOL`` names.

    A symbol with a slash is a crypto pair: 24/7, fractions of a hundred-millionth; so is every symbol of a crypto
    venue, where BitMEX counts in contracts. What is written before the first colon is the venue.

    Examples
    --------
    >>> parse_instrument("SPY").id
    'alpaca:SPY'
    >>> parse_instrument("alpaca:BTC/USD").session
    '24/7'
    >>> pair = parse_instrument("bitfinex:tTESTBTC:TESTUSD")
    >>> pair.venue, pair.symbol, pair.lot, pair.session
    ('bitfinex', 'tTESTBTC:TESTUSD', 1e-08, '24/7')
    """
    if isinstance(text, Instrument):
        return text
    if not isinstance(text, str):
        raise ConfigError(f"an instrument must be a symbol or an Instrument, received {text!r}; write it like 'SPY'")
    head, _, tail = text.partition(":")
    if tail and head in CRYPTO_LOTS:
        paid, lot = quote_currency(head, tail), CRYPTO_LOTS[head]
        return Instrument(tail, head, UNTOLD_TICK, lot, paid, "24/7", shortable=False, fractionable=True)
    venue, _, symbol = text.rpartition(":")
    if "/" in symbol:
        paid = quote_currency(venue, symbol)
        return Instrument(
            symbol, venue or "alpaca", UNTOLD_TICK, 1e-9, paid, "24/7", shortable=False, fractionable=True
        )
    return Instrument(symbol.upper() if not venue else symbol, venue or "alpaca")


def quote_currency(venue: str, symbol: str) -> str:
    """Return the currency that a pair's price is in, where the form of the symbol tells it; else nothing.

    Examples
    --------
    >>> quote_currency("coinbase", "BTC-EUR"), quote_currency("kraken", "XBT/USD"), quote_currency("bitmex", "XBTUSD")
    ('EUR', 'USD', '')
    >>> quote_currency("bitfinex", "tBTCUSD"), quote_currency("bitfinex", "tDUSK:USD")
    ('USD', 'USD')
    """
    quote = ""
    if "/" in symbol:
        quote = symbol.partition("/")[2]
    elif venue == "coinbase":
        quote = symbol.partition("-")[2]
    elif venue == "bitfinex" and symbol.startswith("t"):
        quote = symbol.partition(":")[2] if ":" in symbol else symbol[4:] if len(symbol) == 7 else ""
    return quote if _CODE.fullmatch(quote) else ""


def check_linear(where: str, instruments: Iterable[Instrument]) -> None:
    """Refuse what an account can't reckon: it takes a position for quantity times price in one currency.

    Parameters
    ----------
    where : str
        What wants to trade them, for the message.
    instruments : iterable of Instrument
        What would be traded.

    Raises
    ------
    ConfigError
        One of them is a contract, such as BitMEX's XBTUSD: one is worth 1 USD, and is paid in bitcoin.
    """
    for instrument in instruments:
        if instrument.venue in _CONTRACTS:
            raise ConfigError(
                f"{where}: an instrument must be worth quantity times price, received {instrument.id}, which"
                f" {instrument.venue} counts in contracts; its data can be loaded and looked at, and not traded"
            )
