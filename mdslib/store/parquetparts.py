"""Parts as Parquet files: ``kind=trade/venue=alpaca/symbol=SPY/date=2013-10-08/part.parquet``."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from mdslib import calendar
from mdslib.errors import DataError
from mdslib.events import Kind
from mdslib.store.encoding import Decoding, Encoded, encode
from mdslib.store.fileformat import META, described
from mdslib.store.files import Files
from mdslib.store.key import Key
from mdslib.store.measure import LEVEL, measured
from mdslib.store.parts import Body, Part
from mdslib.table import Table

CHUNK_ROWS = 100_000  # rows of a row group: what a reader decodes at once, and the least that it can skip
FILE = "part.parquet"
_THREADS = 4
_GROUPS_A_THREAD = 2  # fewer are read sooner than a thread starts


class ParquetParts:
    """Parquet files; implements `mdslib.store.parts.Parts`.

    Parameters
    ----------
    files : Files
        Where they lie.
    where : str
        The store's name, for messages.
    chunk_rows : int
        Rows of a row group.
    """

    def __init__(self, files: Files, where: str, chunk_rows: int = CHUNK_ROWS) -> None:
        self.files, self.where, self.chunk_rows = files, where, chunk_rows

    def write(self, key: Key, table: Table, body: Body) -> None:
        """Replace a file, whole or not at all."""
        whose = body["instrument"]
        try:
            encoded = encode(table, float(whose["tick"]), open_always=whose["session"] == calendar.ALWAYS)
            data = _packed(measured(encoded), body, self.chunk_rows)
            self.files.write(f"{key.folder}/{FILE}", data)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(
                f"store {self.where}: {key.label} of {key.symbol} ({key.period}) can't be written: {reason}; "
                "what was stored before stands; free space or choose another --store"
            ) from None

    def read(self, key: Key, columns: set[str]) -> Part:
        """Return a file's rows, the checksum of every page compared."""
        name = self._name(key)
        try:
            source = self.files.open(f"{key.folder}/{FILE}")  # once: the part may be replaced while it is read
            with _reader(source) as file:
                body = described(file.schema_arrow.metadata, name)
                decoding = Decoding(Kind[body["kind"]], file.metadata.num_rows, body["columns"], columns)
                _fill(decoding, file, source)
            return Part(decoding.table(), body)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise _damaged(name, error) from None

    def describe(self, key: Key) -> Body:
        """Return what a file says of itself."""
        name = self._name(key)
        try:
            with _reader(self.files.open(f"{key.folder}/{FILE}")) as file:
                return described(file.schema_arrow.metadata, name)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(name, error) from None

    def has(self, key: Key) -> bool:
        """Tell whether there is such a file."""
        try:
            return self.files.has(f"{key.folder}/{FILE}")
        except OSError as error:
            raise DataError(f"store {self.where} can't be looked at: {error}") from None

    def size(self, key: Key) -> int:
        """Return the file's length."""
        return self.files.size(f"{key.folder}/{FILE}")

    def keys(self, label: str = "", venue: str = "", symbol: str = "") -> Iterator[Key]:
        """Yield the keys of the files."""
        names = (("kind", label), ("venue", quote(venue, safe="")), ("symbol", quote(symbol, safe="")))
        pattern = "/".join([*(f"{name}={value or '*'}" for name, value in names), "*", FILE])
        try:
            for found in self.files.find(pattern):
                key = Key.parse(found.path.rpartition("/")[0])
                if key is not None:
                    yield key
        except OSError as error:
            raise DataError(f"store {self.where} can't be listed: {error}") from None

    def _name(self, key: Key) -> str:
        return self.files.name(f"{key.folder}/{FILE}")


def _reader(source: Any) -> Any:
    held = pa.BufferReader(source) if isinstance(source, pa.Buffer) else source
    return pq.ParquetFile(held, page_checksum_verification=True)


def _fill(decoding: Decoding, file: Any, source: Any) -> None:
    """Decode row group by row group, so that what is decoded is still in the cache when it is converted.

    Several threads each take every so-manyeth group of a mapped file, with a reader of their own.
    """
    groups = file.metadata.num_row_groups
    starts = [0, *itertools.accumulate(file.metadata.row_group(group).num_rows for group in range(groups))]

    def take(reader: Any, first: int, step: int) -> None:
        for group in range(first, groups, step):
            decoding.fill(starts[group], reader.read_row_group(group, columns=decoding.stored, use_threads=False))

    threads = min(_THREADS, os.cpu_count() or 1, groups // _GROUPS_A_THREAD)
    if threads < 2 or not isinstance(source, pa.Buffer):
        take(file, 0, 1)
        return

    def take_part(first: int) -> None:
        with _reader(source) as reader:
            take(reader, first, threads)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(take_part, range(threads)))


def _packed(encoded: Encoded, body: Body, chunk_rows: int) -> memoryview:
    """Return a file's bytes."""
    sink = pa.BufferOutputStream()
    options: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": LEVEL,
        "use_dictionary": encoded.dictionary,
        "column_encoding": encoded.encodings,
        "store_decimal_as_integer": True,
        "store_schema": False,  # Parquet's own types say it all, to every reader
        "write_statistics": ["ts_event"],
        "write_page_checksum": True,
    }
    with pq.ParquetWriter(sink, encoded.arrow.schema, **options) as writer:
        writer.write_table(encoded.arrow, row_group_size=chunk_rows)
        writer.add_key_value_metadata({META: json.dumps(body | {"columns": encoded.layout}).encode()})
    return memoryview(sink.getvalue())


def _damaged(name: str, error: Exception) -> DataError:
    return DataError(f"stored file {name} can't be read: {error}; import that day again, which replaces it")


__all__ = ["CHUNK_ROWS", "ParquetParts"]
