# ruff: noqa: E501 - an answer stands on one line, as on the wire
"""Bodies of REST answers, over a real connection: read whole, or refused with an error of ours."""

from __future__ import annotations

import contextlib
import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib.brokers.alpaca import AlpacaBroker
from mdslib.errors import MdsError
from mdslib.feeds.alpaca_history import CpquantHistory

from .mutations import bent, fuzzed
from .test_wire import ORDER, T

START, END = "2025-06-12T13:30:00Z", "2025-06-12T20:00:00Z"
ACCOUNT = {"id": "a", "account_number": "PA3", "status": "ACTIVE", "currency": "USD", "cash": "100000.5", "equity": "100000.5",
           "buying_power": "200001", "trading_blocked": False, "account_blocked": False}  # fmt: skip
POSITION = {"asset_id": "b0b6dd9d-8b9b-48a9-ba46-b9d54906e415", "symbol": "SPY", "qty": "-5", "side": "short", "avg_entry_price": "600.5",
            "exchange": "ARCA", "asset_class": "us_equity", "cost_basis": "-3002.5"}  # fmt: skip
CLOCK = {"timestamp": T, "is_open": True, "next_open": START, "next_close": END}
ROW = {"t": T, "x": "V", "p": 600.5, "s": 100, "c": ["@", "I"], "i": 7, "z": "B"}
BAR = {"t": "2025-06-12T13:30:00Z", "o": 1.5, "h": 2.0, "l": 1.0, "c": 1.5, "v": 900, "n": 9, "vw": 1.4}


class Answer(BaseHTTPRequestHandler):
    """Answers every request with the body of the moment."""

    body = b"{}"
    status = 200
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one packet

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def venue() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server, pytest.MonkeyPatch.context() as patch:
        for name in (
            "ALPACA_DATA_PUBLIC_KEY",
            "ALPACA_DATA_SECRET_KEY",
            "ALPACA_TRADE_PUBLIC_KEY",
            "ALPACA_TRADE_SECRET_KEY",
        ):
            patch.setenv(name, "XX")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def broker(venue: str) -> Iterator[AlpacaBroker]:
    made = AlpacaBroker(venue, timeout=2.0)
    yield made
    made.close()


@pytest.fixture(scope="module")
def history(venue: str) -> Iterator[CpquantHistory]:
    made = CpquantHistory(venue, timeout=2.0)
    yield made
    made.close()


SEEDS = [json.dumps(value).encode() for value in (ACCOUNT, [POSITION], CLOCK, ORDER, [ORDER])]
PAGES = [
    json.dumps({"trades": [ROW, ROW], "symbol": "SPY", "next_page_token": None}).encode(),
    json.dumps({"trades": {"SPY": [ROW]}, "next_page_token": None}).encode(),
    json.dumps({"bars": [BAR], "symbol": "SPY", "next_page_token": None}).encode(),
    json.dumps({"bars": {"SPY": [BAR]}, "next_page_token": None}).encode(),
]


@fuzzed
@given(body=bent(SEEDS), call=st.sampled_from(["account", "positions", "clock", "order", "open_orders"]))
def test_the_brokers_answers(broker: AlpacaBroker, body: bytes, call: str) -> None:
    Answer.body = body
    with contextlib.suppress(MdsError):
        if call == "order":
            state = broker.order("c1")
            assert state is None or math.isfinite(state.filled_qty)
        elif call == "account":
            account = broker.account()
            assert math.isfinite(account.cash)
            assert math.isfinite(account.buying_power)
        elif call == "positions":
            assert all(math.isfinite(held.qty) for held in broker.positions().values())
        elif call == "clock":
            assert broker.clock().now > 0
        else:
            assert all(math.isfinite(order.filled_qty) for order in broker.open_orders())


@fuzzed
@given(body=bent(PAGES), bars=st.booleans())
def test_historical_pages(history: CpquantHistory, body: bytes, bars: bool) -> None:
    Answer.body = body
    with contextlib.suppress(MdsError):
        table = history.bars("SPY", "1Min", START, END) if bars else history.trades("SPY", START, END)
        price = table["close" if bars else "price"]
        assert (price > 0).all()
