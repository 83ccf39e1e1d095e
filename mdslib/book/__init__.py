"""Order books: prices and sizes of every level, rebuilt from an exchange's snapshots and deltas.

`OrderBook` is the book for notebooks and feeds. Compiled code uses the kernels of `mdslib.book.levels` on its levels.
"""

from __future__ import annotations

from mdslib.book.book import OrderBook, Top
from mdslib.book.flow import order_flow
from mdslib.book.history import Tops, book_at, cut, tops

__all__ = ["OrderBook", "Top", "Tops", "book_at", "cut", "order_flow", "tops"]
