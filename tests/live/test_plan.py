"""What a session is to do, as far as it follows from its parameters."""

from __future__ import annotations

from typing import Any

import pytest

from mdslib.live import Session
from mdslib.matching import Rules


@pytest.mark.parametrize(
    ("options", "rules", "split"),
    [
        ({}, Rules.ALPACA, True),
        ({}, Rules.PERMISSIVE, False),
        ({"split_flips": True}, Rules.PERMISSIVE, True),
        ({"split_flips": False}, Rules.ALPACA, False),
    ],
)
def test_flips_are_split_where_the_venue_s_rules_ask_for_it_unless_a_person_says(
    options: dict[str, Any], rules: Rules, split: bool
) -> None:
    plan = Session.from_parameters(model="volume_modulo", date="2025-06-12", **options).plan
    assert plan.splits_flips(rules) is split
