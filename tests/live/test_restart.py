"""Killed at any moment and started again: no order doubled, none forgotten, the state equal to the fold of the tape.

`MDSLIB_LIVES` says how many lives a day has at least; some 20 by default, 200 in the nightly run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdslib.audit import fold_of
from mdslib.audit.report import Outcome
from mdslib.desk import Desk
from mdslib.events import Kind, Status, Verb
from mdslib.live.day_audit import audit_run
from mdslib.live.replay import replay
from mdslib.orderid import parse_client_order_id
from mdslib.protocols import Records
from mdslib.sim import Exchange
from mdslib.store.tapereader import TapeReader
from mdslib.strategy import find_model
from mdslib.table import MarketData

from .lives import Ended, Mother
from .rehearsal import DAY, KEYS, decisions_on, exchange_for, made_trades, parameters
from .test_session import orders, rest

MODELS = Path(__file__).parent / "models"
STURDY, EVERY = MODELS / "sturdy.py", MODELS / "every_step.py"
LIVES = int(os.environ.get("MDSLIB_LIVES", "20"))
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

    def live(
        self, kill_at: int = 0, *, on: str = "", tear: bool = False, deaf: bool = False, stop_after: float = 0.0,
        **options: Any,
    ) -> Ended:  # fmt: skip
        given = parameters(self.exchange, self.data, self.run_dir, self.model, **options)
        self.ends.append(self.mother.live(given, kill_at, on=on, tear=tear, deaf=deaf, stop_after=stop_after))
        return self.ends[-1]

    def killed(self, on: str, count: int = 1, **options: Any) -> None:
        """Live until the point of this name has been passed so often."""
        end = self.live(count, on=on, **options)
        assert (end.code, end.at) == (KILLED, on), end.said

    def lives(self, seed: int, longest: int, **options: Any) -> None:
        """Live, be killed at a random point, live again; after `LIVES` of them the last one may reach the end."""
        chance = random.Random(seed)
        while len(self.ends) < LIVES:
            if self.live(chance.randrange(1, longest), tear=chance.random() < 0.3, **options).code != KILLED:
                return
        self.live(**options)

    def of_kind(self, kind: Kind) -> Records:
        return self.records[self.records["kind"] == int(kind)]

    def texts(self, kind: Kind) -> list[str]:
        with TapeReader(self.run_dir / "tape") as tape:
            return [tape.text(row) for row in tape.records() if row["kind"] == int(kind)]

    @property
    def records(self) -> Records:
        with TapeReader(self.run_dir / "tape") as tape:
            return np.array(tape.records())

    @property
    def digest(self) -> str:
        """Return what the tape's CLOSE says of state and account."""
        with TapeReader(self.run_dir / "tape") as tape:
            records = tape.records()
            return tape.text(records[records["kind"] == int(Kind.CLOSE)][-1])


def fills(records: Records) -> list[tuple[Any, ...]]:
    rows = records[(records["kind"] == int(Kind.UPDATE)) & (records["f0"] != 0.0)]
    return [tuple(row[name].item() for name in ("ts_event", "instrument", "f0", "f1")) for row in rows]


def market(records: Records) -> list[tuple[Any, ...]]:
    rows = records[records["kind"] <= int(Kind.BAR)]
    return [tuple(row[name].item() for name in ("ts_event", "ts_init", "instrument", "f0", "i0")) for row in rows]


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
            else:
                day.live()
            assert day.ends[-1].code == 0, day.ends[-1].said
            days.append((day, placed(exchange), position(exchange)))
    (whole, whole_orders, whole_position), (again, again_orders, again_position) = days
    assert len(again.ends) >= min(LIVES, 10), "the day was disturbed often enough to mean anything"
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
FASTER = {"speed": 700.0}
WHILE = 2.5  # s that the last life lasts
SOON = {"resolve_within": 0.5}


@pytest.fixture
def day(request: pytest.FixtureRequest, mother: Mother, tmp_path: Path) -> Iterator[Day]:
    """A day in free run; give it a model, and the exchange's options, by indirect parameters."""
    model, sim = getattr(request, "param", (STURDY, {}))
    data = made_trades(2_000)
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


@pytest.mark.parametrize("day", [(STURDY, FASTER), ("volume_modulo", FASTER | {"rules": "alpaca"})], indirect=True)
def test_killed_at_random_moments_in_free_run_nothing_is_doubled_or_forgotten(day: Day) -> None:
    day.lives(seed=5, longest=max(60, 12_000 // LIVES), **SOON)
    assert_nothing_lost(day)
    assert len(day.ends) > 5
    records = day.records
    opened = int(np.count_nonzero(records["kind"] == int(Kind.START)))
    assert 0 < opened <= len(day.ends)
    gaps = day.of_kind(Kind.GAP)
    assert len(gaps) >= opened, "a restart misses events"
    assert (gaps["code"] == 1).all()


def test_an_order_that_was_never_sent_is_asked_for_and_ended(day: Day) -> None:
    day.killed("before submit", 5, **SOON)
    day.live(stop_after=WHILE, **SOON)
    assert_nothing_lost(day)
    assert len(day.of_kind(Kind.UNKNOWN)) >= 1
    assert "the program ended before it had an answer" in day.texts(Kind.UNKNOWN)
    rejected = [text for text in day.texts(Kind.UPDATE) if "never arrived" in text]
    assert set(rejected) == {"never arrived at the venue: the program ended before"}


def test_an_order_that_had_been_sent_is_found_and_not_sent_again(day: Day) -> None:
    day.killed("after submit", 5, deaf=True, **SOON)
    there = {parse_client_order_id(order["client_order_id"]) for order in orders(day.exchange)}
    day.live(stop_after=WHILE, **SOON)
    assert_nothing_lost(day)
    unknown = {(int(row["i0"]), int(row["flag"])) for row in day.of_kind(Kind.UNKNOWN)}
    found = unknown & {(key.seq, key.leg) for key in there if key is not None}
    assert found, "an order was at the venue, and the tape did not know"
    updates = {(int(row["i0"]), int(row["flag"])): int(row["code"]) for row in day.of_kind(Kind.UPDATE)}
    assert {updates[key] for key in found} <= {int(Status.FILLED), int(Status.CANCELED), int(Status.EXPIRED)}


def test_a_decision_that_is_too_old_is_expired_and_frees_what_it_held_back(day: Day) -> None:
    left = undecided(day)
    day.live(stop_after=WHILE, **SOON)
    assert_nothing_lost(day)
    expired = {(int(row["i0"]), int(row["flag"])) for row in day.of_kind(Kind.EXPIRED)}
    assert left <= expired
    assert not expired & {(int(row["i0"]), int(row["flag"])) for row in day.of_kind(Kind.INTENT)}


def test_a_decision_that_is_young_enough_is_sent_late(day: Day) -> None:
    left = undecided(day)
    day.live(stop_after=WHILE, max_age=86_400.0, **SOON)
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
