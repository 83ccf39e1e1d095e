"""alpaca-py's and cpquant's own clients, unchanged but for their addresses, over real sockets to another process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mdslib.sim import Exchange

from .days import steps

pytestmark = pytest.mark.filterwarnings("ignore:websockets.legacy is deprecated:DeprecationWarning")  # by alpaca-py


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    """An exchange in a process of its own: two seconds of trades, a millisecond apart."""
    with Exchange(steps(2000, every_ms=1), mode="fast", speed=1.0, settle=0.3) as running:
        yield running


def test_alpaca_trading_client_and_stream(exchange: Exchange) -> None:
    from alpaca.common.exceptions import APIError
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import OrderSide, QueryOrderStatus, TimeInForce
    from alpaca.trading.requests import GetCalendarRequest, GetOrdersRequest, LimitOrderRequest, MarketOrderRequest
    from alpaca.trading.stream import TradingStream

    heard: list[Any] = []
    filled = threading.Event()

    async def note(update: Any) -> None:
        heard.append(update)
        if update.event == "fill":
            filled.set()

    stream = TradingStream("K", "S", url_override=exchange.stream_url)
    stream.subscribe_trade_updates(note)
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    wait_until(lambda: stream._running)
    client = TradingClient("K", "S", url_override=exchange.trade_url)
    assert client.get_account().cash == "100000"
    assert client.get_clock().is_open is True
    assert client.get_asset("SPY").tradable is True
    assert len(client.get_calendar(GetCalendarRequest(start="2013-10-07", end="2013-10-11"))) == 5  # type: ignore[arg-type]
    resting = client.submit_order(
        LimitOrderRequest(symbol="SPY", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, limit_price=1.0)
    )
    client.cancel_order_by_id(resting.id)
    with cpquant_socket(exchange) as socket:
        socket.subscribe_trades(["SPY"])
        bought = client.submit_order(
            MarketOrderRequest(
                symbol="SPY", qty=5, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, client_order_id="mine"
            )
        )
        assert filled.wait(120)
    stream.stop()
    thread.join(120)
    assert client.get_order_by_client_id("mine").filled_qty == "5"
    assert client.get_open_position("SPY").qty == "5"
    assert [p.symbol for p in client.get_all_positions()] == ["SPY"]
    closed = client.get_orders(GetOrdersRequest(status=QueryOrderStatus.CLOSED))
    assert {order.id for order in closed} == {resting.id, bought.id}
    fill = next(update for update in heard if update.event == "fill")
    assert (fill.qty, fill.position_qty, fill.order.client_order_id) == (5.0, 5.0, "mine")
    with pytest.raises(APIError, match="client_order_id must be unique"):
        client.submit_order(
            MarketOrderRequest(
                symbol="SPY", qty=5, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, client_order_id="mine"
            )
        )


def wait_until(done: Callable[[], bool]) -> None:
    """Give a client's thread time to connect, where it has no sign of its own."""
    waiting = threading.Event()
    for _ in range(1000):
        if done():
            return
        waiting.wait(0.02)
    raise AssertionError("the client did not connect in 20 s")


class cpquant_socket:
    """cpquant's AlpacaRealtimeClient, its fixed address replaced by the exchange's."""

    def __init__(self, exchange: Exchange, feed: str = "iex") -> None:
        self.url = exchange.feed_url(feed)

    def __enter__(self) -> Any:
        import cpquant.data
        from websockets.sync.client import connect

        url = self.url
        patch = pytest.MonkeyPatch()
        patch.setenv("ALPACA_DATA_PUBLIC_KEY", "K")
        patch.setenv("ALPACA_DATA_SECRET_KEY", "S")
        patch.setattr(cpquant.data.websockets.sync.client, "connect", lambda _: connect(url))
        try:
            self.client = cpquant.data.AlpacaRealtimeClient()
        finally:
            patch.undo()
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client.close()


def test_cpquant_realtime_client_listens_without_waiting_for_replies(
    exchange: Exchange, capsys: pytest.CaptureFixture[str]
) -> None:
    messages: list[dict[str, Any]] = []

    def handle(frame: str) -> None:
        messages.extend(json.loads(frame))
        if len([m for m in messages if m["T"] == "t"]) == 2000:
            raise StopIteration

    with cpquant_socket(exchange) as client:
        client.subscribe_bars(["SPY"], "1Min")
        client.subscribe_trades(["SPY"])
        client.listen(handle)
    assert [m.get("msg") for m in messages[:2]] == ["connected", "authenticated"]
    assert [m["T"] for m in messages[2:4]] == ["subscription", "subscription"]
    assert [m["i"] for m in messages if m["T"] == "t"] == list(range(1, 2001))
    assert "Error receiving message" in capsys.readouterr().out


def test_alpaca_historical_client_pages_through_all_rows() -> None:
    from datetime import UTC, datetime

    from alpaca.data.historical import StockHistoricalDataClient
    from alpaca.data.requests import StockBarsRequest, StockTradesRequest
    from alpaca.data.timeframe import TimeFrame

    span = {"start": datetime(2013, 10, 8, 13, 30, tzinfo=UTC), "end": datetime(2013, 10, 8, 20, tzinfo=UTC)}
    with Exchange(steps(12_000, every_ms=10), in_process=True, history="all") as exchange:
        client = StockHistoricalDataClient("K", "S", url_override=exchange.url)
        trades = client.get_stock_trades(StockTradesRequest(symbol_or_symbols=["SPY"], **span))
        bars = client.get_stock_bars(StockBarsRequest(symbol_or_symbols="SPY", timeframe=TimeFrame.Minute, **span))
        empty = client.get_stock_trades(StockTradesRequest(symbol_or_symbols="BAC", **span))
    assert [trade.id for trade in trades["SPY"]] == list(range(1, 12_001))
    assert [bar.volume for bar in bars["SPY"]] == [sum(range(1, 6000)), sum(range(6000, 12_000)), 12_000]
    assert empty.data.get("BAC", []) == []


def test_process_ends_with_the_exchange_and_a_used_port_is_one_clear_error() -> None:
    with Exchange(steps(1)) as first:
        child = first._runner._child  # type: ignore[union-attr]
        with pytest.raises(
            Exception,
            match=f"sim option port: 127.0.0.1:{first.port} can't be used \\(Address already in use\\); choose another",
        ):
            Exchange(steps(1), port=first.port).start()
    assert child.poll() == 0


_FORKED = """
import multiprocessing
from mdslib.sim import Exchange, warm_core
from tests.sim.days import DataClient, steps
warm_core("permissive")
with Exchange(steps(3), forked=True) as exchange:
    client = DataClient(exchange)
    client.login()
    client.subscribe(trades=["*"])
    print([message["s"] for message in client.take(3)])
    try:
        Exchange(steps(1), forked=True, port=exchange.port).start()
    except Exception as error:
        print(error)
print(multiprocessing.active_children())
"""


def test_a_forked_exchange_plays_and_ends_with_its_block() -> None:
    """In a process of its own: this one has threads, and a fork would inherit their locks."""
    ran = subprocess.run([sys.executable, "-c", _FORKED], capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    trades, error, children = ran.stdout.splitlines()
    assert trades == "[1, 2, 3]"
    assert error.startswith("sim option port: 127.0.0.1:")
    assert error.endswith("can't be used (Address already in use); choose another, or 0 for a free one")
    assert children == "[]"
