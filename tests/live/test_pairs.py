"""A session on a crypto pair: its stream of books and trades, its own calendar, its orders, over real sockets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mdslib.backtesting import backtest
from mdslib.calendar import ALWAYS
from mdslib.calendar import session as trading_session
from mdslib.errors import ConfigError
from mdslib.events import BookFlag, Kind
from mdslib.live import Session
from mdslib.live.report import DayReport
from mdslib.sim import read_orders, read_sent
from mdslib.sim.books import messages_of
from mdslib.sim.faults import parse_script
from mdslib.store.madebook import made_books
from mdslib.table import MarketData

from .rehearsal import DATE, LATENCY, assert_same_fills, rehearse

MODEL = "volume_modulo"
PARAMS = {"shares": 0.0123, "sell_modulus": 3, "buy_modulus": 2}
HOUR = 3_600_000_000_000
DAY = trading_session(DATE, ALWAYS)
assert DAY is not None


@pytest.fixture
def _with_books(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sessions of a model on trades listen to books too, as one does whose model takes them."""
    from mdslib.feeds.alpaca_socket import CpquantFeed

    made = CpquantFeed.__init__

    def with_books(self: CpquantFeed, *args: object, **kwargs: object) -> None:
        instruments, feed, url, kinds = args
        made(self, instruments, feed, url, (*kinds, "orderbooks"), **kwargs)

    monkeypatch.setattr(CpquantFeed, "__init__", with_books)


@pytest.fixture(scope="module")
def day() -> MarketData:
    """The last two hours of a day."""
    return made_books(DATE, messages=250, start=DAY.close - 2 * HOUR)


def books_of(report: DayReport) -> np.ndarray:
    return report.records[report.records["kind"] == int(Kind.BOOK_DELTA)]


def best(records: np.ndarray) -> tuple[float, float]:
    """Return best bid and ask after some deltas, the slow way."""
    book: dict[tuple[int, float], int] = {}
    for row in records:
        if row["flag"] & BookFlag.CLEAR:
            book = {}
        elif row["i0"]:
            book[int(row["flag"] & BookFlag.ASK), row["f0"].item()] = int(row["i0"])
        else:
            book.pop((int(row["flag"] & BookFlag.ASK), row["f0"].item()), None)
    return max(p for side, p in book if side == 0), min(p for side, p in book if side == 1)


@pytest.mark.usefixtures("_with_books")
@pytest.mark.parametrize("rules", ["permissive", "alpaca"])
def test_in_lock_step_a_pair_s_day_is_the_back_test_and_every_level_is_on_the_tape(
    day: MarketData, rules: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    sim = {"mode": "lockstep", "rules": rules}
    report = rehearse(day, MODEL, run, sim=sim, params=PARAMS, flatten_before="30m")
    tested = backtest(MODEL, day, params=PARAMS, rules=rules, latency=LATENCY, flatten="30m")
    assert report.failure is None
    assert report.reason == "the session closed"
    assert report.audit.ok, report.audit.lines()
    assert len(tested.fills) > 10
    assert_same_fills(report, tested)
    assert report.figures()["position"] == {"BTC/USD": 0.0}
    assert report.figure().layout.xaxis3.title.text == "UTC time"
    told = messages_of(day.book_deltas).table.to_records()
    names = ["ts_event", "flag", "i0"]
    assert np.array_equal(books_of(report)[names], told[names])
    assert np.array_equal(books_of(report)["f0"], told["f0"], equal_nan=True)


def test_in_lock_step_a_strategy_on_the_book_is_its_back_test(day: MarketData, tmp_path: Path) -> None:
    params = {"units": 0.01, "entry": 0.02, "leave": -0.02, "half_life": 3.0}
    sim = {"mode": "lockstep", "rules": "alpaca"}
    report = rehearse(day, "book_imbalance", tmp_path / "run", sim=sim, params=params, flatten_before="30m")
    tested = backtest("book_imbalance", day, params=params, rules="alpaca", latency=LATENCY, flatten="30m")
    assert report.failure is None
    assert report.audit.ok, report.audit.lines()
    assert len(tested.fills) > 5
    assert_same_fills(report, tested)
    kinds = set(report.market["kind"].tolist())
    assert kinds == {int(Kind.BOOK_DELTA)}, "it takes nothing else"
    assert len(report.prices()[0]) == 250, "the middle of the best prices after each message"


@pytest.mark.usefixtures("_with_books")
def test_a_day_of_a_pair_goes_from_midnight_to_midnight_utc_and_its_orders_are_good_till_canceled(
    day: MarketData, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    report = rehearse(day, MODEL, run, sim={"mode": "lockstep"}, params=PARAMS)
    times = report.records["ts_event"]
    opened = times[report.records["kind"] == int(Kind.OPEN)]
    closed = times[report.records["kind"] == int(Kind.CLOSE)]
    assert opened.tolist() == [DAY.open]
    assert closed.tolist() == [DAY.close]
    orders = read_orders(run / "sent")
    assert {order["time_in_force"] for order in orders} == {"gtc"}
    assert {order["symbol"] for order in orders} == {"BTC/USD"}
    assert min(float(order["qty"]) for order in orders) == 0.0123


@pytest.mark.usefixtures("_with_books")
def test_after_a_lost_connection_the_books_come_whole_and_the_audit_says_so(day: MarketData, tmp_path: Path) -> None:
    run = tmp_path / "run"
    script = parse_script('[[fault]]\nwhat = "disconnect"\nafter = "23h"\n')
    report = rehearse(day, MODEL, run, sim={"mode": "lockstep", "faults": script}, params=PARAMS)
    assert report.failure is None
    assert report.audit.ok, report.audit.lines()
    kinds = report.records["kind"].tolist()
    gap = kinds.index(Kind.GAP)
    assert Kind.RESYNC in kinds
    clears = (report.records["kind"] == int(Kind.BOOK_DELTA)) & (report.records["flag"] & BookFlag.CLEAR > 0)
    images = np.flatnonzero(clears)
    assert len(images) == 2, "the day's own, and that of the new connection"
    assert gap < images[1]
    between = report.records[gap : images[1]]
    assert not (between["kind"] == int(Kind.BOOK_DELTA)).any(), "no change before the image"
    assert best(books_of(report)) == best(messages_of(day.book_deltas).table.to_records())
    sent = next(finding.text for finding in report.audit.findings if finding.name == "sent")
    assert "all on the tape, once and in order" in sent
    assert (read_sent(run / "sent")["flag"] & BookFlag.CLEAR > 0).sum() == 2


def test_stocks_and_pairs_need_a_session_each_and_pairs_come_from_their_own_feed() -> None:
    session = Session.from_parameters(model=MODEL, symbols=["BTC/USD"], feed="sip", date=DATE)
    assert (session.plan.feed, session.plan.exchange) == ("us", ALWAYS)
    assert (session.plan.session.open, session.plan.session.close) == (DAY.open, DAY.close)
    stocks = Session.from_parameters(model=MODEL, symbols=["SPY"], feed="sip", date=DATE)
    assert (stocks.plan.feed, stocks.plan.exchange) == ("sip", "NYSE")
    with pytest.raises(ConfigError, match="symbols must share one calendar, received 24/7 and NYSE"):
        Session.from_parameters(model=MODEL, symbols=["SPY", "BTC/USD"], date=DATE)
    with pytest.raises(ConfigError, match="come from different streams"):
        Session.from_parameters(model=MODEL, symbols=["SPY", "BTC/USD"], exchange="NYSE", date=DATE)
