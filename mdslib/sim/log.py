"""What the exchange keeps: every market event that it sent, and every order with what became of it.

In the folder of a run::

    sent-0001.rec   RECORD rows, in the order sent, of the first data connection; sent-0002.rec of the second, ...
    sent.json       symbols; per connection: feed, frames, counts by kind, SHA-256 of its rows
    orders.jsonl    a line for each order event (as on trade_updates) and for each refused request
    faults.jsonl    a line for each thing that a fault script threw; see `mdslib.sim.throw.log`
    played.rec      with a fault script: RECORD rows of every market event that came to be, sent to anybody or not

`read_sent`, `read_orders`, `read_faults` and `read_played` read them back, so that an audit can compare a session's
tape with them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from mdslib.errors import ConfigError, DataError
from mdslib.events import RECORD, Kind

Array = npt.NDArray[Any]
_WRITE = 4096  # rows
FAULTS = "faults.jsonl"
PLAYED = "played.rec"


@dataclass
class SentLog:
    """What was sent on one data connection."""

    feed: str
    number: int
    file: IO[bytes] | None
    frames: int = 0
    rows: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    digest: Any = field(default_factory=hashlib.sha256)
    _waiting: list[Array] = field(default_factory=list, repr=False)
    _rows: int = 0

    def add(self, records: Array) -> None:
        """Note one frame's rows; they are counted and written some thousands at a time."""
        self.frames += 1
        self._waiting.append(records)
        self._rows += len(records)
        if self._rows >= _WRITE:
            self.write()

    def write(self) -> None:
        """Count and write what waits."""
        if not self._waiting:
            return
        records = np.concatenate(self._waiting)
        self._waiting, self._rows = [], 0
        self.rows += len(records)
        body = records.tobytes()
        self.digest.update(body)
        if self.file is not None:
            self.file.write(body)
        for kind, count in zip(*np.unique(records["kind"], return_counts=True), strict=True):
            name = Kind(int(kind)).name.lower()
            self.counts[name] = self.counts.get(name, 0) + int(count)

    def summary(self) -> dict[str, Any]:
        """Return the connection's entry of ``sent.json``."""
        self.write()
        return {
            "connection": self.number,
            "feed": self.feed,
            "frames": self.frames,
            "rows": self.rows,
            "counts": self.counts,
            "digest": self.digest.hexdigest(),
        }


class RunLog:
    """The exchange's log of a run; without a folder it keeps counts alone."""

    def __init__(self, folder: Path | None, symbols: Sequence[str]) -> None:
        self.folder = folder
        self.symbols = list(symbols)
        self.sent: list[SentLog] = []
        self._orders: IO[str] | None = None
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                for old in (*folder.glob("sent-*.rec"), *folder.glob(FAULTS), *folder.glob(PLAYED)):
                    old.unlink()
                self._orders = (folder / "orders.jsonl").open("w", encoding="utf-8")
            except OSError as error:
                raise ConfigError(
                    f"sim option log: folder {folder} can't be written: {error.strerror}; name one that can"
                ) from error

    def connection(self, feed: str) -> SentLog:
        """Begin the log of a new data connection."""
        number = len(self.sent) + 1
        file = None if self.folder is None else (self.folder / f"sent-{number:04d}.rec").open("wb", buffering=1 << 20)
        log = SentLog(feed, number, file)
        self.sent.append(log)
        return log

    def order(self, entry: dict[str, Any]) -> None:
        """Append one order event; it survives a kill of the process."""
        if self._orders is not None:
            self._orders.write(json.dumps(entry, separators=(",", ":")) + "\n")
            self._orders.flush()

    def summary(self) -> dict[str, Any]:
        """Return counts by kind over all connections, and each connection's own."""
        connections = [log.summary() for log in self.sent]
        counts: dict[str, int] = {}
        for log in self.sent:
            for name, count in log.counts.items():
                counts[name] = counts.get(name, 0) + count
        return {"symbols": self.symbols, "counts": counts, "connections": connections}

    def flush(self) -> None:
        """Write what is buffered, and the summary beside it."""
        if self.folder is None:
            return
        for log in self.sent:
            log.write()
            if log.file is not None:
                log.file.flush()
        (self.folder / "sent.json").write_text(json.dumps(self.summary(), indent=1), encoding="utf-8")

    def played(self, records: Array) -> None:
        """Write what came to be of the day, for those who look for what a fault kept from everybody."""
        if self.folder is not None:
            (self.folder / PLAYED).write_bytes(records.tobytes())

    def close(self) -> None:
        """Write all and close the files."""
        self.flush()
        for log in self.sent:
            if log.file is not None:
                log.file.close()
                log.file = None
        if self._orders is not None:
            self._orders.close()
            self._orders = None


def read_sent(folder: str | Path, symbols: Sequence[str] | None = None, connection: int | None = None) -> Array:
    """Return the market events that the exchange sent, in order.

    Parameters
    ----------
    folder : path
        The run folder of `mds sim --log`.
    symbols : sequence of str, optional
        The caller's own list of symbols: ``instrument`` is renumbered to index it, and rows of others are left out.
        By default it indexes the exchange's list (``sent.json``, key ``symbols``).
    connection : int, optional
        One connection's number, from 1; all of them one after another by default.

    Returns
    -------
    RECORD array
        ``seq`` and ``ts_init`` are 0: they are the receiver's.

    Raises
    ------
    DataError
        Where the folder holds no log of an exchange.
    """
    folder = Path(folder)
    known = _symbols(folder)
    pattern = "sent-*.rec" if connection is None else f"sent-{connection:04d}.rec"
    parts = [np.fromfile(path, RECORD) for path in sorted(folder.glob(pattern))]
    records: Array = np.concatenate(parts) if parts else np.empty(0, RECORD)
    return records if symbols is None else _renumbered(records, known, symbols)


def read_played(folder: str | Path, symbols: Sequence[str] | None = None) -> Array:
    """Return the market events that came to be on a day with a fault script, in order, sent to anybody or not.

    Parameters
    ----------
    folder : path
        The run folder of `mds sim --log`.
    symbols : sequence of str, optional
        As for `read_sent`.

    Returns
    -------
    RECORD array
        Without what a halt let not happen; up to where the exchange was stopped.

    Raises
    ------
    DataError
        Where no fault script was played.
    """
    folder = Path(folder)
    path = folder / PLAYED
    if not path.is_file():
        raise DataError(f"{folder} holds no {PLAYED}, so no fault script was played there; start it with --faults")
    records: Array = np.fromfile(path, RECORD)
    return records if symbols is None else _renumbered(records, _symbols(folder), symbols)


def _symbols(folder: Path) -> list[str]:
    try:
        known: list[str] = json.loads((folder / "sent.json").read_text(encoding="utf-8"))["symbols"]
    except FileNotFoundError:
        raise DataError(
            f"{folder} holds no sent.json, so no exchange logged a run there; start it with --log {folder}"
        ) from None
    return known


def _renumbered(records: Array, known: Sequence[str], symbols: Sequence[str]) -> Array:
    """Return the records of some symbols, with ``instrument`` as their place among these."""
    place = np.array([symbols.index(symbol) if symbol in symbols else -1 for symbol in known], np.int64)
    mapped = place[records["instrument"]]
    records = records[mapped >= 0]
    records["instrument"] = mapped[mapped >= 0]
    return records


def read_orders(folder: str | Path) -> list[dict[str, Any]]:
    """Return every order of a run in its last state, in order of acceptance.

    Returns
    -------
    list of dict
        Alpaca's order object (numbers are strings), plus ``events``: its events as on ``trade_updates`` without the
        order itself, each with ``event``, ``ts`` (ns UTC) and, for a fill, ``execution_id``, ``price``, ``qty``,
        ``position_qty``.

    Raises
    ------
    DataError
        Where the folder holds no log of an exchange.
    """
    path = Path(folder) / "orders.jsonl"
    if not path.is_file():
        raise DataError(
            f"{folder} holds no orders.jsonl, so no exchange logged a run there; start it with --log {folder}"
        )
    orders: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        order = entry.pop("order", None)
        if order is None:
            continue
        events = orders.get(order["id"], {"events": []})["events"]
        orders[order["id"]] = order | {"events": [*events, entry]}
    return list(orders.values())


def read_faults(folder: str | Path) -> list[dict[str, Any]]:
    """Return what an exchange threw in a run, in order.

    Parameters
    ----------
    folder : path
        The run folder of `mds sim --log`.

    Returns
    -------
    list of dict
        ``fault`` (its number in the script, from 1), ``what``, ``phase`` (``began``, ``hit``, ``ended`` or ``never``),
        ``now`` (ns UTC), ``at`` (the same as text), and what the phase has to tell.

    Raises
    ------
    DataError
        Where no fault script was played.
    """
    path = Path(folder) / FAULTS
    if not path.is_file():
        raise DataError(f"{folder} holds no {FAULTS}, so no fault script was played there; start it with --faults")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
