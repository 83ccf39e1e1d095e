"""Rendering systemd units from the templates in ``deploy/systemd/``: text in, text out."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mdslib.errors import ConfigError, CredentialError
from mdslib.resources import resource

_PLACEHOLDER = re.compile(r"@([A-Z]+)@")
_SAFE = re.compile(r"[A-Za-z0-9_./:=,+@-]+")
KEYS = (
    "ALPACA_DATA_PUBLIC_KEY",
    "ALPACA_DATA_SECRET_KEY",
    "ALPACA_TRADE_PUBLIC_KEY",
    "ALPACA_TRADE_SECRET_KEY",
)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the units are to start.

    Parameters
    ----------
    name : str
        Name of the units, without ``.service``.
    model, symbols : str, sequence of str
        For the units' description; `arguments` carries them to the runner.
    arguments : sequence of str
        For the runner, as `mds live` takes them.
    python, runner, workdir, credentials : Path
        Absolute: the interpreter, ``runners/live.py``, the folder to run in, and the file with the keys.
    start : str
        Local time at the exchange, ``HH:MM``.
    timezone, exchange : str
        The exchange's time zone and calendar.
    days : str
        systemd's weekdays; empty for every day.
    longest : str
        systemd's time span after which a run is ended from outside.
    user : str or None
        The user of a system unit; None for a user's own units.
    """

    name: str
    model: str
    symbols: Sequence[str]
    arguments: Sequence[str]
    python: Path
    runner: Path
    workdir: Path
    credentials: Path
    start: str = "09:00"
    timezone: str = "America/New_York"
    exchange: str = "NYSE"
    days: str = "Mon..Fri"
    longest: str = "13h"
    user: str | None = None

    @property
    def calendar(self) -> str:
        """The timer's OnCalendar expression."""
        return f"{self.days} *-*-* {self.start}:00 {self.timezone}".strip()


def render(deployment: Deployment) -> dict[str, str]:
    """Return the units as file name to text.

    Raises
    ------
    ConfigError
        Where a value is missing or can't stand in a unit.
    """
    if not re.fullmatch(r"(?:[01]\d|2[0-3]):[0-5]\d", deployment.start):
        raise ConfigError(f"--start must be HH:MM in the exchange's time, received {deployment.start!r}; like 09:00")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", deployment.name):
        raise ConfigError(f"--name must be letters, digits, '-', '_' and '.', received {deployment.name!r}")
    values = {
        "NAME": deployment.name,
        "MODEL": _text(deployment.model),
        "SYMBOLS": _text(", ".join(deployment.symbols)),
        "ARGUMENTS": " ".join(quote(word) for word in deployment.arguments),
        "PYTHON": quote(str(deployment.python)),
        "RUNNER": quote(str(deployment.runner)),
        "WORKDIR": _path(deployment.workdir),
        "CREDENTIALS": _path(deployment.credentials),
        "EXCHANGE": quote(deployment.exchange),
        "START": deployment.start,
        "TIMEZONE": deployment.timezone,
        "CALENDAR": deployment.calendar,
        "LONGEST": deployment.longest,
        "USER": deployment.user or "",
    }
    name = deployment.name
    files = {
        f"{name}.service": _fill("mdslib-live.service", values),
        f"{name}.timer": _fill("mdslib-live.timer", values),
        f"{name}-failed.service": _fill("mdslib-failed.service", values),
    }
    if deployment.user is not None:
        for unit in (name, f"{name}-failed"):
            files[f"{unit}.service.d/hardening.conf"] = _fill("hardening.conf", values)
    return files


def render_recorder(
    feeds: Sequence[str], arguments: Sequence[str], python: Path, workdir: Path, credentials: Path
) -> str:
    """Return the unit that runs `mds record` with these arguments.

    Raises
    ------
    ConfigError
        Where a value can't stand in a unit.
    """
    values = {"FEEDS": _text(", ".join(feeds))} | _program(arguments, python, workdir, credentials)
    return _fill("mdslib-record.service", values)


def render_compactor(
    record: Path, every: str, arguments: Sequence[str], python: Path, workdir: Path, credentials: Path
) -> str:
    """Return the unit that runs `mds data compact` with these arguments.

    Raises
    ------
    ConfigError
        Where a value can't stand in a unit.
    """
    values = {"RECORD": _text(str(record)), "EVERY": _text(every)} | _program(arguments, python, workdir, credentials)
    return _fill("mdslib-compact.service", values)


def _program(arguments: Sequence[str], python: Path, workdir: Path, credentials: Path) -> dict[str, str]:
    """Return what a unit says of the program that it runs."""
    return {
        "ARGUMENTS": " ".join(quote(word) for word in arguments),
        "PYTHON": quote(str(python)),
        "WORKDIR": _path(workdir),
        "CREDENTIALS": _path(credentials),
    }


def quote(word: str) -> str:
    """Quote a word of a command line by systemd's rules.

    Examples
    --------
    >>> quote("--set"), quote("a b"), quote("50%"), quote("$HOME")
    ('--set', '"a b"', '"50%%"', '"$$HOME"')
    """
    if _SAFE.fullmatch(word):
        return word
    _one_line(word)
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def check_credentials(path: Path) -> list[str]:
    """Return what is still to be done about the file of keys; an open file is an error. Values are never shown.

    Raises
    ------
    CredentialError
        Where others can read or write the file.
    """
    try:
        found = path.stat().st_mode
    except FileNotFoundError:
        keys = " ".join(KEYS)
        return [
            f"mkdir -p -m 0700 {path.parent}; install -m 0600 /dev/null {path}",
            f"edit {path}: one NAME=value a line for {keys}",
        ]
    except OSError as error:
        raise CredentialError(f"{path} can't be read ({error.strerror}); name a file with --credentials") from error
    mode = stat.S_IMODE(found)
    if not stat.S_ISREG(found):
        raise CredentialError(f"{path} must be a file of keys, and is none; name one with --credentials")
    if mode & 0o077:
        raise CredentialError(
            f"{path} must be readable by its owner alone (mode 0600), received mode {mode:04o}; run: chmod 600 {path}"
        )
    names = {line.partition("=")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()}
    missing = [key for key in KEYS if key not in names]
    return [f"edit {path}: add {', '.join(missing)}"] if missing else []


def _fill(template: str, values: Mapping[str, str]) -> str:
    text = (resource("deploy") / "systemd" / template).read_text(encoding="utf-8")
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)


def _text(words: str) -> str:
    return _one_line(words).replace("%", "%%")


def _path(path: Path) -> str:
    # Settings that take a path know specifiers, and take the rest of the line as it is.
    if not path.is_absolute():
        raise ConfigError(f"a path in a unit must be absolute, received {str(path)!r}")
    return _one_line(str(path)).replace("%", "%%")


def _one_line(text: str) -> str:
    if any(ord(letter) < 32 for letter in text):
        raise ConfigError(f"a value in a unit must be one line of text, received {text!r}")
    return text
