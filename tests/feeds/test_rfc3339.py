"""Times keep all nine digits."""

from __future__ import annotations

import numpy as np
import pytest

from mdslib.feeds.rfc3339 import from_ns, to_ns


@pytest.mark.parametrize(
    "text",
    ["1970-01-01T00:00:00", "2024-03-28T16:58:00.000001", "2262-04-11T23:47:16.854775807", "1999-12-31T23:59:59.9"],
)
def test_agrees_with_numpy(text):
    assert to_ns(text + "Z") == np.datetime64(text, "ns").astype("i8")


def test_an_offset_is_taken_off():
    assert (
        to_ns("2026-01-05T09:31:00.5-05:00") == to_ns("2026-01-05T14:31:00.5Z") == to_ns("2026-01-05T20:01:00.5+05:30")
    )


@pytest.mark.parametrize(
    "text",
    ["", "2026-01-05", "2026-01-05T14:31:00", "2026-13-05T14:31:00Z", "2026-01-05T24:00:00Z", "2300-01-01T00:00:00Z"],
)
def test_anything_else_is_an_error(text):
    with pytest.raises(ValueError, match=r"received|must be in|range"):
        to_ns(text)


def test_from_ns_is_the_inverse():
    assert to_ns(from_ns(1_791_326_161_216_274_112)) == 1_791_326_161_216_274_112
