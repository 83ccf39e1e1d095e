"""Killed at any moment and started again: no order doubled, none forgotten, the state equal to the fold of the tape.

`MDSLIB_LIVES` says how many lives a day has; 10 by default, 200 in the nightly run.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdslib.audit import fold_of
from mdslib.audit.report import Outcome
from mdslib.desk import Desk, mark_record
from mdslib.events import RECORD, Kind, Status, Verb
from mdslib.live.day_audit import audit_run
from mdslib.live.halt import write_halt
from mdslib.live.replay import replay
from mdslib.live.runner import STOP
from mdslib.live.verdict import ExitCode
from mdslib.orderid import client_order_id, parse_client_order_id
from mdslib.protocols import Records
from mdslib.sim import Exchange
from mdslib.store.tapefile import TapeWriter
from mdslib.store.tapereader import TapeReader
from mdslib.strategy import find_model
from mdslib.table import MarketData
from mdslib.tape import Side, SideKind

from .lives import Ended, Mother
from .rehearsal import DAY, KEYS, decisions_on, exchange_for, made_trades, parameters, wait_until
from .test_session import bought, orders, rest

MODELS = Path(__file__).parent / "models"
STURDY, EVERY = MODELS / "sturdy.py", MODELS / "every_step.py"
LIVES = int(os.environ.get("MDSLIB_LIVES", "10"))
KILLED = -9


@pytest.fixture(scope="module")
def mother() -> Iterator[Mother]:
    with Mother([str(STURDY), str(EVERY), "volume_modulo"], KEYS) as made:
        yield made


class Day:
    """One run's folder, its exchange, and the lives that it takes."""

    def __init__(self, mother: Mother, exchange: Exchange, data: MarketData, run_dir: Path, model: str | Path) -> None:
        self.mother, self.exchange, self.data, self.run_dir, self.model = mother, exchange, data, run_dir, model
        self.ends: list[Ended] = []

    def live(self, kill_at: int = 0, *, on: str = "", tear: bool = False, deaf: bool = False, **options: Any) -> Ended:
        given = parameters(self.exchange, self.data, self.run_dir, self.model, **options)
        (self.run_dir / STOP).unlink(missing_ok=True)
        self.ends.append(self.mother.live(given, kill_at, on=on, tear=tear, deaf=deaf))
        return self.ends[-1]

    def killed(self, on: str, count: int = 1, **options: Any) -> None:
        """Live until the point of this name has been passed so often."""
        end = self.live(count, on=on, **options)
        assert (end.code, end.at) == (KILLED, on), end.said

    def live_until(self, true: Callable[[], bool], **options: Any) -> Ended:
        """Live until something is true, which it is not yet, and be asked to stop then."""
        over = threading.Event()

        def stop() -> None:
            try:
                wait_until(lambda: over.is_set() or (is_taped(self.run_dir) and true()), 90)
            finally:
                (self.run_dir / STOP).touch()

        stopping = threading.Thread(target=stop)
        stopping.start()
        try:
            return self.live(**options)
        finally:
            over.set()
            stopping.join(100)

    def live_on(self, **options: Any) -> Ended:
        """Live until it has folded some more events of the market, and be asked to stop then."""
        before = len(market(self.records))
        return self.live_until(lambda: len(market(self.records)) > before + MORE, **options)

    def lives(self, seed: int, longest: int, **options: Any) -> None:
        """Live and be killed at a random point, `LIVES` times, or until the day is over."""
        chance = random.Random(seed)
        while len(self.ends) < LIVES:
            if self.live(chance.randrange(1, longest), tear=chance.random() < 0.3, **options).code != KILLED:
                return

    def of_kind(self, kind: Kind) -> Records:
        records = self.records  # once: a life may be writing
        return records[records["kind"] == int(kind)]

    def texts(self, kind: Kind) -> list[str]:
        with TapeReader(self.run_dir / "tape") as tape:
            return [tape.text(row) for row in tape.records() if row["kind"] == int(kind)]

    @property
    def records(self) -> Records:
        if not is_taped(self.run_dir):
            return np.zeros(0, RECORD)
        with TapeReader(self.run_dir / "tape") as tape:
            return np.array(tape.records())

    @property
    def digest(self) -> str:
        """Return what the tape's CLOSE says of state and account."""
        with TapeReader(self.run_dir / "tape") as tape:
            records = tape.records()
            return tape.text(records[records["kind"] == int(Kind.CLOSE)][-1])


def is_taped(run_dir: Path) -> bool:
    """Tell whether a tape has begun; its file is there a moment before its header."""
    return any(path.stat().st_size for path in (run_dir / "tape").glob("*.tape"))


def fills(records: Records) -> list[tuple[Any, ...]]:
    rows = records[(records["kind"] == int(Kind.UPDATE)) & (records["f0"] != 0.0)]
    return [tuple(row[name].item() for name in ("ts_event", "instrument", "f0", "f1")) for row in rows]


def market(records: Records) -> list[tuple[Any, ...]]:
    rows = records[records["kind"] <= int(Kind.BAR)]
    return [tuple(row[name].item() for name in ("ts_event", "ts_init", "instrument", "f0", "i0")) for row in rows]


def intents(day: Day) -> int:
    return len(day.of_kind(Kind.INTENT))


def placed(exchange: Exchange) -> list[tuple[str, ...]]:
    """Return every order at the exchange, but for its client id, which names a place on the tape."""
    names = ("id", "symbol", "side", "qty", "type", "limit_price", "time_in_force", "submitted_at", "status",
             "filled_qty", "filled_avg_price", "filled_at", "canceled_at", "expired_at")  # fmt: skip
    return [tuple(order[name] for name in names) for order in orders(exchange)]


def position(exchange: Exchange) -> float:
    return sum(float(held["qty"]) for held in rest(exchange, "/v2/positions"))  # type: ignore[attr-defined]


# In lock-step, a day of many lives is the undisturbed day -----------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "count", "rules"),
    [(STURDY, 300, "alpaca"), (EVERY, 400, "permissive"), ("volume_modulo", 300, "permissive")]
    + [(STURDY, 300, "permissive"), (EVERY, 400, "alpaca"), ("volume_modulo", 300, "alpaca")] * (LIVES > 20),
)
def test_killed_at_random_moments_in_lock_step_the_day_is_the_undisturbed_one(
    model: str | Path, count: int, rules: str, mother: Mother, tmp_path: Path
) -> None:
    data = made_trades(count)
    days = []
    for name in ("undisturbed", "disturbed"):
        with exchange_for(data, tmp_path / name, mode="lockstep", rules=rules) as exchange:
            day = Day(mother, exchange, data, tmp_path / name, model)
            if name == "disturbed":
                day.lives(seed=len(Path(model).stem) + count, longest=max(40, 8_000 // LIVES))
            if not day.ends or day.ends[-1].code == KILLED:
                day.live()
            assert day.ends[-1].code == 0, day.ends[-1].said
            days.append((day, placed(exchange), position(exchange)))
    (whole, whole_orders, whole_position), (again, again_orders, again_position) = days
    assert len(again.ends) >= min(LIVES, 6), "the day was disturbed often enough to mean anything"
    assert all(end.code == KILLED for end in again.ends[:-1]), [end.said for end in again.ends if end.code != KILLED]
    assert again_orders == whole_orders
    assert again_position == whole_position
    assert fills(again.records) == fills(whole.records)
    assert decisions_on(again.records) == decisions_on(whole.records)
    assert market(again.records) == market(whole.records)
    assert again.digest == whole.digest, "state and account, bit for bit"
    assert {"-", "E"}.isdisjoint(kinds(again.records))


def kinds(records: Records) -> set[str]:
    """Return marks for what must not be there in lock-step: gaps (-) and decisions that came too late (E)."""
    marks = {int(Kind.GAP): "-", int(Kind.EXPIRED): "E"}
    return {marks[kind] for kind in records["kind"].tolist() if kind in marks}


# In free run, the market goes on while nobody looks ------------------------------------------------------------------

FREE = {"mode": "fast", "speed": 150.0}  # two and a half minutes, of which a test takes some seconds
MORE = 60  # events of the market that a life sees which is not killed
SOON = {"resolve_within": 0.5}


@pytest.fixture
def day(request: pytest.FixtureRequest, mother: Mother, tmp_path: Path) -> Iterator[Day]:
    """A day in free run; give it a model, and the exchange's options, by indirect parameters."""
    model, sim = getattr(request, "param", (STURDY, {}))
    data = made_trades(6_000)
    with exchange_for(data, tmp_path / "run", **FREE | sim) as exchange:
        yield Day(mother, exchange, data, tmp_path / "run", model)


def assert_nothing_lost(day: Day) -> None:
    """None doubled, none forgotten, and the books agree with the venue."""
    assert day.ends[-1].code == 0, day.ends[-1].said
    report = audit_run(day.run_dir)
    assert report.ok, "\n".join(report.lines())
    assert all(finding.outcome is Outcome.PASSED for finding in report.findings), "\n".join(report.lines())
    there = orders(day.exchange)
    assert len({order["client_order_id"] for order in there}) == len(there)
    assert {order["status"] for order in there} <= {"filled", "canceled", "expired"}
    records = day.records
    opening = float(records["f0"][records["kind"] == int(Kind.OPENING)].sum())
    assert opening + sum(fill[2] for fill in fills(records)) == position(day.exchange)
    assert unanswered(records) == []


def unanswered(records: Records) -> list[tuple[int, int]]:
    """Return the decisions that were to be sent, and of which the tape does not tell how they ended."""
    names = ("i0", "flag")
    intents = records[(records["kind"] == int(Kind.INTENT)) & (records["code"] % 256 != int(Verb.CANCEL))]
    ended = np.isin(
        records["code"], [int(s) for s in (Status.FILLED, Status.CANCELED, Status.REJECTED, Status.EXPIRED)]
    )
    over = (records["kind"] == int(Kind.UPDATE)) & ended
    over |= (records["kind"] == int(Kind.DENIED)) & (records["code"] >= 256)
    told = {tuple(row[name].item() for name in names) for row in records[over]}
    return [key for row in intents if (key := tuple(row[name].item() for name in names)) not in told]


@pytest.mark.parametrize("day", [(STURDY, {}), ("volume_modulo", {"rules": "alpaca"})], indirect=True)
def test_killed_at_random_moments_in_free_run_nothing_is_doubled_or_forgotten(day: Day) -> None:
    day.lives(seed=5, longest=120, **SOON)
    assert len(day.ends) > 2, "it was disturbed often enough to mean anything"
    if day.ends[-1].code == KILLED:
        day.live_on(**SOON)
    assert_nothing_lost(day)
    records = day.records
    opened = int(np.count_nonzero(records["kind"] == int(Kind.START)))
    assert 0 < opened <= len(day.ends)
    gaps = day.of_kind(Kind.GAP)
    assert len(gaps) >= opened, "a restart misses events"
    assert (gaps["code"] == 1).all()


def test_an_order_that_was_never_sent_is_asked_for_and_ended(day: Day) -> None:
    day.killed("before submit", 5, **SOON)
    day.live_on(**SOON)
    assert_nothing_lost(day)
    assert len(day.of_kind(Kind.UNKNOWN)) >= 1
    assert "the program ended before it had an answer" in day.texts(Kind.UNKNOWN)
    rejected = [text for text in day.texts(Kind.UPDATE) if "never arrived" in text]
    assert set(rejected) == {"never arrived at the venue: the program ended before"}


def test_an_order_that_had_been_sent_is_found_and_not_sent_again(day: Day) -> None:
    day.killed("after submit", 5, deaf=True, **SOON)
    there = {parse_client_order_id(order["client_order_id"]) for order in orders(day.exchange)}
    day.live_on(**SOON)
    assert_nothing_lost(day)
    unknown = {(int(row["i0"]), int(row["flag"])) for row in day.of_kind(Kind.UNKNOWN)}
    found = unknown & {(key.seq, key.leg) for key in there if key is not None}
    assert found, "an order was at the venue, and the tape did not know"
    updates = {(int(row["i0"]), int(row["flag"])): int(row["code"]) for row in day.of_kind(Kind.UPDATE)}
    assert {updates[key] for key in found} <= {int(Status.FILLED), int(Status.CANCELED), int(Status.EXPIRED)}


def test_a_decision_that_is_too_old_is_expired_and_frees_what_it_held_back(day: Day) -> None:
    left = undecided(day)
    day.live_on(**SOON)
    assert_nothing_lost(day)
    expired = {(int(row["i0"]), int(row["flag"])) for row in day.of_kind(Kind.EXPIRED)}
    assert left <= expired
    assert not expired & {(int(row["i0"]), int(row["flag"])) for row in day.of_kind(Kind.INTENT)}


def test_a_decision_that_is_young_enough_is_sent_late(day: Day) -> None:
    left = undecided(day)
    day.live_on(max_age=86_400.0, **SOON)
    assert_nothing_lost(day)
    assert len(day.of_kind(Kind.EXPIRED)) == 0
    sent = {(int(row["i0"]), int(row["flag"])) for row in day.of_kind(Kind.INTENT)}
    assert left <= sent
    there = {parse_client_order_id(order["client_order_id"]) for order in orders(day.exchange)}
    assert left <= {(key.seq, key.leg) for key in there if key is not None}


def undecided(day: Day) -> set[tuple[int, int]]:
    """Kill it when a batch is on the tape and its decisions are not; return the orders that these are."""
    left = np.zeros(0)
    while not len(left):
        day.killed("before carry_out", 10, **SOON)
        with TapeReader(day.run_dir / "tape") as tape:
            left = replayed(tape, day)
    return {(int(row["seq"]), int(row["leg"])) for row in left}


def replayed(tape: TapeReader, day: Day) -> Records:
    """Return the orders that were decided and have no fate on the tape."""
    header = tape.header
    model = find_model(day.model)
    past = replay(tape, fold_of(header, model), Desk(header.account_id, header.run_name, DAY.date, header.instruments))
    left = past.unfated
    return left[(left["denied"] == 0) & (left["verb"] != int(Verb.CANCEL))]


# What a person decides ----------------------------------------------------------------------------------------------


def test_a_start_after_a_stop_trades_again(day: Day) -> None:
    assert day.live_until(lambda: intents(day) >= 3, **SOON).code == 0
    first = intents(day)
    day.live_until(lambda: intents(day) > first + 2, **SOON)
    assert_nothing_lost(day)
    controls = day.of_kind(Kind.CONTROL)
    assert controls["code"].tolist() == [2, 0, 2], "halted by the stop, resumed by the start, halted by the stop"
    assert len(day.of_kind(Kind.CLOSE)) == 2
    assert intents(day) > first > 0


def test_what_a_person_halted_stays_halted(day: Day) -> None:
    def halt() -> None:
        wait_until(lambda: len(orders(day.exchange)) >= 2, 60)
        write_halt(day.run_dir, "enough")

    halting = threading.Thread(target=halt)
    halting.start()
    assert day.live_until(lambda: len(day.of_kind(Kind.CONTROL)) > 0, **SOON).code == 0
    halting.join(60)
    assert "HALT" in day.live(**SOON).said, "no session starts while the file is there"
    (day.run_dir / "HALT").unlink()
    first = len(orders(day.exchange))
    day.live_on(**SOON)
    assert_nothing_lost(day)
    assert len(orders(day.exchange)) == first > 0
    assert "enough" in day.texts(Kind.CONTROL)[0]
    assert 0 not in day.of_kind(Kind.CONTROL)["code"].tolist(), "nothing resumed it"


@pytest.mark.parametrize("day", [(MODELS / "raises.py", {})], indirect=True)
def test_a_model_that_failed_does_not_trade_again_by_itself(day: Day) -> None:
    assert day.live_on(params={"at": 40}, **SOON).code == ExitCode.MODEL_RAISED
    first, events = len(orders(day.exchange)), len(market(day.records))
    assert day.live_on(params={"at": 40}, **SOON).code == ExitCode.MODEL_RAISED
    assert len(orders(day.exchange)) == first
    assert len(market(day.records)) > events, "it records all the same"
    assert len(day.of_kind(Kind.FAULT)) == 1
    report = audit_run(day.run_dir)
    assert report.ok, "\n".join(report.lines())


def test_another_model_is_refused_and_with_a_person_s_word_begins_afresh(day: Day) -> None:
    day.killed("after submit", 3, **SOON)
    refused = day.live(params={"every": 5}, **SOON)
    assert "of another model: parameters: every=7 there, every=5 here" in refused.said
    day.live_on(params={"every": 5}, accept_changed_model=True, **SOON)
    with TapeReader(day.run_dir / "tape") as tape:
        before, after = tape.runs()
        assert dict(after[0].parameters) == {"every": 5}
        opening = after[1][after[1]["kind"] == int(Kind.OPENING)]
    assert day.ends[-1].code == 0, day.ends[-1].said
    assert int(before[1]["kind"][-1]) != int(Kind.OPENING)
    assert unanswered(before[1]) == [], "the first model's orders had ended before the second began"
    filled = before[1]["f0"][(before[1]["kind"] == int(Kind.UPDATE))].sum()
    assert float(opening["f0"].sum()) == float(filled), "it begins with all that the first one's orders came to"
    assert audit_run(day.run_dir).ok, str(audit_run(day.run_dir))


# What can't be explained --------------------------------------------------------------------------------------------


def test_a_position_that_differs_is_told_and_from_then_on_only_reduced(day: Day) -> None:
    day.killed("before submit", 3, **SOON)
    bought(day.exchange, "SPY", "40")
    wait_until(lambda: position(day.exchange) >= 30)
    assert day.live_on(**SOON).code == ExitCode.AUDIT_FAILED
    differences = day.of_kind(Kind.DIFFERENCE)
    assert len(differences) == 1
    assert float(differences["f1"][0]) - float(differences["f0"][0]) == 40.0
    assert "position of SPY: ours" in day.texts(Kind.DIFFERENCE)[0]
    controls = day.of_kind(Kind.CONTROL)
    assert int(controls["code"][0]) == 1, "reducing"
    assert "books" in day.ends[-1].said


def test_an_order_of_this_run_that_the_tape_does_not_know_is_told_and_canceled(day: Day) -> None:
    day.killed("before submit", 3, **SOON)
    intents = day.of_kind(Kind.INTENT)
    with TapeReader(day.run_dir / "tape") as tape:
        header = tape.header
    name = client_order_id(header.account_id, header.trading_date, header.run_name, int(intents["i0"][0]), 7, 0)
    body = {"symbol": "SPY", "qty": "1", "side": "buy", "type": "limit", "limit_price": "1", "time_in_force": "day"}
    rest(day.exchange, "/v2/orders", **body, client_order_id=name)
    day.live_on(**SOON)
    there = {order["client_order_id"]: order["status"] for order in orders(day.exchange)}
    assert there[name] == "canceled"
    assert day.texts(Kind.DIFFERENCE) == [f"order {name} works at the venue, and not by our books"]
    assert int(day.of_kind(Kind.CONTROL)["code"][0]) == 1


def test_orders_that_are_newer_than_the_tape_refuse_the_restart(day: Day) -> None:
    day.killed("before submit", 3, **SOON)
    with TapeReader(day.run_dir / "tape") as tape:
        header = tape.header
    name = client_order_id(header.account_id, header.trading_date, header.run_name, 999_999, 0, 0)
    body = {"symbol": "SPY", "qty": "1", "side": "buy", "type": "limit", "limit_price": "1", "time_in_force": "day"}
    rest(day.exchange, "/v2/orders", **body, client_order_id=name)
    said = day.live_on(**SOON).said
    assert f"the venue has order {name}, and the tape ends before record 999999" in said
    assert "Begin another run, with --run-dir and --option run_name=NAME" in said


def test_a_state_that_is_not_the_tape_s_is_not_traded_on(day: Day) -> None:
    day.killed("before submit", 3, **SOON)
    with TapeReader(day.run_dir / "tape") as tape:
        header = tape.header
    with TapeWriter(day.run_dir / "tape", header) as writer:
        writer.append(mark_record(Kind.CHECKPOINT, 1, 1), [Side(0, SideKind.DIGEST, "0" * 64)])
        wrong = writer.next_seq - 1
    first = len(orders(day.exchange))
    said = day.live_on(**SOON).said
    assert f"state and account at record {wrong} (CHECKPOINT) have digest 000000000000 on the tape, " in said
    assert "nothing is traded on a state that can't be trusted" in said
    assert len(orders(day.exchange)) == first
