"""Find damage in a store, and name it: every part is read whole and held against the digest of its writer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mdslib.errors import DataError, MdsError
from mdslib.store.fileformat import digest_of
from mdslib.store.key import Key
from mdslib.store.parts import Body
from mdslib.store.tickstore import TickStore
from mdslib.table import Table


class Checked(NamedTuple):
    """What became of one part.

    Attributes
    ----------
    part : str
        Its folder in the store.
    rows : int
        How many rows were read.
    digest : bool
        Whether it has a digest; parts of earlier versions have none, and only what they say of themselves was compared.
    error : str
        What is wrong; empty if all is well.
    """

    part: str
    rows: int = 0
    digest: bool = False
    error: str = ""


def verify_store(store: TickStore) -> Iterator[Checked]:
    """Read every part of a store and yield what was found, in order.

    A part is damaged where it can't be read, a page's checksum is wrong, or its rows or its description are not those
    that were written.
    """
    for key in store.parts.keys():  # noqa: SIM118 (not a mapping)
        try:
            part = store.part(key)
            _compare(key, part.table, part.body)
        except (MdsError, ValueError, KeyError, TypeError) as error:
            # Damaged text may break in any of these ways.
            said = str(error) if isinstance(error, MdsError) else f"{type(error).__name__}: {error}"
            yield Checked(key.folder, error=said)
        else:
            yield Checked(key.folder, len(part.table), "digest" in part.body)


def _compare(key: Key, table: Table, body: Body) -> None:
    named = (body["instrument"]["venue"], body["instrument"]["symbol"])
    if named != (key.venue, key.symbol):
        raise DataError(f"holds {':'.join(named)}, and lies where {key.venue}:{key.symbol} belongs; move it back")
    if "digest" in body and digest_of(table, body) != body["digest"]:
        raise DataError(
            "the rows, or what the part says of them, are not those that were written (SHA-256 differs); import the day"
            " again, or compact its tape again"
        )


__all__ = ["Checked", "verify_store"]
