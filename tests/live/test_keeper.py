"""The keeper: what it tells the tape, in which order, and that nothing is lost or doubled, whatever breaks when.

The feed and the history are scripted here, so that each moment is the test's; real sockets are in `test_gaps`.
"""

from __future__ import annotations

import datetime
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdslib.clock import SteppedClock
from mdslib.errors import CredentialError, FeedError, FeedRefused
from mdslib.events import RECORD, BookFlag, Kind
from mdslib.feeds.backfill import Backfill
from mdslib.feeds.backoff import Backoff
from mdslib.instruments import Instrument
from mdslib.live import filler as filler_module
from mdslib.live import keeper as keeper_module
from mdslib.live.filler import Filler
from mdslib.live.keeper import Keeper, State
from mdslib.store.tapefile import TapeWriter
from mdslib.table import Table, trades
from mdslib.tape import make_header

from .rehearsal import wait_until

SECOND = 1_000_000_000
OPEN = 1_000 * SECOND
CLOSE = OPEN + 10_000 * SECOND
SPY = (Instrument("SPY"),)


def trade(number: int, kind: Kind = Kind.TRADE) -> np.ndarray:
    """Trade `number` happens so many seconds after the open."""
    made = np.zeros(1, RECORD)
    made["kind"], made["ts_event"], made["i1"], made["f0"] = kind, OPEN + number * SECOND, number, 100.0
    return made


def image() -> np.ndarray:
    """Return the image of an empty book."""
    made = trade(0, Kind.BOOK_DELTA)
    made["flag"] = BookFlag.CLEAR | BookFlag.SNAPSHOT | BookFlag.LAST
    return made


class Feed:
    """A feed that does what the test says: a script of numbers (a frame each), errors to raise, and calls."""

    def __init__(self) -> None:
        self.frames, self.silence, self.books = 1_000, 0.0, 0
        self.on_unreadable: Callable[[FeedError], bool] | None = None
        self.opened: list[BaseException | None] = []  # what the next `open`s raise
        self.opens = 0
        self.dropped: list[str] = []
        self._script: list[Any] = []
        self._more = threading.Condition()
        self._closed = False

    def say(self, *items: Any) -> None:
        with self._more:
            self._script += items
            self._more.notify_all()

    def open(self) -> None:
        self.opens += 1
        error = self.opened.pop(0) if self.opened else None
        if error is not None:
            raise error

    def run_together(self, sink: Callable[[np.ndarray, int], None]) -> None:
        while True:
            with self._more:
                self._more.wait_for(lambda: bool(self._script) or self._closed)
                if self._closed and not self._script:
                    return
                item = self._script.pop(0)
            if isinstance(item, BaseException):
                raise item
            if callable(item):
                item()
            else:
                sink(item if isinstance(item, np.ndarray) else trade(item), 1)

    def counts(self) -> dict[str, int]:
        return {"messages that were not understood": 3, "errors told by the stream": 0}

    def drop(self, why: str) -> None:
        self.dropped.append(why)
        self.silence = 0.0  # a new connection begins anew, before the watchdog looks again
        self.say(FeedError(f"ended: {why}"))

    def close(self) -> None:
        with self._more:
            self._closed = True
            self._more.notify_all()


class Past:
    """A history that holds trades up to a number; a test may make it fail or wait."""

    def __init__(self) -> None:
        self.until = 0
        self.errors: list[BaseException] = []
        self.go = threading.Event()
        self.go.set()
        self.asked: list[tuple[int, int]] = []

    def trades(self, _symbol: Any, start: Any, end: Any) -> Table:
        assert self.go.wait(120)
        self.asked.append((start, end))
        if self.errors:
            raise self.errors.pop(0)
        numbers = np.arange(1, self.until + 1)
        ts = OPEN + numbers * SECOND
        return trades(ts, np.full(len(ts), 100.0), np.ones(len(ts)), trade_id=numbers).between(start, end)

    def bars(self, *_: Any) -> Table:
        raise AssertionError("no bars were asked for")

    def close(self) -> None:
        self.go.set()


class Tape:
    """The engine's part: writes what it is handed to a real tape, in order, and can be made to fall behind."""

    def __init__(self, folder: Path) -> None:
        header = make_header(
            model="m", fingerprint="f", parameters={}, instruments=SPY, account_id="A",
            trading_date=datetime.date(2025, 6, 12), run_name="r", limits={}, clock="wall", hours=[(OPEN, CLOSE)],
        )  # fmt: skip
        self.writer = TapeWriter(folder, header)
        self.said: list[Any] = []
        self.queued = 0
        self._lock = threading.Lock()

    def _note(self, what: Any, records: np.ndarray | None = None) -> None:
        with self._lock:
            self.said.append(what)
            if records is not None and len(records):
                self.writer.append(records.copy())

    def on_market(self, records: np.ndarray, frames: int) -> None:
        self._note(("live", records["i1"].tolist()), records)

    def on_gap(self, why: str, since: int) -> None:
        self._note(("gap", why))

    def on_backfill(self, records: np.ndarray, why: str, doubled: int) -> None:
        self._note(("filled", records["i1"].tolist()), records)

    def on_resync(self, why: str, recovered: int, doubled: int) -> None:
        self._note(("resync", why))

    def sync(self, there: threading.Event) -> None:
        there.set()

    @property
    def words(self) -> list[str]:
        return [what for what, _ in self.said]

    @property
    def ids(self) -> list[int]:
        return [number for what, told in self.said if what in ("live", "filled") for number in told]


class Scene:
    """A keeper with everything around it."""

    def __init__(self, folder: Path) -> None:
        self.feed, self.past, self.tape = Feed(), Past(), Tape(folder)
        self.clock, self.tally, self.logged = SteppedClock(OPEN), Counter[str](), list[tuple[str, dict[str, Any]]]()
        self.lag, self.options = 0.0, dict[str, Any](mute_after=0.0)
        self.folder = folder
        self.failure: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def start(self, history: bool = True) -> Keeper:
        def made() -> Backfill:
            return Backfill(self.past, SPY, ("trades", "quotes"))

        filler = Filler(
            made if history else None, SPY, self.folder, self.clock, (OPEN, CLOSE), self.tape.sync, self.tally, self.lag
        )
        self.keeper = Keeper(
            self.feed, self.tape, filler, self.clock, (OPEN, CLOSE), self.tally, self._log,
            backoff=Backoff(0.01, 0.02), **self.options,
        )  # fmt: skip
        self.keeper.open()
        return self.keeper

    def _log(self, event: str, **fields: Any) -> None:
        self.logged.append((event, fields))

    def run(self) -> Scene:
        def guarded(body: Callable[[], None]) -> None:
            try:
                body()
            except Exception as error:
                self.failure = error

        for body in (self.keeper.read, self.keeper.keep):
            self._threads.append(threading.Thread(target=guarded, args=(body,)))
            self._threads[-1].start()
        return self

    def whole_again(self, times: int = 1) -> None:
        wait_until(lambda: self.tape.words.count("resync") == times)

    def end(self) -> None:
        self.keeper.close()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive()
        self.tape.writer.close()


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(keeper_module, "LOOK", 0.01)
    monkeypatch.setattr(filler_module, "AGAIN", 0.01)
    monkeypatch.setattr(filler_module, "PATIENT", 0.05)
    made = Scene(tmp_path)
    yield made
    made.end()


LOST = FeedError("the connection was cut")


# Order on the tape ----------------------------------------------------------------------------------------------------


def test_gap_backfill_what_waited_and_resync_in_this_order(scene: Scene) -> None:
    scene.start()
    scene.past.go.clear()
    scene.past.until = 7
    scene.feed.say(1, 2, 3, LOST, 6, 7, 8)  # 4 and 5 are missed; 6 and 7 come from both sides
    scene.run()
    wait_until(lambda: len(scene.keeper._waiting) == 3)
    assert scene.tape.words == ["live", "live", "live", "gap"], "frames that arrive during the backfill wait"
    assert scene.keeper.line == "feed filling in: the connection was cut"
    scene.past.go.set()
    scene.whole_again()
    assert scene.tape.said[3:] == [
        ("gap", "the connection was cut"),
        ("filled", [4, 5, 6, 7]),
        ("live", []),
        ("live", []),
        ("live", [8]),
        scene.tape.said[-1],
    ]
    assert scene.keeper.line == ""
    assert scene.tape.said[-1][1] == (
        "4 trades of SPY filled in from 1970-01-01T00:16:40Z to 1970-01-01T00:16:40Z, 3 more were there already;"
        " no history of quotes: those of that time are missing"
    )
    assert scene.tally["connections lost"] == scene.tally["reconnections"] == 1


def test_frames_that_come_after_the_resync_are_still_compared_for_a_while(scene: Scene) -> None:
    scene.start()
    scene.past.until = 6
    scene.feed.say(1, LOST)
    scene.run()
    scene.whole_again()
    scene.feed.say(5, 6, 7)  # 5 and 6 were on their way when the history had them already
    wait_until(lambda: 7 in scene.tape.ids)
    assert scene.tape.ids == [1, 2, 3, 4, 5, 6, 7]
    assert scene.keeper.state is State.WATCHED
    scene.feed.say(100)
    wait_until(lambda: 100 in scene.tape.ids)
    assert scene.keeper.state is State.WHOLE


def test_the_backfill_begins_a_little_before_the_tape_s_end_for_prints_that_were_reported_late(scene: Scene) -> None:
    scene.start()
    scene.past.until = 30
    scene.feed.say(*(n for n in range(1, 31) if n != 25), LOST)
    scene.run()
    scene.whole_again()
    assert sorted(scene.tape.ids) == list(range(1, 31))
    assert scene.past.asked[0][0] == OPEN + 20 * SECOND


def test_a_second_loss_while_filling_in_loses_and_doubles_nothing(scene: Scene) -> None:
    scene.start()
    scene.past.go.clear()
    scene.past.until = 9
    scene.feed.say(1, LOST, 5, trade(6, Kind.QUOTE), FeedError("again"), 12)
    scene.run()
    wait_until(lambda: scene.tape.words.count("gap") == 2 and len(scene.keeper._waiting) == 3)
    scene.past.until = 11
    scene.past.go.set()
    scene.whole_again()
    assert scene.tape.ids == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 6, 12], "the quote that waited is kept: it has no past"
    assert scene.tape.words.count("resync") == 1


def test_without_a_loss_nothing_is_asked_and_nothing_told(scene: Scene) -> None:
    scene.start()
    scene.feed.say(1, 2, 3)
    scene.run()
    wait_until(lambda: scene.tape.ids == [1, 2, 3])
    assert scene.tape.words == ["live"] * 3
    assert not scene.past.asked


# What can't be filled in ----------------------------------------------------------------------------------------------


def test_a_history_that_fails_is_asked_again(scene: Scene) -> None:
    scene.start()
    scene.past.until = 3
    scene.past.errors = [FeedError("HTTP 500", 500), FeedError("no answer within 10 s")]
    scene.feed.say(1, LOST)
    scene.run()
    scene.whole_again()
    assert scene.tape.ids == [1, 2, 3]
    assert scene.tally["questions to the history that failed"] == 2
    assert scene.tally["gaps not filled in"] == 0


def test_alpaca_py_415_a_history_that_never_answers_is_given_up_in_bounded_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filler_module, "WITHIN", 0.5)
    scene.start()
    scene.past.errors = [FeedError("no answer within 10 s")] * 50
    scene.feed.say(1, LOST, 9)
    scene.run()
    scene.whole_again()
    assert scene.tape.ids == [1, 9], "the feed goes on, and the hole is marked"
    assert "nothing filled in" in scene.tape.said[-1][1]
    assert "not all: no answer within 10 s" in scene.tape.said[-1][1]
    assert scene.tally["gaps not filled in"] == 1


@pytest.mark.parametrize(
    "error", [CredentialError("the venue refused the key pair"), FeedRefused("the plan does not cover these data", 403)]
)
def test_a_history_that_refuses_for_good_is_not_asked_again(scene: Scene, error: Exception) -> None:
    scene.start()
    scene.past.errors = [error] * 5
    scene.feed.say(1, LOST, 9)
    scene.run()
    scene.whole_again()
    assert f"not all: {error}" in scene.tape.said[-1][1]
    assert len(scene.past.asked) == 1


def test_a_feed_without_a_history_says_so(scene: Scene) -> None:
    scene.start(history=False)
    scene.feed.say(1, LOST, 9)
    scene.run()
    scene.whole_again()
    assert "nothing filled in" in scene.tape.said[-1][1]
    assert "not all: this feed has no history" in scene.tape.said[-1][1]
    assert scene.tape.ids == [1, 9]


def test_a_history_that_lags_is_asked_until_it_has_the_first_frame_that_waits(scene: Scene) -> None:
    scene.lag = 30.0
    scene.start()
    scene.past.until = 3
    scene.feed.say(1, LOST, 6)
    scene.run()
    wait_until(lambda: len(scene.past.asked) > 3)
    assert "resync" not in scene.tape.words, "4 and 5 may still come"
    scene.past.until = 6
    scene.whole_again()
    assert scene.tape.ids == [1, 2, 3, 4, 5, 6]


# Connecting -----------------------------------------------------------------------------------------------------------


def test_a_connection_that_is_refused_for_a_while_is_tried_again(scene: Scene) -> None:
    scene.start()
    scene.feed.opened = [FeedError("HTTP 503", 503), FeedError("can't be reached"), None]
    scene.feed.say(1, LOST, 2)
    scene.run()
    scene.whole_again()
    assert scene.feed.opens == 4
    assert scene.tally["reconnections that failed"] == 2
    assert [fields["tries"] for event, fields in scene.logged if event == "feed-waits"] == [1, 2]


@pytest.mark.parametrize("code", [402, 409])
def test_what_the_venue_refuses_for_good_is_final(scene: Scene, code: int) -> None:
    scene.start()
    scene.feed.opened = [FeedRefused(f"error {code}", code)]
    scene.feed.say(1, LOST)
    scene.run()
    wait_until(lambda: scene.failure is not None)
    assert isinstance(scene.failure, FeedRefused)
    assert scene.feed.opens == 2


def test_alpaca_py_248_a_stale_session_s_slot_is_waited_for_at_the_start(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mdslib.feeds.backoff.LEAST", {406: 0.05})
    scene.feed.opened = [FeedError("connection limit exceeded", 406)] * 3
    scene.start()
    assert scene.feed.opens == 4
    assert scene.tally["connection refused, 406"] == 3


def test_at_the_start_an_address_that_does_not_answer_is_told_at_once(scene: Scene) -> None:
    scene.feed.opened = [FeedError("can't be reached")]
    with pytest.raises(FeedError, match="can't be reached"):
        scene.start()


def test_a_slot_that_does_not_become_free_is_told_after_the_deadline(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "STALE", 0.2)
    monkeypatch.setattr("mdslib.feeds.backoff.LEAST", {406: 0.1})
    scene.feed.opened = [FeedError("connection limit exceeded", 406)] * 50
    with pytest.raises(FeedError, match="connection limit exceeded"):
        scene.start()


def test_waiting_for_a_slot_ends_when_somebody_wants_the_session_to_end(scene: Scene) -> None:
    scene.start()
    scene.feed.opened = [FeedError("connection limit exceeded", 406)] * 50
    with pytest.raises(FeedError, match="connection limit exceeded"):
        scene.keeper.open(lambda: True)


def test_a_loss_by_407_is_counted(scene: Scene) -> None:
    scene.start()
    scene.feed.say(1, FeedError("slow client", 407))
    scene.run()
    scene.whole_again()
    assert scene.tally["called a slow client (407)"] == 1


# A queue that overflows -----------------------------------------------------------------------------------------------


def test_a_queue_that_overflows_is_a_gap_and_what_was_dropped_is_fetched(scene: Scene) -> None:
    scene.options["most"] = 10
    scene.start()
    scene.past.until = 5

    def behind() -> None:
        scene.tape.queued = 10

    scene.feed.say(1, 2, behind, 3, 4, 5)
    scene.run()
    wait_until(lambda: scene.tally["events dropped, to be fetched"] == 3)
    assert scene.tape.said[2:] == [("gap", "10 frames waited for the deciding thread; what followed was dropped")]
    assert scene.keeper.state is State.SPILLED
    scene.tape.queued = 5
    scene.whole_again()
    scene.feed.say(6)
    wait_until(lambda: 6 in scene.tape.ids)
    assert scene.tape.ids == [1, 2, 3, 4, 5, 6]
    assert scene.tally["queue overflowed"] == 1


def test_with_books_of_which_frames_were_dropped_a_new_connection_is_made(scene: Scene) -> None:
    scene.options["most"] = 10
    scene.feed.books = 1
    scene.start()
    scene.past.until = 4

    def behind() -> None:
        scene.tape.queued = 10

    scene.feed.say(1, 2, behind, 3, 4)
    scene.run()
    wait_until(lambda: scene.tally["events dropped, to be fetched"] == 2)
    assert scene.feed.opens == 1
    scene.tape.queued = 5
    wait_until(lambda: bool(scene.feed.dropped))
    scene.feed.say(image())
    scene.whole_again()
    assert set(scene.feed.dropped) == {"frames were dropped, and the books are asked for anew"}
    assert scene.feed.opens >= 2
    scene.feed.say(6)
    wait_until(lambda: 6 in scene.tape.ids)
    assert [number for number in scene.tape.ids if number] == [1, 2, 3, 4, 6]


def test_frames_that_wait_for_a_backfill_are_bounded_too(scene: Scene) -> None:
    scene.options["most"] = 4
    scene.start()
    scene.past.go.clear()
    scene.past.until = 8
    scene.feed.say(1, LOST, 4, 5, 6, 7, 8)
    scene.run()
    wait_until(lambda: scene.tape.words.count("gap") == 2)
    scene.past.go.set()
    scene.whole_again()
    assert scene.tape.ids == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_queue_that_grows_is_counted_and_logged_each_time_it_has_doubled(scene: Scene) -> None:
    scene.start()
    scene.run()
    scene.tape.queued = 2_500
    wait_until(lambda: scene.tally["times that the queue had doubled"] == 1)
    scene.tape.queued = 4_000
    scene.tape.queued = 6_000
    wait_until(lambda: scene.tally["times that the queue had doubled"] == 2)
    assert [fields["frames"] for event, fields in scene.logged if event == "queue-grows"] == [2_500, 6_000]


# Frames that can't be read --------------------------------------------------------------------------------------------


def test_with_books_a_frame_that_can_not_be_read_costs_the_connection_since_only_a_new_one_brings_an_image(
    scene: Scene,
) -> None:
    scene.feed.books = 1
    scene.start()
    scene.past.until = 3

    def damaged() -> None:
        assert scene.feed.on_unreadable is not None
        error = FeedError("a frame of 40 bytes must be JSON")
        if not scene.feed.on_unreadable(error):
            raise error

    scene.feed.say(1, damaged, 3)
    scene.run()
    wait_until(lambda: 3 in scene.tape.ids)
    assert "resync" not in scene.tape.words, "the book is not whole yet"
    scene.feed.say(image(), 4)
    scene.whole_again()
    wait_until(lambda: 4 in scene.tape.ids)
    assert scene.feed.opens == 2
    assert [number for number in scene.tape.ids if number] == [1, 2, 3, 4]
    assert scene.tape.said.index(("live", [0])) < scene.tape.words.index("resync")
    assert scene.tally["frames that could not be read"] == 1


def test_a_frame_that_can_not_be_read_is_filled_in_without_losing_the_connection(scene: Scene) -> None:
    scene.start()
    scene.past.until = 3

    def damaged() -> None:
        assert scene.feed.on_unreadable is not None
        assert scene.feed.on_unreadable(FeedError("a frame of 40 bytes must be JSON"))

    scene.feed.say(1, damaged, 3, 4)
    scene.run()
    scene.whole_again()
    wait_until(lambda: 4 in scene.tape.ids)
    assert scene.tape.ids == [1, 2, 3, 4]
    assert scene.feed.opens == 1


def test_a_stream_that_lags_behind_the_clock_brings_nothing_twice(scene: Scene) -> None:
    """A delayed feed, or a machine that is slow to read: the history is ahead of the frames that still come."""
    scene.start()
    scene.past.until = 300

    def damaged() -> None:
        scene.clock.advance(OPEN + 300 * SECOND)
        assert scene.feed.on_unreadable is not None
        assert scene.feed.on_unreadable(FeedError("a frame of 40 bytes must be JSON"))

    scene.feed.say(1, damaged)
    scene.run()
    scene.whole_again()
    scene.feed.say(*range(3, 303))
    wait_until(lambda: 302 in scene.tape.ids)
    assert scene.tape.ids == list(range(1, 303))


def test_of_a_long_hole_only_the_last_slices_are_kept_for_comparison(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filler_module, "ROOM", 1_000)
    scene.start()
    scene.past.until = 5_000
    scene.clock.advance(OPEN + 5_000 * SECOND)
    scene.feed.say(LOST, *range(4_900, 5_003))
    scene.run()
    scene.whole_again()
    wait_until(lambda: 5_002 in scene.tape.ids)
    assert scene.tape.ids == list(range(1, 5_003))
    assert len(scene.keeper._filler._guard) < 3_000


def test_frames_that_can_not_be_read_one_after_the_other_make_for_a_new_connection(scene: Scene) -> None:
    scene.start()
    assert scene.feed.on_unreadable is not None
    assert scene.feed.on_unreadable(FeedError("unreadable"))
    assert not scene.feed.on_unreadable(FeedError("unreadable"))
    assert scene.tally["frames that could not be read"] == 2


# A socket that is open but mute ---------------------------------------------------------------------------------------


def test_alpaca_py_740_a_mute_socket_is_cut_as_soon_as_the_history_has_newer_events(scene: Scene) -> None:
    scene.options["mute_after"] = 5.0
    scene.start()
    scene.feed.say(1)
    scene.run()
    wait_until(lambda: scene.tape.ids == [1])
    scene.past.until = 4
    scene.clock.advance(OPEN + 60 * SECOND)
    scene.feed.silence = 6.0
    wait_until(lambda: bool(scene.feed.dropped))
    assert scene.feed.dropped[0] == ("mute for 6 s, longest lull of the day 0 s, the venue's history has newer events")
    scene.feed.silence = 0.0
    wait_until(lambda: scene.tape.ids == [1, 2, 3, 4])
    scene.past.until = 6
    wait_until(lambda: scene.tape.ids == [1, 2, 3, 4, 5, 6])
    assert "resync" not in scene.tape.words, "the new connection has not said anything either"
    scene.past.until = 7
    scene.feed.say(8)  # 7 was sent while it was still mute
    scene.whole_again()
    assert scene.tape.ids == [1, 2, 3, 4, 5, 6, 7, 8]
    assert scene.tally["mute connections cut"] == 1


def test_a_lull_is_no_alarm_where_the_history_has_nothing_newer(scene: Scene) -> None:
    scene.options["mute_after"] = 5.0
    scene.start()
    scene.past.until = 1
    scene.feed.say(1)
    scene.run()
    wait_until(lambda: scene.tape.ids == [1])
    scene.clock.advance(OPEN + 600 * SECOND)
    scene.feed.silence = 500.0
    wait_until(lambda: len(scene.past.asked) > 0)
    asked = len(scene.past.asked)
    threading.Event().wait(0.1)
    assert not scene.feed.dropped
    assert len(scene.past.asked) == asked, "it is asked again only after a longer lull"


def test_where_the_history_can_not_be_asked_the_lull_s_length_alone_decides(scene: Scene) -> None:
    scene.options["mute_after"] = 5.0
    scene.start(history=False)
    scene.feed.say(1)
    scene.run()
    wait_until(lambda: scene.tape.ids == [1])
    scene.feed.silence = 6.0
    wait_until(lambda: bool(scene.feed.dropped))
    assert scene.feed.dropped[0].endswith("the history could not be asked")
    scene.feed.silence = 0.0
    scene.feed.say(2)
    scene.whole_again()


def test_before_the_open_and_after_the_close_quiet_is_no_alarm(scene: Scene) -> None:
    scene.options["mute_after"] = 5.0
    scene.clock = SteppedClock(OPEN - 100 * SECOND)
    scene.start(history=False)
    scene.feed.silence = 1_000.0
    scene.run()
    threading.Event().wait(0.1)
    assert not scene.feed.dropped


# Beginning in mid-day -------------------------------------------------------------------------------------------------


def test_a_start_in_mid_day_may_be_told_first_what_happened_since_the_open(scene: Scene) -> None:
    scene.clock = SteppedClock(OPEN + 50 * SECOND)
    scene.start()
    scene.past.until = 50
    scene.keeper.begin_with("the session began in mid-day", OPEN)
    scene.feed.say(50, 51)
    scene.run()
    scene.whole_again()
    wait_until(lambda: 51 in scene.tape.ids)
    assert scene.tape.ids == list(range(1, 52))
    assert scene.tape.words[:2] == ["gap", "filled"]


def test_a_loss_before_the_first_event_is_filled_in_from_the_first_connection_on(scene: Scene) -> None:
    scene.clock = SteppedClock(OPEN + 50 * SECOND)
    scene.start()
    scene.past.until = 60
    scene.feed.say(LOST)
    scene.run()
    scene.whole_again()
    assert scene.tape.ids == list(range(50, 61)), "what was before the session's start stays outside"


def test_a_hint_that_something_is_missing_has_the_whole_session_compared(scene: Scene) -> None:
    scene.start()
    scene.past.until = 30
    scene.feed.say(*(n for n in range(1, 31) if n != 5))
    scene.run()
    wait_until(lambda: 30 in scene.tape.ids)
    scene.keeper.suspect("the exchange says that it has sent more")
    scene.keeper.suspect("the exchange says that it has sent more")
    scene.whole_again()
    assert scene.tape.ids[-1] == 5
    assert scene.tape.words.count("gap") == 1


def test_the_end_counts_what_the_feed_has_to_tell(scene: Scene) -> None:
    scene.start()
    scene.run()
    scene.keeper.close()
    scene.keeper.close()
    assert scene.tally == {"messages that were not understood": 3}
