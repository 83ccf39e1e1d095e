"""W5: Alpaca JSON to records, alone and through cpquant's own `listen`; ns a trade at 1, 10 and 100 a frame.

Everything is compiled before it is timed; each figure is the best of several rounds beside ``json.loads`` and msgspec
in the same run, since other work may share the machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest

from mdslib.config import Credentials
from mdslib.errors import FeedError
from mdslib.feeds.alpaca_decode import AlpacaDecoder
from mdslib.feeds.alpaca_socket import CpquantFeed

TRADE = {"T": "t", "S": "SPY", "i": 52983625699126, "x": "P", "p": 779.87, "s": 100, "c": ["@", "I"], "z": "B"}
TRADE["t"] = "2026-10-06T22:36:01.216274112Z"

SERVER = """
import sys, json
from websockets.sync.server import serve
per_frame, frames, port_file = int(sys.argv[1]), int(sys.argv[2]), sys.stdout
trade = sys.argv[3]
head, _, tail = trade.partition("52983625699126")  # each trade has an id of its own: one that comes twice is left out
ready = ["[" + ",".join(f"{head}{n * per_frame + k + 1}{tail}" for k in range(per_frame)) + "]" for n in range(frames)]

def handle(connection):
    connection.send('[{"T":"success","msg":"connected"}]')
    connection.recv()
    connection.send('[{"T":"success","msg":"authenticated"}]')
    connection.recv()
    connection.send('[{"T":"subscription","trades":["SPY"]}]')
    for frame in ready:
        connection.send(frame)

with serve(handle, "127.0.0.1", 0, compression=None) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
"""


def text(per_frame: int) -> str:
    return "[" + ",".join([json.dumps(TRADE, separators=(",", ":"))] * per_frame) + "]"


def ns_a_trade(call: Callable[[str], object], per_frame: int, rounds: int = 7) -> float:
    frame, calls = text(per_frame), max(2_000 // per_frame, 20)
    best = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter_ns()
        for _ in range(calls):
            call(frame)
        best = min(best, (time.perf_counter_ns() - begin) / calls / per_frame)
    return best


class Needed(msgspec.Struct):
    T: str
    S: str
    p: float
    s: int
    t: str


def show(capsys: pytest.CaptureFixture[str], line: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\nW5 {line}\n")


@pytest.mark.parametrize("per_frame", [1, 10, 100])
def test_decoder_against_msgspec_and_json_in_the_same_run(per_frame, capsys):
    decoder = AlpacaDecoder(["SPY"])
    ours = ns_a_trade(lambda frame: decoder.receive(frame, 1), per_frame)
    typed = ns_a_trade(msgspec.json.Decoder(list[Needed]).decode, per_frame)
    plain = ns_a_trade(json.loads, per_frame)
    show(capsys, f"decode, {per_frame} a frame: ours {ours:,.0f}, msgspec {typed:,.0f}, json {plain:,.0f} ns a trade")
    # json takes about 1,200 ns a trade: the bounds are 3 us for a single one, and 250 ns in frames of a hundred.
    assert ours < {1: 2.0, 10: 0.6, 100: 0.25}[per_frame] * plain


@pytest.mark.parametrize(("per_frame", "frames"), [(1, 20_000), (10, 10_000), (100, 3_000)])
def test_cpquant_listen_with_our_decoder_against_listen_that_does_nothing(per_frame, frames, capsys):
    trade = json.dumps(TRADE, separators=(",", ":"))
    with _server(SERVER, per_frame, frames, trade) as url:
        ours = min(_listen(url, per_frame * frames, decode=True) for _ in range(3))
        nothing = min(_listen(url, per_frame * frames, decode=False) for _ in range(3))
    show(capsys, f"through listen, {per_frame} a frame: ours {ours:,.0f}, an idle handler {nothing:,.0f} ns a trade")
    assert ours < {1: 2.0 * nothing, 10: 2.0 * nothing, 100: 900}[per_frame]


def _listen(url: str, trades: int, *, decode: bool) -> float:
    feed = CpquantFeed(["SPY"], url=url, credentials=Credentials("key", "secret"))
    feed.open()
    seen = 0
    if not decode:
        feed._handler = lambda *_: lambda frame: None  # type: ignore[method-assign]

    def sink(records: object) -> None:
        nonlocal seen
        seen += len(records)  # type: ignore[arg-type]

    begin = time.perf_counter_ns()
    with pytest.raises(FeedError):
        feed.run(sink)
    spent = time.perf_counter_ns() - begin
    assert not decode or seen == trades
    return spent / trades


MSGPACK_SERVER = """
import sys, json, msgpack
from websockets.sync.server import serve
per_frame, frames, trade = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
trade["t"] = msgpack.Timestamp.from_unix_nano(1791326161216274112)
frame = msgpack.packb([trade] * per_frame)

def handle(connection):
    connection.send(msgpack.packb([{"T": "success", "msg": "connected"}]))
    connection.recv()
    connection.send(msgpack.packb([{"T": "success", "msg": "authenticated"}]))
    connection.recv()
    connection.send(msgpack.packb([{"T": "subscription", "trades": ["SPY"]}]))
    for _ in range(frames):
        connection.send(frame)
    try:
        connection.recv()
    except Exception:
        pass

with serve(handle, "127.0.0.1", 0, compression=None) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("per_frame", "frames"), [(1, 5_000), (10, 1_500), (100, 200)])
def test_cpquant_listen_with_our_decoder_against_alpaca_py(per_frame, frames, capsys):
    trade = json.dumps(TRADE, separators=(",", ":"))
    theirs = _alpaca_py(per_frame, frames, trade)
    with _server(SERVER, per_frame, frames, trade) as url:
        ours = min(_listen(url, per_frame * frames, decode=True) for _ in range(3))
    show(capsys, f"through listen, {per_frame} a frame: ours {ours:,.0f}, alpaca-py {theirs:,.0f} ns a trade")
    # A trade alone in its frame costs `listen` itself 8 us, whatever the handler does: there the margin is its own.
    assert theirs > {1: 2.5, 10: 5, 100: 5}[per_frame] * ours


def _alpaca_py(per_frame: int, frames: int, trade: str) -> float:
    from alpaca.data.live import StockDataStream

    total, seen, stamps = per_frame * frames, 0, []
    with _server(MSGPACK_SERVER, per_frame, frames, trade) as url:
        stream = StockDataStream("key", "secret", url_override=url)

        async def count(_: object) -> None:
            nonlocal seen
            seen += 1
            if seen == 1 or seen == total:
                stamps.append(time.perf_counter_ns())
            if seen == total:
                await stream.stop_ws()

        stream.subscribe_trades(count, "SPY")
        stream.run()
    return (stamps[1] - stamps[0]) / (total - 1)


@contextmanager
def _server(program: str, per_frame: int, frames: int, trade: str) -> Iterator[str]:
    command = [sys.executable, "-c", program, str(per_frame), str(frames), trade]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"ws://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()
