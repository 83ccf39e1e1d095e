"""Decode a capture again: every message accounted for, every book rebuilt and watched.

A decoder that was fixed later can so rebuild history from what was recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mdslib.book import OrderBook
from mdslib.book.grid import apply_on_grid
from mdslib.errors import ConfigError, DataError, did_you_mean
from mdslib.events import RECORD, Kind
from mdslib.feeds.account import Tally, add
from mdslib.feeds.capture import Line, What, capture_files, protocol_of, read_capture
from mdslib.feeds.pairs import Pairs
from mdslib.feeds.venue import VenueDecoder
from mdslib.protocols import Records

_DECODERS = {
    "bitfinex": "bitfinex:BitfinexDecoder",
    "bitmex": "bitmex:BitmexDecoder",
    "coinbase": "coinbase:CoinbaseDecoder",
    "coinbase-advanced": "coinbase_advanced:AdvancedDecoder",
    "kraken": "kraken:KrakenDecoder",
    "kraken-v2": "kraken_v2:KrakenV2Decoder",
}


def decoder_for(dialect: str) -> type[VenueDecoder]:
    """Return the decoder of a venue's protocol.

    Raises
    ------
    ConfigError
        If there is none.

    Examples
    --------
    >>> decoder_for("kraken-v2").__name__
    'KrakenV2Decoder'
    """
    if dialect not in _DECODERS:
        raise ConfigError(f"no decoder reads the venue {dialect!r}. {did_you_mean(dialect, _DECODERS)}")
    module, _, name = _DECODERS[dialect].partition(":")
    found: type[VenueDecoder] = getattr(import_module(f"mdslib.feeds.{module}"), name)
    return found


@dataclass
class PairReport:
    """One pair's account, and the state of its book."""

    tally: Tally = field(default_factory=Tally)
    book: OrderBook | None = None
    crossed: int = 0
    resyncs: int = 0
    quotes_compared: int = 0
    quotes_equal: int = 0


@dataclass
class CaptureReport:
    """What a capture's replay found; see `as_dict` for its figures.

    `symbols` are the pairs in the order of the records' `instrument`; `damaged` tells of the files that could be read
    only in part.
    """

    venue: str
    pairs: dict[str, PairReport]
    symbols: list[str] = field(default_factory=list)
    sent: int = 0
    rest: int = 0
    connections: int = 0
    records: int = 0
    damaged: list[DataError] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures in total and by pair, ready for JSON.

        `messages` is ``decoded + control + ignored``; `ignored_names` says why. `snapshots` and `deltas` count
        messages, `levels` the levels that they set. `crossed` counts messages after which a book was crossed,
        `quotes_compared` the venue's own best prices that came once there was a book, and `quotes_equal` those of them
        that the book's were equal to at that moment. Messages that belong to no pair are under ``connection``.
        """
        total = PairReport()
        for report in self.pairs.values():
            add(total.tally, report.tally)
            total.crossed += report.crossed
            total.resyncs += report.resyncs
            total.quotes_compared += report.quotes_compared
            total.quotes_equal += report.quotes_equal
        extra: dict[str, Any] = {
            "connections": self.connections,
            "sent": self.sent,
            "rest": self.rest,
            "records": self.records,
        }
        extra["damaged"] = [str(error) for error in self.damaged]
        by_pair = {pair: _figures(report) for pair, report in sorted(self.pairs.items())}
        return {"venue": self.venue, **_figures(total), **extra, "pairs": by_pair}


def _figures(report: PairReport) -> dict[str, Any]:
    figures = {name: value for name, value in vars(report.tally).items() if name != "names"}
    for name in ("crossed", "resyncs", "quotes_compared", "quotes_equal"):
        figures[name] = getattr(report, name)
    return figures | {"names": dict(sorted(report.tally.names.items()))}


def replay_capture(path: Path, venue: str = "", sink: Callable[[Records], None] | None = None) -> CaptureReport:
    """Decode a capture and rebuild its books.

    Parameters
    ----------
    path : Path
        A capture's file, or the folder of one session's files.
    venue : str, optional
        By default told from the capture.
    sink : callable, optional
        Gets the records of every message, in order, and a GAP of each pair whose connection ended before another one
        began; the report's `symbols` tell their instruments.

    Raises
    ------
    DataError
        If it is no capture, or another venue's. What a damaged file has before the damage is decoded, and the report's
        `damaged` names the place.
    ConfigError
        If no decoder reads the venue.
    """
    if venue:
        decoder_for(venue)
    files = capture_files(path)
    dialects = {str(file): protocol_of(file, venue) for file in files}
    venues = sorted({dialect.partition("-")[0] for dialect in dialects.values()})
    if len(venues) > 1 and sink is not None:
        raise DataError(f"capture: {path} holds {', '.join(venues)}; to get their records, replay each by itself")
    reports: list[CaptureReport] = []
    for one in venues:
        ours = {name: decoder_for(dialect) for name, dialect in dialects.items() if dialect.partition("-")[0] == one}
        damaged: list[DataError] = []
        lines = read_capture(*map(Path, ours), ends=True, damaged=damaged)
        reports.append(_Replay(one, ours, sink).run(lines))
        reports[-1].damaged = damaged
    return reports[0] if len(reports) == 1 else _joined(reports)


class _Replay:
    def __init__(
        self, venue: str, decoders: dict[str, type[VenueDecoder]], sink: Callable[[Records], None] | None
    ) -> None:
        self.make, self.sink = decoders, sink
        self.names = Pairs()
        self.decoders: dict[str, VenueDecoder] = {}
        self.every: list[VenueDecoder] = []
        self.seen: dict[str, set[int]] = {}  # places of the pairs of each connection
        self.heard: dict[str, int] = {}  # the time of each connection's last message
        self.latest: dict[int, int] = {}  # of each pair's events, ns UTC
        self.gone: dict[int, int] = {}  # pairs whose connection has ended, and when
        self.report = CaptureReport(venue, {}, self.names.symbols)

    def run(self, lines: Iterator[Line]) -> CaptureReport:
        report = self.report
        for line in lines:
            if line.what is What.RECEIVED:
                self.receive(line)
            elif line.what is What.CONNECTED:
                self.connect(line.connection)
            elif line.what is What.ENDED:
                self.end(line.connection)
            elif line.what is What.SENT:
                report.sent += 1
            elif line.what is What.REST:
                self.rest(line)
        for decoder in self.every:
            for pair, tally in decoder.tallies.items():
                add(self.of(pair).tally, tally)
        return report

    def connect(self, connection: str) -> VenueDecoder:
        """Begin a connection: what the venue numbers by connection begins anew, what was seen before has a GAP."""
        self.end(connection)
        if self.gone:
            self.put(self.gaps())
        self.report.connections += 1
        self.decoders[connection] = decoder = self.make[connection](self.names)
        self.every.append(decoder)
        return decoder

    def end(self, connection: str) -> None:
        """Note whose connection has ended; their GAP comes with the next connection, so none after the last one."""
        time = self.heard.pop(connection, 0)  # 0 where the capture tells no times
        if time:
            self.gone |= dict.fromkeys(self.seen.pop(connection, ()), time)

    def gaps(self) -> Records:
        """Return a GAP of every pair whose connection has ended, at the time when it had."""
        records = np.zeros(len(self.gone), RECORD)
        records["kind"], records["instrument"] = int(Kind.GAP), list(self.gone)
        records["ts_event"] = records["ts_init"] = list(self.gone.values())
        records["i0"] = [self.latest.get(place, 0) for place in self.gone]
        self.gone = {}
        return records

    def receive(self, line: Line) -> None:
        decoder = self.decoders.get(line.connection) or self.connect(line.connection)
        self.heard[line.connection] = line.time
        records = decoder.receive(line.text, line.time)
        self.keep(decoder, records)
        if len(records):
            places = np.unique(records["instrument"]).tolist()
            self.seen.setdefault(line.connection, set()).update(places)
            self.latest.update(dict.fromkeys(places, int(records["ts_event"].max())))

    def rest(self, line: Line) -> None:
        """Hand a REST answer to every connection: a capture does not say which one asked for it."""
        self.report.rest += 1
        for decoder in self.decoders.values():
            self.keep(decoder, decoder.rest(line.url, line.text, line.time))

    def keep(self, decoder: VenueDecoder, records: Records) -> None:
        for resync in decoder.take_resyncs():
            self.of(resync.pair).resyncs += 1
        if len(records):
            self.put(records)

    def put(self, records: Records) -> None:
        self.report.records += len(records)
        for place in np.unique(records["instrument"]).tolist():
            self.follow(self.of(self.names.symbols[place]), records[records["instrument"] == place])
        if self.sink is not None:
            self.sink(records)

    def of(self, pair: str) -> PairReport:
        return self.report.pairs.setdefault(pair, PairReport())

    def follow(self, report: PairReport, records: Records) -> None:
        """Bring the pair's book up to date, and hold the venue's own best prices against it."""
        kinds = records["kind"]
        if (kinds == Kind.BOOK_DELTA).any():
            before = 0 if report.book is None else report.book.times_crossed
            report.book = apply_on_grid(report.book, records)
            report.crossed += report.book.times_crossed - before
        quotes = records[kinds == Kind.QUOTE]
        if report.book is not None and len(quotes):
            bid, ask = quotes[-1]["f0"], quotes[-1]["f1"]
            report.quotes_compared += 1
            report.quotes_equal += bool(bid == report.book.best_bid and ask == report.book.best_ask)


def _joined(reports: list[CaptureReport]) -> CaptureReport:
    """Return one report of several venues; its pairs bear their venue's name."""
    total = CaptureReport(", ".join(report.venue for report in reports), {})
    for report in reports:
        total.pairs |= {f"{report.venue}:{pair}": found for pair, found in report.pairs.items()}
        total.damaged += report.damaged
        for name in ("sent", "rest", "connections", "records"):
            setattr(total, name, getattr(total, name) + getattr(report, name))
    return total
