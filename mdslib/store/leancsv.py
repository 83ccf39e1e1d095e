"""Decode QuantConnect Lean's CSV: bytes in, tables out; no files here.

Prices are ten-thousandths. Times of tick, second and minute files are milliseconds of New York's wall clock since
midnight, and stamp the **start** of a bar; daily and hourly files write ``YYYYMMDD HH:MM``. There is no header. Rows
keep the file's order and are never de-duplicated: equal rows are real trades.

Source: the readme files of Lean's repository, ``Data/equity/readme.md``, and the files themselves.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.csv

from mdslib import calendar
from mdslib.bars import HOUR, MINUTE, SECOND, close_stamped
from mdslib.errors import DataError
from mdslib.events import Kind
from mdslib.table import Array, Table, from_columns

NEW_YORK = ZoneInfo("America/New_York")
_DAY_MS = 86_400_000
_PRICE_SCALE = 10_000.0
_INT = re.compile(r"-?\d{1,18}")
_HEX = re.compile(r"[0-9A-Fa-f]{1,8}")
_LETTER = re.compile(r"[A-Za-z]?")
_MOMENT = re.compile(r"\d{8} \d{2}:\d{2}")

_RULES = {"int": _INT, "hex": _HEX, "letter": _LETTER, "moment": _MOMENT}
_OHLC = ("open", "high", "low", "close")
_TRADE = {"ms": "int", "price": "int", "size": "int", "exchange": "letter", "conditions": "hex", "suspicious": "int"}
_QUOTE = {
    "ms": "int",
    "bid": "int",
    "bid_size": "int",
    "ask": "int",
    "ask_size": "int",
    "exchange": "letter",
    "conditions": "hex",
    "suspicious": "int",
}
_BAR = {"ms": "int"} | dict.fromkeys((*_OHLC, "volume"), "int")
_QUOTE_BAR = {"ms": "int"} | dict.fromkeys(
    (*(f"bid_{name}" for name in _OHLC), "bid_size", *(f"ask_{name}" for name in _OHLC), "ask_size"), "int"
)
_LONG_BAR = {"moment": "moment"} | dict.fromkeys((*_OHLC, "volume"), "int")


class Decoded(NamedTuple):
    """What a file held: its rows, and how many the recorder flagged as suspicious (they are kept)."""

    table: Table
    suspicious: int


def decode_trades(text: bytes, date: datetime.date, where: str) -> Decoded:
    """Return the trades of a tick file.

    Parameters
    ----------
    text : bytes
        The CSV.
    date : date
        The trading day in New York.
    where : str
        The file's name, for messages.

    Raises
    ------
    DataError
        It names the file, the line, the rule and what was received.

    Examples
    --------
    >>> decoded = decode_trades(b"34200000,1656600,200,P,1,0", datetime.date(2013, 10, 8), "x.zip")
    >>> decoded.table["price"].tolist(), decoded.table["ts_event"].tolist()
    ([165.66], [1381239000000000000])
    """
    rows = _parse(text, _TRADE, where)
    _require(rows["price"] > 0, "price must be > 0", rows["price"], where)
    _require(rows["size"] >= 0, "size must be >= 0", rows["size"], where)
    table = from_columns(
        Kind.TRADE,
        {
            "ts_event": _from_ms(rows["ms"], date, where),
            "price": rows["price"] / _PRICE_SCALE,
            "size": rows["size"],
            "exchange": rows["exchange"],
            "conditions": rows["conditions"],
        },
    )
    return Decoded(table, int((rows["suspicious"] != 0).sum()))


def decode_quotes(text: bytes, date: datetime.date, where: str) -> Decoded:
    """Return the quotes of a tick file, one for each row.

    A row tells one side of the national best bid and offer (the other side is 0, 0) and the exchange that it is at. The
    other side is carried forward from the last row that told it, whatever its exchange; before there was one it is nan
    with size 0. (Carried forward by exchange, BAC's quotes of 2013-10-07 would be crossed for 3 % of the rows, with
    sides minutes old; carried forward like this, never.) The letter of the exchange is not kept.

    Examples
    --------
    >>> decoded = decode_quotes(b"34200000,138600,300,0,0,N,1,0", datetime.date(2013, 10, 8), "x.zip")
    >>> decoded.table["bid"].tolist(), decoded.table["ask"].tolist()
    ([13.86], [nan])
    """
    rows = _parse(text, _QUOTE, where)
    told = (rows["bid"] != 0) | (rows["ask"] != 0)
    _require(told, "a row must tell a bid or an ask", rows["bid"], where)
    columns: dict[str, Array] = {"ts_event": _from_ms(rows["ms"], date, where)}
    for side in ("bid", "ask"):
        _require(rows[side] >= 0, f"{side} must be >= 0", rows[side], where)
        _require(rows[f"{side}_size"] >= 0, f"{side} size must be >= 0", rows[f"{side}_size"], where)
        columns[side], columns[f"{side}_size"] = _carried_forward(rows[side], rows[f"{side}_size"])
    return Decoded(from_columns(Kind.QUOTE, columns), int((rows["suspicious"] != 0).sum()))


def _carried_forward(price: Array, size: Array) -> tuple[Array, Array]:
    """Return each row's last told price and size; nan and 0 before the first."""
    told = np.maximum.accumulate(np.where(price != 0, np.arange(len(price)), -1))
    known = told >= 0
    last = np.maximum(told, 0)
    return np.where(known, price[last] / _PRICE_SCALE, np.nan), np.where(known, size[last], 0)


def decode_bars(text: bytes, date: datetime.date, where: str, interval: int) -> Decoded:
    """Return the bars of a second or minute file, stamped at their close (the file stamps their start)."""
    rows = _parse(text, _BAR, where)
    return Decoded(close_stamped(_bar_columns(rows, _from_ms(rows["ms"], date, where), where), interval), 0)


def decode_quote_bars(text: bytes, date: datetime.date, where: str, interval: int) -> Decoded:
    """Return quotes sampled at the end of each second or minute: a quote bar's closing bid and ask, and last sizes."""
    rows = _parse(text, _QUOTE_BAR, where)
    columns = {"ts_event": _from_ms(rows["ms"], date, where) + interval}
    for side in ("bid", "ask"):
        price = rows[f"{side}_close"]
        _require(price >= 0, f"{side} must be >= 0", price, where)
        columns[side] = np.where(price > 0, price / _PRICE_SCALE, np.nan)
        columns[f"{side}_size"] = np.where(price > 0, rows[f"{side}_size"], 0)
    return Decoded(from_columns(Kind.QUOTE, columns), 0)


def decode_hours(text: bytes, where: str) -> Decoded:
    """Return hourly bars of any years, stamped at their close: the hour's end."""
    rows = _parse(text, _LONG_BAR, where)
    cache: dict[str, int] = {}
    starts = np.array([_moment(text, cache, where) for text in rows["moment"]], "<i8")
    _check_rising(starts, where)
    return Decoded(close_stamped(_bar_columns(rows, starts, where), HOUR), 0)


def decode_days(text: bytes, where: str, exchange: str = "NYSE") -> Decoded:
    """Return daily bars of any years, stamped at the session's close (13:00 New York on a half day)."""
    rows = _parse(text, _LONG_BAR, where)
    closes = np.empty(len(rows["moment"]), "<i8")
    for line, moment in enumerate(rows["moment"]):
        date = _date(moment, where)
        session = calendar.session(date, exchange)
        if session is None:
            reason = calendar.why_closed(date, exchange)
            raise DataError(
                f"{where}, line {line + 1}: a daily bar must be of a day on which {exchange} trades, received {date} "
                f"({reason}); remove the line"
            )
        closes[line] = session.close
    _check_rising(closes, where)
    return Decoded(_bar_columns(rows, closes, where), 0)


def _bar_columns(rows: dict[str, Any], times: Array, where: str) -> Table:
    for name in _OHLC:
        _require(rows[name] > 0, f"{name} must be > 0", rows[name], where)
    _require(rows["high"] >= rows["low"], "high must be >= low", rows["high"], where)
    _require(rows["volume"] >= 0, "volume must be >= 0", rows["volume"], where)
    prices = {name: rows[name] / _PRICE_SCALE for name in _OHLC}
    return from_columns(Kind.BAR, {"ts_event": times, "volume": rows["volume"], **prices})


def _parse(text: bytes, columns: dict[str, str], where: str) -> dict[str, Any]:
    """Return the columns of a CSV; anything odd is looked for line by line, so that the message can name it."""
    types = {name: pa.int64() if rule == "int" else pa.string() for name, rule in columns.items()}
    by_code = pa.dictionary(pa.int32(), pa.string())  # few values, many rows
    coded = {name: by_code for name, rule in columns.items() if rule in ("hex", "letter")}
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(text),
            read_options=pyarrow.csv.ReadOptions(column_names=list(columns), block_size=4 << 20),
            convert_options=pyarrow.csv.ConvertOptions(column_types=types | coded, strings_can_be_null=False),
            parse_options=pyarrow.csv.ParseOptions(quote_char=False),
        )
        if any(column.null_count for column in table.columns):
            raise _bad_line(text, columns, where, "an empty field")
        return {name: _values(table[name], rule) for name, rule in columns.items()}
    except (pa.ArrowException, ValueError, TypeError) as error:  # TypeError: ord() of two letters
        raise _bad_line(text, columns, where, str(error)) from None


def _values(column: pa.ChunkedArray, rule: str) -> Any:
    if rule == "int":
        return column.to_numpy()
    if rule == "moment":
        return column.to_pylist()
    unified = column.unify_dictionaries().combine_chunks()
    if isinstance(unified, pa.ChunkedArray):
        unified = unified.chunk(0)
    convert: Callable[[str], int] = (lambda text: int(text, 16)) if rule == "hex" else (lambda text: ord(text or "\0"))
    codes = np.array([convert(text) for text in unified.dictionary.to_pylist()], "<u4")
    return codes[unified.indices.to_numpy()].astype("<u4" if rule == "hex" else "u1")


def _bad_line(text: bytes, columns: dict[str, str], where: str, reason: str) -> DataError:
    """Find the first line that breaks a rule."""
    remedy = "get the file anew, or remove the line"
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
        fields = line.split(",")
        if len(fields) != len(columns):
            rule = f"a line must have {len(columns)} fields ({', '.join(columns)})"
            return DataError(f"{where}, line {number}: {rule}, received {len(fields)}: {line[:60]!r}; {remedy}")
        for value, (name, kind) in zip(fields, columns.items(), strict=True):
            if not _RULES[kind].fullmatch(value):
                rule = f"{name} must be {_WORDS[kind]}"
                return DataError(f"{where}, line {number}: {rule}, received {value[:40]!r}; {remedy}")
    return DataError(f"{where}: must be Lean's CSV without a header, received: {reason}; {remedy}")


_WORDS = {"int": "a whole number", "hex": "hexadecimal", "letter": "one letter", "moment": "YYYYMMDD HH:MM"}


def _require(good: Array, rule: str, values: Array, where: str) -> None:
    if not bool(good.all()):
        row = int(np.argmin(good))
        raise DataError(f"{where}, line {row + 1}: {rule}, received {values[row]}; remove it or get the file anew")


def _check_rising(times: Array, where: str) -> None:
    falls = times[1:] < times[:-1]
    if bool(falls.any()):
        row = int(np.argmax(falls)) + 1
        raise DataError(
            f"{where}, line {row + 1}: times must not run backwards, received {times[row]} after {times[row - 1]}; "
            "sort the file by time, keeping the order of equal times"
        )


def _from_ms(ms: Array, date: datetime.date, where: str) -> Array:
    """Return ns UTC of milliseconds of New York's wall clock since midnight."""
    _require((ms >= 0) & (ms < _DAY_MS), f"milliseconds since midnight must be 0 to {_DAY_MS - 1}", ms, where)
    _check_rising(ms, where)
    midnight = datetime.datetime.combine(date, datetime.time(), datetime.UTC)
    base = int(midnight.timestamp()) * SECOND
    wall = datetime.datetime.combine(date, datetime.time(), NEW_YORK)
    first, last = wall.utcoffset(), wall.replace(hour=23).utcoffset()
    if first == last and first is not None:
        offset = int(first.total_seconds()) * SECOND
        times: Array = base - offset + ms * 1_000_000
        return times
    # The clocks change on this day: ask for each minute. (No exchange is open at two on a Sunday morning.)
    minutes, place = np.unique(ms // 60_000, return_inverse=True)
    shifts = [_offset_ns(wall.replace(hour=int(minute) // 60, minute=int(minute) % 60)) for minute in minutes]
    shifted: Array = base - np.array(shifts, "<i8")[place] + ms * 1_000_000
    return shifted


def _offset_ns(wall: datetime.datetime) -> int:
    offset = wall.utcoffset()
    assert offset is not None  # New York always has one
    return int(offset.total_seconds()) * SECOND


def _date(moment: str, where: str) -> datetime.date:
    try:
        return datetime.date(int(moment[:4]), int(moment[4:6]), int(moment[6:8]))
    except ValueError:
        raise DataError(f"{where}: a line must begin with YYYYMMDD HH:MM, received {moment[:20]!r}") from None


def _moment(moment: str, cache: dict[str, int], where: str) -> int:
    """Return ns UTC of ``YYYYMMDD HH:MM`` in New York; a day's offset is asked for once."""
    day = moment[:8]
    if day not in cache:
        noon = datetime.datetime.combine(_date(moment, where), datetime.time(12), NEW_YORK)
        cache[day] = (int(noon.timestamp()) - 12 * 3600) * SECOND
    if not _MOMENT.fullmatch(moment):
        raise DataError(f"{where}: a line must begin with YYYYMMDD HH:MM, received {moment[:20]!r}")
    return cache[day] + int(moment[9:11]) * HOUR + int(moment[12:14]) * MINUTE


__all__ = [
    "Decoded",
    "decode_bars",
    "decode_days",
    "decode_hours",
    "decode_quote_bars",
    "decode_quotes",
    "decode_trades",
]
