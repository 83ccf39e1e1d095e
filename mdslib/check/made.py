"""Made events that a model is checked on: seeded, and with what real days hold too.

Several trades share a millisecond, sizes are odd lots and round ones, quotes are one-sided at times, prices jump, a
book's messages have several deltas and its side may be empty, and orders are filled, filled in parts, or rejected.
"""

from __future__ import annotations

import datetime

import numpy as np

from mdslib.calendar import Session
from mdslib.errors import ModelRaised
from mdslib.events import RECORD, SCHEMAS, BookFlag, Kind, Status, Verb
from mdslib.instruments import Instrument
from mdslib.protocols import Records
from mdslib.strategy import Every, Fold, Strategy
from mdslib.strategy.market import Market
from mdslib.strategy.timers import duration_ns
from mdslib.table import MarketData, Table, from_columns

DAY = datetime.date(2013, 10, 8)
OPEN = 1_381_239_000_000_000_000  # that day, 09:30 in New York
HALF_HOUR = 1_800_000_000_000
_MOST_TIMERS = 2000
_MARK = {"ts_event": "ts_event", "instrument": "instrument", "what": "kind", "code": "code", "luld": "i1"}
_SLOT = {kind: {name: field.slot for name, field in SCHEMAS[kind].items()} for kind in SCHEMAS}


def made_data(strategy: Strategy, events: int, seed: int) -> MarketData:
    """Return made market data of the kinds and the number of instruments that a strategy takes.

    Parameters
    ----------
    strategy : Strategy
    events : int
        Rows in all; shared evenly among the kinds.
    seed : int
        Equal seeds give equal data.
    """
    random = np.random.default_rng(seed)
    kinds = strategy.market_kinds or (Kind.TRADE,)
    instruments = tuple(Instrument(f"MADE{number}") for number in range(strategy.instruments))
    session = Session(DAY, OPEN, OPEN + _length(strategy), OPEN, OPEN + _length(strategy))
    maker = {Kind.TRADE: _trades, Kind.QUOTE: _quotes, Kind.BAR: _bars, Kind.BOOK_DELTA: _book_deltas}
    count = max(1, events // len(kinds))
    tables = []
    for kind in kinds:
        milliseconds = random.integers(1, (session.close - session.open) // 1_000_000, count)
        times = session.open + np.sort(milliseconds) * 1_000_000
        which = random.integers(0, strategy.instruments, count).astype(np.uint16)
        tables.append(maker[kind](random, times, which))
    return MarketData(instruments, tuple(tables), (session,))


def _length(strategy: Strategy) -> int:
    """Return the session's length: room for every timer, but not for millions of firings."""
    leads = [duration_ns(timer.lead) for timer, _ in strategy.timers if not isinstance(timer, Every)]
    steps = [duration_ns(timer.interval) for timer, _ in strategy.timers if isinstance(timer, Every)]
    length = min([HALF_HOUR, *(step * _MOST_TIMERS for step in steps)])
    return max([length, 1_000_000_000, *(lead * 2 for lead in leads)])


def _walk(random: np.random.Generator, which: np.ndarray) -> np.ndarray:
    """Return prices in cents: a random walk for each instrument, with a jump now and then."""
    steps = random.integers(-3, 4, len(which)) + (random.random(len(which)) < 0.002) * random.integers(
        -200, 200, len(which)
    )
    cents = np.zeros(len(which), np.int64)
    for k in np.unique(which):
        mine = which == k
        cents[mine] = np.maximum(10_000 + 1_500 * int(k) + np.cumsum(steps[mine]), 100)
    return cents


def _sizes(random: np.random.Generator, count: int) -> np.ndarray:
    odd = random.random(count) < 0.3
    sizes = np.where(odd, random.integers(1, 100, count), random.integers(1, 40, count) * 100)
    sizes[random.random(count) < 0.001] = 1_000_000
    return sizes


def _trades(random: np.random.Generator, times: np.ndarray, which: np.ndarray) -> Table:
    prices = _walk(random, which) / 100
    told = {"instrument": which, "trade_id": np.arange(len(times)), "exchange": np.full(len(times), ord("P"), np.uint8)}
    return from_columns(Kind.TRADE, {"ts_event": times, "price": prices, "size": _sizes(random, len(times)), **told})


def _quotes(random: np.random.Generator, times: np.ndarray, which: np.ndarray) -> Table:
    cents = _walk(random, which)
    bid, ask = cents / 100, (cents + random.integers(1, 5, len(times))) / 100
    bid_size, ask_size = _sizes(random, len(times)), _sizes(random, len(times))
    no_bid, no_ask = random.random(len(times)) < 0.02, random.random(len(times)) < 0.02
    bid[no_bid], bid_size[no_bid], ask[no_ask], ask_size[no_ask] = np.nan, 0, np.nan, 0
    sides = {"bid": bid, "ask": ask, "bid_size": bid_size, "ask_size": ask_size}
    return from_columns(Kind.QUOTE, {"ts_event": times, "instrument": which, **sides})


def _bars(random: np.random.Generator, times: np.ndarray, which: np.ndarray) -> Table:
    closes = _walk(random, which)
    opens = closes + random.integers(-5, 6, len(times))
    high = np.maximum(opens, closes) + random.integers(0, 5, len(times))
    low = np.maximum(np.minimum(opens, closes) - random.integers(0, 5, len(times)), 1)
    prices = {"open": opens / 100, "high": high / 100, "low": low / 100, "close": closes / 100}
    told = {
        "volume": _sizes(random, len(times)) * 10,
        "trades": random.integers(1, 500, len(times)),
        "vwap": (high + low) / 200,
    }
    return from_columns(Kind.BAR, {"ts_event": times, "instrument": which, **prices, **told})


def _book_deltas(random: np.random.Generator, times: np.ndarray, which: np.ndarray) -> Table:
    """Return messages of one to four deltas of one instrument and time each; its first one begins with a CLEAR."""
    count = len(times)
    ends = random.random(count) < 0.4
    ends[-1:] = True
    last = np.flatnonzero(ends)
    message = np.searchsorted(last, np.arange(count))
    which = which[last][message]
    first = np.r_[True, ends[:-1]]
    imaged = np.unique(which[first], return_index=True)[1]
    clear = np.zeros(count, bool)
    clear[np.flatnonzero(first)[imaged]] = True
    clear |= first & (random.random(count) < 0.001)
    ask = random.random(count) < 0.5
    cents = _walk(random, which) // 10 * 10 + np.where(ask, 1, -1) * random.integers(1, 30, count)
    flags = ask * int(BookFlag.ASK) + ends * int(BookFlag.LAST)
    columns = {
        "ts_event": times[last][message],
        "instrument": which,
        "price": np.where(clear, np.nan, cents / 100),
        "size": np.where(clear | (random.random(count) < 0.4), 0, _sizes(random, count)),
        "flags": np.where(clear, int(BookFlag.CLEAR) + ends * int(BookFlag.LAST), flags).astype(np.uint8),
    }
    return from_columns(Kind.BOOK_DELTA, columns)


def records_of(market: Market) -> Records:
    """Return a market's events as tape records in merged order; `seq` counts from 1.

    Timers, and the data's gaps and trading statuses, are among them.
    """
    order = [int(Kind.GAP)] if market.marks else []
    order += [int(Kind.TIMER)] if len(market.columns) > len(order) + len(market.kinds) else []
    order += [int(kind) for kind in market.kinds]
    parts = {}
    for code, columns in zip(order, market.columns, strict=True):
        part = np.zeros(len(columns.ts_event), RECORD)
        part["kind"] = code
        for name, column in zip(columns._fields, columns, strict=True):
            part[_MARK[name] if code == Kind.GAP else _SLOT[Kind(code)][name]] = column
        part["ts_init"] = part["ts_event"]
        parts[code] = part
    if len(parts) == 1:
        records = parts[order[0]]
    else:
        records = np.zeros(market.count, RECORD)
        for code, part in parts.items():
            here = market.kind == code
            records[here] = part[market.row[here]]
    records["seq"] = np.arange(1, len(records) + 1)
    return records


def with_fills(fold: Fold, events: Records, seed: int) -> Records:
    """Return the tape of a session in which a model's orders meet their fate, each some events later.

    Parameters
    ----------
    fold : Fold
        A fresh one; it decides, and is used up.
    events : RECORD array
        Market events and timers in order.
    seed : int
        Decides the pieces in which events arrive, and the orders' fates.
    """
    random = np.random.default_rng(seed)
    parts: list[Records] = []
    waiting: list[np.void] = []
    seq, at = 1, 0
    while at < len(events):
        size = int(random.integers(1, 33))
        piece = np.concatenate(
            [*(_fate(random, d, int(events["ts_event"][at])) for d in waiting), events[at : at + size]]
        )
        piece["seq"] = np.arange(seq, seq + len(piece))
        seq, at = seq + len(piece), at + size
        parts.append(piece)
        waiting = [d for d in _feed(fold, piece) if not d["denied"] and d["verb"] != Verb.CANCEL and d["qty"] != 0.0]
    return np.concatenate(parts) if parts else events


def _feed(fold: Fold, piece: Records) -> Records:
    """Feed one piece; where the model raises, name the event by its place on the whole tape."""
    try:
        return fold.feed(piece)
    except ModelRaised as error:
        seq = int(piece["seq"][error.row])
        raise ModelRaised(str(error).replace(f"at event {error.row}", f"at event {seq}"), seq - 1) from error


def _fate(random: np.random.Generator, decision: np.void, ts: int) -> Records:
    """Return the updates of one order: accepted, then filled, filled in two parts, or rejected."""
    qty = float(decision["qty"])
    price = next((float(decision[name]) for name in ("limit", "reference") if np.isfinite(decision[name])), 1.0)
    drawn = random.random()
    steps: list[tuple[Status, float, float]] = [(Status.NEW, 0.0, 0.0)]
    if drawn < 0.05:
        steps = [(Status.REJECTED, 0.0, 0.0)]
    elif drawn < 0.15:
        steps += [(Status.PARTIALLY_FILLED, qty / 2, qty / 2), (Status.FILLED, qty / 2, qty)]
    else:
        steps += [(Status.FILLED, qty, qty)]
    updates = np.zeros(len(steps), RECORD)
    updates["kind"], updates["ts_event"], updates["ts_init"] = Kind.UPDATE, ts, ts
    updates["instrument"], updates["i0"], updates["flag"] = decision["instrument"], decision["seq"], decision["leg"]
    for row, (status, last, filled) in zip(updates, steps, strict=True):
        row["code"], row["f0"], row["f1"], row["f2"] = status, last, price if last else 0.0, filled
        row["f3"] = qty - filled
    return updates
