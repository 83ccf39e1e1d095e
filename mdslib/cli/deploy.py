"""`mds deploy`: renders the systemd units, installs them, and says what it did and what comes next."""

from __future__ import annotations

import contextlib
import datetime
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from mdslib.calendar import ALWAYS, zone
from mdslib.config import load_settings
from mdslib.errors import ConfigError
from mdslib.instruments import parse_instrument
from mdslib.resources import resource
from mdslib.units import Deployment, check_credentials, render

Words = list[str]


def deploy_command(
    model: Annotated[str, typer.Option("--model", help="The model: a name, a module path or a .py file.")],
    symbols: Annotated[Words, typer.Option("--symbols", "--symbol", help="What it trades: SPY, or KO,PEP.")],
    values: Annotated[Words | None, typer.Option("--set", help="A parameter, as name=value; may be repeated.")] = None,
    system: Annotated[bool, typer.Option("--system/--user", help="System units, or your own user's.")] = False,
    run_as: Annotated[str, typer.Option("--run-as", help="The user that a system unit runs as.")] = "",
    name: Annotated[str, typer.Option(help="Name of the units.")] = "mdslib-live",
    start: Annotated[str, typer.Option(help="When to start, HH:MM at the exchange.")] = "",
    exchange: Annotated[
        str, typer.Option(help="Whose calendar decides whether there is a session; empty: the symbols' own.")
    ] = "",
    workdir: Annotated[Path | None, typer.Option(help="Folder to run in: mdslib.toml, models/, runs/.")] = None,
    credentials: Annotated[Path | None, typer.Option(help="File of the venue's keys, mode 0600.")] = None,
    dest: Annotated[Path | None, typer.Option(help="Folder for the units; systemd's own by default.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the units, install nothing.")] = False,
    enable: Annotated[bool, typer.Option("--enable", help="Also run the systemctl commands.")] = False,
    extra: Annotated[Words | None, typer.Argument(metavar="[-- OPTIONS]", help="More options of mds live.")] = None,
) -> None:
    """Install a systemd timer that trades a model on every trading day.

    The timer starts shortly before the open, in the exchange's own time; holidays are skipped; the close comes from the
    calendar. Keys are read from a file that only its owner may read, by default ~/.config/mdslib/credentials, or
    /etc/mdslib/credentials with --system.
    """
    folder = _folder(workdir)
    own = [parse_instrument(symbol).session for symbol in _split(symbols)]
    exchange = exchange or (own[0] if own else "NYSE")
    around_the_clock = exchange == ALWAYS
    start = start or ("00:00" if around_the_clock else "09:00")
    deployment = Deployment(
        name=name,
        model=model,
        symbols=_split(symbols),
        arguments=_words(model, _split(symbols), values or [], exchange, extra or []),
        python=Path(sys.executable).absolute(),
        runner=resource("runners") / "live.py",
        workdir=folder,
        credentials=(credentials or _default_credentials(system)).expanduser().absolute(),
        start=start,
        timezone=zone(exchange).key,
        exchange=exchange,
        days="" if around_the_clock else "Mon..Fri",
        longest="25h" if around_the_clock else "13h",
        user=_user(run_as) if system else None,
    )
    files = render(deployment)
    _check_session(deployment)
    todo = check_credentials(deployment.credentials)
    if dry_run:
        for file, text in files.items():
            typer.echo(f"# {file}\n{text}")
        return
    _install(files, (dest or _default_dest(system)).expanduser())
    _finish(name, todo, system=system, enable=enable)


def _folder(workdir: Path | None) -> Path:
    folder = (workdir or Path.cwd()).expanduser().absolute()
    if not folder.is_dir():
        raise ConfigError(f"--workdir must be a folder that is there, received {str(folder)!r}; make it first")
    return folder


def _words(model: str, symbols: list[str], values: list[str], exchange: str, extra: list[str]) -> list[str]:
    """Return the runner's arguments."""
    file, colon, strategy = model.partition(":")
    words = [str(Path(file).absolute()) + colon + strategy if file.endswith(".py") else model]
    for symbol in symbols:
        words += ["--symbol", symbol]
    for value in values:
        words += ["--set", value]
    own = all(parse_instrument(symbol).session == exchange for symbol in symbols)
    return [*words, *([] if own else ["--exchange", exchange]), *extra]


def _check_session(deployment: Deployment) -> None:
    """Refuse what `mds live` would refuse on the day, by asking it, in the folder that the unit runs in."""
    from mdslib.calendar import next_session
    from mdslib.cli import parameters_of
    from mdslib.cli.live import request_of
    from mdslib.clock import wall_ns

    with contextlib.chdir(deployment.workdir):
        given = parameters_of("live", deployment.arguments)
        for name, remedy in (
            ("date", "a timer trades the session of its day"),
            ("run_dir", "each day has a folder of its own, in --runs"),
        ):
            if given[name]:
                raise ConfigError(f"--{name.replace('_', '-')} can't be deployed: {remedy}; leave it out")
        if given["exchange"] not in ("", deployment.exchange):
            raise ConfigError(
                f"--exchange must stand before the --, received {given['exchange']!r} behind it: "
                "the timer asks the same calendar"
            )
        request_of(**given)
    if deployment.exchange == ALWAYS:
        return
    now = datetime.datetime.fromtimestamp(wall_ns() // 10**9, zone(deployment.exchange))
    day = next_session(now.date(), deployment.exchange)
    close = datetime.datetime.fromtimestamp(day.close // 10**9, now.tzinfo)
    if deployment.start >= close.strftime("%H:%M"):
        raise ConfigError(
            f"--start must lie before the close, {close:%H:%M} on {day.date}, received {deployment.start}; "
            "leave it out for 09:00"
        )


def _split(symbols: list[str]) -> list[str]:
    return [symbol.strip() for group in symbols for symbol in group.split(",") if symbol.strip()]


def _user(run_as: str) -> str:
    name = run_as or os.environ.get("SUDO_USER", "")
    if not name:
        raise ConfigError("--system needs --run-as USER, received none; make one, like: useradd --system mdslib")
    try:
        pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(
            f"--run-as must be a user of this machine, received {name!r}; run: useradd --system {name}"
        ) from None
    return name


def _default_credentials(system: bool) -> Path:
    return Path("/etc/mdslib/credentials") if system else _config_home() / "mdslib" / "credentials"


def _default_dest(system: bool) -> Path:
    return Path("/etc/systemd/system") if system else _config_home() / "systemd" / "user"


def _config_home() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()


def _install(files: dict[str, str], dest: Path) -> None:
    for file, text in files.items():
        path = dest / file
        before = path.read_text(encoding="utf-8") if path.exists() else None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"{path} can't be written: {error.strerror}; use --user, run as root, or name a folder with --dest"
            ) from error
        typer.echo(f"{'wrote' if before is None else 'unchanged' if before == text else 'replaced'} {path}")


def _finish(name: str, todo: list[str], *, system: bool, enable: bool) -> None:
    control = ["systemctl"] if system else ["systemctl", "--user"]
    commands = [[*control, "daemon-reload"], [*control, "enable", "--now", f"{name}.timer"]]
    if enable:
        for command in commands:
            _run(command)
    else:
        todo = todo + [" ".join(command) for command in commands]
    if not system:
        todo = [*todo, "loginctl enable-linger    # so that it runs while you are not logged in"]
    settings = load_settings()
    if not (settings.notify_webhook.get_secret_value() or settings.notify_command):
        todo = [*todo, "name who is told of a failure: set notify_webhook or notify_command, then mds notify"]
    journal = "journalctl" if system else "journalctl --user"
    typer.echo("next:")
    for step in [*todo, f"{' '.join(control)} list-timers {name}.timer", f"{journal} -u {name}.service"]:
        typer.echo(f"  {step}")


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ConfigError(f"--enable needs {command[0]}, which is not on this machine; leave --enable out") from None
    if done.returncode:
        why = done.stderr.strip() or f"exit {done.returncode}"
        raise ConfigError(f"{' '.join(command)} failed: {why}; the units are in place, run it again by hand")
    typer.echo(f"ran {' '.join(command)}")
