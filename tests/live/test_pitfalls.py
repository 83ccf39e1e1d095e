"""What befell others, thread by thread: each that can befall us is held by a test, which the documentation names."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from mdslib.audit.report import AuditReport, Finding, Outcome
from mdslib.backtesting import backtest
from mdslib.matching import Fees

from .rehearsal import LATENCY, made_trades, rehearse

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "topics" / "pitfalls.md"
THREADS = {
    "nkaz001/hftbacktest#47", "nkaz001/hftbacktest#67", "freqtrade/freqtrade#5494", "freqtrade/freqtrade#11346",
    "freqtrade/freqtrade#11815", "freqtrade/freqtrade#12928", "alpacahq/alpaca-py#740", "alpacahq/alpaca-py#248",
    "alpacahq/alpaca-py#415", "alpacahq/alpaca-py#260", "QuantConnect/Lean.Brokerages.Alpaca#28",
    "QuantConnect/Lean#4014", "Lumiwealth/lumibot#1113", "nautechsystems/nautilus_trader#3176",
    "nautechsystems/nautilus_trader#5000", "nautechsystems/nautilus_trader#3190", "hummingbot/hummingbot#493",
    "bmoscon/cryptofeed#291", "nteract/papermill#508", "numba/numba#9483",
}  # fmt: skip


class Row(NamedTuple):
    """A row of a table of the page."""

    thread: str
    tests: tuple[str, ...]


def rows(heading: str) -> list[Row]:
    """Return the rows below a heading of the page."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| [")]
    return [Row(line.split("[")[1].split("]")[0], tuple(re.findall(r"`(tests/[^`]+)`", line))) for line in lines]


HELD, EXCUSED = rows("Held by a test"), rows("What cannot happen here")


@cache
def functions(file: str) -> frozenset[str]:
    """Return the names of the test functions of a file."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("row", HELD, ids=[row.thread for row in HELD])
def test_what_befell_others_is_held_by_a_test(row: Row) -> None:
    assert row.tests, "a row names its tests as `tests/file.py::test_name`"
    for name in row.tests:
        file, _, function = name.partition("::")
        assert function in functions(file), f"{name} is gone: name the test that holds {row.thread} now"


def test_every_thread_is_held_by_a_test_or_excused_with_a_reason() -> None:
    told = [row.thread for row in HELD + EXCUSED]
    assert len(told) == len(set(told))
    assert set(told) == THREADS
    assert not [row for row in EXCUSED if row.tests]


# Those that no other test holds ---------------------------------------------------------------------------------------


def finding(report: AuditReport, name: str) -> Finding:
    return next(found for found in report.findings if found.name == name)


@pytest.mark.parametrize("fee", [0.0, 0.005])
def test_hftbacktest_67_cash_and_fees_are_audited_apart_from_positions(fee: float, tmp_path: Path) -> None:
    """Fills, positions and decisions are equal whatever the fees; the cash tells, to the cent."""
    data = made_trades(300)
    sim = {"mode": "lockstep", "fee_per_share": fee}
    report = rehearse(data, "volume_modulo", tmp_path / "run", sim=sim)
    tested = backtest("volume_modulo", data, rules="permissive", latency=LATENCY, flatten="5m", fees=Fees(0.0, fee))
    assert report.audit.ok, report.audit.lines()
    assert finding(report.audit, "books").text == "positions equal the venue's"
    cash = finding(report.audit, "cash")
    fees = float(tested.fills["fee"].sum())
    if not fee:
        assert (cash.outcome, cash.text) == (Outcome.PASSED, f"cash equals the venue's: {tested.cash:,.2f}")
        return
    assert fees > 0.1
    assert cash.outcome is Outcome.NOTED
    assert cash.text.endswith(f"{-fees:+,.2f}: fees, interest, or trades that are not of this run")
