# ruff: noqa: E501 - a message stands on one line, as on the wire
"""Frames from the network: records, a count, or an error of ours; never a crash or a half-read record."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.brokers.alpaca_orders import UpdateDecoder
from mdslib.errors import FeedError
from mdslib.events import RECORD, Kind
from mdslib.feeds.alpaca_decode import AlpacaDecoder
from mdslib.feeds.replay import decoder_for

from .mutations import bent, fuzzed

T = "2025-06-12T13:30:00.123456789Z"


def _json(*values: object) -> list[bytes]:
    return [json.dumps(value, separators=(",", ":")).encode() for value in values]


TRADE = {"T": "t", "S": "SPY", "i": 7, "x": "V", "p": 601.25, "s": 100, "t": T, "c": ["@", "I"], "z": "B"}
QUOTE = {"T": "q", "S": "SPY", "bx": "V", "bp": 601.2, "bs": 1, "ax": "V", "ap": 601.3, "as": 2, "t": T, "c": ["R"]}
BAR = {"T": "b", "S": "SPY", "o": 1.5, "h": 2.0, "l": 1.0, "c": 1.5, "v": 900, "t": T, "n": 9, "vw": 1.4}
ALPACA = _json(
    [TRADE],
    [QUOTE],
    [BAR],
    [TRADE] * 3 + [QUOTE],
    [{"T": "c", "S": "SPY", "x": "V", "oi": 7, "op": 1.0, "os": 1, "oc": ["@"], "ci": 8, "cp": 2.0, "cs": 2, "cc": [], "t": T}],
    [{"T": "x", "S": "SPY", "i": 7, "x": "V", "p": 1.0, "s": 1, "a": "C", "z": "B", "t": T}],
    [{"T": "s", "S": "SPY", "sc": "H", "sm": "Halt", "rc": "T1", "rm": "News", "t": T, "z": "B"}],
    [{"T": "l", "S": "SPY", "u": 2.0, "d": 1.0, "i": "B", "t": T, "z": "B"}],
    [{"T": "error", "code": 407, "msg": "slow client"}],
)  # fmt: skip

L2 = {"type": "l2update", "product_id": "BTC-USD", "time": T, "changes": [["buy", "61000.10", "0.50"]]}
VENUES = {
    "coinbase": _json(
        {"type": "subscriptions", "channels": [{"name": "level2", "product_ids": ["BTC-USD"]}]},
        {"type": "snapshot", "product_id": "BTC-USD", "bids": [["61000.10", "0.5"]], "asks": [["61000.20", "0.5"]]},
        L2,
        {"type": "match", "trade_id": 5, "sequence": 9, "product_id": "BTC-USD", "size": "0.1", "price": "61000.1",
         "side": "sell", "time": T},
        {"type": "ticker", "sequence": 9, "product_id": "BTC-USD", "price": "1.5", "best_bid": "1.4", "best_ask": "1.6",
         "side": "buy", "time": T, "trade_id": 5, "last_size": "0.1"},
        {"type": "open", "sequence": 10, "product_id": "BTC-USD", "order_id": "a", "price": "1.5", "remaining_size": "2",
         "side": "buy", "time": T},
    ),
    "coinbase-advanced": _json(
        {"channel": "l2_data", "timestamp": T, "sequence_num": 0, "events": [
            {"type": "snapshot", "product_id": "BTC-USD", "updates": [
                {"side": "bid", "event_time": T, "price_level": "61000.1", "new_quantity": "0.5"}]}]},
        {"channel": "market_trades", "timestamp": T, "sequence_num": 1, "events": [{"type": "update", "trades": [
            {"trade_id": "5", "product_id": "BTC-USD", "price": "1.5", "size": "0.1", "side": "BUY", "time": T}]}]},
        {"channel": "heartbeats", "timestamp": T, "sequence_num": 2, "events": [{"heartbeat_counter": 3}]},
    ),
    "kraken": _json(
        {"channelID": 1, "channelName": "book-10", "event": "subscriptionStatus", "pair": "XBT/USD",
         "status": "subscribed", "subscription": {"depth": 10, "name": "book"}},
        [1, {"as": [["61000.1", "0.5", "1618617600.1"]], "bs": [["61000.0", "0.5", "1618617600.1"]]}, "book-10", "XBT/USD"],
        [1, {"a": [["61000.1", "0.0", "1618617600.2"]], "c": "974942666"}, "book-10", "XBT/USD"],
        [2, [["61000.1", "0.01", "1618617600.3", "b", "l", ""]], "trade", "XBT/USD"],
        {"event": "heartbeat"},
    ),
    "kraken-v2": _json(
        {"channel": "book", "type": "snapshot", "data": [{"symbol": "BTC/USD", "bids": [{"price": 61000.0, "qty": 0.5}],
         "asks": [{"price": 61000.1, "qty": 0.5}], "checksum": 974942666}]},
        {"channel": "book", "type": "update", "data": [{"symbol": "BTC/USD", "bids": [], "asks": [
            {"price": 61000.1, "qty": 0.0}], "checksum": 974942666, "timestamp": T}]},
        {"channel": "trade", "type": "update", "data": [{"symbol": "BTC/USD", "side": "buy", "price": 1.5, "qty": 0.1,
         "ord_type": "limit", "trade_id": 5, "timestamp": T}]},
    ),
    "bitfinex": _json(
        {"event": "info", "version": 2, "platform": {"status": 1}},
        {"event": "subscribed", "channel": "book", "chanId": 3, "symbol": "tBTCUSD", "prec": "P0", "freq": "F0",
         "len": "25", "pair": "BTCUSD"},
        {"event": "subscribed", "channel": "trades", "chanId": 4, "symbol": "tBTCUSD", "pair": "BTCUSD"},
        [3, [[61000, 2, 0.5], [61001, 1, -0.5]], 1, 1618617600123],
        [3, [61000, 0, 1], 2, 1618617600124],
        [3, "cs", -1234567, 3, 1618617600125],
        [4, "te", [5, 1618617600123, 0.01, 61000.5], 4, 1618617600126],
        [3, "hb", 5, 1618617600127],
    ),
    "bitmex": _json(
        {"success": True, "subscribe": "orderBookL2:XBTUSD", "request": {"op": "subscribe", "args": ["orderBookL2:XBTUSD"]}},
        {"table": "orderBookL2", "action": "partial", "keys": ["symbol", "id", "side"], "filter": {"symbol": "XBTUSD"},
         "data": [{"symbol": "XBTUSD", "id": 8793900000, "side": "Buy", "size": 100, "price": 61000.0, "timestamp": T}]},
        {"table": "orderBookL2", "action": "update", "data": [
            {"symbol": "XBTUSD", "id": 8793900000, "side": "Buy", "size": 90, "price": 61000.0, "timestamp": T}]},
        {"table": "trade", "action": "insert", "data": [{"timestamp": T, "symbol": "XBTUSD", "side": "Buy", "size": 10,
         "price": 61000.5, "tickDirection": "PlusTick", "trdMatchID": "6a4c"}]},
    ),
}  # fmt: skip

ORDER = {
    "id": "v1", "client_order_id": "c1", "symbol": "SPY", "side": "sell", "status": "partially_filled", "qty": "5",
    "filled_qty": "2", "filled_avg_price": "165.5", "updated_at": T,
}  # fmt: skip
UPDATES = _json(
    {"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}},
    {"stream": "trade_updates", "data": {"event": "new", "order": ORDER, "timestamp": T}},
    {"stream": "trade_updates", "data": {"event": "partial_fill", "execution_id": "e", "order": ORDER, "price": "165.5",
     "qty": "2", "position_qty": "-2", "timestamp": T}},
)  # fmt: skip


@fuzzed
@given(frames=st.lists(bent(ALPACA), min_size=1, max_size=3))
def test_alpacas_frames(frames: list[bytes]) -> None:
    decoder = AlpacaDecoder(["SPY"])
    for frame in frames:
        try:
            records = decoder.receive(frame, 1)
        except FeedError:  # not as the venue writes: the connection is begun anew
            continue
        assert records.dtype == RECORD
        assert set(records["kind"].tolist()) <= {int(kind) for kind in Kind}
        trades = records[records["kind"] == int(Kind.TRADE)]
        assert np.isfinite(trades["f0"]).all()
        assert (trades["ts_event"] > 0).all()


@pytest.mark.parametrize("dialect", list(VENUES))
@fuzzed
@given(data=st.data())
def test_crypto_venues_messages(dialect: str, data: st.DataObject) -> None:
    decoder = decoder_for(dialect)()
    for frame in (*VENUES[dialect], *data.draw(st.lists(bent(VENUES[dialect]), min_size=1, max_size=3))):
        records = decoder.receive(frame, 1)
        prices = records["f0"][np.isin(records["kind"], (int(Kind.TRADE),))]
        assert np.isfinite(prices).all()
        assert (records["i0"][records["kind"] == int(Kind.BOOK_DELTA)] >= 0).all()
    tallies = decoder.tallies.values()
    assert sum(t.messages for t in tallies) == sum(t.decoded + t.control + t.ignored for t in tallies)


@fuzzed
@given(frames=st.lists(bent(UPDATES), min_size=1, max_size=3))
def test_order_updates(frames: list[bytes]) -> None:
    decoder = UpdateDecoder()
    for frame in frames:
        with contextlib.suppress(FeedError):
            for update in decoder.receive(frame):
                assert update.order.venue_order_id
                assert np.isfinite(update.order.filled_qty)
