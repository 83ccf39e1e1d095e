"""What a recorder puts on its tapes, in its three modes, and what it does when something goes wrong."""

from __future__ import annotations

import asyncio
import datetime
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdslib.book.grid import on_grid
from mdslib.clock import ScaledClock
from mdslib.errors import ConfigError, RecordError
from mdslib.events import BookFlag, Kind
from mdslib.feeds.kraken import KrakenDecoder
from mdslib.feeds.replay import replay_capture
from mdslib.recorder import program
from mdslib.recorder import tape as tape_module
from mdslib.recorder.plan import Mode
from mdslib.recorder.status import read_status
from mdslib.recorder.tape import DAY
from mdslib.sim.venues.server import VenueServer
from mdslib.store.tapefile import TapeReader, TapeWriter
from tests.recorder.conftest import FRAMES, Run, decoded, plan, same, tape_of
from tests.recorder.test_venue import Fixed
from tests.venue_servers import running

BTC, ETH = "BTC-USD", "ETH-USD"
COINBASE = [f"coinbase:{BTC}", f"coinbase:{ETH}"]
NOON = 1_795_262_400_000_000_000


def made(
    venue: str = "coinbase", pairs: tuple[str, ...] = (BTC, ETH), speed: float = 0.0, **faults: Any
) -> VenueServer:
    return VenueServer.of_made(venue, pairs, FRAMES, speed)


def test_light_keeps_every_event_of_several_venues_in_one_process(out: Path) -> None:
    with running(made()) as one, running(made("kraken", ("XBT/USD",))) as two:
        urls = {"coinbase": one.url, "kraken": two.url}
        run = Run(plan(out, *COINBASE, "kraken:XBT/USD", mode=Mode.LIGHT, urls=urls)).until(
            lambda: one.sent and two.sent
        )
    assert same(tape_of(out, "coinbase"), decoded("coinbase", [BTC, ETH]))
    assert same(tape_of(out, "kraken"), decoded("kraken", ["XBT/USD"]))
    assert not (tape_of(out, "kraken")["ts_init"] % 1_000).any()  # finer would be noise
    assert run.told == []
    (folder,) = out.glob("coinbase/*/tape")
    with TapeReader(folder) as tape:
        assert [each.id for each in tape.header.instruments] == COINBASE
        assert tape.header.run_name == "light"
        assert tape.header.trading_date.isoformat() == folder.parent.name


def test_full_keeps_books_and_tells_how_they_are(out: Path) -> None:
    with running(made()) as venue:
        run = Run(plan(out, *COINBASE, urls={"coinbase": venue.url})).until(lambda: venue.sent)
    records = tape_of(out, "coinbase")
    assert same(records, decoded("coinbase", [BTC, ETH]))
    told = read_status(out)
    assert [feed["id"] for feed in told["feeds"]] == COINBASE
    for place, feed in enumerate(told["feeds"]):
        ours = records[records["instrument"] == place]
        book = on_grid(None, ours)
        book.apply(ours)
        assert (feed["bid"], feed["ask"], feed["book"]) == (book.best_bid, book.best_ask, "sound")
        assert feed["deltas"] + feed["trades"] + 1 <= feed["messages"]
    (recorder,) = told["recorders"]
    assert recorder["records"] == len(records)
    assert recorder["running"] is False
    assert run.told == []


def test_snapshot_writes_the_best_levels_every_so_often_and_nothing_else(out: Path) -> None:
    with running(made(speed=0.1)) as venue:
        Run(plan(out, *COINBASE, mode=Mode.SNAPSHOT, every=200_000_000, levels=5, urls={"coinbase": venue.url})).until(
            lambda: venue.sent
        )
    records = tape_of(out, "coinbase")
    assert set(records["kind"]) == {int(Kind.BOOK_DELTA)}
    assert (records["flag"] & BookFlag.SNAPSHOT > 0).all()
    begins = np.flatnonzero(records["flag"] & BookFlag.CLEAR)
    assert len(begins) >= 4
    assert set(np.diff([*begins, len(records)])) == {11}  # a CLEAR and five levels of each side
    assert (records["flag"][[*begins[1:] - 1, -1]] & BookFlag.LAST > 0).all()
    apart = np.diff(np.unique(records["ts_init"])) / 1e9
    assert apart.min() > 0.1


def test_a_raw_capture_beside_the_tape_replays_to_the_same_messages(out: Path) -> None:
    pairs = ("tBTCUSD", "tETHUSD")
    with running(made("bitfinex", pairs)) as venue:
        Run(
            plan(out, "bitfinex:tBTCUSD", "bitfinex:tETHUSD", mode=Mode.LIGHT, raw=True, urls={"bitfinex": venue.url})
        ).until(lambda: venue.sent)
    (file,) = out.glob("bitfinex/*/raw/*.zst")
    kept: list[Any] = []
    report = replay_capture(file, sink=kept.append)
    figures = report.as_dict()
    records = tape_of(out, "bitfinex")
    names = ["kind", "flag", "f0", "i0", "i1", "ts_init"]
    assert repr(np.concatenate(kept)[names].tolist()) == repr(records[names].tolist())
    assert (figures["ignored"], figures["sequence_gaps"], figures["checksums_bad"]) == (0, 0, 0)
    assert figures["checksums_ok"] > 0
    assert figures["sent"] == 1 + 3 * 2  # the conf, and three channels of two pairs


def test_at_midnight_a_tape_begins_that_can_be_read_by_itself(out: Path) -> None:
    # Half a second before midnight, and the market takes about a second.
    clock = ScaledClock((NOON // DAY + 1) * DAY - 1_300_000_000, 1.0)
    with running(made(speed=0.2)) as venue:
        Run(plan(out, *COINBASE, urls={"coinbase": venue.url}), clock).until(
            lambda: venue.sent and clock.now() > (NOON // DAY + 1) * DAY + 100_000_000
        )
    days = sorted(path.name for path in (out / "coinbase").iterdir())
    assert days == ["2026-11-21", "2026-11-22"]
    parts = []
    for day in days:
        with TapeReader(out / "coinbase" / day / "tape") as tape:
            parts.append(np.array(tape.records()))
            assert (tape.records()["ts_init"] // DAY == datetime.date.fromisoformat(day).toordinal() - 719_163).all()
    market = decoded("coinbase", [BTC, ETH])
    for place in (0, 1):
        whole, alone = market[market["instrument"] == place], parts[1][parts[1]["instrument"] == place]
        if not len(alone):
            continue  # on a slow machine nothing came after midnight
        assert alone["flag"][0] & BookFlag.CLEAR
        books = [on_grid(None, whole), on_grid(None, alone)]
        books[0].apply(whole)
        books[1].apply(alone)
        assert repr(books[0]) == repr(books[1])
        assert books[0].top(100).bid_size.tolist() == books[1].top(100).bid_size.tolist()


def test_a_full_disk_is_told_once_and_nothing_that_memory_holds_is_lost(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tape_module, "_TRY_AGAIN", 50_000_000)
    append, refused = TapeWriter.append, [0]

    def full(self: TapeWriter, records: Any, sides: Any = ()) -> int:
        if refused[0] < 5:
            refused[0] += 1
            raise RecordError("tape x: 9 records from sequence 1 could not be written (No space left on device).")
        return append(self, records, sides)

    monkeypatch.setattr(TapeWriter, "append", full)
    with running(made()) as venue:
        run = Run(plan(out, *COINBASE, mode=Mode.LIGHT, urls={"coinbase": venue.url}))
        tape = run.recorder.venues[0].tape
        run.until(lambda: venue.sent and refused[0] == 5 and not tape.waiting)
    assert same(tape_of(out, "coinbase"), decoded("coinbase", [BTC, ETH]))
    assert len(run.told) == 2
    assert "No space left on device" in run.told[0]
    assert "records wait in memory" in run.told[0]
    assert "takes records again, nothing was lost" in run.told[1]


def test_a_status_that_can_not_be_written_is_told_once_and_the_recording_goes_on(out: Path) -> None:
    out.mkdir()
    (out / "status").write_text("no folder")
    with running(made()) as venue:
        run = Run(plan(out, *COINBASE, mode=Mode.LIGHT, urls={"coinbase": venue.url})).until(lambda: venue.sent)
    assert same(tape_of(out, "coinbase"), decoded("coinbase", [BTC, ETH]))
    assert len(run.told) == 1
    assert f"status in {out}: " in run.told[0]
    assert "the recording goes on" in run.told[0]


def test_a_start_on_a_tape_that_is_there_says_so_on_it(out: Path) -> None:
    for _ in range(2):
        with running(made()) as venue:
            Run(plan(out, *COINBASE, mode=Mode.LIGHT, urls={"coinbase": venue.url})).until(lambda v=venue: v.sent)
    records = tape_of(out, "coinbase")
    market = decoded("coinbase", [BTC, ETH])
    assert same(records[: len(market)], market)
    assert same(records[len(market) + 3 :], market)
    between = records[len(market) : len(market) + 3]
    assert between["kind"].tolist() == [int(Kind.START), int(Kind.GAP), int(Kind.GAP)]
    assert (between["i0"][1:] == records["ts_event"][: len(market)].max()).all()


def test_alpaca_has_no_books_to_snapshot(out: Path) -> None:
    with pytest.raises(ConfigError, match="alpaca has no books of stocks to take snapshots of"):
        Run(plan(out, "alpaca:SPY", mode=Mode.SNAPSHOT))


def test_what_can_not_be_written_at_the_end_is_an_error_that_counts_it(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: TapeWriter, records: Any, sides: Any = ()) -> int:
        raise RecordError("tape x: no space.")

    monkeypatch.setattr(TapeWriter, "append", full)
    with (
        running(made()) as venue,
        pytest.raises(RecordError, match=r"\d+ records could not be written and are lost: tape x: no space$"),
    ):
        Run(plan(out, *COINBASE, mode=Mode.LIGHT, urls={"coinbase": venue.url})).until(lambda: venue.sent)


def test_a_pair_that_is_refused_leaves_the_others(out: Path) -> None:
    with running(made()) as venue:
        run = Run(plan(out, *COINBASE, "coinbase:FOO-USD", mode=Mode.LIGHT, urls={"coinbase": venue.url})).until(
            lambda: venue.sent
        )
    assert same(tape_of(out, "coinbase"), decoded("coinbase", [BTC, ETH]))
    assert len(run.told) == 1
    assert "FOO-USD is not a valid product" in run.told[0]
    assert [feed["said"][:7] for feed in read_status(out)["feeds"]] == ["", "", "refused"]


def test_a_fault_in_one_venue_is_a_gap_and_a_line_and_the_others_go_on(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "RESTART", (0.01, 0.01))
    feed, frames = KrakenDecoder.feed, [0]

    def faulty(self: KrakenDecoder, frame: str | bytes, ts_init: int) -> None:
        frames[0] += 1
        if frames[0] == 50:
            raise RuntimeError("a bug")
        feed(self, frame, ts_init)

    monkeypatch.setattr(KrakenDecoder, "feed", faulty)
    with running(made()) as one, running(made("kraken", ("XBT/USD",), speed=0.2)) as two:
        urls = {"coinbase": one.url, "kraken": two.url}
        run = Run(plan(out, *COINBASE, "kraken:XBT/USD", mode=Mode.LIGHT, urls=urls))
        run.until(lambda: one.sent and two.sent and frames[0] > 50)
    assert same(tape_of(out, "coinbase"), decoded("coinbase", [BTC, ETH]))
    records = tape_of(out, "kraken")
    (gap,) = np.flatnonzero(records["kind"] == Kind.GAP)
    assert 0 < gap < len(records) - 1
    assert records["flag"][gap + 1] & BookFlag.CLEAR, "it was started again"
    (line,) = run.told
    assert re.match(r"kraken: a fault of mdslib, RuntimeError: a bug \(test_program.py:\d+\); XBT/USD will be", line)


class Slow(Fixed):
    """A source that has more to give after its goodbye, and a raw capture of which a part was lost."""

    raw_bytes, raw_lost = 7, 3

    def __init__(self) -> None:
        super().__init__()
        self.goodbye = asyncio.Event()

    async def run(self) -> None:
        await self.goodbye.wait()
        await asyncio.sleep(0.05)
        self.put(NOON)

    async def close(self) -> None:
        self.goodbye.set()


def test_the_end_waits_for_what_was_on_its_way(out: Path) -> None:
    run = Run(plan(out, "kraken:XBT/USD", mode=Mode.LIGHT))
    run.recorder.venues[0].sources = (Slow(),)
    run.until(lambda: True)
    assert tape_of(out, "kraken")["ts_init"].tolist() == [NOON]
    (recorder,) = read_status(out)["recorders"]
    assert (recorder["raw_bytes"], recorder["raw_lost"]) == (7, 3)
