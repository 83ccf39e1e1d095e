"""Whatever an option is given, a command answers, or says in one line what is wrong; never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mdslib import cli
from mdslib.cli import COMMANDS, run
from mdslib.live import program
from mdslib.units import KEYS

SATURDAY = 1_795_275_000_000_000_000  # 2026-11-21
DAY = ["--symbol", "SPY", "--date", "2025-06-12", "--store", "store"]
# A call of each command that answers at once; `mds sim`, `mds demo` and `mds rehearse`, which go on, are below.
CALLS: dict[str, list[str]] = {
    "import lean": ["file", "--symbol", "SPY", "--store", "other"],
    "import tardis": ["file", "--store", "other"],
    "import lobster": ["file", "--store", "other"],
    "import dbn": ["file", "--store", "other"],
    "import capture": ["file", "--store", "other"],
    "import csv": ["file", "--instrument", "SPY", "--column", "ts_event=t", "--store", "other"],
    "export": ["out.csv", *DAY],
    "data ls": ["--store", "store"],
    "data compact": ["run", "--store", "store"],
    "data verify": ["--store", "store"],
    "data retain": ["run", "--store", "store", "--days", "9"],
    "data made": ["--store", "other", "--trades", "50"],
    "models": [],
    "new-model": ["a_model", "--folder", "out"],
    "check": ["volume_modulo", "--events", "9"],
    "backtest": ["volume_modulo", *DAY],
    "live": ["volume_modulo", "--symbol", "SPY"],
    "halt": ["runs", "--no-cancel"],
    "notify": ["x.service"],
    "audit": ["run"],
    "seal": ["run"],
    "verify": ["run"],
    "record": ["--status", "--out", "out"],
    "replay-capture": ["file"],
    "is-session": ["--date", "2024-01-02"],
    "deploy": ["--model", "volume_modulo", "--symbols", "SPY", "--dry-run"],
}
JUNK = ["", " ", "x", "nan", "-1", "1e400", "9999-12-31", "file", "folder.py", "broken.py", "loop", "a=b", "é", "a\nb"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a small store, a run, and things that are not what they seem; a closed day."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(program, "wall_ns", lambda: SATURDAY)
    for key in KEYS:
        monkeypatch.setenv(key, "x")
    for name in ("run/tape", "runs/one/tape", "folder.py"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"\x00\xff not what is asked for")
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "loop").symlink_to("loop")
    assert run(["data", "made", "--store", "store", "--trades", "50"]) == 0
    return tmp_path


def parameters(command: str) -> list[Any]:
    name, _, inner = command.partition(" ")
    found = cli._load(COMMANDS[name].target)
    return [p for p in (found.commands[inner] if inner else found).params if p.name not in ("help", "enable")]


def words(command: str, parameter: Any, junk: str) -> list[str]:
    """Return the command's call with one option or argument replaced."""
    call = list(CALLS[command])
    if parameter.param_type_name == "argument":
        has_one = bool(call) and not call[0].startswith("-")
        return [*command.split(), *([junk, *call[1:]] if has_one else [*call, "--", junk])]
    option = max(parameter.opts, key=len)
    if option in call:
        at = call.index(option)
        del call[at : at + 2]
    return [*command.split(), *call, f"{option}={junk}"]


def assert_clean(arguments: list[str], code: int, out: str, err: str) -> None:
    assert code in (0, 1, 2, 255), f"{arguments}: exit {code}, {err}"
    assert "bug in mdslib" not in err, f"{arguments}: {err}"
    assert "Traceback" not in out + err, f"{arguments}: {err}"
    if code in (2, 255):
        assert err.splitlines()[-1].startswith("mds: error: "), f"{arguments}: {err}"


def test_every_command_is_among_the_calls() -> None:
    asks_the_broker = {"cancel"}  # under test in test_supervise.py
    assert {name.split()[0] for name in CALLS} | {"sim", "demo", "rehearse"} | asks_the_broker >= set(COMMANDS)


@pytest.mark.compiled
@pytest.mark.parametrize("command", CALLS)
def test_every_option_is_taken_or_named(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for parameter in parameters(command):
        if getattr(parameter, "is_flag", False):
            continue
        for junk in JUNK:
            if parameter.param_type_name == "argument" and junk.startswith("-"):
                continue
            arguments = words(command, parameter, junk)
            code = run(arguments)
            out, err = capsys.readouterr()
            assert_clean(arguments, code, out, err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sim", "--port", "99999"], "sim option port must be a whole number from 0 to 65535, received 99999"),
        (["sim", "--port=-1"], "sim option port must be a whole number from 0 to 65535, received -1"),
        (["sim", "--port", "0", "--latency-ms", "nan"], "--latency-ms must be a finite number from 0 to 3.6e+06, rec"),
        (["sim", "--port", "0", "--exit-after", "nan"], "sim option exit_after must be a finite number >= 0, received"),
        (["sim", "--port", "0", "--fee-bps", "inf"], "sim option fee_bps must be a finite number from 0 to 1e+06"),
        (["sim", "--port", "0", "--symbol-limit=-1"], "sim option symbol_limit must be a whole number >= 0, received"),
        (["sim", "--port", "0", "--from", "12:00", "--to", "11:00"], "sim option from_ts must lie before to_ts"),
        (["demo", "--speed", "0"], "sim option speed must be > 0, received 0.0"),
        (["demo", "--speed", "nan"], "sim option speed must be > 0, received nan"),
        (["demo", "--model", "nope"], "unknown model 'nope'. Known: "),
        (["demo", "--model", "pairs_zscore"], "model 'pairs_zscore' trades 2 instruments, received 1 (SPY)"),
        (["demo", "--rules", "x"], "sim option rules must be one of permissive, alpaca; received 'x'"),
        (["demo", "--end-of-day", "x"], "end_of_day must be 'flatten' or 'keep', received 'x'"),
        (["demo", "--symbol", ""], "Instrument.symbol must be a venue symbol, received ''"),
        (["demo", "--data", "file", "--date", "2013-10-08"], "--data file: file can't be played: the name must be"),
        (["rehearse", "--speed", "0"], "sim option speed must be > 0, received 0.0"),
        (["rehearse", "--jobs", "0"], "invalid value for '--jobs'"),
        (["rehearse", "nope"], "unknown model 'nope'. Known: "),
        (["rehearse", "--faults", "strom"], "fault script 'strom' is unknown. Did you mean 'storm'?"),
        (["rehearse", "--all", "--faults", "storm"], "--all plays every script, so --faults storm can't be beside it"),
        (["rehearse", "--faults", "storm", "--faults", "storm"], "--faults must name different scripts, rec"),
        (["rehearse", "--set", "shares=x"], "parameter 'shares' of strategy 'every_order' must be float, received 'x'"),
        (["data", "ls", "--store", "file"], "a store is a folder, received the file file; name a folder with --store"),
        (["data", "made", "--trades", "99999999999999999999"], "invalid value for '--trades'"),
        (["data", "made", "--symbol", "a b"], "Instrument.symbol must be a venue symbol, received 'A B'"),
        (["new-model", "hold"], "new-model NAME must not be a word that a model uses, received 'hold'"),
        (["backtest", "volume_modulo", *DAY, "--to", "9999-12-31"], "a session's date must lie from 1678 to 2261"),
        (["backtest", "volume_modulo", *DAY, "--flatten", "99h"], "backtest(flatten=...) must be shorter than the ses"),
        (["verify", "file"], "file/manifest.json: Not a directory; look at its path, its owner and mode"),
        (["live", "volume_modulo", "--symbol", "SPY", "--notebook", "file"], "--notebook file is no notebook ("),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    capsys.readouterr()
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_full_disk_and_too_little_memory_are_no_bugs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error, said in (
        (OSError(28, "No space left on device", "runs/x"), "runs/x: No space left on device; look at its path"),
        (MemoryError("Unable to allocate 71 PiB"), "out of memory: Unable to allocate 71 PiB; ask for less at once"),
    ):

        def full(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr("mdslib.cli._dispatch", full)
        assert run(["models"]) == 2
        assert said in capsys.readouterr().err
