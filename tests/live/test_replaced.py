"""An order that somebody replaces at the venue, in its web page for instance, is followed, shown, and counted once."""

from __future__ import annotations

from pathlib import Path

import httpx

from mdslib.events import Kind, Status
from mdslib.live import Session
from mdslib.live.runner import STOP
from mdslib.live.verdict import ExitCode, Verdict
from mdslib.sim import Exchange

from .rehearsal import made_trades, of_kind, rehearse, wait_until
from .test_session import HEADERS, RESTING, SLOW, logged, orders


def change(exchange: Exchange, order: dict[str, str], **changes: str) -> dict[str, str]:
    """Replace an order as a person does at the venue."""
    with httpx.Client(base_url=exchange.url, headers=HEADERS, timeout=60) as client:
        answer = client.patch(f"/v2/orders/{order['id']}", json=changes)
        return answer.raise_for_status().json()  # type: ignore[no-any-return]


def working_at(exchange: Exchange) -> list[dict[str, str]]:
    return [order for order in orders(exchange) if order["status"] == "new"]


def test_a_replaced_order_is_followed_to_its_fill_and_the_books_agree(tmp_path: Path) -> None:
    """One is changed to 3 shares that fill at once; another is changed and rests, and is canceled with the rest."""

    def meddle(session: Session, exchange: Exchange) -> None:
        wait_until(lambda: session.engine is not None and len(session.engine.desk.working()) >= 2, 60)
        first, second = working_at(exchange)[:2]
        change(exchange, first, qty="3", limit_price="9999")
        change(exchange, change(exchange, second, limit_price="2"), qty="7")
        wait_until(lambda: session.engine.tally.fills >= 1 and session.engine.tally.replaced >= 2, 60)
        (tmp_path / "run" / STOP).touch()

    limits = {"price_collar": 0.0}
    report = rehearse(
        made_trades(4_000), RESTING, tmp_path / "run", sim=SLOW, during=meddle, limits=limits, end_of_day="keep"
    )
    assert report.audit.ok, report.audit.lines()
    assert {finding.name: finding.text for finding in report.audit.findings}["books"] == "positions equal the venue's"
    assert report.figures()["position"] == {"SPY": 3.0}
    updates = of_kind(report, Kind.UPDATE)
    replaced = updates[updates["code"] == int(Status.REPLACED)]
    assert 2 <= len(replaced) <= 3, "two changes of one order may be learned of at once"
    assert replaced["f3"][0] == 1.0
    assert updates["f0"].sum() == 3.0
    assert report.counts().loc["orders that somebody has replaced at the venue"].item() == len(replaced)
    assert report.tally.foreign == 0, "the new orders are no strangers"
    assert len([line for line in logged(tmp_path / "run") if line["event"] == "replaced"]) == len(replaced)
    verdict = Verdict.read(tmp_path / "run")
    assert verdict is not None
    assert verdict.code is ExitCode.OK, verdict.reason
