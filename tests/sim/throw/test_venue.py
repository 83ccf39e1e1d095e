"""What goes wrong at the venue itself: orders, halts, corrections, its clock."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from mdslib.errors import ConfigError, DataError
from mdslib.events import Kind
from mdslib.sim import Exchange, read_faults, read_orders, read_played, read_sent
from mdslib.table import MarketData

from ..days import MS, OPEN, day_of, steps
from ..lockstep_client import LockstepSession
from .struck import buy, calls, listener, phases, reader, struck, thrown


def stepped(faults: str, act: Any, data: MarketData | None = None, **options: Any) -> tuple[LockstepSession, Any]:
    """Run a scripted session in lock-step; return it, and the exchange's orders at its end."""
    with struck(faults, data, mode="lockstep", **options) as exchange:
        session = LockstepSession(exchange, act)
        session.data.subscribe(statuses=["*"], lulds=["*"])
        session.run()
        orders = httpx.get(f"{exchange.url}/sim/orders").json()["orders"]
        session.close()
    return session, orders


def told(session: LockstepSession) -> list[tuple[str, str]]:
    """Return the order updates heard: event and client order id."""
    return [(data["event"], data["order"]["client_order_id"]) for data in session.heard]


def order_at(second: int, **order: Any) -> Any:
    """Return what posts one order at a second of the day."""

    def act(session: LockstepSession, now: int, phase: str) -> None:
        if phase == "market" and now == OPEN + second * 1000 * MS:
            assert session.post(**order).status_code == 200

    return act


# -- orders ------------------------------------------------------------


def test_rejected_after_it_was_accepted() -> None:
    with struck('what = "reject"\nreason = "locate not found"') as exchange, calls(exchange) as client:
        updates = listener(exchange)
        assert buy(client, "a").json()["status"] == "pending_new"
        heard = [updates.receive()["data"] for _ in range(2)]
        order = client.get("/v2/orders:by_client_order_id?client_order_id=a").json()
        assert buy(client, "b").status_code == 200
        updates.close()
        log = thrown(exchange)
    assert [data["event"] for data in heard] == ["pending_new", "rejected"]
    assert heard[1]["reason"] == "locate not found"
    assert (order["status"], order["failed_at"]) == ("rejected", "2013-10-08T13:30:00Z")
    assert [entry.get("client_order_id") for entry in log] == [None, "a", None]


def test_rejected_a_while_later_unless_it_was_filled() -> None:
    def act(session: LockstepSession, now: int, phase: str) -> None:
        if phase == "market" and now == OPEN + 1000 * MS:
            session.post(client_order_id="low", type="limit", limit_price="1")
            session.post(client_order_id="quick")

    session, orders = stepped('what = "reject"\ntimes = 2\ndelay = "2500ms"', act, steps(5))
    assert told(session)[2:] == [("pending_new", "quick"), ("new", "quick"), ("fill", "quick"), ("rejected", "low")]
    assert session.heard[-1]["timestamp"] == "2013-10-08T13:30:04Z"
    assert [order["status"] for order in orders] == ["rejected", "filled"]


def test_a_cancel_that_is_taken_in_and_loses_to_a_fill() -> None:
    def act(session: LockstepSession, now: int, phase: str) -> None:
        if phase == "market" and now == OPEN + 1000 * MS:
            order = session.post(client_order_id="a").json()
            assert session.http.delete(f"/v2/orders/{order['id']}").status_code == 204

    session, orders = stepped('what = "cancel-ignored"', act, steps(3))
    assert told(session) == [("pending_new", "a"), ("new", "a"), ("fill", "a")]
    assert orders[0]["status"] == "filled"


def test_partial_fills_at_random_then_as_before() -> None:
    def act(session: LockstepSession, now: int, phase: str) -> None:
        if phase == "market":
            session.post(qty=100)

    fault = 'what = "partial-fills"\nchance = 1.0\nfor = "20500ms"'
    session, _ = stepped(fault, act, steps(30))
    second, _ = stepped(fault, act, steps(30))
    assert session.heard == second.heard
    parts = [data["timestamp"] for data in session.heard if data["event"] == "partial_fill"]
    assert len(parts) > 20
    assert max(parts) == "2013-10-08T13:30:20Z"


def test_a_latency_that_rises_and_falls() -> None:
    def act(session: LockstepSession, now: int, phase: str) -> None:
        if phase == "market" and now in (OPEN + 1000 * MS, OPEN + 6000 * MS):
            session.post(client_order_id=str((now - OPEN) // MS))

    session, _ = stepped('what = "latency"\nafter = "500ms"\nfor = "4s"\nby = "2500ms"', act, steps(9))
    fills = [(d["order"]["client_order_id"], d["timestamp"]) for d in session.heard if d["event"] == "fill"]
    assert fills == [("1000", "2013-10-08T13:30:04Z"), ("6000", "2013-10-08T13:30:07Z")]


def test_somebody_else_trades_on_the_account() -> None:
    fault = 'what = "foreign-order"\nafter_events = 2\nqty = 3\nside = "sell"'
    session, orders = stepped(fault, lambda *_: None, steps(5))
    assert [data["event"] for data in session.heard] == ["pending_new", "new", "fill"]
    assert (orders[0]["side"], orders[0]["filled_qty"]) == ("sell", "3")


# -- the market ------------------------------------------------------------


def test_a_halted_symbol_says_so_and_has_no_events_and_no_fills_until_it_resumes(tmp_path: Path) -> None:
    fault = 'what = "halt"\nafter = "2500ms"\nfor = "3s"\nsymbol = "SPY"'
    trades = [(1000.0 * i, "SPY", 100.0 + i, i) for i in range(1, 9)] + [(4100.0, "BAC", 9.0, 99)]
    session, _ = stepped(fault, order_at(2, client_order_id="a"), day_of(*sorted(trades)), log_dir=tmp_path)
    said = [message for frame in session.frames for message in frame]
    assert [(m["T"], m.get("s", m.get("sc", m.get("u")))) for m in said] == [
        ("t", 1), ("t", 2), ("l", 107.1), ("s", "2"), ("t", 99), ("s", "3"), ("t", 6), ("t", 7), ("t", 8),
    ]  # fmt: skip
    assert {key: said[3][key] for key in ("S", "rc", "t", "z")} == {
        "S": "SPY", "rc": "LUDP", "t": "2013-10-08T13:30:02.5Z", "z": "A",
    }  # fmt: skip
    assert (said[2]["d"], said[5]["t"]) == (96.9, "2013-10-08T13:30:05.5Z")
    fill = session.heard[-1]
    assert (fill["event"], fill["price"], fill["timestamp"]) == ("fill", "106", "2013-10-08T13:30:06Z")
    sent = read_sent(tmp_path)
    assert sent["kind"].tolist().count(Kind.STATUS) == 3
    assert [entry["phase"] for entry in read_faults(tmp_path)] == ["began", "ended"]
    played = read_played(tmp_path, ["SPY"])
    assert played["i0"][played["kind"] == Kind.TRADE].tolist() == [1, 2, 6, 7, 8], "the others have never been"


def test_history_does_not_know_what_a_halt_let_not_happen() -> None:
    fault = 'what = "halt"\nafter = "2500ms"\nfor = "3s"\nreason = "T1"'
    with struck(fault) as exchange, calls(exchange) as client:
        data = reader(exchange, trades=["SPY"], statuses=["SPY"])
        got = data.take(9)
        query = {"start": "2013-10-08T13:30:00Z", "end": "2013-10-08T20:00:00Z"}
        rows = client.get("/v2/stocks/SPY/trades", params=query).json()["trades"]
        bars = client.get("/v2/stocks/SPY/bars", params=query | {"timeframe": "1Min"}).json()["bars"]
        data.close()
    assert [row["s"] for row in rows] == [1, 2, 6, 7, 8, 9, 10]
    assert bars[0]["v"] == 43
    assert [message["T"] for message in got] == ["t", "t", "s", "s", "t", "t", "t", "t", "t"], "T1 has no LULD band"


@pytest.mark.parametrize("mode", ["free", "lockstep"])
def test_a_trade_is_corrected_and_another_canceled(mode: str, tmp_path: Path) -> None:
    faults = 'what = "correction"\nafter_events = 3\nback = 2\nshift = -0.5'
    faults += '---what = "trade-cancel"\nafter = "4s"\naction = "E"'
    if mode == "lockstep":
        session, _ = stepped(faults, lambda *_: None, steps(5), log_dir=tmp_path)
        said = [message for frame in session.frames for message in frame]
    else:
        with struck(faults, steps(5), log_dir=tmp_path) as exchange:
            data = reader(exchange)
            said = data.take(7)
            data.close()
    assert [message["T"] for message in said] == ["t", "t", "t", "c", "x", "t", "t"]
    correction, canceled = said[3], said[4]
    assert {key: correction[key] for key in ("S", "x", "oi", "op", "os", "ci", "cp", "cs", "z")} == {
        "S": "SPY", "x": "V", "oi": 2, "op": 100.01, "os": 2, "ci": 9_000_000_000_001, "cp": 99.51, "cs": 2, "z": "A",
    }  # fmt: skip
    assert {key: canceled[key] for key in ("S", "i", "p", "s", "a", "x")} == {
        "S": "SPY", "i": 3, "p": 100.02, "s": 3, "a": "E", "x": "V",
    }  # fmt: skip
    sent = read_sent(tmp_path)
    rows = {int(kind): sent[sent["kind"] == kind][0] for kind in (Kind.CORRECTION, Kind.CANCEL_ERROR)}
    row, other = rows[Kind.CORRECTION], rows[Kind.CANCEL_ERROR]
    assert (row["f0"], row["f1"], row["i0"], row["i1"]) == (100.01, 99.51, 2, 9_000_000_000_001)
    assert (other["f0"], other["i0"], other["i1"], other["code"]) == (100.02, 3, 3, ord("E"))


def test_what_the_exchange_logs_of_its_own_messages_is_what_our_decoder_reads(tmp_path: Path) -> None:
    from decimal import Decimal

    from mdslib.feeds.alpaca_decode import AlpacaDecoder

    faults = 'what = "correction"\nafter_events = 3---what = "trade-cancel"\nafter = "4s"'
    faults += '---what = "halt"\nafter = "4500ms"\nfor = "1s"'
    with struck(faults, log_dir=tmp_path) as exchange:
        data = reader(exchange, trades=["*"], statuses=["*"], lulds=["*"])
        decoder, records = AlpacaDecoder(["SPY", "BAC"], [Decimal(1), Decimal(1)]), []
        while sum(map(len, records)) < 14:
            records.append(decoder.receive(data.socket.recv(120), 0))
        data.close()
    sent, got = read_sent(tmp_path), [row for batch in records for row in batch]
    assert [row["kind"] for row in got].count(Kind.STATUS) == 3
    for name in ("kind", "flag", "instrument", "code", "ts_event", "f0", "f1", "f2", "f3", "i0", "i1"):
        assert [row[name] for row in got] == pytest.approx(sent[name].tolist(), nan_ok=True), name


@pytest.mark.parametrize(("by", "stamp"), [("3s", "09:30:03-04:00"), ("-1500ms", "09:29:58.5-04:00")])
def test_the_venues_clock_goes_wrong(by: str, stamp: str) -> None:
    with struck(f'what = "clock-skew"\nby = "{by}"') as exchange, calls(exchange) as client:
        clock = client.get("/v2/clock").json()
        assert json.loads(httpx.get(f"{exchange.url}/sim/sent").text)["now"] == OPEN, "the side channel tells the truth"
    assert clock["timestamp"] == f"2013-10-08T{stamp}"
    assert clock["is_open"] is (by[0] != "-")


# -- the script and the day ------------------------------------------------------------


def test_a_fault_whose_time_never_comes_is_logged_as_such() -> None:
    faults = 'what = "disconnect"\nafter_events = 12---what = "mute"\nat = "09:00"\nfor = "30m"'
    with struck(faults) as exchange:
        data = reader(exchange)
        assert len(data.take(10)) == 10, (
            "one never comes (of ten trades the exchange makes one bar), the other was over"
        )
        deadline = time.monotonic() + 60
        while len(phases(exchange)) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert phases(exchange) == [(2, "began"), (2, "ended"), (1, "never")]
        data.close()


def test_a_symbol_that_is_not_traded_is_one_clear_error() -> None:
    with pytest.raises(
        ConfigError, match=r"fault script test, line 1: this exchange does not trade 'SPX'\. Did you mean 'SPY'\?"
    ):
        struck('what = "halt"\nsymbol = "SPX"').start()


STORM = """
what = "mute"\nafter = "2s"\nfor = "3s"
---what = "drop"\nfor = "day"\nchance = 0.2
---what = "duplicate"\nfor = "day"\nchance = 0.2
---what = "reorder"\nfor = "day"\nchance = 0.2
---what = "drop"\nsocket = "updates"\nfor = "day"\nchance = 0.2
---what = "slow"\nsocket = "updates"\nfor = "day"\nchance = 0.3\ndelay = "2s"
---what = "http-error"\nstatus = 504\ntaken = "first"\nfor = "day"\nchance = 0.3\ncall = "POST /v2/orders"
---what = "http-cut"\ntaken = "late"\ndelay = "1h"\nfor = "day"\nchance = 0.3\ncall = "POST /v2/orders"
---what = "partial-fills"\nchance = 0.5
---what = "reject"\nfor = "day"\nchance = 0.2
---what = "cancel-ignored"\nfor = "day"\nchance = 0.5
---what = "halt"\nafter = "15s"\nfor = "5s"
---what = "correction"\nafter = "10s"\nevery = "5s"
---what = "burst"\nafter = "25s"\nfor = "3s"
"""


def test_the_same_script_gives_the_same_run_to_the_last_byte(tmp_path: Path) -> None:
    def act(session: LockstepSession, now: int, phase: str) -> None:
        second = (now - OPEN) // (1000 * MS)
        if phase != "market":
            return
        with contextlib.suppress(httpx.TransportError):  # the script cuts connections
            session.post(qty=5, side="buy" if second % 3 else "sell", client_order_id=f"o{second}")
        if second % 4 == 0:
            session.http.delete("/v2/orders")

    def once(folder: Path) -> tuple[Any, ...]:
        session, orders = stepped(STORM.strip(), act, steps(40), log_dir=folder)
        files = [(folder / name).read_bytes() for name in ("faults.jsonl", "orders.jsonl", "sent-0001.rec")]
        return session.frames, session.heard, session.instants, orders, files

    first, second = once(tmp_path / "a"), once(tmp_path / "b")
    assert first == second
    log = read_faults(tmp_path / "a")
    assert {entry["fault"] for entry in log if entry["phase"] in ("hit", "ended")} == set(range(1, 15))
    assert len(read_orders(tmp_path / "a")) > 20


def test_the_exchange_in_a_process_of_its_own_takes_a_script_by_its_name() -> None:
    with Exchange(steps(3), faults="post-504-order-taken") as exchange, calls(exchange) as client:
        assert [buy(client, name).status_code for name in "ab"] == [200, 504]
        assert httpx.get(f"{exchange.url}/sim/faults").json()["script"] == "post-504-order-taken"


def test_a_folder_in_which_no_script_was_played(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no faults\.jsonl, so no fault script was played there; start it with"):
        read_faults(tmp_path)
