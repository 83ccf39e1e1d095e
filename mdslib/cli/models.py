"""`mds models` and `mds new-model`."""

from __future__ import annotations

import keyword
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mdslib.config import load_settings
from mdslib.errors import ConfigError
from mdslib.events import Kind
from mdslib.strategy.discovery import Found, list_models, model_folders
from mdslib.strictjson import dumps

TEMPLATE = '''"""{title}: what it bets on, in one sentence."""

from typing import NamedTuple

from mdslib import Trade, buy, hold, records, sell, strategy


class Params(NamedTuple):
    window: int = 50  # trades between two decisions
    shares: float = 5.0


STATE = [("count", "i8"), ("last", "f8")]


def new_state(p):
    return records(1, STATE)


@strategy(on=Trade, params=Params, state=new_state)
def {name}(trade, state, account, p):
    s = state[0]
    s.count += 1
    if s.count % p.window:
        return hold()
    rose = trade.price > s.last
    first = s.last == 0.0
    s.last = trade.price
    if first:
        return hold()
    return buy(p.shares) if rose else sell(p.shares)
'''

TEMPLATE_WORDS = frozenset({"typing", "mdslib", "buy", "hold", "records", "sell", "strategy", "new_state"})


def models_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """List the models that can be found by name, with the events they take and their parameters.

    Looked up in the folder of the setting `models` (./models by default), then among those that mdslib ships.
    A file that can't be used is listed with the reason.
    """
    found = [_described(model) for model in list_models(model_folders(load_settings().models))]
    if as_json:
        typer.echo(dumps(found, indent=1))
        return
    width = max((len(model["name"]) for model in found), default=0)
    for model in found:
        if model["problem"]:
            typer.echo(f"{model['name']:<{width}}  unusable: {model['problem']}")
            continue
        parameters = " ".join(f"{name}={value}" for name, value in model["params"].items())
        typer.echo(f"{model['name']:<{width}}  on {', '.join(model['on'])}  {parameters}".rstrip())
        typer.echo(f"{'':<{width}}  {model['doc'] or 'no docstring'}")
    if not found:
        typer.echo("no models; write one with: mds new-model NAME")


def new_model_command(
    name: Annotated[str, typer.Argument(help="The model's name: lower case, digits and underscores.")],
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where to write it; the setting `models` by default.")
    ] = None,
) -> None:
    """Write a new model from a template that passes `mds check`."""
    if not name.isidentifier() or name != name.lower() or name.startswith("_"):
        raise ConfigError(
            f"new-model NAME must be lower case letters, digits and underscores, received {name!r}; "
            "it becomes the file's and the function's name, like 'volume_modulo'"
        )
    if keyword.iskeyword(name):
        raise ConfigError(f"new-model NAME must not be a word of Python's own, received {name!r}; choose another")
    if name in TEMPLATE_WORDS:
        raise ConfigError(f"new-model NAME must not be a word that a model uses, received {name!r}; choose another")
    target = (folder or load_settings().models) / f"{name}.py"
    if target.exists():
        raise ConfigError(f"{target} is there already and is never overwritten; choose another name, or move it away")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE.format(name=name, title=name.replace("_", " ").capitalize()))
    except OSError as error:
        raise ConfigError(f"{target} can't be written: {error.strerror}; name another folder with --folder") from error
    typer.echo(f"wrote {target}")
    typer.echo("next:")
    model = name if folder is None else target
    for step in (f"mds check {model}", f"mds backtest {model} --symbol SPY --date 2013-10-08"):
        typer.echo(f"  {step}")


_EVENTS = {Kind.BOOK_DELTA: "book"}  # a step takes books, whose records are changes of them


def _described(model: Found) -> dict[str, Any]:
    strategy = model.strategy
    body: dict[str, Any] = {"name": model.name, "file": str(model.file), "problem": model.problem}
    if strategy is None:
        return body | {"on": [], "instruments": 0, "params": {}, "doc": ""}
    lines = (strategy.doc or sys.modules[strategy.module].__doc__ or "").strip().splitlines()
    return body | {
        "on": [_EVENTS.get(kind, kind.name.lower()) for kind in strategy.steps]
        + [type(spec).__name__ for spec, _ in strategy.timers],
        "instruments": strategy.instruments,
        "params": dict(strategy.params._field_defaults),
        "doc": lines[0].strip() if lines else "",
    }
