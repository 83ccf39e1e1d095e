"""Going flat before the close: closes pass the limits, a refused one is tried again, and what is left is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mdslib.backtesting import backtest
from mdslib.brokers.alpaca import AlpacaBroker
from mdslib.errors import OrderRejected
from mdslib.events import Kind, Status
from mdslib.live.verdict import ExitCode, Verdict
from mdslib.protocols import NewOrder, OrderState
from mdslib.risk import Denial, make_limits

from .rehearsal import DAY, LATENCY, assert_same_fills, made_trades, of_kind, rehearse

LATE_BUYER = Path(__file__).parent / "models" / "late_buyer.py"
SECOND = 10**9


def test_a_close_that_a_limit_denies_is_tried_again_and_the_back_test_does_the_same(tmp_path: Path) -> None:
    """One order a minute, and one at 330 s before the close: at 300 s and 285 s it is too early, at 270 s it passes."""
    data, limits = made_trades(1_500), {"max_orders_per_minute": 1}
    report = rehearse(data, LATE_BUYER, tmp_path / "run", sim={"mode": "lockstep"}, limits=limits)
    tested = backtest(LATE_BUYER, data, rules="permissive", latency=LATENCY, flatten="5m", limits=make_limits(**limits))
    assert report.audit.ok, report.audit.lines()
    assert_same_fills(report, tested)
    decided = [(DAY.close - ts) // SECOND for ts in tested.decisions["ts_event"].tolist()]
    assert list(zip(decided, tested.decisions["denied"].tolist(), strict=True)) == [
        (330, 0), (300, Denial.ORDER_RATE), (285, Denial.ORDER_RATE), (270, 0),
    ]  # fmt: skip
    assert tested.decisions["qty"].tolist() == [1.0, -1.0, -1.0, -1.0]
    assert report.figures()["position"] == {"SPY": 0.0}
    assert of_kind(report, Kind.CONTROL)["code"].tolist() == [3, 3, 3], "only looks that find it stuck are on the tape"


def refusing(monkeypatch: pytest.MonkeyPatch, times: int) -> list[NewOrder]:
    """Let the venue refuse so many sales."""
    refused: list[NewOrder] = []
    submit = AlpacaBroker.submit

    def submit_or_refuse(broker: AlpacaBroker, order: NewOrder) -> OrderState:
        if order.qty < 0 and len(refused) < times:
            refused.append(order)
            raise OrderRejected(f"order {order.client_order_id} was rejected: HTTP 403: no sales just now", 403)
        return submit(broker, order)

    monkeypatch.setattr(AlpacaBroker, "submit", submit_or_refuse)
    return refused


def test_a_close_that_the_venue_refuses_is_sent_again_under_an_id_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = refusing(monkeypatch, 2)
    report = rehearse(made_trades(1_500), LATE_BUYER, tmp_path / "run", sim={"mode": "lockstep"})
    assert report.figures()["position"] == {"SPY": 0.0}
    updates = of_kind(report, Kind.UPDATE)
    assert (updates["code"] == int(Status.REJECTED)).sum() == len(refused) == 2
    assert len({order.client_order_id for order in refused}) == 2
    closes = of_kind(report, Kind.CONTROL)["ts_event"]
    assert [(DAY.close - ts) // SECOND for ts in closes.tolist()] == [300, 285, 270]
    assert report.audit.ok, report.audit.lines()
    assert Verdict.read(tmp_path / "run").code is ExitCode.OK  # type: ignore[union-attr]


def test_a_position_that_can_not_be_closed_is_told_and_the_session_is_not_ok(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = refusing(monkeypatch, 10**6)
    report = rehearse(made_trades(1_500), LATE_BUYER, tmp_path / "run", sim={"mode": "lockstep"})
    assert len(refused) == 20, "every 15 s in five minutes"
    verdict = Verdict.read(tmp_path / "run")
    assert verdict is not None
    assert verdict.code is ExitCode.LEFT_OPEN
    assert verdict.reason == (
        "the session closed; not flat at the close: SPY +1 is still held, close it there; audit passed"
    )
    assert report.held_over == "not flat at the close: SPY +1 is still held, close it there"


def test_a_day_that_keeps_its_positions_says_nothing_of_them(tmp_path: Path) -> None:
    report = rehearse(made_trades(600), LATE_BUYER, tmp_path / "run", sim={"mode": "lockstep"}, end_of_day="keep")
    assert report.figures()["position"] == {"SPY": 1.0}
    assert report.held_over == ""
    assert re.fullmatch("the session closed; audit passed", Verdict.read(tmp_path / "run").reason)  # type: ignore[union-attr]


def test_a_large_position_is_closed_in_pieces_that_the_limits_let_pass(tmp_path: Path) -> None:
    """volume_modulo buys tens of shares; one order may have 20."""
    limits = {"max_order_qty": 20.0}
    report = rehearse(
        made_trades(3_000), "volume_modulo", tmp_path / "run", sim={"mode": "lockstep"},
        limits=limits, params={"shares": 7.0},
    )  # fmt: skip
    assert report.audit.ok, report.audit.lines()
    assert report.figures()["position"] == {"SPY": 0.0}
    closing = of_kind(report, Kind.CONTROL)["seq"][0]
    sent = of_kind(report, Kind.INTENT)
    pieces = abs(sent["f0"][sent["seq"] > closing])
    assert len(pieces) > 1
    assert pieces.max() == 20.0
