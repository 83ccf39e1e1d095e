"""The text of the loops without matching: research over columns, live over records.

Room: a row writes at most 4 decisions; going flat writes one an instrument.
"""

from __future__ import annotations

from mdslib.events import Kind
from mdslib.strategy.contract import MARKET_KINDS, Strategy
from mdslib.strategy.shape import Shape
from mdslib.strategy.source import (
    SLOT,
    columns,
    core_names,
    dispatch,
    indent,
    last_mark,
    places,
    row,
    take,
    take_timer,
)

_FOLD_HEAD = """\
@njit(cache=True, nogil=True, pipeline_class=Flat)
def {signature}:
    {core} = borrow(core)
    state, out, at = borrow(state), borrow(out), borrow(cursor)[0]
{columns}    room = len(out) - 64 - 2 * len(account)
    for g in range(at.row, {end}):
        at.row = g
"""
_FULL = "if at.decided > room:\n    at.row = g + 1\n    return\n"


def folds(strategy: Strategy, shape: Shape) -> list[str]:
    """Write the loops without matching: research over columns, live over records."""
    signature = "fold_columns(market, kind, row, end, state, core, p, limits, out, cursor)"
    held = places(strategy, shape)
    rows = [(kind, row(strategy, kind, shape, c, i, _FULL)) for kind, c, i in held]
    head = {"signature": signature, "core": core_names(shape)}
    text = _FOLD_HEAD.format(**head, columns=indent(columns(held), 4), end="end") + dispatch(rows)
    text += indent(last_mark(shape, "end"), 4) + "    at.row = end\n"
    return [text, _fold_records(strategy, shape._replace(single=False, late=False))]


def _fold_records(strategy: Strategy, shape: Shape) -> str:
    signature = "fold_records(records, state, core, p, limits, out, cursor)"
    text = (
        _FOLD_HEAD.format(signature=signature, core=core_names(shape), columns="", end="len(records)")
        + "        r = records[g]\n        what = r.kind\n"
        f"        if r.instrument >= len(account) and ({_READ}):\n"
        "            at.stopped = 1\n            return\n"
    )
    word = "if"
    for kind in strategy.market_kinds:
        text += f"        {word} what == {int(kind)}:\n"
        text += indent(take(strategy, kind, shape, "r.seq", _FULL, form=SLOT), 12)
        word = "elif"
    if strategy.timers:
        text += f"        {word} what == {int(Kind.TIMER)}:\n"
        text += indent(take_timer(strategy, shape, "r.seq", _FULL, SLOT), 12)
        word = "elif"
    return text + _OWN_RECORDS.format(
        word=word,
        update=int(Kind.UPDATE),
        denied=int(Kind.DENIED),
        expired=int(Kind.EXPIRED),
        control=int(Kind.CONTROL),
        opening=int(Kind.OPENING),
        gap=int(Kind.GAP),
        resync=int(Kind.RESYNC),
        status=int(Kind.STATUS),
    )


# The records whose instrument the fold looks at.
_READ = " or ".join(
    f"what == {int(k)}" for k in (*MARKET_KINDS, Kind.UPDATE, Kind.EXPIRED, Kind.OPENING, Kind.STATUS)
) + (f" or (what == {int(Kind.DENIED)} and r.code >= 256)")

_OWN_RECORDS = """\
        {word} what == {update}:
            take_update(r.ts_event, int(r.instrument), r.i0, r.flag, r.code, r.f0, r.f1, r.f2, r.f3, r.f4,
                        r.seq, state, account, risk, recent, hours, p, limits, out, at)
        elif (what == {denied} and r.code >= 256) or what == {expired}:
            free(account, int(r.instrument), r.f0)
            if account[int(r.instrument)].parked != 0.0:
                at.decided = release(account, risk, recent, hours, limits, int(r.instrument), r.seq, r.ts_event, out,
                                     at.decided)
        elif what == {control}:
            if r.code == 3:
                at.decided = flatten(account, risk, recent, hours, limits, r.seq, r.ts_event, out, at.decided)
            elif r.code == 0:
                resume(account, risk)
            else:
                restrict(account, risk, 1 if r.code == 1 else 2)
        elif what == {opening}:
            opened = account[int(r.instrument)]
            opened.position = r.f0
            opened.avg_px = r.f1
            opened.cash = r.f2
        elif what == {gap}:
            if r.code == 1:
                hold_orders(risk, True)
        elif what == {resync}:
            hold_orders(risk, False)
        elif what == {status}:
            take_status(account, risk, int(r.instrument), int(r.code), r.i1)
        if at.decided > room:
            at.row = g + 1
            return
    at.row = len(records)
"""
