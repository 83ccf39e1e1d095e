"""The day's report: what a person reads in the executed notebook, made from the tape and the session's counters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mdslib.account import DUST
from mdslib.audit.report import AuditReport
from mdslib.desk import ENDING
from mdslib.errors import AuditError, MdsError
from mdslib.events import Kind
from mdslib.instruments import Instrument
from mdslib.live.batch import HALT, RESUME
from mdslib.live.day_audit import audit_run
from mdslib.live.ending import CLOSED
from mdslib.live.latency import Latency
from mdslib.protocols import Position, Records
from mdslib.store.tapereader import TapeReader

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from mdslib.live.engine import Engine
    from mdslib.live.plan import LivePlan
    from mdslib.metrics import Measures
    from mdslib.plot import Lane


class Command(NamedTuple):
    """A CONTROL record: time (ns UTC), code, and who said it and why."""

    ts: int
    code: int
    why: str


@dataclass(frozen=True, eq=False, repr=False)
class DayReport:
    """Figures, plots and verdict of one session.

    Attributes
    ----------
    records : numpy.ndarray of RECORD
        The whole tape.
    audit : AuditReport
        The tape folded again, compared with the exchange's log where there is one, and our books with the venue's.
    failure : MdsError or None
        What ended or halted the session, if anything did.
    commands : tuple of Command
        What a person or the session commanded: halt, reduce, go flat, resume.
    flattens : bool
        The day was to end flat.
    measures : sequence of Measure or Histogram
        What was served to Prometheus, as it was at the end.
    """

    title: str
    instruments: tuple[Instrument, ...]
    records: Records
    audit: AuditReport
    failure: MdsError | None
    opening_cash: float
    others: dict[str, Position]
    tally: Any
    handover: Latency
    decision: Latency
    to_answer: Latency
    reason: str
    feed_counts: dict[str, int]
    commands: tuple[Command, ...]
    flattens: bool
    measures: Measures

    @classmethod
    def of(
        cls,
        plan: LivePlan,
        engine: Engine,
        books: AuditReport,
        opening_cash: float,
        others: dict[str, Position],
        measures: Measures,
    ) -> DayReport:
        """Read the tape of a finished session, audit it, and return the report."""
        with TapeReader(plan.run_dir / "tape") as tape:
            records = np.array(tape.records())
            commands = tuple(_commands(tape, records))
        engine.progress()
        audit = audit_run(plan.run_dir, plan.strategy, engine.progress) + books
        return cls(
            title=f"{plan.strategy.name} on {', '.join(i.symbol for i in plan.instruments)}, {plan.date}",
            instruments=plan.instruments,
            records=records,
            audit=audit,
            failure=engine.failure,
            opening_cash=opening_cash,
            others=others,
            tally=engine.tally,
            handover=engine.handover,
            decision=engine.decision,
            to_answer=engine.workers.to_answer,
            reason=engine.reason,
            commands=commands,
            flattens=plan.flatten is not None,
            measures=measures,
            feed_counts={"order calls that failed": len(engine.workers.failures), **engine.tally.feed},
        )

    @cached_property
    def halt(self) -> str:
        """Who halted trading, and when; empty where it was not halted, was resumed, or only its end halted it."""
        found = ""
        for command in self.commands:
            if command.code == HALT and command.why != self.reason:
                when = np.datetime64(command.ts, "ns").astype("M8[s]")
                found = found or f"trading was halted at {when} UTC: {command.why}"
            elif command.code == RESUME:
                found = ""
        return found

    @cached_property
    def held_over(self) -> str:
        """What is still held at the close of a day that was to end flat; empty where nothing is, or it ended early."""
        if not self.flattens or self.reason != CLOSED:
            return ""
        ends = {i.symbol: float(self.positions(k)[1][-1]) for k, i in enumerate(self.instruments)}
        held = [f"{symbol} {qty:+g}" for symbol, qty in ends.items() if abs(qty) > DUST]
        return f"not flat at the close: {', '.join(held)} is still held, close it there" if held else ""

    # Data of the plots -------------------------------------------------------------------------------------------

    @cached_property
    def market(self) -> Records:
        """Market records of the session, in tape order."""
        kinds = self.records["kind"]
        return np.array(self.records[(kinds <= int(Kind.BAR)) | (kinds == int(Kind.BOOK_DELTA))])

    @cached_property
    def fills(self) -> Records:
        """UPDATE records that are fills."""
        chosen = (self.records["kind"] == int(Kind.UPDATE)) & (self.records["f0"] != 0.0)
        return np.array(self.records[chosen])

    def prices(self, instrument: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return times (ns) and prices of one instrument: trades, else mid quotes, else closes, else mid books."""
        own = self.market[self.market["instrument"] == instrument]
        for kind in (Kind.TRADE, Kind.QUOTE, Kind.BAR):
            rows = own[own["kind"] == int(kind)]
            if len(rows):
                return np.ascontiguousarray(rows["ts_event"]), np.ascontiguousarray(_price(kind, rows))
        if len(own):
            from mdslib.book.best import tops_of
            from mdslib.table import Table

            own["ts_event"] = np.maximum.accumulate(own["ts_event"])  # a table's times rise, those of arrivals may not
            tops = tops_of(Table.from_records(own, Kind.BOOK_DELTA))
            return tops["ts_event"], (tops["bid"] + tops["ask"]) / 2
        return np.zeros(0, np.int64), np.zeros(0)

    def positions(self, instrument: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return times and positions: the opening one, then after each fill, then at the end of the tape."""
        opening = self.records[(self.records["kind"] == int(Kind.OPENING)) & (self.records["instrument"] == instrument)]
        fills = self.fills[self.fills["instrument"] == instrument]
        start = float(opening["f0"][0]) if len(opening) else 0.0
        held = (
            np.round(start + np.concatenate([[0.0], np.cumsum(fills["f0"])]), 9) + 0.0
        )  # at most nine decimals; no -0
        ts = np.concatenate([[self._span[0]], fills["ts_event"], [self._span[1]]])
        return ts, np.concatenate([held, held[-1:]])

    @property
    def _span(self) -> tuple[int, int]:
        rows = self.market if len(self.market) else self.records
        return (int(rows["ts_event"].min()), int(rows["ts_event"].max())) if len(rows) else (0, 0)

    def equity_curve(self, points: int = 2000) -> tuple[np.ndarray, np.ndarray]:
        """Return times and equity at about `points` evenly spaced times of the session, the last one included."""
        start, end = self._span
        grid = np.linspace(start, end, max(2, points)).astype(np.int64)
        equity = np.full(len(grid), self.opening_cash)
        for k in range(len(self.instruments)):
            ts, px = self.prices(k)
            pts, held = self.positions(k)
            own = self.fills[self.fills["instrument"] == k]
            spent = np.concatenate([[0.0], np.cumsum(own["f0"] * own["f1"] + own["f4"])])
            if len(ts):
                last = px[np.clip(np.searchsorted(ts, grid, "right") - 1, 0, None)]
                equity += held[np.clip(np.searchsorted(pts, grid, "right") - 1, 0, None)] * last
            equity -= spent[np.searchsorted(own["ts_event"], grid, "right")]
        return grid, equity

    # What the notebook shows -------------------------------------------------------------------------------------

    def figures(self) -> dict[str, Any]:
        """Return the day's numbers; JSON values only."""
        tally = self.tally
        return {
            "reason": self.reason,
            "events": tally.events,
            "decisions": tally.decisions,
            "orders": tally.intents,
            "fills": tally.fills,
            "denied": dict(tally.denied),
            "rejected": dict(tally.rejected),
            "unknown": tally.unknown,
            "position": {i.symbol: float(self.positions(k)[1][-1]) for k, i in enumerate(self.instruments)},
            "equity": float(self.equity_curve()[1][-1]),
            "opening_cash": self.opening_cash,
            "decision": self.decision.summary(),
            "handover": self.handover.summary(),
            "answer": self.to_answer.summary(),
            "audit": self.audit.verdict,
            "halted": self.halt,
            "findings": [finding.to_dict() for finding in self.audit.findings],
            "feed": dict(self.feed_counts),
            "failure": None if self.failure is None else str(self.failure),
        }

    def summary(self) -> pd.DataFrame:
        """Return the day in a few lines."""
        import pandas as pd

        f = self.figures()
        rows: dict[str, object] = {
            "session": self.title,
            "ended because": self.reason,
            "halted": self.halt or "no",
            **self._lives(),
            "events": f"{f['events']:,}",
            "decisions": f"{f['decisions']:,}",
            "orders sent": f"{f['orders']:,}",
            "fills": f"{f['fills']:,}",
            "position": ", ".join(f"{s} {q:+g}" for s, q in f["position"].items()),
            "profit": f"{f['equity'] - self.equity_curve()[1][0]:,.2f}",
            "positions left alone": ", ".join(f"{s} {p.qty:+g}" for s, p in self.others.items()) or "none",
            "failure": f["failure"] or "none",
            "audit": self.audit.summary(),
        }
        return pd.DataFrame({"": rows})

    def _lives(self) -> dict[str, object]:
        """Return when the program began again, where it did."""
        again = self.records["ts_event"][self.records["kind"] == int(Kind.START)]
        if not len(again):
            return {}
        times = ", ".join(str(np.datetime64(int(ts), "ns").astype("M8[s]"))[11:] for ts in again[-3:])
        return {"started again": f"{len(again):,} times, at {'... ' if len(again) > 3 else ''}{times} UTC"}

    def counts(self) -> pd.DataFrame:
        """Return everything that was denied, rejected, dropped or late."""
        import pandas as pd

        tally = self.tally
        rows: dict[str, int] = {f"denied: {name}": n for name, n in tally.denied.items()}
        rows |= {f"rejected: {name}": n for name, n in tally.rejected.items()}
        rows |= {f"outside the session: {name}": n for name, n in tally.outside.items() if n}
        rows |= {
            "outcome unknown at first": tally.unknown,
            "decisions too old after a restart": tally.expired,
            "differences from the venue's books": int(np.count_nonzero(self.records["kind"] == int(Kind.DIFFERENCE))),
            "orders that somebody has replaced at the venue": tally.replaced,
            "updates of orders that are not ours": tally.foreign,
            "orders asked for, the stream being silent": tally.asked,
            "gaps": int(np.count_nonzero(self.records["kind"] == int(Kind.GAP))),
            "trade corrections and cancels": int(
                np.count_nonzero(np.isin(self.records["kind"], (int(Kind.CORRECTION), int(Kind.CANCEL_ERROR))))
            ),
            "recorded after the model failed": tally.unfolded,
            "longest queue": tally.longest_queue,
            **self.feed_counts,
        }
        return pd.DataFrame({"count": rows})

    def metrics(self) -> pd.DataFrame:
        """Return the session's measures at its end: the names and numbers that Prometheus is given."""
        from mdslib.metrics import table

        return table(self.measures)

    def figure(self) -> Figure:
        """Return the day in one picture: price with our fills, for each instrument, then position, then equity."""
        from mdslib.calendar import zone
        from mdslib.plot import Track, figure_lanes

        lanes = [self._lane(k) for k in range(len(self.instruments))]
        place = str(zone(self.instruments[0].session))
        return figure_lanes(lanes, Track(*self.equity_curve()), self.title, zone=place)

    def _lane(self, k: int) -> Lane:
        from mdslib.curve import Fills
        from mdslib.plot import Lane, Track

        own = self.fills[self.fills["instrument"] == k]
        ts, qty, px, fee = (np.ascontiguousarray(own[name]) for name in ("ts_event", "f0", "f1", "f4"))
        fills = Fills(ts, qty, px, fee, own["instrument"].astype(np.int64))
        return Lane(self.instruments[k].symbol, Track(*self.prices(k)), fills, Track(*self.positions(k)))

    def figure_latency(self) -> Figure:
        """Return the histogram of the time from a frame's receipt to the decision."""
        from mdslib.plot import figure_latency

        return figure_latency(self.decision.samples().astype(np.int64), "From a frame's receipt to the decision")

    def finish(self) -> None:
        """Raise where the day's record does not add up, so that the run fails with it.

        Raises
        ------
        AuditError
        """
        if not self.audit.ok:
            raise AuditError(f"the audit did not pass: {'; '.join(self.audit.lines())}")

    def __repr__(self) -> str:
        return f"DayReport({self.title}: {self.reason}; audit {self.audit.verdict})"


def _commands(tape: TapeReader, records: Records) -> Iterator[Command]:
    """Yield what a person or the session commanded while it ran; what belongs to its end alone is left out."""
    for row in records[(records["kind"] == int(Kind.CONTROL)) & (records["flag"] != ENDING)]:
        yield Command(int(row["ts_event"]), int(row["code"]), tape.text(row))


def _price(kind: Kind, rows: Records) -> np.ndarray:
    """Return the price of trades, the middle of quotes, the close of bars."""
    price = {Kind.TRADE: rows["f0"], Kind.QUOTE: (rows["f0"] + rows["f1"]) / 2, Kind.BAR: rows["f3"]}[kind]
    return np.asarray(price)
