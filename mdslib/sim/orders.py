"""An order request as Alpaca takes it: which are well formed, and the exact words that refuse the others.

Source: "Placing Orders" of Alpaca's documentation, and error bodies as its users report them. What this exchange
doesn't do (stop orders, brackets, notional amounts) is refused clearly, never accepted and ignored.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from mdslib.events import TimeInForce
from mdslib.instruments import Instrument

INVALID = 40010001
UNPROCESSABLE = 42210000
FORBIDDEN = 40310000
NOT_FOUND = 40410000
TIFS = {"day": TimeInForce.DAY, "gtc": TimeInForce.GTC, "ioc": TimeInForce.IOC}
_OTHER_TIFS = ("opg", "cls", "fok")
_OTHER_TYPES = ("stop", "stop_limit", "trailing_stop")


class Refusal(Exception):
    """A request that is answered with an error; it makes no order.

    Attributes
    ----------
    status : int
        HTTP status.
    body : dict
        JSON body of the answer.
    """

    def __init__(self, status: int, code: int | None, message: str, **extras: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = ({} if code is None else {"code": code}) | {"message": message} | extras


class Request(NamedTuple):
    """A well-formed order request."""

    symbol: str
    instrument: int
    qty: float  # signed
    limit: float  # nan for a market order
    tif: TimeInForce
    client_order_id: str  # empty: the exchange makes one
    extended_hours: bool

    @property
    def tif_of_core(self) -> TimeInForce:
        """What the matching core takes it for: the regular close does not end an order of the extended hours."""
        return TimeInForce.GTC if self.extended_hours else self.tif


def parse_request(body: Any, instruments: Mapping[str, tuple[int, Instrument]], taken: Collection[str]) -> Request:
    """Check the body of ``POST /v2/orders``.

    Parameters
    ----------
    body : object
        The decoded JSON.
    instruments : mapping
        Symbol or asset id to index and instrument.
    taken : collection of str
        Client order ids that are used up.

    Raises
    ------
    Refusal
        With the venue's status, code and words.
    """
    if not isinstance(body, dict):
        raise Refusal(400, 40010000, "request body format is invalid")
    named = body.get("symbol")
    if not named:
        raise Refusal(422, INVALID, "symbol is required")
    if named not in instruments:
        raise Refusal(404, NOT_FOUND, f"asset not found for {named}")
    index, instrument = instruments[named]
    sign = _side(body)
    kind = _type(body)
    tif = _time_in_force(body)
    if instrument.is_pair and tif is TimeInForce.DAY:
        raise Refusal(422, UNPROCESSABLE, "invalid crypto time_in_force: send gtc or ioc")
    qty = _quantity(body, instrument, tif)
    limit = _limit(body, kind, instrument)
    extended = bool(body.get("extended_hours"))
    if extended and (kind != "limit" or tif is not TimeInForce.DAY):
        raise Refusal(422, UNPROCESSABLE, "extended hours order must be DAY limit orders")
    return Request(instrument.symbol, index, sign * qty, limit, tif, _client_id(body, taken), extended)


CHANGES = frozenset({"qty", "limit_price", "time_in_force", "client_order_id"})


def changed_body(body: Any, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of the order that takes another's place: `before`, Alpaca's order object, with the changes.

    What is not changed stays, the whole quantity too, however much of it has filled. Source: "Replace an Order", and
    issue 165 of alpacahq/Alpaca-API.

    Raises
    ------
    Refusal
        For what can't be changed.
    """
    if not isinstance(body, dict):
        raise Refusal(400, 40010000, "request body format is invalid")
    given = {name: value for name, value in body.items() if value is not None}
    for name in given:
        if name not in CHANGES:
            raise Refusal(422, INVALID, f"{name} can't be changed on this exchange: send {', '.join(sorted(CHANGES))}")
    if not given:
        raise Refusal(422, INVALID, "nothing to change was sent")
    kept = {name: before[name] for name in ("symbol", "side", "type", "qty", "limit_price", "time_in_force")}
    return {**kept, "extended_hours": before["extended_hours"], **given}


def _side(body: dict[str, Any]) -> int:
    side = body.get("side")
    if side not in ("buy", "sell"):
        raise Refusal(422, INVALID, "side is required" if side is None else f"invalid side: {side}")
    return 1 if side == "buy" else -1


def _type(body: dict[str, Any]) -> str:
    kind = body.get("type") or body.get("order_type")
    if kind in _OTHER_TYPES or body.get("order_class", "") not in ("", "simple", None):
        received = kind if kind in _OTHER_TYPES else body.get("order_class")
        raise Refusal(
            422, INVALID, f"{received} orders are not available on this exchange: send a simple market or limit order"
        )
    if kind not in ("market", "limit"):
        raise Refusal(422, INVALID, "type is required" if kind is None else f"invalid order type: {kind}")
    return str(kind)


def _time_in_force(body: dict[str, Any]) -> TimeInForce:
    name = body.get("time_in_force")
    if name in TIFS:
        return TIFS[name]
    if name in _OTHER_TIFS:
        raise Refusal(422, INVALID, f"time_in_force {name} is not available on this exchange: send day, gtc or ioc")
    raise Refusal(422, INVALID, "time_in_force is required" if name is None else f"invalid time_in_force: {name}")


def _decimal(body: dict[str, Any], name: str) -> Decimal | None:
    value = body.get(name)
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite():
        raise Refusal(422, INVALID, f"{name} must be a number")
    return number


def _quantity(body: dict[str, Any], instrument: Instrument, tif: TimeInForce) -> float:
    qty, notional = _decimal(body, "qty"), _decimal(body, "notional")
    if qty is not None and notional is not None:
        raise Refusal(422, INVALID, "only one of qty or notional is accepted")
    if notional is not None:
        raise Refusal(422, INVALID, "notional orders are not available on this exchange: send qty")
    if qty is None:
        raise Refusal(422, INVALID, "qty or notional is required")
    if qty <= 0:
        raise Refusal(422, INVALID, "qty must be > 0")
    steps = instrument.steps
    if qty % _exact(steps.lot) and (tif is not TimeInForce.DAY or qty % _exact(steps.fraction)):
        if not instrument.fractionable:
            raise Refusal(422, INVALID, "qty must be integer" if steps.lot == 1.0 else f"qty must be in {steps.lot:g}s")
        if tif is not TimeInForce.DAY and not instrument.is_pair:
            raise Refusal(422, UNPROCESSABLE, "fractional orders must be DAY orders")
        raise Refusal(422, INVALID, "qty must have no more than 9 decimals")
    return float(qty)


def _exact(step: float) -> Decimal:
    return Decimal(str(step))


def _limit(body: dict[str, Any], kind: str, instrument: Instrument) -> float:
    limit = _decimal(body, "limit_price")
    if kind == "market":
        if limit is not None:
            raise Refusal(422, INVALID, "market orders require no limit_price")
        return math.nan
    if limit is None:
        raise Refusal(422, INVALID, "limit orders require a limit price")
    if limit <= 0:
        raise Refusal(422, INVALID, "limit_price must be > 0")
    if limit % _exact(instrument.steps.tick if limit >= 1 else instrument.steps.subtick):
        text = body["limit_price"]
        raise Refusal(
            422,
            UNPROCESSABLE,
            f"invalid limit_price {text}. sub-penny increment does not fulfill minimum pricing criteria",
        )
    return float(limit)


def _client_id(body: dict[str, Any], taken: Collection[str]) -> str:
    name = body.get("client_order_id") or ""
    if len(name) > 128:
        raise Refusal(422, INVALID, "client_order_id must be no more than 128 characters")
    if name in taken:
        raise Refusal(422, INVALID, "client_order_id must be unique")
    return str(name)
