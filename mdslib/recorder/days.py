"""The days of a recording are its calendar's, New York's for stocks, so that a day's tape holds a trading day."""

from __future__ import annotations

import datetime

import numpy as np

from mdslib.calendar import zone
from mdslib.table import Array

_HOUR = 3_600_000_000_000  # ns


def local_times(times: Array, exchange: str) -> Array:
    """Return times of an exchange's own clocks: whole days of it are its days since 1970.

    Parameters
    ----------
    times : array of int64, shape (n,)
        ns UTC.
    exchange : str
        Its calendar.

    Examples
    --------
    >>> friday_evening = np.array([1_736_555_400_000_000_000])  # 2025-01-11 00:30 UTC
    >>> local_times(friday_evening, "NYSE").astype("M8[ns]").astype("M8[m]").tolist()
    [datetime.datetime(2025, 1, 10, 19, 30)]
    """
    where = zone(exchange)
    if where.key == "UTC":
        return times
    hours, which = np.unique(times // _HOUR, return_inverse=True)  # clocks change on the hour
    clocks = [datetime.datetime.fromtimestamp(hour * 3600, where).replace(tzinfo=None) for hour in hours.tolist()]
    found: Array = np.array(clocks, "M8[ns]").astype(np.int64)[which] + times % _HOUR
    return found


__all__ = ["local_times"]
