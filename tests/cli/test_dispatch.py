"""`mds` itself: help, unknown commands, exit codes, errors as one line, quick starts."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from types import ModuleType

import pytest
import typer

from mdslib import cli
from mdslib.cli import BUG, COMMANDS, INTERRUPTED, Command, run
from mdslib.errors import DataError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Register a command `probe` that raises what the test puts into the list."""
    raises: list[BaseException] = []

    def probe(size: int = 0, ask: bool = False) -> int:
        """Do what the test says."""
        if raises:
            raise raises[0]
        if ask:
            raise typer.Exit(1)
        return size

    module = ModuleType("mds_probe")
    module.__dict__["probe"] = probe
    monkeypatch.setitem(sys.modules, "mds_probe", module)
    monkeypatch.setitem(cli.COMMANDS, "probe", Command("mds_probe:probe", "For tests."))
    return raises


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if find_spec(COMMANDS[name].target.partition(":")[0]) is None:
        pytest.skip(f"mds {name} has not landed yet: {COMMANDS[name].target} is not there")
    assert run([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: mds {name}")
    assert "Traceback" not in out


def test_help_lists_every_command_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    listed = capsys.readouterr().out
    for name, target in COMMANDS.items():
        assert any(line.split(None, 1)[:1] == [name] and target.summary in line for line in listed.splitlines())


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert capsys.readouterr().out.startswith("Usage: mds COMMAND")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["bakctest"], "unknown command 'bakctest'. Did you mean 'backtest'? See mds --help"),
        (["--versoin"], "unknown option '--versoin'; options follow their command, see mds --help"),
        (["probe", "--sise", "3"], "no such option: --sise (Possible options: --size); see mds probe --help"),
        (["probe", "--size", "x"], "invalid value for '--size': Input should be a valid integer"),
    ],
)
def test_wrong_usage_is_one_line_and_2(
    command: list[BaseException], capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"mds: error: {line}")
    assert err.count("\n") == 1


def test_a_deliberate_error_is_one_line_and_2(command: list[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    command.append(DataError("trades.zip must hold one file,\nreceived 2; take the vendor's"))
    assert run(["probe"]) == 2
    assert capsys.readouterr().err == "mds: error: trades.zip must hold one file, received 2; take the vendor's\n"


def test_an_accident_is_called_a_bug_and_its_traceback_is_shown_only_on_request(
    command: list[BaseException], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command.append(ZeroDivisionError("float division by zero"))
    monkeypatch.delenv("MDS_DEBUG", raising=False)
    assert run(["probe"]) == BUG
    assert capsys.readouterr().err == (
        "mds: error: ZeroDivisionError: float division by zero; this is a bug in mdslib: "
        "repeat the command with MDS_DEBUG=1 and report the traceback\n"
    )
    monkeypatch.setenv("MDS_DEBUG", "1")
    assert run(["probe"]) == BUG
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_interrupt_is_130(command: list[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    command.append(KeyboardInterrupt())
    assert run(["probe"]) == INTERRUPTED
    assert capsys.readouterr().err.splitlines()[-1] == "mds: error: interrupted"


def test_a_command_answers_by_what_it_returns_or_by_exit(command: list[BaseException]) -> None:
    assert run(["probe"]) == 0
    assert run(["probe", "--size", "5"]) == 5
    assert run(["probe", "--ask"]) == 1


def test_a_reader_that_has_gone_is_no_error() -> None:
    code = (
        "import sys, types, typer; from mdslib import cli\n"
        "module = types.ModuleType('m')\n"
        "def many():\n    for i in range(200_000): typer.echo(i)\n"
        "module.many = many; sys.modules['m'] = module\n"
        "cli.COMMANDS['many'] = cli.Command('m:many', '')\n"
        "sys.exit(cli.run(['many']))"
    )
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" | head -1; exit ${PIPESTATUS[0]}', sys.executable, code],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mdslib.cli import run; run(['--help'])\n"
        "heavy = {'pandas', 'typer', 'plotly', 'pydantic', 'papermill', 'alpaca', 'cpquant', 'starlette', 'rich'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stderr.strip(), done.returncode) == ("", 0)
