"""The command `mds demo`: a whole trading day against the local exchange, in a minute or two."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mdslib.table import MarketData

AT_LEAST = 4.0  # s of real time that there must be for going flat before the close
LONGEST = 3 * 3600.0  # s of the day; where it is played faster, there is no such time
MADE_DATE = "2025-06-12"
MADE_TRADES = 200_000


def demo_command(
    data: Annotated[str, typer.Option(help="Folder of Lean files to play instead of the made day.")] = "",
    date: Annotated[str, typer.Option(help="Which day of them.")] = "",
    model: Annotated[str, typer.Option(help="The model that trades.")] = "volume_modulo",
    symbol: Annotated[str, typer.Option(help="The instrument.")] = "SPY",
    speed: Annotated[float, typer.Option(help="Seconds of the day in a second.")] = 300.0,
    rules: Annotated[str, typer.Option(help="What the exchange refuses: permissive or alpaca.")] = "alpaca",
    runs: Annotated[Path, typer.Option(help="Folder of run folders.")] = Path("runs"),
    no_limits: Annotated[bool, typer.Option("--no-limits", help="Lift the desk's limits.")] = False,
    end_of_day: Annotated[str, typer.Option(help="flatten or keep.")] = "flatten",
    faults: Annotated[str, typer.Option(help="What goes wrong: a fault script's file, or its name.")] = "",
) -> int:
    """Play a whole trading day: a local exchange, the live notebook, orders, fills, the audit.

    The exchange listens on 127.0.0.1 and takes any key pair; nothing leaves this machine.
    """
    from mdslib.clock import wall_ns
    from mdslib.live.plan import check_terms
    from mdslib.live.program import Request, trade
    from mdslib.rehearsal.case import local_parameters
    from mdslib.sim import Exchange, SimOptions, load_script
    from mdslib.units import KEYS

    script = load_script(faults) if faults else None
    lead = f"{max(300.0, AT_LEAST * speed):.0f}s"
    options = SimOptions(mode="fast", speed=speed, rules=rules, batch=100, faults=script)
    asked = local_parameters("http://127.0.0.1", [symbol], end_of_day, {"no_limits": no_limits})
    terms = check_terms(model, **asked)
    market = lean_day(data, symbol, date) if data else made(symbol, date)
    day = market.sessions[0]
    run_dir = (runs / "demo" / f"{day.date}-{terms.strategy.name}-{wall_ns() // 10**9}").absolute()
    for name in KEYS:  # of no value: the local exchange lets every pair in
        os.environ[name] = "local-demo"
    _say(f"{market!r}; playing at {speed:g} times real time, about {(day.close - day.open) / 1e9 / speed:.0f} s")
    with Exchange(market, options, log_dir=run_dir / "sent") as exchange:
        _say(f"local exchange at {exchange.url}, rules {rules}")
        symbols = [instrument.symbol for instrument in market.instruments]
        session = {"no_limits": no_limits, "flatten_before": lead if AT_LEAST * speed < LONGEST else "5m"}
        parameters = local_parameters(exchange.url, symbols, end_of_day, session)
        code = trade(Request(model=model, parameters=parameters, date=str(day.date), run_dir=run_dir), _say)
    _say(f"the day's files: {run_dir}")
    return int(code)


def made(symbol: str, date: str, trades: int = MADE_TRADES) -> MarketData:
    """Return the project's own seeded day of so many trades."""
    from mdslib.calendar import session
    from mdslib.errors import ConfigError
    from mdslib.instruments import parse_instrument
    from mdslib.store.made import made_day
    from mdslib.table import MarketData

    day = session(date or MADE_DATE)
    if day is None:
        raise ConfigError(f"--date {date} is no trading day; choose another, or leave it out for {MADE_DATE}")
    instrument = parse_instrument(symbol)
    return MarketData((instrument,), (made_day(str(day.date), symbol=instrument.symbol, trades=trades),), (day,))


def lean_day(path: str, symbol: str, date: str) -> MarketData:
    """Import one day of Lean files into a store of its own, and return its regular hours."""
    import tempfile

    from mdslib.errors import ConfigError, DataError
    from mdslib.store.lean import import_lean
    from mdslib.store.load import load
    from mdslib.store.parquet import ParquetStore

    if not date:
        raise ConfigError("--data needs --date, a day that the folder holds, such as 2013-10-08")
    folder = Path(path)
    wanted = sorted(folder.glob(f"{date.replace('-', '')}*tick_trade*.zip")) if folder.is_dir() else [folder]
    if not wanted:
        name = f"{date.replace('-', '')}_tick_trade.zip"
        raise ConfigError(f"{path} holds no trades of {date}; it must have a file like {name}")
    with tempfile.TemporaryDirectory() as scratch:
        store = ParquetStore(Path(scratch))
        for report in (report for file in wanted for report in import_lean(file, symbol, store)):
            if report.error:
                raise DataError(f"--data {path}: {report.file} can't be played: {report.error}")
        return load(symbol, date, "trades", store)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
