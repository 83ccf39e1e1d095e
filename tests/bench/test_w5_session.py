"""W5 through a whole live session: frame to decision, frame to order, throughput, and 50,000 trades a second for 20 s.

The data comes from a sender in a process of its own; a trade's id is the sender's monotonic clock when it made the
frame, so that one clock measures from there to the decision. Orders go to a local exchange, in another process. Every
figure stands beside others of the same run, since the machine may be shared.

Two measures of nothing: cpquant's `listen` on the connection that cpquant itself opens (websockets' own, which hands
each frame from a thread to another), and the same `listen` on ours. The bound of 1.2 is against the first.
"""

from __future__ import annotations

import datetime
import http.client
import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdslib.config import Credentials
from mdslib.feeds import alpaca_socket, connect
from mdslib.feeds.alpaca_socket import CpquantFeed
from mdslib.instruments import Instrument
from mdslib.live import Session
from mdslib.live.report import DayReport
from mdslib.live.session import SWITCH
from mdslib.sim import Exchange
from mdslib.store.made import made_day
from mdslib.store.tapefile import TapeReader
from mdslib.table import MarketData

pytestmark = pytest.mark.bench

# Rate 0 is as fast as the socket takes it, with frames made beforehand, and sizes on which the model decides nothing.
SENDER = """
import datetime, json, random, sys, time
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

per_frame, rate, frames = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
often = 0.4 if rate else 0.0
sizes = random.Random(7).choices([100, 1, 17, 31, 200, 50, 7, 300], [60, 12, often, often, 10, 7, 6, 4], k=1000)

def frame(n):
    now, made = time.time_ns(), time.monotonic_ns()
    moment = datetime.datetime.fromtimestamp(now // 10**9, datetime.UTC)
    when = f"{moment:%Y-%m-%dT%H:%M:%S}.{now % 10**9:09d}Z"
    row = '{"T":"t","S":"SPY","i":%d,"x":"V","p":171.69,"s":%d,"c":["@"],"z":"B","t":"%s"}'
    return "[" + ",".join(row % (made + k, sizes[(n * per_frame + k) % 1000], when) for k in range(per_frame)) + "]"

def handle(connection):
    for text in ('[{"T":"success","msg":"connected"}]', '[{"T":"success","msg":"authenticated"}]',
                 '[{"T":"subscription","trades":["SPY"]}]'):
        connection.send(text)
        if "subscription" not in text:
            connection.recv()
    ready = None if rate else [frame(n) for n in range(frames)]  # each trade has an id of its own
    time.sleep(1.0)
    began, latest = time.monotonic(), 0.0
    try:
        for n in range(frames):
            if rate:
                left = began + n / rate - time.monotonic()
                latest = max(latest, -left)
                if left > 0:
                    time.sleep(left)
            connection.send(frame(n) if ready is None else ready[n])
        print(json.dumps({"took": time.monotonic() - began, "latest": latest}), flush=True)
        for _ in connection:  # until the session closes it; what it says meanwhile asks for statuses
            pass
    except ConnectionClosed:
        pass

with serve(handle, "127.0.0.1", 0, compression=None) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
"""


@dataclass
class Marks:
    """What a session left behind: when it had decided on each batch, when the kernel had the bytes of each order."""

    report: DayReport
    engine: Any
    sender: dict[str, float]
    decided: list[tuple[int, np.ndarray]]
    posted: dict[str, int]
    queued: list[int]
    folder: Path

    def to_decision(self) -> list[int]:
        """ns from the sender's stamp to the decision, by frame."""
        return [at - int(made) for at, batch in self.decided for made in np.unique(batch["i1"][batch["kind"] == 1])]

    def to_order(self) -> list[int]:
        """ns from the receipt of a frame to its order's bytes in the kernel, by order."""
        records = TapeReader(self.folder / "tape").records()
        received = dict(zip(records["seq"].tolist(), records["ts_init"].tolist(), strict=True))
        orders = self.engine.desk.orders
        return [at - received[orders[name].seq] for name, at in self.posted.items() if name in orders]


@dataclass
class Desk:
    """Runs sessions against one exchange."""

    trade_url: str
    folder: Path
    number: int = field(default=0)

    def run(self, per_frame: int, rate: float, frames: int, **options: Any) -> Marks:
        self.number += 1
        folder = self.folder / f"run{self.number}"
        decided: list[tuple[int, np.ndarray]] = []
        queued: list[int] = []
        told: dict[str, float] = {}
        with sender(per_frame, rate, frames) as (url, said):
            session = Session.from_parameters(
                model="volume_modulo", symbols=["SPY"], trade_url=self.trade_url, data_stream_url=url, exchange="24/7",
                date=str(datetime.datetime.now(datetime.UTC).date()), run_dir=str(folder), end_of_day="keep",
                requests_per_minute=0, **options,
            )  # fmt: skip
            ended = threading.Event()

            def watch() -> None:
                while session.engine is None:
                    time.sleep(0.005)
                engine, feed = session.engine, session.engine.fold.feed

                def marked(batch: np.ndarray) -> np.ndarray:
                    decisions = feed(batch)
                    decided.append((time.monotonic_ns(), batch))
                    return decisions

                engine.fold.feed = marked  # type: ignore[method-assign]
                threading.Thread(target=sample, args=(engine,), daemon=True).start()
                told.update(json.loads(said()))
                ended.set()
                while engine.queued:
                    time.sleep(0.01)
                time.sleep(0.3)
                engine.stop("the bench is over")

            def sample(engine: Any) -> None:
                while not ended.wait(0.05):
                    queued.append(engine.queued)

            threading.Thread(target=watch, daemon=True).start()
            with posts() as posted:
                report = session.run()
        return Marks(report, session.engine, told, decided, posted, queued, folder)


@contextmanager
def sender(per_frame: int, rate: float, frames: int) -> Iterator[tuple[str, Callable[[], str]]]:
    command = [sys.executable, "-c", SENDER, str(per_frame), str(rate), str(frames)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"ws://127.0.0.1:{int(process.stdout.readline())}", process.stdout.readline
        finally:
            process.terminate()


@contextmanager
def posts() -> Iterator[dict[str, int]]:
    """Note when the bytes of each order's POST were handed to the kernel, by client order id; ns of the wall clock."""
    sent: dict[str, int] = {}
    send = http.client.HTTPConnection.send

    def marked(connection: http.client.HTTPConnection, data: Any) -> None:
        send(connection, data)
        if isinstance(data, bytes) and b'"client_order_id"' in data:
            sent[json.loads(data[data.index(b"{") :])["client_order_id"]] = time.time_ns()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http.client.HTTPConnection, "send", marked)
        yield sent


def nothing(per_frame: int, rate: float, frames: int, *, plain: bool) -> list[int]:
    """ns from the sender's stamp to a handler that does nothing, by frame."""
    seen: list[tuple[int, Any]] = []
    interval = sys.getswitchinterval()
    with pytest.MonkeyPatch.context() as patch, sender(per_frame, rate, frames) as (url, said):
        if plain:
            patch.setattr(alpaca_socket, "open_direct", connect.open_websocket)
        feed = CpquantFeed(["SPY"], url=url, credentials=Credentials("key", "secret"))
        feed.open()
        patch.setattr(feed, "_handler", lambda *_: lambda frame: seen.append((time.monotonic_ns(), frame)))
        sys.setswitchinterval(SWITCH)
        try:
            reader = threading.Thread(target=feed.run, args=(None,))
            reader.start()
            said()
            time.sleep(0.2)
            feed.close()
            reader.join()
        finally:
            sys.setswitchinterval(interval)
    return [at - json.loads(frame)[0]["i"] for at, frame in seen]


def us(values: list[int], q: float = 0.5) -> float:
    return float(np.quantile(values, q)) / 1e3


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    def write(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\nW5 {line}\n")

    return write


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    from mdslib.calendar import session

    day = session("2025-06-12")
    assert day is not None
    data = MarketData((Instrument("SPY"),), (made_day("2025-06-12", trades=4000),), (day,))
    folder = tmp_path_factory.mktemp("w5")
    with pytest.MonkeyPatch.context() as patch, Exchange(data, mode="real", cash=1e12) as exchange:
        for name in ("DATA_PUBLIC", "DATA_SECRET", "TRADE_PUBLIC", "TRADE_SECRET"):
            patch.setenv(f"ALPACA_{name}_KEY", "key")
        patch.setattr("mdslib.live.session.check_clock", lambda *_: 0.0)  # the exchange plays another day
        yield Desk(exchange.trade_url, folder)
    shutil.rmtree(folder, ignore_errors=True)


LOOSE = {"max_orders_per_minute": 0, "max_position": 0}


@pytest.mark.parametrize(("per_frame", "rate"), [(1, 400), (10, 200), (100, 50)])
def test_a_frame_is_decided_on_as_soon_as_a_handler_that_does_nothing_sees_it(desk, show, per_frame, rate):
    against_plain, against_ours, orders = [], [], []
    for _ in range(3):
        plain = nothing(per_frame, rate, 3 * rate, plain=True)
        ours = nothing(per_frame, rate, 3 * rate, plain=False)
        marks = desk.run(per_frame, rate, 3 * rate, limits=LOOSE)
        live, orders = marks.to_decision(), orders + marks.to_order()
        against_plain.append(us(live) / us(plain))
        against_ours.append(us(live) / us(ours))
        show(
            f"sent to decided, {per_frame} a frame: {us(live):,.0f} us (p99 {us(live, 0.99):,.0f});"
            f" a handler that does nothing {us(plain):,.0f}, on our connection {us(ours):,.0f}"
        )
    show(
        f"{per_frame} a frame: {statistics.median(against_plain):.2f} x cpquant's own listen,"
        f" {statistics.median(against_ours):.2f} x on our connection;"
        f" received to order's bytes in the kernel {us(orders):,.0f} us (p99 {us(orders, 0.99):,.0f}, {len(orders)})"
    )
    assert statistics.median(against_plain) <= 1.2
    assert us(orders) < 2_000


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("per_frame", "frames"), [(1, 30_000), (10, 20_000), (100, 5_000)])
def test_decode_tape_and_fold_take_a_fifth_of_what_alpaca_py_takes_to_read(desk, show, per_frame, frames):
    from .test_w5_decode import TRADE, _alpaca_py

    ours = []
    for _ in range(3):
        marks = desk.run(per_frame, 0, frames)
        market = [at for at, batch in marks.decided if batch["kind"][0] == 1]
        ours.append((market[-1] - market[0]) / (per_frame * frames))
        assert marks.engine.tally.events == per_frame * frames
    trade = json.dumps(TRADE, separators=(",", ":"))
    theirs = _alpaca_py(per_frame, {1: 4_000, 10: 1_500, 100: 200}[per_frame], trade)
    best = min(ours)
    show(f"whole session, {per_frame} a frame: {best:,.0f} ns a trade; alpaca-py {theirs:,.0f}, {theirs / best:.1f} x")
    assert theirs > 5 * best
    assert per_frame < 100 or best < 900


def test_fifty_thousand_trades_a_second_ten_a_frame_go_through_without_a_growing_queue(desk, show):
    marks = desk.run(10, 5_000, 100_000)
    summary, half = marks.engine.handover.summary(), len(marks.queued) // 2
    first, second = statistics.mean(marks.queued[:half]), statistics.mean(marks.queued[half:])
    show(
        f"50,000 trades/s for {marks.sender['took']:.1f} s: hand-over p50 {summary['p50_us']:,.0f} us, p99"
        f" {summary['p99_us']:,.0f} us; sent to decided p50 {us(marks.to_decision()):,.0f} us, p99"
        f" {us(marks.to_decision(), 0.99):,.0f} us; frames that wait: {first:.1f} in the first half, {second:.1f} in"
        f" the second, at most {max(marks.queued)}"
    )
    assert marks.engine.tally.events == 1_000_000
    assert marks.report.audit.ok, marks.report.audit.lines()
    assert marks.sender["took"] < 21.0  # nobody held the sender up
    assert second < first + 50  # 10 ms of frames
