"""The minute bars of a day of trades: a venue sends both, whichever of them was recorded."""

from __future__ import annotations

import dataclasses

from mdslib.bars import MINUTE, bars_from_trades
from mdslib.table import MarketData


def with_minute_bars(data: MarketData) -> MarketData:
    """Return the day with minute bars made of its trades; as it is, where it has bars or has no trades.

    A bar is known when its minute is over, so it comes before the trades of that very moment. All trades count, odd
    lots and late prints too, which a venue leaves out of high and low.

    Examples
    --------
    >>> from mdslib.instruments import Instrument
    >>> from mdslib.table import trades
    >>> day = MarketData((Instrument("SPY"),), (trades([0, 30 * 10**9, MINUTE], [1.0, 3.0, 2.0], [1, 2, 3]),), ())
    >>> made = with_minute_bars(day)
    >>> made.bars["close"].tolist(), made.bars["ts_event"].tolist() == [MINUTE, 2 * MINUTE]
    ([3.0, 2.0], True)
    >>> from mdslib.events import Kind
    >>> [Kind(kind).name for kind in made.order[0].tolist()]
    ['TRADE', 'TRADE', 'BAR', 'TRADE', 'BAR']
    """
    if data.trades is None or data.bars is not None or not len(data.trades):
        return data
    bars = bars_from_trades(data.trades, MINUTE)
    return dataclasses.replace(data, tables=(bars, *data.tables))
