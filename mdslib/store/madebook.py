"""Made days of order books and their trades: seeded, never crossed, and each trade takes what the book showed.

As in `mdslib.store.made`, the same arguments make the same bytes: raw uniform numbers and whole ticks and lots alone.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

import numpy as np

from mdslib import calendar
from mdslib.errors import ConfigError
from mdslib.events import BookFlag, Kind
from mdslib.instruments import parse_instrument
from mdslib.table import Array, MarketData, Table, from_columns, merge

_START = 9_000_000  # hundredths: 90,000.00
_STEP = 50  # hundredths between two levels
_DEPTH = 20  # levels of a side in the first image
_FEWEST = 5  # levels of a side, below which none is taken away
_SIZE = 100_000  # lots of 1e-9: sizes are whole ten-thousandths of a unit
_LARGEST = 5_000  # ten-thousandths in one level
_TAKES, _IMPROVES, _REMOVES = 0.12, 0.24, 0.34  # up to which chance a message is what
_CONDITIONS = (ord("S"), ord("B"))  # who took: a seller the bid, a buyer the ask
_SPACE = 1_000_000  # ns; times lie on the millisecond, and no two messages of a pair share one

Level = tuple[int, int, int]  # side (1 is ask), price in hundredths, lots that are there now
Print = tuple[int, int, int]  # side taken, price in hundredths, lots


def made_books(
    date: str | datetime.date = "2025-06-12",
    pairs: str | Sequence[str] = ("BTC/USD",),
    messages: int = 20_000,
    seed: int = 7,
    *,
    start: int | None = None,
    end: int | None = None,
) -> MarketData:
    """Return a day of order books and trades of some pairs, as a recorder would have kept it.

    Each book begins with an image of 20 levels a side; what follows adds, changes and takes away levels. About one
    message in eight is an order that takes from the best level, or from several: its trades have the message's time. A
    thinner side is taken more often, so that the imbalance of the best sizes says something of the next move.

    Parameters
    ----------
    date : date or str
        A day of the pairs' calendar.
    pairs : str or sequence of str
        Such as ``BTC/USD``; all of one calendar.
    messages : int
        Book messages of each pair, the image included; at least 1.
    seed : int
        Another seed makes another day.
    start, end : int, optional
        Only this part of the session, ns UTC: ``start <= ts < end``.

    Returns
    -------
    MarketData
        Trades (ids rise from 1, sizes in lots, condition ``B`` or ``S`` says who took) and book deltas; at equal times
        the trades come first. Prices lie on 0.50 around 90,000, sizes on 0.0001.

    Raises
    ------
    ConfigError
        The day is no session, or more messages are asked for than there are milliseconds.

    Examples
    --------
    >>> day = made_books(messages=500)
    >>> day
    MarketData(BTC/USD: 139 trades, 696 book deltas; 2025-06-12)
    >>> float(day.trades["price"][0]), int(day.book_deltas["flags"][0])  # the first row is a CLEAR of a snapshot
    (89999.5, 12)
    """
    names = (pairs,) if isinstance(pairs, str) else tuple(pairs)
    instruments = tuple(parse_instrument(name) for name in names)
    if not instruments or len({instrument.session for instrument in instruments}) > 1:
        raise ConfigError(f"made_books: pairs must be one or more of one calendar, received {pairs!r}")
    session = calendar.session(date, instruments[0].session)
    if session is None:
        raise ConfigError(f"a made day must be a trading day, received {date}")
    first, last = _span(session, start, end, messages)
    if seed < 0:
        raise ConfigError(f"a seed must be >= 0, received {seed}")
    tables: tuple[list[Table], list[Table]] = ([], [])
    for k, (name, instrument) in enumerate(zip(names, instruments, strict=True)):
        generator = np.random.Generator(np.random.PCG64([seed, session.date.toordinal(), *name.encode(), 1]))
        lot = max(1, round(_SIZE * 1e-9 / instrument.lot))
        for kind, made in zip(tables, _made(generator, _times(generator, messages, first, last), lot, k), strict=True):
            kind.append(made)
    return MarketData(instruments, (merge(tables[0]), merge(tables[1])), (session,))


def _span(session: calendar.Session, start: int | None, end: int | None, messages: int) -> tuple[int, int]:
    """Return the checked span of a day, which has room for so many messages."""
    first, last = session.open if start is None else start, session.close if end is None else end
    if not session.open <= first < last <= session.close:
        raise ConfigError(
            f"made_books: start and end must lie in the session, {session.open} to {session.close} ns, received {first}"
            f" to {last}; leave them out for the whole day"
        )
    most = (last - first) // _SPACE
    if not 1 <= messages <= most:
        raise ConfigError(f"made_books: messages must be 1 to {most} in this span, received {messages}")
    return first, last


class _Book:
    """A book in whole hundredths and ten-thousandths of a unit."""

    def __init__(self, chance: Iterator[float]) -> None:
        self.chance = chance
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for place in range(1, _DEPTH + 1):
            for side in (0, 1):
                self.sides[side][_START + _away(side) * place * _STEP] = self.size()

    def size(self) -> int:
        return 1 + int(next(self.chance) * _LARGEST)

    def best(self, side: int) -> int:
        return min(self.sides[1]) if side else max(self.sides[0])

    def put(self, side: int, price: int, size: int) -> Level:
        if size:
            self.sides[side][price] = size
        else:
            del self.sides[side][price]
        return side, price, size

    def image(self) -> list[Level]:
        return [(side, price, size) for side in (0, 1) for price, size in self.sides[side].items()]

    def step(self) -> tuple[list[Level], list[Print]]:
        """Return the levels of the next message, and the trades that it came of."""
        what = next(self.chance)
        if what < _TAKES:
            return self._take()
        side = int(next(self.chance) < 0.5)
        if what < _IMPROVES and self.best(1) - self.best(0) > _STEP:
            # Back towards the start, so that the price does not wander off.
            side = int(self.best(0) + self.best(1) > 2 * _START + int((next(self.chance) - 0.5) * 80 * _STEP))
            steps = (self.best(1) - self.best(0)) // _STEP - 1  # free places; a wide spread closes faster than it opens
            nearer = 1 + int(next(self.chance) * steps / 2)
            return [self.put(side, self.best(side) - _away(side) * nearer * _STEP, self.size())], []
        levels = self.sides[side]
        place = self.best(side) + _away(side) * _STEP * int(next(self.chance) ** 2 * _DEPTH)
        if what < _REMOVES and len(levels) > _FEWEST and place in levels:
            return [self.put(side, place, 0)], []
        changed = [self.put(side, place, self.size())]
        if next(self.chance) < 0.3:  # an order moved from one side's place to the next
            changed.append(self.put(side, place + _away(side) * _STEP, self.size()))
        return changed, []

    def _take(self) -> tuple[list[Level], list[Print]]:
        bid, ask = self.sides[0][self.best(0)], self.sides[1][self.best(1)]
        side = int(next(self.chance) * (bid + ask) < bid)  # the more there is bid, the likelier the ask is taken
        left, changed, prints = max(1, int(next(self.chance) ** 3 * 2 * _LARGEST)), [], []
        while left and len(self.sides[side]) > _FEWEST:
            price = self.best(side)
            taken = min(left, self.sides[side][price])
            prints.append((side, price, taken))
            changed.append(self.put(side, price, self.sides[side][price] - taken))
            left -= taken
        if not prints:  # too few levels to take from: one is added at the far end
            far = max(self.sides[1]) if side else min(self.sides[0])
            changed.append(self.put(side, far + _away(side) * _STEP, self.size()))
        return changed, prints


def _made(generator: np.random.Generator, times: Array, lot: int, instrument: int) -> tuple[Table, Table]:
    """Return one pair's trades and book deltas; `lot` is the instrument's lots in a ten-thousandth."""
    book = _Book(_uniform(generator))
    levels: list[tuple[int, Level]] = [(0, level) for level in book.image()]
    prints: list[tuple[int, Print]] = []
    for row in range(1, len(times)):
        changed, taken = book.step()
        levels += [(row, level) for level in changed]
        prints += [(row, took) for took in taken]
    return _trades(times, prints, lot, instrument), _deltas(times, levels, lot, instrument)


def _times(generator: np.random.Generator, messages: int, first: int, last: int) -> Array:
    """Return rising times on the millisecond, the first of them `first`."""
    spare = (last - first) // _SPACE - messages
    offsets = np.sort((generator.random(messages) * (spare + 1)).astype("<i8")) + np.arange(messages)
    offsets[0] = 0
    times: Array = first + offsets * _SPACE
    return times


def _deltas(times: Array, levels: list[tuple[int, Level]], lot: int, instrument: int) -> Table:
    rows = np.array([(row, *level) for row, level in levels], "<i8")
    message, side, price, size = (np.concatenate([column[:1], column]) for column in rows.T)  # a CLEAR comes first
    flags = side * int(BookFlag.ASK)
    flags[: 2 * _DEPTH + 1] |= int(BookFlag.SNAPSHOT)
    flags[0] = int(BookFlag.CLEAR | BookFlag.SNAPSHOT)
    flags[np.append(message[1:] != message[:-1], True)] |= int(BookFlag.LAST)
    prices = price / 100.0
    prices[0], size[0] = np.nan, 0
    columns = {"ts_event": times[message], "price": prices, "size": size * lot, "flags": flags.astype("u1")}
    return from_columns(Kind.BOOK_DELTA, columns | {"instrument": np.full(len(flags), instrument, "<u2")})


def _trades(times: Array, prints: list[tuple[int, Print]], lot: int, instrument: int) -> Table:
    rows = np.array([(row, *took) for row, took in prints], "<i8").reshape(-1, 4)
    columns = {
        "ts_event": times[rows[:, 0]],
        "price": rows[:, 2] / 100.0,
        "size": rows[:, 3] * lot,
        "trade_id": np.arange(1, len(rows) + 1),
        "conditions": np.array(_CONDITIONS, "<u4")[rows[:, 1]],
        "instrument": np.full(len(rows), instrument, "<u2"),
    }
    return from_columns(Kind.TRADE, columns)


def _uniform(generator: np.random.Generator) -> Iterator[float]:
    while True:
        yield from generator.random(4096).tolist()


def _away(side: int) -> int:
    return 1 if side else -1


__all__ = ["made_books"]
