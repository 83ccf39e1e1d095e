"""The embedded store: Parquet files by kind, venue, symbol and day, in a local folder or an S3-compatible bucket.

``kind=trade/venue=alpaca/symbol=SPY/date=2013-10-08/part.parquet``, which pandas, Polars, DuckDB, Dask and Spark read
as it lies. Bars carry their length in the kind (``bar_1m``, ``bar_1d``), sampled quotes too (``quote_1s``); bars of an
hour and more lie in one file a year. Every file says where it came from and in which format it is, in its metadata.
"""

from __future__ import annotations

from pathlib import Path

from mdslib.store.files import Files, LocalFiles
from mdslib.store.parquetparts import CHUNK_ROWS, ParquetParts
from mdslib.store.tickstore import TickStore


class ParquetStore(TickStore):
    """Parquet files in a folder or a bucket; implements `mdslib.protocols.Store`.

    Parameters
    ----------
    root : Path or str
        The folder; it is made at the first write. Or ``s3://bucket/folder``; see `mdslib.store.bucket`.
    chunk_rows : int
        Rows of a row group: what a reader decodes at once.

    Examples
    --------
    >>> import datetime, tempfile
    >>> from mdslib.events import Kind
    >>> from mdslib.instruments import Instrument
    >>> from mdslib.table import trades
    >>> store, spy, day = ParquetStore(tempfile.mkdtemp()), Instrument("SPY"), datetime.date(2013, 10, 8)
    >>> store.write(trades([1_381_239_000_000_000_000], [165.66], [100]), spy, day)
    >>> store.read(spy, Kind.TRADE, day)["price"].tolist()
    [165.66]
    """

    def __init__(self, root: Path | str, chunk_rows: int = CHUNK_ROWS) -> None:
        self.root = Path(root).expanduser()
        files: Files = LocalFiles(self.root)
        super().__init__(ParquetParts(files, str(self.root), chunk_rows))


__all__ = ["ParquetStore"]
