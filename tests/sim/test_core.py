"""The exchange's books: what an order goes through, and what trade_updates says of it; no sockets."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from mdslib.sim.core import Core
from mdslib.sim.log import RunLog, read_orders
from mdslib.sim.market import Market
from mdslib.sim.options import SimOptions
from mdslib.sim.orders import Refusal
from mdslib.table import MarketData

from .days import CLOSE, MS, OPEN, day_of, steps


class Floor:
    """A core whose time a test moves by hand."""

    def __init__(self, data: MarketData, log_dir: Path | None = None, **options: Any) -> None:
        self.market = Market(data)
        self.core = Core(self.market, SimOptions(**options), RunLog(log_dir, self.market.symbols))
        self.sent = 0

    def advance(self, count: int = 1) -> None:
        """Let the next `count` events happen."""
        self.sent += count
        self.core.now = int(self.market.ts[self.sent - 1])
        self.core.on_market(self.sent)

    def submit(self, side: str = "buy", qty: Any = 1, limit: Any = None, **more: Any) -> dict[str, Any]:
        self.core.settle(self.sent)
        kind = {"type": "market"} if limit is None else {"type": "limit", "limit_price": limit}
        return self.core.submit({"symbol": "SPY", "side": side, "qty": qty, "time_in_force": "day"} | kind | more)

    def refusal(self, *args: Any, **more: Any) -> dict[str, Any]:
        with pytest.raises(Refusal) as refusal:
            self.submit(*args, **more)
        return {"status": refusal.value.status} | refusal.value.body

    def status(self, order: dict[str, Any]) -> dict[str, Any]:
        return self.core.order(order["id"]).to_json()

    def updates(self) -> list[dict[str, Any]]:
        outbox, self.core.outbox = self.core.outbox, []
        return [json.loads(body)["data"] for body in outbox]


def prices(*values: float, every_ms: float = 10) -> MarketData:
    return day_of(*((every_ms * (i + 1), "SPY", price, 100) for i, price in enumerate(values)))


def test_market_order_goes_pending_new_new_fill_with_the_positions_after_it() -> None:
    floor = Floor(prices(10, 11, 12), fee_per_share=0.5)
    floor.advance()
    answer = floor.submit(qty=4)
    assert (answer["status"], answer["filled_qty"], answer["filled_avg_price"]) == ("pending_new", "0", None)
    floor.advance()
    pending, new, fill = floor.updates()
    assert [pending["event"], new["event"], fill["event"]] == ["pending_new", "new", "fill"]
    assert pending["execution_id"] is None
    assert (fill["price"], fill["qty"], fill["position_qty"]) == ("11", "4", "4")
    assert (fill["order"]["status"], fill["order"]["filled_qty"], fill["order"]["filled_avg_price"]) == (
        "filled",
        "4",
        "11",
    )
    assert floor.core.cash() == 100_000 - 4 * 11 - 2.0


def test_limit_buy_rests_until_the_price_reaches_it() -> None:
    floor = Floor(prices(10, 10, 9.5, 9))
    floor.advance()
    floor.submit(limit="9.5", time_in_force="gtc")
    floor.advance()
    assert [update["event"] for update in floor.updates()] == ["pending_new", "new"]
    floor.advance()
    assert [(update["event"], update["price"]) for update in floor.updates()] == [("fill", "9.5")]


def test_ioc_gets_one_chance_and_is_canceled_without_an_execution() -> None:
    floor = Floor(prices(10, 10, 9))
    floor.advance()
    floor.submit(limit="9.5", time_in_force="ioc")
    floor.advance()
    canceled = floor.updates()[-1]
    assert (canceled["event"], canceled["execution_id"], canceled["order"]["status"]) == ("canceled", None, "canceled")
    assert canceled["order"]["canceled_at"] == "2013-10-08T13:30:00.02Z"


def test_partial_fills_carry_this_execution_and_the_cumulative_order() -> None:
    floor = Floor(prices(*([10.0] * 400)), rules="alpaca")
    floor.advance()
    fills: list[dict[str, Any]] = []
    for _ in range(60):
        order = floor.submit(qty=20)
        while floor.core.order(order["id"]).leaves:
            floor.advance()
        fills += [update for update in floor.updates() if update["execution_id"]]
    partial = next(update for update in fills if update["event"] == "partial_fill")
    rest = fills[fills.index(partial) + 1]
    assert partial["order"]["status"] == "partially_filled"
    assert partial["order"]["filled_qty"] == partial["qty"]
    assert int(partial["qty"]) + int(rest["qty"]) == 20
    assert rest["order"]["id"] == partial["order"]["id"]
    assert rest["order"]["filled_qty"] == "20"
    assert len({update["execution_id"] for update in fills}) == len(fills)


def test_cancel_ends_a_working_order_once() -> None:
    floor = Floor(prices(10, 10))
    floor.advance()
    order = floor.submit(limit=9)
    floor.core.cancel(order["id"])
    assert floor.updates()[-1]["event"] == "canceled"
    with pytest.raises(Refusal) as refusal:
        floor.core.cancel(order["id"])
    assert refusal.value.body == {"code": 42210000, "message": 'order is already in "canceled" state'}
    with pytest.raises(Refusal, match="order not found for nobody"):
        floor.core.cancel("nobody")


def test_day_orders_expire_and_gtc_orders_stay() -> None:
    floor = Floor(prices(10))
    floor.advance()
    floor.submit(limit=9)
    kept = floor.submit(limit=9, time_in_force="gtc")
    floor.core.expire(CLOSE)
    assert floor.updates()[-1]["order"]["expired_at"] == "2013-10-08T20:00:00Z"
    assert [order.id for order in floor.core.open_orders()] == [kept["id"]]


def test_an_ioc_order_without_an_event_is_canceled_at_the_close() -> None:
    floor = Floor(prices(10))
    floor.advance()
    floor.submit(time_in_force="ioc")
    floor.core.expire(CLOSE)
    assert floor.updates()[-1]["event"] == "canceled"
    assert floor.core.open_orders() == []


@pytest.mark.parametrize("late", [0, 1, 5_000 * MS])
@pytest.mark.parametrize("tif", ["day", "gtc", "ioc"])
def test_an_order_at_the_close_or_later_is_queued_for_the_next_session(tif: str, late: int) -> None:
    floor = Floor(prices(10))
    floor.advance()
    floor.core.now = CLOSE
    floor.core.expire(CLOSE)
    floor.core.now = CLOSE + late
    answer = floor.submit(time_in_force=tif)
    (told,) = floor.updates()
    assert (answer["status"], told["event"], told["order"]["status"]) == ("accepted", "accepted", "accepted")
    assert [order.to_json()["status"] for order in floor.core.open_orders()] == ["accepted"]
    floor.core.cancel(answer["id"])
    assert (floor.updates()[-1]["event"], floor.core.open_orders()) == ("canceled", [])


def test_a_queued_order_is_new_at_the_open_and_fills_after_it() -> None:
    early, opening = -60_000.0, 1.0
    floor = Floor(
        day_of((early, "SPY", 10.0, 1), (early + 1000, "SPY", 9.0, 1), (opening, "SPY", 11.0, 1), (5, "SPY", 12.0, 1))
    )
    floor.advance()
    order = floor.submit()
    gone = floor.submit()
    floor.core.cancel(gone["id"])
    floor.advance()
    assert [update["event"] for update in floor.updates()] == ["accepted", "accepted", "canceled"]
    floor.advance()
    floor.advance()
    pending, new, fill = floor.updates()
    assert [pending["event"], new["event"], fill["event"]] == ["pending_new", "new", "fill"]
    assert (new["timestamp"], new["order"]["status"]) == ("2013-10-08T13:30:00Z", "new")
    assert (fill["price"], fill["order"]["id"]) == ("12", order["id"])


def test_an_order_for_extended_hours_works_outside_the_session_until_the_days_end() -> None:
    after = (CLOSE - OPEN) / MS + 1000
    floor = Floor(day_of((10, "SPY", 10.0, 1), (after, "SPY", 10.0, 1), (after + 1000, "SPY", 8.0, 1)))
    floor.advance()
    low = floor.submit(limit=5, extended_hours=True)
    floor.core.now = CLOSE
    floor.core.expire(CLOSE)
    floor.advance()
    late = floor.submit(limit=9, extended_hours=True)
    assert late["status"] == "pending_new"
    floor.advance()
    floor.core.finish()
    assert [order["status"] for order in map(floor.status, (low, late))] == ["expired", "filled"]


def test_alpaca_refuses_what_buying_power_does_not_cover() -> None:
    floor = Floor(prices(100, 100), rules="alpaca", cash=1000)
    floor.advance()
    assert floor.refusal(qty=50) == {
        "status": 403,
        "code": 40310000,
        "message": "insufficient buying power",
        "buying_power": "4000",
        "cost_basis": "5000",
    }


def test_alpaca_refuses_a_wash_trade_and_names_the_order() -> None:
    floor = Floor(prices(100, 100), rules="alpaca")
    floor.advance()
    floor.submit(qty=10)
    floor.advance()
    resting = floor.submit("sell", 5, limit=101)
    assert floor.refusal(qty=1) == {
        "status": 403,
        "code": 40310000,
        "message": "potential wash trade detected. use complex orders",
        "existing_order_id": resting["id"],
        "reject_reason": "opposite side market/stop order exists",
    }


def test_alpaca_refuses_a_flip_and_an_oversell_and_says_what_is_available() -> None:
    floor = Floor(prices(100, 100, 100), rules="alpaca", seed=1)
    floor.advance()
    floor.submit(qty=9, client_order_id="entry")
    while floor.core.position(0) < 9:
        floor.advance()
    resting = floor.submit("sell", 9, limit=150)
    assert floor.refusal("sell", 9) == {
        "status": 403,
        "code": 40310000,
        "message": "insufficient qty available for order (requested: 9, available: 0)",
        "available": "0",
        "existing_qty": "9",
        "held_for_orders": "9",
        "related_orders": [resting["id"]],
        "symbol": "SPY",
    }
    floor.core.cancel(resting["id"])
    assert floor.refusal("sell", 10)["message"] == "insufficient qty available for order (requested: 10, available: 9)"


def test_an_order_that_takes_another_s_place_is_checked_like_any_and_where_it_is_refused_the_other_works_on() -> None:
    data = prices(100, 100, 100, 100)
    spy, bac = data.instruments
    floor = Floor(
        dataclasses.replace(data, instruments=(dataclasses.replace(spy, shortable=False), bac)), rules="alpaca"
    )
    floor.advance()
    floor.submit(qty=9)
    floor.advance()
    resting = floor.submit("sell", 5, limit=150)
    for qty, why in (("10", "insufficient qty available for order (requested: 10, available: 4)"), ("4", "")):
        if not why:
            floor.core.engine.account["position"][0] = 0.0  # sold by somebody else meanwhile
            why = 'asset "SPY" cannot be sold short'
        with pytest.raises(Refusal) as refusal:
            floor.core.replace(resting["id"], {"qty": qty})
        assert refusal.value.body["message"] == why
        assert floor.status(resting)["status"] == "new"
        assert floor.core.engine.books.count[0] == 1, "it is in the books once"
    floor.core.cancel(resting["id"])
    assert floor.core.engine.books.count[0] == 0


def test_permissive_rules_let_a_flip_through() -> None:
    floor = Floor(prices(100, 100, 100))
    floor.advance()
    floor.submit(qty=1)
    floor.advance()
    floor.submit("sell", 3)
    floor.advance()
    assert floor.core.position(0) == -2
    assert floor.core.equity() == 100_000


def test_events_that_were_not_needed_for_matching_still_move_the_last_price() -> None:
    floor = Floor(prices(100, 101, 102))
    floor.advance(3)
    floor.core.settle(3)
    assert floor.core.price(0) == 102


def test_orders_jsonl_tells_each_order_its_events_and_the_refusals(tmp_path: Path) -> None:
    floor = Floor(prices(10, 11), log_dir=tmp_path)
    floor.advance()
    floor.submit(client_order_id="one")
    floor.refusal(client_order_id="one")
    floor.advance()
    floor.core.log.close()
    (order,) = read_orders(tmp_path)
    assert (order["client_order_id"], order["status"], order["filled_avg_price"]) == ("one", "filled", "11")
    assert [event["event"] for event in order["events"]] == ["pending_new", "new", "fill"]
    assert order["events"][-1]["ts"] == OPEN + 20 * MS
    assert '"event":"refused"' in (tmp_path / "orders.jsonl").read_text()


def test_ids_depend_on_seed_and_number_alone() -> None:
    def first_id(seed: int) -> str:
        floor = Floor(steps(2), seed=seed)
        floor.advance()
        return str(floor.submit()["id"])

    assert first_id(1) == first_id(1) != first_id(2)
