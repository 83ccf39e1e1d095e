"""A live session in miniature: what the tape of one looks like, made in memory."""

from __future__ import annotations

import datetime
from typing import NamedTuple

import numpy as np

from mdslib.audit import fold_of
from mdslib.events import RECORD, Kind, Status, Trade
from mdslib.instruments import Instrument
from mdslib.jit import records as new_records
from mdslib.risk import Limits
from mdslib.strategy import Fold, Strategy, buy, hold, sell, strategy
from mdslib.tape import TapeHeader, make_header, seal


class Params(NamedTuple):
    sell_modulus: int = 7
    buy_modulus: int = 11
    shares: float = 5.0


COUNT = np.dtype([("seen", "<i8"), ("mean", "<f8")])


def counted(p: Params) -> np.ndarray:
    return new_records(1, COUNT)


@strategy(on=Trade, params=Params, state=counted)
def modulo(trade, state, account, p):  # type: ignore[no-untyped-def]
    state[0].seen += 1
    state[0].mean += (trade.price - state[0].mean) / state[0].seen
    if trade.size % p.sell_modulus == 0:
        return sell(p.shares)
    if trade.size % p.buy_modulus == 0:
        return buy(p.shares)
    return hold()


@strategy(on=Trade, params=Params, state=counted)
def raising(trade, state, account, p):  # type: ignore[no-untyped-def]
    state[0].seen += 1
    if state[0].seen == 300:
        raise ValueError("enough")
    return buy(p.shares) if trade.size % p.buy_modulus == 0 else hold()


def header_of(model: Strategy = modulo, limits: dict[str, float] | None = None, **changed: object) -> TapeHeader:
    fold = Fold(model, instruments=(Instrument("SPY"),))
    told = {
        "model": model.name,
        "fingerprint": fold.fingerprint,
        "parameters": {"shares": 5.0},
        "instruments": (Instrument("SPY"),),
        "account_id": "PA3",
        "trading_date": datetime.date(2013, 10, 8),
        "run_name": "spy",
        "limits": limits,
        "cash": 1000.0,
    }
    return make_header(**{**told, **changed})  # type: ignore[arg-type]


LIMITS = Limits(max_position=40.0, max_orders_per_minute=0, session=0)._asdict()


def trades(count: int = 1000, seed: int = 3) -> np.ndarray:
    random = np.random.default_rng(seed)
    made = np.zeros(count, RECORD)
    made["kind"] = Kind.TRADE
    made["ts_event"] = 1_381_239_000_000_000_000 + np.sort(random.integers(0, 10**10, count))
    made["f0"] = 145.0 + random.integers(0, 100, count) / 100
    made["i0"] = random.integers(1, 500, count)
    made["i1"] = np.arange(count)
    return made


class Session:
    """A tape in the making: cuts of events, their decisions' fates, and fills, in the live loop's order."""

    def __init__(self, header: TapeHeader, model: Strategy = modulo) -> None:
        self.fold = fold_of(header, model)
        self.parts: list[np.ndarray] = []
        self.seq = 1

    def append(self, batch: np.ndarray) -> np.ndarray:
        seal(batch, self.seq)
        self.seq += len(batch)
        self.parts.append(batch)
        return self.fold.feed(batch)

    def one(self, kind: Kind, ts: int, **slots: float) -> None:
        record = np.zeros(1, RECORD)
        record["kind"], record["ts_event"] = kind, ts
        for name, value in slots.items():
            record[name] = value
        assert len(self.append(record)) == 0

    def play(self, events: np.ndarray, cut: int) -> None:
        for start in range(0, len(events), cut):
            decided = self.append(events[start : start + cut].copy())
            for d in decided:
                self.fate(d)

    def fate(self, d: np.void) -> None:
        where = {"instrument": d["instrument"], "flag": d["leg"], "i0": d["seq"], "f0": d["qty"], "f1": d["limit"]}
        ts = int(d["ts_event"])
        if d["denied"]:
            self.one(Kind.DENIED, ts, code=d["denied"], f2=d["bound"], f3=d["value"], **where)
            return
        if int(d["seq"]) % 5 == 0:  # the desk spoke
            self.one(Kind.DENIED, ts, code=256 + 13, **where)
            return
        self.one(Kind.INTENT, ts, code=int(d["verb"]) + 256 * int(d["tif"]), f2=d["reference"], **where)
        update = {"instrument": d["instrument"], "flag": d["leg"], "i0": d["seq"]}
        if int(d["seq"]) % 7 == 0:
            self.one(Kind.UPDATE, ts, code=Status.REJECTED, f3=d["qty"], **update)
            return
        self.one(Kind.UPDATE, ts, code=Status.FILLED, f0=d["qty"], f1=145.5, f2=d["qty"], f3=0.0, **update)

    def close(self) -> tuple[np.ndarray, str]:
        digest = self.fold.digest()
        self.one(Kind.CLOSE, 1_381_262_400_000_000_000)
        return np.concatenate(self.parts), digest


def session(header: TapeHeader, cut: int = 10, count: int = 1000) -> tuple[np.ndarray, str]:
    """Return the tape of a session and the digest at its close."""
    made = Session(header)
    made.play(trades(count), cut)
    return made.close()
