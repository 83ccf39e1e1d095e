"""Order flow: what limit orders, market orders and cancels did to each level of an order book.

A venue that tells sizes by price level (L2) does not tell why a size changed. This is how it is told apart:

* A level that **grows** by n lots got limit orders of n lots.
* A level that **shrinks** lost them to market orders as far as trades explain it, and to cancels for the rest. A trade
  explains lots at its own price, on the side that it hit, at most `within` away in time, before or after; of several
  such changes the nearest in time comes first (at equal distance the later one, and of two at one time then the first
  row). Trades choose in their order, and no lot is explained twice.
* The image of a book after a subscription or a resync is no flow.

What can't be known from L2: orders that came and went between two messages; a trade whose level was filled up again
before the next message (its part counts as unexplained); what hidden orders did (LOBSTER marks trades with them, and
they explain nothing); whose order moved in the queue. Where a venue sends only so many levels, a level that falls out
of its sight looks like a cancel, and one that comes back into sight like a limit order; so ask for fewer levels than
the venue sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mdslib.arguments import whole
from mdslib.book.book import Ints
from mdslib.book.changes import level_changes
from mdslib.book.rows import BookRows, book_rows
from mdslib.errors import ConfigError
from mdslib.events import BookFlag
from mdslib.jit import jit
from mdslib.table import Array, MarketData, Table

if TYPE_CHECKING:
    import pandas as pd

SIDES = ("bid", "ask")
FLOWS = ("limit", "market", "cancel")
_MOST_LEVELS = 1000
_EITHER = 2  # the side that a trade hit, where the venue does not say it
# A trade's first letter, and the side of the book that it hit. Capitals are the taker's at Alpaca; Coinbase Advanced
# sends some too, and does not document whose they are.
_HIDDEN = ord("h")  # a second letter of LOBSTER's: the order that was hit was not to be seen
_HITS = {ord("b"): 1, ord("s"): 0}
_HITS_OF = {"alpaca": _HITS | {ord("B"): 1, ord("S"): 0}}


class FlowRows(NamedTuple):
    """The flow of every row of a book, in lots; a row has one level and side.

    Attributes
    ----------
    limit, market, cancel : array of int64, shape (n,)
        Lots added, traded, taken away; ``limit - market - cancel`` is the row's change.
    level : array of uint16, shape (n,)
        From 1, the best; what lies deeper than asked for has the number after the last.
    traded, explained : float
        Notional of all trades, and of what they explain, in currency.
    """

    limit: Ints
    market: Ints
    cancel: Ints
    level: Array
    traded: float
    explained: float


def order_flow(
    data: MarketData,
    levels: int = 10,
    every: str | None = "1s",
    *,
    within: str = "1s",
    instrument: str | int | None = None,
) -> pd.DataFrame:
    """Return the notional of limit orders, market orders and cancels at each level, an interval a row.

    A level's number is 1 + the number of levels of its side that were better before the message: 1 is the best price,
    and a new best price is 1 too. How market orders are told from cancels, and what can't be known, is at the top of
    `mdslib.book.flow`.

    Parameters
    ----------
    data : MarketData
        Book deltas of an instrument, and its trades; without trades every decrease is a cancel.
    levels : int
        How many levels of each side.
    every : str or None
        Length of an interval, such as ``"500ms"``; None makes a row of each book message.
    within : str
        How far in time a trade and the change of its level may be apart: two channels of a venue are not in step.
    instrument : str or int, optional
        Which one, where the data have several.

    Returns
    -------
    DataFrame
        Price times size in the instrument's currency. Index: the interval's end, UTC (its start belongs to it, its end
        does not), without holes; or the messages' times. Columns: side (``bid``, ``ask``: of the resting orders, so a
        market order in ``bid`` sold), flow (``limit``, ``market``, ``cancel``), level. ``attrs`` has ``traded`` and
        ``explained``: the notional of all trades, and of those that found the change that they made.

    Raises
    ------
    DataError
        There is no order book in the data, or it is not said which one.
    ConfigError
        An option is out of range.

    Examples
    --------
    >>> from mdslib.store.madebook import made_books
    >>> flow = order_flow(made_books(messages=500), levels=3, every="1h")
    >>> flow["bid"]["market"].round(0).iloc[1].to_dict()
    {1: 8289.0, 2: 22374.0, 3: 0.0}
    """
    levels = whole("order_flow(levels=...)", levels, 1, _MOST_LEVELS)
    interval = None if every is None else _nanoseconds("every", every)
    rows = book_rows(data, instrument)
    flow = flow_rows(rows, data.trades, levels, _nanoseconds("within", within))
    number, ends = _messages(rows) if interval is None else _intervals(rows.ts_event, interval)
    return _frame(rows, flow, number, ends, levels)


def flow_rows(rows: BookRows, trades: Table | None, levels: int, within: int) -> FlowRows:
    """Return the flow of every row; `within` in ns. See `order_flow`."""
    lots, level = level_changes(rows, levels)
    shrinks = np.flatnonzero(lots < 0)
    market = np.zeros(len(lots), np.int64)
    traded = explained = 0.0
    if trades is not None:
        hits = _hits(rows, trades)
        mine = trades["instrument"] == rows.place
        traded = float(np.sum(trades["price"][mine] * trades["size"][mine])) * rows.instrument.lot
        shrinks = shrinks[np.argsort(rows.tick[shrinks], kind="stable")]
        side = (rows.flags[shrinks] & BookFlag.ASK).astype(np.int64)
        left = -lots[shrinks]
        _explain(rows.tick[shrinks], side, rows.ts_event[shrinks], left, hits, within)
        market[shrinks] = -lots[shrinks] - left
        explained = float(np.sum(rows.prices(rows.tick) * market)) * rows.instrument.lot
    return FlowRows(np.maximum(lots, 0), market, np.maximum(-lots, 0) - market, level, traded, explained)


class _Hits(NamedTuple):
    """Trades by price, at each price in their order."""

    tick: Ints
    side: Ints
    ts_event: Ints
    lots: Ints


def _hits(rows: BookRows, trades: Table) -> _Hits:
    """Return the instrument's trades that can meet a level: on the book's grid, and not with a hidden order."""
    unit = 10.0**rows.places
    scaled = np.rint(trades["price"] * unit)
    hidden = (trades["conditions"] >> 8) & 0xFF == _HIDDEN
    mine = (trades["instrument"] == rows.place) & (scaled / unit == trades["price"]) & ~hidden
    tick = scaled[mine].astype(np.int64)
    letter = trades["conditions"][mine] & 0xFF
    side = np.full(len(tick), _EITHER, np.int64)
    for code, hit in _HITS_OF.get(rows.instrument.venue, _HITS).items():
        side[letter == code] = hit
    order = np.argsort(tick, kind="stable")
    columns = (tick, side, trades["ts_event"][mine], trades["size"][mine])
    return _Hits(*(column[order] for column in columns))


@jit
def _explain(tick: Ints, side: Ints, time: Ints, left: Ints, hits: _Hits, within: int) -> None:
    """Take from `left` what trades explain; changes and trades are sorted by tick, and by time at each."""
    begin = 0
    for i in range(len(hits.tick)):
        price, when, lots = hits.tick[i], hits.ts_event[i], hits.lots[i]
        while begin < len(tick) and (tick[begin] < price or (tick[begin] == price and time[begin] < when - within)):
            begin += 1
        after = begin
        while after < len(tick) and tick[after] == price and time[after] < when:
            after += 1
        before = after - 1
        while lots > 0:
            later = after < len(tick) and tick[after] == price and time[after] - when <= within
            earlier = before >= begin
            if later and (not earlier or time[after] - when <= when - time[before]):
                at = after
                after += 1
            elif earlier:
                at = before
                before -= 1
            else:
                break
            if hits.side[i] in (_EITHER, side[at]):
                taken = min(lots, left[at])
                left[at] -= taken
                lots -= taken


def _messages(rows: BookRows) -> tuple[Ints, Ints]:
    """Return the number of each row's message, and the messages' times."""
    last = (rows.flags & BookFlag.LAST) != 0
    number = np.cumsum(last) - last
    times = rows.ts_event[last]
    if len(last) and not last[-1]:  # cut off in a message
        times = np.append(times, rows.ts_event[-1])
    return number, times


def _intervals(times: Ints, interval: int) -> tuple[Ints, Ints]:
    """Return the number of each row's interval, and the intervals' ends."""
    if not len(times):
        return times, times
    number = times // interval
    first, last = int(number[0]), int(number[-1])
    return number - first, (np.arange(first, last + 1, dtype=np.int64) + 1) * interval


def _frame(rows: BookRows, flow: FlowRows, number: Ints, ends: Ints, levels: int) -> pd.DataFrame:
    import pandas as pd

    side = (rows.flags & BookFlag.ASK).astype(np.int64)
    place = (number * len(SIDES) + side) * levels + flow.level - 1
    prices = rows.prices(rows.tick) * rows.instrument.lot
    table = np.zeros((len(ends), len(SIDES), len(FLOWS), levels))
    for at, lots in enumerate((flow.limit, flow.market, flow.cancel)):
        counts = (flow.level <= levels) & (lots > 0)
        sums = np.bincount(place[counts], prices[counts] * lots[counts], len(ends) * len(SIDES) * levels)
        table[:, :, at] = sums.reshape(len(ends), len(SIDES), levels)
    columns = pd.MultiIndex.from_product([SIDES, FLOWS, range(1, levels + 1)], names=["side", "flow", "level"])
    index = pd.DatetimeIndex(ends.view("M8[ns]"), name="ts_event").tz_localize("UTC")
    frame = pd.DataFrame(table.reshape(len(ends), -1), index=index, columns=columns)
    frame.attrs.update(traded=flow.traded, explained=flow.explained)
    return frame


def _nanoseconds(name: str, text: str) -> int:
    import pandas as pd

    try:
        length = pd.Timedelta(text).as_unit("ns").value
    except (ValueError, TypeError):
        length = 0
    if not length > 0:
        raise ConfigError(
            f"order_flow({name}=...) must be a length of time > 0, received {text!r}; try '1s' or '100ms'"
        )
    return int(length)
