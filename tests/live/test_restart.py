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

from mdslib.events import Kind
from mdslib.protocols import Records
from mdslib.sim import Exchange
from mdslib.store.tapereader import TapeReader
from mdslib.table import MarketData

from .lives import Ended, Mother
from .rehearsal import KEYS, decisions_on, exchange_for, made_trades, parameters
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

    def live(self, kill_at: int = 0, *, tear: bool = False, **options: Any) -> Ended:
        given = parameters(self.exchange, self.data, self.run_dir, self.model, **options)
        self.ends.append(self.mother.live(given, kill_at, tear=tear))
        return self.ends[-1]

    def lives(self, seed: int, longest: int, **options: Any) -> None:
        """Live, be killed at a random point, live again; after `LIVES` of them the last one may reach the end."""
        chance = random.Random(seed)
        while len(self.ends) < LIVES:
            if self.live(chance.randrange(1, longest), tear=chance.random() < 0.3, **options).code != KILLED:
                return
        self.live(**options)

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
                day.lives(seed=len(str(model)) + count, longest=max(40, 8_000 // LIVES))
            else:
                day.live()
            assert day.ends[-1].code == 0, day.ends[-1].said
            days.append((day, placed(exchange), position(exchange)))
    (whole, whole_orders, whole_position), (again, again_orders, again_position) = days
    assert len(again.ends) > min(LIVES, 12), "the day was disturbed often enough to mean anything"
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
