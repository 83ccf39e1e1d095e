"""The commands `mds live` and `mds halt`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mdslib.errors import ConfigError

if TYPE_CHECKING:
    from mdslib.live.program import Request

HALF_DONE = 1  # exit code of `mds halt` where orders may still work


def live_command(
    model: Annotated[str, typer.Argument(help="A name, a module path, or a .py file.", show_default=False)],
    symbol: Annotated[list[str], typer.Option(help="Repeat it for several instruments.", show_default=False)],
    set_: Annotated[list[str] | None, typer.Option("--set", help="A parameter of the model, as name=value.")] = None,
    feed: Annotated[
        str, typer.Option(help="Of stocks: iex, sip, delayed_sip or test; empty: the settings'. Pairs have their own.")
    ] = "",
    exchange: Annotated[
        str, typer.Option(help="Whose calendar opens and closes the session; empty: the symbols' own.")
    ] = "",
    date: Annotated[str, typer.Option(help="A session that a local exchange plays; empty: today's.")] = "",
    end_of_day: Annotated[str, typer.Option(help="flatten or keep.")] = "flatten",
    limit: Annotated[list[str] | None, typer.Option(help="A limit of the desk, as name=value.")] = None,
    no_limits: Annotated[bool, typer.Option("--no-limits", help="Lift the desk's limits.")] = False,
    option: Annotated[list[str] | None, typer.Option(help="Another option of the session, as name=value.")] = None,
    data_stream_url: Annotated[str, typer.Option(help="Market-data websocket; empty: the settings'.")] = "",
    trade_url: Annotated[str, typer.Option(help="Trading API; empty: the settings'.")] = "",
    time_url: Annotated[str, typer.Option(help="Side channel of a local exchange, which then sets the clock.")] = "",
    runs: Annotated[Path | None, typer.Option(help="Folder of run folders; the settings' by default.")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="This run's folder; RUNS/DATE-MODEL by default.")] = None,
    notebook: Annotated[Path | None, typer.Option(help="Another live notebook.")] = None,
    accept_changed_model: Annotated[
        bool, typer.Option("--accept-changed-model", help="Go on with a run of other code or parameters, state afresh.")
    ] = False,
) -> int:
    """Trade a paper account for one session, in the live notebook.

    A run that was cut short, by a crash, a kill or a lost venue, goes on where its tape ends: start it again alike.

    Exit codes: 0 the session ended well, or there is none today; 1 the audit failed; 2 a setting or credential is
    wrong; 3 the model raised or answered nonsense; 4 the feed or the broker failed; 5 the kernel died or hung;
    6 a cell outside the session failed; 7 orders still work at the venue, or the day did not end flat; 8 the disk is
    full; 130 and 143 interrupted or terminated before a clean end.
    """
    given = dict(locals())  # every option above, by its name
    from mdslib.config import credentials
    from mdslib.live.program import trade

    request = request_of(**given)
    credentials("data"), credentials("trade")  # a missing key is told now, not by a notebook's cell
    return int(trade(request, _say, rescue=lambda: cancel_at_broker(request.parameters["trade_url"])))


def request_of(
    *,
    model: str,
    symbol: list[str],
    set_: list[str] | None,
    feed: str,
    exchange: str,
    date: str,
    end_of_day: str,
    limit: list[str] | None,
    no_limits: bool,
    option: list[str] | None,
    data_stream_url: str,
    trade_url: str,
    time_url: str,
    runs: Path | None,
    run_dir: Path | None,
    notebook: Path | None,
    accept_changed_model: bool = False,
) -> Request:
    """Return what the options of `mds live` ask for, after checking all of it; the day is left to the session.

    Raises
    ------
    ConfigError, ModelError
        Whatever is wrong.
    """
    from mdslib.cli.assignments import parse_assignments, parse_numbers
    from mdslib.config import load_settings
    from mdslib.live.options import option_of
    from mdslib.live.plan import check_terms
    from mdslib.live.program import Request

    settings = load_settings()
    options = {name: option_of(name, text) for name, text in parse_assignments(option or [], "--option").items()}
    options |= {"no_limits": True} if no_limits else {}
    options |= {"accept_changed_model": True} if accept_changed_model else {}
    options |= {"time_url": time_url} if time_url else {}
    parameters: dict[str, Any] = {
        "params": parse_assignments(set_ or []),
        "symbols": symbol,
        "feed": feed or settings.feed,
        "data_stream_url": data_stream_url or settings.data_stream_url,
        "data_url": settings.data_url,
        "trade_url": trade_url or settings.trade_url,
        "exchange": exchange,
        "limits": parse_numbers(limit or [], "--limit"),
        "end_of_day": end_of_day,
        "options": options,
    }
    terms = check_terms(model, **parameters)
    parameters["params"] = terms.params._asdict()
    exchange = parameters["exchange"] = terms.exchange
    _check_day_and_files(date, exchange, options, runs or settings.runs, run_dir, notebook)
    return Request(
        model=model,
        parameters=parameters,
        runs=runs or settings.runs,
        date=date,
        exchange=exchange,
        run_dir=run_dir,
        notebook=notebook,
    )


def _check_day_and_files(
    date: str, exchange: str, options: dict[str, Any], runs: Path, run_dir: Path | None, notebook: Path | None
) -> None:
    from mdslib.calendar import session

    if date:
        session(date, exchange)  # a date that is none is told before a notebook is started
        if not options.get("time_url"):
            raise ConfigError(
                f"--date {date} is a session that a local exchange plays, so it needs --time-url, received none; "
                "leave --date out to trade today's"
            )
    for name, folder in (("--runs", runs), ("--run-dir", run_dir)):
        if folder is not None and folder.exists() and not folder.is_dir():
            raise ConfigError(f"{name} must be a folder, received {str(folder)!r}, which is a file")
    if notebook is not None:
        _check_notebook(notebook)


def _check_notebook(path: Path) -> None:
    import json

    if not path.is_file():
        raise ConfigError(f"--notebook must be a file, received {str(path)!r}; leave it out for the shipped one")
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        tags = [tag for cell in cells for tag in cell["metadata"].get("tags", ())]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"--notebook {path} is no notebook ({error}); leave it out for the shipped one") from error
    if "parameters" not in tags:
        raise ConfigError(f"--notebook {path} must have a cell tagged 'parameters', and has none; begin with a copy")


def halt_command(
    folder: Annotated[Path | None, typer.Argument(help="A run's folder; by default that of all runs.")] = None,
    why: Annotated[str, typer.Option(help="Kept in the halt file and on the tape.")] = "a person said so",
    trade_url: Annotated[str, typer.Option(help="Trading API; empty: each run's own, else the settings'.")] = "",
    no_cancel: Annotated[bool, typer.Option("--no-cancel", help="Leave the working orders.")] = False,
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove the halt files, so that the next run may start.")
    ] = False,
) -> int:
    """Halt trading: forbid every new order of the run (or of all runs), then cancel all working orders at the broker.

    It works on a hung session, since every order looks for the halt file before it is sent, and the canceling is done
    here, where each run trades. A session that has seen the file stays halted to its end, and none starts until it is
    cleared. Exit codes: 0 all of it was done; 1 new orders are forbidden, but not every working order was canceled, as
    for want of keys; 2 nothing that runs was halted. Each line says what was done, the last one what was not.
    """
    from mdslib.config import load_settings
    from mdslib.live.halt import clear_halt, find_runs, venues, write_halt

    settings = load_settings()
    folder = folder or settings.runs
    if clear:
        for file in clear_halt(folder):
            _say(f"cleared: {file} is gone; a session that has seen it stays halted to its end")
        return 0
    file = write_halt(folder, why)
    _say(f"halted: {file} forbids new orders; before the next session, run: mds halt --clear {folder}")
    left = [] if no_cancel else _cancel_at([trade_url] if trade_url else venues(folder) or [settings.trade_url])
    not_canceled = f"not canceled at {'; '.join(left)}; cancel at the venue's own page" if left else ""
    if not find_runs(folder) and folder.resolve() != settings.runs.resolve():
        unseen = f"{folder} holds no run, so nothing that runs sees {file}; name a run's folder, or that of all"
        raise ConfigError(f"{unseen}. And working orders were {not_canceled}" if left else unseen)
    if left:
        sys.stderr.write(f"mds: error: new orders are forbidden, but working orders were {not_canceled}\n")
    return HALF_DONE if left else 0


def _cancel_at(urls: list[str]) -> list[str]:
    """Cancel at each address, however the others answer, and return where it failed and why.

    A local exchange that has gone took its orders with it.
    """
    from mdslib.errors import BrokerError, MdsError
    from mdslib.feeds.connect import is_loopback

    failed: list[str] = []
    for url in urls:
        try:
            _say(f"{cancel_at_broker(url)} at {url}")
        except MdsError as error:
            gone = isinstance(error, BrokerError) and error.status is None and is_loopback(url) and len(urls) > 1
            if gone:
                _say(f"the local exchange at {url} does not answer: {error}")
            else:
                failed.append(f"{url}: {error}")
    return failed


def cancel_at_broker(url: str) -> str:
    """Ask the broker to cancel every working order; return a sentence on it."""
    from mdslib.brokers.alpaca import AlpacaBroker
    from mdslib.config import load_settings

    broker = AlpacaBroker(url, allow_live=load_settings().allow_live_trading)
    try:
        return f"asked the broker to cancel {broker.cancel_all()} working orders"
    finally:
        broker.close()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
