"""One session from its start to its end, in free run: what is kept, what is left alone, how it ends early."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest

from mdslib.audit.report import AuditReport, Finding, Outcome
from mdslib.errors import AuditError, SessionError, TapeError
from mdslib.events import Kind, Verb
from mdslib.live import Session
from mdslib.live.halt import write_halt
from mdslib.live.runner import STOP
from mdslib.live.verdict import ExitCode, Verdict
from mdslib.sim import Exchange
from mdslib.store.auditblock import mark_failed

from .rehearsal import (
    DAY,
    KEYS,
    exchange_for,
    lockstep,
    made_trades,
    of_kind,
    parameters,
    rehearse,
    tape,
    wait_until,
)

HEADERS = {
    "APCA-API-KEY-ID": KEYS["ALPACA_TRADE_PUBLIC_KEY"],
    "APCA-API-SECRET-KEY": KEYS["ALPACA_TRADE_SECRET_KEY"],
}
MODELS = Path(__file__).parent / "models"
RESTING = MODELS / "resting.py"
FAST = {"mode": "fast", "speed": 8_000.0}  # a day in three seconds
SLOW = {"mode": "fast", "speed": 200.0}  # two minutes, for sessions that are ended early


def rest(exchange: Exchange, path: str, **body: object) -> object:
    """Call the exchange as another person on the account would."""
    with httpx.Client(base_url=exchange.url, headers=HEADERS, timeout=20) as client:
        answer = client.post(path, json=body) if body else client.get(path)
        return answer.raise_for_status().json()


def orders(exchange: Exchange) -> list[dict[str, str]]:
    return rest(exchange, "/v2/orders?status=all&limit=500&direction=asc")  # type: ignore[return-value]


def has_orders(session: Session, count: int) -> None:
    wait_until(lambda: session.engine is not None and session.engine.tally.intents >= count)


def logged(run_dir: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]


def sides_of(run_dir: Path, kind: Kind) -> list[str]:
    with tape(run_dir) as reader:
        return [reader.text(row) for row in reader.records() if row["kind"] == int(kind)]


# A whole day ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", ["permissive", "alpaca"])
def test_nothing_is_lost_and_the_audit_passes(rules: str, tmp_path: Path) -> None:
    data = made_trades(3_000)
    report = rehearse(data, "volume_modulo", tmp_path / "run", sim=FAST | {"rules": rules})
    assert report.failure is None
    assert report.audit.ok, report.audit.lines()
    texts = {finding.name: finding.text for finding in report.audit.findings}
    assert texts["sent"] == "3,000 events sent, all on the tape, once and in order"
    assert "each once" in texts["orders"]
    assert "the same at the exchange" in texts["fills"]
    assert texts["books"] == "positions equal the venue's"
    assert report.market["ts_event"].tolist() == data.trades["ts_event"].tolist()
    figures = report.figures()
    assert figures["events"] == 3_000
    assert figures["fills"] == len(report.fills) > 50
    verdict = Verdict.read(tmp_path / "run")
    assert verdict is not None
    assert (verdict.code, verdict.by) == (ExitCode.OK, "session")
    assert verdict.reason == "the session closed; audit passed"


def test_verdict_audit_and_back_test_count_the_same_decisions(tmp_path: Path) -> None:
    """A flip is one decision of the model, although its second half follows by itself once the first has filled."""
    data = made_trades(600)
    report, tested = lockstep(data, "volume_modulo", tmp_path / "run", rules="alpaca", params={"shares": 3.0})
    decided = next(finding.text for finding in report.audit.findings if finding.name == "decisions")
    count, follow = re.search(r"again, ([\d,]+) decisions and ([\d,]+) that followed by themselves", decided).groups()  # type: ignore[union-attr]
    assert int(follow) > 0
    assert int(count) == report.figures()["decisions"] == tested.to_json()["decisions"]


def test_free_mode_follows_the_events_as_fast_as_they_are_read(tmp_path: Path) -> None:
    report = rehearse(made_trades(20_000), "volume_modulo", tmp_path / "run", sim={"mode": "free", "batch": 50})
    assert report.audit.ok, report.audit.lines()
    assert report.figures()["events"] == 20_000


def test_every_intent_precedes_its_outcome_on_the_tape(tmp_path: Path) -> None:
    report = rehearse(made_trades(1_000), "volume_modulo", tmp_path / "run", sim=FAST)
    intents = {(int(r["i0"]), int(r["flag"])): int(r["seq"]) for r in of_kind(report, Kind.INTENT)}
    updates = of_kind(report, Kind.UPDATE)
    assert len(updates) > 20
    for row in updates:
        assert intents[int(row["i0"]), int(row["flag"])] < int(row["seq"])
    first, last = report.records[0], report.records[-1]
    assert (Kind(int(first["kind"])), Kind(int(last["kind"]))) == (Kind.OPENING, Kind.CLOSE)


def test_positions_that_are_not_ours_are_shown_and_left_alone(tmp_path: Path) -> None:
    data = made_trades(600, "SPY", "IVV")
    with exchange_for(data, tmp_path / "run", **SLOW, wait_for_client=False) as exchange:
        wait_until(lambda: rest(exchange, "/v2/clock")["is_open"])  # type: ignore[index]
        for symbol, qty in (("SPY", "7"), ("IVV", "3")):
            wait_until(lambda symbol=symbol, qty=qty: bought(exchange, symbol, qty))
        wait_until(lambda: len(rest(exchange, "/v2/positions")) == 2)  # type: ignore[arg-type]
        given = parameters(exchange, data, tmp_path / "run", "volume_modulo", end_of_day="keep")
        session = Session.from_parameters(**(given | {"symbols": ["SPY"]}))
        stopper = threading.Thread(target=lambda: (has_orders(session, 3), (tmp_path / "run" / STOP).touch()))
        stopper.start()
        report = session.run()
        stopper.join(120)
        held = {p["symbol"]: p["qty"] for p in rest(exchange, "/v2/positions")}  # type: ignore[union-attr]
    assert {symbol: held.qty for symbol, held in report.others.items()} == {"IVV": 3.0}
    assert report.summary().loc["positions left alone"].item() == "IVV +3"
    assert held["IVV"] == "3"
    opening = of_kind(report, Kind.OPENING)
    assert opening["f0"].tolist() == [7.0], "a position of ours is where the session begins"
    assert report.audit.findings[-1].text == "positions equal the venue's"
    assert float(held["SPY"]) == report.figures()["position"]["SPY"]


def bought(exchange: Exchange, symbol: str, qty: str) -> bool:
    """Buy, as soon as the exchange has a price."""
    body = {"symbol": symbol, "qty": qty, "side": "buy", "type": "market", "time_in_force": "day"}
    answer = httpx.post(f"{exchange.url}/v2/orders", json=body, headers=HEADERS, timeout=20)
    return answer.status_code == 200


def test_a_start_in_mid_session_leaves_out_the_timers_that_are_past(tmp_path: Path) -> None:
    noon = DAY.open + 9_000 * 10**9
    report = rehearse(
        made_trades(1_500), MODELS / "every_step.py", tmp_path / "run", sim={"mode": "lockstep", "from_ts": noon}
    )
    assert report.audit.ok, report.audit.lines()
    timers = of_kind(report, Kind.TIMER)
    assert int(timers["ts_event"].min()) >= noon
    assert len(timers) == (DAY.close - noon) // (600 * 10**9) + 1 + 1  # every ten minutes, noon's too; before the close
    assert [e["count"] for e in logged(tmp_path / "run") if e["event"] == "timers-skipped"] == [14]


def test_a_holiday_has_no_session() -> None:
    with pytest.raises(SessionError, match="no session on 2025-07-04 at NYSE: July 4th"):
        Session.from_parameters(model="volume_modulo", date="2025-07-04")


QUOTES = """
from mdslib import Quote, hold, strategy

@strategy(on=Quote)
def on_quotes(quote, state, account, p):
    return hold()
"""


def test_a_session_that_no_market_event_reached_is_not_ok(tmp_path: Path) -> None:
    """The exchange plays trades, the model asks for quotes: the venue takes the subscription and sends nothing."""
    (tmp_path / "on_quotes.py").write_text(QUOTES)
    report = rehearse(made_trades(300), tmp_path / "on_quotes.py", tmp_path / "run", sim=FAST)
    assert report.audit.ok, report.audit.lines()
    assert len(report.market) == 0
    verdict = Verdict.read(tmp_path / "run")
    assert verdict is not None
    assert verdict.code is ExitCode.CONFIG, "starting again can't help"
    assert verdict.reason == (
        "no market event arrived: does the feed send quotes of SPY?; the session closed; audit passed"
    )


# Ended early ----------------------------------------------------------------------------------------------------------


def assert_ended_cleanly(report, run_dir: Path, why: str) -> None:
    assert report.reason == why
    assert report.failure is None
    assert report.audit.ok, report.audit.lines()
    assert Kind(int(report.records[-1]["kind"])) is Kind.CLOSE
    assert int(report.records[-1]["ts_event"]) < DAY.close
    verdict = Verdict.read(run_dir)
    assert verdict is not None
    assert verdict.code is ExitCode.OK
    assert report.summary().loc["ended because"].item() == why


def test_the_stop_file_ends_it_cleanly_and_nothing_works_afterwards(tmp_path: Path) -> None:
    left = []

    def stop(session: Session, exchange: Exchange) -> None:
        has_orders(session, 1)
        wait_until(lambda: len(session.engine.desk.working()) > 0)
        (tmp_path / "run" / STOP).touch()
        assert session.engine.finished.wait(120)
        left.extend(orders(exchange))

    report = rehearse(made_trades(2_000), RESTING, tmp_path / "run", sim=SLOW, during=stop)
    assert_ended_cleanly(report, tmp_path / "run", "a person or the supervisor asked for it")
    assert {order["status"] for order in left} == {"canceled"}
    halts = of_kind(report, Kind.CONTROL)
    assert halts["code"].tolist() == [2]
    after = report.records[report.records["seq"] > halts[0]["seq"]]
    sent = after[(after["kind"] == int(Kind.INTENT)) & (after["code"] % 256 != int(Verb.CANCEL))]
    assert len(sent) == 0, "no order is sent after the stop"


def test_stopping_goes_flat_where_a_person_says_so(tmp_path: Path) -> None:
    def stop(session: Session, exchange: Exchange) -> None:
        wait_until(lambda: session.engine is not None and session.engine.tally.fills >= 3)
        (tmp_path / "run" / STOP).touch()

    report = rehearse(
        made_trades(20_000), "volume_modulo", tmp_path / "run", sim=SLOW, during=stop, flatten_on_stop=True
    )
    assert_ended_cleanly(report, tmp_path / "run", "a person or the supervisor asked for it")
    assert report.figures()["position"] == {"SPY": 0.0}


def test_an_interrupt_in_the_cell_ends_it_cleanly(tmp_path: Path) -> None:
    def interrupt(session: Session, exchange: Exchange) -> None:
        has_orders(session, 2)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    report = rehearse(made_trades(2_000), "volume_modulo", tmp_path / "run", sim=SLOW, during=interrupt)
    assert_ended_cleanly(report, tmp_path / "run", "a person or the supervisor asked for it")
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_before_the_first_event_ends_it_cleanly(tmp_path: Path) -> None:
    """The exchange waits for a client, so nothing has been decided yet."""
    run = tmp_path / "run"
    with exchange_for(made_trades(100), run, **SLOW) as exchange:
        session = Session.from_parameters(**parameters(exchange, made_trades(100), run, "volume_modulo"))
        session._stop.set()
        report = session.run()
    assert report.reason == "stopped before the session began"
    assert report.audit.ok, report.audit.lines()
    assert report.figures()["events"] == 0
    verdict = Verdict.read(run)
    assert verdict is not None
    assert verdict.code is ExitCode.OK, "there was no time for an event"
    assert verdict.reason.startswith("no market event arrived: ")
    assert report.figure() is not None


# Halt -----------------------------------------------------------------------------------------------------------------


def test_the_halt_file_forbids_new_orders_and_cancels_those_that_work(tmp_path: Path) -> None:
    left = []

    def halt(session: Session, exchange: Exchange) -> None:
        wait_until(lambda: session.engine is not None and len(session.engine.desk.working()) > 0)
        write_halt(tmp_path / "run", "enough")
        wait_until(lambda: session.engine.tally.denied["HALTED"] + session.engine.tally.denied["HALT_FILE"] >= 3)
        wait_until(lambda: not session.engine.desk.working())
        left.extend(orders(exchange))
        (tmp_path / "run" / STOP).touch()

    report = rehearse(made_trades(4_000), RESTING, tmp_path / "run", sim=SLOW, during=halt)
    assert_ended_cleanly(report, tmp_path / "run", "a person or the supervisor asked for it")
    assert {order["status"] for order in left} == {"canceled"}
    assert of_kind(report, Kind.CONTROL)["code"].tolist() == [2, 2]
    said = f"mds halt by {Path(tmp_path).owner()}: enough"
    assert sides_of(tmp_path / "run", Kind.CONTROL)[0] == said
    assert re.fullmatch(rf"trading was halted at 2025-06-12T\d\d:\d\d:\d\d UTC: {said}", report.halt)
    assert Verdict.read(tmp_path / "run").reason == f"{report.reason}; {report.halt}; audit passed"  # type: ignore[union-attr]
    assert report.summary().loc["halted"].item() == report.halt


def test_mds_halt_cancels_by_itself_while_the_deciding_thread_hangs(tmp_path: Path) -> None:
    said = []

    def hang(session: Session, exchange: Exchange) -> None:
        wait_until(lambda: session.engine is not None and len(session.engine.desk.working()) > 0)
        with session.engine._box.turn:  # nobody decides while this is held
            command = [sys.executable, "-m", "mdslib.cli", "halt", str(tmp_path), "--trade-url", exchange.trade_url]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            said.append((done.returncode, done.stdout, done.stderr))
            wait_until(lambda: {order["status"] for order in orders(exchange)} == {"canceled"})
        (tmp_path / "run" / STOP).touch()

    report = rehearse(made_trades(2_000), RESTING, tmp_path / "run", sim=SLOW, during=hang)
    code, out, _ = said[0]
    assert code == 0
    assert f"halted: {tmp_path / 'HALT'} forbids new orders" in out
    assert "asked the broker to cancel" in out
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert sides_of(tmp_path / "run", Kind.CONTROL)[0] == f"mds halt by {tmp_path.owner()}: a person said so"


# Refused --------------------------------------------------------------------------------------------------------------


def test_a_second_session_on_a_run_s_folder_is_refused(tmp_path: Path) -> None:
    met = []

    def second(session: Session, exchange: Exchange) -> None:
        has_orders(session, 1)
        again = Session.from_parameters(**parameters(exchange, data, tmp_path / "run", "volume_modulo"))
        try:
            again.run()
        except TapeError as error:
            met.append(str(error))
        (tmp_path / "run" / STOP).touch()

    data = made_trades(2_000)
    report = rehearse(data, "volume_modulo", tmp_path / "run", sim=SLOW, during=second)
    assert_ended_cleanly(report, tmp_path / "run", "a person or the supervisor asked for it")
    assert "must have one writer" in met[0]
    assert "stop that run first" in met[0]


def test_a_folder_that_holds_another_run_s_tape_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    rehearse(made_trades(50), "volume_modulo", run, sim=FAST)
    before = (run / "tape" / "00000001.tape").read_bytes()
    with pytest.raises(
        SessionError, match="holds the tape of another run: run name: volume_modulo there, x here"
    ) as met:
        rehearse(made_trades(50), "volume_modulo", run, sim=FAST, run_name="x")
    assert "start this one in a folder of its own with --run-dir" in str(met.value)
    with pytest.raises(SessionError, match="instruments: SPY there, SPY IVV here"):
        rehearse(made_trades(50, "SPY", "IVV"), "volume_modulo", run, sim=FAST)
    with pytest.raises(SessionError, match=r"of another model: parameters: shares=5.0 there, shares=2.0 here") as met:
        rehearse(made_trades(50), "volume_modulo", run, sim=FAST, params={"shares": 2.0})
    assert "say --accept-changed-model to go on with a fresh state from now on" in str(met.value)
    assert (run / "tape" / "00000001.tape").read_bytes() == before


def test_a_failed_audit_blocks_the_next_start_until_a_person_clears_it(tmp_path: Path) -> None:
    data = made_trades(50)
    failed = AuditReport("spy", (Finding("decisions", Outcome.FAILED, "first difference: qty"),))
    mark_failed(tmp_path, failed, "yesterday")
    with pytest.raises(
        AuditError, match="this run may not start: the audit of spy did not pass: first difference"
    ) as met:
        rehearse(data, "volume_modulo", tmp_path / "run", sim=FAST)
    assert f"mds audit --clear {tmp_path}" in str(met.value)
    command = [sys.executable, "-m", "mdslib.cli", "audit", "--clear", str(tmp_path), "--why", "a test made it up"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout.startswith("cleared 1 failed audit;")) == (0, True), done.stderr
    assert rehearse(data, "volume_modulo", tmp_path / "run", sim=FAST).audit.ok


def test_a_day_that_does_not_add_up_fails_and_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader loses an event without a word: only the exchange's log knows."""
    from mdslib.live.engine import Engine

    lost_one, on_market = [], Engine.on_market

    def lossy(engine: Engine, records: np.ndarray, frames: int) -> None:
        lose = len(records) > 1 and not lost_one
        lost_one.extend(records[-1:] if lose else [])
        on_market(engine, records[:-1] if lose else records, frames)

    monkeypatch.setattr(Engine, "on_market", lossy)
    report = rehearse(made_trades(300), "volume_modulo", tmp_path / "run", sim=FAST)
    lost = next(f for f in report.audit.findings if f.name == "sent")
    assert lost.outcome is Outcome.FAILED
    assert "300 events sent, 299 on the tape, 1 lost, 0 doubled; first: TRADE of SPY at " in lost.text
    verdict = Verdict.read(tmp_path / "run")
    assert verdict is not None
    assert verdict.code is ExitCode.AUDIT_FAILED
    assert "audit failed: " in verdict.reason
    assert (tmp_path / "AUDIT_FAILED").exists()
    with pytest.raises(AuditError, match="the audit did not pass"):
        report.finish()


# The books ------------------------------------------------------------------------------------------------------------


def test_books_that_differ_from_the_venue_s_fail_the_day(tmp_path: Path) -> None:
    """Somebody else buys on our account while the session runs."""

    def meddle(session: Session, exchange: Exchange) -> None:
        has_orders(session, 1)
        wait_until(lambda: bought(exchange, "SPY", "3"))
        wait_until(lambda: session.engine.tally.foreign > 0)
        (tmp_path / "run" / STOP).touch()

    report = rehearse(made_trades(3_000), "volume_modulo", tmp_path / "run", sim=SLOW, during=meddle)
    books = report.audit.findings[-1]
    assert (books.name, books.outcome) == ("books", Outcome.FAILED)
    assert "position of SPY: ours" in books.text
    assert report.counts().loc["updates of orders that are not ours"].item() > 0


def test_the_report_s_plot_has_the_day_s_points(tmp_path: Path) -> None:
    report = rehearse(made_trades(500), "volume_modulo", tmp_path / "run", sim=FAST)
    traces = {trace.name: trace for trace in report.figure().data}
    fills = report.fills
    assert list(traces) == ["SPY price", "SPY buys", "SPY sells", "SPY position", "equity"]
    assert len(traces["SPY price"].x) == 500
    assert len(traces["SPY buys"].x) == int((fills["f0"] > 0).sum()) > 0
    assert len(traces["SPY sells"].x) == int((fills["f0"] < 0).sum()) > 0
    assert traces["SPY position"].y[-1] == fills["f0"].sum()
    assert traces["equity"].y[-1] == pytest.approx(report.figures()["equity"])
