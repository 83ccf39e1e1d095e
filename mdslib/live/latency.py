"""Latency histograms: constant memory for a session of any length, percentiles to about 3 %."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

_SUB = 5  # bits within a power of two: 32 buckets, so about 3 % wide
_BLOCK = 10_000  # durations that wait to be sorted in, where nobody asks for it before


class Latency:
    """Counts of durations in ns, by logarithmic buckets; they are sorted in when `sort_in` is called, or asked for.

    Examples
    --------
    >>> latency = Latency()
    >>> for ns in (1_000, 2_000, 3_000): latency.add(ns)
    >>> latency.count, 1_900 < latency.quantile(0.5) < 2_100
    (3, True)
    """

    def __init__(self) -> None:
        self._buckets = [0] * (64 << _SUB)
        self._count = 0
        self._highest = 0
        self._total = 0
        self._new: list[int] = []
        self._sorting = threading.Lock()  # one thread adds, another may look

    def add(self, ns: int) -> None:
        """Count one duration; a negative one counts as 0."""
        self._new.append(ns)
        if len(self._new) >= _BLOCK:
            self.sort_in()

    def sort_in(self) -> None:
        """Sort in what was added; half a microsecond each, so not for the path of every frame."""
        with self._sorting:
            new = self._new
            for _ in range(len(new)):
                value = max(new.pop(), 0)
                self._buckets[_place(value)] += 1
                self._count += 1
                self._total += value
                self._highest = max(self._highest, value)

    @property
    def buckets(self) -> list[int]:
        """Counts by bucket."""
        self.sort_in()
        return self._buckets

    @property
    def count(self) -> int:
        """How many durations were counted."""
        self.sort_in()
        return self._count

    @property
    def highest(self) -> int:
        """The longest, ns."""
        self.sort_in()
        return self._highest

    @property
    def total(self) -> int:
        """Their sum, ns."""
        self.sort_in()
        return self._total

    def at_most(self, bounds: Sequence[int]) -> list[int]:
        """Return how many durations are at most as long as each bound (ns), to a bucket's width."""
        counts = np.cumsum(np.array(self.buckets))
        return [int(counts[_place(bound)]) for bound in bounds]

    def quantile(self, q: float) -> float:
        """Return the duration in ns below which a share `q` of all lies; nan where there is none."""
        if not self.count:
            return float("nan")
        rank, seen = q * (self.count - 1), 0
        for index, n in enumerate(self.buckets):
            seen += n
            if n and seen > rank:
                return _middle(index)
        return float(self.highest)

    def samples(self, most: int = 10_000) -> np.ndarray:
        """Return about `most` durations, ns, that are distributed as those counted, for a histogram's picture."""
        counts = np.array(self.buckets)
        used = np.flatnonzero(counts)
        share = max(1.0, self.count / most)
        repeats = np.maximum(1, np.round(counts[used] / share)).astype(int)
        return np.repeat([_middle(int(index)) for index in used], repeats) if len(used) else np.zeros(0)

    def summary(self) -> dict[str, float]:
        """Return count, median, p99 and highest, in us."""
        return {
            "count": self.count,
            "p50_us": self.quantile(0.5) / 1e3,
            "p99_us": self.quantile(0.99) / 1e3,
            "max_us": self.highest / 1e3,
        }


def _place(value: int) -> int:
    """Return the bucket of a duration."""
    shift = max(value.bit_length() - _SUB - 1, 0)
    return (shift << _SUB) + (value >> shift)


def _middle(index: int) -> float:
    base = 1 << _SUB
    shift = max(index // base - 1, 0)
    return ((index - (shift << _SUB)) + 0.5 * (shift > 0)) * float(1 << shift)
