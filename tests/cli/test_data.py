"""`mds import`, `mds data` and `mds is-session`, as a shell sees them: words, exit codes, JSON."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from mdslib.cli import run

TRADES = "34200000,1656600,200,P,1,0\n34200003,1656500,17,K,1,0\n"


@pytest.fixture
def lean(tmp_path: Path) -> Path:
    """A folder with one good and one damaged file."""
    folder = tmp_path / "lean"
    folder.mkdir()
    for date in ("20131008", "20131009"):
        with zipfile.ZipFile(folder / f"{date}_tick_trade.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{date}_spy_Trade_Tick.csv", TRADES)
    damaged = folder / "20131009_tick_trade.zip"
    damaged.write_bytes(damaged.read_bytes()[:-30])
    return folder


def test_import_reports_each_file_and_fails_if_one_failed(
    lean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(tmp_path / "store")
    assert run(["import", "lean", str(lean), "--symbol", "SPY", "--store", store]) == 2
    out, err = capsys.readouterr()
    assert "20131008_tick_trade.zip: 2013-10-08: 2 rows of trade, 2 in regular hours" in out
    assert "1 of 2 files imported, 2 rows, into" in out
    assert "20131009_tick_trade.zip: FAILED: must be a whole zip file" in err
    assert err.splitlines()[-1] == (
        "mds: error: 1 of 2 files were not imported: 20131009_tick_trade.zip; the reasons are above"
    )


def test_what_was_imported_is_listed_as_json_and_as_text(
    lean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(tmp_path / "store")
    assert run(["import", "lean", str(lean / "20131008_tick_trade.zip"), "--symbol", "SPY", "--store", store]) == 0
    capsys.readouterr()
    assert run(["data", "ls", "--store", store, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert {key: row[key] for key in ("venue", "symbol", "kind", "date", "rows", "first", "last")} == {
        "venue": "alpaca",
        "symbol": "SPY",
        "kind": "trade",
        "date": "2013-10-08",
        "rows": 2,
        "first": 1_381_239_000_000_000_000,
        "last": 1_381_239_000_003_000_000,
    }
    assert row["bytes"] > 0
    assert run(["data", "ls", "--store", store]) == 0
    out = capsys.readouterr().out
    assert out.startswith("alpaca:SPY        trade     2013-10-08            2 rows")
    assert "1 part in" in out


def test_an_empty_store_lists_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "ls", "--store", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    monkeypatch.setenv("MDS_STORE", str(tmp_path / "none"))
    assert run(["data", "ls"]) == 0
    assert capsys.readouterr().out == f"0 parts in {tmp_path / 'none'}, which is not there\n"


@pytest.mark.parametrize("command", ["ls", "verify"])
def test_a_store_that_is_named_and_not_there_is_an_error(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", command, "--store", str(tmp_path / "nope")]) == 2
    assert f"--store {tmp_path / 'nope'} is not there; name a store's folder" in capsys.readouterr().err


def test_import_of_nothing_is_an_error(lean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--symbol", "AAPL", "--store", str(tmp_path / "store")]
    assert run(["import", "lean", str(tmp_path / "absent"), *arguments]) == 2
    assert "does not exist; give a zip file or a folder of them" in capsys.readouterr().err


def test_a_folder_of_other_symbols_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(tmp_path / "20131008_spy_minute_trade.zip", "w") as archive:
        archive.writestr("x.csv", "1")
    assert run(["import", "lean", str(tmp_path), "--symbol", "AAPL", "--store", str(tmp_path / "store")]) == 2
    out, err = capsys.readouterr()
    assert "skipped: it is of SPY, and AAPL was asked for" in out
    assert "holds no file of AAPL" in err


def test_the_settings_store_is_used_unless_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MDS_STORE", str(tmp_path / "mine"))
    assert run(["data", "made", "--trades", "500", "--seed", "3", "--symbol", "QQQ"]) == 0
    assert "QQQ 2025-06-12: 500 trades, " in capsys.readouterr().out
    assert run(["data", "ls", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["symbol"], row["rows"]) == ("QQQ", 500)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--date", "2013-10-08"], 0, "NYSE trades on 2013-10-08: 09:30 to 16:00 America/New_York"),
        (["--date", "2024-11-29"], 0, "NYSE trades on 2024-11-29: 09:30 to 13:00 America/New_York"),
        (["--date", "2024-11-28"], 1, "NYSE is closed on 2024-11-28: Thanksgiving"),
        (["--date", "2013-10-12"], 1, "NYSE is closed on 2013-10-12: Saturday"),
        (["--date", "2012-10-29"], 1, "NYSE is closed on 2012-10-29: a special closure"),
        (["--date", "2013-10-12", "--exchange", "24/7"], 0, "24/7 trades on 2013-10-12: 00:00 to 00:00 UTC"),
    ],
)
def test_is_session_answers_by_its_exit_code_and_says_why(
    arguments: list[str], code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["is-session", *arguments]) == code
    assert capsys.readouterr().out == line + "\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--date", "8.10.2013"], "a date must be YYYY-MM-DD and exist, received '8.10.2013'"),
        (["--date", ""], "a date must be YYYY-MM-DD and exist, received ''"),
        (["--date", "9999-12-31"], "whether NYSE trades on 9999-12-31 is not known: the calendars tell of 1885 to 20"),
        (["--date", "1884-12-31"], "whether NYSE trades on 1884-12-31 is not known: the calendars tell of 1885 to 20"),
        (["--date", "2099-01-05", "--exchange", "NASDAQ"], "as exchanges publish their holidays two years ahead"),
        (["--date", "9999-12-31", "--exchange", "24/7"], "must lie from 1678 to 2261, received 9999-12-31;"),
        (["--exchange", "NYSEE"], "exchange 'NYSEE' is not known. Did you mean 'NYSE'?"),
        (["--day", "2013-10-08"], "no such option: --day"),
    ],
)
def test_is_session_with_bad_input_is_neither_yes_nor_no_and_255_so_that_systemd_does_not_take_it_for_a_holiday(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["is-session", *arguments]) == 255
    assert text in capsys.readouterr().err


def test_a_bug_in_is_session_is_255_as_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mdslib.calendar.session", lambda *_: 1 / 0)
    assert run(["is-session", "--date", "2013-10-08"]) == 255
    assert "this is a bug in mdslib" in capsys.readouterr().err


def test_is_session_asks_about_today_at_the_exchange_unless_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["is-session"]) in (0, 1)
    assert capsys.readouterr().out.startswith("NYSE ")
