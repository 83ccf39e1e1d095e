"""`mds import lean` and `mds data`: put market data into the store, and see, check and keep in order what it holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mdslib.errors import ConfigError, DataError
from mdslib.findings import counted
from mdslib.store.tickstore import Source, TickStore
from mdslib.strictjson import dumps

if TYPE_CHECKING:
    from mdslib.store.compact import Compacted

import_app = typer.Typer(help="Import recorded market data into the store.", no_args_is_help=True)
data_app = typer.Typer(help="List, compact, verify and make what the store holds.", no_args_is_help=True)

StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store", help="Folder of recorded data, s3://BUCKET/FOLDER, or arctic:ADDRESS; the settings' unless given."
    ),
]
RecordArgument = Annotated[
    Path | None,
    typer.Argument(help="A recorder's folder, or one venue's or day's in it; the settings' unless given."),
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

    opened = opened_store(store)
    reports = import_lean(path, symbol, opened, lambda report: typer.echo(str(report), err=bool(report.error)))
    failed = [report for report in reports if report.error]
    stored = [report for report in reports if not report.error and not report.skipped]
    rows = sum(report.rows for report in stored)
    typer.echo(f"{len(stored)} of {len(reports)} files imported, {rows:,} rows, into {opened.where}")
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
    from mdslib.store.parquet import ParquetStore

    opened = _store_to_read(store)
    rows = opened.list()
    if as_json:
        typer.echo(dumps(rows, indent=1))
        return
    for row in rows:
        name = f"{row['venue']}:{row['symbol']}"
        counts = f"{row['rows']:>12,} rows {row['bytes']:>12,} bytes"
        typer.echo(f"{name:<17} {row['kind']:<9} {row['date']:<10} {counts}")
    absent = ", which is not there" if isinstance(opened, ParquetStore) and not opened.root.is_dir() else ""
    typer.echo(f"{counted(len(rows), 'part')} in {opened.where}{absent}")


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

    opened = opened_store(store)
    instrument = parse_instrument(symbol)
    table = made_day(date, instrument.symbol, trades, seed)
    opened.write(table, instrument, parse_date(date), source=[Source(f"made, seed {seed}", "")])
    typer.echo(f"{instrument.symbol} {date}: {describe_made(table)}; stored in {opened.where}")


@data_app.command("compact")
def compact_command(
    record: RecordArgument = None,
    store: StoreOption = None,
    chunk: Annotated[int, typer.Option(help="Rows that a reader decodes at once.", min=1_000)] = 100_000,
    every: Annotated[str, typer.Option(help="Go on until a signal, once in so long: 15m, 1h.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, one object a venue and day.")] = False,
    unit: Annotated[bool, typer.Option("--unit", help="Print a systemd unit that runs this command, and end.")] = False,
) -> None:
    """Bring a recorder's tapes into the store, a running day's too; it may be killed and repeated at any time."""
    from mdslib.store.compact import compact

    if every and as_json:
        raise ConfigError("--json prints one list, and --every goes on; leave one of them out")
    if unit:
        _print_unit(_recorded(record), store, chunk, every)
        return
    if every:
        _compact_for_ever(_recorded(record), lambda: opened_store(store, chunk), every)
    reports = compact(_recorded(record), opened_store(store, chunk), None if as_json else _say)
    if as_json:
        typer.echo(dumps([report._asdict() for report in reports], indent=1))
    failed = [report for report in reports if report.error]
    if failed:
        raise DataError(f"{len(failed)} of {len(reports)} days were not compacted; their tapes stand; see above")


@data_app.command("verify")
def verify_command(
    store: StoreOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, one object a part.")] = False,
) -> None:
    """Read every part of the store, and name those that are damaged."""
    from mdslib.store.integrity import verify_store

    opened = _store_to_read(store)
    found = list(verify_store(opened))
    bad = [part for part in found if part.error]
    if as_json:
        typer.echo(dumps([part._asdict() for part in found], indent=1))
    else:
        for part in bad:
            typer.echo(f"{part.part}: DAMAGED: {part.error}", err=True)
        bare = sum(not part.digest for part in found) - len(bad)
        older = f"; {bare} have no digest, written by an earlier version" if bare else ""
        rows = sum(part.rows for part in found)
        whole = f"{len(found) - len(bad)} of {counted(len(found), 'part')} are whole, {counted(rows, 'row')}"
        typer.echo(f"{whole}, in {opened.where}{older}")
    if bad:
        raise DataError(f"{len(bad)} of {len(found)} parts are damaged: {', '.join(part.part for part in bad[:5])}")


@data_app.command("retain")
def retain_command(
    days: Annotated[int, typer.Option(help="How many days of tapes to keep, today (UTC) included.", min=1)],
    record: RecordArgument = None,
    store: StoreOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare and report, and delete nothing.")] = False,
) -> None:
    """Delete older tapes, and only those of which the store gives back every row."""
    from mdslib.store.retain import retain

    reports = retain(
        _recorded(record),
        opened_store(store),
        days,
        dry_run=dry_run,
        progress=lambda report: typer.echo(str(report), err=report.failed),
    )
    freed = sum(report.freed for report in reports)
    typer.echo(f"{freed:,} bytes {'would be' if dry_run else 'were'} deleted")
    failed = [report for report in reports if report.failed]
    if failed:
        raise DataError(f"the tapes of {len(failed)} of {len(reports)} days stay, although they are old; see above")


def _compact_for_ever(record: Path, store: Callable[[], TickStore], every: str) -> None:
    """Compact again and again; what fails once, as a bucket that is away, is told and tried again the next time."""
    from threading import Event

    from mdslib.clock import WallClock
    from mdslib.store.compact import compact
    from mdslib.strategy.timers import duration_ns

    pause, clock, never = duration_ns(every), WallClock(), Event()
    while True:
        try:
            compact(record, store(), lambda report: None if report.unchanged else _say(report))
        except DataError as error:
            typer.echo(f"mds: {error}; tried again in {every}", err=True)
        clock.wait(never, clock.now() + pause)


def _print_unit(record: Path, store: Path | None, chunk: int, every: str) -> None:
    import sys

    from mdslib.strategy.timers import duration_ns
    from mdslib.units import render_compactor

    if not every:
        raise ConfigError("--unit is for a service that goes on; say how often it compacts: --every 15m")
    duration_ns(every)
    folder = record.expanduser().absolute()
    words = [str(folder), "--every", every, "--chunk", str(chunk)]
    words += [] if store is None else ["--store", str(store)]  # a folder is one below the unit's own
    credentials = Path("~/.config/mdslib/credentials").expanduser()
    typer.echo(
        render_compactor(folder, every, words, Path(sys.executable).absolute(), Path.cwd(), credentials), nl=False
    )


def _say(report: Compacted) -> None:
    typer.echo(str(report), err=bool(report.error))


def _recorded(record: Path | None) -> Path:
    from mdslib.config import load_settings

    return load_settings().record if record is None else record


def _store_to_read(store: Path | None) -> TickStore:
    """Return the store that an option names, which must be there, or the settings' one."""
    from mdslib.store.parquet import ParquetStore

    opened = opened_store(store)
    if store is not None and isinstance(opened, ParquetStore) and not opened.root.is_dir():
        raise DataError(f"--store {store} is not there; name a store's folder, or leave it out for the settings' one")
    return opened


def opened_store(store: Path | None, chunk: int | None = None) -> TickStore:
    """Return the store that an option names, or the settings' one."""
    from mdslib.config import load_settings
    from mdslib.store.open import open_store

    return open_store(load_settings().store if store is None else store, chunk)
