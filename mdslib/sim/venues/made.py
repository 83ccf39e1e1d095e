"""Made market data in each venue's own words: a capture for demos, benchmarks, and where no recorded one is at hand."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from mdslib.errors import ConfigError, did_you_mean
from mdslib.feeds.kraken import checksum, digits
from mdslib.feeds.rfc3339 import from_ns
from mdslib.feeds.wire_book import WireBook
from mdslib.sim.venues.side import text

_START = 1_795_219_200_000_000_000  # 2026-11-21T00:00:00Z
MADE_STEP = 1_000_000  # ns from one message to the next
_LEVELS = 40  # of each side of the first image
_TRADES = 20  # one message of so many is a trade
_TICK = 0.5


class Step(NamedTuple):
    """One change: side 0 is bids; size 0 deletes; sizes in whole units of the venue's liking."""

    side: int
    price: float
    size: int


class _Walk:
    """A book whose best prices wander and never cross."""

    def __init__(self, chance: random.Random, middle: float) -> None:
        self.chance = chance
        self.trades = 0
        self.sides: tuple[dict[float, int], dict[float, int]] = ({}, {})
        for place in range(1, _LEVELS + 1):
            self.sides[0][middle - place * _TICK] = chance.randint(1, 900)
            self.sides[1][middle + place * _TICK] = chance.randint(1, 900)

    def best(self, side: int) -> float:
        return min(self.sides[1]) if side else max(self.sides[0])

    def step(self) -> Step:
        side = self.chance.randrange(2)
        levels, sign = self.sides[side], 1 if side else -1
        if len(levels) > _LEVELS and self.chance.random() < 0.6:
            price = self.best(side) if self.chance.random() < 0.3 else self.chance.choice(sorted(levels))
            del levels[price]
            return Step(side, price, 0)
        # A bid is not below a tick, however long the market wanders.
        price = max(_TICK, self.best(side) + sign * _TICK * self.chance.randint(-1, 20))
        if (price - self.best(1 - side)) * sign <= 0:
            price = self.best(side)
        levels[price] = self.chance.randint(1, 900)
        return Step(side, price, levels[price])


class Maker(NamedTuple):
    """How a venue writes an image, a change and a trade of a pair; times are ns UTC."""

    opening: Callable[[Sequence[str]], list[str]]
    image: Callable[[str, _Walk, int], str]
    change: Callable[[str, Step, _Walk, int], str]
    trade: Callable[[str, Step, int, int], str]


def made_capture(
    venue: str, pairs: Sequence[str], frames: int | None, seed: int = 0, clock: Callable[[], int] | None = None
) -> Iterator[str]:
    """Yield the lines of a made capture, which is the same for the same arguments but for a clock's times.

    Parameters
    ----------
    venue : str
        A key of `MAKERS`.
    pairs : sequence of str
        The venue's symbols.
    frames : int or None
        Changes and trades after the images, spread over the pairs; 1 ms apart. None makes them without end.
    seed : int
        Of the chance.
    clock : callable, optional
        Tells the time of each message when it is made, ns UTC, in place of a day of its own at 1 ms a message.

    Raises
    ------
    ConfigError
        If there is no such venue.

    Examples
    --------
    >>> next(made_capture("coinbase", ["BTC-USD"], 1))[:48]
    '1795219200.000000: {"type":"snapshot","product_i'
    """
    if venue not in MAKERS:
        raise ConfigError(f"no market can be made for {venue!r}. {did_you_mean(venue, MAKERS)}")
    maker, chance, time = MAKERS[venue], random.Random(seed), _START if clock is None else clock()
    walks = {pair: _Walk(chance, 100.0 * (place % 50 + 1)) for place, pair in enumerate(pairs)}
    begins = [*maker.opening(pairs), *(maker.image(pair, walk, time) for pair, walk in walks.items())]
    for place, frame in enumerate(begins):
        yield f"{time / 1e9:.6f}: {_numbered(frame, place)}"
    for number in itertools.count() if frames is None else range(frames):
        time = time + MADE_STEP if clock is None else max(time, clock())
        pair = chance.choice(list(pairs))
        walk = walks[pair]
        if number % _TRADES == _TRADES - 1:
            side = chance.randrange(2)
            walk.trades += 1
            frame = maker.trade(pair, Step(side, walk.best(side), chance.randint(1, 99)), walk.trades, time)
        else:
            frame = maker.change(pair, walk.step(), walk, time)
        yield f"{time / 1e9:.6f}: {_numbered(frame, len(begins) + number)}"


def _numbered(frame: str, number: int) -> str:
    """Give a frame of Coinbase Advanced its number on the connection; others have none."""
    return frame.replace('"sequence_num":0', f'"sequence_num":{number}', 1)


def _size(size: int) -> str:
    return f"{size / 100:.8f}"


def _none(pairs: Sequence[str]) -> list[str]:
    return []


# ------------------------------------------------------------ Coinbase


def _coinbase_image(pair: str, walk: _Walk, time: int) -> str:
    bids, asks = ([[f"{price:.2f}", _size(size)] for price, size in side.items()] for side in walk.sides)
    return text({"type": "snapshot", "product_id": pair, "bids": bids, "asks": asks})


def _coinbase_change(pair: str, step: Step, walk: _Walk, time: int) -> str:
    change = ["sell" if step.side else "buy", f"{step.price:.2f}", _size(step.size)]
    return text({"type": "l2update", "product_id": pair, "changes": [change], "time": from_ns(time)})


def _coinbase_trade(pair: str, step: Step, number: int, time: int) -> str:
    side = "sell" if step.side else "buy"
    told = {"type": "match", "trade_id": number, "maker_order_id": "m", "taker_order_id": "t"}
    sizes = {"side": side, "size": _size(step.size), "price": f"{step.price:.2f}", "product_id": pair}
    return text(told | sizes | {"sequence": number, "time": from_ns(time)})


# ------------------------------------------------------------ Kraken


def _kraken_row(price: float, size: int, time: int) -> list[str]:
    return [f"{price:.5f}", _size(size), f"{time / 1e9:.6f}"]


def _kraken_image(pair: str, walk: _Walk, time: int) -> str:
    bids, asks = ([_kraken_row(price, size, time) for price, size in side.items()] for side in walk.sides)
    return text([336, {"as": asks, "bs": bids}, "book-1000", pair])


def _kraken_checksum(walk: _Walk, places: int) -> int:
    """Return the checksum of a walk's book, whose prices are written with so many decimals."""
    book = WireBook()
    for side, levels in enumerate(walk.sides):
        for price in sorted(levels, reverse=not side)[:10]:
            book.put(side, price, digits(f"{price:.{places}f}") + digits(_size(levels[price])))
    return checksum(book)


def _kraken_change(pair: str, step: Step, walk: _Walk, time: int) -> str:
    rows = {"a" if step.side else "b": [_kraken_row(step.price, step.size, time)], "c": str(_kraken_checksum(walk, 5))}
    return text([336, rows, "book-1000", pair])


def _kraken_trade(pair: str, step: Step, number: int, time: int) -> str:
    row = [*_kraken_row(step.price, step.size, time), "b" if step.side else "s", "m", ""]
    return text([337, [row], "trade", pair])


# ------------------------------------------------------------ Coinbase Advanced Trade


def _advanced(channel: str, event: dict[str, object], time: int) -> str:
    return text({"channel": channel, "client_id": "", "timestamp": from_ns(time), "sequence_num": 0, "events": [event]})


def _advanced_row(side: int, price: float, size: int, time: int) -> dict[str, str]:
    row = {"side": "offer" if side else "bid", "event_time": from_ns(time)}
    return row | {"price_level": f"{price:.2f}", "new_quantity": _size(size)}


def _advanced_image(pair: str, walk: _Walk, time: int) -> str:
    rows = [_advanced_row(side, *level, time) for side, levels in enumerate(walk.sides) for level in levels.items()]
    return _advanced("l2_data", {"type": "snapshot", "product_id": pair, "updates": rows}, time)


def _advanced_change(pair: str, step: Step, walk: _Walk, time: int) -> str:
    return _advanced("l2_data", {"type": "update", "product_id": pair, "updates": [_advanced_row(*step, time)]}, time)


def _advanced_trade(pair: str, step: Step, number: int, time: int) -> str:
    trade = {"trade_id": str(number), "product_id": pair, "price": f"{step.price:.2f}", "size": _size(step.size)}
    side = {"side": "BUY" if step.side else "SELL", "time": from_ns(time)}
    return _advanced("market_trades", {"type": "update", "trades": [trade | side]}, time)


# ------------------------------------------------------------ Kraken v2


def _v2_opening(pairs: Sequence[str]) -> list[str]:
    told = {"channel": "book", "depth": 1000, "snapshot": True}
    return [text({"method": "subscribe", "result": told | {"symbol": pair}, "success": True}) for pair in pairs]


def _v2_rows(levels: Iterable[tuple[float, int]]) -> str:
    return ",".join(f'{{"price":{price:.1f},"qty":{_size(size)}}}' for price, size in levels)


def _v2_book(kind: str, pair: str, bids: str, asks: str, walk: _Walk, time: int) -> str:
    told = f'"symbol":"{pair}","bids":[{bids}],"asks":[{asks}],"checksum":{_kraken_checksum(walk, 1)}'
    return f'{{"channel":"book","type":"{kind}","data":[{{{told},"timestamp":"{from_ns(time)}"}}]}}'


def _v2_image(pair: str, walk: _Walk, time: int) -> str:
    bids, asks = (_v2_rows(side.items()) for side in walk.sides)
    return _v2_book("snapshot", pair, bids, asks, walk, time)


def _v2_change(pair: str, step: Step, walk: _Walk, time: int) -> str:
    row = _v2_rows([(step.price, step.size)])
    return _v2_book("update", pair, "" if step.side else row, row if step.side else "", walk, time)


def _v2_trade(pair: str, step: Step, number: int, time: int) -> str:
    told = (
        f'"symbol":"{pair}","side":"{"buy" if step.side else "sell"}","price":{step.price:.1f},"qty":{_size(step.size)}'
    )
    told += f',"ord_type":"market","trade_id":{number},"timestamp":"{from_ns(time)}"'
    return f'{{"channel":"trade","type":"update","data":[{{{told}}}]}}'


# ------------------------------------------------------------ Bitfinex


def _bitfinex_opening(pairs: Sequence[str]) -> list[str]:
    told = [text({"event": "info", "version": 2, "platform": {"status": 1}})]
    for pair in pairs:
        for channel, number in (("book", _chan(pair, 0)), ("trades", _chan(pair, 1))):
            more = {"prec": "P0", "freq": "F0", "len": "250"} if channel == "book" else {}
            told.append(text({"event": "subscribed", "channel": channel, "chanId": number, "symbol": pair, **more}))
    return told


def _chan(pair: str, channel: int) -> int:
    return 2 * int.from_bytes(pair.encode()[-5:], "big") + channel


def _bitfinex_row(side: int, price: float, size: int) -> str:
    sign = "-" if side else ""
    return f"[{price:g},{1 if size else 0},{sign}{size / 100 if size else 1:g}]"


def _bitfinex_image(pair: str, walk: _Walk, time: int) -> str:
    rows = [_bitfinex_row(side, *level) for side, levels in enumerate(walk.sides) for level in levels.items()]
    return f"[{_chan(pair, 0)},[{','.join(rows)}]]"


def _bitfinex_change(pair: str, step: Step, walk: _Walk, time: int) -> str:
    return f"[{_chan(pair, 0)},{_bitfinex_row(*step)}]"


def _bitfinex_trade(pair: str, step: Step, number: int, time: int) -> str:
    sign = "" if step.side else "-"
    return f'[{_chan(pair, 1)},"te",[{number},{time // 1_000_000},{sign}{step.size / 100:g},{step.price:g}]]'


# ------------------------------------------------------------ BitMEX


def _bitmex_row(pair: str, side: int, price: float, size: int) -> dict[str, object]:
    row: dict[str, object] = {"symbol": pair, "id": int(price * 2) * 2 + side, "side": "Sell" if side else "Buy"}
    return row | ({"size": size} if size else {}) | {"price": price}


def _bitmex_image(pair: str, walk: _Walk, time: int) -> str:
    rows = [_bitmex_row(pair, side, *level) for side, levels in enumerate(walk.sides) for level in levels.items()]
    return text({"table": "orderBookL2", "action": "partial", "filter": {"symbol": pair}, "data": rows})


def _bitmex_change(pair: str, step: Step, walk: _Walk, time: int) -> str:
    # An insert may replace a level: real ones say `update` then, which reads alike.
    row = _bitmex_row(pair, *step) | {"timestamp": from_ns(time)}
    return text({"table": "orderBookL2", "action": "insert" if step.size else "delete", "data": [row]})


def _bitmex_trade(pair: str, step: Step, number: int, time: int) -> str:
    row = {"timestamp": from_ns(time), "symbol": pair, "side": "Buy" if step.side else "Sell", "size": step.size}
    more = {"price": step.price, "trdMatchID": f"{number:016x}{0:016x}"}
    return text({"table": "trade", "action": "insert", "data": [row | more]})


MAKERS = {
    "coinbase": Maker(_none, _coinbase_image, _coinbase_change, _coinbase_trade),
    "coinbase-advanced": Maker(_none, _advanced_image, _advanced_change, _advanced_trade),
    "kraken": Maker(_none, _kraken_image, _kraken_change, _kraken_trade),
    "kraken-v2": Maker(_v2_opening, _v2_image, _v2_change, _v2_trade),
    "bitfinex": Maker(_bitfinex_opening, _bitfinex_image, _bitfinex_change, _bitfinex_trade),
    "bitmex": Maker(_none, _bitmex_image, _bitmex_change, _bitmex_trade),
}
