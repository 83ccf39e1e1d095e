"""Which order requests are refused, in which words; pure."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mdslib.events import TimeInForce
from mdslib.instruments import Instrument, parse_instrument
from mdslib.sim.orders import Refusal, parse_request

GOOD = {"symbol": "SPY", "qty": "5", "side": "buy", "type": "market", "time_in_force": "day"}
LIMIT = GOOD | {"type": "limit", "limit_price": "120.5"}
TRADED = (
    Instrument("SPY"),
    Instrument("FRAC", fractionable=True),
    Instrument("BLOCK", lot=100.0),
    parse_instrument("BTC/USD"),
)
INSTRUMENTS = {instrument.symbol: (k, instrument) for k, instrument in enumerate(TRADED)}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        ([], 400, 40010000, "request body format is invalid"),
        (without("symbol"), 422, 40010001, "symbol is required"),
        (GOOD | {"symbol": "ZZZZ"}, 404, 40410000, "asset not found for ZZZZ"),
        (without("qty"), 422, 40010001, "qty or notional is required"),
        (GOOD | {"notional": "100"}, 422, 40010001, "only one of qty or notional is accepted"),
        (
            without("qty") | {"notional": "100"},
            422,
            40010001,
            "notional orders are not available on this exchange: send qty",
        ),
        (GOOD | {"qty": "1.5"}, 422, 40010001, "qty must be integer"),
        (GOOD | {"qty": "0"}, 422, 40010001, "qty must be > 0"),
        (GOOD | {"qty": "NaN"}, 422, 40010001, "qty must be a number"),
        (
            GOOD | {"symbol": "FRAC", "qty": "1.5", "time_in_force": "gtc"},
            422,
            42210000,
            "fractional orders must be DAY orders",
        ),
        (GOOD | {"symbol": "FRAC", "qty": "0.0000000001"}, 422, 40010001, "qty must have no more than 9 decimals"),
        (
            GOOD | {"symbol": "BTC/USD", "qty": "0.0000000001", "time_in_force": "gtc"},
            422,
            40010001,
            "qty must have no more than 9 decimals",
        ),
        (
            GOOD | {"symbol": "BTC/USD", "time_in_force": "day"},
            422,
            42210000,
            "invalid crypto time_in_force: send gtc or ioc",
        ),
        (GOOD | {"symbol": "BLOCK", "qty": "150"}, 422, 40010001, "qty must be in 100s"),
        (GOOD | {"side": "hold"}, 422, 40010001, "invalid side: hold"),
        (without("side"), 422, 40010001, "side is required"),
        (
            GOOD | {"type": "stop"},
            422,
            40010001,
            "stop orders are not available on this exchange: send a simple market or limit order",
        ),
        (
            GOOD | {"order_class": "bracket"},
            422,
            40010001,
            "bracket orders are not available on this exchange: send a simple market or limit order",
        ),
        (without("type"), 422, 40010001, "type is required"),
        (
            GOOD | {"time_in_force": "fok"},
            422,
            40010001,
            "time_in_force fok is not available on this exchange: send day, gtc or ioc",
        ),
        (without("time_in_force"), 422, 40010001, "time_in_force is required"),
        (GOOD | {"limit_price": "1"}, 422, 40010001, "market orders require no limit_price"),
        (GOOD | {"type": "limit"}, 422, 40010001, "limit orders require a limit price"),
        (
            LIMIT | {"limit_price": "290.123"},
            422,
            42210000,
            "invalid limit_price 290.123. sub-penny increment does not fulfill minimum pricing criteria",
        ),
        (
            LIMIT | {"time_in_force": "gtc", "extended_hours": True},
            422,
            42210000,
            "extended hours order must be DAY limit orders",
        ),
        (GOOD | {"client_order_id": "used"}, 422, 40010001, "client_order_id must be unique"),
        (GOOD | {"client_order_id": "x" * 129}, 422, 40010001, "client_order_id must be no more than 128 characters"),
    ],
)
def test_refusal(body: Any, status: int, code: int, message: str) -> None:
    with pytest.raises(Refusal) as refusal:
        parse_request(body, INSTRUMENTS, {"used"})
    assert (refusal.value.status, refusal.value.body) == (status, {"code": code, "message": message})


def test_numbers_may_be_strings_or_numbers_and_sells_are_negative() -> None:
    request = parse_request(GOOD | {"qty": 5, "side": "sell", "client_order_id": "mine"}, INSTRUMENTS, ())
    assert request[:2] == ("SPY", 0)
    assert (request.qty, request.tif, request.client_order_id) == (-5.0, TimeInForce.DAY, "mine")
    assert math.isnan(request.limit)


@pytest.mark.parametrize(
    ("symbol", "qty", "tif"),
    [("FRAC", "0.123456789", "day"), ("BTC/USD", "0.000000001", "gtc"), ("BLOCK", "200", "ioc")],
)
def test_quantities_on_the_grid_are_taken(symbol: str, qty: str, tif: str) -> None:
    body = GOOD | {"symbol": symbol, "qty": qty, "time_in_force": tif}
    assert parse_request(body, INSTRUMENTS, ()).qty == float(qty)


@pytest.mark.parametrize("limit", ["1.01", "0.9999", 120])
def test_limit_prices_on_the_grid_are_taken(limit: Any) -> None:
    assert parse_request(LIMIT | {"limit_price": limit}, INSTRUMENTS, ()).limit == float(limit)
