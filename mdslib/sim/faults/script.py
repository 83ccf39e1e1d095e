"""A fault script: TOML text in, checked faults out; and the catalogue of scripts that come with mdslib.

A script is data that a person writes, so every error names the file, the line, the rule and what was received.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_origin

import msgspec

from mdslib.errors import ConfigError, did_you_mean
from mdslib.sim.faults import kinds
from mdslib.sim.faults.kinds import CALLS, KINDS, TRIGGERS, Fault, fields_of, what
from mdslib.sim.faults.must import Must
from mdslib.sim.faults.when import Duration, TimeOfDay, parse_duration, parse_time_of_day

S = TypeVar("S", bound=msgspec.Struct)
CATALOGUE = Path(__file__).resolve().parent.parent / "faultscripts"
_TOP = ("about", "expect", "seed", "must", "fault")
_HEADER = re.compile(r"\s*\[\[\s*fault\s*\]\]")
_PLACE = re.compile(r" - at `\$\.?([A-Za-z_]*)(?:\[[.\d]*\])?`\Z")
_MISSING = re.compile(r"object missing required field `(\w+)`")
_CHANNELS = ("trades", "quotes", "bars", "orderbooks", "statuses", "lulds", "corrections", "cancelErrors")
_EVENTS = ("new", "pending_new", "fill", "partial_fill", "canceled", "expired", "rejected")


@dataclass(frozen=True)
class Script:
    """A checked fault script.

    Attributes
    ----------
    name : str
        File name without its ending.
    about : str
        One sentence: what it throws.
    expect : str
        One sentence: what a session should do about it; may be empty.
    seed : int
        Of every chance in it.
    must : Must
        The same for a program: `mds rehearse` judges by it.
    faults : tuple of Fault
        In the order of the file.
    lines : tuple of int
        Line of each fault in the file, from 1; 0 where it can't be told.
    """

    name: str
    about: str = ""
    expect: str = ""
    seed: int = 0
    must: Must = field(default_factory=Must)
    faults: tuple[Fault, ...] = ()
    lines: tuple[int, ...] = field(default=(), repr=False)


def load_script(name: str | Path) -> Script:
    """Return the script in a file, or the one of a name in the catalogue.

    Parameters
    ----------
    name : str or Path
        ``storm.toml`` or a path is a file; ``storm`` is one of the catalogue.

    Raises
    ------
    ConfigError
        There is no such script, or it is wrong; names the line.

    Examples
    --------
    >>> load_script("post-504-order-taken").faults[0].status
    504
    """
    path = Path(name)
    if not path.exists() and len(path.parts) == 1:
        inside = CATALOGUE / f"{name}.toml"
        if path.suffix == ".toml" or not inside.is_file():
            known = [entry.stem for entry in CATALOGUE.glob("*.toml")]
            what = "is no file" if path.suffix == ".toml" else "is unknown"
            raise ConfigError(f"fault script {str(name)!r} {what}. {did_you_mean(path.stem, known)}")
        path = inside
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(
            f"fault script {name} can't be read: {why}; name a TOML file, or a script of `mds sim --list-faults`"
        ) from None
    return parse_script(text, path.name)


def catalogue() -> tuple[Script, ...]:
    """Return the scripts that come with mdslib, by name.

    Examples
    --------
    >>> "storm" in [script.name for script in catalogue()]
    True
    """
    return tuple(load_script(path) for path in sorted(CATALOGUE.glob("*.toml"), key=lambda path: path.stem))


def parse_script(text: str, name: str = "script.toml") -> Script:
    r"""Return the script that a TOML text says.

    Parameters
    ----------
    text : str
        The file's contents.
    name : str
        The file's name, for errors.

    Raises
    ------
    ConfigError
        It is wrong; names the line.

    Examples
    --------
    >>> script = parse_script('[[fault]]\nwhat = "mute"\nat = "10:15"\nfor = "30s"')
    >>> script.faults[0].at, script.faults[0].lasts
    (TimeOfDay('10:15'), Duration('30s'))
    """
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"fault script {name}: no TOML: {error}") from None
    return _Reader(name, text).read(told)


class _Reader:
    """Reads one script; knows where in the text each fault stands."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text.splitlines()
        self.headers = [number for number, line in enumerate(self.text, 1) if _HEADER.match(line)]

    def read(self, told: Mapping[str, Any]) -> Script:
        for key in told:
            if key not in _TOP:
                self._fail(self._top_line(key), f"{key!r} is no entry of a script. {did_you_mean(key, _TOP)}")
        for key, kind, words in (("about", str, "a text"), ("expect", str, "a text"), ("seed", int, "a whole number")):
            if type(told.get(key, kind())) is not kind:
                self._fail(self._top_line(key), f"{key} must be {words}, received {told[key]!r}")
        faults = told.get("fault", [])
        if not isinstance(faults, list) or not faults:
            raise ConfigError(f"fault script {self.name} must have at least one [[fault]], received none")
        if len(self.headers) != len(faults):
            self.headers = [0] * len(faults)  # written in another way, as an inline table: no line can be told
        read = tuple(self._fault(number, entry) for number, entry in enumerate(faults))
        texts = {key: " ".join(told.get(key, "").split()) for key in ("about", "expect")}
        name, seed, must = Path(self.name).stem, told.get("seed", 0), self._must(told.get("must", {}))
        return Script(name, **texts, seed=seed, must=must, faults=read, lines=tuple(self.headers))

    def _must(self, entry: Any) -> Must:
        start = self._top_line("must")
        if not isinstance(entry, dict):
            self._fail(start, f"must is a table of its own, [must], received {entry!r}")
        return self._convert(start, entry, Must, "must")

    def _fault(self, number: int, entry: Any) -> Fault:
        here = self.headers[number]
        if not isinstance(entry, dict) or not isinstance(entry.get("what"), str):
            self._fail(here, f'a fault must say what it is, like what = "mute". {did_you_mean("", KINDS)}')
        said = entry["what"]
        if said not in KINDS:
            self._fail(self._line(here, "what"), f"fault {said!r} is unknown. {did_you_mean(said, KINDS)}")
        kind = KINDS[said]
        fault = self._convert(here, entry, kind, said)
        for key, rule in _broken(fault, entry):
            self._fail(self._line(here, key), f"{said}{f'.{key}' if key in fields_of(kind) else ''} {rule}")
        return fault

    def _convert(self, start: int, entry: dict[str, Any], kind: type[S], name: str) -> S:
        """Read a table, called `name`, whose header is line `start`."""
        known = fields_of(kind)
        for key in entry:
            if key != "what" and key not in known:
                self._fail(self._line(start, key), f"{name} has no field {key!r}. {did_you_mean(key, known)}")
        try:
            return msgspec.convert(entry, kind, dec_hook=_read_time)
        except msgspec.ValidationError as error:
            found = _PLACE.search(str(error))
            key = found[1] if found else ""
            rule = _PLACE.sub("", str(error))
            rule = rule[:1].lower() + rule[1:]
            if rule.startswith("invalid enum value"):
                rule = f"expected one of {', '.join(_choices(kind, key))}"
            if missing := _MISSING.match(rule):
                rule = f"{missing[1]} is missing, {_meaning(kind, missing[1])}; add it"
            where = f"{name}.{key}" if key else name
            received = f", received {entry[key]!r}" if key in entry else ""
            self._fail(self._line(start, key), f"{where}: {rule}{received}")

    def _line(self, start: int, key: str) -> int:
        """Return the line of a key of the table whose header is line `start`; the header's where it can't be found."""
        for at in range(start, len(self.text)) if start else ():
            line = self.text[at]
            if line.lstrip().startswith("["):
                break
            if re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
                return at + 1
        return start

    def _top_line(self, key: str) -> int:
        found = (n for n, line in enumerate(self.text, 1) if re.match(rf"\s*\[*\s*{re.escape(key)}\b", line))
        return next(found, 0)

    def _fail(self, line: int, words: str) -> NoReturn:
        raise ConfigError(f"fault script {self.name}{f', line {line}' if line else ''}: {words}")


def _meaning(kind: type[msgspec.Struct], key: str) -> str:
    """Return what a field means."""
    hint = fields_of(kind)[key][1]
    return next((meta.description for meta in get_args(hint) if getattr(meta, "description", None)), "")


def _choices(kind: type[msgspec.Struct], key: str) -> list[str]:
    """Return the texts that a field of a closed choice, or of a list of them, takes."""
    hint = get_args(fields_of(kind)[key][1])[0]
    choice = get_args(hint)[0] if get_origin(hint) is list else hint
    return list(get_args(choice))


def _read_time(kind: type, value: Any) -> Any:
    """Read what msgspec does not know; its ValueError becomes a ValidationError with the field's place."""
    reads = {Duration: parse_duration, TimeOfDay: parse_time_of_day}
    try:
        return reads[kind](value)
    except ValueError as error:
        raise ValueError(f"expected {error}") from None


def _broken(fault: Fault, entry: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield the rules between fields that a fault breaks: the field to point at, and the rule."""
    triggers = [name for name in TRIGGERS if name in entry]
    if len(triggers) > 1:
        yield triggers[1], f"must not stand beside {triggers[0]}: a fault has one time to come; leave one out"
    if fault.every is not None and not (fault.at or fault.after):
        yield "every", "repeats a fault that comes at a time; add at or after"
    for name in entry:
        length = getattr(fault, "lasts" if name == "for" else name, None)
        if isinstance(length, Duration):
            yield from _broken_length(fault, name, length)
    if isinstance(fault, kinds.OnCalls):
        yield from _broken_calls(fault)
    if isinstance(fault, kinds.OnMessages):
        known = _CHANNELS if fault.socket == kinds.DATA else _EVENTS
        for name in fault.only:
            if name not in known:
                near = did_you_mean(name, known)
                yield "only", f"must name what the socket {fault.socket} sends, received {name!r}. {near}"
    if isinstance(fault, kinds.Burst) and fault.lasts is None:
        yield "for", 'must say how long messages are held back, like for = "10s"'
    if isinstance(fault, kinds.HttpCut) and fault.half and fault.taken != "first":
        yield "half", 'needs an answer to cut in half; add taken = "first"'


def _broken_length(fault: Fault, name: str, length: Duration) -> Iterable[tuple[str, str]]:
    if length.ns < 0 and not (isinstance(fault, kinds.ClockSkew) and name == "by"):
        yield name, f'must not be negative, received "{length}"'
    if name == "every" and length.ns < 1_000_000:
        yield name, f'must be at least 1 ms, received "{length}"'
    days = name in ("after", "every") or (name == "by" and isinstance(fault, kinds.ClockSkew | kinds.Latency))
    if length.real and days:
        yield name, f'is the day\'s time, and only for and delay may be real; received "{length}"'


def _broken_calls(fault: kinds.OnCalls) -> Iterable[tuple[str, str]]:
    for call in [fault.call] if isinstance(fault.call, str) else fault.call:
        if call not in CALLS and call != kinds.ANY:
            near = did_you_mean(call, CALLS)
            yield "call", f"must be {kinds.ANY!r} or one of the exchange's calls, received {call!r}. {near}"


__all__ = ["CATALOGUE", "Script", "catalogue", "load_script", "parse_script", "what"]
