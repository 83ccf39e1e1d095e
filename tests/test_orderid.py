"""Client order ids are derived: equal decisions have equal ids, all others differ."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.errors import ConfigError
from mdslib.orderid import MAX_ATTEMPT, MAX_LEG, MAX_LENGTH, MAX_SEQ, client_order_id, parse_client_order_id, run_hash

DAY = datetime.date(2013, 10, 8)


def test_equal_decisions_have_equal_ids() -> None:
    assert (
        client_order_id("PA3", DAY, "spy", 12, 1, 0)
        == client_order_id("PA3", DAY, "spy", 12, 1, 0)
        == "mds-20131008-vygjygqjjkja-12-1-0"
    )


@pytest.mark.parametrize(
    "other",
    [
        ("PA4", DAY, "spy", 12, 1, 0),
        ("PA3", datetime.date(2013, 10, 9), "spy", 12, 1, 0),
        ("PA3", DAY, "spy2", 12, 1, 0),
        ("PA3", DAY, "spy", 13, 1, 0),
        ("PA3", DAY, "spy", 12, 0, 0),
        ("PA3", DAY, "spy", 12, 1, 1),
        ("PA3", DAY, "spy", 1, 21, 0),
    ],
)
def test_every_argument_changes_the_id(other: tuple[str, datetime.date, str, int, int, int]) -> None:
    assert client_order_id(*other) != client_order_id("PA3", DAY, "spy", 12, 1, 0)


@given(
    st.text(min_size=1),
    st.dates(datetime.date(1990, 1, 1)),
    st.text(min_size=1),
    st.integers(0, MAX_SEQ),
    st.integers(0, MAX_LEG),
    st.integers(0, MAX_ATTEMPT),
)
def test_an_id_is_short_and_parses_back(
    account: str, day: datetime.date, run: str, seq: int, leg: int, attempt: int
) -> None:
    text = client_order_id(account, day, run, seq, leg, attempt)
    assert len(text) <= MAX_LENGTH
    assert text.isascii()
    assert parse_client_order_id(text) == (day, run_hash(account, run), seq, leg, attempt)


def test_a_hundred_thousand_runs_do_not_collide() -> None:
    assert len({run_hash(f"account{number % 10}", f"run{number // 10}") for number in range(100_000)}) == 100_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mds-20131008-vygjygqjjkja-12-1",
        "mds-20131308-vygjygqjjkja-12-1-0",
        "61e69015-8549-4bfd-b9c3-01e75843f47d",
        "mds-20131008-vygjygqjjkja-012-1-0",
    ],
)
def test_foreign_ids_parse_to_none(text: str) -> None:
    assert parse_client_order_id(text) is None


def test_an_empty_run_name_or_a_number_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"client_order_id\.run_name must not be empty, received ''"):
        client_order_id("PA3", DAY, "", 1, 0, 0)
    with pytest.raises(ConfigError, match=r"client_order_id\.attempt must be from 0 to 999, received 1000"):
        client_order_id("PA3", DAY, "spy", 1, 0, 1000)
