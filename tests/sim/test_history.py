"""Historical calls: paging over symbols, inclusive ends, nothing from the day's future."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from mdslib.sim import Exchange
from mdslib.sim.wire import stamp

from .days import MS, OPEN, DataClient, day_of, minute_bars
from .lockstep_client import HEADERS

DAY = day_of(*((i * 1000, symbol, 10.0 + i, i) for i in range(1, 6) for symbol in ("SPY", "BAC")))
SPAN = {"start": "2013-10-08", "end": "2013-10-08"}


@pytest.fixture(scope="module")
def http() -> Any:
    """REST calls to an exchange whose whole day is in the past."""
    with (
        Exchange(DAY, in_process=True, history="all") as exchange,
        httpx.Client(base_url=exchange.url, headers=HEADERS) as client,
    ):
        yield client


def pages(http: httpx.Client, path: str, name: str, **params: str) -> list[dict[str, list[dict[str, Any]]]]:
    """Return all pages, each as the map of symbols."""
    found, token = [], ""
    while token is not None:
        body = http.get(path, params=params | ({"page_token": token} if token else {})).json()
        found.append(body[name])
        token = body["next_page_token"]
    return found


def test_rows_have_the_streams_short_keys_without_type_and_symbol(http: httpx.Client) -> None:
    body = http.get("/v2/stocks/trades", params={"symbols": "SPY", "limit": "1", **SPAN}).json()
    assert body["trades"] == {
        "SPY": [{"i": 1, "x": "V", "p": 11, "s": 1, "c": [], "z": "A", "t": "2013-10-08T13:30:01Z"}]
    }
    assert body["currency"] == "USD"
    assert body["next_page_token"]


def test_pages_go_symbol_by_symbol_and_the_limit_counts_all_rows(http: httpx.Client) -> None:
    sizes = [
        {symbol: [row["s"] for row in rows] for symbol, rows in page.items()}
        for page in pages(http, "/v2/stocks/trades", "trades", symbols="SPY,BAC", limit="3", **SPAN)
    ]
    assert sizes == [{"BAC": [1, 2, 3]}, {"BAC": [4, 5], "SPY": [1]}, {"SPY": [2, 3, 4]}, {"SPY": [5]}]


def test_descending_order_begins_at_the_end(http: httpx.Client) -> None:
    got = pages(http, "/v2/stocks/trades", "trades", symbols="SPY", limit="2", sort="desc", **SPAN)
    assert [row["s"] for page in got for row in page["SPY"]] == [5, 4, 3, 2, 1]


def test_start_and_end_are_both_inclusive(http: httpx.Client) -> None:
    params = {"start": "2013-10-08T13:30:02Z", "end": "2013-10-08T09:30:04-04:00"}
    body = http.get("/v2/stocks/SPY/trades", params=params).json()
    assert body["symbol"] == "SPY"
    assert [row["s"] for row in body["trades"]] == [2, 3, 4]


def test_empty_days_and_unknown_symbols_give_an_empty_map(http: httpx.Client) -> None:
    for params in ({"symbols": "SPY", "start": "2013-10-07", "end": "2013-10-07"}, {"symbols": "ZZZZ", **SPAN}):
        assert http.get("/v2/stocks/trades", params=params).json() == {
            "trades": {},
            "next_page_token": None,
            "currency": "USD",
        }
    assert http.get("/v2/stocks/quotes", params={"symbols": "SPY", **SPAN}).json()["quotes"] == {}


@pytest.mark.parametrize(
    ("path", "params", "message"),
    [
        ("trades", {}, "symbols is required"),
        (
            "trades",
            {"symbols": "SPY", "limit": "10001"},
            "invalid limit: '10001' must be a whole number from 1 to 10000",
        ),
        ("trades", {"symbols": "SPY", "start": "2013-10-09", "end": "2013-10-08"}, "end should not be before start"),
        (
            "trades",
            {"symbols": "SPY", "start": "noon"},
            "invalid time: 'noon' must be RFC 3339, like 2013-10-08T13:30:00Z, or YYYY-MM-DD",
        ),
        ("trades", {"symbols": "SPY", "sort": "up"}, "invalid sort: up"),
        ("trades", {"symbols": "SPY", "feed": "nyse"}, "invalid feed: nyse"),
        ("trades", {"symbols": "SPY", "page_token": "!"}, "invalid page_token: !"),
        (
            "bars",
            {"symbols": "SPY", "timeframe": "2Fortnight"},
            "invalid timeframe: 2Fortnight must be like 1Min, 5Min, 1Hour or 1Day",
        ),
    ],
)
def test_bad_parameters_are_400_with_the_reason(
    http: httpx.Client, path: str, params: dict[str, str], message: str
) -> None:
    answer = http.get(f"/v2/stocks/{path}", params=params)
    assert (answer.status_code, answer.json()) == (400, {"message": message})


def test_no_keys_no_history(http: httpx.Client) -> None:
    answer = httpx.get(f"{http.base_url}/v2/stocks/trades", params={"symbols": "SPY"})
    assert (answer.status_code, answer.json()) == (401, {"message": "unauthorized."})


def test_bars_are_made_of_trades_and_stamped_at_their_start() -> None:
    day = day_of((1000, "SPY", 10.0, 2), (59_000, "SPY", 13.0, 1), (60_000, "SPY", 9.0, 4), (150_000, "SPY", 11.0, 5))
    with (
        Exchange(day, in_process=True, history="all") as exchange,
        httpx.Client(base_url=exchange.url, headers=HEADERS) as http,
    ):
        got = pages(http, "/v2/stocks/bars", "bars", symbols="SPY", timeframe="1Min", limit="2", **SPAN)
        two = http.get("/v2/stocks/SPY/bars", params={"timeframe": "2Min", **SPAN}).json()["bars"]
    first, second, third = (row for page in got for row in page["SPY"])
    assert first == {"t": "2013-10-08T13:30:00Z", "o": 10, "h": 13, "l": 10, "c": 13, "v": 3, "n": 2, "vw": 11}
    assert (second["t"], second["v"], third["t"]) == ("2013-10-08T13:31:00Z", 4, "2013-10-08T13:32:00Z")
    assert [(bar["t"], bar["v"], bar["l"]) for bar in two] == [
        ("2013-10-08T13:30:00Z", 7, 9),
        ("2013-10-08T13:32:00Z", 5, 11),
    ]


def test_bars_of_a_day_of_bars_are_those_bars() -> None:
    day = day_of((1000, "BAC", 1.0, 1), bars=minute_bars(3))
    bars_only = type(day)(day.instruments, day.tables[1:], day.sessions)
    with (
        Exchange(bars_only, in_process=True, history="all") as exchange,
        httpx.Client(base_url=exchange.url, headers=HEADERS) as http,
    ):
        bars = http.get("/v2/stocks/SPY/bars", params={"timeframe": "1Min", **SPAN}).json()["bars"]
    assert [(bar["t"][11:16], bar["o"], bar["h"], bar["l"], bar["c"], bar["v"]) for bar in bars] == [
        ("13:30", 100, 102, 99, 101, 10),
        ("13:31", 101, 103, 100, 102, 10),
        ("13:32", 102, 104, 101, 103, 10),
    ]


def test_the_history_of_minute_bars_says_what_the_stream_said_bit_for_bit() -> None:
    day = day_of(*((100.0 * i, "SPY", 10.0 + 0.01 * (i % 37), 1 + i % 11) for i in range(1, 1500)))
    with (
        Exchange(day, in_process=True) as exchange,
        httpx.Client(base_url=exchange.url, headers=HEADERS) as http,
    ):
        client = DataClient(exchange)
        client.login()
        client.subscribe(bars=["SPY"])
        streamed = client.take(3)
        client.close()
        got = http.get("/v2/stocks/SPY/bars", params={"timeframe": "1Min", **SPAN}).json()["bars"]
    assert [{**row, "T": "b", "S": "SPY"} for row in got] == streamed


def test_the_days_future_is_not_shown() -> None:
    with Exchange(DAY, in_process=True) as exchange, httpx.Client(base_url=exchange.url, headers=HEADERS) as http:
        before = http.get("/v2/stocks/trades", params={"symbols": "SPY", **SPAN}).json()["trades"]
        client = DataClient(exchange)
        client.login()
        client.subscribe(trades=["*"])
        client.take(10)
        after = http.get("/v2/stocks/trades", params={"symbols": "SPY", **SPAN}).json()["trades"]
        client.close()
    assert before == {}
    assert [row["t"] for row in after["SPY"]] == [stamp(OPEN + i * 1000 * MS) for i in range(1, 6)]


def test_a_minute_that_is_under_way_has_no_bar_yet() -> None:
    day = day_of((10, "SPY", 10.0, 2), (600_000, "SPY", 11.0, 1))
    with (
        Exchange(day, in_process=True, mode="real") as exchange,
        httpx.Client(base_url=exchange.url, headers=HEADERS) as http,
    ):
        client = DataClient(exchange)
        client.login()
        client.subscribe(trades=["*"])
        client.take(1)
        trades = http.get("/v2/stocks/SPY/trades", params=SPAN).json()["trades"]
        minutes = http.get("/v2/stocks/SPY/bars", params={"timeframe": "1Min", **SPAN}).json()["bars"]
        days = http.get("/v2/stocks/SPY/bars", params={"timeframe": "1Day", **SPAN, "start": "2013-10-08"}).json()
        client.close()
    assert len(trades) == 1
    assert not minutes, "it comes once the minute is over, as on the stream"
    assert [bar["v"] for bar in days["bars"]] == [2], "a day's bar grows through the day"
