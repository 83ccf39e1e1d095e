"""`backtest`: run a strategy over recorded data and let the exchange's core fill its orders."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mdslib import calendar
from mdslib.arguments import number, whole
from mdslib.backtesting.daily import deciding_hours
from mdslib.backtesting.result import Result
from mdslib.book.seen import mend
from mdslib.errors import ConfigError, DataError, ModelError, ModelRaised
from mdslib.events import Kind
from mdslib.instruments import Instrument, check_linear, parse_instrument
from mdslib.jit import as_records, collecting_later, records
from mdslib.matching import (
    FILL,
    NO_FEES,
    Books,
    Fees,
    Rules,
    Venue,
    make_venue,
    new_books,
    parse_rules,
    with_room,
)
from mdslib.memory import room
from mdslib.protocols import Records
from mdslib.risk import Limits, make_limits
from mdslib.strategy.contract import MARKET_KINDS, Strategy
from mdslib.strategy.core import BookCore, Core, new_core
from mdslib.strategy.cursor import BY_DELTA, new_cursor
from mdslib.strategy.decide import DECISION, RETRY, is_stuck
from mdslib.strategy.discovery import find_model
from mdslib.strategy.driver import load_driver, seems_plain, strategy_fingerprint
from mdslib.strategy.fold import FREE, check_count, guarded, state_of
from mdslib.strategy.market import Market, market_of
from mdslib.strategy.shape import Shape
from mdslib.strategy.timers import duration_ns
from mdslib.table import MarketData, Table

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_LATENCY = "1ms"
DEFAULT_CASH = 100_000.0
DEFAULT_LIMITS = Limits()
ROOM = 4096  # decisions and fills that there is room for at first, beside a quarter of the events
MARGIN = 128  # what one row may write before the loop asks for room; see mdslib.strategy.source
ENDLESS = 100_000  # more decisions than this within one instant, and than all before it, are no trading
_EXPIRE, _FLATTEN, _RESUME, _AGAIN = 0, 1, 2, 3


def backtest(
    model: str | Path | Strategy,
    data: MarketData | Table | pd.DataFrame,
    *,
    params: Mapping[str, Any] | None = None,
    fees: Fees | float = NO_FEES,
    latency: str | int = DEFAULT_LATENCY,
    rules: str | Rules = "alpaca",
    limits: Limits | None = DEFAULT_LIMITS,
    cash: float = DEFAULT_CASH,
    seed: int = 0,
    flatten: str | None = None,
    instruments: Sequence[str | Instrument] = (),
) -> Result:
    """Run a strategy over recorded data.

    Orders match against trades where the data has them, else quotes, else bars. A market order fills at the first trade
    whose time is after the decision's time plus the latency, at its price. What is decided outside a session, or at
    its very close, works from the next open on. DAY orders expire at the close of the session that they worked in.

    Parameters
    ----------
    model : str, Path or Strategy
        A name, a module path, a file, or the strategy itself.
    data : MarketData, Table or DataFrame
        What `mdslib.load` returns. A table or a frame of one kind takes `instruments` to say what it is of; its
        sessions are those of the first one's calendar.
    params : mapping, optional
        Values for the strategy's parameters.
    fees : Fees or float
        Of a fill; a number is basis points of its notional.
    latency : str or int
        From decision to the earliest match: a duration like ``1ms``, or ns.
    rules : str or Rules
        ``alpaca`` refuses what Alpaca refuses and fills a tenth of the fills in part; ``permissive`` fills everything.
    limits : Limits, optional
        The desk's limits; None lifts them.
    cash : float
        Opening cash.
    seed : int
        Of the partial fills.
    flatten : str, optional
        Go flat so long before each close, such as ``5m``; None keeps positions.
    instruments : sequence of str or Instrument
        For data that does not say.

    Returns
    -------
    Result

    Raises
    ------
    ModelError, ModelRaised
        Where the model can't be found or compiled, or raised.
    ConfigError
        Where an argument is wrong.
    DataError
        Where the data lacks what the model takes.

    Examples
    --------
    >>> import numpy as np
    >>> from mdslib import Trade, buy, hold, strategy
    >>> from mdslib.table import trades
    >>> @strategy(on=Trade)
    ... def first_only(trade, state, account, p):
    ...     return buy(1.0) if account[0].position + account[0].open_qty == 0.0 else hold()
    >>> table = trades(np.arange(5) * 10**9, [10.0, 10.1, 10.2, 10.3, 10.4], [1, 1, 1, 1, 1])
    >>> result = backtest(first_only, table, instruments=["SPY"], limits=None)
    >>> result.orders, float(result.fills[0]["px"])
    (1, 10.1)
    """
    strategy = find_model(model)
    market_data = as_market_data(data, instruments)
    check_linear("backtest", market_data.instruments)
    profile = parse_rules(rules)
    charged = fees if isinstance(fees, Fees) else Fees(bps=number("backtest(fees=...), in basis points,", fees))
    run = _Run(
        strategy,
        strategy.make_params(**_named(params)),
        market_data,
        make_venue(profile, _latency(latency), charged, whole("backtest(seed=...)", seed)),
        profile,
        _limits(limits),
        number("backtest(cash=...)", cash, least=0),
        None if flatten is None else _lead(flatten, market_data),
    )
    run.go()
    return run.result(charged)


def _named(params: Any) -> Mapping[str, Any]:
    if params is None:
        return {}
    if isinstance(params, Mapping) and all(isinstance(name, str) for name in params):
        return params
    raise ConfigError(
        f"backtest(params=...) must be a mapping of names to values, received {params!r}; like {{'shares': 5}}"
    )


def _limits(limits: Any) -> Limits | None:
    if limits is None:
        return None
    if not isinstance(limits, Limits):
        raise ConfigError(
            f"backtest(limits=...) must be limits, or None for no limits, received {limits!r}; "
            "mdslib.make_limits(max_position=100) makes them"
        )
    return make_limits(**limits._asdict())


def _latency(latency: Any) -> int:
    if isinstance(latency, str):
        return duration_ns(latency)
    try:
        return whole("", latency)
    except ConfigError:
        raise ConfigError(f"latency must be whole ns or a duration like '1ms', received {latency!r}") from None


def _lead(flatten: str, data: MarketData) -> int:
    """Return how long before each close to go flat; longer than a session, it would never come."""
    lead = duration_ns(flatten)
    for session in data.sessions:
        if session.close - lead <= session.open:
            hours = (session.close - session.open) / 3.6e12
            raise ConfigError(
                f"backtest(flatten=...) must be shorter than the session of {session.date}, which lasts {hours:g} h,"
                f" received {flatten!r}"
            )
    return lead


def as_market_data(data: MarketData | Table | pd.DataFrame, instruments: Sequence[str | Instrument]) -> MarketData:
    """Return market data, wrapping a table or a frame of trades, quotes or bars."""
    instruments = [instruments] if isinstance(instruments, str | Instrument) else instruments
    if not isinstance(instruments, Sequence):
        raise ConfigError(f"instruments must be symbols in a list, like ['SPY'], received {instruments!r}")
    if isinstance(data, MarketData):
        if len(instruments):
            raise ConfigError("instruments= is for a table or a frame, and this data says what it is of; leave it out")
        return data
    table = data if isinstance(data, Table) else _table_of(data)
    count = int(table["instrument"].max(initial=0)) + 1
    if len(instruments) < count:
        raise DataError(
            f"a {type(data).__name__} does not say what it is of: pass instruments=['SPY'] ({count} needed,"
            f" received {len(instruments)})"
        )
    parsed = tuple(parse_instrument(i) for i in instruments)
    return MarketData(parsed, (table,), _sessions_of(table, parsed[0]))


def _sessions_of(table: Table, instrument: Instrument) -> tuple[calendar.Session, ...]:
    """Return the sessions that a table spans, by its first instrument's calendar; limits, DAY orders and timers ask."""
    if not len(table):
        return ()
    first, last = int(table["ts_event"][0]), int(table["ts_event"][-1])
    day = datetime.timedelta(days=1)
    dates = [datetime.datetime.fromtimestamp(ts // 10**9, datetime.UTC).date() for ts in (first, last)]
    found = calendar.sessions(dates[0] - day, dates[1] + day, instrument.session)
    return tuple(s for s in found if s.post_close > first and s.pre_open <= last)


def _table_of(frame: pd.DataFrame) -> Table:
    names = set(getattr(frame, "columns", ()))
    for kind, needed in ((Kind.TRADE, {"price", "size"}), (Kind.QUOTE, {"bid", "ask"}), (Kind.BAR, {"open", "close"})):
        if needed <= names:
            return Table.from_pandas(frame, kind)
    raise DataError(
        "a frame must have the columns price and size (trades), bid and ask (quotes) or open, high, low, close, volume"
        f" (bars), received {', '.join(sorted(map(str, names))) or type(frame).__name__}"
    )


class _Run:
    """The arrays of one back-test, and the driving of the compiled loop over them."""

    def __init__(
        self,
        strategy: Strategy,
        params: Any,
        data: MarketData,
        venue: Venue,
        rules: Rules,
        limits: Limits | None,
        cash: float,
        flatten: int | None,
    ) -> None:
        check_count(strategy, [i.symbol for i in data.instruments])
        self.strategy, self.params, self.data, self.cash = strategy, params, data, cash
        self.venue, self.rules, self.limits, self.flatten = venue, rules, limits, flatten
        kinds = {table.kind for table in data.tables}
        match_on = next((kind for kind in MARKET_KINDS if kind in kinds), Kind.TRADE)
        self.market: Market = market_of(strategy, data, (*strategy.market_kinds, match_on))
        self.fingerprint = strategy_fingerprint(strategy)
        alpaca = rules is Rules.ALPACA
        single = len(data.instruments) == 1
        self.shape = Shape(
            self.market.kinds,
            limits is not None,
            single,
            split=alpaca,
            flatten=flatten is not None,
            backtest=True,
            alpaca=alpaca,
            match_on=match_on,
            marks=self.market.marks,
            plain=flatten is None and seems_plain(strategy, self.fingerprint),
        )
        self.driver = load_driver(strategy, self.shape, self.fingerprint)
        count = len(data.instruments)
        hours = deciding_hours(data, flatten=flatten is not None)
        depth = max(strategy.levels, Kind.BOOK_DELTA in self.market.kinds)  # orders match against the best level
        self.core: Core | BookCore = new_core(data.instruments, limits, hours, cash=cash, depth=depth)
        self.state = state_of(strategy, params)
        self.books: Books = new_books(count, cash)
        self.books.account["long_only"] = self.core.account["long_only"]
        most = max(0, self.market.count // 4 + ROOM) + MARGIN + 2 * count  # untouched pages cost nothing
        self.out, self.fills = room(most, DECISION), room(most, FILL)
        self.grown = (-1, 0)  # row at which room was last asked for, and the decisions that there were then
        self.cursor = new_cursor()
        self.at = self.cursor[0]

    def go(self) -> None:
        """Run from the first event to the last, stopping at each close, and before it to go flat."""
        for row, ts, what in self._stops():
            self._advance(row, 1)
            if what == _RESUME:
                self.driver.go_on(self.core)
                continue
            if what == _AGAIN and not is_stuck(self.core.account):
                continue
            if what in (_FLATTEN, _AGAIN):
                self.driver.go_flat(self.core, self.limits or FREE, row, ts, self.out, self.cursor)
            elif self.books.count[0] > 0:
                self.driver.end_day(self.books, ts, self.fills, self.cursor)
            self.at["open"], self.at["ts"] = 1, ts
        self._advance(self.market.count, 1)

    def _stops(self) -> list[tuple[int, int, int]]:
        """Return (row, time, what) of everything that happens between events.

        DAY orders expire after what happens at the close, so that they can still fill in the last bar, which is stamped
        there; what is decided there is of the next session. All else comes before the events of its time.
        """
        sessions = self.data.sessions
        marks = [(s.close, _EXPIRE) for s in sessions]
        if self.flatten is not None:
            marks += [(s.close - self.flatten, _FLATTEN) for s in sessions] + [(s.open, _RESUME) for s in sessions]
            marks += [(ts, _AGAIN) for s in sessions for ts in range(s.close - self.flatten + RETRY, s.close, RETRY)]
        time = self.market.time
        sides: dict[int, Literal["left", "right"]] = {_EXPIRE: "right"}
        # In the order of rows: where days follow each other without a break, one's close is the next one's open.
        return sorted((int(np.searchsorted(time, ts, sides.get(what, "left"))), ts, what) for ts, what in marks)

    def _advance(self, end: int, last: int) -> None:
        """Run the loop up to row `end`, and with `last` end the instant there, growing the room as it asks for it."""
        while True:
            self._call(
                lambda: self.driver.backtest_columns(
                    self.market.columns,
                    self.market.time,
                    self.market.kind,
                    self.market.row,
                    end,
                    last,
                    self.state,
                    self.core,
                    self.params,
                    self.limits or FREE,
                    self.venue,
                    self.books,
                    self.out,
                    self.fills,
                    self.cursor,
                )
            )
            if self.at["stopped"] >= BY_DELTA:
                self._mend_book(int(self.at["stopped"]) - 1)
                continue
            if self.at["stopped"] != 0:  # at an order that a driver for plain ones does not know
                self.at["stopped"] = 0
                self.shape = self.shape._replace(plain=False)
                self.driver = load_driver(self.strategy, self.shape, self.fingerprint)
                continue
            if self.at["row"] >= end and (self.at["open"] == 0 or last == 0):
                return
            self._grow()

    def _mend_book(self, why: int) -> None:
        """Make the books such that the delta at the cursor can be applied."""
        assert isinstance(self.core, BookCore)
        k, price, size = self.market.delta(int(self.at["row"]))
        symbol = self.data.instruments[k].symbol
        self.core = self.core.with_seen(mend(self.core.seen, why, k, price, size, symbol))
        self.at["stopped"] = 0

    def _call(self, call: Any) -> None:
        try:
            with collecting_later():
                guarded(call, self.strategy, self.cursor)
        except ModelRaised as error:
            error.decisions = self.out[: self.at["decided"]]
            raise

    def _grow(self) -> None:
        """Double the room; a model that answers its own updates without end is told so before memory is."""
        row, made = int(self.at["row"]), int(self.at["decided"])
        if self.grown[0] != row:
            self.grown = row, made
        if made > 2 * self.grown[1] + ENDLESS:
            raise ModelError(
                f"model {self.strategy.name!r} has made {made:,} decisions by event {row:,} of"
                f" {self.market.count:,}, most of them on its own order updates; it must not answer each update with"
                " another order"
            )
        self.out, self.fills = _doubled(self.out), _doubled(self.fills)
        self.books = with_room(self.books, len(self.books.work) + MARGIN)

    def result(self, fees: Fees) -> Result:
        """Return what came of it."""
        return Result(
            strategy=self.strategy,
            params=self.params,
            data=self.data,
            decisions=self.out[: self.at["decided"]],
            events=self.fills[: self.at["filled"]],
            account=self.core.account,
            working=self.books.work[: self.books.count[0]],
            cash0=self.cash,
            fees=fees,
            rules=self.rules,
            limits=self.limits,
            latency=self.venue.latency,
            fingerprint=self.fingerprint,
            count=self.market.count,
        )


def _doubled(array: Records) -> Records:
    grown = records(2 * len(array) + 1024, array.dtype)
    grown[: len(array)] = array
    return as_records(grown)
