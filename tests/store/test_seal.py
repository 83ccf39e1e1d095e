"""The sealed record of a day: whatever is changed afterwards is named."""

from __future__ import annotations

import datetime
import json
import stat
from pathlib import Path

import numpy as np
import pytest

from mdslib.audit.report import Outcome
from mdslib.cli import run as mds
from mdslib.desk import mark_record
from mdslib.errors import ConfigError, SessionError
from mdslib.events import Kind
from mdslib.instruments import Instrument
from mdslib.live.day_audit import _whole, audit_run
from mdslib.store.seal import file_digest, public_key, read_chain, seal
from mdslib.store.tapefile import TapeWriter
from mdslib.store.tapereader import TapeReader
from mdslib.store.verify import sealed_end, verify_chain, verify_run
from mdslib.tape import make_header

DAY = datetime.date(2013, 10, 8)


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "keys" / "seal.key"
    monkeypatch.setenv("MDS_SEAL_KEY", str(path))
    return path


def made_run(runs: Path, name: str, decisions: int = 3) -> Path:
    """Return a run's folder with a short tape, a notebook and a verdict."""
    header = make_header(
        model="m",
        fingerprint="f",
        parameters={"n": 3},
        instruments=(Instrument("SPY"),),
        account_id="PA3",
        trading_date=DAY,
        run_name=name,
        limits={"max_position": float("inf")},
    )
    run_dir = runs / name
    with TapeWriter(run_dir / "tape", header) as tape:
        tape.append(mark_record(Kind.OPEN, 1, 1))
        for n in range(decisions):
            record = mark_record(Kind.INTENT, 10 + n, 10 + n)
            record["f0"] = 5.0
            tape.append(record)
    (run_dir / "live.ipynb").write_text("{}")
    (run_dir / "verdict.json").write_text("{}")
    (run_dir / "heartbeat").touch()
    return run_dir


def failed(run_dir: Path, trusted: str | None = None) -> dict[str, str]:
    """Return what is not as it was sealed, by name."""
    findings = verify_run(run_dir, trusted or public_key())
    return {finding.name: finding.text for finding in findings if finding.outcome.value != "passed"}


def test_an_untouched_run_is_as_sealed(tmp_path: Path, key: Path) -> None:
    run_dir = made_run(tmp_path / "runs", "a")
    sealed = seal(run_dir)
    assert failed(run_dir) == {}
    assert sealed.digest == file_digest(sealed.path)
    body = json.loads(sealed.path.read_text())
    assert body["files"].keys() == {"live.ipynb", "verdict.json", "tape/00000001.tape"}
    assert body["tape"]["records"] == 4
    assert body["code"]["fingerprint"] == "f"
    assert body["parameters"] == {"n": 3}


def test_the_key_is_made_on_first_use_and_only_its_owner_reads_it(tmp_path: Path, key: Path) -> None:
    assert public_key() is None
    seal(made_run(tmp_path / "runs", "a"))
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    first = public_key()
    seal(made_run(tmp_path / "runs", "b"))
    assert public_key() == first


def test_a_changed_a_missing_and_an_added_file_are_named(tmp_path: Path, key: Path) -> None:
    run_dir = made_run(tmp_path / "runs", "a")
    seal(run_dir)
    (run_dir / "live.ipynb").write_text("{ }")
    (run_dir / "verdict.json").unlink()
    (run_dir / "more.txt").touch()
    assert failed(run_dir) == {"files": "changed: live.ipynb; missing: verdict.json; added: more.txt"}


def test_a_record_that_was_changed_on_the_tape_is_named(tmp_path: Path, key: Path) -> None:
    run_dir = made_run(tmp_path / "runs", "a")
    seal(run_dir)
    path = run_dir / "tape" / "00000001.tape"
    raw = bytearray(path.read_bytes())
    raw[-2 * 96 + 40] ^= 1
    path.write_bytes(raw)
    wrong = failed(run_dir)
    assert wrong["files"] == "changed: tape/00000001.tape"
    assert "00000001.tape" in wrong["tape"]
    assert "record" in wrong["tape"]


def test_a_tape_that_was_written_anew_with_good_checksums_is_named(tmp_path: Path, key: Path) -> None:
    runs = tmp_path / "runs"
    run_dir = made_run(runs, "a")
    seal(run_dir)
    other = made_run(tmp_path / "elsewhere", "a", decisions=2)
    (run_dir / "tape" / "00000001.tape").write_bytes((other / "tape" / "00000001.tape").read_bytes())
    assert failed(run_dir)["tape"] == "ends at record 3, sealed at 4"


def test_the_audit_of_a_tape_that_was_cut_where_a_record_ends_points_to_the_seal(tmp_path: Path, key: Path) -> None:
    run_dir = made_run(tmp_path / "runs", "a")
    seal(run_dir)
    other = made_run(tmp_path / "elsewhere", "a", decisions=2)
    tape = run_dir / "tape" / "00000001.tape"
    tape.write_bytes((other / "tape" / "00000001.tape").read_bytes())
    with TapeReader(run_dir / "tape") as cut:
        (finding,) = _whole(cut, run_dir).findings
    assert finding.outcome is Outcome.FAILED
    assert finding.text == (
        f"it ends at record 3, and was sealed at 4: it was cut; mds verify {run_dir} names what was changed since"
    )
    tape.write_bytes(tape.read_bytes()[:40])
    (finding,) = audit_run(run_dir).findings
    assert finding.text.endswith(f". It was sealed: mds verify {run_dir} names what was changed since")
    (run_dir / "manifest.json").write_text("{}")
    assert sealed_end(run_dir) is None


def test_a_manifest_that_was_changed_does_not_match_its_signature(tmp_path: Path, key: Path) -> None:
    run_dir = made_run(tmp_path / "runs", "a")
    path = seal(run_dir).path
    path.write_text(path.read_text().replace('"n": 3', '"n": 4'))
    wrong = failed(run_dir)
    assert wrong["signature"].startswith("manifest.json was changed: it is not what key ")
    assert "does not hold this seal" in wrong["chain"]


def test_a_run_that_was_sealed_anew_by_another_key_is_not_trusted(tmp_path: Path, key: Path) -> None:
    run_dir = made_run(tmp_path / "runs", "a")
    seal(run_dir)
    mine = public_key()
    (run_dir / "live.ipynb").write_text("forged")
    seal(run_dir, tmp_path / "keys" / "other.key")
    assert f"the trusted one is {mine}" in failed(run_dir, mine)["signature"]


def test_without_a_key_of_ones_own_the_signer_is_told_not_trusted(tmp_path: Path, key: Path) -> None:
    run_dir = made_run(tmp_path / "runs", "a")
    seal(run_dir)
    signature = verify_run(run_dir, None)[0]
    assert signature.outcome.value == "not comparable"
    assert str(public_key()) in signature.text


def test_each_seal_follows_the_one_before(tmp_path: Path, key: Path) -> None:
    runs = tmp_path / "runs"
    days = [made_run(runs, name) for name in ("a", "b", "c")]
    digests = [seal(day).digest for day in days]
    assert [entry["manifest"] for entry in read_chain(runs)] == digests
    assert verify_run(days[2], public_key())[3].text == "follows b"
    assert failed(days[2]) == {}


def test_a_day_that_was_exchanged_breaks_the_day_after(tmp_path: Path, key: Path) -> None:
    runs = tmp_path / "runs"
    first, second = made_run(runs, "a"), made_run(runs, "b")
    seal(first)
    seal(second)
    (first / "manifest.json").unlink()
    assert failed(second) == {"chain": "the seal before it, of a, is gone or was exchanged"}


def test_a_seal_that_was_taken_out_of_the_chain_is_noticed(tmp_path: Path, key: Path) -> None:
    runs = tmp_path / "runs"
    days = [made_run(runs, name) for name in ("a", "b", "c")]
    for day in days:
        seal(day)
    lines = (runs / "seals.jsonl").read_text().splitlines(keepends=True)
    (runs / "seals.jsonl").write_text(lines[0] + lines[2])
    assert "another one came before it" in failed(days[2])["chain"]


def test_a_run_that_goes_on_after_a_crash_is_sealed_again_and_the_first_seal_is_kept(tmp_path: Path, key: Path) -> None:
    runs = tmp_path / "runs"
    first, second = made_run(runs, "a"), made_run(runs, "b")
    seal(first)
    seal(second)
    (first / "live.2.ipynb").write_text("{}")
    seal(first)
    assert (first / "manifest.1.json").exists()
    assert failed(first) == {}
    assert failed(second) == {}
    assert [run for run, _ in verify_chain(runs, public_key())] == ["a", "b"]


def test_the_digest_of_decisions_hears_of_each_intent(tmp_path: Path) -> None:
    from mdslib.store.seal import decided

    records = np.concatenate([mark_record(Kind.INTENT, n, n) for n in range(3)])
    changed = records.copy()
    changed["f0"][1] = 1.0
    assert decided(records) != decided(changed)
    assert decided(records) == decided(np.concatenate([records, mark_record(Kind.TIMER, 9, 9)]))


def test_a_run_that_was_never_sealed_says_what_to_do(tmp_path: Path, key: Path) -> None:
    run_dir = made_run(tmp_path / "runs", "a")
    with pytest.raises(SessionError, match=r"was never sealed: there is no manifest\.json; run: mds seal "):
        verify_run(run_dir, None)


def test_a_key_that_is_none_is_refused(tmp_path: Path, key: Path) -> None:
    key.parent.mkdir()
    key.write_text("secret")
    with pytest.raises(ConfigError, match="must be an unencrypted Ed25519 private key in PEM") as told:
        seal(made_run(tmp_path / "runs", "a"))
    assert "secret" not in str(told.value)


def test_the_commands(tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    run_dir = made_run(runs, "a")
    assert mds(["verify", str(run_dir)]) == 2
    assert "was never sealed" in capsys.readouterr().err
    assert mds(["seal", str(run_dir)]) == 0
    assert f"key {public_key()}" in capsys.readouterr().out
    assert mds(["verify", str(run_dir)]) == 0
    assert capsys.readouterr().out.endswith("nothing was changed\n")
    assert mds(["verify", str(runs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    (run_dir / "live.ipynb").write_text("forged")
    assert mds(["verify", str(run_dir)]) == 1
    assert "changed: live.ipynb" in capsys.readouterr().out
    assert mds(["verify", str(run_dir), "--key", "abc"]) == 2
    assert "--key must be a public key of 64 hexadecimal digits" in capsys.readouterr().err
