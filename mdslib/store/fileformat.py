"""What a stored file says of itself, and which files are read: those of this format, schema and units.

A file of another format could be read wrongly without anybody noticing: seconds taken for nanoseconds lie outside every
session, and a day would have 0 rows. So a file that says anything else than what is written here is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mdslib.errors import DataError
from mdslib.events import SCHEMAS, Kind
from mdslib.table import Table

FORMAT = 2  # raised whenever a file of before would be read wrongly, or not at all
UNITS = {"time": "ns UTC", "price": "currency", "size": "lots"}
META = b"mdslib"  # key of the description in Parquet's own metadata


def schema_of(kind: Kind) -> dict[str, str]:
    """Return the columns of a kind and their types.

    Examples
    --------
    >>> schema_of(Kind.TRADE)["ts_event"]
    '<i8'
    """
    return {name: field.dtype for name, field in SCHEMAS[kind].items()}


def stamp_of(table: Table) -> dict[str, Any]:
    """Return what a file says of its format and of its rows."""
    times = table["ts_event"]
    return {
        "format": FORMAT,
        "units": UNITS,
        "schema": schema_of(table.kind),
        "kind": table.kind.name,
        "rows": len(table),
        "first": int(times[0]) if len(table) else None,
        "last": int(times[-1]) if len(table) else None,
    }


def digest_of(table: Table, body: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the rows, bit for bit, and of what the part says of itself but its layout."""
    told = {name: value for name, value in body.items() if name not in ("digest", "columns")}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name, column in table.columns.items():
        if name != "instrument":  # a part holds one, and it is in the body
            digest.update(column.data)
    return digest.hexdigest()


def described(metadata: Mapping[bytes, bytes] | None, path: str) -> dict[str, Any]:
    """Return what a file says of itself.

    Raises
    ------
    DataError
        It was not written by mdslib, or in another format.
    """
    if not metadata or META not in metadata:
        raise DataError(f"stored file {path} was not written by mdslib; move it out of the store")
    body: dict[str, Any] = json.loads(metadata[META])
    if body.get("format") != FORMAT:
        raise _refused(path, f"format {FORMAT}", f"format {body.get('format', 'unsaid')}", body)
    if body["units"] != UNITS:
        raise _refused(path, f"units {_said(UNITS)}", _said(body["units"]), body)
    expected, found = schema_of(Kind[body["kind"]]), body["schema"]
    for name in expected | found:
        if expected.get(name) != found.get(name):
            rule = f"column {name} of type {expected[name]}" if name in expected else f"no column {name}"
            raise _refused(path, rule, f"type {found[name]}" if name in found else "none", body)
    return body


def check_rows(table: Table, body: Mapping[str, Any], path: str) -> None:
    """Raise `DataError` where what was read is not what the file says it holds."""
    times = table["ts_event"]
    read = (len(table), int(times[0]), int(times[-1])) if len(table) else (0, None, None)
    if read != (body["rows"], body["first"], body["last"]):
        raise DataError(
            f"stored file {path} must hold {body['rows']} rows from {body['first']} to {body['last']} ns, received"
            f" {read[0]} from {read[1]} to {read[2]}; import that day again, which replaces it"
        )


def _said(units: Mapping[str, str]) -> str:
    return ", ".join(f"{name} in {unit}" for name, unit in units.items())


def _refused(path: str, rule: str, received: str, body: Mapping[str, Any]) -> DataError:
    writer = f"mdslib {body['mdslib']}" if "mdslib" in body else "an unknown version"
    return DataError(
        f"stored file {path} must have {rule}, received {received}, written by {writer}; import that day again, which"
        " replaces it, or read it with the version that wrote it"
    )
