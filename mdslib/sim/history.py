"""The historical REST calls of Alpaca: trades, quotes and bars of stocks, with paging.

Pages go symbol by symbol, then by time; ``limit`` counts the rows of a page over all symbols; ``start`` and ``end`` are
both inclusive. The token is opaque to a client: base64 of symbol and row. A date without a time means midnight UTC.
Only what lies before the exchange's now is there (option ``history``): a client can't look into the day's future.
"""

from __future__ import annotations

import base64
import re
from typing import Any

import msgspec.json
import numpy as np
import numpy.typing as npt
from starlette.requests import Request
from starlette.routing import Route

from mdslib.events import Kind
from mdslib.sim.floor import Floor
from mdslib.sim.guard import guarded, parse_time, whole_number
from mdslib.sim.orders import Refusal
from mdslib.sim.wire import encode, number, stamp
from mdslib.table import Table

_WIDTH = re.compile(r"(\d+)(Min|T|Hour|H|Day|D)\Z")
_UNITS = {"Min": 60, "T": 60, "Hour": 3600, "H": 3600, "Day": 86400, "D": 86400}
_NAMES = {"trades": Kind.TRADE, "quotes": Kind.QUOTE}
FEEDS = ("sip", "iex", "boats", "otc", "delayed_sip", "overnight", "test")


async def many(request: Request, floor: Floor) -> Any:
    """``GET /v2/stocks/{name}?symbols=``."""
    symbols = [symbol for symbol in request.query_params.get("symbols", "").split(",") if symbol]
    if not symbols:
        raise Refusal(400, None, "symbols is required")
    rows, token = _page(request, floor, symbols)
    body = ",".join(f'"{symbol}":[{",".join(texts)}]' for symbol, texts in rows.items())
    return f'{{"{_name(request)}":{{{body}}},"next_page_token":{token},"currency":"USD"}}'.encode()


async def single(request: Request, floor: Floor) -> Any:
    """``GET /v2/stocks/{symbol}/{name}``."""
    symbol = request.path_params["symbol"]
    rows, token = _page(request, floor, [symbol])
    texts = ",".join(rows.get(symbol, []))
    return f'{{"{_name(request)}":[{texts}],"symbol":"{symbol}","next_page_token":{token},"currency":"USD"}}'.encode()


def _name(request: Request) -> str:
    return request.url.path.rsplit("/", 1)[1]


def _page(request: Request, floor: Floor, symbols: list[str]) -> tuple[dict[str, list[str]], str]:
    q, name = request.query_params, _name(request)
    if q.get("feed", "iex") not in FEEDS:
        raise Refusal(400, None, f"invalid feed: {q['feed']}")
    sort = q.get("sort", "asc")
    if sort not in ("asc", "desc"):
        raise Refusal(400, None, f"invalid sort: {sort}")
    limit = whole_number(request, "limit", 1000, 1, 10_000, status=400)
    start, end = _span(request, floor)
    # Symbols come in the order of the alphabet, as the venue's pages do.
    wanted = sorted(set(symbols))
    symbol, skip = _token(q.get("page_token"), wanted)
    out: dict[str, list[str]] = {}
    for current in wanted[wanted.index(symbol) :] if symbol else wanted:
        source = _source(floor, name, current, q.get("timeframe"), start, end)
        first = skip if current == symbol else 0
        left = limit - sum(map(len, out.values()))
        texts = source.texts(first, first + left, descending=sort == "desc")
        if texts:
            out[current] = texts
        if first + len(texts) < len(source):
            return out, msgspec.json.encode(_make_token(current, first + len(texts))).decode()
    return out, "null"


def _span(request: Request, floor: Floor) -> tuple[int, int]:
    q = request.query_params
    day = 86_400_000_000_000
    last = np.iinfo(np.int64).max if floor.options.history == "all" else floor.now
    try:
        start = parse_time(q["start"]) if q.get("start") else floor.now // day * day
        end = parse_time(q["end"], end_of_day=True) if q.get("end") else last
    except Refusal as refusal:
        raise Refusal(400, None, str(refusal)) from None
    if end < start:
        raise Refusal(400, None, "end should not be before start")
    return start, min(end, int(last))


def _make_token(symbol: str, row: int) -> str:
    return base64.b64encode(f"{symbol}|{row}".encode()).decode()


def _token(text: str | None, wanted: list[str]) -> tuple[str, int]:
    if not text:
        return "", 0
    try:
        symbol, row = base64.b64decode(text, validate=True).decode().split("|")
        position = int(row)
    except ValueError:
        raise Refusal(400, None, f"invalid page_token: {text}") from None
    if symbol not in wanted:
        raise Refusal(400, None, f"invalid page_token: {text} belongs to another request")
    return symbol, position


class _Rows:
    """Rows of one symbol in a span, made into text a page at a time."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    def texts(self, first: int, stop: int, *, descending: bool) -> list[str]:
        """Return rows `first` to `stop` of the answer's order as JSON objects."""
        n = len(self)
        stop = min(stop, n)
        if not descending:
            return self._encode(first, stop)
        return self._encode(n - stop, n - first)[::-1]

    def _encode(self, first: int, stop: int) -> list[str]:
        return encode(self.table, first, stop, None)


class _Bars(_Rows):
    """Bars of any width, made of the day's trades or finer bars; ``t`` is the left edge."""

    def __init__(self, rows: npt.NDArray[np.float64], starts: npt.NDArray[np.int64]) -> None:
        self.rows = rows
        self.starts = starts

    def __len__(self) -> int:
        return len(self.starts)

    def _encode(self, first: int, stop: int) -> list[str]:
        return [
            f'{{"t":"{stamp(t)}","o":{number(o)},"h":{number(h)},"l":{number(low)},"c":{number(c)},"v":{v:.0f},"n":{n:.0f},"vw":{number(w)}}}'
            for t, (o, h, low, c, v, n, w) in zip(
                self.starts[first:stop].tolist(), self.rows[first:stop].tolist(), strict=True
            )
        ]


def _source(floor: Floor, name: str, symbol: str, timeframe: str | None, start: int, end: int) -> _Rows:
    if symbol not in floor.market.symbols:
        return _Bars(np.empty((0, 7)), np.empty(0, np.int64))
    k = floor.market.symbols.index(symbol)
    if name == "bars":
        return _bars(floor, k, timeframe, start, end)
    table = floor.market.shown(_NAMES[name])
    if table is None:
        return _Bars(np.empty((0, 7)), np.empty(0, np.int64))
    return _Rows(_cut(table, k, start, end))


def _cut(table: Table, k: int, start: int, end: int) -> Table:
    span = table.between(start, end + 1)
    own = span["instrument"] == k
    return span if own.all() else span.take(own)


def _bars(floor: Floor, k: int, timeframe: str | None, start: int, end: int) -> _Bars:
    found = _WIDTH.match(timeframe or "")
    if found is None or not int(found[1]):
        raise Refusal(400, None, f"invalid timeframe: {timeframe} must be like 1Min, 5Min, 1Hour or 1Day")
    width = int(found[1]) * _UNITS[found[2]] * 1_000_000_000
    # A bar is asked for by its start, so its events lie within `width` after `end`. Today's daily bar grows through the
    # day; a shorter one is there once it has closed, as on the stream.
    last = floor.now if floor.options.history == "past" else np.iinfo(np.int64).max - 1
    daily = width >= _UNITS["D"] * 1_000_000_000
    if not daily and floor.phase != "end":
        last = min(last, int(last) // width * width - 1)
    stop = min(end // width * width + width - 1, int(last))
    first = -(-start // width) * width
    # Where the day has bars of it, those are what the stream sends; the history must say the same, bit for bit. A halt
    # that let trades not happen leaves them out of the history's.
    bars, trades = floor.market.shown(Kind.BAR), floor.market.shown(Kind.TRADE)
    from_trades = trades is not None and (daily or floor.market.erased is not None)
    if bars is not None and (bars["instrument"] == k).any() and not from_trades:
        t = _cut(bars, k, first + 1, stop + 1)
        columns = tuple(t[c].astype(np.float64) for c in ("open", "high", "low", "close", "volume", "trades", "vwap"))
        return _aggregate((t["ts_event"] - 1) // width * width, columns)
    if trades is None:
        return _Bars(np.empty((0, 7)), np.empty(0, np.int64))
    t = _cut(trades, k, first, stop)
    price, size = t["price"], t["size"].astype(np.float64)
    return _aggregate(t["ts_event"] // width * width, (price, price, price, price, size, np.ones(len(t)), price))


def _aggregate(edges: npt.NDArray[np.int64], columns: tuple[npt.NDArray[np.float64], ...]) -> _Bars:
    """Make a bar of each run of equal left edges; empty intervals yield none."""
    if not len(edges):
        return _Bars(np.empty((0, 7)), edges)
    at = np.flatnonzero(np.r_[True, edges[1:] != edges[:-1]])
    o, h, low, c, volume, count, vwap = columns
    total = np.add.reduceat(volume, at)
    priced = np.add.reduceat(np.nan_to_num(vwap) * volume, at)
    weighted = np.divide(priced, total, out=np.zeros(len(at)), where=total > 0)
    ends = np.r_[at[1:], len(edges)] - 1
    alone = ends == at
    rows = (
        o[at],
        np.maximum.reduceat(h, at),
        np.minimum.reduceat(low, at),
        c[ends],
        total,
        np.add.reduceat(count, at),
        np.where(alone, vwap[at], weighted.round(6)),
    )
    return _Bars(np.column_stack(rows), edges[at])


ROUTES = [Route(f"/v2/stocks/{name}", guarded(many), methods=["GET"]) for name in ("trades", "quotes", "bars")]
ROUTES += [
    Route(f"/v2/stocks/{{symbol}}/{name}", guarded(single), methods=["GET"]) for name in ("trades", "quotes", "bars")
]
