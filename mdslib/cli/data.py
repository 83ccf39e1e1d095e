"""`mds import lean`, `mds data ls`, `mds data made`: put market data into the store and see what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mdslib.errors import ConfigError, DataError
from mdslib.store.parquet import ParquetStore
from mdslib.strictjson import dumps

import_app = typer.Typer(help="Import recorded market data into the store.", no_args_is_help=True)
data_app = typer.Typer(help="List and make what the store holds.", no_args_is_help=True)

StoreOption = Annotated[
    Path | None, typer.Option("--store", help="Folder of recorded data; the settings' store unless given.")
]


@import_app.callback()
def _importers() -> None:
    """Import recorded market data into the store."""


@import_app.command("lean")
def import_lean_command(
    path: Annotated[Path, typer.Argument(help="A Lean zip file, or a folder of them.")],
    symbol: Annotated[str, typer.Option(help="What the rows are of, such as SPY.")],
    store: StoreOption = None,
) -> None:
    """Import QuantConnect Lean's trades, quotes and bars; a day that is stored already is replaced."""
    from mdslib.store.lean import import_lean

    opened = _opened(store)
    reports = import_lean(path, symbol, opened, lambda report: typer.echo(str(report), err=bool(report.error)))
    failed = [report for report in reports if report.error]
    stored = [report for report in reports if not report.error and not report.skipped]
    rows = sum(report.rows for report in stored)
    typer.echo(f"{len(stored)} of {len(reports)} files imported, {rows:,} rows, into {opened.root}")
    if failed:
        names = ", ".join(report.file for report in failed)
        raise DataError(f"{len(failed)} of {len(reports)} files were not imported: {names}; the reasons are above")
    if not stored:
        raise DataError(f"import lean: {path} holds no file of {symbol}; the names are above")


@data_app.command("ls")
def list_command(
    store: StoreOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, one object a part.")] = False,
) -> None:
    """List what the store holds: one line a symbol, kind and day."""
    opened = _opened(store)
    rows = opened.list()
    if as_json:
        typer.echo(dumps(rows, indent=1))
        return
    for row in rows:
        name = f"{row['venue']}:{row['symbol']}"
        counts = f"{row['rows']:>12,} rows {row['bytes']:>12,} bytes"
        typer.echo(f"{name:<17} {row['kind']:<9} {row['date']:<10} {counts}")
    absent = "" if opened.root.is_dir() else ", which is not there"
    typer.echo(f"{len(rows)} parts in {opened.root}{absent}")


@data_app.command("made")
def made_command(
    store: StoreOption = None,
    date: Annotated[str, typer.Option(help="The trading day to make, YYYY-MM-DD.")] = "2025-06-12",
    symbol: Annotated[str, typer.Option(help="The symbol to make it for.")] = "SPY",
    trades: Annotated[int, typer.Option(help="How many trades, about.", min=1, max=100_000_000)] = 200_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same bytes.", min=0)] = 7,
) -> None:
    """Make a trading day of the project's own and store it; it needs no data of anybody's."""
    from mdslib.calendar import parse_date
    from mdslib.instruments import parse_instrument
    from mdslib.store.made import describe_made, made_day
    from mdslib.store.parquet import Source

    opened = _opened(store)
    instrument = parse_instrument(symbol)
    table = made_day(date, instrument.symbol, trades, seed)
    opened.write(table, instrument, parse_date(date), source=[Source(f"made, seed {seed}", "")])
    typer.echo(f"{instrument.symbol} {date}: {describe_made(table)}; stored in {opened.root}")


def _opened(store: Path | None) -> ParquetStore:
    from mdslib.config import load_settings

    folder = load_settings().store if store is None else store
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"a store is a folder, received the file {folder}; name a folder with --store")
    return ParquetStore(folder)
