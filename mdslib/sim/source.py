"""Where the day that an exchange plays comes from: Lean's files, the store, or the project's own made day."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mdslib.errors import ConfigError, DataError
from mdslib.table import MarketData


def open_day(
    data: Path | None = None,
    store: Path | None = None,
    symbols: Sequence[str] = ("SPY",),
    date: datetime.date | None = None,
    kinds: Sequence[str] = ("trades",),
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
        What is traded.
    date : datetime.date, optional
        The day.
    kinds : sequence of str
        As in `mdslib.load`.
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
    _refuse_unused(data, store, symbols, kinds, extended=extended)
    if data is not None:
        return _lean_day(data, symbols[0], date, kinds, extended=extended)
    if store is not None:
        return _stored_day(store, symbols, date, kinds, extended=extended)
    return _made_day(symbols, date)


def _refuse_unused(
    data: Path | None, store: Path | None, symbols: Sequence[str], kinds: Sequence[str], *, extended: bool
) -> None:
    if data is not None and store is not None:
        raise ConfigError(f"--data and --store name two sources, received {data} and {store}; leave one out")
    if data is not None and len(symbols) > 1:
        raise ConfigError(
            f"--data plays one symbol, received {', '.join(symbols)}; `mds import lean` them and play --store"
        )
    if data is None and store is None:
        others = [kind for kind in kinds if kind != "trades"]
        if others or extended:
            received = f"--kind {others[0]}" if others else "--extended"
            raise ConfigError(
                f"the made day has trades of the regular session alone, received {received}; leave it out, or play"
                " recorded data with --store or --data"
            )


def _made_day(symbols: Sequence[str], date: datetime.date | None) -> MarketData:
    from mdslib.calendar import session_at
    from mdslib.instruments import parse_instrument
    from mdslib.store.made import made_day
    from mdslib.table import merge

    instruments = tuple(parse_instrument(symbol) for symbol in symbols)
    made = [made_day(symbol=i.symbol) if date is None else made_day(date, i.symbol) for i in instruments]
    numbered = [t.replace(instrument=np.full(len(t), k, "<u2")) for k, t in enumerate(made)]
    session = session_at(int(made[0]["ts_event"][0]), instruments[0].session)
    return MarketData(instruments, (merge(numbered),), () if session is None else (session,))


def _stored_day(
    store: Path, symbols: Sequence[str], date: datetime.date | None, kinds: Sequence[str], *, extended: bool
) -> MarketData:
    from mdslib.store.load import load

    if date is None:
        raise DataError("a store holds many days: say which with --date YYYY-MM-DD")
    return load(list(symbols), date, list(kinds), store, extended=extended)


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
