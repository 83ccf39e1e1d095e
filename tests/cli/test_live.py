"""`mds live` checks all that it was told, on a closed day as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdslib.cli import run
from mdslib.live import program
from mdslib.units import KEYS

THANKSGIVING = 1_795_705_200_000_000_000  # 2026-11-26, 10:00 in New York
BASE = ["live", "volume_modulo", "--symbol", "SPY"]


@pytest.fixture(autouse=True)
def closed_day(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program, "wall_ns", lambda: THANKSGIVING)
    for key in KEYS:
        monkeypatch.setenv(key, "x")


def test_a_closed_day_is_said_and_is_0(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run([*BASE, "--limit", "max_position=5", "--option", "run_name=7", "--set", "shares=2"]) == 0
    assert capsys.readouterr().out == "no session on 2026-11-26: Thanksgiving; nothing to do\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--limit", "max_position=abc"], "--limit max_position must be a number, received 'abc'; like --limit max"),
        (["--limit", "max_position"], "--limit takes name=value, received 'max_position'"),
        (["--limit", "max_position=1", "--limit", "max_position=2"], "--limit max_position is given twice: '1' and"),
        (["--limit", "max_positon=1"], "Limits has no field 'max_positon'. Did you mean 'max_position'?"),
        (["--no-limits", "--limit", "max_position=1"], "limits can't be lifted (no_limits) and set at once"),
        (["--option", "workers=x"], "option workers must be a whole number from 1 to 32, received 'x'"),
        (["--option", "=x"], "--option takes name=value, received '=x'"),
        (["--set", "shares=x"], "parameter 'shares' of strategy 'volume_modulo' must be float, received 'x'"),
        (["--feed", "sipp"], "feed must be one of Alpaca's, received 'sipp'. Did you mean 'sip'?"),
        (["--symbol", "spy"], "symbols must differ, received SPY, SPY"),
        (["--end-of-day", "hold"], "end_of_day must be 'flatten' or 'keep', received 'hold'"),
        (["--exchange", "NYSEE"], "exchange 'NYSEE' is not known. Did you mean 'NYSE'?"),
        (["--date", "2024-01-02"], "--date 2024-01-02 is a session that a local exchange plays, so it needs --time"),
        (["--date", "x", "--time-url", "ws://127.0.0.1:1"], "a date must be YYYY-MM-DD and exist, received 'x'"),
        (["--runs", __file__], "--runs must be a folder, received "),
        (["--run-dir", __file__], "--run-dir must be a folder, received "),
        (["--notebook", "none.ipynb"], "--notebook must be a file, received 'none.ipynb'"),
    ],
)  # fmt: skip
def test_nonsense_is_one_line_and_2_on_a_closed_day_too(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run([*BASE, *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("mds: error: ")
    assert said in err
    assert err.count("\n") == 1


def test_missing_keys_are_named_on_a_closed_day_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ALPACA_TRADE_SECRET_KEY")
    assert run(BASE) == 2
    assert "ALPACA_TRADE_SECRET_KEY must be set" in capsys.readouterr().err
