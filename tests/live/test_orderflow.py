"""What the log tells of orders, beside the tape."""

from __future__ import annotations

from typing import Any

from mdslib.desk import Desk
from mdslib.live.orderflow import SHOWN, OrderFlow
from mdslib.live.tally import Tally
from mdslib.risk import Denial


def test_denials_of_one_kind_fill_no_log_and_the_log_says_where_it_stops() -> None:
    lines: list[tuple[str, str]] = []

    def log(event: str, **fields: Any) -> None:
        lines.append((event, fields["limit"]))

    tally = Tally()
    flow = OrderFlow(Desk("account", "run", "2025-06-12", ()), tally, log, polls=False)
    for _ in range(SHOWN + 5):
        flow.note_denial(int(Denial.ORDER_RATE), 60.0, 61.0)
    assert lines == [("denied", "ORDER_RATE")] * SHOWN + [("denied-more", "ORDER_RATE")]
    assert tally.denied["ORDER_RATE"] == SHOWN + 5
