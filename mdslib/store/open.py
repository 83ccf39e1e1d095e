"""A store by its name: a local folder."""

from __future__ import annotations

from pathlib import Path

from mdslib.errors import ConfigError
from mdslib.store.parquet import ParquetStore
from mdslib.store.parquetparts import CHUNK_ROWS
from mdslib.store.tickstore import TickStore


def open_store(where: Path | str, chunk_rows: int | None = None) -> TickStore:
    """Return the store that a name means.

    Parameters
    ----------
    where : Path or str
        A folder.
    chunk_rows : int, optional
        Rows of a row group of Parquet; 100,000 unless given.

    Raises
    ------
    ConfigError
        It is a file.

    Examples
    --------
    >>> open_store("mystore").where
    'mystore'
    """
    folder = Path(where).expanduser()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"a store is a folder, received the file {folder}; name a folder with --store")
    return ParquetStore(folder, chunk_rows or CHUNK_ROWS)


__all__ = ["open_store"]
