"""A run's folder is audited by one command, and a failed audit blocks the next start until a person clears it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from mdslib.audit import AuditReport, Finding, fold_of
from mdslib.audit.report import Outcome
from mdslib.cli import run as mds
from mdslib.desk import mark_record
from mdslib.errors import AuditError, ConfigError
from mdslib.events import RECORD, Kind
from mdslib.live.day_audit import audit_run
from mdslib.store.auditblock import clear, is_blocked, mark_failed, refuse_if_blocked
from mdslib.store.tapefile import TapeReader, TapeWriter
from mdslib.strategy import find_model
from mdslib.tape import Side, SideKind, TapeHeader
from tests.audit.session import header_of, trades

MODEL = '''"""A model in a file of its own."""
from typing import NamedTuple

from mdslib import Trade, buy, hold, strategy


class Params(NamedTuple):
    modulus: int = 11


@strategy(on=Trade, params=Params)
def every_eleventh(trade, state, account, p):
    """Buy on sizes that the modulus divides."""
    if trade.size % p.modulus == 0:
        return buy(1.0)
    return hold()
'''


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the model's file; in one place, since a model elsewhere is compiled anew."""
    made = tmp_path_factory.mktemp("models") / "every_eleventh.py"
    made.write_text(MODEL)
    return made


@pytest.fixture
def run_dir(tmp_path: Path, file: Path) -> Path:
    """Return the folder of a small run, as the live session leaves it."""
    model = find_model(file)
    header = header_of(model, parameters={"modulus": 11}, source=str(file))
    return write_run(tmp_path / "runs" / "20131008", header)


def write_run(folder: Path, header: TapeHeader, batches: slice = slice(0, 40)) -> Path:
    """Play some of forty batches of trades; a tape of the same header is folded first, as a restart does."""
    fold = fold_of(header, find_model(header.source))
    with TapeWriter(folder / "tape", header) as tape:
        if tape.found is not None and tape.found.header == header:
            fold.feed(np.array(tape.found.records()))
        for batch in np.split(trades(400), 40)[batches]:
            part = batch.copy()
            tape.append(part)
            for d in fold.feed(part):
                intent = np.zeros(1, RECORD)
                intent["kind"], intent["code"], intent["i0"], intent["flag"] = (
                    Kind.INTENT,
                    d["verb"],
                    d["seq"],
                    d["leg"],
                )
                intent["f0"], intent["f1"], intent["f2"] = d["qty"], d["limit"], d["reference"]
                tape.append(intent)
                fold.feed(intent)
        if batches.stop == 40:
            close = np.zeros(1, RECORD)
            close["kind"], close["ts_event"] = Kind.CLOSE, 1_381_262_400_000_000_000
            tape.append(close, [Side(0, SideKind.DIGEST, fold.digest())])
    return folder


def test_a_whole_run_passes(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mds(["audit", str(run_dir)]) == 0
    told = capsys.readouterr().out
    assert "audit of spy, every_eleventh, 2013-10-08" in told
    assert "✓ tape: " in told
    assert "✓ state: " in told
    assert told.endswith("verdict: passed\n")


def halves(tmp_path: Path, second: str) -> Path:
    """Return a run whose first half one model decided, and after a restart another one the second."""
    for name, text in (("first", MODEL), ("second", second)):
        file = tmp_path / f"{name}.py"
        file.write_text(text)
        header = header_of(find_model(file), parameters={"modulus": 11}, source=str(file))
        write_run(tmp_path / "run", header, slice(0, 20) if name == "first" else slice(20, 40))
    return tmp_path / "run"


def test_a_run_that_was_restarted_passes_as_a_whole(tmp_path: Path, run_dir: Path) -> None:
    header = TapeReader(run_dir / "tape").header
    for part in (slice(0, 13), slice(13, 27), slice(27, 40)):
        write_run(tmp_path / "again", header, part)
    assert audit_run(tmp_path / "again").ok
    whole, again = (TapeReader(folder / "tape").records() for folder in (run_dir, tmp_path / "again"))
    assert whole.tobytes() == again.tobytes()


def test_where_models_were_swapped_each_is_audited_on_its_own_decisions(tmp_path: Path) -> None:
    run = halves(tmp_path, MODEL.replace("buy(1.0)", "buy(2.0)"))
    report = audit_run(run)
    assert report.ok, str(report)
    assert [finding.name for finding in report.findings] == [
        "tape",
        "header",
        "decisions",
        "header",
        "decisions",
        "state",
    ]
    (tmp_path / "first.py").write_text(MODEL.replace("buy(1.0)", "buy(3.0)"))
    again = audit_run(run)
    assert again.ok, str(again)
    assert "- decisions: records 1 to 215 were decided by every_eleventh " in str(again)
    assert "which is not here any more; a person accepted the change" in str(again)
    (tmp_path / "first.py").unlink()
    assert "- decisions: records 1 to 215 were decided by every_eleventh " in str(audit_run(run))


def test_the_state_on_the_way_is_compared_as_well(tmp_path: Path, run_dir: Path) -> None:
    header = TapeReader(run_dir / "tape").header
    for place, part in enumerate((slice(0, 13), slice(13, 27), slice(27, 40))):
        write_run(tmp_path / "again", header, part)
        with TapeWriter(tmp_path / "again" / "tape", header) as tape:
            assert tape.found is not None
            fold = fold_of(header, find_model(header.source))
            fold.feed(np.array(tape.found.records()))
            if place < 2:
                tape.append(mark_record(Kind.CHECKPOINT, 1, 1), [Side(0, SideKind.DIGEST, fold.digest())])
    assert "and at 2 checkpoints before it" in str(audit_run(tmp_path / "again"))
    with TapeWriter(tmp_path / "again" / "tape", header) as tape:
        tape.append(mark_record(Kind.CHECKPOINT, 1, 1), [Side(0, SideKind.DIGEST, "0" * 64)])
        wrong = tape.next_seq - 1
    report = audit_run(tmp_path / "again")
    assert report.verdict == "failed"
    assert f"✗ state: digest at record {wrong} is 000000000000 on the tape, " in str(report)


def test_a_session_that_never_closed_fails(tmp_path: Path, run_dir: Path) -> None:
    write_run(tmp_path / "killed", TapeReader(run_dir / "tape").header, slice(0, 20))
    assert "✗ state: the tape has no CLOSE record" in str(audit_run(tmp_path / "killed"))


def test_a_tape_that_is_damaged_fails_the_audit_and_names_the_record(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run_dir / "tape" / "00000001.tape"
    data = bytearray(file.read_bytes())
    data[-96 * 50 + 20] ^= 1
    file.write_bytes(data)
    report = audit_run(run_dir)
    assert [(finding.name, finding.outcome) for finding in report.findings] == [("tape", Outcome.FAILED)]
    assert "00000001.tape: record " in report.findings[0].text
    assert mds(["audit", str(run_dir)]) == 1, "the answer is no, as for every audit that did not pass"
    told = capsys.readouterr()
    assert told.out.startswith("audit of 20131008\n✗ tape: 00000001.tape: record ")
    assert told.err == ""


def test_a_run_on_a_local_exchange_without_its_log_says_what_was_not_compared(
    tmp_path: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = dataclasses.replace(TapeReader(run_dir / "tape").header, clock="scaled")
    run = write_run(tmp_path / "rehearsal", header)
    assert mds(["audit", str(run)]) == 0
    told = capsys.readouterr().out
    assert "- sent: the local exchange left no sent/sent.json here; mds sim --log writes it" in told
    assert "- orders: the local exchange left no sent/orders.jsonl here" in told
    assert told.endswith("verdict: passed, but for sent, orders, fills, which could not be compared\n")


def test_a_run_at_a_venue_that_keeps_no_such_log_says_nothing_of_it(run_dir: Path) -> None:
    assert audit_run(run_dir).last() == "verdict: passed"


def test_an_edited_model_that_decides_otherwise_is_not_comparable(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run_dir.parents[1] / "other.py"
    file.write_text(MODEL.replace("buy(1.0)", "buy(2.0)"))
    assert mds(["audit", str(run_dir), "--model", str(file), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "not comparable"
    assert "the model's code was" in told["findings"][1]["text"]
    assert "qty is 1.0 on the tape, 2.0 in the fold" in told["findings"][2]["text"]


def test_the_exchanges_log_is_compared_where_there_is_one(run_dir: Path) -> None:
    sent = run_dir / "sent"
    sent.mkdir()
    (sent / "sent.json").write_text(json.dumps({"symbols": ["SPY"]}))
    trades(400).tofile(sent / "sent-0001.rec")
    (sent / "orders.jsonl").touch()
    report = audit_run(run_dir)
    assert [finding.name for finding in report.findings] == [
        "tape",
        "header",
        "decisions",
        "state",
        "sent",
        "orders",
        "fills",
    ]
    assert report.findings[4].outcome is Outcome.PASSED
    assert "not at the exchange (first: mds-20131008-" in report.findings[5].text


def test_a_folder_without_a_run_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AuditError, match="must hold a run's tape/ folder, and does not; give the folder of one run"):
        audit_run(tmp_path)
    assert mds(["audit", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


FAILED = AuditReport(
    "spy, m, 2013-10-08", (Finding("tape", Outcome.PASSED, "whole"), Finding("sent", Outcome.FAILED, "1 lost"))
)


def test_a_failed_audit_blocks_until_a_person_clears_it_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    assert is_blocked(runs) is None
    refuse_if_blocked(runs)
    mark_failed(runs, FAILED, "20131008")
    mark_failed(runs, FAILED, "20131009")
    why = is_blocked(runs)
    assert why is not None
    assert (
        "the audit of spy, m, 2013-10-08 did not pass (and 1 later audits): 1 lost. Look at it, then run: mds audit "
        "--clear" in why
    )
    with pytest.raises(AuditError, match="this run may not start: the audit of spy"):
        refuse_if_blocked(runs)
    assert mds(["audit", "--clear", str(runs)]) == 2
    assert "mds audit --clear needs --why TEXT, received none" in capsys.readouterr().err
    assert is_blocked(runs) is not None
    assert mds(["audit", "--clear", str(runs), "--why", "cable pulled"]) == 0
    assert "cleared 2 failed audits; noted in" in capsys.readouterr().out
    assert is_blocked(runs) is None
    entry = json.loads((runs / "audit_cleared.jsonl").read_text())
    assert entry["why"] == "cable pulled"
    assert entry["who"]
    assert [each["run"] for each in entry["failed"]] == ["20131008", "20131009"]
    with pytest.raises(ConfigError, match="is not blocked: there is no AUDIT_FAILED in it"):
        clear(runs, "again")


def test_clearing_by_a_runs_folder_clears_the_folder_that_holds_it(run_dir: Path) -> None:
    mark_failed(run_dir.parent, FAILED, run_dir.name)
    assert mds(["audit", "--clear", str(run_dir), "--why", "seen"]) == 0
    assert is_blocked(run_dir.parent) is None


def test_anything_in_the_file_blocks(tmp_path: Path) -> None:
    (tmp_path / "AUDIT_FAILED").write_text("stopped by hand\n")
    assert "stopped by hand" in str(is_blocked(tmp_path))
    (tmp_path / "AUDIT_FAILED").write_text("")
    assert "an earlier run did not pass" in str(is_blocked(tmp_path))


@pytest.mark.parametrize(
    ("closed_at", "said"), [(0.5, "200 events sent, all on the tape, once and in order; 200 later"), (2.0, "1 lost")]
)
def test_a_session_that_was_stopped_early_is_judged_up_to_the_last_instant_that_it_saw(
    tmp_path: Path, run_dir: Path, closed_at: float, said: str
) -> None:
    sent = trades(400)
    header = dataclasses.replace(TapeReader(run_dir / "tape").header, hours=((0, int(sent["ts_event"][-1]) + 1),))
    with TapeWriter(tmp_path / "run" / "tape", header) as tape:
        tape.append(sent[:201] if closed_at < 1 else np.delete(sent, 7))
        close = np.zeros(1, RECORD)
        close["kind"], close["ts_event"] = Kind.CLOSE, sent["ts_event"][200] if closed_at < 1 else header.hours[0][1]
        tape.append(close)
    folder = tmp_path / "run" / "sent"
    folder.mkdir()
    (folder / "sent.json").write_text(json.dumps({"symbols": ["SPY"]}))
    sent.tofile(folder / "sent-0001.rec")
    assert said in str(audit_run(tmp_path / "run"))
