"""A session's decoding, tape and fold under bursts for as many events as one likes; prints what memory came to.

    python tests/live/soak.py EVENTS FOLDER

Frames as Alpaca sends them, of 1 to 1,000 trades, go through the decoder to the engine as its reader hands them over;
the engine writes the tape, folds, decides, and sends orders, which a venue of a few lines fills. One line of JSON on
standard output: events a second, and resident memory after each hundredth.
"""

from __future__ import annotations

import datetime
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mdslib.audit import fold_of
from mdslib.clock import WallClock, monotonic_ns, wall_ns
from mdslib.desk import Desk
from mdslib.events import Status
from mdslib.feeds.alpaca_decode import AlpacaDecoder
from mdslib.instruments import Instrument
from mdslib.live.engine import Engine
from mdslib.live.workers import Workers
from mdslib.protocols import NewOrder, OrderState, Update
from mdslib.store.tapefile import TapeWriter
from mdslib.strategy import find_model
from mdslib.strategy.driver import strategy_fingerprint
from mdslib.tape import make_header

HOUR = 3_600 * 10**9
BURST = (1, 1000, 10, 100, 1, 500)  # trades a frame, in turn
BACKLOG = 20  # frames; more wait in no burst
WARM_UP = 50_000  # events before the first that counts
RARE = 5_000  # one trade in so many is one that the model orders on
ROW = '{"T":"t","S":"SPY","i":%d,"x":"V","p":171.69,"s":%d,"c":["@"],"z":"B","t":"%s"}'


class Venue:
    """Fills every order at once."""

    engine: Engine

    def submit(self, new: NewOrder) -> OrderState:
        """Answer as a venue does, after the fill has been told."""
        name, now = f"v{new.client_order_id}", wall_ns()
        filled = OrderState(name[1:], name, new.symbol, Status.FILLED, new.qty, new.qty, 171.69, 0.0, now)
        self.engine.on_update(Update(filled, "fill", name, new.qty, 171.69, 0.0, now))
        return filled._replace(status=Status.NEW, filled_qty=0.0, leaves_qty=new.qty)


def resident() -> int:
    """Return the resident memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def new_engine(folder: Path) -> tuple[Engine, TapeWriter]:
    """Return an engine on an empty tape; its day is today, and its model one that orders now and then."""
    strategy, day = find_model("volume_modulo"), datetime.datetime.fromtimestamp(wall_ns() // 10**9, datetime.UTC)
    hours = wall_ns() - HOUR, wall_ns() + 24 * HOUR
    header = make_header(
        model=strategy.name, fingerprint=strategy_fingerprint(strategy), parameters=strategy.make_params()._asdict(),
        instruments=(Instrument("SPY"),), account_id="SOAK", trading_date=day.date(), run_name="soak", limits={},
        clock="wall", hours=[hours],
    )  # fmt: skip
    fold = fold_of(header, strategy)
    fold.prepare()
    tape, desk = TapeWriter(folder / "tape", header), Desk("SOAK", "soak", day.date(), header.instruments)
    return Engine(fold, desk, tape, WallClock(), hours, None, lambda event, **fields: None), tape


def frames(first: int, events: int) -> Iterator[bytes]:
    """Yield frames of that many trades in all, with ids from `first` on."""
    made, turn, end = first - 1, 0, first - 1 + events
    while made < end:
        count = min(BURST[turn % len(BURST)], end - made)
        turn += 1
        now = wall_ns()
        when = f"{datetime.datetime.fromtimestamp(now // 10**9, datetime.UTC):%Y-%m-%dT%H:%M:%S}.{now % 10**9:09d}Z"
        rows = [ROW % (n, 31 if n % RARE == 0 else 100, when) for n in range(made + 1, made + count + 1)]
        made += count
        yield f"[{','.join(rows)}]".encode()


def play(engine: Engine, decoder: AlpacaDecoder, first: int, events: int) -> list[int]:
    """Feed frames to the engine; return the resident memory after each hundredth."""
    memory, seen, pause = [], 0, threading.Event()
    for frame in frames(first, events):
        records = decoder.receive(frame, wall_ns())
        engine.on_market(records)
        seen += len(records)
        while engine.queued > BACKLOG:  # a burst is over: what waits is worked off
            pause.wait(0.0005)
        if seen >= (len(memory) + 1) * events / 100:
            memory.append(resident())
    return memory


def main(events: int, folder: Path) -> dict[str, Any]:
    """Play, end, and return the figures."""
    engine, tape = new_engine(folder)
    venue = Venue()
    venue.engine = engine
    engine.workers = Workers(venue, engine.on_answer, (), 2)  # type: ignore[arg-type]
    decoder = AlpacaDecoder(["SPY"], once=True)  # as a session's feed does
    deciding = threading.Thread(target=engine.run)
    deciding.start()
    play(engine, decoder, 1, WARM_UP)
    began = monotonic_ns()
    memory = play(engine, decoder, WARM_UP + 1, events)
    took = (monotonic_ns() - began) / 1e9
    engine.stop("the soak is over")
    deciding.join()
    engine.workers.close()
    tape.close()
    return {
        "events": engine.tally.events - WARM_UP, "events_a_second": round(events / took),
        "orders": engine.tally.intents, "fills": engine.tally.fills,
        "longest_queue": engine.tally.longest_queue, "memory": memory,
        "failure": None if engine.failure is None else str(engine.failure), "unread": sum(decoder.unread.values()),
    }  # fmt: skip


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]), Path(sys.argv[2]))) + "\n")
