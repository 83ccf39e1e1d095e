"""Trading days of the project's own: seeded, plausible, and nobody's property. The demo and many tests use them.

The same arguments make the same bytes. To keep that so, only the generator's raw uniform numbers are used, and only
additions, products and quotients: numpy may change its distributions, and `exp` differs between processors.
"""

from __future__ import annotations

import datetime
from typing import NamedTuple

import numpy as np

from mdslib import calendar
from mdslib.bars import MINUTE, SECOND, bars_from_trades
from mdslib.errors import ConfigError, DataError
from mdslib.events import Kind, pack_conditions
from mdslib.instruments import parse_instrument
from mdslib.table import Array, MarketData, Table, from_columns, merge

BURST_TRADES = 2_000  # in one second
_TRADES_PER_BURST = 10_000  # a day of 200,000 trades has 20 bursts: a fifth of its trades
_ODD_SHARE = 0.30
_START_TICKS = 60_000  # 600.00
_MOVE = 0.25  # how often the middle moves by a tick
_PULL = 4_000.0  # the larger, the weaker the pull back to the start: standard deviation about 32 ticks
_LETTERS, _LETTER_SHARES = "PQKZDNV", (0.20, 0.22, 0.14, 0.10, 0.24, 0.04, 0.06)
_ROUND_LOTS = (100, 200, 300, 400, 500, 800, 1_000, 1_700, 3_100)
_LOT_SHARES = (0.700, 0.120, 0.060, 0.030, 0.030, 0.015, 0.030, 0.010, 0.005)
_REGULAR, _ODD = pack_conditions(["@"]), pack_conditions(["@", "I"])


def made_day(
    date: str | datetime.date = "2025-06-12", symbol: str = "SPY", trades: int = 200_000, seed: int = 7
) -> Table:
    """Return a day of trades: a rush at the open, a lull at noon, bursts of 2,000 in a second, 30 % odd lots.

    Parameters
    ----------
    date : date or str
        A trading day of the symbol's calendar; half days are made shorter.
    symbol : str
        Part of the seed, so that two symbols of one day differ.
    trades : int
        How many, all in regular hours; at least 1.
    seed : int
        Another seed makes another day.

    Returns
    -------
    Table
        Trades with ns times, prices on the cent around 600, ids that rise from 1, exchange letters, condition ``I`` on
        odd lots.

    Examples
    --------
    >>> day = made_day(trades=1_000)
    >>> len(day), day.equals(made_day(trades=1_000)), day.equals(made_day(trades=1_000, seed=8))
    (1000, True, False)
    """
    session = _session(date, symbol)
    generator = _generator(symbol, session, trades, seed)
    times = _times(generator, session, trades)
    ticks = _middle(generator, trades) + (generator.random(trades) < 0.5)  # at the bid, or a tick above at the ask
    return _trades(generator, times, (_START_TICKS + ticks) / 100.0)


def made_pair(
    date: str | datetime.date = "2025-06-12",
    symbols: tuple[str, str] = ("AAA", "BBB"),
    trades: int = 20_000,
    seed: int = 7,
) -> MarketData:
    """Return a day of two cointegrated instruments: the first follows the second, and strays from it for a while only.

    Parameters
    ----------
    date : date or str
        A trading day.
    symbols : tuple of str
        Names of the two.
    trades : int
        How many of each, at least 1.
    seed : int
        Another seed makes another day.

    Returns
    -------
    MarketData
        One table of trades; ``instrument`` 0 and 1. The difference of the prices has a standard deviation of about
        0.10 around 0 and comes back within some hundred trades.

    Examples
    --------
    >>> made_pair(trades=100)
    MarketData(AAA, BBB: 200 trades; 2025-06-12)
    """
    session = _session(date, symbols[0])
    generator = _generator("/".join(symbols), session, trades, seed)
    common = _middle(generator, 2 * trades)
    # The spread between the two is pulled back ten times as strongly as the price itself.
    spread = _middle(generator, 2 * trades, _PULL / 10)
    times = np.sort(np.concatenate([_times(generator, session, trades), _times(generator, session, trades)]))
    parts = []
    for index, strays in enumerate((spread, np.zeros_like(spread))):
        price = (_START_TICKS + common + strays)[index::2] / 100.0
        part = _trades(generator, times[index::2], price)
        parts.append(part.replace(instrument=np.full(trades, index, "<u2")))
    return MarketData(tuple(parse_instrument(symbol) for symbol in symbols), (merge(parts),), (session,))


def made_bars(
    date: str | datetime.date = "2025-06-12", symbol: str = "SPY", interval: int = MINUTE, seed: int = 7
) -> Table:
    """Return the bars of `made_day`, stamped at their close.

    Examples
    --------
    >>> len(made_bars())
    390
    """
    day = made_day(date, symbol, seed=seed)
    return bars_from_trades(day, interval, origin=_session(date, symbol).open)


class Figures(NamedTuple):
    """What a day of trades is like: counts, the share of odd lots, and rates."""

    trades: int
    odd_share: float
    busiest_second: int
    busy_seconds: int
    busiest_minute: int
    quietest_minute: int
    low: float
    high: float


def figures(table: Table) -> Figures:
    """Measure a day of trades, by whole seconds and minutes; a busy second has 1,500 trades or more."""
    if table.kind != Kind.TRADE or not len(table):
        raise DataError(f"figures: needs trades, received {len(table)} rows of {table.kind.name}")
    start = table["ts_event"][0] // MINUTE * MINUTE
    seconds = np.bincount((table["ts_event"] - start) // SECOND)
    minutes = np.bincount((table["ts_event"] - start) // MINUTE)
    odd = float((table["size"] % 100 != 0).mean())
    price = table["price"]
    busy = int((seconds >= 1_500).sum())
    return Figures(
        len(table), odd, int(seconds.max()), busy, int(minutes.max()), int(minutes.min()), price.min(), price.max()
    )


def describe_made(table: Table) -> str:
    """Return the figures as one line."""
    found = figures(table)
    return (
        f"{found.trades:,} trades, {found.odd_share:.1%} odd lots, {found.busy_seconds} bursts "
        f"(up to {found.busiest_second:,} in a second), {found.quietest_minute:,} to {found.busiest_minute:,} "
        f"a minute, prices {found.low:.2f} to {found.high:.2f}"
    )


def _session(date: str | datetime.date, symbol: str) -> calendar.Session:
    exchange = parse_instrument(symbol).session
    session = calendar.session(date, exchange)
    if session is None:
        raise ConfigError(f"a made day must be a trading day, received {date} ({calendar.why_closed(date, exchange)})")
    return session


def _generator(name: str, session: calendar.Session, trades: int, seed: int) -> np.random.Generator:
    if trades < 1:
        raise ConfigError(f"a made day must have at least 1 trade, received {trades}")
    if seed < 0:
        raise ConfigError(f"a seed must be >= 0, received {seed}")
    return np.random.Generator(np.random.PCG64([seed, session.date.toordinal(), *name.encode()]))


def _times(generator: np.random.Generator, session: calendar.Session, trades: int) -> Array:
    """Return sorted ns times within ``open <= ts < close``, by the day's intensity, with bursts on top."""
    length = session.close - session.open
    bursts = trades // _TRADES_PER_BURST
    # One burst in each of equal parts of the day, beginning on a whole second.
    seconds = ((np.arange(bursts) + generator.random(bursts)) * (length // SECOND - 1) / max(bursts, 1)).astype("<i8")
    starts = seconds * SECOND
    in_bursts = np.repeat(starts, BURST_TRADES) + (generator.random(bursts * BURST_TRADES) * SECOND).astype("<i8")
    share = np.linspace(0.0, 1.0, 391)
    middle = (share[1:] + share[:-1]) / 2
    rush = 5.0 / (1.0 + 20.0 * middle) ** 2
    closing = 3.0 / (1.0 + 25.0 * (1.0 - middle)) ** 2
    lull = 1.0 - 0.6 / (1.0 + (8.0 * (middle - 0.48)) ** 2)  # between noon and one
    reached = np.concatenate([[0.0], np.cumsum(lull + rush + closing)])
    places = np.interp(generator.random(trades - len(in_bursts)) * reached[-1], reached, share)
    offsets = np.minimum((places * length).astype("<i8"), length - 1)
    times: Array = session.open + np.sort(np.concatenate([offsets, in_bursts]))
    return times


def _middle(generator: np.random.Generator, trades: int, pull: float = _PULL) -> Array:
    """Return a random walk in ticks that is pulled back to 0."""
    walk = np.empty(trades, "<i8")
    place = 0
    # Plain Python: each step depends on the last; a day takes a tenth of a second.
    for row, chance in enumerate(generator.random(trades).tolist()):
        if chance < _MOVE:
            place += 1 if chance < _MOVE * (0.5 - place / pull) else -1
        walk[row] = place
    return walk


def _trades(generator: np.random.Generator, times: Array, price: Array) -> Table:
    """Return trades at those times and prices, with sizes, ids, letters and conditions."""
    count = len(times)
    odd = generator.random(count) < _ODD_SHARE
    small = 1 + (99 * generator.random(count)).astype("<i8")  # 1 to 99
    size = np.where(odd, small, np.array(_ROUND_LOTS)[_chosen(generator, count, _LOT_SHARES)])
    letters = np.frombuffer(_LETTERS.encode(), "u1")[_chosen(generator, count, _LETTER_SHARES)]
    return from_columns(
        Kind.TRADE,
        {
            "ts_event": times,
            "price": price,
            "size": size,
            "trade_id": np.arange(1, count + 1),
            "exchange": letters,
            "conditions": np.where(odd, _ODD, _REGULAR).astype("<u4"),
        },
    )


def _chosen(generator: np.random.Generator, count: int, shares: tuple[float, ...]) -> Array:
    """Return indices drawn with the given shares."""
    bounds = np.cumsum(shares)[:-1]
    chosen: Array = np.searchsorted(bounds, generator.random(count), side="right")
    return chosen


__all__ = ["Figures", "describe_made", "figures", "made_bars", "made_day", "made_pair"]
