"""The heartbeat while a session concludes: fed by each step that is done, and by nothing else."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdslib.audit import refold
from mdslib.brokers.allowance import Allowance
from mdslib.clock import monotonic_ns
from mdslib.live import session as session_module
from mdslib.live.conclude import books
from mdslib.live.day_audit import audit_run
from mdslib.live.guards import Action, Guards, Seen, Watch
from mdslib.live.runner import HEARTBEAT

from .rehearsal import made_trades, rehearse


def test_an_audit_tells_of_every_piece_that_it_has_folded_and_comes_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearse(made_trades(300), "volume_modulo", tmp_path / "run", sim={"mode": "lockstep"})
    whole = audit_run(tmp_path / "run")
    monkeypatch.setattr(refold, "PIECE", 10)
    steps: list[int] = []
    again = audit_run(tmp_path / "run", progress=lambda: steps.append(1))
    assert again.lines() == whole.lines()
    assert again.ok
    assert len(steps) > 300 / 10


class Stages:
    """What a session did at its end, and how often its heartbeat file was touched before each step of that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
        self.touched, self.seen = 0, list[tuple[str, int]]()
        self._file = run / HEARTBEAT
        touch, hours = Path.touch, iter(range(10**6))

        def counted(path: Path, *given: Any, **named: Any) -> None:
            self.touched += path == self._file
            touch(path, *given, **named)

        monkeypatch.setattr(Path, "touch", counted)
        # Hours go by between two looks at the clock: a step's beat is never left out for being early.
        monkeypatch.setattr(session_module, "monotonic_ns", lambda: monotonic_ns() + next(hours) * 3_600 * 10**9)

    def watched(self, name: str, step: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            self.seen.append((name, self.touched))
            return step(*given, **named)

        return call


def test_every_step_of_the_end_beats_and_none_beats_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    stages = Stages(monkeypatch, run)

    def slow_books(*given: Any) -> Any:
        before = stages.touched
        for _ in range(3):  # turns of the thread that beats while the loop runs, and of any timer
            threading.Event().wait(0.25)
        assert stages.touched == before, "nothing beats while a step hangs"
        return books(*given)

    monkeypatch.setattr(session_module, "books", stages.watched("books", slow_books))
    monkeypatch.setattr(session_module, "past_checked", stages.watched("history", session_module.past_checked))
    monkeypatch.setattr(session_module.DayReport, "of", stages.watched("report", session_module.DayReport.of))
    monkeypatch.setattr(session_module, "judged", stages.watched("verdict", session_module.judged))
    monkeypatch.setattr(refold, "PIECE", 10)
    rehearse(made_trades(300), "volume_modulo", run, sim={"mode": "lockstep"})
    names, touched = zip(*stages.seen, strict=True)
    assert names == ("books", "history", "report", "verdict")
    assert touched[1] > touched[0], "the venue answered"
    assert touched[3] - touched[2] > 300 / 10, "each piece of the audit"


def test_the_supervisor_lets_a_long_audit_go_on_and_ends_one_that_hangs() -> None:
    watch = Watch(Guards(silence=20.0), now=0.0)
    beats = np.repeat(np.arange(1, 31), 15)  # one piece in 15 s, for 450 s
    assert {watch.tick(float(now), Seen(cell=True, heartbeat=int(beat))) for now, beat in enumerate(beats)} == {None}
    acts = [watch.tick(450.0 + now, Seen(cell=True, heartbeat=30)) for now in range(10)]
    assert Action.KILL in acts
    assert watch.overdue == "the session's heartbeat stood still for 20 s"


def test_who_waits_for_the_venue_s_next_minute_is_told_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdslib.brokers.allowance.WAITED_AT_ONCE", 0.01)
    allowance, waits = Allowance(0), list[int]()
    allowance.on_wait = lambda: waits.append(1)
    allowance.answered(429, {"Retry-After": "1"})
    allowance.wait(urgent=True)
    assert len(waits) > 3
