"""The command `mds rehearse`: a live session against the local exchange under fault scripts, and what it lost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mdslib.rehearsal import Case
    from mdslib.sim import Script

MODEL = "mdslib.rehearsal.every_order"
STORM = "storm"  # what is rehearsed where nothing is named


def rehearse_command(
    model: Annotated[
        str, typer.Argument(help="A name, a module path, or a .py file; one that uses every kind of order by default.")
    ] = MODEL,
    faults: Annotated[
        list[str] | None, typer.Option(help="A fault script's file, or its name; may be repeated. storm by default.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every script that comes with mdslib.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A parameter of the model, as name=value.")] = None,
    data: Annotated[str, typer.Option(help="Folder of Lean files to play instead of a made day.")] = "",
    date: Annotated[str, typer.Option(help="Which day of them, or of the made day.")] = "",
    symbol: Annotated[str, typer.Option(help="The instrument.")] = "SPY",
    trades: Annotated[int, typer.Option(min=1, help="Trades of the made day.")] = 3_000,
    speed: Annotated[float, typer.Option(help="Seconds of the day in a second; less where a script asks.")] = 1_800.0,
    rules: Annotated[str, typer.Option(help="What the exchange refuses: permissive or alpaca.")] = "alpaca",
    end_of_day: Annotated[str, typer.Option(help="flatten or keep.")] = "flatten",
    jobs: Annotated[int, typer.Option(min=1, help="Rehearsals at a time.")] = 2,
    notebook: Annotated[
        bool | None,
        typer.Option("--notebook/--no-notebook", help="In the live notebook; by default for one script."),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of run folders.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
) -> int:
    """Rehearse a model under fault scripts: what was thrown at its session, what it did, what was lost or doubled.

    The exchange listens on 127.0.0.1 and takes any key pair; nothing leaves this machine. Each script's files lie in a
    folder of its own. Exit codes: 0 nothing was lost, and each session did what its script asks for; 1 some did not.
    """
    from mdslib.findings import counted
    from mdslib.rehearsal import Table, rehearse
    from mdslib.rehearsal.table import lines

    scripts = _scripts(faults or [], everything=all_)
    in_notebook = len(scripts) == 1 if notebook is None else notebook
    cases = _cases(scripts, model, set_ or [], data, date, symbol, trades, speed, rules, end_of_day, in_notebook, runs)
    quiet = json or markdown
    folder = cases[0].folder.parent
    under = counted(len(cases), "fault script")
    _say(f"rehearsing {model} under {under}, {jobs} at a time; files in {folder}", error=quiet)
    rows = []
    for row in rehearse(cases, jobs):
        rows.append(row)
        _say("\n".join(lines(row)), error=quiet)
    table = Table(tuple(rows)).sorted()
    table.write(folder)
    if quiet:
        _say(table.to_json() if json else table.markdown())
    _say(table.last(), error=quiet)
    return table.exit_code


def _scripts(names: list[str], *, everything: bool) -> list[Script]:
    from mdslib.errors import ConfigError
    from mdslib.sim import catalogue, load_script

    if everything and names:
        raise ConfigError(f"--all plays every script, so --faults {names[0]} can't be beside it; leave one of them out")
    scripts = list(catalogue()) if everything else [load_script(name) for name in names or [STORM]]
    twice = [script.name for script in scripts if [each.name for each in scripts].count(script.name) > 1]
    if twice:
        raise ConfigError(
            f"--faults must name different scripts, received {twice[0]} twice; their files have one folder"
        )
    return scripts


def _cases(
    scripts: list[Script], model: str, assignments: list[str], data: str, date: str, symbol: str, trades: int,
    speed: float, rules: str, end_of_day: str, notebook: bool, runs: Path,
) -> list[Case]:  # fmt: skip
    """Return the cases, after checking all of what was asked for."""
    from mdslib.cli.assignments import parse_assignments
    from mdslib.cli.demo import lean_day, made
    from mdslib.clock import wall_ns
    from mdslib.live.plan import check_terms
    from mdslib.rehearsal import Case
    from mdslib.rehearsal.case import local_parameters
    from mdslib.sim import SimOptions

    SimOptions(mode="fast", speed=speed, rules=rules)
    params = parse_assignments(assignments)
    terms = check_terms(model, **local_parameters("http://127.0.0.1", [symbol], end_of_day, {}, params))
    market = lean_day(data, symbol, date) if data else made(symbol, date, trades)
    name = f"{market.sessions[0].date}-{terms.strategy.name}-{wall_ns() // 1_000_000_000}"
    folder = (runs / "rehearsal" / name).absolute()
    return [
        Case(
            script, market, folder / script.name, model, params,
            speed=speed, rules=rules, end_of_day=end_of_day, notebook=notebook,
        )
        for script in scripts
    ]  # fmt: skip


def _say(text: str, *, error: bool = False) -> None:
    stream = sys.stderr if error else sys.stdout
    stream.write(text + "\n")
    stream.flush()
