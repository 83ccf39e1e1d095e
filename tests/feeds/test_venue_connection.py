"""One connection of a venue over a real socket: what it survives, counts and tells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mdslib.book import OrderBook
from mdslib.book.grid import on_grid
from mdslib.events import BookFlag, Kind
from mdslib.feeds import venue_connection
from mdslib.feeds.backoff import Backoff
from mdslib.feeds.endpoints import ENDPOINTS, Channel, endpoint
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.replay import decoder_for, replay_capture
from mdslib.feeds.venue_connection import VenueConnection
from mdslib.protocols import Records
from mdslib.sim.venues.made import MAKERS, made_capture
from mdslib.sim.venues.server import VenueServer
from tests.venue_servers import Running, running, until_async

PAIRS = {
    "coinbase": ["BTC-USD", "ETH-USD"],
    "coinbase-advanced": ["BTC-USD", "ETH-USD"],
    "kraken": ["XBT/USD", "ETH/USD"],
    "kraken-v2": ["BTC/USD", "ETH/USD"],
    "bitfinex": ["tBTCUSD", "tETHUSD"],
    "bitmex": ["XBTUSD", "ETHUSD"],
}
FRAMES = 300


def books_of(records: Records) -> list[tuple[tuple[int, int], float, float, list[int]]]:
    """Return what the records come to, by instrument."""
    found = []
    for place in np.unique(records["instrument"]):
        ours = records[records["instrument"] == place]
        book: OrderBook = on_grid(None, ours)
        book.apply(ours)
        top = book.top(20)
        found.append((book.counts, book.best_bid, book.best_ask, [*top.bid_size.tolist(), *top.ask_size.tolist()]))
    return found


def decoded(venue: str) -> Records:
    """Return the records of the made market, decoded without a socket."""
    decoder = decoder_for(venue)(Pairs(PAIRS[venue]))
    parts = [decoder.receive(line.partition(": ")[2], 0) for line in made_capture(venue, PAIRS[venue], FRAMES)]
    return np.concatenate(parts)


async def listen(
    connection: VenueConnection, done: Callable[[], bool], during: Callable[[], None] | None = None
) -> Records:
    """Run a connection until `done`, say goodbye, and return all its records."""
    task = asyncio.create_task(connection.run())
    await until_async(done)
    if during is not None:
        during()
    await connection.close()
    await task
    return connection.take()


def connect(venue: str, run: Running, told: list[str], pairs: list[str] | None = None) -> VenueConnection:
    pairs = pairs or PAIRS[venue]
    backoff = Backoff(first=0.05, longest=0.1)
    return VenueConnection(endpoint(venue), pairs, Pairs(pairs), url=run.url, tell=told.append, backoff=backoff)


@pytest.mark.parametrize("venue", sorted(MAKERS))
def test_what_a_venue_sends_over_a_socket_is_what_its_decoder_gives(venue: str) -> None:
    told: list[str] = []
    with running(VenueServer.of_made(venue, PAIRS[venue], FRAMES, speed=0.0)) as run:
        connection = connect(venue, run, told)
        records = asyncio.run(listen(connection, lambda: run.sent))
    expected = decoded(venue)
    names = ["kind", "flag", "instrument", "f0", "i0", "i1", "code"]
    assert records[names].tolist().__repr__() == expected[names].tolist().__repr__()
    tallies = connection.tallies()
    assert sum(tally.ignored for tally in tallies.values()) == 0
    assert [tallies[pair].snapshots for pair in PAIRS[venue]] == [1, 1]
    assert told == []


@pytest.mark.parametrize("capture", ["bitfinex_20210417", "bitmex_20210722", "coinbase_20210417", "kraken_20210417"])
def test_a_recorded_market_comes_over_a_socket_as_it_was(capture: str, shared_data: Path) -> None:
    report = replay_capture(shared_data / capture)
    pairs = [pair for pair in report.symbols if report.pairs[pair].book is not None]
    with running(VenueServer.of_capture(shared_data / capture, speed=0.0)) as run:
        connection = connect(run.server.venue, run, [], pairs)
        records = asyncio.run(listen(connection, lambda: run.sent))
    assert len(records) == report.records
    tallies = connection.tallies().values()
    assert sum(tally.ignored + tally.checksums_bad + tally.sequence_gaps for tally in tallies) == 0
    for place, pair in enumerate(pairs):
        ours, theirs = on_grid(None, records[records["instrument"] == place]), report.pairs[pair].book
        assert theirs is not None
        ours.apply(records[records["instrument"] == place])
        assert repr(ours) == repr(theirs)
        assert ours.top(50).bid_size.tolist() == theirs.top(50).bid_size.tolist()


@pytest.mark.parametrize("venue", sorted(MAKERS))
def test_after_a_cut_the_books_are_the_venues_again(venue: str) -> None:
    told: list[str] = []
    # The market stands still at the cut until the client is back: it plays in 3 s, whatever comes.
    server = VenueServer.of_made(venue, PAIRS[venue], FRAMES, speed=0.2, faults={150: "cut"})
    with running(server) as run:
        connection = connect(venue, run, told)
        records = asyncio.run(listen(connection, lambda: run.sent and connection.counts.connects == 2))
    assert books_of(records) == books_of(decoded(venue))
    assert connection.counts.losses == 1
    gaps = records[records["kind"] == Kind.GAP]
    assert sorted(gaps["instrument"]) == [0, 1]
    assert (gaps["i0"] > 0).all()
    assert len(told) == 1
    assert "was cut without a closing frame" in told[0]


@pytest.mark.parametrize("venue", ["kraken", "kraken-v2", "bitfinex", "coinbase-advanced"])
def test_a_lost_message_is_noticed_and_only_books_that_broke_are_asked_for_anew(
    venue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    server = VenueServer.of_made(venue, PAIRS[venue], FRAMES, speed=0.2, faults={100: "drop"})
    with running(server) as run:
        connection = connect(venue, run, told)
        records = asyncio.run(listen(connection, lambda: run.sent))
    assert books_of(records) == books_of(decoded(venue))
    assert connection.counts.connects == 1
    tallies = connection.tallies()
    bad = sum(tally.checksums_bad + tally.sequence_gaps for tally in tallies.values())
    assert bad == 1
    # The others number a socket's frames, so that each of its books may lack the one that is missing.
    broken = 1 if venue.startswith("kraken") else 2
    assert sum(health.resyncs for health in connection.health.values()) == broken
    images = records[(records["flag"] & BookFlag.CLEAR > 0) & (records["kind"] == Kind.BOOK_DELTA)]
    assert len(images) == 2 + broken
    assert len(told) == broken
    assert all("its book is asked for anew" in line for line in told)


@pytest.mark.parametrize(
    ("venue", "unknown", "said"),
    [
        ("coinbase", "FOO-USD", "FOO-USD is not a valid product"),
        ("kraken", "FOO/USD", "Currency pair not supported FOO/USD"),
        ("coinbase-advanced", "FOO-USD", "FOO-USD is not a valid product"),
        ("kraken-v2", "FOO/USD", "Currency pair not supported FOO/USD"),
        ("bitfinex", "tFOOUSD", "symbol: invalid"),
        ("bitmex", "FOOUSD", "Unknown or expired symbol"),
    ],
)
def test_a_refused_pair_is_told_with_the_venues_words_and_the_others_go_on(venue: str, unknown: str, said: str) -> None:
    told: list[str] = []
    pairs = [unknown, *PAIRS[venue]]
    with running(VenueServer.of_made(venue, PAIRS[venue], 50, speed=0.0)) as run:
        connection = connect(venue, run, told, pairs)
        records = asyncio.run(listen(connection, lambda: run.sent))
    assert connection.health[unknown].state == "refused"
    assert said in connection.health[unknown].refusal
    assert said in told[0]
    assert set(records["instrument"]) == {1, 2}
    assert {connection.health[pair].state for pair in PAIRS[venue]} <= {"waiting", "live"}


def test_a_refusal_is_forgotten_once_the_pair_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_connection, "LOOK_EVERY", 0.01)
    with running(VenueServer.of_made("coinbase", PAIRS["coinbase"], 50, speed=0.0)) as run:
        connection = connect("coinbase", run, [])
        health = connection.health["BTC-USD"]
        health.refusal = "refused: rate limit"  # of an earlier socket
        asyncio.run(listen(connection, lambda: health.state == "live"))
    assert health.refusal == ""


def test_a_fault_in_what_watches_a_connection_begins_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_connection, "LOOK_EVERY", 0.01)
    look, looks = VenueConnection._look_at_pairs, [0]

    def faulty(self: VenueConnection, now: object) -> None:
        looks[0] += 1
        if looks[0] == 1:
            raise RuntimeError("a bug")
        look(self, now)  # type: ignore[arg-type]

    monkeypatch.setattr(VenueConnection, "_look_at_pairs", faulty)
    told: list[str] = []
    with running(VenueServer.of_made("coinbase", PAIRS["coinbase"], 50, speed=0.0)) as run:
        connection = connect("coinbase", run, told)
        asyncio.run(listen(connection, lambda: connection.counts.connects == 2 and looks[0] > 1))
    assert len(told) == 1
    assert "coinbase data stream ended: a fault of mdslib, RuntimeError: a bug (test_venue_connection.py:" in told[0]


def test_a_book_that_its_reader_distrusts_is_asked_for_anew() -> None:
    told: list[str] = []
    with running(VenueServer.of_made("coinbase", PAIRS["coinbase"], 50, speed=0.0)) as run:
        connection = connect("coinbase", run, told)

        async def script() -> Records:
            task = asyncio.create_task(connection.run())
            await until_async(lambda: run.sent)
            connection.resync("BTC-USD", "it stays crossed")
            await until_async(lambda: connection.tallies()["BTC-USD"].snapshots == 2)
            await connection.close()
            await task
            return connection.take()

        records = asyncio.run(script())
    assert told == ["coinbase:BTC-USD: it stays crossed; its book is asked for anew"]
    assert (records["kind"] == Kind.GAP).sum() == 1
    assert connection.tallies()["ETH-USD"].snapshots == 1


def test_a_venue_that_falls_silent_is_left_and_connected_anew(
    venue: Callable[..., tuple[str, list[object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(venue_connection, "LOOK_EVERY", 0.02)
    url, _ = venue(lambda side: side.connection.recv() and side.connection.recv(timeout=60))
    told: list[str] = []
    quick = endpoint("bitmex")._replace(silence=0.3, ping="")
    connection = VenueConnection(
        quick, ["XBTUSD"], Pairs(["XBTUSD"]), url=url, tell=told.append, backoff=Backoff(0.01, 0.01)
    )
    asyncio.run(listen(connection, lambda: connection.counts.connects == 3))
    assert connection.counts.losses >= 2
    assert "not even a heartbeat" in told[0]


def test_a_quiet_venue_is_asked_whether_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_connection, "LOOK_EVERY", 0.02)
    with running(VenueServer.of_made("bitmex", ["XBTUSD"], 5, speed=0.0)) as run:
        asks = endpoint("bitmex")._replace(ping_after=0.1)
        connection = VenueConnection(asks, ["XBTUSD"], Pairs(["XBTUSD"]), url=run.url)
        asyncio.run(listen(connection, lambda: connection.tallies()["connection"].names["pong"] > 0))
    assert connection.counts.connects == 1


def test_a_venue_that_can_not_be_reached_is_told_once_and_tried_for_ever() -> None:
    told: list[str] = []
    connection = VenueConnection(
        endpoint("kraken"), ["XBT/USD"], Pairs(["XBT/USD"]), url="ws://127.0.0.1:1", tell=told.append,
        backoff=Backoff(0.01, 0.01),
    )  # fmt: skip

    async def script() -> None:
        task = asyncio.create_task(connection.run())
        await until_async(lambda: len(told) == 1)
        await asyncio.sleep(0.1)
        await connection.close()
        await task

    asyncio.run(script())
    assert len(told) == 1
    assert "can't be reached" in told[0]
    assert connection.health["XBT/USD"].state == "connecting"


def test_every_protocol_has_a_decoder_and_asks_for_a_pair_by_itself() -> None:
    for dialect, each in ENDPOINTS.items():
        assert decoder_for(dialect).venue == each.venue
        assert each.url.startswith("wss://")
        texts = each.messages("BTC-USD", [Channel.BOOK])
        assert len(texts) == 1
        assert texts[0].count("BTC-USD") == 1
    assert endpoint("bitfinex").pairs_together(tuple(Channel)) == 8
