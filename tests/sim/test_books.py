"""A market of crypto pairs: books as messages, images of them, Alpaca's crypto stream in JSON and msgpack, matching."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from websockets.sync.client import connect

from mdslib.book.best import tops_of
from mdslib.book.images import image_of
from mdslib.errors import ConfigError, DataError
from mdslib.events import BookFlag, Kind
from mdslib.feeds.alpaca_decode import AlpacaDecoder
from mdslib.instruments import Instrument, parse_instrument
from mdslib.sim import Exchange, read_sent
from mdslib.sim.bars import with_minute_bars
from mdslib.sim.books import messages_of
from mdslib.sim.core import Core
from mdslib.sim.log import RunLog
from mdslib.sim.market import Market
from mdslib.sim.options import SimOptions
from mdslib.sim.orders import Refusal
from mdslib.sim.source import as_alpaca, open_day
from mdslib.store.madebook import made_books
from mdslib.table import MarketData, Table, from_columns, trades

PAIRS = ("BTC/USD", "ETH/USD")
CLEAR, SNAPSHOT, LAST, ASK = (int(f) for f in (BookFlag.CLEAR, BookFlag.SNAPSHOT, BookFlag.LAST, BookFlag.ASK))
Levels = dict[tuple[int, float], int]


@pytest.fixture(scope="module")
def day() -> MarketData:
    return made_books(pairs=PAIRS, messages=150)


def deltas(*rows: tuple[int, float, int, int], **more: Any) -> Table:
    """Return deltas of one instrument: time, price, size, flags."""
    ts, price, size, flags = zip(*rows, strict=True)
    return from_columns(Kind.BOOK_DELTA, {"ts_event": ts, "price": price, "size": size, "flags": flags} | more)


def level(row: Any) -> tuple[float, int, int]:
    return (row["f0"].item(), row["i0"].item(), row["flag"].item() & ASK)


def replayed(records: np.ndarray, instrument: int) -> Levels:
    """Return a book after some records, the slow way."""
    book: Levels = {}
    for row in records[(records["kind"] == int(Kind.BOOK_DELTA)) & (records["instrument"] == instrument)]:
        price, size, side = level(row)
        if row["flag"] & CLEAR:
            book = {}
        elif size:
            book[side, price] = size
        else:
            book.pop((side, price), None)
    return book


# ------------------------------------------------------------ messages


def test_a_message_is_its_clear_then_bids_then_asks_and_ends_with_last() -> None:
    nan = float("nan")
    rows = [(1, 5.5, 3, ASK), (1, 5.0, 2, 0), (2, nan, 0, CLEAR), (2, 5.6, 1, ASK | LAST), (3, 5.6, 0, ASK | LAST)]
    told = messages_of(deltas(*rows, checksum=[9] * 5, sequence=[1, 2, 3, 4, 5]))
    assert told.table["price"].tolist()[:2] == [5.0, 5.5]
    assert told.table["flags"].tolist() == [0, ASK | LAST, CLEAR | SNAPSHOT, SNAPSHOT | ASK | LAST, ASK | LAST]
    assert list(zip(told.first.tolist(), told.stop.tolist(), strict=True)) == [(0, 2), (2, 4), (4, 5)]
    assert not told.table["checksum"].any(), "what a message can't carry is left out"
    assert not told.table["sequence"].any()


def test_an_image_is_the_book_as_it_is_after_any_message_best_levels_first(day: MarketData) -> None:
    told = messages_of(day.book_deltas)
    records = told.table.to_records()
    for message in (0, 1, 77, 299):
        stop = int(told.stop[message])
        for k in (0, 1):
            image = image_of(told.table.slice(0, stop), k, 99).to_records()
            assert replayed(image, k) == replayed(records[:stop], k)
            if len(image):
                assert image["flag"][0] == CLEAR | SNAPSHOT
                assert image["flag"][-1] & LAST
                assert set(image["ts_event"].tolist()) == {99}


def test_a_book_that_has_not_begun_has_no_image(day: MarketData) -> None:
    market = Market(day)
    assert [len(part) for part in market.images(0, [0, 1], 5)] == [0, 0, 0]


def test_what_begins_in_mid_day_begins_with_the_books_as_they_were(day: MarketData) -> None:
    cut = int(day.book_deltas["ts_event"][len(day.book_deltas) // 2])
    part = Market(day, from_ts=cut)
    first = part.whole(part.records(0, 2))
    assert first["flag"][0] == CLEAR | SNAPSHOT
    assert set(first["ts_event"].tolist()) == {cut}
    whole = messages_of(day.book_deltas).table.to_records()
    for k in (0, 1):
        assert replayed(part.whole(part.records(0, len(part))), k) == replayed(whole, k)


def test_best_prices_follow_every_message(day: MarketData) -> None:
    told = messages_of(day.book_deltas)
    quotes, records = tops_of(told.table), told.table.to_records()
    assert len(quotes) == 300
    for message in range(0, 300, 37):
        k = int(quotes["instrument"][message])
        book = replayed(records[: told.stop[message]], k)
        bid = max(price for side, price in book if side == 0)
        ask = min(price for side, price in book if side == 1)
        assert (quotes["bid"][message], quotes["ask"][message]) == (bid, ask)
        assert (quotes["bid_size"][message], quotes["ask_size"][message]) == (book[0, bid], book[1, ask])


def test_stocks_and_pairs_are_not_played_by_one_exchange() -> None:
    both = MarketData((Instrument("SPY"), parse_instrument("BTC/USD")), (trades([1], [2.0], [3]),), ())
    with pytest.raises(DataError, match="plays stocks or crypto pairs, received SPY and BTC/USD"):
        Market(both)


def test_a_made_day_of_pairs_has_books_and_trades_and_other_kinds_are_refused() -> None:
    made = open_day(symbols=["BTC/USD"])
    assert [table.kind for table in made.tables] == [Kind.TRADE, Kind.BOOK_DELTA]
    alone = open_day(symbols=["BTC/USD"], kinds=["book_deltas"])
    assert [table.kind for table in alone.tables] == [Kind.BOOK_DELTA]
    with pytest.raises(ConfigError, match="the made day has trades and order books alone, received --kind quotes"):
        open_day(symbols=["BTC/USD"], kinds=["quotes"])


def test_what_other_venues_traded_is_played_under_alpacas_names_and_in_its_lots() -> None:
    pair = parse_instrument("kraken:XBT/USD")
    told = as_alpaca(MarketData((pair,), (deltas((1, 5.5, 3, LAST)),), ()))
    assert [instrument.id for instrument in told.instruments] == ["alpaca:XBT/USD"]
    assert told.book_deltas["size"].tolist() == [30]
    with pytest.raises(DataError, match="bitmex:XBTUSD can't be played as Alpaca's"):
        as_alpaca(MarketData((parse_instrument("bitmex:XBTUSD"),), (), ()))


# ------------------------------------------------------------ the wire


def test_every_event_of_a_pair_is_read_back_as_it_was_and_sizes_are_exact(day: MarketData) -> None:
    market = Market(with_minute_bars(day))
    decoder = AlpacaDecoder(list(PAIRS), [1e-9, 1e-9])
    texts = market.messages(0, len(market))
    assert len(texts) == len(market)
    for at, text in enumerate(texts):
        assert text.startswith('{"T":"')
        found = decoder.receive(f"[{text}]", ts_init=0)
        told = market.whole(market.records(at, at + 1))
        for name in ("kind", "ts_event", "instrument", "flag", "code", "f0", "f1", "f2", "f3", "f4", "i0", "i1"):
            assert np.array_equal(found[name], told[name], equal_nan=name.startswith("f") and name != "flag"), name
    assert {"t", "o", "b"} <= decoder.counts.keys()


def test_a_quote_of_a_pair_has_units_and_no_exchange() -> None:
    columns = {"ts_event": [1_000_000_000], "bid": [float("nan")], "ask": [90000.5], "bid_size": [0], "ask_size": [5]}
    quote = from_columns(Kind.QUOTE, columns)
    market = Market(MarketData((parse_instrument("BTC/USD"),), (quote,), ()))
    (text,) = market.messages(0, 1)
    assert text == '{"T":"q","S":"BTC/USD","bp":0.0,"bs":0,"ap":90000.5,"as":5E-9,"t":"1970-01-01T00:00:01Z"}'


def test_msgpack_says_the_same_as_json(day: MarketData) -> None:
    market = Market(day)

    def plain(message: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in message.items() if name != "t"}

    for text, packed in zip(market.messages(0, 60), market.packed(0, 60), strict=True):
        said = msgspec.msgpack.decode(packed)
        assert next(iter(said)) == "T"
        assert plain(said) == plain(json.loads(text))
        assert said["t"].timestamp() == datetime.datetime.fromisoformat(json.loads(text)["t"]).timestamp()


# ------------------------------------------------------------ over a socket


class PairClient:
    """A client of the crypto stream."""

    def __init__(self, exchange: Exchange) -> None:
        self.socket = connect(f"ws://127.0.0.1:{exchange.port}/v1beta3/crypto/us", proxy=None)
        self.receive()

    def receive(self) -> list[dict[str, Any]]:
        said: list[dict[str, Any]] = json.loads(self.socket.recv(60))
        return said

    def ask(self, **message: Any) -> dict[str, Any]:
        self.socket.send(json.dumps(message))
        return self.receive()[0]

    def close(self) -> None:
        self.socket.close()


@pytest.fixture(scope="module")
def played(day: MarketData, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Exchange, Path]]:
    """An exchange whose day is over."""
    log = tmp_path_factory.mktemp("played")
    with Exchange(day, in_process=True, wait_for_client=False, log_dir=log) as exchange:
        time_line = connect(exchange.time_url, proxy=None)
        while json.loads(time_line.recv(60))["phase"] != "end":
            pass
        yield exchange, log
        time_line.close()


def test_who_subscribes_gets_the_book_whole_as_it_is_now(played: tuple[Exchange, Path], day: MarketData) -> None:
    exchange, log = played
    client = PairClient(exchange)
    client.ask(action="auth", key="K", secret="S")
    acknowledged = client.ask(action="subscribe", orderbooks=["ETH/USD"])
    assert acknowledged == {
        "T": "subscription", "trades": [], "quotes": [], "orderbooks": ["ETH/USD"], "bars": [], "updatedBars": [],
        "dailyBars": [],
    }  # fmt: skip
    (image,) = client.receive()
    client.close()
    assert (image["T"], image["S"], image["r"]) == ("o", "ETH/USD", True)
    found = AlpacaDecoder(list(PAIRS), [1e-9, 1e-9]).receive(json.dumps([image]), ts_init=0)
    assert replayed(found, 1) == replayed(messages_of(day.book_deltas).table.to_records(), 1)
    exchange_says = httpx_get(f"{exchange.url}/sim/sent")
    assert exchange_says["counts"] == {"book_delta": len(found)}
    assert np.array_equal(read_sent(log)["f0"], found["f0"], equal_nan=True), "the log has what was sent"


def test_leaving_a_book_and_coming_back_brings_its_image_again(played: tuple[Exchange, Path]) -> None:
    client = PairClient(played[0])
    client.ask(action="auth", key="K2", secret="S")
    client.ask(action="subscribe", orderbooks=["BTC/USD"])
    (first,) = client.receive()
    assert client.ask(action="subscribe", trades=["BTC/USD"])["trades"] == ["BTC/USD"]
    client.ask(action="unsubscribe", orderbooks=["BTC/USD"])
    client.ask(action="subscribe", orderbooks=["BTC/USD"])
    assert client.receive() == [first], "and no image came of subscribing to something else"
    client.close()


def test_each_feed_carries_its_own_symbols_and_channels(played: tuple[Exchange, Path]) -> None:
    client = PairClient(played[0])
    client.ask(action="auth", key="K3", secret="S")
    assert client.ask(action="subscribe", statuses=["BTC/USD"])["code"] == 410
    assert client.ask(action="subscribe", trades=["SPY"])["code"] == 400
    client.close()
    stocks = connect(played[0].feed_url("iex"), proxy=None)
    said = []
    asked = [{"action": "auth", "key": "K4", "secret": "S"}]
    asked += [{"action": "subscribe", channel: ["BTC/USD"]} for channel in ("trades", "orderbooks")]
    for message in asked:
        stocks.send(json.dumps(message))
        said.append(json.loads(stocks.recv(60)))
    said.append(json.loads(stocks.recv(60)))
    stocks.close()
    assert [each[0].get("code") for each in said[2:]] == [400, 410]


def httpx_get(url: str) -> Any:
    import httpx

    return httpx.get(url, timeout=60).json()


# ------------------------------------------------------------ orders


def core_of(data: MarketData, **options: Any) -> Core:
    market = Market(data)
    return Core(market, SimOptions(latency=0, **options), RunLog(None, market.symbols))


def order(**more: Any) -> dict[str, Any]:
    return {"symbol": "BTC/USD", "side": "buy", "qty": "0.25", "type": "market", "time_in_force": "gtc"} | more


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_without_trades_orders_match_on_the_best_prices_at_the_end_of_each_message(day: MarketData, side: str) -> None:
    core = core_of(MarketData(day.instruments, (day.book_deltas,), day.sessions))
    market = core.market
    assert core.matches_on is Kind.BOOK_DELTA
    core.now = int(market.ts[9])
    core.settle(10)
    core.submit(order(side=side))
    before = core.position(0)
    for sent in range(11, 40):
        core.now = int(market.ts[sent - 1])
        core.on_market(sent)
        if core.position(0) != before:
            break
    assert market.instruments[sent - 1] == 0, "a message of its own book fills it"
    message = sent - 1
    top = {name: market.tops[name][message] for name in ("bid", "ask")}
    assert core.position(0) == (0.25 if side == "buy" else -0.25)
    paid = core.orders[0].paid / core.orders[0].filled
    assert paid == (top["ask"] if side == "buy" else top["bid"])


def test_with_trades_orders_match_on_them(day: MarketData) -> None:
    assert core_of(day).matches_on is Kind.TRADE


def test_pairs_trade_in_fractions_good_till_canceled_and_are_never_sold_short(day: MarketData) -> None:
    core = core_of(day, rules="alpaca")
    core.now = int(core.market.ts[len(core.market) - 1])
    core.settle(len(core.market))
    core.submit(order(qty="0.000000001", type="limit", limit_price="1.5"))
    core.submit(order(qty="0.1", time_in_force="ioc"))
    with pytest.raises(Refusal, match="invalid crypto time_in_force: send gtc or ioc"):
        core.submit(order(time_in_force="day"))
    with pytest.raises(Refusal, match='asset "BTC/USD" cannot be sold short'):
        core.submit(order(side="sell"))
