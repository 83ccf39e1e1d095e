from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.feeds.digits import whole


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=8), st.integers(0, 3))
def test_every_digit_is_kept(number: Decimal, zeros: int):
    text = f"{number:f}" + "0" * zeros
    assert whole(text, 8) == int(number.scaleb(8))


@pytest.mark.parametrize(("text", "places", "count"), [("5", 0, 5), ("1e-7", 8, 10), ("2.50", 1, 25), ("-0.0", 8, 0)])
def test_other_spellings(text, places, count):
    assert whole(text, places) == count


@pytest.mark.parametrize(
    "text", ["", "x", "1.23", "nan", "inf", "1_0", "1.0x", "9999999999999999999", "1e30", "1e999999999999"]
)
def test_what_is_no_whole_count_is_refused_by_name(text):
    with pytest.raises(ValueError, match=r"a number must be a whole count of 1e-1 below 2\*\*63, received"):
        whole(text, 1)
