"""Half days, both changes of the clocks, a start in mid-session or after the close, a venue's clock that is off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mdslib.errors import SessionError
from mdslib.events import Kind
from mdslib.live.options import OPTIONS
from mdslib.live.plan import LivePlan, check_terms, make_plan
from mdslib.sim.faults import parse_script

from .rehearsal import made_trades, of_kind, rehearse

HOUR, MINUTE = 3_600_000_000_000, 60_000_000_000
FAST = {"mode": "fast", "speed": 8_000.0}


def plan_of(date: str, tmp_path: Path) -> LivePlan:
    """The plan of a session on a day."""
    terms = check_terms(
        model="volume_modulo", params={}, symbols=["SPY"], feed="iex",
        data_stream_url="wss://stream.data.alpaca.markets", data_url="https://data.alpaca.markets",
        trade_url="https://paper-api.alpaca.markets", exchange="NYSE", limits={}, end_of_day="flatten", options={},
    )  # fmt: skip
    return make_plan(date, str(tmp_path), terms)


@pytest.mark.parametrize(
    ("date", "opens", "hours"),
    [
        ("2025-03-07", 14.5, 6.5),  # the Friday before the clocks go forward
        ("2025-03-10", 13.5, 6.5),  # the Monday after
        ("2025-10-31", 13.5, 6.5),
        ("2025-11-03", 14.5, 6.5),  # the clocks have gone back
        ("2025-11-28", 14.5, 3.5),  # the day after Thanksgiving is a half day
        ("2025-07-03", 13.5, 3.5),
    ],
)
def test_open_close_and_going_flat_come_from_the_calendar(
    date: str, opens: float, hours: float, tmp_path: Path
) -> None:
    plan = plan_of(date, tmp_path)
    midnight = plan.session.open // (24 * HOUR) * 24 * HOUR
    assert (plan.session.open - midnight) / HOUR == opens
    assert (plan.session.close - plan.session.open) / HOUR == hours
    assert plan.flatten == plan.session.close - 5 * MINUTE


@pytest.mark.parametrize(("date", "why"), [("2025-12-25", "Christmas"), ("2025-11-29", "Saturday"), ("2025-01-09", "")])
def test_a_day_without_a_session_is_refused_with_its_reason(date: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(SessionError, match=f"no session on {date} at NYSE") as met:
        plan_of(date, tmp_path)
    assert why in str(met.value)


def test_by_default_the_state_begins_at_the_start() -> None:
    assert OPTIONS["warm_up"] == ""


@pytest.mark.parametrize(("seconds", "ahead"), [("3s", 3.0), ("-3s", -3.0)])
def test_a_venue_s_clock_that_is_off_is_shown_in_the_log(seconds: str, ahead: float, tmp_path: Path) -> None:
    script = parse_script(f'[[fault]]\nwhat = "clock-skew"\nby = "{seconds}"\n')
    report = rehearse(made_trades(300), "volume_modulo", tmp_path / "run", sim=FAST | {"faults": script})
    assert report.audit.ok, "\n".join(report.audit.lines())
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    (told,) = [line["ahead"] for line in lines if line["event"] == "venue-clock"]
    assert told == pytest.approx(ahead, abs=0.5)


def test_nautilus_3190_a_warm_up_goes_the_same_way_as_every_event_and_orders_wait_for_its_end(tmp_path: Path) -> None:
    from mdslib.live import Session

    from .rehearsal import exchange_for, parameters, wait_until

    data, run = made_trades(2_000), tmp_path / "run"
    with exchange_for(data, run, mode="fast", speed=2_000.0, wait_for_client=False) as exchange:
        given = parameters(exchange, data, run, "volume_modulo", warm_up="open")
        session = Session.from_parameters(**given)
        began = data.trades["ts_event"][50]
        wait_until(lambda: _now(exchange.url) > began)
        report = session.run()
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert sorted(report.market["i1"].tolist()) == list(range(1, 2_001)), "the state has seen the day from its open"
    assert len(of_kind(report, Kind.GAP)) == len(of_kind(report, Kind.RESYNC)) == 1
    assert set(of_kind(report, Kind.INTENT)["seq"] > of_kind(report, Kind.RESYNC)["seq"][0]) <= {True}


def _now(url: str) -> int:
    import httpx

    now: int = httpx.get(f"{url}/sim/sent", timeout=20).json()["now"]
    return now
