"""The broker against the local exchange: orders go out, fills come back as updates, and both agree."""

from __future__ import annotations

import math
import queue
import threading

import httpx
import numpy as np
import pytest

from mdslib.brokers.alpaca import AlpacaBroker
from mdslib.calendar import session
from mdslib.errors import OrderRejected
from mdslib.events import Kind, Status, TimeInForce
from mdslib.instruments import Instrument
from mdslib.protocols import NewOrder
from mdslib.sim import Exchange
from mdslib.table import MarketData, from_columns

DAY = session("2013-10-08")
DAY_ORDER = TimeInForce.DAY


@pytest.fixture
def exchange():
    rows = 5_000
    table = from_columns(
        Kind.TRADE,
        {"ts_event": DAY.open + np.arange(rows) * 10**7, "price": np.full(rows, 165.5), "size": np.full(rows, 100)},
    )
    data = MarketData((Instrument("SPY"),), (table,), (DAY,))
    with Exchange(data, mode="real", in_process=True, wait_for_client=False) as running:
        yield running


@pytest.fixture
def broker(exchange):
    ours = AlpacaBroker(exchange.trade_url)
    yield ours
    ours.close()


@pytest.fixture
def updates(broker):
    """Run the order stream in a thread; gives a queue of updates."""
    came: queue.Queue = queue.Queue()
    ready = threading.Event()
    thread = threading.Thread(target=broker.stream, args=(came.put, ready.set))
    thread.start()
    assert ready.wait(120)
    yield came
    broker.close()
    thread.join(120)
    assert not thread.is_alive()


def until(updates, event):
    while True:
        update = updates.get(timeout=60)
        if update.event == event:
            return update


def test_market_order_fills_and_everything_agrees(broker, updates):
    before = broker.account()
    state = broker.submit(NewOrder("c1", "SPY", -5.0, math.nan, DAY_ORDER))
    assert (state.client_order_id, state.qty) == ("c1", -5.0)
    fill = until(updates, "fill")
    assert (fill.order.client_order_id, fill.last_qty, fill.last_px, fill.position_qty) == ("c1", -5.0, 165.5, -5.0)
    assert broker.positions()["SPY"][1:] == (-5.0, 165.5)
    assert broker.account().cash == pytest.approx(before.cash + 5 * 165.5)
    after = broker.order("c1")
    assert (after.status, after.filled_qty, after.leaves_qty) == (Status.FILLED, -5.0, 0.0)
    assert [order.client_order_id for order in broker.orders_since(0)] == ["c1"]


def test_limit_order_rests_and_is_canceled(broker, updates):
    state = broker.submit(NewOrder("c1", "SPY", 5.0, 100.0, DAY_ORDER))
    assert [order.client_order_id for order in broker.open_orders()] == ["c1"]
    broker.cancel(state.venue_order_id)
    assert until(updates, "canceled").order.status == Status.CANCELED
    assert broker.open_orders() == []


def test_same_order_sent_again_is_found_and_not_doubled(broker, updates):
    order = NewOrder("c1", "SPY", 5.0, 100.0, DAY_ORDER)
    assert broker.submit(order).venue_order_id == broker.submit(order).venue_order_id
    assert len(broker.open_orders()) == 1
    assert broker.cancel_all() == 1


def test_an_order_that_somebody_replaces_is_followed_under_its_own_id(broker, updates, exchange):
    first = broker.submit(NewOrder("c1", "SPY", 5.0, 100.0, DAY_ORDER))
    with httpx.Client(
        base_url=exchange.trade_url, headers={"APCA-API-KEY-ID": "K", "APCA-API-SECRET-KEY": "S"}
    ) as http:
        second = http.patch(f"/v2/orders/{first.venue_order_id}", json={"limit_price": "101"}).json()
        third = http.patch(f"/v2/orders/{second['id']}", json={"limit_price": "170", "qty": "3"}).json()
    gone = until(updates, "replaced").order
    assert (gone.client_order_id, gone.status, gone.replaced_by) == ("c1", Status.REPLACED, second["id"])
    update = until(updates, "fill")
    assert (update.order.venue_order_id, update.order.replaces) == (third["id"], second["id"])
    state = broker.order("c1")
    assert (state.client_order_id, state.venue_order_id, state.status) == ("c1", third["id"], Status.FILLED)
    assert (state.qty, state.filled_qty, state.avg_px, state.leaves_qty) == (3.0, 3.0, 165.5, 0.0)


def test_unknown_symbol_is_rejected_with_the_venue_s_words(broker):
    with pytest.raises(OrderRejected, match=r"order c1 \(\+5 ZZZZ\) was rejected: HTTP (404|422)"):
        broker.submit(NewOrder("c1", "ZZZZ", 5.0, math.nan, DAY_ORDER))


def test_clock_and_unknown_order(broker):
    clock = broker.clock()
    assert DAY.open - 10**10 <= clock.now <= DAY.close
    assert broker.order("nobody") is None
