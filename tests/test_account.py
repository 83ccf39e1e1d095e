"""The account: positions, average prices, cash and profit, fill by fill."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.account import apply_fill, equity, gross_exposure, new_account, total_cash


@pytest.mark.parametrize(
    ("fills", "position", "avg_px", "realized"),
    [
        ([(10.0, 100.0)], 10.0, 100.0, 0.0),
        ([(10.0, 100.0), (10.0, 110.0)], 20.0, 105.0, 0.0),
        ([(10.0, 100.0), (-4.0, 110.0)], 6.0, 100.0, 40.0),
        ([(10.0, 100.0), (-10.0, 110.0)], 0.0, 0.0, 100.0),
        ([(10.0, 100.0), (-15.0, 110.0)], -5.0, 110.0, 100.0),  # a flip: the rest opens at its own price
        ([(-10.0, 100.0)], -10.0, 100.0, 0.0),
        ([(-10.0, 100.0), (4.0, 90.0)], -6.0, 100.0, 40.0),
        ([(-10.0, 100.0), (15.0, 90.0)], 5.0, 90.0, 100.0),
        ([(-10.0, 100.0), (10.0, 110.0)], 0.0, 0.0, -100.0),
    ],
)
def test_fills_move_position_average_price_and_realized_profit(
    fills: list[tuple[float, float]], position: float, avg_px: float, realized: float
) -> None:
    account = new_account(1, 1000.0)
    for qty, px in fills:
        apply_fill(account, 0, qty, px, 0.0)
    a = account[0]
    assert (float(a["position"]), float(a["avg_px"]), float(a["realized"])) == (position, avg_px, realized)
    assert int(a["fills"]) == len(fills)
    assert total_cash(account) == 1000.0 - sum(qty * px for qty, px in fills)


def test_a_fee_is_taken_from_cash_and_not_from_realized_profit() -> None:
    account = new_account(1, 1000.0)
    apply_fill(account, 0, 1.0, 100.0, 0.25)
    apply_fill(account, 0, -1.0, 110.0, 0.25)
    a = account[0]
    assert (float(a["cash"]), float(a["realized"]), float(a["fees"])) == (1009.5, 10.0, 0.5)


def test_what_floats_leave_over_is_flat() -> None:
    account = new_account(1)
    for qty in (0.1, 0.2, -0.3):
        apply_fill(account, 0, qty, 10.0, 0.0)
    assert float(account[0]["position"]) == 0.0
    assert float(account[0]["avg_px"]) == 0.0


def test_the_smallest_lot_is_no_dust() -> None:
    account = new_account(1)
    apply_fill(account, 0, 1e-9, 60_000.0, 0.0)
    assert float(account[0]["position"]) == 1e-9


def test_opening_cash_lies_in_the_first_record_and_instruments_keep_their_own_flow() -> None:
    account = new_account(2, 1000.0)
    apply_fill(account, 1, 2.0, 50.0, 0.0)
    assert account["cash"].tolist() == [1000.0, -100.0]
    assert total_cash(account) == 900.0


def test_equity_counts_positions_at_the_last_price_and_without_one_at_the_average() -> None:
    account = new_account(2, 1000.0)
    apply_fill(account, 0, 2.0, 50.0, 0.0)
    apply_fill(account, 1, -1.0, 30.0, 0.0)
    assert math.isnan(float(account[0]["last_px"]))
    assert equity(account) == 1000.0
    account["last_px"] = [55.0, 20.0]
    assert equity(account) == 1000.0 + 10.0 + 10.0


def test_gross_exposure_is_the_largest_that_may_come_of_what_works_and_the_order_in_question() -> None:
    account = new_account(2)
    account["last_px"] = [10.0, 20.0]
    apply_fill(account, 0, 5.0, 10.0, 0.0)
    account["sells"] = [2.0, 3.0]
    account["open_qty"] = [-2.0, -3.0]
    assert gross_exposure(account, 0, 0.0, 10.0) == 5 * 10.0 + 3 * 20.0, "the sale may never fill"
    assert gross_exposure(account, 0, 4.0, 11.0) == 9 * 11.0 + 3 * 20.0
    assert gross_exposure(account, 0, -9.0, 11.0) == 6 * 11.0 + 3 * 20.0, "both sales may"
    account["parked"] = [0.0, -4.0]
    assert gross_exposure(account, 1, -1.0, 20.0) == 5 * 10.0 + 8 * 20.0, "and what waits for a close"


@given(st.lists(st.tuples(st.integers(-20, 20).filter(bool), st.integers(1, 200)), max_size=40))
def test_profit_is_realized_plus_unrealized_whatever_the_fills(fills: list[tuple[int, int]]) -> None:
    account = new_account(1, 500.0)
    for qty, px in fills:
        apply_fill(account, 0, float(qty), float(px), 0.0)
    a = account[0]
    account["last_px"] = 77.0
    assert float(a["position"]) == sum(qty for qty, _ in fills)
    unrealized = float(a["position"]) * (77.0 - float(a["avg_px"]))
    assert equity(account) - 500.0 == pytest.approx(float(a["realized"]) + unrealized, abs=1e-6)
