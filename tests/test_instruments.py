"""The grid of an order: which prices and quantities an instrument takes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.instruments import Instrument, on_grid, parse_instrument
from mdslib.jit import jit

compiled = jit(on_grid)


@pytest.mark.parametrize(
    ("name", "currency"),
    [
        ("coinbase:BTC-EUR", "EUR"),
        ("coinbase:BTC-PERP-INTX", ""),
        ("kraken:XBT/USDT", "USDT"),
        ("bitfinex:tBTCEUR", "EUR"),
        ("bitfinex:tDUSK:USD", "USD"),
        ("bitfinex:fUSD", ""),
        ("bitmex:XBTUSD", ""),
        ("ETH/BTC", "BTC"),
        ("SPY", "USD"),
    ],
)
def test_a_currency_is_what_the_symbols_form_tells(name: str, currency: str) -> None:
    assert parse_instrument(name).currency == currency


@pytest.mark.parametrize(
    ("value", "step", "on"),
    [
        (145.32, 0.01, True),
        (145.321, 0.01, False),
        (0.1 + 0.2, 0.01, True),
        (0.1 + 0.2, 0.1, True),
        (-5.0, 1.0, True),
        (-2.5, 1.0, False),
        (65_000.12, 1e-9, True),
        (12345.678901234, 1e-9, True),
        (0.0000000015, 1e-9, False),
        (1e12, 1e-9, True),
        (math.nan, 1.0, False),
    ],
)
def test_a_multiple_of_the_step_up_to_what_a_float_can_hold(value: float, step: float, on: bool) -> None:
    assert on_grid(value, step) is on
    assert compiled(value, step) == on


@given(st.integers(-(10**9), 10**9), st.sampled_from([1e-9, 1e-8, 0.0001, 0.01, 0.25, 1.0, 100.0]))
def test_every_count_of_steps_is_on_the_grid_and_half_a_step_beside_it_is_not(count: int, step: float) -> None:
    assert on_grid(count * step, step)
    assert on_grid(float(repr(round(count * step, 9))), step)
    assert not on_grid((count + 0.5) * step, step)


def test_a_stock_has_four_decimals_below_a_dollar() -> None:
    spy = Instrument("SPY")
    assert (spy.on_tick(0.9999), spy.on_tick(0.99995), spy.on_tick(1.0), spy.on_tick(1.005)) == (
        True,
        False,
        True,
        False,
    )


def test_a_pair_of_coins_has_one_grid_at_every_price() -> None:
    assert parse_instrument("SHIB/USD").steps == (1e-9, 1e-9, 1e-9, 1e-9)
