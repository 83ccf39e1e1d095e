"""Large room is used again once nobody holds it or a view of it, and only then."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mdslib import memory
from mdslib.memory import LARGE, MOST_KEPT, room

CELL = np.dtype([("value", "<i8")])
COUNT = LARGE // CELL.itemsize + 1


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    memory._kept.clear()
    yield
    memory._kept.clear()


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_a_block_is_used_again_when_its_last_view_is_gone() -> None:
    first = room(COUNT, CELL)
    first["value"][7] = 5
    view, at = first[7:9], address(first)
    del first
    second = room(COUNT, CELL)
    second["value"][7] = 6
    assert address(second) != at, "somebody still looks at it"
    assert int(view["value"][0]) == 5
    del view
    third = room(COUNT - 1, CELL)
    assert (address(third), len(third)) == (at, COUNT - 1)
    assert not memory._kept


def test_a_block_that_is_too_small_or_far_too_large_stays_where_it_is() -> None:
    kept = room(COUNT, CELL)
    at = address(kept)
    del kept
    assert address(room(2 * COUNT, CELL)) != at
    large = room(6 * COUNT, CELL)
    large_at = address(large)
    del large
    assert address(room(COUNT, CELL)) != large_at


def test_what_is_kept_has_a_bound_and_small_room_is_not_kept() -> None:
    many = [room(COUNT * 2, CELL) for _ in range(MOST_KEPT // (2 * LARGE) + 3)]
    many += [room(10, CELL)]
    del many
    assert 0 < sum(map(len, memory._kept)) <= MOST_KEPT
