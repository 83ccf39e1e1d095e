"""The feed and the history against the local exchange: what it sends is what arrives, and its refusals are told."""

from __future__ import annotations

import numpy as np
import pytest

from mdslib.calendar import session
from mdslib.errors import FeedError, FeedRefused
from mdslib.events import Kind
from mdslib.feeds.alpaca_history import CpquantHistory
from mdslib.feeds.alpaca_socket import CpquantFeed
from mdslib.instruments import Instrument
from mdslib.sim import Exchange
from mdslib.table import MarketData, Table, from_columns

KEY, SECRET = "AKtestkey0000000000", "secret-that-must-never-be-seen"
DAY = session("2013-10-08")
ROWS = 25_000


def made_trades(rows: int = ROWS) -> Table:
    random = np.random.default_rng(7)
    return from_columns(
        Kind.TRADE,
        {
            "ts_event": DAY.open + np.sort(random.integers(0, 6 * 3_600 * 10**9, rows)),
            "instrument": random.integers(0, 2, rows).astype("<u2"),
            "price": random.integers(10_000, 20_000, rows) / 100,
            "size": random.integers(1, 500, rows),
            "trade_id": np.arange(rows) + 2**53,
            "exchange": random.choice(np.frombuffer(b"VPQ", "u1"), rows),
            "conditions": random.choice(np.array([0x40, 0x4940, 0], "<u4"), rows),
        },
    )


@pytest.fixture(scope="module")
def data():
    return MarketData((Instrument("SPY"), Instrument("BAC")), (made_trades(),), (DAY,))


def test_every_trade_of_the_day_arrives_as_it_was(data):
    with Exchange(data, mode="free", in_process=True) as exchange:
        stream = CpquantFeed(["SPY", "BAC"], url=exchange.data_url)
        stream.open()
        frames: list[np.ndarray] = []

        def sink(records):
            frames.append(records)
            if stream.messages == ROWS:
                stream.close()

        stream.run(sink)
    received = Table.from_records(np.concatenate(frames), Kind.TRADE)
    for name in ("ts_event", "instrument", "price", "size", "trade_id", "exchange", "conditions"):
        assert np.array_equal(received[name], data.trades[name]), name
    assert stream.decoder.counts == {"subscription": 1, "success": 2, "t": ROWS}
    assert (received["ts_init"] > received["ts_event"]).all()


@pytest.fixture(scope="module")
def waiting(data):
    with Exchange(
        data, mode="real", in_process=True, feeds=("iex",), symbol_limit=1, key=KEY, secret=SECRET
    ) as exchange:
        yield exchange


def test_feed_that_is_not_in_the_plan_is_409(waiting):
    with pytest.raises(
        FeedRefused, match="409 'insufficient subscription': the feed 'sip' is not in this account's plan"
    ):
        CpquantFeed(["SPY"], feed="sip", url=waiting.url.replace("http", "ws")).open()


def test_wrong_key_is_402(waiting, monkeypatch):
    monkeypatch.setenv("ALPACA_DATA_SECRET_KEY", "wrong")
    with pytest.raises(FeedRefused, match="402 'auth failed': the venue refused the key pair in the environment"):
        CpquantFeed(["SPY"], url=waiting.data_url).open()


def test_second_connection_is_406_and_the_slot_is_free_after_close(waiting):
    first = CpquantFeed(["SPY"], url=waiting.data_url)
    first.open()
    with pytest.raises(FeedError, match="406 'connection limit exceeded': another session holds the only connection"):
        CpquantFeed(["SPY"], url=waiting.data_url).open()
    first.close()


def test_too_many_symbols_are_405(waiting):
    with pytest.raises(FeedRefused, match="405 'symbol limit exceeded'"):
        CpquantFeed(["SPY", "BAC"], url=waiting.data_url).open()


def test_symbol_that_the_venue_does_not_take_is_400_and_names_what_was_asked(waiting):
    with pytest.raises(FeedRefused, match="400 'invalid syntax': the venue does not take one of the symbols ZZZZ"):
        CpquantFeed(["ZZZZ"], url=waiting.data_url).open()


def test_history_past_the_page_limit_equals_the_day(data):
    with Exchange(data, mode="real", history="all", in_process=True) as exchange:
        history = CpquantHistory(exchange.url)
        for place, symbol in enumerate(("SPY", "BAC")):
            found = history.trades(symbol, DAY.open, DAY.close)
            wanted = data.trades.take(data.trades["instrument"] == place)
            for name in ("ts_event", "price", "size", "trade_id", "exchange", "conditions"):
                assert np.array_equal(found[name], wanted[name]), name
        assert history.requests > 2
        assert len(history.trades("SPY", DAY.close, DAY.close + 10**9)) == 0
        bars = history.bars("SPY", "1Min", DAY.open, DAY.close)
        assert len(bars) > 300
        assert bars["volume"].sum() == data.trades["size"][data.trades["instrument"] == 0].sum()
        history.close()
