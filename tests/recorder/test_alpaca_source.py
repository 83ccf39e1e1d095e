"""Alpaca's stream in a recorder: its places, its gaps, and a venue that refuses."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from mdslib.events import BookFlag, Kind
from mdslib.feeds.backoff import Backoff
from mdslib.feeds.lull import Lull
from mdslib.instruments import Instrument, parse_instrument
from mdslib.protocols import Records
from mdslib.recorder.alpaca_source import AlpacaSource
from tests.venue_servers import PATIENCE, until_async

Script = Callable[[ServerConnection], None]
TRADE = {"T": "t", "S": "KO", "i": 7, "x": "V", "p": 60.5, "s": 3, "t": "2026-11-20T15:00:00Z", "c": ["@"], "z": "A"}


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPACA_DATA_PUBLIC_KEY", "AKtest")
    monkeypatch.setenv("ALPACA_DATA_SECRET_KEY", "never-seen")


def say(connection: ServerConnection, message: dict[str, Any]) -> None:
    connection.send(json.dumps([message]))


def welcome(connection: ServerConnection) -> None:
    say(connection, {"T": "success", "msg": "connected"})
    connection.recv(PATIENCE)
    say(connection, {"T": "success", "msg": "authenticated"})
    for _ in range(2):
        asked = json.loads(connection.recv(PATIENCE))
        say(connection, {"T": "subscription"} | {key: each for key, each in asked.items() if key != "action"})


@pytest.fixture
def alpaca() -> Iterator[Callable[[Script], str]]:
    """Start a server whose connections run a script; gives its address."""
    running: list[tuple[Any, threading.Thread]] = []

    def start(script: Script) -> str:
        def handle(connection: ServerConnection) -> None:
            try:
                script(connection)
            except (ConnectionClosed, TimeoutError):
                return

        server = serve(handle, "127.0.0.1", 0, compression=None)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        running.append((server, thread))
        return f"ws://127.0.0.1:{server.socket.getsockname()[1]}"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join(PATIENCE)


def record(source: AlpacaSource, done: Callable[[list[Records]], bool]) -> Records:
    """Run a source until `done`, and return its records."""
    taken: list[Records] = []

    def look() -> bool:
        taken.append(source.take())
        return done([part for part in taken if len(part)])

    async def main() -> None:
        task = asyncio.create_task(source.run())
        await until_async(look)
        await source.close()
        await task

    asyncio.run(main())
    return np.concatenate([*taken, source.take()])


def make(url: str, told: list[str], lull: Lull | None = None) -> AlpacaSource:
    instruments = [Instrument("SPY"), Instrument("KO")]
    backoff = Backoff(0.01, 0.01)
    return AlpacaSource(instruments, [4, 2], "iex", url, told.append, backoff=backoff, lull=lull)


def test_trades_bear_the_places_of_the_recording_and_a_loss_is_a_gap(alpaca: Callable[[Script], str]) -> None:
    def script(connection: ServerConnection) -> None:
        welcome(connection)
        say(connection, TRADE)
        connection.close()

    told: list[str] = []
    source = make(alpaca(script), told)
    records = record(source, lambda parts: sum((part["kind"] == Kind.GAP).any() for part in parts) >= 1)
    trade = records[records["kind"] == Kind.TRADE][0]
    assert (trade["instrument"].item(), trade["f0"].item(), trade["i0"].item()) == (2, 60.5, 3)
    gaps = records[records["kind"] == Kind.GAP]
    assert gaps["instrument"][:2].tolist() == [4, 2]
    assert gaps["i0"][0] == trade["ts_event"]
    assert "alpaca: Alpaca data stream ended" in told[0]
    states = source.states()
    assert states["KO"].trades == (records["kind"] == Kind.TRADE).sum()
    assert states["KO"].losses >= 1
    assert "never-seen" not in "".join(told)


def test_a_refusal_for_good_is_told_once_and_shown(alpaca: Callable[[Script], str]) -> None:
    def script(connection: ServerConnection) -> None:
        say(connection, {"T": "success", "msg": "connected"})
        connection.recv(PATIENCE)
        say(connection, {"T": "error", "code": 402, "msg": "auth failed"})
        connection.recv(PATIENCE)

    told: list[str] = []
    source = make(alpaca(script), told)
    record(source, lambda parts: source.states()["SPY"].state == "refused")
    assert "error 402 'auth failed'" in source.states()["KO"].said
    assert len(told) == 1


def test_an_open_connection_that_is_mute_is_cut(
    alpaca: Callable[[Script], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mdslib.recorder.alpaca_source._LOOK_EVERY", 0.01)
    monkeypatch.setattr(AlpacaSource, "_trading", lambda self: True)

    def script(connection: ServerConnection) -> None:
        welcome(connection)
        connection.recv(PATIENCE)

    told: list[str] = []
    source = make(alpaca(script), told, Lull(floor=0.05))
    record(source, lambda parts: source.states()["SPY"].losses >= 1)
    assert "nothing came for" in told[0]


def test_a_fault_in_the_thread_is_raised_by_run_and_shown(
    alpaca: Callable[[Script], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(connection: ServerConnection) -> None:
        welcome(connection)
        say(connection, TRADE)
        connection.recv(PATIENCE)

    def faulty(self: AlpacaSource, records: Records) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(AlpacaSource, "_sink", faulty)
    told: list[str] = []
    source = make(alpaca(script), told)
    for _ in range(2):  # it may be started again
        with pytest.raises(RuntimeError, match="a bug"):
            asyncio.run(source.run())
    source.failed("a fault")
    state = source.states()["KO"]
    assert (state.state, state.said) == ("stopped", "a fault")
    assert told == ["alpaca: a fault; it is tried again"]
    gaps = source.take()
    assert (gaps["kind"].tolist(), gaps["instrument"].tolist()) == ([int(Kind.GAP)] * 2, [4, 2])
    asyncio.run(source.close())


# ------------------------------------------------------------ pairs, which have books

TIME = "2026-11-20T15:00:00Z"
IMAGE = {"T": "o", "S": "BTC/USD", "t": TIME, "b": [{"p": 99.5, "s": 0.5}], "a": [{"p": 100, "s": 1}], "r": True}
CHANGE = {"T": "o", "S": "BTC/USD", "t": TIME, "b": [{"p": 99.5, "s": 0.75}], "a": []}


def pairs_welcome(connection: ServerConnection, paths: list[str]) -> None:
    """Let a client in that asks for three channels, and note where it came in."""
    assert connection.request is not None
    paths.append(connection.request.path)
    say(connection, {"T": "success", "msg": "connected"})
    connection.recv(PATIENCE)
    say(connection, {"T": "success", "msg": "authenticated"})
    for _ in range(3):
        asked = json.loads(connection.recv(PATIENCE))
        say(connection, {"T": "subscription"} | {key: each for key, each in asked.items() if key != "action"})


def make_pair(url: str, told: list[str]) -> AlpacaSource:
    return AlpacaSource([parse_instrument("BTC/USD")], [3], "iex", url, told.append, backoff=Backoff(0.01, 0.01))


def test_books_of_pairs_are_recorded_beside_their_trades_and_counted(alpaca: Callable[[Script], str]) -> None:
    paths: list[str] = []

    def script(connection: ServerConnection) -> None:
        pairs_welcome(connection, paths)
        trade = {"T": "t", "S": "BTC/USD", "i": 7, "p": 100, "s": 0.1, "tks": "B", "t": TIME}
        connection.send(json.dumps([IMAGE, trade, CHANGE]))
        connection.recv(PATIENCE)

    source = make_pair(alpaca(script), [])
    records = record(source, lambda parts: sum(map(len, parts)) >= 5)
    assert paths == ["/v1beta3/crypto/us"]
    assert records["kind"].tolist() == [29, 29, 29, 1, 29]
    assert set(records["instrument"].tolist()) == {3}
    state = source.states()["BTC/USD"]
    assert (state.messages, state.trades, state.deltas, state.quotes) == (3, 1, 1, 0), "messages, without the image"
    assert (state.ignored, state.sequence_gaps) == (0, 0)


def test_what_is_ignored_counts_for_its_own_symbol(alpaca: Callable[[Script], str]) -> None:
    def script(connection: ServerConnection) -> None:
        welcome(connection)
        say(connection, TRADE | {"T": "?"})
        say(connection, TRADE)
        connection.recv(PATIENCE)

    source = make(alpaca(script), [])
    record(source, lambda parts: bool(parts))
    states = source.states()
    assert (states["KO"].ignored, states["KO"].messages) == (1, 2)
    assert (states["SPY"].ignored, states["SPY"].messages) == (0, 0)


def test_a_book_that_can_not_be_trusted_is_asked_for_anew_on_the_same_connection(
    alpaca: Callable[[Script], str],
) -> None:
    paths: list[str] = []
    asked: list[Any] = []

    def script(connection: ServerConnection) -> None:
        pairs_welcome(connection, paths)
        say(connection, IMAGE)
        asked.append(json.loads(connection.recv(PATIENCE)))
        say(connection, CHANGE)  # it was on its way, and is of the book that is not trusted
        asked.append(json.loads(connection.recv(PATIENCE)))
        say(connection, IMAGE)
        say(connection, CHANGE)
        connection.recv(PATIENCE)

    told: list[str] = []
    source = make_pair(alpaca(script), told)

    def done(parts: list[Records]) -> bool:
        if sum(map(len, parts)) == 3 and not told:
            source.resync("BTC/USD", "it has been crossed for 5 s")
        return sum(map(len, parts)) >= 8

    records = record(source, done)
    assert [each["action"] for each in asked] == ["unsubscribe", "subscribe"]
    assert [each["orderbooks"] for each in asked] == [["BTC/USD"]] * 2
    assert records["kind"].tolist() == [29] * 3 + [int(Kind.GAP)] + [29] * 4, "until its image it is not trusted"
    assert records["flag"][4] & BookFlag.CLEAR, "the image is the first after the GAP"
    assert records["instrument"].tolist() == [3] * 8
    assert paths == ["/v1beta3/crypto/us"], "the connection stays"
    assert told == ["alpaca: the book of BTC/USD is asked for anew: it has been crossed for 5 s"]
    state = source.states()["BTC/USD"]
    assert (state.state, state.resyncs, state.ignored) == ("live", 1, 1)
