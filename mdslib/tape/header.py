"""A segment's header: who decides, with what, on which machine, for which account and day.

On disk: ``MDSTAPE`` and a zero byte, format version u4, length of the JSON block u4, first sequence u8, CRC-32 u4 of
the bytes before it and of the JSON block, 4 bytes zero; then the JSON block, filled up with spaces so that the records
start on a multiple of 96.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import numbers
import platform
import struct
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata

import numpy as np

from mdslib.errors import TapeError
from mdslib.events import RECORD
from mdslib.instruments import Instrument

MAGIC = b"MDSTAPE\0"
FORMAT_VERSION = 1

_HEAD = struct.Struct("<8sIIQI4x")
Number = int | float | bool


@dataclass(frozen=True)
class TapeHeader:
    """What every record of a segment was decided with.

    It has no field that could hold a credential, and no parameter may be a text.

    Attributes
    ----------
    model, fingerprint : str
        The strategy's name and fingerprint; empty for a recording without a strategy.
    source : str
        What `find_model` takes to find the strategy again; empty where that is its name.
    parameters : mapping of str to number
        The strategy's parameters.
    limits : mapping of str to number
        The limits that the fold checks; empty where it checks none.
    instruments : tuple of Instrument
        A record's `instrument` indexes them.
    account_id, run_name : str
        The venue's account; the run's name.
    trading_date : datetime.date
        The session's date.
    clock : str
        ``wall``, ``scaled`` or ``stepped``.
    hours : tuple of (int, int)
        Open and close of the sessions, ns UTC, for the session limit.
    cash : float
        Opening cash that the fold began with, before any OPENING record.
    split_flips : bool
        Whether the fold closes first and opens after the fill.
    versions, machine : mapping of str to str
        See `versions` and `machine_class`.
    """

    model: str
    fingerprint: str
    parameters: Mapping[str, Number]
    instruments: tuple[Instrument, ...]
    account_id: str
    trading_date: datetime.date
    run_name: str
    limits: Mapping[str, Number] = field(default_factory=dict)
    clock: str = "wall"
    hours: tuple[tuple[int, int], ...] = ()
    cash: float = 0.0
    split_flips: bool = False
    source: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)


def versions() -> dict[str, str]:
    """Return the versions that decide the last bit: mdslib, numba, numpy and Python."""
    found = {name: metadata.version(name) for name in ("numba", "numpy")}
    try:
        own = metadata.version("mdslib")
    except metadata.PackageNotFoundError:  # run from a checkout that was never installed
        own = "uninstalled"
    return {"mdslib": own, **found, "python": platform.python_version()}


def machine_class() -> dict[str, str]:
    """Return the processor class and the C library: floats are bit-equal only where both agree.

    Examples
    --------
    >>> sorted(machine_class())
    ['cpu', 'features', 'libm', 'system']
    """
    from llvmlite import binding

    try:
        features = binding.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM can't tell on this processor; its name stays
        features = ""
    name, version = platform.libc_ver()
    return {
        "cpu": binding.get_host_cpu_name(),
        "features": hashlib.sha256(features.encode()).hexdigest()[:12],
        "libm": f"{name} {version}".strip() or platform.release(),
        "system": f"{sys.platform} {platform.machine()}",
    }


def make_header(
    *,
    model: str,
    fingerprint: str,
    parameters: Mapping[str, Number],
    instruments: tuple[Instrument, ...],
    account_id: str,
    trading_date: datetime.date,
    run_name: str,
    limits: Mapping[str, Number] | None = None,
    clock: str = "wall",
    hours: Sequence[Sequence[int]] = (),
    cash: float = 0.0,
    split_flips: bool = False,
    source: str = "",
) -> TapeHeader:
    """Return a header with this machine's versions and class filled in.

    Raises
    ------
    TapeError
        If a parameter or limit is not a number: a text could be a credential, and compiled models take none.

    Examples
    --------
    >>> day = datetime.date(2013, 10, 8)
    >>> spy = (Instrument("SPY"),)
    >>> names = {"model": "m", "fingerprint": "f", "account_id": "PA3", "run_name": "r"}
    >>> header = make_header(**names, parameters={"n": 3}, instruments=spy, trading_date=day)
    >>> header.machine == machine_class()
    True
    """
    for group, values in (("parameters", parameters), ("limits", limits or {})):
        for name, value in values.items():
            if not isinstance(value, numbers.Real | np.bool_):
                raise TapeError(
                    f"TapeHeader.{group}[{name!r}] must be a number, received a {type(value).__name__}; texts stay "
                    "off the tape's header"
                )
    plain = {name: _plain(value) for name, value in parameters.items()}
    bounds = {name: _plain(value) for name, value in (limits or {}).items()}
    return TapeHeader(
        model=model,
        fingerprint=fingerprint,
        parameters=plain,
        instruments=instruments,
        account_id=account_id,
        trading_date=trading_date,
        run_name=run_name,
        limits=bounds,
        clock=clock,
        hours=tuple((int(start), int(end)) for start, end in hours),
        cash=float(cash),
        split_flips=split_flips,
        source=source,
        versions=versions(),
        machine=machine_class(),
    )


def _plain(value: Number) -> Number:
    """Return a Python number: numpy's scalars are subclasses that JSON can't always write."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def encode_header(header: TapeHeader, first_seq: int) -> bytes:
    """Return a segment's opening bytes; their length is a multiple of 96.

    Examples
    --------
    >>> day = datetime.date(2013, 10, 8)
    >>> header = TapeHeader("m", "f", {}, (Instrument("SPY"),), "PA3", day, "r")
    >>> decode_header(encode_header(header, 1), "tape")[0] == header
    True
    """
    told = dataclasses.asdict(header)
    told["trading_date"] = header.trading_date.isoformat()
    body = json.dumps(told, ensure_ascii=False, sort_keys=True).encode()
    body += b" " * (-(_HEAD.size + len(body)) % RECORD.itemsize)
    head = _HEAD.pack(MAGIC, FORMAT_VERSION, len(body), first_seq, 0)[:24]
    return head + struct.pack("<I4x", zlib.crc32(body, zlib.crc32(head))) + body


def decode_header(data: bytes, where: str) -> tuple[TapeHeader, int, int]:
    """Return the header, the first sequence and the offset of the first record.

    Raises
    ------
    TapeError
        If the bytes are no tape, of another format version, or damaged.
    """
    if len(data) < _HEAD.size or not data.startswith(MAGIC):
        raise TapeError(f"{where} must open with {MAGIC!r}, received {data[:8]!r}; it is no segment of a tape")
    _, version, length, first_seq, crc = _HEAD.unpack_from(data)
    if version != FORMAT_VERSION:
        raise TapeError(
            f"{where} must have format version {FORMAT_VERSION}, received {version}; read it with the mdslib that "
            "wrote it"
        )
    body = data[_HEAD.size : _HEAD.size + length]
    if len(body) < length or zlib.crc32(body, zlib.crc32(data[:24])) != crc:
        raise TapeError(
            f"{where}: the header ({length} bytes at offset {_HEAD.size}) must match its CRC, and does not; restore "
            "it from a copy"
        )
    told = json.loads(body)
    told["instruments"] = tuple(Instrument(**each) for each in told["instruments"])
    told["hours"] = tuple((start, end) for start, end in told["hours"])
    told["trading_date"] = datetime.date.fromisoformat(told["trading_date"])
    return TapeHeader(**told), first_seq, _HEAD.size + length
