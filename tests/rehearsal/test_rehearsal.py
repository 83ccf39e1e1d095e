"""One rehearsal over real sockets, and what the judge says when something of it is taken away or added.

`MDSLIB_REHEARSE_ALL=1` plays every script that comes with mdslib, as `mds rehearse --all` does; some six minutes.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdslib.audit.report import AuditReport, Finding, Outcome
from mdslib.cli import run
from mdslib.cli.demo import made
from mdslib.events import Kind, Status
from mdslib.live.verdict import ExitCode
from mdslib.rehearsal import Case, Row, Table, judge, play
from mdslib.rehearsal.evidence import Evidence, read_evidence
from mdslib.rehearsal.judge import Verdict, failed
from mdslib.rehearsal.table import lines
from mdslib.sim import Script, catalogue, parse_script
from mdslib.units import KEYS

SCRIPT = """
about = "A cut, a lost answer, and a socket that is mute at the close."

[must]
see = ["gap", "backfill", "reconnect"]
lost = "told"

[[fault]]
what = "disconnect"
after = "30m"

[[fault]]
what = "http-error"
call = "POST /v2/orders"
nth = 3
status = 504
taken = "first"

[[fault]]
what = "mute"
at = 15:50:00
for = "day"
"""
TRADES = 600


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Row]:
    folder = tmp_path_factory.mktemp("rehearsal") / "case"
    script = parse_script(SCRIPT, "bad_day.toml")
    case = Case(script, made("SPY", "", TRADES), folder, speed=4_000.0, end_of_day="keep")
    return case, play(case)


@pytest.fixture(scope="module")
def left(played: tuple[Case, Row]) -> Evidence:
    return read_evidence(played[0].run_dir)


def test_nothing_is_lost_untold_or_doubled_and_the_row_says_what_happened(played: tuple[Case, Row]) -> None:
    case, row = played
    assert row.wrong == ()
    assert (row.verdict, row.exit, row.audit) == (Verdict.SURVIVED, "OK", "passed")
    assert row.thrown.startswith("disconnect 503 cut of data, http-error 504 on POST /v2/orders (taken), mute day of ")
    assert "1 reconnection, " in row.did
    assert row.events is not None
    assert row.events.played == TRADES
    assert (row.events.lost, row.events.doubled, row.events.invented) == (0, 0, 0)
    assert row.orders is not None
    assert row.orders.sent > 5
    assert json.loads((case.folder / "row.json").read_text()) == json.loads(row.to_json())
    assert not any(name in os.environ for name in KEYS), "the keys of no value are gone again"


def test_what_never_came_before_the_close_is_named_by_the_venue_s_history(
    played: tuple[Case, Row], left: Evidence
) -> None:
    row = played[1]
    assert row.events is not None
    missing = TRADES - int(np.count_nonzero(left.records["kind"] == int(Kind.TRADE)))
    assert row.events.told == missing > 0
    assert left.verdict is not None
    (text,) = [each["text"] for each in left.verdict.details["findings"] if each["name"] == "history"]
    assert text.startswith(f"{TRADES} events in the venue's history, {missing} of them never came; first: ")


def wrong(evidence: Evidence, script: Script | None = None) -> tuple[str, ...]:
    row = judge(script or parse_script(SCRIPT), evidence)
    assert (row.verdict is Verdict.FAILED) == bool(row.wrong)
    return row.wrong


def test_an_event_that_is_not_on_the_tape_fails_it(left: Evidence) -> None:
    at = int(np.flatnonzero(left.records["kind"] == int(Kind.TRADE))[50])
    (why,) = wrong(replace(left, records=np.delete(left.records, at)))
    assert why.endswith(f"of {TRADES} events are missing, and nothing says so")
    (why,) = wrong(replace(left, records=np.insert(left.records, at, left.records[at])))
    assert why == "1 event too often on the tape"


def test_an_order_that_one_side_does_not_know_fails_it(left: Evidence) -> None:
    filled = next(order for order in left.orders if order["status"] == "filled")
    without = [order for order in left.orders if order is not filled]
    told = wrong(replace(left, orders=without))
    assert any(why.startswith("1 order filled otherwise (first: decision ") for why in told)
    assert any(why.startswith("our position of SPY is off by ") for why in told)
    told = wrong(replace(left, orders=[*left.orders, filled]))
    assert any(why.startswith(f"1 order doubled (first: {filled['client_order_id']}") for why in told)
    updates = (left.records["kind"] == int(Kind.UPDATE)) & (left.records["code"] == int(Status.FILLED))
    assert wrong(replace(left, records=left.records[~updates]))


@pytest.mark.parametrize(
    ("must", "why"),
    [
        ('exit = "CONFIG"\nlost = "told"', "it ended with OK, must be CONFIG: the session closed; audit passed"),
        ('see = ["halt"]\nlost = "told"', "not seen: trading was halted"),
        ('lost = "nothing"', "events are missing, as the tape says"),
        ('books = "differ"\nlost = "told"', "nobody else traded on the account"),
    ],
)
def test_what_a_script_asks_for_must_be_seen(must: str, why: str, left: Evidence) -> None:
    script = parse_script(f"[must]\n{must}\n[[fault]]" + SCRIPT.partition("[[fault]]")[2])
    (told,) = wrong(left, script)
    assert told.endswith(why)


def test_a_failed_audit_and_a_missing_verdict_fail_it(left: Evidence) -> None:
    audit = AuditReport("", (Finding("tape", Outcome.FAILED, "record 7 is damaged"),))
    assert wrong(replace(left, audit=audit)) == ("audit failed: tape: record 7 is damaged",)
    assert "it left no verdict" in wrong(replace(left, verdict=None))


def test_a_script_whose_faults_hit_nothing_proves_nothing(left: Evidence) -> None:
    row = judge(parse_script('[must]\nlost = "told"\n[[fault]]\nwhat = "reject"\n'), replace(left, faults=[]))
    assert (row.verdict, row.thrown) == (Verdict.IDLE, "no reject 0s")


def test_the_table_is_in_the_scripts_order_and_fails_with_its_rows(played: tuple[Case, Row], tmp_path: Path) -> None:
    row = played[1]
    table = Table((row, failed(parse_script('[[fault]]\nwhat = "mute"', "a.toml"), "it hung"))).sorted()
    assert table.last() == "2 rehearsals: 1 survived, 1 FAILED"
    assert table.exit_code == 1
    table.write(tmp_path)
    text = (tmp_path / "table.md").read_text().splitlines()
    assert text[0].startswith("| fault | verdict | events lost, doubled |"), "a page is too narrow for all of it"
    assert text[2].startswith("| `a` |")
    assert text[3].startswith(f"| `bad_day` | survived | 0, 0 of {TRADES};")
    assert " | disconnect 503 cut of data, " in text[3]
    assert json.loads((tmp_path / "table.json").read_text())["rows"][1]["exit"] == ExitCode.OK.name
    assert list(lines(table.rows[0]))[-1] == "    ✗ it hung"


def test_the_page_of_the_docs_has_a_row_of_every_script_and_none_failed() -> None:
    page = Path(__file__).parents[2] / "docs" / "topics" / "rehearsals.md"
    rows = [line.split(" | ") for line in page.read_text("utf-8").splitlines() if line.startswith("| `")]
    assert [row[0].strip("| `") for row in rows] == sorted(script.name for script in catalogue())
    assert {row[1].partition(":")[0] for row in rows} == {"survived", "ended as it must"}


@pytest.mark.skipif("MDSLIB_REHEARSE_ALL" not in os.environ, reason="set MDSLIB_REHEARSE_ALL=1: some six minutes")
def test_every_script_is_survived_or_ends_as_it_must(tmp_path: Path, capsys: pytest.CaptureFixture[Any]) -> None:
    code = run(["rehearse", "--all", "--jobs", "4", "--json", "--runs", str(tmp_path)])
    table = json.loads(capsys.readouterr().out)
    assert [row["wrong"] for row in table["rows"] if row["wrong"]] == []
    assert code == 0
    assert len(table["rows"]) > 25
