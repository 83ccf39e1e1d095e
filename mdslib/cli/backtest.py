"""The command `mds backtest`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mdslib.strictjson import dumps


def backtest_command(
    model: Annotated[str, typer.Argument(help="A name, a module path, or a .py file.", show_default=False)],
    symbol: Annotated[list[str], typer.Option(help="Repeat it for several instruments.", show_default=False)],
    date: Annotated[str, typer.Option(help="Session, or first session of a range.", show_default=False)],
    to: Annotated[str, typer.Option(help="Last session of a range; empty: one day.")] = "",
    store: Annotated[Path | None, typer.Option(help="Folder of recorded data; the settings' store by default.")] = None,
    bars: Annotated[
        str, typer.Option(help="Spacing of bars for a model on bars: 1s, 1m, 1h or 1d; empty: 1m.", show_default=False)
    ] = "",
    extended: Annotated[bool, typer.Option(help="Keep extended hours.")] = False,
    rules: Annotated[str, typer.Option(help="What the venue refuses: permissive or alpaca.")] = "alpaca",
    limits: Annotated[bool, typer.Option("--limits/--no-limits", help="The desk's limits, or none.")] = True,
    latency: Annotated[str, typer.Option(help="From decision to the earliest match.")] = "1ms",
    fee_bps: Annotated[float, typer.Option(help="Fee of a fill, in basis points of its notional.")] = 0.0,
    fee_per_share: Annotated[float, typer.Option(help="Fee of a fill, in currency a share.")] = 0.0,
    cash: Annotated[float, typer.Option(help="Opening cash.")] = 100_000.0,
    flatten: Annotated[str, typer.Option(help="Go flat so long before each close, such as 5m; empty: keep.")] = "",
    seed: Annotated[int, typer.Option(help="Of the partial fills.")] = 0,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A parameter of the model, as name=value.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run a model over recorded data and print what came of it."""
    from mdslib.backtesting import backtest
    from mdslib.cli.assignments import parse_assignments
    from mdslib.cli.crash import blame_model
    from mdslib.matching import Fees
    from mdslib.store.load import load
    from mdslib.strategy import find_model

    strategy = find_model(model)
    params = parse_assignments(set_ or [])
    strategy.make_params(**params)  # a wrong name is told before a day is loaded
    data = load(symbol, (date, to) if to else date, kinds_of(strategy, bars), store, extended=extended)
    blame_model(model)
    result = backtest(
        strategy,
        data,
        params=params,
        fees=Fees(fee_bps, fee_per_share),
        latency=latency,
        rules=rules,
        limits=configured_limits() if limits else None,
        cash=cash,
        seed=seed,
        flatten=flatten or None,
    )
    figures = result.to_json()
    text = dumps(figures) if json else table(figures | {"sessions": span(figures["sessions"])})
    sys.stdout.write(f"{text}\n")
    if nonsense := figures["denials"].get("INVALID"):
        sys.stderr.write(f"{nonsense:,} answers were nonsense and denied (INVALID); mds check {model} names them\n")


def kinds_of(strategy: Any, bars: str) -> list[str]:
    """Return the kinds of rows that a strategy takes, as `mdslib.load` names them; `bars` is their spacing."""
    from mdslib.errors import ConfigError

    names = [kind.name.lower() + "s" for kind in strategy.market_kinds] or ["trades"]
    if bars and "bars" not in names:
        raise ConfigError(
            f"--bars is for a model on bars, received --bars {bars}: {strategy.name} takes {' and '.join(names)};"
            " leave it out, or choose another model"
        )
    return [f"bars_{bars or '1m'}" if name == "bars" else name for name in names]


def configured_limits() -> Any:
    """Return the desk's limits of the settings."""
    from mdslib.config import load_settings
    from mdslib.risk import make_limits

    return make_limits(**load_settings().limits.model_dump())


def span(dates: list[str]) -> str:
    """Return a run's sessions in a few words.

    Examples
    --------
    >>> span(["2013-10-07", "2013-10-08", "2013-10-11"])
    '2013-10-07 to 2013-10-11, 3 sessions'
    """
    return f"{dates[0]} to {dates[-1]}, {len(dates):,} sessions" if len(dates) > 1 else ", ".join(dates)


def table(figures: dict[str, Any]) -> str:
    """Return figures as lines of name and value, for a terminal."""
    width = max(len(name) for name in figures)
    return "\n".join(f"{name:<{width}}  {_said(value)}" for name, value in figures.items())


def _said(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "none" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_said(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
