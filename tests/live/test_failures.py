"""What goes wrong, and the line that a person reads about it. Nothing on the tape is lost, nothing is left working."""

from __future__ import annotations

import json
import resource
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from mdslib.errors import (
    BrokerError,
    ConfigError,
    CredentialError,
    FeedError,
    FeedRefused,
    ModelError,
    ModelRaised,
    SessionError,
    TapeError,
)
from mdslib.events import Kind, Status
from mdslib.live import Session, closeout, keeper, orderflow
from mdslib.live.engine import Engine
from mdslib.live.verdict import ExitCode, Verdict, exit_code
from mdslib.protocols import Update
from mdslib.sim import Exchange
from mdslib.store.tapereader import TapeReader

from .proxy import Proxy
from .rehearsal import KEYS, exchange_for, made_trades, of_kind, parameters, rehearse, wait_until
from .test_session import FAST, HEADERS, MODELS, RESTING, SLOW, has_orders, orders, sides_of


def statuses(exchange: Exchange) -> set[str]:
    return {order["status"] for order in orders(exchange)}


def code_of(run_dir: Path) -> ExitCode:
    verdict = Verdict.read(run_dir)
    assert verdict is not None
    return verdict.code


# The model ------------------------------------------------------------------------------------------------------------


def test_a_model_that_raises_halts_trading_and_recording_goes_on_to_the_close(tmp_path: Path) -> None:
    left = []

    def look(session: Session, exchange: Exchange) -> None:
        wait_until(lambda: session.engine is not None and session.engine.broken)
        wait_until(session.engine.workers.idle.is_set)
        wait_until(lambda: statuses(exchange) <= {"filled", "canceled"})
        left.append(len(orders(exchange)))
        assert session.engine.finished.wait(120)
        left.append(len(orders(exchange)))

    report = rehearse(made_trades(1_500), MODELS / "raises.py", tmp_path / "run", sim=FAST, during=look)
    assert isinstance(report.failure, ModelRaised)
    fault = of_kind(report, Kind.FAULT)
    market = report.market
    assert int(fault["i0"][0]) == int(market["seq"][299]), "the record that it raised on is named"
    assert "model 'raises' raised ZeroDivisionError: division by zero - at event" in str(report.failure)
    assert len(market) == 1_500
    assert report.reason == "the session closed"
    assert left[0] == left[1] == 30, "decisions before the fault stand, none follow"
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert "the model raised on record" in "".join(report.audit.lines())
    assert code_of(tmp_path / "run") is ExitCode.MODEL_RAISED
    assert report.counts().loc["recorded after the model failed"].item() >= 1_200
    report.finish()


def test_a_fill_that_comes_after_the_model_failed_is_in_the_books(tmp_path: Path) -> None:
    report = rehearse(made_trades(400), MODELS / "raises.py", tmp_path / "run", sim=FAST, params={"at": 12})
    assert report.figures()["position"] == {"SPY": 1.0}
    assert report.audit.findings[-1].text == "positions equal the venue's"
    assert code_of(tmp_path / "run") is ExitCode.MODEL_RAISED


def test_a_model_that_answers_nonsense_halts_trading(tmp_path: Path) -> None:
    report = rehearse(made_trades(1_500), MODELS / "nonsense.py", tmp_path / "run", sim=FAST)
    assert isinstance(report.failure, ModelRaised)
    seq = int(report.market["seq"][299])
    assert str(report.failure).startswith(f"model 'nonsense' answered nonsense on record {seq}: ")
    assert str(report.failure).endswith("; trading halted")
    assert len(report.market) == 1_500
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert code_of(tmp_path / "run") is ExitCode.MODEL_RAISED
    assert report.tally.denied["INVALID"] == 1
    assert report.tally.denied["HALTED"] > 50
    assert 30 <= report.tally.intents < 40, "what was decided in the same batch still goes out"


# Settings -------------------------------------------------------------------------------------------------------------


def test_unknown_model() -> None:
    with pytest.raises(ModelError, match=r"unknown model 'volume_modulu'. Did you mean 'volume_modulo'\?"):
        Session.from_parameters(model="volume_modulu", date="2025-06-12")


def test_unknown_parameter() -> None:
    with pytest.raises(ModelError, match=r"has no parameter 'share'. Did you mean 'shares'\?"):
        Session.from_parameters(model="volume_modulo", params={"share": 1}, date="2025-06-12")


def test_unknown_option() -> None:
    with pytest.raises(ConfigError, match=r"unknown option 'worker' of a live session. Did you mean 'workers'\?"):
        Session.from_parameters(model="volume_modulo", date="2025-06-12", worker=1)


@pytest.mark.parametrize("name", sorted(KEYS))
def test_a_missing_credential_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(CredentialError, match=name) as met:
        rehearse(made_trades(10), "volume_modulo", tmp_path / "run", sim=FAST)
    assert not any(value in str(met.value) for value in KEYS.values())


def pair(which: str) -> dict[str, str]:
    """Return the options of an exchange that lets in one of our two pairs."""
    return {"key": KEYS[f"ALPACA_{which}_PUBLIC_KEY"], "secret": KEYS[f"ALPACA_{which}_SECRET_KEY"]}


def test_a_wrong_data_key(tmp_path: Path) -> None:
    with pytest.raises(FeedRefused, match="error 402 'auth failed'") as met:
        rehearse(made_trades(10), "volume_modulo", tmp_path / "run", sim=FAST | pair("TRADE"))
    assert "ALPACA_DATA_PUBLIC_KEY and ALPACA_DATA_SECRET_KEY" in str(met.value)
    assert exit_code(type(met.value)) is ExitCode.CONFIG


def test_a_wrong_trading_key(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="ALPACA_TRADE_PUBLIC_KEY and ALPACA_TRADE_SECRET_KEY") as met:
        rehearse(made_trades(10), "volume_modulo", tmp_path / "run", sim=FAST | pair("DATA"))
    assert exit_code(type(met.value)) is ExitCode.CONFIG


def test_a_feed_that_is_not_in_the_plan(tmp_path: Path) -> None:
    with pytest.raises(FeedRefused, match="error 409") as met:
        rehearse(made_trades(10), "volume_modulo", tmp_path / "run", sim=FAST | {"feeds": ("iex",)}, feed="sip")
    assert "the feed 'sip' is not in this account's plan; feed='iex' is in every plan" in str(met.value)
    assert exit_code(type(met.value)) is ExitCode.CONFIG  # systemd leaves it to a person


def test_the_only_connection_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "STALE", 1.0)
    run, data = tmp_path / "run", made_trades(10)
    with exchange_for(data, run, **FAST) as exchange, connect(exchange.data_url) as other:
        other.recv(5)
        other.send(json.dumps({"action": "auth"} | key_and_secret("DATA")))
        assert "authenticated" in str(other.recv(5))
        session = Session.from_parameters(**parameters(exchange, data, run, "volume_modulo"))
        with pytest.raises(FeedError, match="error 406 'connection limit exceeded'") as met:
            session.run()
    assert "another session holds the only connection of this account" in str(met.value)


def key_and_secret(which: str) -> dict[str, str]:
    return pair(which)


def test_an_unknown_symbol(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="ZZZZ") as met:
        rehearse(made_trades(10), "volume_modulo", tmp_path / "run", sim=FAST, symbols=["ZZZZ"])
    assert "write each as the venue does" in str(met.value) or "not confirmed" in str(met.value)


def test_a_run_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    session = Session.from_parameters(model="volume_modulo", date="2025-06-12", run_dir=str(tmp_path / "file" / "run"))
    with pytest.raises(SessionError, match=r"run folder .*/file/run can't be written \(Not a directory\)") as met:
        session.run()
    assert "choose another with --run-dir" in str(met.value)


def test_a_clock_that_disagrees_with_the_venue_s(tmp_path: Path) -> None:
    with pytest.raises(
        SessionError, match=r"this machine's clock and the venue's differ by [\d.]+ s, 2 s is allowed"
    ) as met:
        rehearse(made_trades(10), "volume_modulo", tmp_path / "run", sim=FAST, time_url="")
    assert "timedatectl set-ntp true" in str(met.value)


def test_no_exchange_at_the_side_channel(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SessionError, match=r"side channel .* does not answer .* is `mds sim` up"):
        Session.from_parameters(
            model="volume_modulo", date="2025-06-12", run_dir=str(tmp_path), time_url=f"ws://127.0.0.1:{port}/sim/time"
        ).run()


def test_no_broker_at_the_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(BrokerError, match="can't be reached"):
        rehearse(made_trades(10), "volume_modulo", tmp_path / "run", sim=FAST, trade_url=f"http://127.0.0.1:{port}")


# The disk -------------------------------------------------------------------------------------------------------------


def test_a_full_disk_keeps_what_is_on_the_tape_and_cancels_what_works(tmp_path: Path) -> None:
    left = []
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(session: Session, exchange: Exchange) -> None:
        has_orders(session, 3)
        size = sum(path.stat().st_size for path in (tmp_path / "run" / "tape").glob("*.tape"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 96 * 40 + 50, before[1]))
        assert session.engine.finished.wait(120)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        left.append(statuses(exchange))

    try:
        with pytest.raises(TapeError, match="could not be written") as met:
            rehearse(made_trades(2_000), RESTING, tmp_path / "run", sim=SLOW | {"in_process": False}, during=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "are safe on the tape, nothing of this is. Free space, then start the run again" in str(met.value)
    assert left == [{"canceled"}]
    with TapeReader(tmp_path / "run" / "tape") as tape:
        records = tape.records()
        assert f"records 1 to {len(records)} are safe" in str(met.value)
        assert int((records["kind"] == int(Kind.INTENT)).sum()) >= 3
    assert str(met.value).endswith(" No order of this run works at the venue.")
    assert exit_code(type(met.value)) is ExitCode.RECORD


def test_an_order_whose_intent_could_not_be_recorded_was_never_sent_and_is_not_asked_for(tmp_path: Path) -> None:
    def fail(session: Session, _exchange: Exchange) -> None:
        has_orders(session, 2)
        tape = session.engine.tape
        append = tape.append

        def refuse(records: Any, *sides: Any) -> Any:
            if (records["kind"] == int(Kind.INTENT)).any():
                raise TapeError("tape: could not be written")
            return append(records, *sides)

        tape.append = refuse

    with pytest.raises(TapeError) as met:
        rehearse(made_trades(2_000), RESTING, tmp_path / "run", sim=SLOW, during=fail)
    assert str(met.value) == "tape: could not be written No order of this run works at the venue."


# The venue ------------------------------------------------------------------------------------------------------------


def test_a_feed_that_is_refused_for_good_after_it_broke_off_ends_the_session(tmp_path: Path) -> None:
    data, run, left = made_trades(2_000), tmp_path / "run", []
    with exchange_for(data, run, **SLOW) as exchange, Proxy(exchange.port) as proxy:

        def cut(session: Session, _: Exchange) -> None:
            has_orders(session, 3)
            wait_until(lambda: len(session.engine.desk.working()) > 0)
            proxy.answer_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            proxy.cut()

        given = parameters(exchange, data, run, RESTING, data_stream_url=f"ws://127.0.0.1:{proxy.port}")
        report = run_with(Session.from_parameters(**given), exchange, cut)
        left = statuses(exchange)
    assert isinstance(report.failure, FeedRefused)
    assert "answered HTTP 403 to the upgrade" in str(report.failure)
    assert report.reason == "the feed or the order stream ended"
    lost, refused = sides_of(run, Kind.GAP)
    assert lost.startswith("Alpaca data stream ended: ")
    assert refused == str(report.failure)
    assert of_kind(report, Kind.CONTROL)["code"].tolist() == [2]
    assert left == {"canceled"}
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert code_of(run) is ExitCode.CONFIG  # refused for good: starting again can't help


def run_with(session: Session, exchange: Exchange, during) -> object:
    import threading

    thread = threading.Thread(target=during, args=(session, exchange))
    thread.start()
    try:
        return session.run()
    finally:
        thread.join(120)


def test_an_order_stream_that_breaks_off_is_connected_again_and_working_orders_are_asked_for(tmp_path: Path) -> None:
    data, run = made_trades(2_000), tmp_path / "run"
    with exchange_for(data, run, **SLOW) as exchange, Proxy(exchange.port) as proxy:

        def cut(session: Session, _: Exchange) -> None:
            has_orders(session, 3)
            wait_until(lambda: len(session.engine.desk.working()) > 0)
            proxy.cut()
            wait_until(lambda: session.engine.tally.feed["order stream reconnected"] == 1)
            wait_until(lambda: session.engine.tally.asked > 0)
            session.engine.stop("enough")

        given = parameters(exchange, data, run, RESTING, trade_url=proxy.url)
        report = run_with(Session.from_parameters(**given), exchange, cut)
        assert statuses(exchange) == {"canceled"}
    assert report.failure is None
    assert report.tally.feed["order stream lost"] == 1
    assert report.audit.ok, "\n".join(report.audit.lines())


def test_a_venue_that_dies_ends_the_session_and_the_report_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closeout, "WITHIN", 1.0)
    data, run = made_trades(2_000), tmp_path / "run"
    with exchange_for(data, run, **SLOW, in_process=False) as exchange:

        def kill(session: Session, _: Exchange) -> None:
            has_orders(session, 2)
            exchange._runner._child.kill()

        report = run_with(Session.from_parameters(**parameters(exchange, data, run, RESTING)), exchange, kill)
    assert isinstance(report.failure, FeedError | BrokerError)
    assert report.audit.findings[-1].text.startswith("the venue's books could not be read: ")
    assert code_of(run) is ExitCode.VENUE
    assert report.figure() is not None


def test_an_answer_that_is_lost_makes_the_order_unknown_until_its_id_is_found(tmp_path: Path) -> None:
    seen = []

    def lose_third(request: bytes) -> str:
        if request.startswith(b"POST /v2/orders"):
            seen.append(request)
            if len(seen) == 3:
                return "lose-answer"
        return "pass"

    data, run = made_trades(300), tmp_path / "run"
    with exchange_for(data, run, mode="lockstep") as exchange, Proxy(exchange.port, lose_third) as proxy:
        given = parameters(exchange, data, run, "volume_modulo", trade_url=proxy.url)
        report = Session.from_parameters(**given).run()
        there = orders(exchange)
    unknown = of_kind(report, Kind.UNKNOWN)
    assert len(unknown) == 1
    assert "it may have landed: look it up by its client order id" in sides_of(run, Kind.UNKNOWN)[0]
    ids = [order["client_order_id"] for order in there]
    assert len(ids) == len(set(ids)) == report.tally.intents, "never sent twice"
    told = report.records[(report.records["i0"] == unknown["i0"][0]) & (report.records["kind"] == int(Kind.UPDATE))]
    assert [Status(int(code)) for code in told["code"]] == [Status.NEW, Status.FILLED]
    assert report.failure is None
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert report.counts().loc["outcome unknown at first"].item() == 1


def test_a_request_that_is_lost_is_never_sent_again_and_trading_only_reduces(
    tmp_path: Path,
) -> None:
    seen = []

    def lose_third(request: bytes) -> str:
        if request.startswith(b"POST /v2/orders"):
            seen.append(request)
            if len(seen) == 3:
                return "lose-request"
        return "pass"

    data, run = made_trades(300), tmp_path / "run"
    with exchange_for(data, run, mode="lockstep") as exchange, Proxy(exchange.port, lose_third) as proxy:
        given = parameters(exchange, data, run, "volume_modulo", trade_url=proxy.url, resolve_within=1.5)
        report = Session.from_parameters(**given).run()
        there = orders(exchange)
    unknown = of_kind(report, Kind.UNKNOWN)
    assert len(unknown) == 1
    told = report.records[(report.records["i0"] == unknown["i0"][0]) & (report.records["kind"] == int(Kind.UPDATE))]
    assert [Status(int(code)) for code in told["code"]] == [Status.REJECTED]
    assert of_kind(report, Kind.CONTROL)["code"].tolist() == [1, 3], "reduce only, then flat before the close"
    assert len(there) == report.tally.intents - 1
    assert report.audit.ok, "\n".join(report.audit.lines())
    assert report.figures()["position"] == {"SPY": 0.0}


def test_a_fill_that_the_stream_never_told_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orderflow, "SILENT", 0.1)
    dropped, on_update = [], Engine.on_update

    def deaf(engine: Engine, update: Update) -> None:
        if update.last_qty and not dropped:
            dropped.append(update)
        else:
            on_update(engine, update)

    monkeypatch.setattr(Engine, "on_update", deaf)
    report = rehearse(made_trades(600), "volume_modulo", tmp_path / "run", sim=FAST, flatten_before="2h")
    (lost,) = dropped
    assert report.audit.ok, "\n".join(report.audit.lines())
    found = [row for row in report.fills if row["f0"] == lost.last_qty and row["f1"] == lost.last_px]
    assert found, "booked at the price that the venue's average implies"
    assert report.counts().loc["orders asked for, the stream being silent"].item() >= 1
    assert report.figures()["position"] == {"SPY": report.fills["f0"].sum()}


def test_a_venue_that_refuses_orders_is_counted_and_the_session_goes_on(tmp_path: Path) -> None:
    report = rehearse(
        made_trades(1_500), "volume_modulo", tmp_path / "run", sim=FAST | {"rules": "alpaca", "cash": 2_000.0},
        no_limits=True,
    )  # fmt: skip
    assert report.failure is None
    assert sum(report.tally.rejected.values()) > 10
    assert any("insufficient buying power" in name for name in report.tally.rejected)
    assert report.audit.ok, "\n".join(report.audit.lines())


def test_a_venue_of_another_protocol_is_told(tmp_path: Path) -> None:
    with exchange_for(made_trades(10), tmp_path / "run", **FAST) as exchange:
        assert httpx.get(f"{exchange.url}/v2/account", headers=HEADERS).status_code == 200
        given = parameters(exchange, made_trades(10), tmp_path / "run", "volume_modulo")
        with pytest.raises(FeedError):
            Session.from_parameters(**(given | {"data_stream_url": exchange.time_url})).run()
