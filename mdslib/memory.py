"""Memory for a run: untouched pages cost nothing, and large blocks are used again.

The C library hands out less than 32 MB again as it was. More than that comes from the kernel each time, which clears
every page that is touched: a tenth of a back-test over ten million trades. So large blocks are kept here once nobody
uses them.
"""

from __future__ import annotations

import mmap
import weakref
from collections import deque
from typing import Any

import numpy as np

from mdslib.jit import as_records
from mdslib.protocols import Records

LARGE = 32_000_000  # bytes; the C library's own bound
MOST_KEPT = 512_000_000  # bytes of address space, of which the pages that were touched are real

_kept: deque[mmap.mmap] = deque()  # the last used on the right; its operations are safe between threads


def room(count: int, dtype: np.dtype[Any]) -> Records:
    """Return records that hold nothing in particular, to be written before they are read.

    Parameters
    ----------
    count : int
        How many; at least 0.
    dtype : numpy.dtype
        Without Python objects.

    Examples
    --------
    >>> len(room(3, np.dtype([("qty", "<f8")])))
    3
    """
    size = count * dtype.itemsize
    if size < LARGE:
        return as_records(np.empty(count, dtype))
    memory = _taken(size) or _made(size)
    array = np.frombuffer(memory, dtype, count)
    weakref.finalize(array, _keep, memory).atexit = False  # views of it keep it, too
    return as_records(array)


def zeros(count: int, dtype: np.dtype[Any]) -> np.ndarray:
    """Return zeros of which only those that are looked at cost anything.

    `numpy.zeros` asks the C library, which clears up to 32 MB by hand once such a block was freed before: 2 ms a run.
    """
    return np.frombuffer(_made(max(count * dtype.itemsize, 1)), dtype, count)


def _taken(size: int) -> mmap.mmap | None:
    """Take a kept block that suits, neither too small nor many times too large."""
    for _ in range(len(_kept)):
        try:
            memory = _kept.pop()
        except IndexError:  # another thread was faster
            return None
        if size <= len(memory) <= 4 * size:
            return memory
        _kept.appendleft(memory)
    return None


def _made(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _keep(memory: mmap.mmap) -> None:
    """Keep a block that nobody uses any more; the ones kept longest make room for it."""
    _kept.append(memory)
    while sum(map(len, tuple(_kept))) > MOST_KEPT:
        try:
            _kept.popleft()
        except IndexError:  # another thread was faster
            return
