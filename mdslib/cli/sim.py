"""The command `mds sim`: the local exchange in the foreground."""

from __future__ import annotations

import asyncio
import datetime
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from mdslib.errors import ConfigError

MOST_LATENCY = 3_600_000.0  # ms, an hour
_NEW_YORK = "America/New_York"
_OF_VENUE = {"venue", "capture", "venue_fault", "symbol", "speed", "port", "exit_after"}


def sim_command(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option(help="A Lean zip file, or a folder of them; the made day by default.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="A store, as `mds import` fills it.")] = None,
    symbol: Annotated[
        list[str] | None, typer.Option(help="What is traded: stocks, or pairs like BTC/USD; may be repeated. SPY.")
    ] = None,
    date: Annotated[str | None, typer.Option(help="The day, YYYY-MM-DD.")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="trades, quotes, bars, book_deltas; may be repeated. Trades; of pairs all that is there."),
    ] = None,
    extended: Annotated[bool, typer.Option("--extended", help="Play the extended hours too.")] = False,
    start: Annotated[
        str | None, typer.Option("--from", help="First instant, HH:MM[:SS] New York; of pairs UTC.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Last instant, HH:MM[:SS] New York; of pairs UTC.")] = None,
    mode: Annotated[
        str,
        typer.Option(
            help="real, fast (see --speed), free (as fast as clients read), lockstep; empty: real.", show_default=False
        ),
    ] = "",
    speed: Annotated[float | None, typer.Option(help="Seconds of the day a second; means --mode fast.")] = None,
    batch: Annotated[int, typer.Option(help="Messages in one frame, at most.")] = 100,
    rules: Annotated[str, typer.Option(help="permissive or alpaca.")] = "alpaca",
    latency_ms: Annotated[float, typer.Option(help="From an order to its first possible fill.")] = 1.0,
    cash: Annotated[float, typer.Option(help="Opening cash, USD.")] = 100_000.0,
    fee_bps: Annotated[float, typer.Option(help="Fee of a fill, in basis points of its value.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the random partial fills.")] = 0,
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8765,
    feeds: Annotated[
        str, typer.Option(help="Feeds in the plan; others are refused with 409.")
    ] = "iex,sip,delayed_sip,test,crypto/us",
    symbol_limit: Annotated[int, typer.Option(help="Most symbols of a subscription (405 beyond); 0: no limit.")] = 0,
    history: Annotated[
        str, typer.Option(help="past: only what lies before the exchange's now; all: the whole day.")
    ] = "past",
    rate_limit: Annotated[bool, typer.Option("--rate-limit", help="Answer 429 beyond 200 calls a minute.")] = False,
    wait_for_client: Annotated[bool, typer.Option(help="Hold the day until a data client has subscribed.")] = True,
    log: Annotated[Path | None, typer.Option(help="Folder for the log of what is sent and ordered.")] = None,
    exit_after: Annotated[
        float | None, typer.Option(help="Seconds to stay up after the day's end; else until a signal.")
    ] = None,
    key: Annotated[
        str, typer.Option(envvar="MDS_SIM_KEY", show_envvar=True, help="The only key let in; else any.")
    ] = "",
    secret: Annotated[str, typer.Option(envvar="MDS_SIM_SECRET", show_envvar=True, help="Its secret.")] = "",
    faults: Annotated[str, typer.Option(help="What goes wrong: a fault script's file, or its name.")] = "",
    venue: Annotated[
        str,
        typer.Option(
            help="Play a crypto venue's market data instead: coinbase, bitfinex, kraken or bitmex; --symbol names "
            "the pairs of a made market.",
            show_default=False,
        ),
    ] = "",
    capture: Annotated[
        Path | None, typer.Option(help="The venue's market: a raw capture's file or folder; a made one by default.")
    ] = None,
    venue_fault: Annotated[
        list[str] | None,
        typer.Option(help="What goes wrong with the venue: 500:cut or 500:drop, at that message; may be repeated."),
    ] = None,
    list_faults: Annotated[
        bool, typer.Option("--list-faults", help="List the fault scripts that come with mdslib, and end.")
    ] = False,
) -> None:
    """Run a local exchange on 127.0.0.1: it speaks Alpaca's protocols, or a crypto venue's market data."""
    from mdslib.arguments import number
    from mdslib.calendar import parse_date
    from mdslib.sim.faults import catalogue, load_script
    from mdslib.sim.options import Mode, SimOptions
    from mdslib.sim.server import bind, serve
    from mdslib.sim.source import open_day

    if list_faults:
        scripts = catalogue()
        width = max(len(script.name) for script in scripts)
        typer.echo("\n".join(f"{script.name:{width}}  {script.about}" for script in scripts))
        return
    if venue or capture or venue_fault:
        from mdslib.cli.venue import run_venue

        _of_venue(context)
        pace = number("--speed", 1.0 if speed is None else speed, least=0.0)
        run_venue(venue, capture, symbol or (), pace, venue_fault or (), port, exit_after)
        return
    if speed is not None and mode not in ("", Mode.FAST):
        raise ConfigError(
            f"--speed is for --mode fast, received --mode {mode} --speed {speed:g}; leave one of them out"
        )
    script = load_script(faults) if faults else None
    bind(port).close()  # a used port is said at once, before the day is read
    day = parse_date(date) if date else None
    market = open_day(data, store, symbol or ["SPY"], day, kind or (), extended=extended)
    where = "UTC" if market.instruments[0].is_pair else _NEW_YORK
    played = day or (market.sessions[0].date if market.sessions else None)
    options = SimOptions(
        mode=mode or (Mode.REAL if speed is None else Mode.FAST),
        speed=1.0 if speed is None else speed,
        batch=batch,
        rules=rules,
        latency=int(number("--latency-ms", latency_ms, least=0, most=MOST_LATENCY) * 1_000_000),
        cash=cash,
        fee_bps=fee_bps,
        seed=seed,
        key=key,
        secret=secret,
        feeds=tuple(name.strip() for name in feeds.split(",")),
        symbol_limit=symbol_limit,
        history=history,
        enforce_rate_limit=rate_limit,
        wait_for_client=wait_for_client,
        from_ts=_instant("--from", start, played, where),
        to_ts=_instant("--to", end, played, where),
        log_dir=log,
        port=port,
        exit_after=exit_after,
        faults=script,
    )

    def ready(bound: int, stop: asyncio.Event) -> None:
        for ending in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(ending, stop.set)
        origin = "a made day, no recorded one" if data is None and store is None else f"recorded, from {data or store}"
        typer.echo(_welcome(bound, market, options, origin))

    asyncio.run(serve(market, options, ready))


def _of_venue(context: typer.Context) -> None:
    """Refuse what was written and has no effect beside a venue's market data."""
    for name, source in ((name, context.get_parameter_source(name)) for name in context.params):
        if source is not None and source.name == "COMMANDLINE" and name not in _OF_VENUE:
            option = next(max(one.opts, key=len) for one in context.command.params if one.name == name)
            raise ConfigError(
                f"{option} has no effect on a crypto venue's market data; leave it out, or leave --venue out"
            )


def _instant(option: str, text: str | None, day: datetime.date | None, where: str = _NEW_YORK) -> int | None:
    """Return ns UTC of a time of day in New York, or in UTC."""
    from zoneinfo import ZoneInfo

    if text is None:
        return None
    try:
        clock = datetime.time.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{option} must be a time of day in {where.partition('/')[2].replace('_', ' ') or where} like 09:45 or"
            f" 09:45:30, received {text!r}"
        ) from None
    if day is None:
        raise ConfigError(f"{option} needs a day: say which with --date YYYY-MM-DD")
    moment = datetime.datetime.combine(day, clock, ZoneInfo(where))
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (moment - epoch) // datetime.timedelta(microseconds=1) * 1000


def _welcome(port: int, market: Any, options: Any, origin: str) -> str:
    host = f"127.0.0.1:{port}"
    hint = "yours" if options.key else "any"
    return "\n".join(
        [
            f"exchange   {origin}: {market!r}",
            f"           mode {options.mode}, speed {options.speed:g}, rules {options.rules}",
            *([f"faults     {options.faults.name}: {options.faults.about}"] if options.faults else []),
            f"data       ws://{host}/v1beta3/crypto/us"
            if market.instruments[0].is_pair
            else f"data       ws://{host}/v2/iex (also sip, delayed_sip, test)",
            f"trading    http://{host}",
            f"updates    ws://{host}/stream",
            f"history    http://{host}",
            f"clock      ws://{host}/sim/time",
            "for a session, in its shell:",
            f"  export MDS_DATA_STREAM_URL=ws://{host} MDS_DATA_URL=http://{host} MDS_TRADE_URL=http://{host}",
            f"  export ALPACA_DATA_PUBLIC_KEY={hint} ALPACA_DATA_SECRET_KEY={hint}",
            f"  export ALPACA_TRADE_PUBLIC_KEY={hint} ALPACA_TRADE_SECRET_KEY={hint}",
            "the day begins when a data client has subscribed; Ctrl-C ends it"
            if options.wait_for_client
            else "the day has begun; Ctrl-C ends it",
        ]
    )
