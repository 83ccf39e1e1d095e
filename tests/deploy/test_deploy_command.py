"""`mds deploy` installs, says what it did, and names the next commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mdslib.cli import run

BASE = ["deploy", "--model", "volume_modulo", "--symbols", "SPY"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


def test_a_users_units_are_written_and_the_next_commands_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(BASE) == 0
    out = capsys.readouterr().out
    units = home / "systemd" / "user"
    assert sorted(path.name for path in units.iterdir()) == [
        "mdslib-live-failed.service", "mdslib-live.service", "mdslib-live.timer",
    ]  # fmt: skip
    assert f"wrote {units / 'mdslib-live.service'}" in out
    for step in (
        f"install -m 0600 /dev/null {home / 'mdslib' / 'credentials'}",
        "systemctl --user daemon-reload",
        "systemctl --user enable --now mdslib-live.timer",
        "loginctl enable-linger",
    ):
        assert step in out


def test_a_second_time_says_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(BASE) == 0
    capsys.readouterr()
    assert run([*BASE, "--set", "shares=7"]) == 0
    out = capsys.readouterr().out
    assert "replaced " in out
    assert "unchanged " in out


def test_a_dry_run_prints_and_installs_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*BASE, "--set", "shares=7", "--dry-run", "--", "--feed", "sip"]) == 0
    out = capsys.readouterr().out
    assert "runners/live.py volume_modulo --symbol SPY --set shares=7 --feed sip\n" in out
    assert not (home / "systemd").exists()


def test_system_units_carry_the_user_and_go_where_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*BASE, "--system", "--run-as", "root", "--dest", str(tmp_path / "etc")]) == 0
    assert "User=root" in (tmp_path / "etc" / "mdslib-live.service.d" / "hardening.conf").read_text()
    assert "  systemctl enable --now mdslib-live.timer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "volume_modulu", "--symbols", "SPY"], "unknown model 'volume_modulu'. Did you mean 'volume_mod"),
        (["--model", "pairs_zscore", "--symbols", "SPY"],
         "model 'pairs_zscore' trades 2 instruments, received 1 (SPY); name them with --symbol, in its order"),
        ([*BASE[1:], "--set", "shares"], "name=value, received 'shares'"),
        ([*BASE[1:], "--set", "share=1"], "has no parameter 'share'. Did you mean 'shares'?"),
        ([*BASE[1:], "--start", "9"], "--start must be HH:MM in the exchange's time, received '9'"),
        ([*BASE[1:], "--system", "--run-as", "no-such-user"], "--run-as must be a user of this machine"),
        ([*BASE[1:], "--start", "16:30"], "--start must lie before the close, "),
        ([*BASE[1:], "--workdir", "no-such-folder"], "--workdir must be a folder that is there, received '/"),
        ([*BASE[1:], "--exchange", "NYSEE"], "exchange 'NYSEE' is not known. Did you mean 'NYSE'?"),
        ([*BASE[1:], "--credentials", "/"], "/ must be a file of keys, and is none; name one with --credentials"),
        ([*BASE[1:], "--", "--limit", "max_position=abc"], "--limit max_position must be a number, received 'abc'"),
        ([*BASE[1:], "--", "--limit", "max_positon=1"], "Limits has no field 'max_positon'. Did you mean 'max_pos"),
        ([*BASE[1:], "--", "--option", "workers=0"], "option workers must be a whole number from 1 to 32, received 0"),
        ([*BASE[1:], "--", "--feed", "sipp"], "feed must be one of Alpaca's, received 'sipp'. Did you mean 'sip'?"),
        ([*BASE[1:], "--", "--trade-url", "https://api.alpaca.markets"], "must be Alpaca's paper host or on this mach"),
        ([*BASE[1:], "--", "--exchange", "LSE"], "--exchange must stand before the --, received 'LSE' behind it"),
        ([*BASE[1:], "--", "--date", "2024-01-02"], "--date can't be deployed: a timer trades the session of its day"),
        ([*BASE[1:], "--", "--run-dir", "x"], "--run-dir can't be deployed: each day has a folder of its own"),
        ([*BASE[1:], "--", "--speed", "3"], "mds live would not take these options: No such option: --speed"),
        ([*BASE[1:], "--name", "a b"], "--name must be letters, digits, '-', '_' and '.', received 'a b'"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line_and_installs_nothing(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(["deploy", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("mds: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not (home / "systemd").exists()


def test_keys_that_others_can_read_stop_the_deployment(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "mdslib").mkdir(parents=True)
    (home / "mdslib" / "credentials").touch(0o644)
    assert run(BASE) == 2
    assert "must be readable by its owner alone (mode 0600), received mode 0644" in capsys.readouterr().err
    assert not (home / "systemd").exists()


def test_the_settings_of_the_folder_that_it_runs_in_are_the_ones_that_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mdslib.toml").write_text("feed = 'sipp'\n")
    assert run([*BASE, "--workdir", str(tmp_path)]) == 2
    assert "feed must be one of Alpaca's, received 'sipp'. Did you mean 'sip'?" in capsys.readouterr().err


def test_a_model_file_is_deployed_by_its_whole_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Path(__file__).parents[1] / "live" / "models" / "raises.py"
    relative = os.path.relpath(model)
    for given, deployed in ((relative, str(model)), (f"{relative}:raises", f"{model}:raises")):
        assert run(["deploy", "--model", given, "--symbols", "SPY", "--workdir", str(tmp_path), "--dry-run"]) == 0
        assert f"runners/live.py {deployed} --symbol SPY" in capsys.readouterr().out
