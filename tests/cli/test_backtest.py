"""`mds backtest`, as a shell sees it: what it prints, and which requests it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mdslib.calendar import session
from mdslib.cli import run
from mdslib.cli.backtest import span
from mdslib.instruments import Instrument
from mdslib.store.made import made_day
from mdslib.store.parquet import ParquetStore

DATES = ("2025-06-11", "2025-06-12", "2025-06-13")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three made days of SPY."""
    folder = tmp_path_factory.mktemp("store")
    for date in DATES:
        day = session(date)
        assert day is not None
        ParquetStore(folder).write(made_day(date, trades=2_000), Instrument("SPY"), day.date)
    return str(folder)


def backtest(store: str, *arguments: str) -> int:
    return run(["backtest", "volume_modulo", "--symbol", "SPY", "--store", store, *arguments])


def lines(text: str) -> dict[str, str]:
    return {line.split()[0]: line.partition(" ")[2].strip() for line in text.splitlines()}


def test_the_fates_of_orders_are_counted(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert backtest(store, "--date", DATES[0], "--latency", "2h") == 0
    said = lines(capsys.readouterr().out)
    assert backtest(store, "--date", DATES[0], "--latency", "2h", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    for name in ("denied", "orders", "rejected", "canceled", "expired", "fills"):
        assert said[name] == f"{figures[name]:,}"
    assert figures["expired"] > 0, "nothing fills in the last two hours"
    assert figures["expired"] + figures["rejected"] < figures["orders"]


NONSENSE = '''"""Answers nonsense."""

from mdslib import Trade, buy, strategy


@strategy(on=Trade)
def nonsense(trade, state, account, p):
    return buy(trade.price * float("nan"))
'''


def test_answers_that_are_nonsense_are_told_beside_the_result(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nonsense.py").write_text(NONSENSE)
    model = str(tmp_path / "nonsense.py")
    assert run(["backtest", model, "--symbol", "SPY", "--store", store, "--date", DATES[0], "--json"]) == 0
    told = capsys.readouterr()
    count = json.loads(told.out)["denials"]["INVALID"]
    assert count > 1_000
    assert told.err == f"{count:,} answers were nonsense and denied (INVALID); mds check {model} names them\n"


def test_a_range_of_sessions_is_one_short_line_and_a_list_in_json(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backtest(store, "--date", DATES[0], "--to", DATES[2]) == 0
    assert lines(capsys.readouterr().out)["sessions"] == "2025-06-11 to 2025-06-13, 3 sessions"
    assert backtest(store, "--date", DATES[0], "--to", DATES[2], "--json") == 0
    assert json.loads(capsys.readouterr().out)["sessions"] == list(DATES)
    assert span(["2025-06-12"]) == "2025-06-12"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--bars", "7m"),
            "--bars is for a model on bars, received --bars 7m: volume_modulo takes trades; leave it out, or choose",
        ),
        (
            ("--set", "shares=nan"),
            "parameter 'shares' of strategy 'volume_modulo' must be a finite number, received 'nan'; only one whose",
        ),
        (("--set", "shares=-inf"), "must be a finite number, received '-inf'"),
    ],
)
def test_what_would_be_ignored_or_nonsense_is_refused_in_one_line(
    arguments: tuple[str, ...], said: str, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backtest(store, "--date", DATES[0], *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_bars_of_a_spacing_that_is_not_stored_are_named(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["backtest", "moving_average", "--symbol", "SPY", "--date", DATES[0], "--store", store, "--bars", "7m"]
    assert run(command) == 2
    assert "has no bar_7m of SPY on 2025-06-11. There are only: trade." in capsys.readouterr().err
