"""Choose each column's Parquet encoding by writing a sample of it in every way, and keeping the smallest.

What is best depends on the venue: ids may rise or be random, sizes be round or not, times come in bursts or alone.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mdslib.store.encoding import Encoded

LEVEL = 9  # of zstd, for files; 3 is 7 % larger and 2.5 times as fast to write, and both are read at one speed
_SAMPLE_LEVEL = 3  # the ways differ alike at both, in a third of the time
SAMPLE = 50_000  # rows: as many as a dictionary takes to pay, and few enough that choosing is cheap
_LEAST = 100  # with fewer rows the choice saves nothing
_DICTIONARY = "DICTIONARY"
_WAYS = (_DICTIONARY, "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT", "PLAIN")
_GAIN = 0.97  # a way must save 3 % to be taken instead of the usual one


def measured(encoded: Encoded, rows: int = SAMPLE) -> Encoded:
    """Return the same columns with the encodings that are smallest on a sample from their middle."""
    table = encoded.arrow
    if len(table) < _LEAST:
        return encoded
    sample = table.slice(max(0, (len(table) - rows) // 2), rows)
    encodings: dict[str, str] = {}
    for name in table.column_names:
        usual = encoded.encodings.get(name, _DICTIONARY)
        sizes = {way: _size(sample.select([name]), way) for way in _ways(table.schema.field(name).type)}
        best = min(sizes, key=lambda way: sizes[way])
        way = best if sizes[best] < _GAIN * sizes.get(usual, sizes[best] * 2) else usual
        if way != _DICTIONARY:
            encodings[name] = way
    dictionary = [name for name in table.column_names if name not in encodings]
    return encoded._replace(encodings=encodings, dictionary=dictionary)


def _ways(kind: Any) -> tuple[str, ...]:
    """Return the encodings that Parquet has for a type: floats have no deltas."""
    return tuple(way for way in _WAYS if not (pa.types.is_floating(kind) and way == "DELTA_BINARY_PACKED"))


def _size(column: pa.Table, way: str) -> int:
    """Return the compressed length of one column, written in one way."""
    sink = pa.BufferOutputStream()
    (name,) = column.column_names
    options: dict[str, Any] = {"use_dictionary": way == _DICTIONARY, "store_decimal_as_integer": True}
    if way != _DICTIONARY:
        options["column_encoding"] = {name: way}
    options |= {
        "compression": "zstd",
        "compression_level": _SAMPLE_LEVEL,
        "store_schema": False,
        "write_statistics": False,
    }
    pq.write_table(column, sink, **options)
    return len(sink.getvalue())


__all__ = ["LEVEL", "SAMPLE", "measured"]
