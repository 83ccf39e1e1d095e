"""One live session: connect, wait for the open, decide until the close, audit, report.

Four kinds of thread: the reader (cpquant's `listen`), the order stream, the order workers, and the deciding thread that
alone writes the tape. The main thread, a notebook's cell, only watches and displays.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdslib.audit.refold import fold_of
from mdslib.clock import Clock, WallClock, monotonic_ns
from mdslib.desk import Desk, opening_record
from mdslib.errors import BrokerError, CredentialError, FeedError, MdsError, ModelError, ModelRaised, SessionError
from mdslib.events import Kind
from mdslib.live.display import Display
from mdslib.live.engine import HALT, Engine
from mdslib.live.halt import halt_files, halted
from mdslib.live.log import SessionLog
from mdslib.live.plan import LivePlan, make_plan
from mdslib.live.report import DayReport
from mdslib.live.runner import HEARTBEAT, STOP
from mdslib.live.simlink import SimLink
from mdslib.live.verdict import ExitCode, Verdict, exit_code
from mdslib.live.workers import Workers
from mdslib.protocols import Position, Records
from mdslib.store.auditblock import mark_failed, refuse_if_blocked
from mdslib.store.tapefile import TapeWriter
from mdslib.tape import make_header

if TYPE_CHECKING:
    from mdslib.brokers.alpaca import AlpacaBroker
    from mdslib.feeds.alpaca_socket import CpquantFeed

SWITCH = 0.0002  # s; with the interpreter's default of 5 ms a hand-over between busy threads costs 2 ms at the median
TICK = 0.25  # s between two looks of the main thread
CHANNEL = {Kind.TRADE: "trades", Kind.QUOTE: "quotes", Kind.BAR: "bars"}


class Session:
    """A live session, made by `from_parameters` and run once.

    Examples
    --------
    ::

        session = Session.from_parameters(model="volume_modulo", symbols=["SPY"])
        report = session.run()
    """

    def __init__(self, plan: LivePlan) -> None:
        self.plan = plan
        self.engine: Engine | None = None
        self.others: dict[str, Position] = {}
        self.opening_cash = 0.0
        self._stop = threading.Event()
        self._heartbeat = (0, 0.0)

    @classmethod
    def from_parameters(
        cls,
        *,
        model: str,
        params: Mapping[str, Any] | None = None,
        symbols: Sequence[str] = ("SPY",),
        feed: str = "iex",
        data_stream_url: str = "wss://stream.data.alpaca.markets",
        data_url: str = "https://data.alpaca.markets",
        trade_url: str = "https://paper-api.alpaca.markets",
        exchange: str = "NYSE",
        date: str = "",
        run_dir: str = "",
        limits: Mapping[str, float] | None = None,
        end_of_day: str = "flatten",
        **options: Any,
    ) -> Session:
        """Check the parameters and return the session; nothing is connected yet.

        Parameters
        ----------
        model : str
            Name, module path or file.
        params : mapping, optional
            The model's parameters that differ from its defaults.
        symbols : sequence of str
            In the order that the model numbers them.
        feed, data_stream_url, trade_url : str
            Where data comes from and orders go.
        data_url : str
            Historical data; kept for the notebook's use.
        exchange, date : str
            Whose session, and which; today's by default.
        run_dir : str
            The day's files.
        limits : mapping, optional
            Limits that differ from the configured ones.
        end_of_day : {"flatten", "keep"}
            What becomes of positions before the close.
        **options
            See `mdslib.live.plan.OPTIONS`.
        """
        plan = make_plan(
            model,
            params or {},
            symbols,
            feed,
            data_stream_url,
            trade_url,
            exchange,
            date,
            run_dir,
            limits or {},
            end_of_day,
            options,
        )
        return cls(plan)

    def __repr__(self) -> str:
        plan = self.plan
        return (
            f"Session({plan.strategy.name} on {', '.join(i.symbol for i in plan.instruments)}, {plan.date}, feed {plan.feed},"
            f" orders to {plan.trade_url}, files in {plan.run_dir})"
        )

    def run(self) -> DayReport:
        """Run the session to its end and return its report.

        Raises
        ------
        SessionError, CredentialError, FeedError, BrokerError, ModelError
            Where it can't start. What goes wrong later ends the session, and is in the report and its verdict.
        """
        plan = self.plan
        refuse_if_blocked(plan.run_dir.parent)
        _make_folder(plan.run_dir)
        link = SimLink(plan.options["time_url"]) if plan.options["time_url"] else None
        clock: Clock = link.clock if link is not None else WallClock()
        log = SessionLog(plan.run_dir / "log.jsonl", clock)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH)
        try:
            return self._run(clock, link, log)
        except MdsError as error:
            log("not-started", error=str(error))
            raise
        finally:
            sys.setswitchinterval(interval)
            gc.unfreeze()
            if link is not None:
                link.close()
            log.close()

    def _run(self, clock: Clock, link: SimLink | None, log: SessionLog) -> DayReport:
        plan = self.plan
        broker, feed = self._broker(), self._feed(clock)
        try:
            self._check_clock(broker, clock, link)
            account = broker.account()
            if account.blocked:
                raise SessionError(
                    f"account {account.account_id} may not trade (blocked by the venue); see its dashboard"
                )
            positions = broker.positions()
            self.opening_cash = account.cash
            header = make_header(
                model=plan.strategy.name,
                fingerprint=_fingerprint(plan),
                parameters=plan.params._asdict(),
                instruments=plan.instruments,
                account_id=account.account_id,
                trading_date=plan.date,
                run_name=plan.run_name,
                limits={} if plan.limits is None else plan.limits._asdict(),
                clock="wall" if link is None else ("stepped" if link.lockstep else "scaled"),
                hours=[(plan.session.open, plan.session.close)],
                split_flips=plan.options["split_flips"],
                source=plan.source,
            )
            fold = fold_of(header, plan.strategy)
            fold.prepare()
            desk = Desk(account.account_id, plan.run_name, plan.date, plan.instruments)
            with TapeWriter(plan.run_dir / "tape", header, durability=plan.options["durability"]) as tape:
                if tape.next_seq > 1:
                    raise SessionError(
                        f"{plan.run_dir} holds the tape of an earlier start of this run; restarting on a tape is not built yet:"
                        " move that folder away, or choose another with --run-dir"
                    )
                engine = self.engine = Engine(
                    fold, desk, tape, clock, (plan.session.open, plan.session.close), plan.flatten, log, link
                )
                threads = 1 if link is not None and link.lockstep else int(plan.options["workers"])
                workers = engine.workers = Workers(broker, engine.on_answer, halt_files(plan.run_dir), threads)
                broker.warm_up(threads)
                self._trade(engine, feed, broker, clock, link, positions, account.cash, log)
                workers.close()
            return self._conclude(engine, broker, link, log)
        finally:
            feed.close()
            broker.close()

    # Setting up --------------------------------------------------------------------------------------------------

    def _broker(self) -> AlpacaBroker:
        from mdslib.brokers.alpaca import AlpacaBroker

        return AlpacaBroker(self.plan.trade_url, allow_live=self.plan.allow_live)

    def _feed(self, clock: Clock) -> CpquantFeed:
        from mdslib.feeds.alpaca_socket import CpquantFeed

        plan = self.plan
        kinds = tuple(CHANNEL[kind] for kind in plan.strategy.market_kinds)
        return CpquantFeed(plan.instruments, plan.feed, plan.data_stream_url, kinds or ("trades",), clock=clock)

    def _check_clock(self, broker: AlpacaBroker, clock: Clock, link: SimLink | None) -> None:
        """Refuse to trade on a clock that disagrees with the venue's; a local exchange sets the clock itself."""
        began = clock.now()
        venue = broker.clock().now
        skew = abs(venue - (began + clock.now()) // 2) / 1e9
        allowed = float(self.plan.options["max_clock_skew"])
        if link is None and skew > allowed:
            raise SessionError(
                f"this machine's clock and the venue's differ by {skew:.1f} s, {allowed:g} s is allowed;"
                " set the clock (timedatectl set-ntp true), or raise max_clock_skew"
            )

    def _opening(self, positions: Mapping[str, Position], cash: float, now: int) -> Records:
        """Return the OPENING records; positions that are not this session's are kept aside and left alone."""
        symbols = [i.symbol for i in self.plan.instruments]
        self.others = {symbol: held for symbol, held in positions.items() if symbol not in symbols}
        parts = []
        for k, symbol in enumerate(symbols):
            held = positions.get(symbol, Position(symbol, 0.0, 0.0))
            parts.append(opening_record(k, held.qty, held.avg_px, cash if k == 0 else 0.0, now))
        return np.concatenate(parts)

    # Trading -----------------------------------------------------------------------------------------------------

    def _trade(
        self,
        engine: Engine,
        feed: CpquantFeed,
        broker: AlpacaBroker,
        clock: Clock,
        link: SimLink | None,
        positions: Mapping[str, Position],
        cash: float,
        log: SessionLog,
    ) -> None:
        display = Display()
        threads = [self._start(engine, "updates", lambda: self._stream(engine, broker))]
        if not self._ready.wait(20.0):
            raise engine.failure or BrokerError("the order stream did not come up within 20 s")
        lead = int(float(self.plan.options["connect_lead"]) * 1e9)
        if link is None and not self._wait(clock, self.plan.session.open - lead, display):
            return
        if link is not None:
            link.start(engine.on_barrier)
        feed.open()
        engine.opened(self._opening(positions, cash, clock.now()), repr(self))
        log("opened", cash=cash, others=sorted(self.others), model=self.plan.strategy.name)
        gc.collect()
        gc.freeze()
        threads.append(self._start(engine, "reader", lambda: feed.run(engine.on_market)))
        threads.append(threading.Thread(target=engine.run, name="decide", daemon=True))
        threads[-1].start()
        self._watch(engine, feed, clock, display)
        feed.close()
        broker.updates.close()
        for thread in threads:
            thread.join(timeout=10.0)

    _ready: threading.Event

    def _stream(self, engine: Engine, broker: AlpacaBroker) -> None:
        broker.stream(engine.on_update, self._ready.set)

    def _start(self, engine: Engine, name: str, body: Any) -> threading.Thread:
        """Start a thread whose failure ends the session instead of vanishing."""
        self._ready = getattr(self, "_ready", None) or threading.Event()

        def guarded() -> None:
            try:
                body()
            except MdsError as error:
                engine.fail(error)
            # A fault of ours in a thread must reach the person, whatever it is: it ends the session with its name.
            except Exception as error:
                engine.fail(SessionError(f"thread {name} failed: {type(error).__name__}: {error}"))

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def _wait(self, clock: Clock, until: int, display: Display) -> bool:
        """Wait for a time, looking for the stop file; False if asked to stop."""
        while clock.now() < until:
            display.show(f"waiting for the open, {(until - clock.now()) / 1e9:,.0f} s")
            self._beat(1)
            if self._asked_to_stop():
                return False
            clock.wait(self._stop, min(until, clock.now() + 1_000_000_000))
        return True

    def _watch(self, engine: Engine, feed: CpquantFeed, clock: Clock, display: Display) -> None:
        """Display, beat, and look for the stop and halt files until the deciding thread has finished."""
        halted_already = False
        files = halt_files(self.plan.run_dir)
        while not engine.finished.is_set():
            try:
                if engine.finished.wait(TICK):
                    break
                self._beat(engine.beat)
                display.show(_line(engine, feed, clock))
                if self._asked_to_stop():
                    engine.stop("a person or the supervisor asked for it")
                if not halted_already and halted(files):
                    halted_already = True
                    engine.command(HALT, "mds halt")
            except KeyboardInterrupt:
                engine.stop("interrupted")
        display.show(_line(engine, feed, clock), last=True)

    def _beat(self, beat: int) -> None:
        """Touch the heartbeat file if the deciding thread has turned since the last time, at most once a second."""
        now = monotonic_ns() / 1e9
        if beat != self._heartbeat[0] and now - self._heartbeat[1] >= 1.0:
            (self.plan.run_dir / HEARTBEAT).touch()
            self._heartbeat = (beat, now)

    def _asked_to_stop(self) -> bool:
        return self._stop.is_set() or (self.plan.run_dir / STOP).exists()

    # The end -----------------------------------------------------------------------------------------------------

    def _conclude(self, engine: Engine, broker: AlpacaBroker, link: SimLink | None, log: SessionLog) -> DayReport:
        if link is not None:
            _flush_sent(self.plan.trade_url)
        report = DayReport.of(self.plan, engine, _books(broker, engine), self.opening_cash, self.others)
        if not report.audit.ok:
            mark_failed(self.plan.run_dir.parent, report.audit, self.plan.run_dir.name)
        verdict = _verdict(engine, report)
        verdict.write(self.plan.run_dir)
        log("verdict", code=int(verdict.code), reason=verdict.reason)
        return report


def _make_folder(run_dir: Path) -> None:
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        probe = run_dir / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SessionError(
            f"run folder {run_dir} can't be written ({error.strerror}); choose another with --run-dir"
        ) from error


def _fingerprint(plan: LivePlan) -> str:
    from mdslib.strategy.driver import strategy_fingerprint

    return strategy_fingerprint(plan.strategy)


def _line(engine: Engine, feed: CpquantFeed, clock: Clock) -> str:
    tally, account = engine.tally, engine.fold.account
    held = ", ".join(f"{i.symbol} {float(account[k]['position']):+g}" for k, i in enumerate(engine.fold.instruments))
    time = np.datetime64(clock.now(), "ns").astype("M8[s]")
    return (
        f"{time} UTC | {tally.events:,} events, {tally.decisions:,} decisions, {tally.intents:,} orders, {tally.fills:,} fills"
        f" | {held} | denied {sum(tally.denied.values()):,}, rejected {sum(tally.rejected.values()):,}"
        f" | queue {engine.queued:,}, decision {engine.decision.quantile(0.5) / 1e3:,.0f} us, quiet {feed.silence:.0f} s"
    )


def _flush_sent(trade_url: str) -> None:
    """Ask a local exchange to write down what it has sent, for the audit."""
    import httpx

    try:
        httpx.get(f"{trade_url}/sim/sent", timeout=30.0).raise_for_status()
    except httpx.HTTPError as error:
        raise SessionError(f"the local exchange did not flush its log: {error}") from error


def _books(broker: AlpacaBroker, engine: Engine) -> list[str]:
    """Return what differs between our books and the venue's; nothing if they agree."""
    found = []
    try:
        positions = broker.positions()
        working = {state.client_order_id for state in broker.open_orders()}
    except (BrokerError, CredentialError, FeedError) as error:
        return [f"the venue's books could not be read: {error}"]
    for k, instrument in enumerate(engine.fold.instruments):
        ours = float(engine.fold.account[k]["position"])
        theirs = positions[instrument.symbol].qty if instrument.symbol in positions else 0.0
        if abs(ours - theirs) > 1e-9:
            found.append(f"position of {instrument.symbol}: ours {ours:+g}, the venue's {theirs:+g}")
    for name, order in engine.desk.orders.items():
        if order.done and name in working:
            found.append(f"order {name} works at the venue, ours ended as {order.status.name}")
    return found


def _verdict(engine: Engine, report: DayReport) -> Verdict:
    details = report.figures()
    if not report.audit.ok:
        return Verdict(ExitCode.AUDIT_FAILED, f"audit {report.audit.verdict}", "session", details)
    if engine.failure is not None:
        failure = engine.failure
        code = ExitCode.MODEL_RAISED if isinstance(failure, ModelRaised | ModelError) else exit_code(type(failure))
        return Verdict(code, str(failure), "session", details)
    return Verdict(ExitCode.OK, f"{engine.reason}; audit passed", "session", details)
