"""The parity audit: decisions are a pure function of the tape, and a changed tape or another code is found out."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from mdslib.audit import audit
from mdslib.errors import ModelRaised
from mdslib.events import Kind
from mdslib.strategy import Strategy
from tests.audit.session import LIMITS, Session, header_of, modulo, raising, session, trades


@pytest.fixture(scope="module")
def tape() -> tuple[np.ndarray, str]:
    return session(header_of(limits=LIMITS))


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_a_whole_tape_passes_however_it_was_cut_when_live(cut: int) -> None:
    header = header_of(limits=LIMITS)
    records, digest = session(header, cut)
    report = audit(records, header, modulo, digest=digest)
    assert report.ok, str(report)
    assert report.verdict == "passed"
    assert report.lines()[0] == "audit of spy, modulo, 2013-10-08"
    assert "✓ header: same code, versions and machine class" in report.lines()
    kinds = records["kind"].tolist()
    sent, denied = kinds.count(Kind.INTENT), kinds.count(Kind.DENIED)
    assert denied > 20
    assert sent > (20 if cut < 1000 else 3), "of orders that nobody has answered yet, all may fill"
    assert f"{sent + denied} decisions bit-equal ({sent} sent, {denied} denied, 0 expired)" in str(report)


def changed(
    tape: tuple[np.ndarray, str], kind: Kind, field: str, value: object, which: int = 5
) -> tuple[np.ndarray, int]:
    records = tape[0].copy()
    row = np.flatnonzero(records["kind"] == kind)[which]
    records[field][row] = value
    return records, int(records["i0"][row])


@pytest.mark.parametrize(
    ("kind", "field", "value", "said"),
    [
        (Kind.INTENT, "f0", 6.0, "qty is 6.0 on the tape, "),
        (Kind.INTENT, "f1", 145.0, "limit is 145.0 on the tape, nan in the fold"),
        (Kind.INTENT, "f2", 1.0, "reference is 1.0 on the tape, 14"),
        (Kind.INTENT, "code", 2, "verb and time in force is 2 on the tape, 1 in the fold"),
        (Kind.INTENT, "instrument", 1, "instrument is 1 on the tape, 0 in the fold"),
    ],
)
def test_the_first_difference_is_named(
    tape: tuple[np.ndarray, str], kind: Kind, field: str, value: object, said: str
) -> None:
    records, _ = changed(tape, kind, field, value)
    report = audit(records, header_of(limits=LIMITS), modulo, digest=tape[1])
    assert report.verdict == "failed"
    assert said in str(report)
    assert "first difference: decision on record" in str(report)


def test_a_difference_in_the_last_bit_is_found(tape: tuple[np.ndarray, str]) -> None:
    records = tape[0].copy()
    row = np.flatnonzero(records["kind"] == Kind.INTENT)[3]
    records["f2"][row] = np.nextafter(records["f2"][row], 1e9)
    assert "reference is" in str(audit(records, header_of(limits=LIMITS), modulo, digest=tape[1]))


def test_a_lost_intent_an_invented_one_and_a_doubled_one_are_named(tape: tuple[np.ndarray, str]) -> None:
    records, digest = tape
    header = header_of(limits=LIMITS)
    row = np.flatnonzero(records["kind"] == Kind.INTENT)[9]
    seq = int(records["i0"][row])
    lost = audit(np.delete(records, row), header, modulo, digest=digest)
    assert f"decision on record {seq}, leg 0: decision is absent on the tape, ORDER " in str(lost)
    extra = records[row : row + 1].copy()
    extra["i0"] += 1
    invented = audit(np.insert(records, row + 1, extra), header, modulo, digest=digest)
    assert (
        f"decision on record {seq + 1}, leg 0: decision is INTENT (record {records['seq'][row]}) on the tape, absent"
        in str(invented)
    )
    twice = audit(np.insert(records, row + 1, records[row : row + 1]), header, modulo, digest=digest)
    assert f"decision on record {seq}, leg 0: INTENT of attempt 0 is there twice on the tape, decided once" in str(
        twice
    )


def test_a_second_attempt_after_a_rejection_is_no_difference(tape: tuple[np.ndarray, str]) -> None:
    records, digest = tape
    row = np.flatnonzero(records["kind"] == Kind.INTENT)[9]
    again = records[row : row + 1].copy()
    again["i1"] = 1
    assert audit(np.insert(records, row + 2, again), header_of(limits=LIMITS), modulo, digest=digest).ok


def test_an_event_that_changed_on_the_tape_changes_the_state(tape: tuple[np.ndarray, str]) -> None:
    records = tape[0].copy()
    records["f0"][0] += 0.01
    report = audit(records, header_of(limits=LIMITS), modulo, digest=tape[1])
    assert "✗ state: digest at the close is" in str(report)
    assert report.verdict == "failed"


def test_a_session_that_did_not_close_or_said_no_digest_fails(tape: tuple[np.ndarray, str]) -> None:
    records, digest = tape
    header = header_of(limits=LIMITS)
    assert "the tape has no CLOSE record: the run was cut short, so how it ended is not known" in str(
        audit(records[:-1], header, modulo, digest=digest)
    )
    assert "the CLOSE record has no digest beside it" in str(audit(records, header, modulo))


def test_updates_after_the_close_do_not_change_the_state_at_the_close(tape: tuple[np.ndarray, str]) -> None:
    records, digest = tape
    late = records[records["kind"] == Kind.UPDATE][-1:].copy()
    late["seq"] = records["seq"][-1] + 1
    assert audit(np.concatenate([records, late]), header_of(limits=LIMITS), modulo, digest=digest).ok


def test_on_another_machine_or_with_other_code_a_difference_is_not_comparable(tape: tuple[np.ndarray, str]) -> None:
    records, _ = changed(tape, Kind.INTENT, "f0", 6.0)
    header = header_of(limits=LIMITS)
    other = dataclasses.replace(header, machine={**header.machine, "cpu": "z15"}, fingerprint="0" * 16)
    report = audit(records, other, modulo, digest=tape[1])
    assert report.verdict == "not comparable"
    assert not report.ok
    assert (
        f"? header: not comparable: cpu was z15, is {header.machine['cpu']}; the model's code was 0000000000000000"
        in str(report)
    )
    equal = audit(tape[0], other, modulo, digest=tape[1])
    assert equal.ok
    assert "results are bit-equal all the same" in str(equal)


def test_decisions_under_an_earlier_header_are_left_alone(tape: tuple[np.ndarray, str]) -> None:
    records, seq = changed(tape, Kind.INTENT, "f0", 6.0, which=0)
    row = int(np.flatnonzero(records["i0"] == seq)[0])
    assert audit(records, header_of(limits=LIMITS), modulo, digest=tape[1], since=int(records["seq"][row]) + 1).ok


def played(model: Strategy) -> tuple[Session, ModelRaised]:
    made = Session(header_of(model), model)
    with pytest.raises(ModelRaised) as caught:
        made.play(trades(), 50)
    for decision in caught.value.decisions:  # type: ignore[attr-defined]
        where = {"instrument": 0, "i0": decision["seq"], "f0": decision["qty"], "f1": decision["limit"]}
        record = np.zeros(1, made.parts[0].dtype)
        record["kind"], record["code"], record["f2"] = Kind.INTENT, 1, decision["reference"]
        for name, value in where.items():
            record[name] = value
        made.parts.append(record)
    return made, caught.value


def test_a_model_that_raised_live_must_raise_on_the_same_event_again() -> None:
    made, error = played(raising)
    batch = made.parts[max(i for i, part in enumerate(made.parts) if len(part) > 1)]
    digest = made.fold.digest()
    ends = np.zeros(2, batch.dtype)
    ends["kind"] = [Kind.FAULT, Kind.CLOSE]
    ends["i0"][0] = batch["seq"][error.row]
    records = np.concatenate([*made.parts, ends])
    records["seq"] = np.arange(1, len(records) + 1)
    report = audit(records, header_of(raising), raising, digest=digest)
    assert report.ok, str(report)
    assert f"the model raised on record {ends['i0'][0]}, there and here" in str(report)
    silent = records[records["kind"] != Kind.FAULT]
    assert "model is did not raise on the tape, raised on record" in str(
        audit(silent, header_of(raising), raising, digest=digest)
    )


def test_a_report_is_text_html_and_json(tape: tuple[np.ndarray, str]) -> None:
    report = audit(*(tape[0], header_of(limits=LIMITS), modulo), digest=tape[1])
    assert json.loads(report.to_json())["verdict"] == "passed"
    assert [finding["name"] for finding in json.loads(report.to_json())["findings"]] == ["header", "decisions", "state"]
    assert "<td>✓</td><td>state</td>" in report._repr_html_()
