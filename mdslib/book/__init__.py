"""Order books: prices and sizes of every level, rebuilt from an exchange's snapshots and deltas.

`Book` is the book for notebooks and feeds. Compiled code uses the kernels of `mdslib.book.levels` on ``book.levels``.
"""

from __future__ import annotations

from mdslib.book.book import Book, Top

__all__ = ["Book", "Top"]
