# ruff: noqa: E501 (messages are kept on one line, as the venue sends them)
"""Order calls: each answer of the venue is one clear outcome, and nothing is ever sent twice."""

from __future__ import annotations

import json
import logging
import math
import statistics
import time

import pytest

from mdslib.brokers.alpaca import AlpacaBroker
from mdslib.errors import BrokerError, ConfigError, CredentialError, OrderRejected, OutcomeUnknown
from mdslib.events import Status, TimeInForce
from mdslib.feeds.rfc3339 import to_ns
from mdslib.protocols import NewOrder

KEY, SECRET = "PKtestkey0000000000", "secret-that-must-never-be-seen"
ORDER = {
    "id": "61e69015-8549-4bfd-b9c3-01e75843f47d", "client_order_id": "c1", "symbol": "SPY", "side": "buy", "qty": "5",
    "filled_qty": "0", "filled_avg_price": None, "status": "pending_new", "submitted_at": "2026-01-05T09:31:00.5-05:00",
    "updated_at": None, "type": "market",
}  # fmt: skip
BUY = NewOrder("c1", "SPY", 5.0, math.nan, TimeInForce.DAY)


@pytest.fixture
def broker(host):
    ours = AlpacaBroker(host.url, timeout=0.5)
    yield ours
    ours.close()


def test_market_order_goes_out_with_cpquant_s_keys_and_comes_back_as_a_state(host, broker):
    host.add(ORDER)
    state = broker.submit(BUY)
    (asked,) = host.asked
    assert (asked.method, asked.path) == ("POST", "/v2/orders")
    assert asked.body == {"symbol": "SPY", "qty": 5.0, "side": "buy", "type": "market", "time_in_force": "day", "client_order_id": "c1"}  # fmt: skip
    assert (asked.headers["APCA-API-KEY-ID"], asked.headers["APCA-API-SECRET-KEY"]) == (KEY, SECRET)
    assert (state.status, state.qty, state.filled_qty, state.leaves_qty) == (Status.PENDING_NEW, 5.0, 0.0, 5.0)
    assert math.isnan(state.avg_px)
    assert state.ts_event == to_ns("2026-01-05T14:31:00.5Z")


@pytest.mark.parametrize("tif", list(TimeInForce))
@pytest.mark.parametrize(("symbol", "qty", "limit"), [("SPY", 5.0, math.nan), ("BRK.B", -0.123456789, 145.55), ("BTC/USD", 2.5, 1e-8), ("SPY", -1e7, 0.1 + 0.2)])  # fmt: skip
def test_what_is_sent_is_what_alpaca_py_sends(host, broker, symbol, qty, limit, tif):
    from alpaca.trading.enums import OrderSide
    from alpaca.trading.enums import TimeInForce as Theirs
    from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

    host.add(ORDER)
    broker.submit(NewOrder("c1", symbol, qty, limit, tif))
    side = OrderSide.BUY if qty > 0 else OrderSide.SELL
    told = "gtc" if symbol == "BTC/USD" and tif is TimeInForce.DAY else tif.name.lower()  # a pair has no DAY orders
    fields = {"symbol": symbol, "qty": abs(qty), "side": side, "time_in_force": Theirs(told), "client_order_id": "c1"}  # fmt: skip
    request = MarketOrderRequest(**fields) if math.isnan(limit) else LimitOrderRequest(**fields, limit_price=round(limit, 9))  # fmt: skip
    host.add(ORDER)
    broker._client.submit_order(request)
    ours, theirs = host.asked
    assert (ours.method, ours.path, ours.query, ours.body) == (theirs.method, theirs.path, theirs.query, theirs.body)
    varying = {"Host", "Connection", "Content-Length", "Accept", "Accept-Encoding"}
    assert {k: v for k, v in ours.headers.items() if k not in varying} == {k: v for k, v in theirs.headers.items() if k not in varying}  # fmt: skip


def test_sell_limit_is_signed_and_its_price_clean(host, broker):
    host.add({**ORDER, "side": "sell", "status": "partially_filled", "filled_qty": "2", "filled_avg_price": "0.3"})
    state = broker.submit(NewOrder("c1", "SPY", -5.0, 0.1 + 0.2, TimeInForce.IOC))
    assert host.asked[0].body["limit_price"] == 0.3
    assert (host.asked[0].body["side"], host.asked[0].body["time_in_force"]) == ("sell", "ioc")
    assert (state.qty, state.filled_qty, state.leaves_qty, state.avg_px) == (-5.0, -2.0, -3.0, 0.3)


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (403, {"code": 40310000, "message": "insufficient buying power"}, "HTTP 403, code 40310000: insufficient buying power"),
        (422, {"code": 42210000, "message": "asset \"TXN\" cannot be sold short"}, "HTTP 422, code 42210000: asset \"TXN\" cannot be sold short"),
        (404, {"code": 40410000, "message": "asset not found for ZZZZ"}, "HTTP 404, code 40410000: asset not found for ZZZZ"),
        (429, {"code": 42910000, "message": "rate limit exceeded"}, "rate limit exceeded; wait for the next minute"),
    ],
)  # fmt: skip
def test_definite_refusal_is_a_rejection_with_the_venue_s_words(host, broker, status, body, says):
    host.add(body, status)
    with pytest.raises(OrderRejected) as caught:
        broker.submit(BUY)
    assert str(caught.value).startswith("order c1 (+5 SPY) was rejected: ")
    assert says in str(caught.value)
    assert caught.value.status == status


@pytest.mark.parametrize("status", [429, 504, 500])
def test_alpaca_py_s_repetition_of_a_post_is_off(host, broker, status):
    host.add({"message": "x"}, status)
    with pytest.raises(BrokerError):
        broker.submit(BUY)
    assert len(host.asked) == 1


@pytest.mark.parametrize(("what", "says"), [("hang", "no answer from .* within 0.5 s"), ("cut", "no answer"), ((504, {}), "HTTP 504"), ((500, b"<html>"), "HTTP 500"), ((408, {}), "HTTP 408"), ((200, b"not json"), "the answer can't be read"), ((200, {"id": 1}), "the answer can't be read")])  # fmt: skip
def test_no_answer_that_can_be_read_leaves_the_outcome_unknown(host, broker, what, says):
    host.queue.append(what)
    begin = time.monotonic()
    with pytest.raises(OutcomeUnknown, match=says) as caught:
        broker.submit(BUY)
    assert "look it up" in str(caught.value)
    assert time.monotonic() - begin < 20
    assert len(host.asked) == 1


def test_order_that_never_left_is_told_apart():
    with pytest.raises(BrokerError, match=r"order c1 \(\+5 SPY\) was not sent: .* can't be reached") as caught:
        AlpacaBroker("http://127.0.0.1:1").submit(BUY)
    assert type(caught.value) is BrokerError


DUPLICATE = {"code": 40010001, "message": "client_order_id must be unique"}


def test_duplicate_id_means_that_it_landed_and_gives_its_state(host, broker):
    host.add(DUPLICATE, 422)
    host.add({**ORDER, "status": "filled", "filled_qty": "5", "filled_avg_price": "165.5"})
    state = broker.submit(BUY)
    assert (state.status, state.filled_qty, state.avg_px, state.leaves_qty) == (Status.FILLED, 5.0, 165.5, 0.0)
    assert host.asked[1].path == "/v2/orders:by_client_order_id"
    assert host.asked[1].query == {"client_order_id": "c1"}


def test_duplicate_id_of_another_order_is_a_rejection(host, broker):
    host.add(DUPLICATE, 422)
    host.add({**ORDER, "side": "sell"})
    with pytest.raises(OrderRejected, match=r"its id belongs to another order \(-5 SPY, PENDING_NEW\)"):
        broker.submit(BUY)


def test_duplicate_id_that_nobody_knows_stays_unknown(host, broker):
    host.add(DUPLICATE, 422)
    host.add({"code": 40410000, "message": "order not found"}, 404)
    with pytest.raises(OutcomeUnknown, match="its id is taken, yet the venue knows no such order"):
        broker.submit(BUY)


@pytest.mark.parametrize(("status", "body"), [(401, {"message": "unauthorized."}), (403, {"message": "forbidden."})])
def test_wrong_key_names_the_variables_and_never_their_values(host, broker, status, body):
    for call in (broker.account, lambda: broker.submit(BUY)):
        host.add(body, status)
        with pytest.raises(CredentialError, match="ALPACA_TRADE_PUBLIC_KEY and ALPACA_TRADE_SECRET_KEY") as caught:
            call()
        assert KEY not in str(caught.value)
        assert SECRET not in str(caught.value)


def test_missing_credentials_are_named(monkeypatch):
    monkeypatch.delenv("ALPACA_TRADE_SECRET_KEY")
    with pytest.raises(CredentialError, match="ALPACA_TRADE_SECRET_KEY must be set"):
        AlpacaBroker("http://127.0.0.1:1")


@pytest.mark.parametrize("url", ["https://api.alpaca.markets", "https://paper-api.alpaca.markets.example.com"])
def test_live_address_is_refused_unless_allowed(url):
    with pytest.raises(ConfigError, match="must be Alpaca's paper host or on this machine, received"):
        AlpacaBroker(url)
    assert repr(AlpacaBroker(url, allow_live=True)) == f"AlpacaBroker({url})"


def test_default_address_is_cpquant_s():
    from cpquant.trade import AlpacaTradeClient

    assert AlpacaBroker().url == AlpacaTradeClient().alpaca_trade_url == "https://paper-api.alpaca.markets"


def test_key_is_never_sent_in_the_clear_to_another_machine():
    with pytest.raises(ConfigError, match="must be encrypted or on this machine"):
        AlpacaBroker("http://paper-api.alpaca.markets")


def test_account_reads_text_numbers_and_says_if_it_is_blocked(host, broker, shared_data):
    body = json.loads((shared_data / "alpaca_rest" / "alpaca-py__get_account__1__get_X_v2_account.json").read_text())
    host.add(body)
    account = broker.account()
    assert (account.account_id, account.cash, account.equity, account.buying_power, account.currency, account.blocked) == ("010203ABCD", -23140.2, 103820.56, 262113.632, "USD", False)  # fmt: skip
    for change in ({"trading_blocked": True}, {"status": "ONBOARDING"}):
        host.add({**body, **change})
        assert broker.account().blocked


def test_account_without_the_fields_that_were_removed_in_2026_is_read(host, broker):
    host.add({"id": "a", "status": "ACTIVE", "cash": "1", "equity": "2", "buying_power": "3"})
    assert broker.account()[:4] == ("a", 1.0, 2.0, 3.0)


def test_positions_are_signed(host, broker):
    host.add([{"symbol": "SPY", "qty": "-5", "side": "short", "avg_entry_price": "165.5"}, {"symbol": "A", "qty": "2", "side": "long", "avg_entry_price": "1"}])  # fmt: skip
    assert [tuple(position) for position in broker.positions().values()] == [("SPY", -5.0, 165.5), ("A", 2.0, 1.0)]


def test_clock_takes_an_offset(host, broker):
    host.add({"timestamp": "2026-01-05T09:31:00.123456789-05:00", "is_open": True, "next_open": "2026-01-06T09:30:00-05:00", "next_close": "2026-01-05T16:00:00-05:00"})  # fmt: skip
    clock = broker.clock()
    assert (clock.now, clock.is_open) == (to_ns("2026-01-05T14:31:00.123456789Z"), True)
    assert clock.next_close - clock.now == to_ns("2026-01-05T21:00:00Z") - clock.now


def test_answer_that_is_not_as_documented_is_a_clear_error(host, broker):
    host.add({"hello": 1})
    with pytest.raises(BrokerError, match=r"Alpaca account: the answer is not as documented \(KeyError: 'id'\)"):
        broker.account()
    host.add(b"<html>")
    with pytest.raises(BrokerError, match=r"Alpaca clock: .* can't be reached \(JSONDecodeError\)"):
        broker.clock()


def test_unknown_status_does_not_crash_and_its_text_is_kept(host, broker):
    host.add({**ORDER, "status": "pondering"})
    assert broker.submit(BUY).status == Status.UNKNOWN
    assert broker.unknown_statuses == {"pondering": 1}


def test_order_that_the_venue_does_not_know_is_none(host, broker):
    host.add({"code": 40410000, "message": "order not found"}, 404)
    host.add(ORDER)
    found = broker.poll(["c0", "c1"])
    assert found["c0"] is None
    assert found["c1"].client_order_id == "c1"


def test_cancel_that_comes_too_late_says_so(host, broker):
    host.add(None, 204)
    broker.cancel("61e69015")
    host.add({"code": 42210000, "message": 'order is already in "filled" state'}, 422)
    with pytest.raises(
        BrokerError, match='Alpaca cancel of 61e69015: HTTP 422, code 42210000: order is already in "fil'
    ) as caught:
        broker.cancel("61e69015")
    assert caught.value.status == 422
    assert [(asked.method, asked.path) for asked in host.asked] == [("DELETE", "/v2/orders/61e69015")] * 2


def test_cancel_all_counts_what_was_taken_on_and_names_the_rest(host, broker, shared_data, caplog):
    host.add(
        json.loads((shared_data / "alpaca_rest" / "alpaca-py__cancel_orders__1__delete_X_v2_orders.json").read_text()),
        207,
    )
    assert broker.cancel_all() == 1
    assert "did not cancel 1 of 2 orders: ['72249bb6-6c89-4ea7-b8cf-73f1a140812b']" in caplog.text


def test_open_orders_are_complete_past_the_page(host, broker):
    def order(number):
        return {
            **ORDER,
            "id": f"v{number}",
            "client_order_id": f"c{number}",
            "submitted_at": f"2026-01-05T14:31:{number // 20:02d}.000001Z",
        }

    host.add([order(number) for number in range(500)])
    host.add([order(number) for number in range(490, 510)])
    assert [state.client_order_id for state in broker.open_orders()] == [f"c{number}" for number in range(510)]
    assert host.asked[1].query["after"] == "2026-01-05T14:31:24.000000Z"
    assert host.asked[1].query["status"] == "open"


def test_calls_share_one_kept_connection(host, broker):
    for _ in range(3):
        host.add(ORDER)
    broker.submit(BUY)
    broker.submit(BUY)
    broker.order("c1")
    assert len(host.connections) == 1


def test_warm_up_opens_connections_before_the_first_order(host, broker):
    host.add({"id": "a", "status": "ACTIVE", "cash": "1", "equity": "2", "buying_power": "3"})
    broker.warm_up()
    host.add(ORDER)
    broker.submit(BUY)
    assert len(host.connections) == 1


def test_order_reaches_the_venue_in_about_a_millisecond_of_ours(host, broker):
    spent = []
    for _ in range(50):
        host.add(ORDER)
        begin = time.perf_counter_ns()
        broker.submit(BUY)
        spent.append((host.asked[-1].came - begin) / 1e6)
    # The server's thread and its parsing are in this figure too, so it is an upper bound; the machine may be shared.
    assert statistics.median(spent) < 5, spent


def test_no_log_level_and_no_repr_shows_the_secret(host, broker, caplog):
    caplog.set_level(logging.DEBUG)
    host.add(ORDER)
    broker.submit(BUY)
    assert SECRET not in caplog.text
    assert SECRET not in repr(broker) + repr(broker.updates)


def test_positions_of_pairs_bear_the_name_of_their_orders_with_or_without_the_slash(host, broker):
    row = {"qty": "0.5", "side": "long", "avg_entry_price": "90000.5"}
    host.add([row | {"symbol": name, "asset_class": "crypto"} for name in ("BTCUSD", "ETH/USDT")])
    assert {name: held.qty for name, held in broker.positions().items()} == {"BTC/USD": 0.5, "ETH/USDT": 0.5}
