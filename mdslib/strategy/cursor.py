"""Where a driver stands: what it needs to go on from the very place where it returned."""

from __future__ import annotations

import numpy as np

from mdslib.jit import records
from mdslib.protocols import Records

CURSOR = np.dtype(
    [
        ("row", "<i8"),  # the next row
        ("decided", "<i8"),  # decisions written
        ("stopped", "<i8"),  # see below
        ("open", "<i8"),  # 1: an instant has to be ended
        ("ts", "<i8"),  # the time of that instant, ns
        ("submitted", "<i8"),  # decisions submitted to the venue
        ("filled", "<i8"),  # fills and endings written
        ("told", "<i8"),  # of those, told to the model
        ("tell", "<i8"),  # of those, to be told before anything else is submitted
    ]
)


# Why a driver stopped: a row names an instrument that there is not, or an order is not plain (1); a book delta could
# not be applied, for the reason that `mdslib.book.seen.take_delta` gave (1 more than that).
BY_DELTA = 2

ROW, DECIDED, STOPPED = 0, 1, 2  # where they stand among the cursor's `numbers`


def new_cursor() -> Records:
    """Return the cursor of a run that has not begun: one CURSOR record."""
    return records(1, CURSOR)


def numbers(cursor: Records) -> memoryview:
    """Return a cursor as plain numbers: the live path reads them in a third of the time that a record's fields take."""
    return np.asarray(cursor).view(np.ndarray).view(np.int64).data
