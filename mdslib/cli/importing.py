"""`mds import` of what other tools recorded, and `mds export`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from mdslib.cli.data import StoreOption, import_app, opened_store
from mdslib.errors import ConfigError, did_you_mean
from mdslib.findings import counted

PathArgument = Annotated[Path, typer.Argument(help="The file.", show_default=False)]


def _say(days: Iterable[object], where: str) -> None:
    told = [str(day) for day in days]
    for line in told:
        typer.echo(line)
    typer.echo(f"{counted(len(told), 'part')} stored in {where}")


@import_app.command("tardis")
def tardis_command(
    path: PathArgument,
    store: StoreOption = None,
    instrument: Annotated[str, typer.Option(help="venue:SYMBOL to store it as; the file's own unless given.")] = "",
) -> None:
    """Import a CSV of Tardis: trades, quotes, incremental_book_L2 or book_snapshot_N, plain or .gz."""
    from mdslib.store.tardis import import_tardis

    opened = opened_store(store)
    _say(import_tardis(path, opened, instrument), opened.where)


@import_app.command("lobster")
def lobster_command(
    path: Annotated[Path, typer.Argument(help="A message file; its orderbook file beside it is read too.")],
    store: StoreOption = None,
    venue: Annotated[str, typer.Option(help="Venue to store it under.")] = "lobster",
) -> None:
    """Import LOBSTER: executions as trades, the order book as deltas, its best level as quotes."""
    from mdslib.store.lobster import import_lobster

    opened = opened_store(store)
    found = import_lobster(path, opened, venue)
    _say(found.days, opened.where)
    typer.echo(f"{found.executions:,} of {found.messages:,} messages were executions")


@import_app.command("dbn")
def dbn_command(
    path: PathArgument,
    store: StoreOption = None,
    venue: Annotated[str, typer.Option(help="Venue to store it under; the file's dataset unless given.")] = "",
) -> None:
    """Import Databento's DBN: trades, best quotes, books (mbo, mbp-10), bars; needs the extra databento."""
    from mdslib.store.dbn import import_dbn

    opened = opened_store(store)
    found = import_dbn(path, opened, venue)
    _say(found.days, opened.where)
    for name, count in found.left_out.items():
        typer.echo(f"{count:,} records left out: {name}")


@import_app.command("capture")
def capture_command(
    path: Annotated[Path, typer.Argument(help="A capture's file, or the folder of one session's files.")],
    store: StoreOption = None,
    venue: Annotated[str, typer.Option(help="Venue, where the capture does not tell it.")] = "",
) -> None:
    """Import a raw capture of a venue's sockets, cryptofeed's or mdslib's own."""
    from mdslib.store.captured import import_capture

    opened = opened_store(store)
    days, report = import_capture(path, opened, venue)
    _say(days, opened.where)
    figures = report.as_dict()
    typer.echo(
        f"{figures['messages']:,} messages: "
        + ", ".join(f"{figures[name]:,} {name}" for name in ("decoded", "control", "ignored"))
    )
    if report.damaged:
        raise report.damaged[0]


@import_app.command("csv")
def csv_command(
    path: PathArgument,
    instrument: Annotated[str, typer.Option(help="Whose rows they are: SPY, kraken:XBT/USD.")],
    column: Annotated[
        list[str], typer.Option(help="OURS=THEIRS for each column, such as ts_event=time, price=px; several times.")
    ],
    kind: Annotated[str, typer.Option(help="What the rows are: trades, quotes, bars, book_deltas.")] = "trades",
    time: Annotated[str, typer.Option(help="What times are counted in: s, ms, us, ns, or iso for texts.")] = "ns",
    interval: Annotated[str, typer.Option(help="Length of bars, such as 1m.")] = "",
    names: Annotated[str, typer.Option(help="Names of all columns, with commas, where the file has no header.")] = "",
    store: StoreOption = None,
) -> None:
    """Import a CSV by a mapping of its columns, plain or .gz."""
    from mdslib.store.frames import import_csv
    from mdslib.store.load import KINDS

    if kind not in KINDS:
        raise ConfigError(f"--kind {kind!r} is not known. {did_you_mean(kind, KINDS)}")
    pairs = [text.partition("=") for text in column]
    wrong = next(("".join(pair) for pair in pairs if not (pair[0] and pair[2])), None)
    if wrong is not None:
        raise ConfigError(f"--column must be OURS=THEIRS, received {wrong!r}; for example --column price=px")
    opened = opened_store(store)
    mapping = {ours: theirs for ours, _, theirs in pairs}
    header = names.split(",") if names else None
    days = import_csv(
        path, KINDS[kind], mapping, instrument, opened, time=time, names=header, interval=interval or None
    )
    _say(days, opened.where)


def export_command(
    path: Annotated[Path, typer.Argument(help="The file to write: .parquet, .csv or .csv.gz.", show_default=False)],
    symbol: Annotated[list[str], typer.Option(help="SPY, kraken:XBT/USD; several times for several.")],
    date: Annotated[str, typer.Option(help="The day, YYYY-MM-DD.")],
    to: Annotated[str, typer.Option(help="The last day, where there are several.")] = "",
    kind: Annotated[str, typer.Option(help="trades, quotes, bars_1s, book_deltas, ...")] = "trades",
    extended: Annotated[bool, typer.Option("--extended", help="Keep what lies outside regular hours.")] = False,
    store: StoreOption = None,
) -> None:
    """Write stored data to one plain file, Parquet or CSV."""
    from mdslib.store.export import export
    from mdslib.store.load import load

    data = load(symbol, (date, to) if to else date, kind, opened_store(store), extended=extended)
    typer.echo(f"{export(data, path):,} rows of {kind} in {path}")
