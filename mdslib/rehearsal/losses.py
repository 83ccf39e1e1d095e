"""What was lost or doubled: the day against the tape, and the tape against the venue's books. Plain comparisons.

They believe neither the session nor its audit: an event counts as told only where the tape has a hole that it names,
and an order as settled only where the venue's own log agrees. With the audit they share how a tape's intents become
order ids (`intended`), and nothing that compares.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdslib.audit.orders import intended
from mdslib.events import RECORD, TERMINAL, Kind, Status
from mdslib.orderid import decision_of, parse_client_order_id, run_hash
from mdslib.protocols import Records
from mdslib.tape import TapeHeader

EPSILON = 1e-6  # units of quantity, or of money
MARGIN = 10_000_000_000  # ns before a hole's first event in which late prints may be missing too
_MARKET = (int(Kind.TRADE), int(Kind.QUOTE), int(Kind.BAR), int(Kind.BOOK_DELTA))
_VALUE = [name for name in RECORD.names or () if name not in ("seq", "ts_init", "side", "crc")]
_WORKING = ("new", "accepted", "pending_new", "partially_filled", "pending_cancel", "held")

Hole = tuple[int, int]  # from, to: ns UTC


@dataclass(frozen=True)
class Events:
    """Market events: how many came to be, and what of them is not on the tape exactly once.

    Attributes
    ----------
    lost : int
        Missing, and no hole on the tape tells of them.
    told : int
        Missing inside a hole that the tape names as not filled.
    doubled : int
        More often on the tape than they came to be.
    invented : int
        On the tape, and never came to be.
    """

    played: int
    lost: int
    told: int
    doubled: int
    invented: int


def compare_events(played: Records, tape: Records, holes: Sequence[Hole] = ()) -> Events:
    """Compare the market events that came to be with those on a tape, by everything they say.

    Examples
    --------
    >>> played = np.zeros(3, RECORD)
    >>> played["kind"], played["ts_event"] = Kind.TRADE, [1, 2, 3]
    >>> compare_events(played, played[[0, 2, 2]], holes=[(2, 2)])
    Events(played=3, lost=0, told=1, doubled=1, invented=0)
    """
    played, tape = _market(played), _market(tape)
    values, codes = np.unique(np.concatenate([_opaque(played), _opaque(tape)]), return_inverse=True)
    came = np.bincount(codes[: len(played)], minlength=len(values))
    kept = np.bincount(codes[len(played) :], minlength=len(values))
    missing = np.maximum(came - kept, 0)
    ts = np.zeros(len(values), np.int64)
    ts[codes] = np.concatenate([played["ts_event"], tape["ts_event"]])
    inside = np.zeros(len(values), bool)
    for first, last in holes:
        inside |= (ts >= first) & (ts <= last)
    return Events(
        played=len(played),
        lost=int(missing[~inside].sum()),
        told=int(missing[inside].sum()),
        doubled=int(np.maximum(kept - came, 0)[came > 0].sum()),
        invented=int(kept[came == 0].sum()),
    )


def _market(records: Records) -> Records:
    found: Records = records[np.isin(records["kind"], _MARKET)]
    return found


def _opaque(records: Records) -> np.ndarray:
    told = np.zeros(len(records), [(name, RECORD[name]) for name in _VALUE])
    for name in _VALUE:
        told[name] = records[name]
    return told.view(f"V{told.dtype.itemsize}")


@dataclass(frozen=True)
class Orders:
    """Orders, by client order id: what the tape meant to send against what the venue had.

    Attributes
    ----------
    sent : int
        Meant to be sent.
    lost : tuple of str
        Not at the venue, though the session does not say so; or still working there, though the session has ended.
    doubled : tuple of str
        At the venue, and not on the tape; or a second one of the same decision that was not refused.
    misfilled : tuple of str
        Filled otherwise at the venue than on the tape, in quantity or in money.
    """

    sent: int
    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    misfilled: tuple[str, ...]


class _Fate:
    """What the tape says became of a decision's orders."""

    def __init__(self) -> None:
        self.ended = False
        self.filled = self.money = 0.0


def compare_orders(records: Records, header: TapeHeader, orders: Iterable[dict[str, Any]]) -> Orders:
    """Compare a tape's intents and fills with the venue's orders, one by one."""
    told, fates = intended(records, header), _fates(records)
    run = run_hash(header.account_id, header.run_name)
    names, there = Counter[str](), dict[str, dict[str, Any]]()
    taken: Counter[tuple[int, int]] = Counter()
    for order in orders:
        name = str(order["client_order_id"])
        key = parse_client_order_id(name)
        if key is not None and key.run == run:
            names[name] += 1
            there[name] = order
            taken[key.seq, key.leg] += order["status"] != "rejected"
    lost = [name for name in told if name not in there and not fates.get(decision_of(name), _Fate()).ended]
    lost += [name for name, order in there.items() if order["status"] in _WORKING]
    doubled = [name for name, count in names.items() if count > 1 or name not in told]
    doubled += [name for name in there if taken[decision_of(name)] > 1]
    return Orders(len(told), tuple(lost), tuple(dict.fromkeys(doubled)), tuple(_misfilled(fates, there)))


def _fates(records: Records) -> dict[tuple[int, int], _Fate]:
    kinds = [int(kind) for kind in (Kind.UPDATE, Kind.DENIED, Kind.EXPIRED)]
    fates: dict[tuple[int, int], _Fate] = {}
    for row in records[np.isin(records["kind"], kinds)]:
        fate = fates.setdefault((int(row["i0"]), int(row["flag"])), _Fate())
        if row["kind"] != int(Kind.UPDATE):
            fate.ended = True
            continue
        fate.ended |= Status(int(row["code"])) in TERMINAL
        fate.filled += float(row["f0"])
        fate.money += float(row["f0"]) * float(row["f1"])
    return fates


def _misfilled(fates: dict[tuple[int, int], _Fate], there: dict[str, dict[str, Any]]) -> list[str]:
    venue: dict[tuple[int, int], tuple[float, float]] = {}
    for name, order in there.items():
        qty, px = _signed(order, "filled_qty"), float(order["filled_avg_price"] or 0.0)
        before = venue.get(decision_of(name), (0.0, 0.0))
        venue[decision_of(name)] = before[0] + qty, before[1] + qty * px
    found = []
    for decision in sorted({*venue, *(key for key, fate in fates.items() if fate.filled)}):
        ours = fates.get(decision, _Fate())
        qty, money = venue.get(decision, (0.0, 0.0))
        # The venue rounds its average price, so money agrees to a part in a million.
        same_money = math.isclose(ours.money, money, rel_tol=1e-6, abs_tol=EPSILON)
        if abs(ours.filled - qty) > EPSILON or not same_money:
            found.append(f"decision {decision[0]}-{decision[1]}: {ours.filled:+g} on the tape, {qty:+g} at the venue")
    return found


def _signed(order: dict[str, Any], field: str) -> float:
    return float(order[field]) * (-1.0 if order["side"] == "sell" else 1.0)


@dataclass(frozen=True)
class Books:
    """Positions: ours by the tape, the venue's by its orders, and what somebody else did there.

    Attributes
    ----------
    held : dict of str to float
        The venue's positions at the end, without what is foreign.
    off : dict of str to float
        Ours less the venue's, where they differ, without what is foreign.
    foreign : dict of str to float
        Filled for orders that are no run's of ours.
    """

    held: dict[str, float]
    off: dict[str, float]
    foreign: dict[str, float]


def compare_books(records: Records, header: TapeHeader, orders: Iterable[dict[str, Any]]) -> Books:
    """Compare positions at the end; the account had none at the beginning but what the tape opened with."""
    run = run_hash(header.account_id, header.run_name)
    held: defaultdict[str, float] = defaultdict(float)
    off: defaultdict[str, float] = defaultdict(float)
    foreign: defaultdict[str, float] = defaultdict(float)
    for k, instrument in enumerate(header.instruments):
        fills = (records["kind"] == int(Kind.UPDATE)) & (records["instrument"] == k)
        off[instrument.symbol] += math.fsum(records["f0"][fills].tolist())
    for order in orders:
        key = parse_client_order_id(str(order["client_order_id"]))
        if key is not None and key.run == run:
            held[order["symbol"]] += _signed(order, "filled_qty")
        else:
            foreign[order["symbol"]] += _signed(order, "filled_qty")
    for symbol, qty in held.items():
        off[symbol] -= qty
    return Books(_nonzero(held), _nonzero(off), _nonzero(foreign))


def _nonzero(positions: Mapping[str, float]) -> dict[str, float]:
    return {symbol: qty for symbol, qty in positions.items() if abs(qty) > EPSILON}


def holes_of(records: Records, texts: dict[int, str], close: int) -> list[Hole]:
    """Return where a tape itself says that events are missing: gaps that were not filled, and what follows its end.

    Parameters
    ----------
    records : RECORD array
        The tape.
    texts : dict of int to str
        Texts by sequence; a RESYNC's says what could not be had.
    close : int
        The session's, ns UTC.
    """
    holes: list[Hole] = []
    begun, last = -1, 0
    for row in records:
        kind = int(row["kind"])
        if kind in _MARKET:
            last = max(last, int(row["ts_event"]))
        elif kind == Kind.GAP and begun < 0:
            begun = int(row["i0"]) or max(last - MARGIN, 0)
        elif kind == Kind.RESYNC and begun >= 0:
            if "; not all: " in texts.get(int(row["seq"]), ""):
                holes.append((begun, int(row["ts_event"])))
            begun = -1
    ends = records["ts_event"][records["kind"] == int(Kind.CLOSE)]
    ended = int(ends[-1]) if len(ends) else last
    if begun >= 0:
        holes.append((begun, close))
    elif ended < close:
        holes.append((max(last - MARGIN, 0), close))
    return holes
