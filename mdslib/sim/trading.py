"""The trading REST calls of Alpaca: orders, account, positions, clock, calendar, assets."""

from __future__ import annotations

import datetime
from typing import Any
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mdslib.calendar import Session, next_session, session, sessions
from mdslib.errors import ConfigError
from mdslib.instruments import Instrument
from mdslib.sim.accepted import OPEN, Order, make_id
from mdslib.sim.core import Core
from mdslib.sim.floor import Floor
from mdslib.sim.guard import Json, guarded, json_body, parse_time, whole_number
from mdslib.sim.orders import INVALID, NOT_FOUND, Refusal
from mdslib.sim.wire import number, stamp

_NEW_YORK = ZoneInfo("America/New_York")


# -- orders ------------------------------------------------------------


async def _flush(floor: Floor) -> None:
    """Send updates at once, unless lock-step has its own time for them."""
    if floor.mode != "lockstep":
        await floor.send_updates()


async def post_order(request: Request, floor: Floor) -> Any:
    """``POST /v2/orders``."""
    body = await json_body(request)
    await floor.warmed.wait()
    floor.core.settle(floor.sent)
    answer = floor.core.submit(body)
    await _flush(floor)
    if floor.thrower is not None:
        await floor.thrower.ordered()
    return answer


async def get_orders(request: Request, floor: Floor) -> Any:
    """``GET /v2/orders``: filtered by status, time of submission (exclusive), symbols and side; newest first."""
    q = request.query_params
    status, direction = q.get("status", "open"), q.get("direction", "desc")
    if status not in ("open", "closed", "all"):
        raise Refusal(422, INVALID, f"invalid status: {status!r} must be open, closed or all")
    if direction not in ("asc", "desc"):
        raise Refusal(422, INVALID, f"invalid direction: {direction!r} must be asc or desc")
    limit = whole_number(request, "limit", 50, 1, 500)
    after = parse_time(q["after"]) if q.get("after") else None
    until = parse_time(q["until"]) if q.get("until") else None
    symbols = set(q["symbols"].split(",")) if q.get("symbols") else None
    side = {"buy": 1, "sell": -1}.get(q.get("side", ""), 0)

    def wanted(order: Order) -> bool:
        return (
            (status == "all" or (order.status in OPEN) == (status == "open"))
            and (after is None or order.submitted > after)
            and (until is None or order.submitted < until)
            and (symbols is None or order.request.symbol in symbols)
            and order.request.qty * side >= 0
        )

    chosen = [order for order in floor.core.orders if wanted(order)]
    if direction == "desc":
        chosen.reverse()
    return [order.to_json() for order in chosen[:limit]]


async def get_order(request: Request, floor: Floor) -> Any:
    """``GET /v2/orders/{id}``."""
    return floor.core.order(request.path_params["id"]).to_json()


async def get_order_by_client_id(request: Request, floor: Floor) -> Any:
    """``GET /v2/orders:by_client_order_id``."""
    name = request.query_params.get("client_order_id", "")
    order = floor.core.by_client.get(name)
    if order is None:
        raise Refusal(404, NOT_FOUND, f"order not found for {name}")
    return order.to_json()


async def patch_order(request: Request, floor: Floor) -> Any:
    """``PATCH /v2/orders/{id}``: the order that takes its place."""
    body = await json_body(request)
    await floor.warmed.wait()
    floor.core.settle(floor.sent)
    answer = floor.core.replace(request.path_params["id"], body)
    await _flush(floor)
    return answer


async def delete_order(request: Request, floor: Floor) -> Any:
    """``DELETE /v2/orders/{id}``."""
    await floor.warmed.wait()
    floor.core.cancel(request.path_params["id"])
    await _flush(floor)
    return Response(status_code=204)


async def delete_orders(request: Request, floor: Floor) -> Any:
    """``DELETE /v2/orders``."""
    await floor.warmed.wait()
    canceled = _cancel_all(floor.core)
    await _flush(floor)
    return Json([{"id": name, "status": 200} for name in canceled], 207)


def _cancel_all(core: Core, instrument: int | None = None) -> list[str]:
    names = [o.id for o in core.open_orders() if instrument in (None, o.request.instrument)]
    for name in names:
        core.cancel(name)
    return names


# -- account and positions ------------------------------------------------------------


def _money(value: float) -> str:
    return number(round(value, 4))


async def get_account(request: Request, floor: Floor) -> Any:
    """``GET /v2/account``."""
    core = floor.core
    core.settle(floor.sent)
    cash, equity, power = core.cash(), core.equity(), core.buying_power()
    longs, shorts = core.market_value(1), core.market_value(-1)
    return {
        "id": make_id("account"),
        "account_number": "SIM000001",
        "status": "ACTIVE",
        "crypto_status": "ACTIVE",
        "currency": "USD",
        "cash": _money(cash),
        "equity": _money(equity),
        "last_equity": _money(core.opening_cash),
        "portfolio_value": _money(equity),
        "buying_power": _money(power),
        "regt_buying_power": _money(power),
        "effective_buying_power": _money(power),
        "non_marginable_buying_power": _money(cash),
        "options_buying_power": "0",
        "multiplier": number(core.engine.venue.multiplier),
        "initial_margin": _money(0.5 * (longs - shorts)),
        "maintenance_margin": _money(0.3 * (longs - shorts)),
        "last_maintenance_margin": "0",
        "sma": "0",
        "long_market_value": _money(longs),
        "short_market_value": _money(shorts),
        "position_market_value": _money(longs - shorts),
        "accrued_fees": "0",
        "shorting_enabled": True,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": False,
        "created_at": stamp(floor.market.start),
    }


def _position(core: Core, k: int) -> dict[str, Any]:
    instrument, qty, price = core.market.data.instruments[k], core.position(k), core.price(k)
    entry = float(core.engine.account[k]["avg_px"])
    value, basis = qty * price, qty * entry
    held = sum(abs(o.leaves) for o in core.open_orders() if o.request.instrument == k and o.leaves * qty < 0)
    gain = value - basis
    return {
        "asset_id": make_id("asset", instrument.symbol),
        "symbol": instrument.symbol,
        "exchange": "NYSE",
        "asset_class": "crypto" if "/" in instrument.symbol else "us_equity",
        "asset_marginable": True,
        "qty": number(qty),
        "qty_available": number((abs(qty) - held) * (1 if qty > 0 else -1)),
        "side": "long" if qty > 0 else "short",
        "avg_entry_price": number(entry),
        "market_value": _money(value),
        "cost_basis": _money(basis),
        "unrealized_pl": _money(gain),
        "unrealized_plpc": _money(gain / abs(basis) if basis else 0.0),
        "unrealized_intraday_pl": _money(gain),
        "unrealized_intraday_plpc": _money(gain / abs(basis) if basis else 0.0),
        "current_price": number(price),
        "lastday_price": number(entry),
        "change_today": "0",
    }


def _instrument(floor: Floor, name: str) -> int:
    for k, instrument in enumerate(floor.market.data.instruments):
        if name in (instrument.symbol, make_id("asset", instrument.symbol)):
            return k
    raise Refusal(404, NOT_FOUND, f"asset not found for {name}")


async def get_positions(request: Request, floor: Floor) -> Any:
    """``GET /v2/positions``."""
    floor.core.settle(floor.sent)
    count = len(floor.market.data.instruments)
    return [_position(floor.core, k) for k in range(count) if floor.core.position(k)]


def _held(request: Request, floor: Floor) -> int:
    floor.core.settle(floor.sent)
    k = _instrument(floor, request.path_params["symbol"])
    if not floor.core.position(k):
        raise Refusal(404, NOT_FOUND, "position does not exist")
    return k


async def get_position(request: Request, floor: Floor) -> Any:
    """``GET /v2/positions/{symbol}``."""
    return _position(floor.core, _held(request, floor))


def _close_position(floor: Floor, k: int, qty: str) -> dict[str, Any]:
    side = "sell" if floor.core.position(k) > 0 else "buy"
    symbol, tif = floor.market.symbols[k], "gtc" if floor.market.pairs else "day"
    return floor.core.submit({"symbol": symbol, "qty": qty, "side": side, "type": "market", "time_in_force": tif})


async def delete_position(request: Request, floor: Floor) -> Any:
    """``DELETE /v2/positions/{symbol}``: a market order for all of it, or for ``qty`` or ``percentage`` of it."""
    await floor.warmed.wait()
    k, q = _held(request, floor), request.query_params
    if "qty" in q and "percentage" in q:
        raise Refusal(422, INVALID, "only one of qty or percentage is accepted")
    qty = q.get("qty", number(abs(floor.core.position(k))))
    if "percentage" in q:
        qty = number(abs(floor.core.position(k)) * float(whole_number(request, "percentage", 100, 1, 100)) / 100.0)
    order = _close_position(floor, k, qty)
    await _flush(floor)
    return order


async def delete_positions(request: Request, floor: Floor) -> Any:
    """``DELETE /v2/positions``: a market order for each; with ``cancel_orders=true`` working orders go first."""
    await floor.warmed.wait()
    core = floor.core
    core.settle(floor.sent)
    if request.query_params.get("cancel_orders", "").lower() == "true":
        _cancel_all(core)
    answers = []
    for k, symbol in enumerate(floor.market.symbols):
        if core.position(k):
            try:
                order = _close_position(floor, k, number(abs(core.position(k))))
                answers.append({"symbol": symbol, "status": 200, "body": order})
            except Refusal as refusal:
                answers.append({"symbol": symbol, "status": refusal.status, "body": refusal.body})
    await _flush(floor)
    return Json(answers, 207)


# -- clock, calendar, assets ------------------------------------------------------------


def _eastern(ts: int) -> str:
    """RFC 3339 with New York's offset, as the venue's clock writes it."""
    seconds, fraction = divmod(ts, 1_000_000_000)
    local = datetime.datetime.fromtimestamp(seconds, _NEW_YORK)
    digits = f".{fraction:09d}".rstrip("0").rstrip(".")
    return f"{local:%Y-%m-%dT%H:%M:%S}{digits}{local.isoformat()[-6:]}"


def _calendar(floor: Floor) -> str:
    return floor.market.data.instruments[0].session


async def get_clock(request: Request, floor: Floor) -> Any:
    """``GET /v2/clock``."""
    now, exchange = floor.now + (0 if floor.thrower is None else floor.thrower.skew), _calendar(floor)
    today = datetime.datetime.fromtimestamp(
        now // 1_000_000_000, _NEW_YORK if exchange != "24/7" else datetime.UTC
    ).date()
    current = session(today, exchange)
    later: Session = next_session(today, exchange)
    ahead = current if current is not None and now < current.close else later
    is_open = ahead.open <= now
    return {
        "timestamp": _eastern(now),
        "is_open": is_open,
        "next_open": _eastern(later.open if is_open else ahead.open),
        "next_close": _eastern(ahead.close),
    }


async def get_calendar(request: Request, floor: Floor) -> Any:
    """``GET /v2/calendar``: by default a year from the exchange's day on."""
    today = datetime.datetime.fromtimestamp(floor.now // 1_000_000_000, _NEW_YORK).date()
    q = request.query_params
    try:
        start = datetime.date.fromisoformat(q["start"][:10]) if "start" in q else today
        end = datetime.date.fromisoformat(q["end"][:10]) if "end" in q else start + datetime.timedelta(days=365)
        days = sessions(start, end, _calendar(floor))
    except (ValueError, ConfigError) as error:
        raise Refusal(422, INVALID, f"invalid start or end: {error}") from None
    return [_day(day) for day in days]


def _day(day: Session) -> dict[str, str]:
    at = [
        datetime.datetime.fromtimestamp(ts // 1_000_000_000, _NEW_YORK)
        for ts in (day.open, day.close, day.pre_open, day.post_close)
    ]
    return {
        "date": day.date.isoformat(),
        "open": f"{at[0]:%H:%M}",
        "close": f"{at[1]:%H:%M}",
        "session_open": f"{at[2]:%H%M}",
        "session_close": f"{at[3]:%H%M}",
        "settlement_date": next_session(day.date).date.isoformat(),
    }


def _asset(instrument: Instrument) -> dict[str, Any]:
    return {
        "id": make_id("asset", instrument.symbol),
        "class": "crypto" if "/" in instrument.symbol else "us_equity",
        "exchange": "NYSE",
        "symbol": instrument.symbol,
        "name": instrument.symbol,
        "status": "active",
        "tradable": True,
        "marginable": True,
        "maintenance_margin_requirement": "30",
        "shortable": instrument.shortable,
        "easy_to_borrow": instrument.shortable,
        "fractionable": instrument.fractionable,
        "attributes": [],
    }


async def get_assets(request: Request, floor: Floor) -> Any:
    """``GET /v2/assets``."""
    return [_asset(instrument) for instrument in floor.market.data.instruments]


async def get_asset(request: Request, floor: Floor) -> Any:
    """``GET /v2/assets/{symbol}``."""
    return _asset(floor.market.data.instruments[_instrument(floor, request.path_params["symbol"])])


ROUTES = [
    Route("/v2/orders", guarded(post_order), methods=["POST"]),
    Route("/v2/orders", guarded(get_orders), methods=["GET"]),
    Route("/v2/orders", guarded(delete_orders), methods=["DELETE"]),
    Route("/v2/orders:by_client_order_id", guarded(get_order_by_client_id), methods=["GET"]),
    Route("/v2/orders/{id}", guarded(get_order), methods=["GET"]),
    Route("/v2/orders/{id}", guarded(patch_order), methods=["PATCH"]),
    Route("/v2/orders/{id}", guarded(delete_order), methods=["DELETE"]),
    Route("/v2/account", guarded(get_account), methods=["GET"]),
    Route("/v2/positions", guarded(get_positions), methods=["GET"]),
    Route("/v2/positions", guarded(delete_positions), methods=["DELETE"]),
    Route("/v2/positions/{symbol:path}", guarded(get_position), methods=["GET"]),
    Route("/v2/positions/{symbol:path}", guarded(delete_position), methods=["DELETE"]),
    Route("/v2/clock", guarded(get_clock), methods=["GET"]),
    Route("/v2/calendar", guarded(get_calendar), methods=["GET"]),
    Route("/v2/assets", guarded(get_assets), methods=["GET"]),
    Route("/v2/assets/{symbol:path}", guarded(get_asset), methods=["GET"]),
]
