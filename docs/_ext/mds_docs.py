"""What the documentation takes from the code at build time, so that it can't drift: tables, and `mds … --help`.

In a page::

    ```{mds-table} limits
    ```

    ```{mds-help} data ls
    ```
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import inspect
import io
import os
import re
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

WIDTH = 96  # columns of a help text
ROOT = Path(__file__).resolve().parents[2]


# Help texts-


def commands() -> list[str]:
    """Return every command as a person types it, groups as their sub-commands."""
    from mdslib.cli import COMMANDS

    groups = {"import": ["import lean"], "data": ["data ls", "data made"]}
    return [words for name in COMMANDS for words in groups.get(name, [name])]


def is_built(command: str) -> bool:
    """Tell whether a command's module is there."""
    from mdslib.cli import COMMANDS

    if not command:
        return True
    return importlib.util.find_spec(COMMANDS[command.split()[0]].target.partition(":")[0]) is not None


def help_text(command: str) -> str:
    """Return what ``mds COMMAND --help`` prints."""
    from mdslib.cli import run

    said = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH)
    try:
        with contextlib.redirect_stdout(said):
            code = run([*command.split(), "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    if code:
        raise ExtensionError(f"mds {command} --help exited with {code}")
    return said.getvalue().rstrip()


# Tables


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    lines = [list(head), *[[str(cell) for cell in row] for row in rows]]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(value: object) -> str:
    """Return a value as inline code."""
    return f"`{value}`"


def _plain(lines: Iterable[str]) -> str:
    """Return a docstring's lines as Markdown."""
    return " ".join(line.strip() for line in lines).replace("``", "`")


def attributes(thing: Any) -> dict[str, str]:
    """Return the texts of a class's numpydoc section Attributes, by name."""
    from numpydoc.docscrape import NumpyDocString

    found = NumpyDocString(inspect.getdoc(thing) or "")["Attributes"]
    return {name.strip(): _plain(entry.desc) for entry in found for name in entry.name.split(",")}


def limits() -> str:
    """Limits of the desk: name, default, meaning."""
    from mdslib.risk import Limits

    said = attributes(Limits)
    rows = [(code(n), code(_number(Limits._field_defaults[n])), said[n]) for n in Limits._fields]
    return table(["limit", "default", "meaning"], rows)


def _number(value: float) -> str:
    return f"{value:_}" if isinstance(value, int) else f"{value:_g}" if abs(value) < 1e5 else f"{value:_.0f}"


def denials() -> str:
    """Reasons for which an order is denied, and the sentence that a person reads."""
    from mdslib import risk

    shown = {d: re.sub(r"\{(\w+)[^}]*\}", r"‹\1›", risk._SENTENCES[d]) for d in risk.Denial if d in risk._SENTENCES}
    return table(["code", "reason", "text"], [(int(d), code(d.name), text) for d, text in shown.items()])


def settings() -> str:
    """Return the settings: key in the file, environment variable, default, meaning."""
    from mdslib.config import PREFIX, Settings

    said = attributes(Settings)
    rows = []
    for name, field in Settings.model_fields.items():
        if name == "limits":
            continue
        default = str(field.default).lower() if isinstance(field.default, bool) else field.default
        rows.append((code(name), code(f"{PREFIX}{name.upper()}"), code(default), said[name]))
    return table(["key", "variable", "default", "meaning"], rows)


def limit_settings() -> str:
    """Return the settings of the limits: key in the file's table ``[limits]``, environment variable, default."""
    from mdslib.config import PREFIX, LimitSettings

    rows = [
        (code(f"limits.{name}"), code(f"{PREFIX}LIMITS__{name.upper()}"), code(_number(field.default)))
        for name, field in LimitSettings.model_fields.items()
    ]
    return table(["key", "variable", "default"], rows)


def events(kind: str) -> str:
    """Return the fields of the event of a kind, as a step sees them: name, type in a step, unit."""
    from mdslib.events import EVENT_TYPES, SCHEMAS, Kind

    member = Kind[kind]
    schema, said = SCHEMAS[member], attributes(EVENT_TYPES[member])
    types = {"f": "float", "i": "int", "u": "int"}
    rows = []
    for name in EVENT_TYPES[member]._fields:  # type: ignore[attr-defined]
        field = schema[name]
        rows.append((code(name), types[field.dtype.strip("<")[0]], field.unit, said.get(name, "")))
    if not any(row[3] for row in rows):
        return table(["field", "type", "unit"], [row[:3] for row in rows])
    return table(["field", "type", "unit", ""], rows)


def kinds() -> str:
    """Return every kind of record with its code, and which slots carry what."""
    from mdslib.events import SCHEMAS, Kind

    rows = []
    for kind in Kind:
        fields = SCHEMAS.get(kind, {})
        slots = [f"{f.slot} {n}" for n, f in fields.items() if n not in ("ts_event", "ts_init", "instrument")]
        rows.append((int(kind), code(kind.name), ", ".join(slots)))
    return table(["code", "kind", "slots beside time and instrument"], rows)


def record() -> str:
    """Return the layout of the record: offset, field, type."""
    from mdslib.events import RECORD

    assert RECORD.fields is not None
    rows = [(RECORD.fields[name][1], code(name), code(RECORD.fields[name][0].str)) for name in RECORD.names or ()]
    return table(["offset", "field", "type"], rows)


def exit_codes() -> str:
    """Return the exit codes of a live run, with the comment beside each."""
    from mdslib.live import verdict

    said = {}
    for line in inspect.getsource(verdict.ExitCode).splitlines():
        left, _, comment = line.partition("#")
        if "=" in left and comment:
            said[left.partition("=")[0].strip()] = comment.strip()
    rows = [(int(member), code(member.name), said[member.name]) for member in verdict.ExitCode]
    return table(["code", "name", "meaning"], rows)


def errors() -> str:
    """Return the tree of errors, as drawn in the module."""
    from mdslib import errors as module

    drawn = inspect.cleandoc(module.__doc__ or "").partition("::\n\n")[2].partition("\n\nEvery")[0]
    return f"```text\n{inspect.cleandoc(drawn)}\n```"


def rooms() -> str:
    """Return the rooms by row, as import-linter holds them, each with its first sentence."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    rows = []
    for height, layer in zip(range(len(layers) - 1, -1, -1), layers, strict=True):
        for name in (part.strip().strip("()") for part in layer.split(":")):
            said = _first_sentence(name)
            if said:
                rows.append((height, code(name), said))
    return table(["row", "room", "is"], rows)


def _first_sentence(room: str) -> str:
    package, module = ROOT / "mdslib" / room / "__init__.py", ROOT / "mdslib" / f"{room}.py"
    path = package if package.is_file() else module
    if not path.is_file():
        return ""
    import ast

    doc = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return _plain(doc.partition("\n\n")[0].splitlines())


def command_list() -> str:
    """Return the commands with their summaries."""
    from mdslib.cli import COMMANDS

    return table(["command", "does"], [(f"`mds {name}`", entry.summary) for name, entry in COMMANDS.items()])


def guards() -> str:
    """Return the time limits of a run, in seconds."""
    from mdslib.live.guards import Guards

    said = attributes(Guards)
    rows = [(code(n), f"{Guards._field_defaults[n]:g}", said[n]) for n in Guards._fields]
    return table(["guard", "seconds", "meaning"], rows)


def sim_options() -> str:
    """Return the options of the local exchange that can't be told on the command line too: name, default, meaning."""
    from numpydoc.docscrape import NumpyDocString

    from mdslib.sim.options import SimOptions

    defaults = {field.name: field.default for field in dataclasses.fields(SimOptions)}
    rows = []
    for entry in NumpyDocString(inspect.getdoc(SimOptions) or "")["Parameters"]:
        for name in entry.name.split(","):
            default = defaults[name.strip()]
            rows.append((code(name.strip()), code(default if default != "" else '""'), _plain(entry.desc)))
    return table(["option", "default", "meaning"], rows)


def live_options() -> str:
    """Return the other options of a live session: name, default, and the comment beside each."""
    from mdslib.live import options

    said = {}
    for line in inspect.getsource(options).partition("OPTIONS: dict")[2].partition("}")[0].splitlines():
        name, _, rest = line.strip().partition(":")
        said[name.strip('"')] = rest.partition("#")[2].strip()
    rows = [(code(n), code(v if v != "" else '""'), said[n]) for n, v in options.OPTIONS.items()]
    return table(["option", "default", ""], rows)


def faults(group: str) -> str:
    """Return the faults of a group (calls, messages, connections, orders, market): each with its own fields."""
    from mdslib.sim.faults import KINDS

    parts = []
    for name, kind in KINDS.items():
        if kind.group == group:
            said = " ".join(_plain(inspect.cleandoc(kind.__doc__ or "").splitlines()).split())
            parts.append(f"**{code(name)}** -- {said}")
            rows = _fault_fields(kind)
            parts += [table(["field", "default", "is"], rows)] if rows else []
    return "\n\n".join(parts)


def fault_fields(base: str) -> str:
    """Return the fields that many faults share (``Fault``, ``Hitting``, ``OnCalls``, ``OnMessages``), or ``Must``."""
    from mdslib.sim.faults import kinds, must

    return table(["field", "default", "is"], _fault_fields(getattr(must if base == "Must" else kinds, base)))


def faults_seen() -> str:
    """Return the words of what can be seen of a session."""
    from mdslib.sim.faults import SEEN

    return table(["word", "means that"], [(code(name), said) for name, said in SEEN.items()])


def _fault_fields(kind: Any) -> list[list[str]]:
    """Return a fault's own fields: name, default, meaning."""
    import msgspec

    from mdslib.sim.faults import kinds

    bases = (kinds.OnCalls, kinds.OnMessages, kinds.Hitting, kinds.Lasting, kinds.Fault)
    base = next((base for base in bases if issubclass(kind, base) and kind is not base), None)
    if kind is kinds.Hitting:
        base = kinds.Fault  # what lasts is told together with what is hit
    shared = set(kinds.fields_of(base)) if base is not None else set()
    defaults = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    rows = []
    for name, (_, hint) in kinds.fields_of(kind).items():
        if name in shared:
            continue
        field = defaults[name]
        value = "needed" if field.required else _toml(field.default if not callable(field.default_factory) else [])
        meaning = next(meta.description for meta in hint.__metadata__ if meta.description)
        choices = [code(_toml(choice)) for choice in typing.get_args(hint.__origin__) if isinstance(choice, str)]
        rows.append([code(name), value, f"{', '.join(choices)}: {meaning}" if choices else meaning])
    return rows


def _toml(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) or type(value).__name__ == "Duration" else str(value)


def fault_scripts() -> str:
    """Return the fault scripts that come with mdslib: name, what it throws, what is to become of it."""
    from mdslib.sim.faults import catalogue

    return table(["script", "throws", "and then"], [(code(s.name), s.about, s.expect) for s in catalogue()])


def statuses() -> str:
    """Return the states of an order, with the comment beside each and whether it has ended."""
    from mdslib.events import TERMINAL, Status

    rows = [(int(s), code(s.name), "ended" if s in TERMINAL else "works, or may") for s in Status]
    return table(["code", "status", "order"], rows)


def laws() -> str:
    """Return the laws of `mds check`."""
    from mdslib.check import checks

    return "\n".join(f"{number}. {law.name}" for number, law in enumerate(checks, 1))


TABLES: Mapping[str, Callable[..., str]] = {
    "commands": command_list,
    "denials": denials,
    "errors": errors,
    "events": events,
    "exit-codes": exit_codes,
    "fault-fields": fault_fields,
    "fault-scripts": fault_scripts,
    "faults": faults,
    "faults-seen": faults_seen,
    "guards": guards,
    "kinds": kinds,
    "laws": laws,
    "limit-settings": limit_settings,
    "limits": limits,
    "live-options": live_options,
    "record": record,
    "rooms": rooms,
    "settings": settings,
    "sim-options": sim_options,
    "statuses": statuses,
}


class HelpDirective(SphinxDirective):
    """``{mds-help} COMMAND``: what the command prints."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return a literal block."""
        command = self.arguments[0] if self.arguments else ""
        block = nodes.literal_block(help_text(command), help_text(command), language="text")
        return [block]


class CommandsDirective(SphinxDirective):
    """``{mds-commands}``: a section a command, with its help."""

    def run(self) -> list[nodes.Node]:
        """Return sections."""
        sections: list[nodes.Node] = []
        for command in filter(is_built, commands()):
            text = help_text(command)
            section = nodes.section(ids=[f"mds-{command.replace(' ', '-')}"])
            section += nodes.title(command, "", nodes.literal("", f"mds {command}"))
            section += nodes.literal_block(text, text, language="text")
            sections.append(section)
        return sections


class TableDirective(SphinxDirective):
    """``{mds-table} NAME [ARGUMENT]``: a table from the code."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the parsed table."""
        name, *rest = self.arguments
        if name not in TABLES:
            raise self.error(f"mds-table: unknown table {name!r}; known: {', '.join(TABLES)}")
        return self.parse_text_to_nodes(TABLES[name](*rest))


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directives."""
    app.add_directive("mds-help", HelpDirective)
    app.add_directive("mds-commands", CommandsDirective)
    app.add_directive("mds-table", TableDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
