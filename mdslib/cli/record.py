"""The command `mds record`: market data of several venues to tapes, for months."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from mdslib.errors import ConfigError

if TYPE_CHECKING:
    from mdslib.recorder.plan import Plan
    from mdslib.store.tapefile import Durability

_LIVE_EVERY = 1.0  # s
_EVERY, _LEVELS = "1s", 50  # of snapshots


def record_command(
    feeds: Annotated[
        list[str] | None,
        typer.Argument(metavar="[VENUE:SYMBOL]...", help="Such as kraken:XBT/USD or alpaca:SPY.", show_default=False),
    ] = None,
    mode: Annotated[
        str, typer.Option(help="full: ticks, books kept; light: ticks only; snapshot: books every so often.")
    ] = "full",
    every: Annotated[
        str | None, typer.Option(help="Between two snapshots: 250ms, 1s, 5m; 1s by default.", show_default=False)
    ] = None,
    levels: Annotated[
        int | None, typer.Option(help="Best levels of each side of a snapshot; 50 by default.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the tapes; the setting `record` by default.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Keep what the sockets say too, compressed.")] = False,
    durability: Annotated[
        str, typer.Option(help="write: a batch survives kill -9; fsync: a loss of power too.")
    ] = "write",
    process_per_pair: Annotated[bool, typer.Option("--process-per-pair", help="A process for each pair.")] = False,
    url: Annotated[list[str] | None, typer.Option(help="Another address, as venue=wss://…; may be repeated.")] = None,
    status: Annotated[bool, typer.Option("--status", help="Show what the recorders of the folder do.")] = False,
    json: Annotated[bool, typer.Option("--json", help="With --status: print one JSON object.")] = False,
    unit: Annotated[bool, typer.Option("--unit", help="Print a systemd unit that runs this command, and end.")] = False,
    only: Annotated[bool, typer.Option("--only", hidden=True)] = False,
) -> int:
    """Record ticks and order books until a signal, or show how that goes.

    Venues: coinbase, coinbase-advanced, kraken, kraken-v2, bitfinex, bitmex, and alpaca. A connection that is lost is
    made anew for ever; SIGINT and SIGTERM end it with everything on the tapes.
    """
    from mdslib.config import load_settings

    settings = load_settings()
    folder = (out or settings.record).expanduser()
    if status:
        if feeds:
            raise ConfigError(f"--status shows all that is recorded, received {' '.join(feeds)} too; leave it out")
        _show(folder, as_json=json)
        return 0
    if json:
        raise ConfigError("--json is for --status; add it")
    urls = dict(settings.venue_urls) | dict(map(_url, url or ()))
    urls.setdefault("alpaca", settings.data_stream_url)
    plan = _plan(feeds or [], mode, every, levels, folder, raw, durability, urls, settings.feed)
    if unit:
        _print_unit(plan, every or _EVERY, url or [], each=process_per_pair)
        return 0
    if process_per_pair:
        return _each(plan, every or _EVERY, url or [])
    from mdslib.recorder.program import record

    record(plan.of_each()[0] if only else plan, _tell)
    return 0


def _plan(
    feeds: list[str], mode: str, every: str | None, levels: int | None, out: Path, raw: bool, durability: str,
    urls: dict[str, str], feed: str,
) -> Plan:  # fmt: skip
    from mdslib.recorder.plan import Mode, Plan, parse_mode, parse_wanted
    from mdslib.strategy.timers import duration_ns

    kind = parse_mode(mode)
    for name, given in (("--every", every), ("--levels", levels)):
        if given is not None and kind is not Mode.SNAPSHOT:
            raise ConfigError(f"{name} is for --mode snapshot, received it with --mode {mode}; leave it out")
    if durability not in ("write", "fsync"):
        raise ConfigError(f"--durability must be write or fsync, received {durability!r}")
    try:
        interval = duration_ns(_EVERY if every is None else every)
    except ConfigError as error:
        raise ConfigError(f"--every: {error}") from None
    wanted = tuple(map(parse_wanted, feeds))
    kept = cast("Durability", durability)
    most = _LEVELS if levels is None else levels
    return Plan(wanted, out.absolute(), kind, interval, most, raw, kept, urls, feed=feed)


def _url(text: str) -> tuple[str, str]:
    venue, equals, address = text.partition("=")
    if not (venue and equals and "://" in address):
        raise ConfigError(f"--url must be venue=address, received {text!r}; write kraken=ws://127.0.0.1:8765")
    return venue, address


def _options(plan: Plan, every: str, url: list[str]) -> list[str]:
    """Return the options that say the same as this command's."""
    from mdslib.recorder.plan import Mode

    words = ["--mode", plan.mode.value]
    words += ["--every", every, "--levels", str(plan.levels)] if plan.mode is Mode.SNAPSHOT else []
    words += ["--out", str(plan.out), "--durability", plan.durability, *(["--raw"] if plan.raw else [])]
    return words + [word for text in url for word in ("--url", text)]


def _each(plan: Plan, every: str, url: list[str]) -> int:
    from mdslib.recorder.claim import claimed
    from mdslib.recorder.processes import record_each

    for one in plan.of_each():  # its process holds it; this is to be told once, before any is started
        with claimed(one):
            pass
    options = _options(plan, every, url)
    return record_each([(each.id, ["record", each.id, *options, "--only"]) for each in plan.wanted], _tell)


def _print_unit(plan: Plan, every: str, url: list[str], *, each: bool) -> None:
    from mdslib.units import render_recorder

    feeds = [wanted.id for wanted in plan.wanted]
    words = [*feeds, *_options(plan, every, url), *(["--process-per-pair"] if each else [])]
    credentials = Path("~/.config/mdslib/credentials").expanduser()
    sys.stdout.write(render_recorder(feeds, words, Path(sys.executable).absolute(), Path.cwd(), credentials))


def _tell(line: str) -> None:
    """Write one line with the time to standard error, where systemd's journal and a person find it."""
    import datetime

    from mdslib.clock import wall_ns

    now = datetime.datetime.fromtimestamp(wall_ns() / 1e9, datetime.UTC)
    sys.stderr.write(f"{now:%Y-%m-%dT%H:%M:%SZ} {' '.join(line.split())}\n")
    sys.stderr.flush()


def _show(folder: Path, *, as_json: bool) -> None:
    from mdslib.recorder.status import read_status, table_of

    told = read_status(folder)
    if as_json:
        from mdslib.strictjson import dumps

        sys.stdout.write(dumps(told) + "\n")
        return
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        Console(width=160).print(table_of(told))
        return
    _watch(folder, console)


def _watch(folder: Path, console: Any) -> None:
    """Show the table until Ctrl-C, which is how a person leaves it."""
    import threading

    from rich.live import Live

    from mdslib.recorder.status import read_status, table_of

    pause = threading.Event()
    with Live(table_of(read_status(folder), console.width), console=console, auto_refresh=False) as live:
        try:
            while not pause.wait(_LIVE_EVERY):
                live.update(table_of(read_status(folder), console.width), refresh=True)
        except KeyboardInterrupt:
            return
