"""The `mds` command.

A command's module is imported only when that command is called, so that `mds --help` and the quick commands start
quickly. Every deliberate error is one line on standard error.

Exit codes: 0 done, or yes; 1 no (`check`, `is-session`, `audit` and the like); 2 an error in what was asked or given;
70 a bug in mdslib; 130 interrupted; 139 compiled code ended the process; 255 `is-session` can't
tell. `mds live` documents codes of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

NO = 1
ERROR = 2
BUG = 70  # EX_SOFTWARE of sysexits.h: apart from every code that a command answers with
INTERRUPTED = 130  # as a shell counts: 128 + SIGINT


class Command(NamedTuple):
    """A command.

    Attributes
    ----------
    target : str
        Where it lives, as ``module:attribute``.
    summary : str
        Its line in `mds --help`.
    failed : int
        Exit code of every failure, where the usual ones would be taken for an answer; 0: the usual ones.
    """

    target: str
    summary: str
    failed: int = 0


COMMANDS: dict[str, Command] = {
    "demo": Command("mdslib.cli.demo:demo_command", "Play a whole trading day against the local exchange."),
    "rehearse": Command("mdslib.cli.rehearse:rehearse_command", "Play faults to a live session; tell what it lost."),
    "import": Command("mdslib.cli.importing:import_app", "Import recorded market data into the store."),
    "export": Command("mdslib.cli.importing:export_command", "Write stored data to a Parquet or CSV file."),
    "data": Command("mdslib.cli.data:data_app", "List, compact, verify and inspect what the store holds."),
    "models": Command("mdslib.cli.models:models_command", "List the models that can be found by name."),
    "new-model": Command("mdslib.cli.models:new_model_command", "Write a new model from a template."),
    "check": Command("mdslib.cli.check:check_command", "Check that a model keeps the strategy contract."),
    "backtest": Command("mdslib.cli.backtest:backtest_command", "Run a model over recorded data."),
    "sim": Command("mdslib.cli.sim:sim_command", "Run the local exchange."),
    "live": Command("mdslib.cli.live:live_command", "Trade a paper account for one session."),
    "halt": Command("mdslib.cli.live:halt_command", "Halt a running session and cancel its orders."),
    "cancel": Command("mdslib.cli.supervise:cancel_command", "Cancel every working order where a run trades."),
    "notify": Command("mdslib.cli.supervise:notify_command", "Tell a person that a run has failed."),
    "audit": Command("mdslib.cli.tape:audit_command", "Audit the record of a session."),
    "seal": Command("mdslib.cli.seal:seal_command", "Sign the record of a run and chain it to the one before."),
    "verify": Command("mdslib.cli.seal:verify_command", "Name what was changed in a sealed run."),
    "record": Command("mdslib.cli.record:record_command", "Record ticks and order books of several venues."),
    "replay-capture": Command("mdslib.cli.capture:replay_command", "Decode a raw capture again; account for it."),
    "is-session": Command("mdslib.cli.session:is_session_command", "Tell whether a day is a trading day.", 255),
    "deploy": Command("mdslib.cli.deploy:deploy_command", "Install the systemd units that trade on schedule."),
}


def main() -> None:
    """Run `mds` on the arguments of this process and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run `mds` and return its exit code; every error has become one line on standard error.

    Parameters
    ----------
    arguments : sequence of str
        As a shell would pass them, without the program's name.

    Examples
    --------
    >>> run(["--version"])
    mds 0.1.0
    0
    """
    code = _run(list(arguments))
    failed = COMMANDS[arguments[0]].failed if arguments and arguments[0] in COMMANDS else 0
    return failed if failed and code not in (0, NO) else code


def _run(arguments: list[str]) -> int:
    from mdslib.errors import MdsError

    try:
        return _dispatch(arguments)
    except MdsError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`mds data ls | head`) has gone; the interpreter must not try to flush to it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, MemoryError) as error:
        return _fail(_machines_fault(error))
    except Exception as error:  # the last resort: reported as a bug, in one line
        if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # an OSError from Python 3.13 on
            return _fail(f"{error}; look at its path")
        if os.environ.get("MDS_DEBUG") == "1":
            import traceback

            traceback.print_exc()
        _fail(
            f"{type(error).__name__}: {error}; this is a bug in mdslib: "
            "repeat the command with MDS_DEBUG=1 and report the traceback"
        )
        return BUG


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        sys.stdout.write(_help())
        return 0
    if arguments[0] == "--version":
        sys.stdout.write(f"mds {_version()}\n")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        from mdslib.errors import did_you_mean

        if name.startswith("-"):
            return _fail(f"unknown option {name!r}; options follow their command, see mds --help")
        return _fail(f"unknown command {name!r}. {did_you_mean(name, COMMANDS)} See mds --help")
    return _invoke(_load(COMMANDS[name].target), f"mds {name}", rest)


def _load(target: str) -> Any:
    """Import ``module:attribute`` and return it as something that typer can run."""
    import typer

    module, _, attribute = target.partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        app = found
    else:
        app = typer.Typer()
        app.command()(found)
    app.rich_markup_mode = None  # plain help, which does not import rich
    app._add_completion = False
    return typer.main.get_command(app)


def parameters_of(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Return what a command would be called with for these arguments, without calling it.

    Raises
    ------
    ConfigError
        Where the command would not take them.
    """
    import typer

    from mdslib.errors import ConfigError

    try:
        with _load(COMMANDS[name].target).make_context(f"mds {name}", list(arguments)) as context:
            return dict(context.params)
    except typer.TyperException as error:
        raise ConfigError(f"mds {name} would not take these options: {error.format_message()}") from None


def _invoke(command: Any, program: str, arguments: list[str]) -> int:
    import typer

    try:
        # Not `command.main`, which turns interrupts and closed pipes into exit codes of its own.
        with command.make_context(program, arguments) as context:
            code = command.invoke(context)
    except typer.Exit as answer:
        return answer.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except typer.TyperException as error:
        text = error.format_message().strip().rstrip(".")
        if not text or "\n" in text:  # a group without a sub-command: its help is the answer
            sys.stdout.write(f"{text}\n")
            return error.exit_code
        return _fail(f"{text[0].lower()}{text[1:]}; see {program} --help")
    return code if isinstance(code, int) else 0


def _machines_fault(error: OSError | MemoryError) -> str:
    """Say what a file, the disk or the memory would not do, where no command had a better sentence for it."""
    if os.environ.get("MDS_DEBUG") == "1":
        import traceback

        traceback.print_exc()
    if isinstance(error, MemoryError):
        return f"out of memory: {error or 'no more is to be had'}; ask for less at once"
    named = f"{error.filename}: " if error.filename else ""
    return f"{named}{error.strerror or error}; look at its path, its owner and mode, and at the room on its disk"


def _fail(message: str) -> int:
    """Write one line to standard error."""
    sys.stderr.write(f"mds: error: {' '.join(message.split())}\n")
    return ERROR


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return (
        "Usage: mds COMMAND [OPTIONS]\n\nOne strategy function, from a notebook to a paper account.\n\nCommands:\n"
        + "\n".join(lines)
        + "\n\n`mds COMMAND --help` explains one. Errors are one line; MDS_DEBUG=1 shows the traceback of a bug.\n"
    )


def _version() -> str:
    from importlib.metadata import version

    return version("mdslib")
