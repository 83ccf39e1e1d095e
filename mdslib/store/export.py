"""Write market data out as one plain file: Parquet with floats and UTC timestamps, or CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mdslib.errors import ConfigError, DataError
from mdslib.store.files import LocalFiles
from mdslib.table import MarketData, Table

_FORMS = (".parquet", ".csv", ".csv.gz")


def export(data: MarketData, path: Path | str) -> int:
    """Write the rows of one kind to a file, which appears whole or not at all.

    Parameters
    ----------
    data : MarketData
        What `mdslib.load` returned, of one kind.
    path : Path or str
        The file; its ending says the form: ``.parquet``, ``.csv`` or ``.csv.gz``. One that exists is replaced.

    Returns
    -------
    int
        Rows written. Columns are the kind's, with ``symbol`` instead of the instrument's number and ``size_units``, a
        size in units, beside each size in lots.

    Raises
    ------
    ConfigError
        The ending is none of those.
    DataError
        There are several kinds, or the file can't be written.
    """
    path = Path(path)
    if not path.name.endswith(_FORMS):
        raise ConfigError(f"export: the file must end in {', '.join(_FORMS)}, received {path.name!r}")
    if len(data.tables) != 1:
        kinds = ", ".join(table.kind.name.lower() for table in data.tables)
        raise DataError(f"export: a file holds one kind, received {kinds or 'none'}; choose one, such as trades")
    arrow = _plain(data, data.tables[0])
    sink = pa.BufferOutputStream()
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(arrow, sink, compression="zstd")
    elif path.suffix == ".gz":
        with pa.CompressedOutputStream(sink, "gzip") as packed:
            _write_csv(arrow, packed)
    else:
        _write_csv(arrow, sink)
    try:
        LocalFiles(path.parent).write(path.name, memoryview(sink.getvalue()))
    except OSError as error:
        raise DataError(f"export: {path} can't be written: {error.strerror or error}; choose another place") from None
    return len(arrow)


def _plain(data: MarketData, table: Table) -> pa.Table:
    place = table["instrument"]
    arrays: dict[str, Any] = {}
    for name, column in table.columns.items():
        if name in ("ts_event", "ts_init"):
            arrays[name] = pa.array(column, pa.timestamp("ns", "UTC"))
        elif name == "instrument":
            names = pa.array([instrument.id for instrument in data.instruments], pa.string())
            arrays["symbol"] = pa.DictionaryArray.from_arrays(pa.array(place.astype("<i4")), names)
        else:
            arrays[name] = pa.array(column)
            if name in ("size", "bid_size", "ask_size", "volume"):
                lot = np.array([instrument.lot for instrument in data.instruments])
                arrays[f"{name}_units"] = pa.array(column * lot[place])
    return pa.table(arrays)


def _write_csv(arrow: pa.Table, sink: Any) -> None:
    from pyarrow import csv

    spelled = arrow.set_column(2, "symbol", arrow["symbol"].cast(pa.string()))
    csv.write_csv(spelled, sink, csv.WriteOptions(quoting_style="needed"))


__all__ = ["export"]
