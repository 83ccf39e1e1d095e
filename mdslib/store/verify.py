"""Compare a sealed run with its seal: what was changed, added or removed, who signed, whether the chain is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mdslib.audit.report import Finding, Outcome
from mdslib.errors import SessionError, TapeError
from mdslib.store.seal import CHAIN, FORMAT, MANIFEST, SIGNATURE, decided, file_digest, read_chain, record_files
from mdslib.store.tapereader import TapeReader

SHOWN = 5  # names in one line


def verify_run(run_dir: Path, trusted: str | None) -> tuple[Finding, ...]:
    """Return what became of a sealed run since it was sealed.

    Parameters
    ----------
    run_dir : Path
        The run's folder.
    trusted : str or None
        The public key that must have signed, 64 hexadecimal digits; None where nobody's is known.

    Returns
    -------
    tuple of Finding
        ``signature``, ``files``, ``tape``, ``chain``.

    Raises
    ------
    SessionError
        If the run was never sealed, or its manifest can't be read.
    """
    run_dir = run_dir.resolve()
    raw, body = _read(run_dir)
    return (
        _signature(run_dir, raw, body, trusted),
        _files(run_dir, body["files"]),
        _tape(run_dir, body["tape"]),
        _link(run_dir, raw, body),
    )


def verify_chain(runs: Path, trusted: str | None) -> Iterator[tuple[str, tuple[Finding, ...]]]:
    """Yield (run, findings) of every sealed run of a folder, oldest seal first.

    Raises
    ------
    SessionError
        If the folder has no seals.
    """
    entries = read_chain(runs)
    if not entries:
        raise SessionError(f"{runs} must be a sealed run or a folder of sealed runs, and has no {MANIFEST} or {CHAIN}")
    for run in dict.fromkeys(entry["run"] for entry in entries):
        try:
            yield run, verify_run(runs / run, trusted)
        except SessionError as error:
            yield run, (Finding("seal", Outcome.FAILED, str(error)),)


def sealed_end(run_dir: Path) -> int | None:
    """Return the sequence of the last record that was sealed; None where no seal says one.

    Whether the seal itself is genuine is `verify_run`'s question.
    """
    try:
        return int(_read(run_dir)[1]["tape"]["last_sequence"])
    except (SessionError, KeyError, TypeError, ValueError, OSError):  # `mds verify` says why
        return None


def _read(run_dir: Path) -> tuple[bytes, dict[str, Any]]:
    path = run_dir / MANIFEST
    try:
        raw = path.read_bytes()
        body = json.loads(raw)
        if body["format"] != FORMAT:
            raise SessionError(
                f"{path} must have format {FORMAT}, received {body['format']}; use the mdslib of its day"
            )
        if not {"files", "tape", "public_key", "previous"} <= body.keys():
            raise KeyError(", ".join({"files", "tape", "public_key", "previous"} - body.keys()))
    except FileNotFoundError as error:
        raise SessionError(f"{run_dir} was never sealed: there is no {MANIFEST}; run: mds seal {run_dir}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SessionError(f"{path} must be a manifest, and is not ({error}); restore it from a copy") from error
    return raw, body


def _signature(run_dir: Path, raw: bytes, body: dict[str, Any], trusted: str | None) -> Finding:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    signer = str(body["public_key"])
    try:
        signature = bytes.fromhex((run_dir / SIGNATURE).read_text(encoding="ascii"))
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer)).verify(signature, raw)
    except (OSError, ValueError) as error:
        return Finding("signature", Outcome.FAILED, f"{SIGNATURE} can't be read: {error}")
    except InvalidSignature:
        return Finding("signature", Outcome.FAILED, f"{MANIFEST} was changed: it is not what key {signer[:16]} signed")
    if trusted is None:
        return Finding("signature", Outcome.NOT_COMPARABLE, f"whole, by key {signer}; name the key that you trust")
    if signer != trusted:
        return Finding("signature", Outcome.FAILED, f"signed by key {signer}, the trusted one is {trusted}")
    return Finding("signature", Outcome.PASSED, f"{body.get('sealed', '')}, key {signer[:16]}")


def _files(run_dir: Path, sealed: dict[str, Any]) -> Finding:
    found = record_files(run_dir)
    changed = [name for name in sealed if name in found and file_digest(found[name]) != sealed[name]["sha256"]]
    missing = [name for name in sealed if name not in found]
    added = [name for name in found if name not in sealed]
    parts = [
        f"{what}: {', '.join(names[:SHOWN])}{f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''}"
        for what, names in (("changed", changed), ("missing", missing), ("added", added))
        if names
    ]
    if parts:
        return Finding("files", Outcome.FAILED, "; ".join(parts))
    return Finding("files", Outcome.PASSED, f"{len(sealed)} files as sealed")


def _tape(run_dir: Path, sealed: dict[str, Any]) -> Finding:
    """Say what of the tape differs, for a person who reads of a changed segment."""
    try:
        with TapeReader(run_dir / "tape") as tape:
            records = tape.records()
            decisions, last = decided(records), tape.next_seq - 1
    except TapeError as error:
        return Finding("tape", Outcome.FAILED, str(error))
    if last != sealed["last_sequence"]:
        return Finding("tape", Outcome.FAILED, f"ends at record {last}, sealed at {sealed['last_sequence']}")
    if decisions != sealed["decisions"]:
        return Finding("tape", Outcome.FAILED, "the decisions are not those that were sealed")
    return Finding("tape", Outcome.PASSED, f"{sealed['records']} records, decisions as sealed")


def _link(run_dir: Path, raw: bytes, body: dict[str, Any]) -> Finding:
    """Compare the run's place in the chain with the seals around it."""
    try:
        entries = read_chain(run_dir.parent)
    except SessionError as error:
        return Finding("chain", Outcome.FAILED, str(error))
    if not entries:
        return Finding("chain", Outcome.NOT_COMPARABLE, f"{run_dir.parent} has no {CHAIN}: the run was moved")
    digest = hashlib.sha256(raw).hexdigest()
    places = [place for place, entry in enumerate(entries) if entry["manifest"] == digest]
    if not places:
        return Finding("chain", Outcome.FAILED, f"{CHAIN} does not hold this seal ({digest[:16]})")
    before = entries[places[0] - 1] if places[0] else None
    if (before["manifest"] if before else "") != body["previous"]:
        return Finding("chain", Outcome.FAILED, f"{CHAIN} was changed before this seal: another one came before it")
    if before is not None and not _holds(run_dir.parent / before["run"], before["manifest"]):
        return Finding("chain", Outcome.FAILED, f"the seal before it, of {before['run']}, is gone or was exchanged")
    text = f"follows {before['run']}" if before is not None else "the first of its chain"
    return Finding("chain", Outcome.PASSED, text)


def _holds(run_dir: Path, digest: str) -> bool:
    """Tell whether a run has the manifest of that digest, or had it before it was sealed anew."""
    paths = [run_dir / MANIFEST, *run_dir.glob("manifest.*.json")]
    return any(path.exists() and file_digest(path) == digest for path in paths)
