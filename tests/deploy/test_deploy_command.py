"""`mds deploy` installs, says what it did, and names the next commands."""

from __future__ import annotations

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
    assert sorted(path.name for path in units.iterdir()) == ["mdslib-live.service", "mdslib-live.timer"]
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
         "--symbols must name 2 for the model 'pairs_zscore', received 1: SPY"),
        ([*BASE[1:], "--set", "shares"], "name=value, received 'shares'"),
        ([*BASE[1:], "--set", "share=1"], "has no parameter 'share'. Did you mean 'shares'?"),
        ([*BASE[1:], "--start", "9"], "--start must be HH:MM in the exchange's time, received '9'"),
        ([*BASE[1:], "--system", "--run-as", "no-such-user"], "--run-as must be a user of this machine"),
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
