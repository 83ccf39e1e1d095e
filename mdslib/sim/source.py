"""Where the day that an exchange plays comes from: Lean's files, the store, or the project's own made day."""

from __future__ import annotations

import dataclasses
import datetime
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mdslib.errors import ConfigError, DataError
from mdslib.instruments import CRYPTO_LOTS, Instrument, parse_instrument, quote_currency
from mdslib.table import MarketData

_MADE = ("trades", "book_deltas")  # what a made day of pairs has; one of stocks has the first


def open_day(
    data: Path | None = None,
    store: Path | None = None,
    symbols: Sequence[str] = ("SPY",),
    date: datetime.date | None = None,
    kinds: Sequence[str] = (),
    *,
    extended: bool = False,
) -> MarketData:
    """Return the day that an exchange plays.

    Parameters
    ----------
    data : Path, optional
        One of Lean's zip files, or a folder of them (then `date` chooses the file); of the first symbol.
    store : Path, optional
        A store; without this and `data`, the project's made day.
    symbols : sequence of str
        What is traded: stocks, or crypto pairs such as ``BTC/USD``; of a store also ``kraken:XBT/USD``.
    date : datetime.date, optional
        The day.
    kinds : sequence of str
        As in `mdslib.load`; by default the trades, of pairs all that is there.
    extended : bool
        Play the extended hours too.

    Raises
    ------
    DataError
        There is no such day.
    ConfigError
        What is asked for would make no difference: a kind or extended hours of the made day, which has trades of the
        session alone; a second symbol of a file.
    """
    pairs = all("/" in parse_instrument(symbol).symbol or _recorded(symbol) for symbol in symbols)
    _refuse_unused(data, store, symbols, kinds, extended=extended, pairs=pairs)
    if pairs and data is None:
        return _pairs_day(store, symbols, date, kinds)
    kinds = kinds or ("trades",)
    if data is not None:
        return _lean_day(data, symbols[0], date, kinds, extended=extended)
    if store is not None:
        return _stored_day(store, symbols, date, kinds, extended=extended)
    return _made_day(symbols, date)


def _refuse_unused(
    data: Path | None,
    store: Path | None,
    symbols: Sequence[str],
    kinds: Sequence[str],
    *,
    extended: bool,
    pairs: bool,
) -> None:
    if data is not None and store is not None:
        raise ConfigError(f"--data and --store name two sources, received {data} and {store}; leave one out")
    if data is not None and len(symbols) > 1:
        raise ConfigError(
            f"--data plays one symbol, received {', '.join(symbols)}; `mds import lean` them and play --store"
        )
    if data is None and store is None:
        made = _MADE if pairs else _MADE[:1]
        others = [kind for kind in kinds if kind not in made]
        if others or extended:
            received = f"--kind {others[0]}" if others else "--extended"
            has = "trades and order books" if pairs else "trades of the regular session"
            raise ConfigError(
                f"the made day has {has} alone, received {received}; leave it out, or play"
                " recorded data with --store or --data"
            )


def _recorded(symbol: str) -> bool:
    return symbol.partition(":")[0] in CRYPTO_LOTS


def _pairs_day(
    store: Path | None, symbols: Sequence[str], date: datetime.date | None, kinds: Sequence[str]
) -> MarketData:
    """Return a day of pairs, recorded or made."""
    from mdslib.store.madebook import made_books

    if store is not None:
        return as_alpaca(_stored_day(store, symbols, date, kinds or None))
    made = made_books(pairs=symbols) if date is None else made_books(date, symbols)
    wanted = {_MADE.index(kind) for kind in kinds} or {0, 1}
    return dataclasses.replace(made, tables=tuple(table for k, table in enumerate(made.tables) if k in wanted))


def as_alpaca(data: MarketData) -> MarketData:
    """Return pairs that any venue traded as Alpaca's: named like ``BTC/USD``, sizes in its lot.

    Examples
    --------
    >>> from mdslib.table import trades
    >>> day = MarketData((parse_instrument("coinbase:BTC-USD"),), (trades([1], [90000.5], [25_000_000]),))
    >>> told = as_alpaca(day)
    >>> told.instruments[0].id, told.trades["size"].tolist()  # a quarter of a bitcoin
    ('alpaca:BTC/USD', [250000000])
    """
    instruments = tuple(parse_instrument(_alpaca_name(instrument)) for instrument in data.instruments)
    ratios = [there.lot / here.lot for there, here in zip(data.instruments, instruments, strict=True)]
    for instrument, ratio in zip(data.instruments, ratios, strict=True):
        if abs(ratio - round(ratio)) > 1e-6 or ratio < 0.5:
            raise DataError(
                f"{instrument.id} can't be played as Alpaca's: its sizes are counts of {instrument.lot:g}, and"
                f" Alpaca's of {instruments[0].lot:g} units"
            )
    times = np.array([round(ratio) for ratio in ratios], np.int64)
    tables = []
    for table in data.tables:
        sizes = [name for name in ("size", "bid_size", "ask_size", "volume") if name in table.columns]
        tables.append(table.replace(**{name: table[name] * times[table["instrument"]] for name in sizes}))
    return dataclasses.replace(data, instruments=instruments, tables=tuple(tables))


def _alpaca_name(instrument: Instrument) -> str:
    """Return a pair's name with a slash; what it is quoted in is told by the venue's own name, or not at all."""
    symbol, quote = instrument.symbol, quote_currency(instrument.venue, instrument.symbol)
    if "/" in symbol:
        return symbol
    base = symbol.removeprefix("t") if instrument.venue == "bitfinex" else symbol
    base = base.removesuffix(quote).rstrip("-:") if quote else ""
    if not base:
        raise DataError(f"{instrument.id} can't be played as Alpaca's: it is no pair of currencies, such as BTC/USD")
    return f"{base}/{quote}"


def _made_day(symbols: Sequence[str], date: datetime.date | None) -> MarketData:
    from mdslib.calendar import session_at
    from mdslib.store.made import made_day
    from mdslib.table import merge

    instruments = tuple(parse_instrument(symbol) for symbol in symbols)
    made = [made_day(symbol=i.symbol) if date is None else made_day(date, i.symbol) for i in instruments]
    numbered = [t.replace(instrument=np.full(len(t), k, "<u2")) for k, t in enumerate(made)]
    session = session_at(int(made[0]["ts_event"][0]), instruments[0].session)
    return MarketData(instruments, (merge(numbered),), () if session is None else (session,))


def _stored_day(
    store: Path,
    symbols: Sequence[str],
    date: datetime.date | None,
    kinds: Sequence[str] | None,
    *,
    extended: bool = False,
) -> MarketData:
    from mdslib.store.load import load

    if date is None:
        raise DataError("a store holds many days: say which with --date YYYY-MM-DD")
    return load(list(symbols), date, None if kinds is None else list(kinds), store, extended=extended)


def _lean_day(
    data: Path, symbol: str, date: datetime.date | None, kinds: Sequence[str], *, extended: bool
) -> MarketData:
    """Import the day into a store that lives as long as this call: one way in for recorded data, not two."""
    from mdslib.store.lean import import_lean, parse_name
    from mdslib.store.parquet import ParquetStore

    if not data.exists():
        raise DataError(f"--data {data} does not exist; name one of Lean's zip files, or a folder of them")
    if data.is_dir():
        if date is None:
            raise DataError(f"--data {data} is a folder: say which day with --date YYYY-MM-DD")
        files = sorted(path for path in data.glob(f"{date:%Y%m%d}_*.zip"))
        if not files:
            days = sorted({path.name[:8] for path in data.glob("*.zip")})
            raise DataError(f"--data {data} has no file of {date}; it has {', '.join(days) or 'no zip file'}")
    else:
        files, date = [data], date or parse_name(data.name).date
        if date is None:
            raise DataError(f"--data {data} holds many days: say which with --date YYYY-MM-DD")
    with tempfile.TemporaryDirectory() as folder:
        store = ParquetStore(Path(folder))
        for file in files:
            for report in import_lean(file, symbol, store):
                if report.error:
                    raise DataError(f"{report.file}: {report.error}")
        return _stored_day(Path(folder), [symbol], date, kinds, extended=extended)
