"""The laws. Each takes a `Case` and returns where it is broken, in one line, or an empty text.

A law that rests on another is not checked where that one is broken: a model that draws random numbers would break
nearly all of them, and the person wants the one that says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mdslib.account import apply_fill, new_account
from mdslib.check.case import Case
from mdslib.check.outcome import differ, differ_decisions
from mdslib.errors import MdsError
from mdslib.events import Kind, Verb
from mdslib.risk import Denial
from mdslib.strategy.decide import ABSURD

CUTS = 25
PREFIXES = 12


class Law(NamedTuple):
    """One law of the contract.

    Attributes
    ----------
    name : str
        The law, as a person would say it.
    rests_on : str
        Name of the law without which this one can't be judged; empty for none.
    check : callable
        ``check(case)`` returns where it is broken, or an empty text; raises `NotCheckable` with the reason.
    """

    name: str
    rests_on: str
    check: Callable[[Case], str]


class NotCheckable(Exception):
    """A law that can't be checked on this model; the text says why."""


def _runs(case: Case) -> str:
    try:
        if case.plain is not None and case.plain.outside:  # compiled, it would end this process
            return case.plain.wrong
        case.whole  # noqa: B018 - computed for the laws that follow
    except MdsError as error:
        return str(error)
    return ""


def _repeats(case: Case) -> str:
    difference = differ(case.whole, case.run([len(case.tape)]))
    return difference and f"two runs on the same events differ: {difference}"


def _sane(case: Case) -> str:
    for decision in case.whole.decisions:
        wrong = _absurd(case, decision)
        if wrong:
            return f"on event {int(decision['seq'])} it answers {Verb(int(decision['verb'])).name} with {wrong}"
    return ""


def _absurd(case: Case, decision: np.void) -> str:
    qty, limit = float(decision["qty"]), float(decision["limit"])
    asked = float(decision["value"]) if decision["denied"] == 1 else qty + float(decision["parked"])
    if decision["verb"] != Verb.CANCEL:
        if math.isnan(asked):
            return "quantity nan"
        if asked == 0.0:
            return "quantity 0; return hold() for no order"
        if abs(asked) >= ABSURD:
            return f"quantity {asked:g}, which nobody means"
        if limit <= 0.0 or math.isinf(limit):
            return f"limit price {limit:g}"
        step = float(decision["bound"])
        if decision["denied"] == Denial.TICK:
            return f"limit price {limit!r}, which is off the tick of {step:g}; round it to the tick"
        if decision["denied"] == Denial.LOT:
            return f"quantity {asked:.9g}, which is off the lot of {step:g}; round it to the lot"
    if decision["denied"] == 1:
        return f"an instrument that is not from 0 to {len(case.data.instruments) - 1}"
    return ""


def _inputs(case: Case) -> str:
    fold, records = case.fold(), np.array(case.tape)
    fold.feed(records)
    if records.tobytes() != case.tape.tobytes():
        return "the events themselves have changed"
    plain = new_account(len(case.data.instruments), 100_000.0)
    for row in case.tape[case.tape["kind"] == int(Kind.UPDATE)]:
        if row["f0"] != 0.0:
            apply_fill(plain, int(row["instrument"]), float(row["f0"]), float(row["f1"]), float(row["f4"]))
    for name in ("position", "avg_px", "cash", "realized", "fees", "fills"):
        mine, booked = np.asarray(fold.account[name]), np.asarray(plain[name])
        if mine.tobytes() != booked.tobytes():
            return f"it writes the account: {name} is {mine.tolist()}, the fills alone give {booked.tolist()}"
    return ""


def _cuts(case: Case) -> str:
    random = case.random()
    length = len(case.tape)
    for number in range(CUTS):
        pieces = 1 if number == 0 else int(random.integers(2, min(length, 200) + 1)) if length > 1 else 1
        ends = sorted({length, *random.integers(1, length + 1, pieces).tolist()})
        difference = differ(case.whole, case.run(ends))
        if difference:
            return f"cut into {len(ends)} pieces, {difference}"
    return ""


def _columns(case: Case) -> str:
    from mdslib.check.made import records_of

    research, live = case.fold(), case.fold()
    by_columns = research.run_market(case.market)
    by_columns["seq"] += 1
    difference = differ_decisions(by_columns, live.feed(records_of(case.market)))
    return difference and f"columns (research) against records (live): {difference}"


def _prefixes(case: Case) -> str:
    """Fold prefixes, each followed by another future; what was decided before must not know of it."""
    random, tape = case.random(), case.tape
    for end in sorted(set(random.integers(1, len(tape) + 1, PREFIXES).tolist())):
        future = np.array(tape)
        future[end:] = tape[end:][::-1]
        future["ts_event"][end:], future["seq"][end:] = tape["ts_event"][end:], tape["seq"][end:]
        last = int(tape["seq"][end - 1])
        known, other = case.whole.decisions, case.fold().feed(future)
        difference = differ_decisions(known[known["seq"] <= last], other[other["seq"] <= last])
        if difference:
            return f"with another future after event {last}, {difference}"
    return ""


def _restored(case: Case) -> str:
    random, length = case.random(), len(case.tape)
    for middle in sorted(set(random.integers(0, length + 1, 5).tolist())):
        first, second = case.fold(), case.fold()
        before = case.run([middle], first).decisions
        second.restore(first.save())
        case.run([max(1, middle // 2)])  # what a model keeps outside its state, this disturbs
        rest = case.run([length], second)
        difference = differ(case.whole, rest._replace(decisions=np.concatenate([before, rest.decisions])))
        if difference:
            return f"saved and restored after event {middle}, {difference}"
    return ""


def _uncompiled(case: Case) -> str:
    plain = case.plain
    if plain is None:
        raise NotCheckable(
            "the model is not in a file of its own; save it as one to have this checked, live takes no other"
        )
    if plain.outcome is None:
        return f"uncompiled, {plain.wrong}"
    difference = differ(case.whole, plain.outcome)
    return difference and f"compiled against uncompiled: {difference}"


RUNS = "it compiles and runs"
REPEATS = "equal events give equal decisions and state"

checks: tuple[Law, ...] = (
    Law(RUNS, "", _runs),
    Law(REPEATS, RUNS, _repeats),
    Law("answers are sane: quantities on the lot, prices on the tick, instruments", RUNS, _sane),
    Law("events and account are left as they are", RUNS, _inputs),
    Law("any cut into pieces gives bit-equal decisions and state", REPEATS, _cuts),
    Law("research and live take the same decisions", REPEATS, _columns),
    Law("no decision knows of the future", REPEATS, _prefixes),
    Law("state saved and restored goes on as if nothing had been", REPEATS, _restored),
    Law("compiled and uncompiled are bit-equal", REPEATS, _uncompiled),
)
