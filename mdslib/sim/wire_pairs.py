"""How this exchange writes the market events of crypto pairs: Alpaca's ``/v1beta3/crypto/us``, JSON and msgpack.

Sizes are units there and may have nine decimals; JSON carries them exactly, msgpack as floats. Trades have neither
exchange nor conditions, but say who took. Source: Alpaca, "Real-time Crypto Data".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy.typing as npt

from mdslib.events import BookFlag, Kind, unpack_conditions
from mdslib.instruments import Instrument
from mdslib.sim.wire import MINUTE, Texts, stamps
from mdslib.sim.wire_msgpack import TIMESTAMP, pack_stamp
from mdslib.table import Table

Array = npt.NDArray[Any]
Message = dict[str, Any]
_json = msgspec.json.Encoder(decimal_format="number")


class PairWriter:
    """Writes events of some pairs.

    Parameters
    ----------
    instruments : sequence of Instrument
        By instrument index.
    """

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self.symbols = [instrument.symbol for instrument in instruments]
        self._exact: list[Texts[Any]] = [Texts(_units(instrument.lot)) for instrument in instruments]
        self._float: list[Texts[Any]] = [Texts(_float_units(instrument.lot)) for instrument in instruments]

    def texts(self, table: Table, spans: Sequence[tuple[int, int]]) -> list[str]:
        """Return each span of rows (one row, or the rows of one book message) as a JSON object."""
        stamped = stamps(_times(table, spans))
        return [_json.encode(message).decode() for message in self._messages(table, spans, self._exact, stamped)]

    def packed(self, table: Table, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return each span of rows as a msgpack map."""
        stamped = [msgspec.msgpack.Ext(TIMESTAMP, pack_stamp(ts)) for ts in _times(table, spans).tolist()]
        return [msgspec.msgpack.encode(message) for message in self._messages(table, spans, self._float, stamped)]

    def _messages(
        self, table: Table, spans: Sequence[tuple[int, int]], units: Sequence[Texts[Any]], times: Sequence[Any]
    ) -> Iterator[Message]:
        write = _WRITERS[table.kind]
        columns = {name: table[name] for name in table.columns}
        for (first, stop), time in zip(spans, times, strict=True):
            k = int(columns["instrument"][first])
            yield {"T": _LETTERS[table.kind], "S": self.symbols[k], **write(columns, first, stop, units[k]), "t": time}


def _units(lot: float) -> Callable[[int], Decimal]:
    step = Decimal(repr(lot))
    return lambda size: (size * step).normalize()


def _float_units(lot: float) -> Callable[[int], float]:
    exact = _units(lot)
    return lambda size: float(exact(size))


def _times(table: Table, spans: Sequence[tuple[int, int]]) -> Array:
    times: Array = table["ts_event"][[first for first, _ in spans]]
    return times - MINUTE if table.kind is Kind.BAR else times  # venue bars are stamped at their start


def _price(value: float) -> float:
    return value if value == value else 0.0  # 0 is Alpaca's sign of a side that is missing


def _trade(c: dict[str, Array], row: int, _stop: int, units: Texts[Any]) -> Message:
    taker = unpack_conditions(int(c["conditions"][row]))[:1]
    told = {"i": int(c["trade_id"][row]), "p": float(c["price"][row]), "s": units[int(c["size"][row])]}
    return told | ({"tks": taker[0]} if taker in (["B"], ["S"]) else {})


def _quote(c: dict[str, Array], row: int, _stop: int, units: Texts[Any]) -> Message:
    bid, ask = _price(float(c["bid"][row])), _price(float(c["ask"][row]))
    return {"bp": bid, "bs": units[int(c["bid_size"][row])], "ap": ask, "as": units[int(c["ask_size"][row])]}


def _bar(c: dict[str, Array], row: int, _stop: int, units: Texts[Any]) -> Message:
    told: Message = {letter: float(c[name][row]) for letter, name in zip("ohlc", _OHLC, strict=True)}
    told |= {"v": units[int(c["volume"][row])], "n": int(c["trades"][row])}
    vwap = float(c["vwap"][row])
    return told | ({"vw": vwap} if vwap == vwap else {})


def _book(c: dict[str, Array], first: int, stop: int, units: Texts[Any]) -> Message:
    flags = c["flags"][first:stop].tolist()
    sides: tuple[list[Message], list[Message]] = ([], [])
    prices, sizes = c["price"][first:stop].tolist(), c["size"][first:stop].tolist()
    for flag, price, size in zip(flags, prices, sizes, strict=True):
        if not flag & BookFlag.CLEAR:
            sides[flag & BookFlag.ASK].append({"p": price, "s": units[size]})
    return {"b": sides[0], "a": sides[1]} | ({"r": True} if flags[0] & BookFlag.CLEAR else {})


_OHLC = ("open", "high", "low", "close")
_LETTERS = {Kind.TRADE: "t", Kind.QUOTE: "q", Kind.BAR: "b", Kind.BOOK_DELTA: "o"}
_WRITERS: dict[Kind, Callable[[dict[str, Array], int, int, Texts[Any]], Message]] = {
    Kind.TRADE: _trade,
    Kind.QUOTE: _quote,
    Kind.BAR: _bar,
    Kind.BOOK_DELTA: _book,
}
