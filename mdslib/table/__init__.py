"""Columns of events: `Table` holds rows of one kind, `MarketData` all kinds of some instruments with their sessions."""

from mdslib.table.market import MarketData
from mdslib.table.rows import DEFAULTS, Array, Table, empty, from_columns, merge, trades

__all__ = ["DEFAULTS", "Array", "MarketData", "Table", "empty", "from_columns", "merge", "trades"]
