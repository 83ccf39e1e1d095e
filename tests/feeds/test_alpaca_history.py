# ruff: noqa: E501 (messages are kept on one line, as the venue sends them)
"""cpquant's history client behind ours: every trap of it, against a real HTTP server."""

from __future__ import annotations

import datetime
import http.server
import json
import os
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from mdslib.calendar import session
from mdslib.errors import ConfigError, CredentialError, DataError, FeedError, FeedRefused
from mdslib.events import Kind, unpack_conditions
from mdslib.feeds.alpaca_history import CpquantHistory
from mdslib.feeds.rfc3339 import from_ns, to_ns
from mdslib.instruments import Instrument

KEY, SECRET = "AKtestkey0000000000", "secret-that-must-never-be-seen"
START, END = "2021-10-13T08:00:00Z", "2021-10-13T09:00:00Z"


def row(second: int, **changes: object) -> dict[str, object]:
    stamp = from_ns(to_ns(START) + second * 1_000_000_000 + 123)
    return {"t": stamp, "x": "P", "p": 140.25, "s": 5, "c": ["@", "T"], "i": second, "z": "C", **changes}


class Answers:
    """Says what it is told, one answer a request, and keeps the queries."""

    def __init__(self) -> None:
        self.queue: list[tuple[int, object, dict[str, str]]] = []
        self.queries: list[dict[str, str]] = []
        self.paths: list[str] = []

    def add(self, body: object, status: int = 200, **headers: str) -> None:
        self.queue.append((status, body, headers))


@pytest.fixture
def answers():
    said = Answers()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            said.paths.append(parts.path)
            said.queries.append({key: value[0] for key, value in parse_qs(parts.query).items()})
            status, body, headers = said.queue.pop(0)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            """Stay silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    said.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield said
    server.shutdown()
    server.server_close()
    thread.join(120)


@pytest.fixture
def history(answers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = CpquantHistory(answers.url, timeout=20.0)
    yield source
    source.close()


def page(rows, token=None, symbol="AAPL", key="trades"):
    return {key: {symbol: rows}, "next_page_token": token}


def test_trades_past_the_page_limit_are_complete(answers, history):
    answers.add(page([row(1), row(2)], "one"))
    answers.add({"trades": {}, "next_page_token": "two"})  # a page may be empty and yet not the last
    answers.add(page([row(3)]))
    table = history.trades("AAPL", START, END)
    assert table["trade_id"].tolist() == [1, 2, 3]
    assert [query.get("page_token") for query in answers.queries] == [None, "one", "two"]
    assert {query["feed"] for query in answers.queries} == {"iex"}


def test_bars_past_the_page_limit_are_complete_though_get_bars_drops_the_token(answers, history):
    bar = {"o": 1.5, "h": 2, "l": 1, "c": 1.75, "v": 131, "n": 3, "vw": 1.6}
    answers.add(page([bar | {"t": "2021-10-13T08:00:00Z"}], "one", key="bars"))
    answers.add(page([bar | {"t": "2021-10-13T08:01:00Z"}], key="bars"))
    table = history.bars("AAPL", "1Min", START, END)
    assert table["ts_event"].tolist() == [to_ns("2021-10-13T08:01:00Z"), to_ns("2021-10-13T08:02:00Z")]
    assert (table["close"][0], table["volume"][0], table["trades"][0], table["vwap"][0]) == (1.75, 131, 3, 1.6)
    assert answers.queries[1]["page_token"] == "one"


@pytest.mark.parametrize(("date", "start"), [("2021-10-13", "04"), ("2021-11-26", "05")])
def test_daily_bar_is_stamped_at_the_session_s_close_half_days_too(answers, history, date, start):
    bar = {"t": f"{date}T{start}:00:00Z", "o": 1, "h": 2, "l": 1, "c": 2, "v": 131, "n": 3, "vw": 1.6}
    answers.add(page([bar], key="bars"))
    table = history.bars("AAPL", "1Day", f"{date}T00:00:00Z", f"{date}T20:00:00Z")
    assert table["ts_event"].tolist() == [session(date).close]


def test_columns_keep_nanoseconds_large_ids_letters_and_odd_lots(answers, history):
    answers.add(page([row(1, i=2**53 + 1, t="2021-10-13T08:00:00Z"), row(2, c=[" ", "F", "T", "I"], s=1)]))
    table = history.trades("AAPL", START, END)
    assert table["ts_event"].tolist() == [to_ns(START), to_ns(START) + 2_000_000_123]
    assert table["trade_id"][0] == 2**53 + 1
    assert unpack_conditions(table["conditions"][1]) == [" ", "F", "T", "I"]
    assert (chr(table["exchange"][0]), table["price"][0], table["size"].tolist()) == ("P", 140.25, [5, 1])


@pytest.mark.parametrize(
    "nothing", [{"trades": {}}, {"trades": {"AAPL": []}}, {"trades": {"AAPL": None}}, {"trades": None}]
)
def test_empty_day_is_an_empty_table_with_the_right_columns(answers, history, nothing):
    answers.add(nothing | {"next_page_token": None})
    table = history.trades("AAPL", START, END)
    assert (len(table), table["price"].dtype, table["trade_id"].dtype) == (0, np.dtype("f8"), np.dtype("i8"))


def test_empty_bars_are_an_empty_table(answers, history):
    answers.add({"bars": {}, "next_page_token": None})
    assert len(history.bars("AAPL", "1Min", START, END)) == 0


def test_canceled_and_incorrect_trades_are_left_out_and_counted(answers, history):
    answers.add(page([row(1, u="canceled"), row(2), row(3, u="incorrect"), row(4, u="corrected")]))
    assert history.trades("AAPL", START, END)["trade_id"].tolist() == [2, 4]
    assert history.dropped == 2


def test_range_is_half_open_and_nanoseconds_reach_the_venue(answers, history):
    answers.add(page([]))
    history.trades("AAPL", START, END)
    assert (answers.queries[0]["start"], answers.queries[0]["end"]) == ("2021-10-13T08:00:00.000000000Z", "2021-10-13T08:59:59.999999999Z")  # fmt: skip


WHERE = r"Alpaca history of AAPL from 2021-10-13T08:00:00.000000000Z to 2021-10-13T09:00:00.000000000Z \(feed iex\): "


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (
            401,
            {"message": "unauthorized."},
            CredentialError,
            "HTTP 401 'unauthorized.': the venue refused the key pair in ALPACA_DATA_PUBLIC_KEY",
        ),
        (403, {"message": "forbidden."}, CredentialError, "HTTP 403 'forbidden.': the venue refused the key pair"),
        (
            403,
            {"message": "subscription does not permit querying recent SIP data"},
            FeedRefused,
            "HTTP 403 .*: the plan does not cover these data; use feed='iex'",
        ),
        (400, {"message": "invalid symbol"}, DataError, "HTTP 400 'invalid symbol': check the symbol"),
        (500, {"message": "oops"}, FeedError, "HTTP 500 'oops': the venue has a fault"),
        (200, b"<html>", DataError, "the answer must be JSON with 'trades', received '<html>'"),
        (200, {"message": "?"}, DataError, "the answer must be JSON with 'trades', received"),
        (200, page([{"p": 1}]), DataError, "cpquant can't read the answer: KeyError: "),
    ],
)
def test_each_failure_is_one_clear_error_that_names_symbol_and_range(
    answers, history, capsys, status, body, kind, says
):
    answers.add(body, status)
    with pytest.raises(kind, match=WHERE + says):
        history.trades("AAPL", START, END)
    assert capsys.readouterr().out == ""


def test_rate_limit_is_waited_out_by_the_header(answers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    waits = []

    class Clock:
        def now(self):
            return 1_000_000_000_000

        def wait(self, event, until):
            waits.append((until - self.now()) / 1e9)
            return False

    answers.add({"message": "too many"}, 429, X_RateLimit_Reset="1007")
    answers.add({"message": "too many"}, 429, X_RateLimit_Reset="999999")
    answers.add({"message": "too many"}, 429)
    answers.add(page([row(1)]))
    source = CpquantHistory(answers.url, clock=Clock())
    assert len(source.trades("AAPL", START, END)) == 1
    assert waits == [5.0, 7.0, *range(5, 70, 5), 3.0], "in steps, so that a heartbeat goes on"
    for _ in range(5):
        answers.add({"message": "too many"}, 429)
    with pytest.raises(FeedError, match="429 'too many': the rate limit did not lift after 5 tries"):
        source.trades("AAPL", START, END)
    source.close()


def test_silent_server_is_given_up_in_bounded_time(tmp_path, monkeypatch):
    import socket

    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        source = CpquantHistory(f"http://127.0.0.1:{mute.getsockname()[1]}", timeout=0.2)
        with pytest.raises(FeedError, match=r"no answer within 0.2 s"):
            source.trades("AAPL", START, END)
        source.close()


def test_nobody_listening_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = CpquantHistory("http://127.0.0.1:1")
    with pytest.raises(FeedError, match=r"can't be reached \(ConnectionError\)") as caught:
        source.trades("AAPL", START, END)
    assert SECRET not in str(caught.value) + repr(source)
    source.close()


def test_same_page_twice_is_an_error_and_no_endless_loop(answers, history):
    answers.add(page([row(1)], "one"))
    answers.add(page([row(1)], "one"))
    with pytest.raises(DataError, match="the venue gave the same page twice"):
        history.trades("AAPL", START, END)


def test_missing_credentials_are_named_and_the_env_file_of_the_wheel_is_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALPACA_DATA_PUBLIC_KEY")
    monkeypatch.delenv("ALPACA_DATA_SECRET_KEY")
    before = dict(os.environ)
    with pytest.raises(CredentialError, match="ALPACA_DATA_PUBLIC_KEY and ALPACA_DATA_SECRET_KEY must be set"):
        CpquantHistory("http://127.0.0.1:1")
    assert dict(os.environ) == before


def test_env_file_in_the_working_folder_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("ALPACA_DATA_PUBLIC_KEY", "ALPACA_DATA_SECRET_KEY"):
        monkeypatch.setenv(name, "x")  # so that the values read below are taken away again
        monkeypatch.delenv(name)
    Path(".env").write_text("ALPACA_DATA_PUBLIC_KEY=mine\nALPACA_DATA_SECRET_KEY=own\n")
    source = CpquantHistory("http://127.0.0.1:1")
    assert source._client.alpaca_data_public == "mine"
    source.close()


def test_unknown_timeframe_and_reversed_range_are_named(history):
    with pytest.raises(ConfigError, match="1Min to 59Min, 1Hour to 23Hour or 1Day, received '60Min'"):
        history.bars("AAPL", "60Min", START, END)
    with pytest.raises(DataError, match="the end must come after the start"):
        history.trades("AAPL", END, START)


def test_fetch_saves_the_whole_day_of_each_symbol(answers, history):
    written = []

    class Store:
        def write(self, table, instrument, date):
            written.append((instrument.symbol, table.kind, len(table), date))

    answers.add(page([row(1, u="canceled"), row(2)], symbol="SPY"))
    answers.add(page([], symbol="AAPL"))
    done = history.fetch(["SPY", "AAPL"], datetime.date(2021, 10, 13), Store())
    assert written == [("SPY", Kind.TRADE, 1, datetime.date(2021, 10, 13)), ("AAPL", Kind.TRADE, 0, datetime.date(2021, 10, 13))]  # fmt: skip
    assert [part.dropped for part in done] == [1, 0]
    assert answers.queries[0]["start"] == "2021-10-13T08:00:00.000000000Z"
    with pytest.raises(DataError, match="NYSE is closed on 2021-10-16"):
        history.fetch(["SPY"], datetime.date(2021, 10, 16), Store())


def test_real_answers_are_read(answers, history, shared_data):
    folder = shared_data / "alpaca_rest"
    first = json.loads((folder / "trades_AAPL_2021-10-13.json").read_text())
    answers.add(first)
    answers.add({"trades": {}, "next_page_token": None})
    table = history.trades("AAPL", START, END)
    assert table["ts_event"].tolist() == [to_ns(trade["t"]) for trade in first["trades"]["AAPL"]]
    answers.add(json.loads((folder / "alpaca-go__GetTrades_Update__6.json").read_text()))
    assert len(history.trades("A", START, "2022-10-22T00:00:00Z")) == 0
    assert history.dropped == 2


def test_rows_outside_13_30_to_20_00_utc_are_kept_since_only_market_is_never_passed(answers, history):
    bar = {"o": 1, "h": 2, "l": 1, "c": 2, "v": 131, "n": 3, "vw": 1.6}
    stamps = ["2021-12-13T09:00:00Z", "2021-12-13T13:29:00Z", "2021-12-13T20:30:00Z", "2021-12-13T23:59:00Z"]
    answers.add(page([bar | {"t": stamp} for stamp in stamps], key="bars"))
    table = history.bars("AAPL", "1Min", "2021-12-13T00:00:00Z", "2021-12-14T00:00:00Z")
    assert table["ts_event"].tolist() == [to_ns(stamp) + 60 * 10**9 for stamp in stamps]


def test_stamps_of_0_1_6_and_9_digits_mix(answers, history):
    fractions = ["", ".1", ".123456", ".123456789"]
    answers.add(page([row(1, t=f"2021-10-13T08:00:0{n}{fraction}Z") for n, fraction in enumerate(fractions)]))
    wanted = [to_ns(f"2021-10-13T08:00:0{n}{fraction}Z") for n, fraction in enumerate(fractions)]
    assert history.trades("AAPL", START, END)["ts_event"].tolist() == wanted


def test_stamp_with_an_offset_which_cpquant_can_not_read_is_a_clear_error(answers, history):
    answers.add(page([row(1, t="2021-10-13T04:00:00.5-04:00")]))
    with pytest.raises(DataError, match=WHERE + "cpquant can't read the answer: ValueError"):
        history.trades("AAPL", START, END)


def test_sizes_are_counted_in_the_instrument_s_lots(answers, history):
    pair = Instrument("BTC/USD", lot=1e-9, session="24/7")
    answers.add(page([row(1, s=0.27994), row(2, s=3)], symbol="BTC/USD"))
    assert history.trades(pair, START, END)["size"].tolist() == [279_940_000, 3_000_000_000]
    answers.add(page([row(1, s=0.5)]))
    with pytest.raises(DataError, match=r"AAPL: size 0.5 is not a whole number of lots of 1.0"):
        history.trades("AAPL", START, END)


def test_fetch_saves_bars_too_and_nothing_else(answers, history):
    written = []

    class Store:
        def write(self, table, instrument, date):
            written.append((table.kind, len(table)))

    bar = {"t": "2021-10-13T14:00:00Z", "o": 1, "h": 2, "l": 1, "c": 2, "v": 131, "n": 3, "vw": 1.6}
    answers.add(page([bar], symbol="SPY", key="bars"))
    history.fetch(["SPY"], datetime.date(2021, 10, 13), Store(), kinds=(Kind.BAR,))
    assert written == [(Kind.BAR, 1)]
    with pytest.raises(ConfigError, match="kind must be TRADE or BAR"):
        history.fetch(["SPY"], datetime.date(2021, 10, 13), Store(), kinds=(Kind.QUOTE,))


def test_daily_bar_on_a_closed_day_is_an_error(answers, history):
    bar = {"t": "2021-10-16T04:00:00Z", "o": 1, "h": 2, "l": 1, "c": 2, "v": 131, "n": 3, "vw": 1.6}
    answers.add(page([bar], key="bars"))
    with pytest.raises(DataError, match="AAPL: a daily bar of 2021-10-16, when NYSE is closed"):
        history.bars("AAPL", "1Day", "2021-10-16T00:00:00Z", "2021-10-17T00:00:00Z")


def test_time_that_can_not_be_read_is_an_error(history):
    with pytest.raises(DataError, match="Alpaca history: a time must be RFC 3339 with a zone"):
        history.trades("AAPL", "yesterday", END)


def test_answer_that_is_not_json_of_a_refusal_is_quoted(answers, history):
    answers.add(b"<html>Bad gateway", 502)
    with pytest.raises(FeedError, match="HTTP 502 '<html>Bad gateway': the venue has a fault"):
        history.trades("AAPL", START, END)


def test_modules_of_cpquant_that_act_on_import_are_never_imported():
    import sys

    import mdslib.brokers.alpaca
    import mdslib.feeds.alpaca_socket

    assert mdslib.brokers.alpaca
    assert mdslib.feeds.alpaca_socket
    assert "cpquant.data" in sys.modules
    assert "cpquant.stats" not in sys.modules
