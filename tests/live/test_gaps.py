"""Whole sessions whose market feed breaks, over real sockets: nothing lost or doubled, no order of what was missed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdslib.errors import FeedRefused
from mdslib.events import Kind
from mdslib.live import Session
from mdslib.live.report import DayReport
from mdslib.risk import Denial
from mdslib.sim import Exchange
from mdslib.sim.faults import parse_script

from .proxy import Proxy
from .rehearsal import decisions_on, exchange_for, made_trades, of_kind, parameters, rehearse, wait_until
from .test_session import sides_of

MODELS = Path(__file__).parent / "models"
FAST = {"mode": "fast", "speed": 2_000.0}  # a day in twelve seconds
TRADES = 4_000


def day(run: Path, faults: str, model: Any = "volume_modulo", **options: Any) -> DayReport:
    """Run a whole day under a fault script."""
    data = made_trades(TRADES)
    return rehearse(data, model, run, sim=FAST | {"faults": parse_script(faults)}, split_flips=False, **options)


def fault(what: str, **fields: Any) -> str:
    """Return one fault of a script."""
    told = "\n".join(f"{name} = {value if isinstance(value, int) else repr(value)}" for name, value in fields.items())
    return f'[[fault]]\nwhat = "{what}"\n{told}\n'.replace("for_", "for")


def held(report: DayReport) -> np.ndarray:
    """Tell of each record whether it lies between a GAP and its RESYNC."""
    state, found = False, []
    for kind in report.records["kind"].tolist():
        state = kind == Kind.GAP or (state and kind != Kind.RESYNC)
        found.append(state)
    return np.array(found)


def everything(report: DayReport) -> list[int]:
    """Ids of all trades on the tape."""
    ids: list[int] = sorted(report.market["i1"].tolist())
    return ids


def finding(report: DayReport, name: str) -> str:
    return next(finding.text for finding in report.audit.findings if finding.name == name)


CUT = fault("disconnect", after="10m", every="1h")


# A connection that is lost --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> tuple[DayReport, Path]:
    from .rehearsal import KEYS

    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        run = tmp_path_factory.mktemp("cut") / "run"
        return day(run, CUT), run


def test_after_a_loss_the_day_is_whole_and_the_audit_passes(cut: tuple[DayReport, Path]) -> None:
    report, _ = cut
    assert report.failure is None
    assert report.reason == "the session closed"
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert everything(report) == list(range(1, TRADES + 1)), "every trade once"
    assert "filled in" in finding(report, "sent")


def test_each_loss_is_a_gap_a_backfill_and_a_resync_on_the_tape(cut: tuple[DayReport, Path]) -> None:
    report, run = cut
    gaps, resyncs, fills = (of_kind(report, kind) for kind in (Kind.GAP, Kind.RESYNC, Kind.BACKFILL))
    assert 7 == len(gaps) >= len(resyncs) > 2, "a loss while an earlier one is filled in ends with the same RESYNC"
    assert report.records["kind"][np.isin(report.records["kind"], (int(Kind.GAP), int(Kind.RESYNC)))][-1] == Kind.RESYNC
    assert set(gaps["code"].tolist()) == {1}
    assert int(fills["i0"].sum()) == int(resyncs["i0"].sum()) == report.tally.feed["events filled in"] > 7
    assert sides_of(run, Kind.GAP)[0].startswith("Alpaca data stream ended: ")
    assert "trades of SPY filled in from 2025-06-12T13:" in sides_of(run, Kind.RESYNC)[0]
    assert sides_of(run, Kind.RESYNC)[0].endswith("no history of statuses: those of that time are missing")


def test_no_order_comes_of_what_was_missed(cut: tuple[DayReport, Path]) -> None:
    report, _ = cut
    told = report.records[held(report)]
    decided = set(told["seq"][told["kind"] == int(Kind.TRADE)].tolist())
    intents = of_kind(report, Kind.INTENT)
    assert len(intents) > 20
    assert not decided & set(intents["i0"].tolist())
    denied = of_kind(report, Kind.DENIED)
    assert set(denied["code"][np.isin(denied["i0"], list(decided))].tolist()) == {int(Denial.BACKFILL)}
    assert report.tally.denied["BACKFILL"] > 0


def test_the_report_shows_what_became_of_the_feed(cut: tuple[DayReport, Path]) -> None:
    counts = cut[0].counts()["count"].to_dict()
    assert counts["gaps"] == counts["connections lost"] == counts["reconnections"] == 7
    assert counts["denied: BACKFILL"] > 0
    assert "gaps not filled in" not in counts


def test_a_model_that_asks_for_it_gets_its_orders_on_backfilled_events(tmp_path: Path) -> None:
    report = day(tmp_path / "run", CUT, MODELS / "eager.py", no_limits=True, end_of_day="keep")
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert set(of_kind(report, Kind.GAP)["code"].tolist()) == {0}
    assert not report.tally.denied
    assert len(decisions_on(report.records)) == TRADES // 10


def test_a_model_over_bars_is_filled_in_with_bars(tmp_path: Path) -> None:
    from .rehearsal import made_bars

    sim = FAST | {"faults": parse_script(fault("disconnect", after="61m", for_="200ms real"))}
    report = rehearse(made_bars(), "moving_average", tmp_path / "run", sim=sim, split_flips=False)
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert report.market["ts_event"].tolist() == sorted(set(report.market["ts_event"].tolist())), "each minute once"
    assert len(report.market) == 390
    assert "bars of SPY filled in" in sides_of(tmp_path / "run", Kind.RESYNC)[0]


def test_in_free_run_the_day_ends_although_frames_were_lost(tmp_path: Path) -> None:
    data, run = made_trades(20_000), tmp_path / "run"
    with exchange_for(data, run, mode="free", batch=10) as exchange, Proxy(exchange.port) as proxy:
        given = parameters(exchange, data, run, "volume_modulo", data_stream_url=f"ws://127.0.0.1:{proxy.port}")
        report = disturbed(Session.from_parameters(**given), exchange, proxy.cut)
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert everything(report) == list(range(1, 20_001))


def test_in_lock_step_a_lost_connection_costs_the_comparison_and_nothing_else(tmp_path: Path) -> None:
    data, run = made_trades(600), tmp_path / "run"
    with exchange_for(data, run, mode="lockstep") as exchange, Proxy(exchange.port) as proxy:
        given = parameters(exchange, data, run, "volume_modulo", data_stream_url=f"ws://127.0.0.1:{proxy.port}")
        report = disturbed(Session.from_parameters(**given), exchange, proxy.cut)
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert report.reason == "the session closed"
    assert everything(report) == list(range(1, 601))


def disturbed(session: Session, exchange: Exchange, disturb: Any, after: int = 100) -> DayReport:
    """Run a session and disturb it once, after so many events."""
    import threading

    def wait_and_disturb() -> None:
        wait_until(lambda: session.engine is not None and session.engine.tally.events > after)
        disturb()

    thread = threading.Thread(target=wait_and_disturb)
    thread.start()
    try:
        return session.run()
    finally:
        thread.join(120)


# What the venue says --------------------------------------------------------------------------------------------------


def test_alpaca_py_248_after_a_loss_a_slot_that_is_taken_is_waited_for(tmp_path: Path) -> None:
    script = fault("disconnect", after="10m") + fault("socket-error", after="10m", code=406, for_="1s real")
    report = day(tmp_path / "run", script)
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert everything(report) == list(range(1, TRADES + 1))
    assert report.tally.feed["reconnections that failed"] == 1, "it does not hammer"


@pytest.mark.parametrize(("code", "said"), [(402, "auth failed"), (409, "insufficient subscription")])
def test_keys_and_plan_that_are_refused_after_a_loss_are_final(code: int, said: str, tmp_path: Path) -> None:
    script = fault("disconnect", after="10m") + fault("socket-error", after="10m", code=code, for_="day")
    report = day(tmp_path / "run", script)
    assert isinstance(report.failure, FeedRefused)
    assert f"error {code} {said!r}" in str(report.failure)
    assert report.reason == "the feed or the order stream ended"
    assert report.tally.feed["gaps not filled in"] == 1


def test_a_slow_client_is_dropped_by_the_venue_counted_and_connected_again(tmp_path: Path) -> None:
    report = day(tmp_path / "run", fault("socket-error", after="10m", code=407, on="stream") + "close = true\n")
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert report.counts()["count"]["called a slow client (407)"] == 1
    assert everything(report) == list(range(1, TRADES + 1))


# What the stream does -------------------------------------------------------------------------------------------------


def test_alpaca_py_740_a_mute_socket_is_noticed_and_filled_in(tmp_path: Path) -> None:
    report = day(tmp_path / "run", fault("mute", after="10m", for_="2s real"), mute_after=0.5)
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert everything(report) == list(range(1, TRADES + 1))
    assert report.tally.feed["mute connections cut"] >= 1
    assert "mute for" in sides_of(tmp_path / "run", Kind.GAP)[0]
    assert "the venue's history has newer events" in sides_of(tmp_path / "run", Kind.GAP)[0]


@pytest.mark.parametrize("unit", ["message", "frame"])
def test_what_the_stream_says_twice_is_on_the_tape_once(unit: str, tmp_path: Path) -> None:
    report = day(tmp_path / "run", fault("duplicate", after="10m", for_="2h", unit=unit) + "chance = 0.2\n")
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert everything(report) == list(range(1, TRADES + 1))
    assert report.counts()["count"]["events that came twice, left out"] > 10
    assert "were sent twice" in finding(report, "sent")
    assert not len(of_kind(report, Kind.GAP))


@pytest.mark.parametrize("how", ["garbage", "wrong-type"])
def test_a_damaged_frame_costs_a_gap_that_is_filled_in_and_not_the_connection(how: str, tmp_path: Path) -> None:
    report = day(tmp_path / "run", fault("corrupt", after="10m", how=how))
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert everything(report) == list(range(1, TRADES + 1))
    assert report.tally.feed["frames that could not be read"] == 1
    assert report.tally.feed["connections lost"] == 0
    assert "frame" in sides_of(tmp_path / "run", Kind.GAP)[0]


def test_frames_that_were_lost_without_a_sign_are_asked_for_at_the_day_s_end(tmp_path: Path) -> None:
    report = day(tmp_path / "run", fault("mute", after="10m", for_="50ms real"), mute_after=0.0)
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert report.reason == "the session closed"


def test_a_history_that_fails_at_first_is_asked_again(tmp_path: Path) -> None:
    script = fault("disconnect", after="10m") + fault(
        "http-error", call="GET /v2/stocks/trades", after="10m", status=500, times=3
    )
    report = day(tmp_path / "run", script)
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert everything(report) == list(range(1, TRADES + 1))
    assert report.tally.feed["questions to the history that failed"] == 3


# What the market does -------------------------------------------------------------------------------------------------


def test_an_instrument_that_the_venue_halts_takes_no_orders_until_it_trades_again(tmp_path: Path) -> None:
    data, run = made_trades(3_000, "SPY", "QQQ"), tmp_path / "run"
    script = parse_script(fault("halt", after="1h", for_="1h", symbol="SPY"))
    report = rehearse(
        data,
        MODELS / "follows.py",
        run,
        sim=FAST | {"faults": script},
        split_flips=False,
        no_limits=True,
        end_of_day="keep",
    )
    assert report.audit.ok, "\n".join(report.audit.lines())
    trading = of_kind(report, Kind.STATUS)
    assert [chr(code) for code in trading["code"]] == ["2", "3"]
    halted, resumed = trading["ts_event"].tolist()
    denied = of_kind(report, Kind.DENIED)
    assert set(denied["code"].tolist()) == {int(Denial.INSTRUMENT_HALTED)}
    assert len(denied) > 5
    assert denied["ts_event"].min() >= halted
    assert denied["ts_event"].max() <= resumed
    intents = of_kind(report, Kind.INTENT)
    assert len(intents[intents["ts_event"] > resumed]) > 5


def test_corrections_and_cancels_of_trades_are_recorded_and_shown(tmp_path: Path) -> None:
    script = fault("correction", after="10m", every="1h") + fault("trade-cancel", after="20m", every="2h")
    report = day(tmp_path / "run", script)
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert len(of_kind(report, Kind.CORRECTION)) == 7
    assert len(of_kind(report, Kind.CANCEL_ERROR)) == 4
    assert report.counts()["count"]["trade corrections and cancels"] == 11


def test_one_session_an_account_on_a_machine(tmp_path: Path) -> None:
    data, met = made_trades(600), []

    def second(_: Session, exchange: Exchange) -> None:
        wait_until(lambda: (tmp_path / "run" / "log.jsonl").exists())
        wait_until(lambda: '"opened"' in (tmp_path / "run" / "log.jsonl").read_text())
        given = parameters(exchange, data, tmp_path / "other" / "run", "volume_modulo", run_name="other")
        with pytest.raises(FeedRefused, match="holds the account's only data connection") as error:
            Session.from_parameters(**given).run()
        met.append(error.value.code)

    report = rehearse(data, "volume_modulo", tmp_path / "run", sim=FAST, during=second)
    assert met == [406]
    assert report.audit.ok


def test_single_messages_that_were_lost_without_a_sign_are_named_by_the_venue_s_history(tmp_path: Path) -> None:
    script = fault("drop", after="10m", times=5) + "chance = 0.02\n"
    report = day(tmp_path / "run", script, check_history="yes")
    assert report.audit.ok, "\n".join(report.audit.lines())
    missing = sorted(set(range(1, TRADES + 1)) - set(everything(report)))
    assert len(missing) == 5
    assert finding(report, "history").startswith("4,000 events in the venue's history, 5 of them never came; first: ")
