"""Whether there is a session today, where its files go, and how long it may take."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mdslib.calendar import session
from mdslib.errors import ConfigError
from mdslib.live import program
from mdslib.live.guards import Guards
from mdslib.live.program import Request, make_plan, no_session, trade
from mdslib.live.runner import Plan
from mdslib.live.verdict import ExitCode, Verdict

NEW_YORK = datetime.timezone(datetime.timedelta(hours=-5))


def at(day: str, time: str) -> int:
    return int(datetime.datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=NEW_YORK).timestamp() * 1e9)


@pytest.mark.parametrize(
    ("day", "time", "extended", "reason"),
    [
        ("2026-11-25", "09:00", False, ""),
        ("2026-11-26", "09:00", False, "no session on 2026-11-26: "),
        ("2026-11-28", "09:00", False, "no session on 2026-11-28: "),
        ("2026-11-27", "12:59", False, ""),
        ("2026-11-27", "13:00", False, "the session of 2026-11-27 at NYSE is over; nothing to do"),
        ("2026-11-25", "16:30", False, "the session of 2026-11-25 at NYSE is over; nothing to do"),
        ("2026-11-25", "16:30", True, ""),
    ],
)
def test_holidays_weekends_and_the_hours_after_the_close_of_the_day_have_no_session(
    day: str, time: str, extended: bool, reason: str
) -> None:
    said = no_session(datetime.date.fromisoformat(day), at(day, time), Request("m", extended=extended))
    assert said.startswith(reason)
    assert bool(said) is bool(reason)


def test_a_played_day_is_never_over() -> None:
    assert no_session(datetime.date(2013, 10, 8), at("2026-11-25", "23:00"), Request("m", date="2013-10-08")) == ""


def test_without_a_session_the_run_says_so_and_is_0(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(program, "wall_ns", lambda: at("2026-11-26", "09:00"))
    said: list[str] = []
    assert trade(Request("volume_modulo", runs=tmp_path), said.append) is ExitCode.OK
    assert said[0].startswith("no session on 2026-11-26")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_named_after_day_and_model_and_the_limit_after_the_close(tmp_path: Path) -> None:
    day = session("2026-11-27")
    assert day is not None
    plan = make_plan(day.date, day.close - 3600 * 10**9, Request("models/mine.py", {"feed": "sip"}, runs=tmp_path))
    assert plan.run_dir == tmp_path / "2026-11-27-mine"
    assert plan.guards.run == 3600 + program.GRACE
    assert plan.parameters == {"feed": "sip", "model": "models/mine.py", "date": "2026-11-27"}


def test_a_date_that_is_none_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2013-13-01"):
        trade(Request("m", date="2013-13-01", runs=tmp_path), lambda _: None)


def test_one_session_from_request_to_verdict(notebook: Callable[..., Path], tmp_path: Path) -> None:
    said: list[str] = []
    request = Request("m", date="2013-10-08", runs=tmp_path, notebook=notebook("say(1, 'row 7 differs')"))
    assert trade(request, said.append) is ExitCode.AUDIT_FAILED
    assert said == [
        f"session of 2013-10-08: m; files in {tmp_path / '2013-10-08-m'}",
        "AUDIT_FAILED (1): row 7 differs",
        f"notebook: {tmp_path / '2013-10-08-m' / 'live.ipynb'}",
    ]


def test_a_papermill_that_never_returns_is_left_behind_with_its_verdict(
    notebook: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    left: list[int] = []
    monkeypatch.setattr("mdslib.live.notebook._execute", lambda *_: release.wait())
    monkeypatch.setattr(program, "make_plan", lambda *_: Plan(notebook(), tmp_path, guards=Guards(start=0.2, reap=0.2)))
    monkeypatch.setattr(program.os, "_exit", left.append)
    assert trade(Request("m", date="2013-10-08"), lambda _: None) is ExitCode.KERNEL
    release.set()
    assert left == [ExitCode.KERNEL]
    verdict = Verdict.read(tmp_path)
    assert verdict is not None
    assert verdict.reason == "no cell began within 0.2 s, and papermill did not return after that"
