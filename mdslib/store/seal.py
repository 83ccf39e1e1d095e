"""The sealed record of a day: what lay in a run's folder when it ended, signed, and chained to the run before.

``manifest.json`` names every file with its size and SHA-256, the code and the parameters that decided, and the digests
of the tape and of the decisions. ``manifest.sig`` is the Ed25519 signature of its bytes. ``seals.jsonl`` beside the run
folders lists the seals in order; each manifest holds the digest of the one before it, so that a day can't be exchanged
or left out without breaking every later one. The seal tells that nothing was changed since; whether the day adds up is
the audit's business.
"""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdslib.clock import wall_ns
from mdslib.errors import ConfigError, SessionError
from mdslib.events import Kind
from mdslib.store.tapereader import TapeReader

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT = 1
MANIFEST, SIGNATURE, CHAIN = "manifest.json", "manifest.sig", "seals.jsonl"
# Not part of the record: what only says that the run is alive or shall end, and the seal itself.
_PASSING = frozenset({MANIFEST, SIGNATURE, "heartbeat", "stop", "tape/lock"})
_DECIDED = (Kind.INTENT, Kind.DENIED, Kind.EXPIRED)


@dataclass(frozen=True)
class Seal:
    """A seal that was set.

    Attributes
    ----------
    path : Path
        The manifest.
    digest : str
        SHA-256 of the manifest's bytes; write it down elsewhere, and nobody can seal the day anew unnoticed.
    """

    path: Path
    digest: str


def seal(run_dir: Path, key: Path | None = None) -> Seal:
    """Seal a finished run; an earlier seal of the same run is kept as ``manifest.1.json`` and so on.

    Parameters
    ----------
    run_dir : Path
        The run's folder; the chain lies in the folder that holds it.
    key : Path, optional
        Private key (PEM); the setting ``seal_key`` by default. Made on first use, mode 0600.

    Raises
    ------
    SessionError
        If the folder can't be read or written.
    ConfigError
        If the key is not one.
    TapeError
        If the run has no readable tape.
    """
    run_dir = run_dir.resolve()
    signer = _private_key(key_path(key))
    try:
        with _chain(run_dir.parent) as entries:
            _keep_earlier(run_dir)
            body = _manifest(run_dir, entries[-1]["manifest"] if entries else "", _public_hex(signer))
            raw = (json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
            _write(run_dir / SIGNATURE, (signer.sign(raw).hex() + "\n").encode())
            _write(run_dir / MANIFEST, raw)
            digest = hashlib.sha256(raw).hexdigest()
            _append(run_dir.parent / CHAIN, {"run": run_dir.name, "manifest": digest, "sealed": body["sealed"]})
    except OSError as error:
        raise SessionError(
            f"{run_dir} could not be sealed ({error.strerror or error}); free the disk or mend the folder's mode, then"
            f" run: mds seal {run_dir}"
        ) from error
    return Seal(run_dir / MANIFEST, digest)


def key_path(key: Path | None = None) -> Path:
    """Return where the private key lies."""
    from mdslib.config import load_settings

    return key or load_settings().seal_key


def public_key(key: Path | None = None) -> str | None:
    """Return this user's public key as 64 hexadecimal digits, or None before its first use."""
    path = key_path(key)
    return _public_hex(_private_key(path)) if path.exists() else None


def read_chain(runs: Path) -> list[dict[str, str]]:
    """Return the seals of a folder of runs, oldest first.

    Raises
    ------
    SessionError
        If a line is not a seal.
    """
    path = runs / CHAIN
    if not path.exists():
        return []
    entries = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            entries.append({name: str(entry[name]) for name in ("run", "manifest", "sealed")})
        except (ValueError, KeyError, TypeError) as error:
            raise SessionError(
                f"{path}, line {number} must be a seal with run, manifest and sealed, received {line[:80]!r}; restore"
                " the file from a copy"
            ) from error
    return entries


def record_files(run_dir: Path) -> dict[str, Path]:
    """Return the files of a run that belong to its record, by their path in the folder."""
    found = {}
    for path in sorted(run_dir.rglob("*")):
        name = path.relative_to(run_dir).as_posix()
        if path.is_file() and name not in _PASSING and not _is_earlier(name):
            found[name] = path
    return found


def file_digest(path: Path) -> str:
    """Return a file's SHA-256 as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def decided(records: np.ndarray) -> str:
    """Return the digest of what was decided: every INTENT, DENIED and EXPIRED of a tape, in order."""
    chosen = records[np.isin(records["kind"], [int(kind) for kind in _DECIDED])]
    return hashlib.sha256(chosen.tobytes()).hexdigest()


def _manifest(run_dir: Path, previous: str, public: str) -> dict[str, Any]:
    with TapeReader(run_dir / "tape") as tape:
        header, records = tape.header, tape.records()
        told = {"records": len(records), "last_sequence": tape.next_seq - 1, "decisions": decided(records)}
        lives = len(tape.segments)
    return {
        "format": FORMAT,
        "run": run_dir.name,
        "date": header.trading_date.isoformat(),
        "sealed": datetime.datetime.fromtimestamp(wall_ns() // 10**9, datetime.UTC).isoformat(),
        "previous": previous,
        "public_key": public,
        "code": {
            "model": header.model,
            "fingerprint": header.fingerprint,
            "source": hashlib.sha256(header.source.encode()).hexdigest(),
            "versions": dict(header.versions),
        },
        "parameters": dict(header.parameters),
        "limits": {name: _finite(value) for name, value in header.limits.items()},
        "tape": told | {"segments": lives},
        "files": {
            name: {"bytes": path.stat().st_size, "sha256": file_digest(path)}
            for name, path in record_files(run_dir).items()
        },
    }


def _finite(value: Any) -> Any:
    """Return a number as JSON has it; a limit that is off is infinite."""
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


@contextmanager
def _chain(runs: Path) -> Iterator[list[dict[str, str]]]:
    """Hold the chain for one sealing; two runs that end together are chained one after the other."""
    fd = os.open(runs / CHAIN, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield read_chain(runs)
    finally:
        os.close(fd)


def _append(path: Path, entry: dict[str, str]) -> None:
    with path.open("ab") as file:
        file.write((json.dumps(entry) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())


def _write(path: Path, raw: bytes) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(raw)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _is_earlier(name: str) -> bool:
    """Tell whether a name is that of a seal that a later one replaced."""
    parts = name.split(".")
    return len(parts) == 3 and parts[0] == "manifest" and parts[1].isdigit() and parts[2] in ("json", "sig")


def _keep_earlier(run_dir: Path) -> None:
    if not (run_dir / MANIFEST).exists():
        return
    number = 1
    while (run_dir / f"manifest.{number}.json").exists():
        number += 1
    for name in (MANIFEST, SIGNATURE):
        path = run_dir / name
        if path.exists():
            path.replace(run_dir / f"manifest.{number}{path.suffix}")


def _private_key(path: Path) -> Ed25519PrivateKey:
    """Return the key of a file; one that is not there is made."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        if not path.exists():
            _make_key(path)
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, OSError) as error:
        raise ConfigError(
            f"seal key {path} must be an unencrypted Ed25519 private key in PEM, and is not ({error}); move it away to"
            " have a new one made, or name another in the setting seal_key"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"seal key {path} must be an Ed25519 key, received {type(key).__name__}; move it away")
    return key


def _make_key(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, pem)
        os.fsync(fd)
    finally:
        os.close(fd)


def _public_hex(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


__all__ = ["CHAIN", "MANIFEST", "SIGNATURE", "Seal", "public_key", "read_chain", "seal"]
