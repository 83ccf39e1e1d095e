"""A store in ArcticDB, on LMDB in a folder or on S3; needs the extra ``arctic``.

One library, ``mdslib``, holds a symbol a part, named as the part's folder is in a Parquet store. ArcticDB's licence
(BSL 1.1) allows use in production, but not to offer it to others as a database service.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import numpy as np

from mdslib.errors import ConfigError, DataError
from mdslib.events import SCHEMAS, Kind
from mdslib.store.key import Key
from mdslib.store.parts import Body, Part
from mdslib.store.tickstore import TickStore
from mdslib.table import Table, empty

_LIBRARY = "mdslib"
_T = TypeVar("_T")


class ArcticParts:
    """Parts in a library of ArcticDB; implements `mdslib.store.parts.Parts`.

    Parameters
    ----------
    address : str
        ``lmdb:///ABSOLUTE/FOLDER``, or ``s3://HOST:BUCKET?aws_auth=true`` (``s3s://`` for https), whose
        keys are then taken from the environment.
    """

    def __init__(self, address: str) -> None:
        self.where = f"arctic:{address}"
        self._library = _opened(address)

    def write(self, key: Key, table: Table, body: Body) -> None:
        """Write a new version of the symbol, and let go of the older ones."""
        frame = table.to_pandas().drop(columns="instrument")
        told = {"mdslib": json.dumps(body)}
        self._ask(
            key,
            "written",
            lambda: self._library.write(key.folder, frame, metadata=told, prune_previous_versions=True),
        )

    def read(self, key: Key, columns: set[str]) -> Part:
        """Return a symbol's rows."""
        body = self.describe(key)
        kind = Kind[body["kind"]]
        if not body["rows"]:
            return Part(empty(kind), body)
        names = [name for name in SCHEMAS[kind] if name in columns | {"ts_init"} and name not in _INDEX]
        # Through Arrow: the way through pandas uses calls that pandas 3 warns of.
        arrow = self._ask(
            key, "read", lambda: self._library.read(key.folder, columns=names, output_format="PYARROW").data
        )
        arrays = {name: arrow[name].to_numpy() for name in names}
        arrays["ts_event"] = arrow["ts_event"].to_numpy().view("<i8")
        ready = {name: np.array(array, SCHEMAS[kind][name].dtype) for name, array in arrays.items()}
        return Part(Table(kind, ready | {"instrument": np.zeros(len(arrow), "<u2")}), body)

    def describe(self, key: Key) -> Body:
        """Return what a part says of itself."""
        found = self._ask(key, "read", lambda: self._library.read_metadata(key.folder).metadata)
        if not isinstance(found, dict) or "mdslib" not in found:
            raise DataError(f"symbol {key.folder} of {self.where} was not written by mdslib; move it away")
        body: Body = json.loads(found["mdslib"])
        return body

    def has(self, key: Key) -> bool:
        """Tell whether there is such a symbol."""
        return bool(self._ask(key, "looked at", lambda: self._library.has_symbol(key.folder)))

    def size(self, key: Key) -> int:
        """Return 0: ArcticDB does not say what a symbol takes."""
        return 0

    def keys(self, label: str = "", venue: str = "", symbol: str = "") -> Iterator[Key]:
        """Yield the keys of the symbols, in order."""
        names = self._ask(None, "listed", self._library.list_symbols)
        for key in filter(None, map(Key.parse, sorted(names))):
            if label in ("", key.label) and venue in ("", key.venue) and symbol in ("", key.symbol):
                yield key

    def _ask(self, key: Key | None, what: str, call: Callable[[], _T]) -> _T:
        """Return what ArcticDB answers; whatever it raises says which part and where."""
        from arcticdb.exceptions import ArcticException

        try:
            return call()
        except ArcticException as error:
            name = f" part {key.folder}" if key is not None else ""
            said = " ".join(str(error).split())[:300]
            raise DataError(f"store {self.where}:{name} can't be {what}: {said}") from None


_INDEX = ("ts_event", "instrument")


class ArcticStore(TickStore):
    """Recorded data in ArcticDB.

    Parameters
    ----------
    address : str
        See `ArcticParts`.

    Raises
    ------
    ConfigError
        ArcticDB is not installed, the address is none, or holds a key.
    """

    def __init__(self, address: str) -> None:
        super().__init__(ArcticParts(address))


@functools.cache
def _opened(address: str) -> Any:
    """Return the library; LMDB wants one opening a process."""
    parts = urlsplit(address)
    if parts.scheme not in ("lmdb", "s3", "s3s") or (parts.scheme == "lmdb" and parts.netloc):
        raise ConfigError(
            f"an ArcticDB is at lmdb:///ABSOLUTE/FOLDER or s3://HOST:BUCKET?aws_auth=true, received {address!r}"
        )
    if {"access", "secret"} & parse_qs(parts.query).keys():
        raise ConfigError(
            "an ArcticDB's address must hold no key; write aws_auth=true, and set AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY in the environment"
        )
    try:
        from arcticdb import Arctic
        from arcticdb.exceptions import ArcticException
    except ImportError as error:
        raise ConfigError(f"ArcticDB is not installed ({error}); run: pip install 'mdslib[arctic]'") from None
    if parts.scheme == "lmdb":
        Path(address.removeprefix("lmdb://").partition("?")[0]).mkdir(parents=True, exist_ok=True)
    try:
        return Arctic(address).get_library(_LIBRARY, create_if_missing=True)
    except (ArcticException, OSError) as error:
        said = " ".join(str(error).split())[:300]
        raise DataError(f"store arctic:{address} can't be opened: {said}") from None


__all__ = ["ArcticParts", "ArcticStore"]
