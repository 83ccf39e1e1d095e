"""The command `mds check`, which holds a model to the strategy contract."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def check_command(
    model: Annotated[str, typer.Argument(help="A name, a module path, or a .py file.", show_default=False)],
    seed: Annotated[int, typer.Option(help="Of the made events and cuts.")] = 1,
    events: Annotated[int, typer.Option(help="How many made events.", min=1)] = 5000,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a model on made events, one line a law; exit 0 if it keeps them, 1 if it breaks one."""
    from mdslib.check import check_model
    from mdslib.cli.crash import say_on_crash

    say_on_crash(
        f"model {model!r} breaks: it compiles and runs: compiled, it uses an index outside an array and ends the "
        "process; uncompiled it does not, so look for an integer that overflows",
        code=1,
    )
    report = check_model(model, events=events, seed=seed)
    sys.stdout.write((report.to_json() if json else str(report)) + "\n")
    raise typer.Exit(report.exit_code)
