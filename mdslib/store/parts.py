"""The seam between a store and what keeps its parts: Parquet files in a folder or a bucket, or ArcticDB.

A part is the rows of one instrument and one kind on one day (or year), with a description of them. Whoever implements
these calls has a store; `tests/store/test_conformance.py` is the suite that it must pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from mdslib.store.key import Key
from mdslib.table import Table

Body = dict[str, Any]  # what a part says of itself; see mdslib.store.fileformat


class Part(NamedTuple):
    """The rows of a part, and what it says of itself."""

    table: Table
    body: Body


class Parts(Protocol):
    """Keeps parts by key. What can't be done raises `DataError` that names the part."""

    where: str

    def write(self, key: Key, table: Table, body: Body) -> None:
        """Replace a part, whole or not at all; when this returns it survives a crash."""

    def read(self, key: Key, columns: set[str]) -> Part:
        """Return a part; only `columns`, the times and the instrument."""

    def describe(self, key: Key) -> Body:
        """Return what a part says of itself."""

    def has(self, key: Key) -> bool:
        """Tell whether there is such a part."""

    def size(self, key: Key) -> int:
        """Return its bytes, 0 where that can't be told."""

    def keys(self, label: str = "", venue: str = "", symbol: str = "") -> Iterator[Key]:
        """Yield the keys that there are, in order; all, or those of a kind, a venue, a symbol."""


__all__ = ["Body", "Part", "Parts"]
