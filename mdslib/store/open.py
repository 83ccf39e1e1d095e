"""A store by its name: a folder, ``s3://bucket/folder``, or ``arctic:`` with the address of an ArcticDB."""

from __future__ import annotations

import re
from pathlib import Path

from mdslib.errors import ConfigError
from mdslib.store.parquet import ParquetStore
from mdslib.store.parquetparts import CHUNK_ROWS
from mdslib.store.tickstore import TickStore

# A Path makes one slash of several, so an LMDB's folder must be absolute: then nothing is lost.
_BUCKET = re.compile(r"s3:/+([^/]+)/?(.*)")
_LMDB = re.compile(r"arctic:lmdb:(?:///|/)([^/].*)")
_ARCTIC = re.compile(r"arctic:(\w+):/{1,2}(.*)")


def open_store(where: Path | str, chunk_rows: int | None = None) -> TickStore:
    """Return the store that a name means.

    Parameters
    ----------
    where : Path or str
        A folder; ``s3://bucket/folder``; ``arctic:lmdb:///ABSOLUTE/FOLDER`` or ``arctic:s3://HOST:BUCKET?aws_auth=true``.
    chunk_rows : int, optional
        Rows of a row group of Parquet; 100,000 unless given.

    Raises
    ------
    ConfigError
        It is a file, an address is none, or what it needs is not installed.
    CredentialError
        A bucket's keys are not in the environment.

    Examples
    --------
    >>> open_store("mystore").where
    'mystore'
    """
    rows = chunk_rows or CHUNK_ROWS
    if (bucket := _BUCKET.fullmatch(str(where))) is not None:
        from mdslib.store.bucket import BucketStore

        return BucketStore(bucket[1], bucket[2], rows)
    if (lmdb := _LMDB.fullmatch(str(where))) is not None:
        from mdslib.store.arctic import ArcticStore

        return ArcticStore(f"lmdb:///{lmdb[1]}")
    if (database := _ARCTIC.fullmatch(str(where))) is not None:
        from mdslib.store.arctic import ArcticStore

        return ArcticStore(f"{database[1]}://{database[2]}")
    folder = Path(where).expanduser()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"a store is a folder, received the file {folder}; name a folder with --store")
    return ParquetStore(folder, rows)


__all__ = ["open_store"]
