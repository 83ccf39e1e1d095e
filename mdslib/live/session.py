"""One live session: connect, wait for the open, decide until the close, audit, report.

Four kinds of thread: the reader (cpquant's `listen`), the order stream, the order workers, and the deciding thread that
alone writes the tape. The main thread, a notebook's cell, only watches and displays.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from mdslib.audit.refold import fold_of
from mdslib.clock import Clock, WallClock, monotonic_ns
from mdslib.desk import Desk
from mdslib.errors import BrokerError, MdsError, SessionError, TapeError
from mdslib.live.batch import HALT
from mdslib.live.begin import check_clock, header_of, make_folder, open_tape, opening_records
from mdslib.live.changed import retire
from mdslib.live.closeout import Closeout
from mdslib.live.conclude import books, interrupts, judged, unrecorded
from mdslib.live.display import Display
from mdslib.live.engine import Engine
from mdslib.live.halt import VENUE, halt_files, halted, refuse_if_halted, why_halted
from mdslib.live.keeper import Keeper
from mdslib.live.log import SessionLog
from mdslib.live.measures import served, session_measures
from mdslib.live.orderstream import OrderStream
from mdslib.live.plan import LivePlan, check_terms, make_plan
from mdslib.live.reconcile import DID_NOT_RUN, Patience, Restart
from mdslib.live.replay import Replay, replay
from mdslib.live.report import DayReport
from mdslib.live.runner import HEARTBEAT, STOP
from mdslib.live.simlink import SimLink, flush_sent
from mdslib.live.verdict import recording, replace_file
from mdslib.live.wiring import CHANNEL, make_keeper, past_checked
from mdslib.live.workers import Workers
from mdslib.protocols import Position, Records
from mdslib.store.auditblock import refuse_if_blocked
from mdslib.store.tapefile import TapeWriter
from mdslib.strategy import Fold
from mdslib.tape import versions

if TYPE_CHECKING:
    from mdslib.brokers.alpaca import AlpacaBroker
    from mdslib.feeds.alpaca_socket import CpquantFeed

SWITCH = 0.0002  # s; with the interpreter's default of 5 ms a hand-over between busy threads costs 2 ms at the median
TICK = 0.25  # s between two looks of the main thread
READY = 20.0  # s for the order stream to come up


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
        self._ready = threading.Event()  # the order stream listens, or has failed
        self._early: MdsError | None = None  # why it has failed
        self._changed = False  # it goes on with another model than it began with
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
        exchange: str = "",
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
            Historical data, for what the feed has missed.
        exchange, date : str
            Whose session, and which; by default that of the symbols' own calendar, and today's.
        run_dir : str
            The day's files.
        limits : mapping, optional
            Limits that differ from the configured ones.
        end_of_day : {"flatten", "keep"}
            What becomes of positions before the close.
        **options
            See `mdslib.live.options.OPTIONS`.
        """
        terms = check_terms(
            model,
            params=params or {},
            symbols=symbols,
            feed=feed,
            data_stream_url=data_stream_url,
            data_url=data_url,
            trade_url=trade_url,
            exchange=exchange,
            limits=limits or {},
            end_of_day=end_of_day,
            options=options,
        )
        return cls(make_plan(date, run_dir, terms))

    def __repr__(self) -> str:
        plan = self.plan
        symbols = ", ".join(i.symbol for i in plan.instruments)
        return (
            f"Session({plan.strategy.name} on {symbols}, {plan.date}, feed {plan.feed},"
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
        refuse_if_halted(plan.run_dir)
        make_folder(plan.run_dir)
        with recording(plan.run_dir / VENUE):
            replace_file(plan.run_dir / VENUE, plan.trade_url + "\n")
        link = SimLink(plan.options["time_url"]) if plan.options["time_url"] else None
        clock: Clock = link.clock if link is not None else WallClock()
        with recording(plan.run_dir / "log.jsonl"):
            log = SessionLog(plan.run_dir / "log.jsonl", clock)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH)
        try:
            with interrupts(self._stop.set):
                return self._run(clock, link, log)
        except MdsError as error:
            log("not-started" if self.engine is None else "failed", error=str(error))
            raise
        finally:
            sys.setswitchinterval(interval)
            gc.unfreeze()
            if link is not None:
                link.close()
            log.close()

    def _run(self, clock: Clock, link: SimLink | None, log: SessionLog) -> DayReport:
        plan = self.plan
        broker, feed, serving = self._broker(link), self._feed(clock), ExitStack()
        try:
            # A local exchange sets the clock itself, so what its clock call says is only shown.
            allowed = float(plan.options["max_clock_skew"]) if link is None else float("inf")
            skew = check_clock(broker, clock, allowed)
            log("venue-clock", ahead=round(skew, 3))
            account = broker.account()
            if account.blocked:
                blocked = f"account {account.account_id} may not trade"
                raise SessionError(f"{blocked} (the venue has blocked it); see the venue's dashboard")
            header = header_of(plan, account.account_id, link)
            fold = fold_of(header, plan.strategy)
            fold.prepare()
            desk = Desk(account.account_id, plan.run_name, plan.date, plan.instruments)
            with open_tape(plan, header) as tape:
                past = None
                if tape.header != header:  # a person has accepted that
                    retire(tape, header, broker, clock.now, float(plan.options["resolve_within"]))
                    self._changed = True
                elif tape.found is not None:
                    past = replay(tape.found, fold, desk)
                engine = self.engine = self._engine(fold, desk, tape, clock, link, log, past)
                threads = 1 if link is not None and link.lockstep else int(plan.options["workers"])
                workers = engine.workers = self._workers(engine, broker, threads)
                engine.closeout = Closeout(broker, desk, engine.on_look)
                broker.warm_up(threads)
                keeper = make_keeper(plan, feed, engine, clock, link, log, skew)
                try:
                    serving.enter_context(served(plan.options["metrics_port"], engine, keeper))
                    self._trade(engine, keeper, broker, past if past is not None and past.opened else None)
                except MdsError:
                    workers.withhold()
                    if desk.working():  # of an earlier life: nobody watches over them now
                        engine.closeout.insist()
                    raise
                finally:
                    workers.close()
            return self._conclude(engine, keeper, broker, log)
        finally:
            serving.close()
            feed.close()
            broker.close()

    # Setting up --------------------------------------------------------------------------------------------------

    def _broker(self, link: SimLink | None) -> AlpacaBroker:
        from mdslib.brokers.allowance import REQUESTS_A_MINUTE, Allowance
        from mdslib.brokers.alpaca import AlpacaBroker

        asked = self.plan.options["requests_per_minute"]
        requests = (REQUESTS_A_MINUTE if link is None else 0) if asked is None else int(asked)
        return AlpacaBroker(self.plan.trade_url, allow_live=self.plan.allow_live, allowance=Allowance(requests))

    def _workers(self, engine: Engine, broker: AlpacaBroker, threads: int) -> Workers:
        options, lockstep = self.plan.options, engine.link is not None and engine.link.lockstep
        return Workers(
            broker,
            engine.on_answer,
            halt_files(self.plan.run_dir),
            threads,
            resolve_within=float(options["resolve_within"]),
            allowance=broker.allowance,
            max_age=float("inf") if lockstep else float(options["max_age"]),  # in lock-step no time goes by
            asks=not lockstep,  # and what became of an order is told in its time
        )

    def _feed(self, clock: Clock) -> CpquantFeed:
        from mdslib.feeds.alpaca_socket import CpquantFeed

        plan = self.plan
        kinds = tuple(CHANNEL[kind] for kind in plan.strategy.market_kinds)
        return CpquantFeed(
            plan.instruments, plan.feed, plan.data_stream_url, kinds or ("trades",), clock=clock, besides=("statuses",)
        )

    def _engine(
        self, fold: Fold, desk: Desk, tape: TapeWriter, clock: Clock, link: SimLink | None, log: SessionLog,
        past: Replay | None,
    ) -> Engine:  # fmt: skip
        plan = self.plan
        hours, on_stop = (plan.session.open, plan.session.close), bool(plan.options["flatten_on_stop"])
        engine = Engine(fold, desk, tape, clock, hours, plan.flatten, log, link, flatten_on_stop=on_stop, past=past)
        engine.progress = self._progress
        return engine

    # Trading -----------------------------------------------------------------------------------------------------

    def _trade(self, engine: Engine, keeper: Keeper, broker: AlpacaBroker, past: Replay | None) -> None:
        """Open, or go on where an earlier life was cut short, and trade until the session ends."""
        plan, link, display = self.plan, engine.link, Display()
        positions, cash = broker.positions(), broker.account().cash
        symbols = [instrument.symbol for instrument in plan.instruments]
        self.others = {symbol: held for symbol, held in positions.items() if symbol not in symbols}
        self.opening_cash = cash if past is None else past.opening_cash
        if past is not None and past.closed_at(plan.session.close):
            engine.closed_already()
            return
        steady = link is None or not link.lockstep
        updates = OrderStream(broker.stream, engine, engine.tally.feed, engine.log, keep=steady)
        threads = [self._thread(engine, "updates", lambda: updates.run(self._ready.set))]
        threads[0].start()
        if not self._ready.wait(READY):
            raise BrokerError(f"the order stream did not come up within {READY:g} s; check {plan.trade_url}")
        if self._early is not None:
            raise self._early
        if link is None:
            lead = int(float(plan.options["connect_lead"]) * 1e9)
            self._wait(engine.clock, plan.session.open - lead, display)
        elif not link.lockstep:
            link.start(engine.on_barrier)
        if past is None and self._asked_to_stop():
            engine.opened(opening_records(symbols, positions, cash, engine.clock.now()), repr(self))
            engine.never_began("stopped before the session began")
        else:
            threads += self._begin(
                engine, keeper, broker, past, opening_records(symbols, positions, cash, engine.clock.now())
            )
            self._watch(engine, keeper, display)
        keeper.close()
        updates.close()
        broker.updates.close()
        for thread in threads:
            thread.join(timeout=10.0)

    def _begin(
        self, engine: Engine, keeper: Keeper, broker: AlpacaBroker, past: Replay | None, opening: Records
    ) -> list[threading.Thread]:
        """Write what the session begins with, or close the open ends of a restart; then let the market in."""
        plan, link, threads = self.plan, engine.link, list[threading.Thread]()
        stands = link is not None and link.lockstep
        goes_on = link is not None or engine.clock.now() < engine.close
        if past is not None:
            patience = Patience(float(plan.options["max_age"]), float(plan.options["resolve_within"]))
            text = f"life {past.lives + 1}: {self!r}; {', '.join(' '.join(each) for each in versions().items())}"
            Restart(engine, broker, past, patience).run(text, hole=goes_on and not stands)
        if goes_on:
            keeper.open(self._asked_to_stop)
            threads += [self._thread(engine, "reader", keeper.read), self._thread(engine, "filler", keeper.keep)]
        if past is None:
            engine.opened(opening, repr(self))
            engine.log("opened", cash=self.opening_cash, others=sorted(self.others), model=plan.strategy.name)
            if self._changed and not stands:
                keeper.begin_with(DID_NOT_RUN, 0)
            elif plan.options["warm_up"] and engine.clock.now() > plan.session.open:
                keeper.begin_with("the session began in mid-day, and is told what happened before", plan.session.open)
        else:
            engine.went_on()
            if goes_on and not stands:
                keeper.begin_with(DID_NOT_RUN, 0 if past.last_event else plan.session.open, told=True)
        if link is not None and stands:
            link.start(engine.on_barrier)
        gc.collect()
        gc.freeze()
        threads.append(threading.Thread(target=engine.run, name="decide", daemon=True))
        for thread in threads:
            thread.start()
        return threads

    def _thread(self, engine: Engine, name: str, body: Any) -> threading.Thread:
        """Return a thread whose failure ends the session instead of vanishing."""

        def guarded() -> None:
            try:
                body()
                return
            except MdsError as error:
                failure = error
            # A fault of ours in a thread must reach the person, whatever it is: it ends the session with its name.
            except Exception as error:
                failure = SessionError(f"thread {name} failed: {type(error).__name__}: {error}")
            if not self._ready.is_set():
                self._early = failure
                self._ready.set()
            engine.fail(failure)

        return threading.Thread(target=guarded, name=name, daemon=True)

    def _wait(self, clock: Clock, until: int, display: Display) -> None:
        """Wait for a time, looking for the stop file."""
        beat = 0
        while clock.now() < until and not self._asked_to_stop():
            display.show(f"waiting for the open, {(until - clock.now()) / 1e9:,.0f} s")
            beat += 1
            self._beat(beat)
            clock.wait(self._stop, min(until, clock.now() + 1_000_000_000))

    def _watch(self, engine: Engine, keeper: Keeper, display: Display) -> None:
        """Display, beat, and look for the stop and halt files until the deciding thread has finished."""
        halted_already = stopped_already = False
        files = halt_files(self.plan.run_dir)
        while not engine.finished.wait(TICK):
            self._beat(engine.beat)
            display.show(_line(engine, keeper))
            if not stopped_already and self._asked_to_stop():
                stopped_already = True
                engine.stop("a person or the supervisor asked for it")
            if not halted_already and halted(files):
                halted_already = True
                engine.command(HALT, why_halted(files))
        display.show(_line(engine, keeper), last=True)

    def _beat(self, beat: int) -> None:
        """Touch the heartbeat file if the deciding thread has turned since the last time, at most once a second."""
        now = monotonic_ns() / 1e9
        if beat != self._heartbeat[0] and now - self._heartbeat[1] >= 1.0:
            with suppress(OSError):  # a full disk must not end the session from here; what can't be recorded will
                (self.plan.run_dir / HEARTBEAT).touch()
            self._heartbeat = (beat, now)

    def _progress(self) -> None:
        """Beat, since a step before the loop or after it is done: what hangs, in the audit for instance, never does."""
        self._beat(self._heartbeat[0] + 1)

    def _asked_to_stop(self) -> bool:
        return self._stop.is_set() or (self.plan.run_dir / STOP).exists()

    # The end -----------------------------------------------------------------------------------------------------

    def _conclude(self, engine: Engine, keeper: Keeper, broker: AlpacaBroker, log: SessionLog) -> DayReport:
        plan, measures = self.plan, session_measures(engine, keeper.silence)
        broker.allowance.on_wait = self._progress  # not before: that a worker waits says nothing of the deciding loop
        if isinstance(engine.failure, TapeError):  # the day's record ends there; nothing can be added to it
            raise unrecorded(engine)
        if engine.link is not None:
            flush_sent(plan.trade_url, log)
        engine.progress()
        asked = books(broker, engine, self.opening_cash) + past_checked(plan, engine, log)
        report = DayReport.of(plan, engine, asked, self.opening_cash, self.others, measures)
        verdict = judged(engine, report, plan.run_dir)
        log("verdict", code=int(verdict.code), reason=verdict.reason)
        return report


def _line(engine: Engine, keeper: Keeper) -> str:
    tally, account = engine.tally, engine.fold.account
    held = ", ".join(f"{i.symbol} {float(account[k]['position']):+g}" for k, i in enumerate(engine.fold.instruments))
    time = np.datetime64(engine.clock.now(), "ns").astype("M8[s]")
    denied, rejected = sum(tally.denied.values()), sum(tally.rejected.values())
    return (
        f"{time} UTC | {tally.events:,} events, {tally.decisions:,} decisions, {tally.intents:,} orders,"
        f" {tally.fills:,} fills | {held} | denied {denied:,}, rejected {rejected:,} | queue {engine.queued:,},"
        f" decision {engine.decision.quantile(0.5) / 1e3:,.0f} us, quiet {keeper.silence:.0f} s"
        f"{' | ' + keeper.line if keeper.line else ''}"
    )
