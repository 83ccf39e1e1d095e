"""The text of the loop with matching.

Room: a row, or one step of an instant's end, writes at most 4 decisions, 2 fills for each working order and a few more,
and one working order; going flat writes one decision an instrument. Each of them is preceded by a look at the room.
"""

from __future__ import annotations

from mdslib.events import Kind, Status, TimeInForce
from mdslib.strategy.contract import Strategy
from mdslib.strategy.shape import Shape
from mdslib.strategy.source import columns, core_names, dispatch, indent, last_mark, places, row

# ask, bid, low, high of a row, for matching; then the price that marks the venue's books
PRICES = {
    Kind.TRADE: ("price_{c}[{i}]",) * 5,
    Kind.QUOTE: ("ask_{c}[{i}]", "bid_{c}[{i}]", "ask_{c}[{i}]", "bid_{c}[{i}]", "(ask_{c}[{i}] + bid_{c}[{i}]) * 0.5"),
    Kind.BAR: ("open_{c}[{i}]", "open_{c}[{i}]", "low_{c}[{i}]", "high_{c}[{i}]", "close_{c}[{i}]"),
    Kind.BOOK_DELTA: (
        *("prices[{k}, 1, 0]", "prices[{k}, 0, 0]") * 2,
        "(prices[{k}, 0, 0] + prices[{k}, 1, 0]) * 0.5",
    ),
}
_FULL = "at.decided > most_decided or at.filled + 2 * count[0] > most_filled or count[0] > most_working"

# The row after the last ends the instant that is still open, where `last` asks for that.
_HEAD = f"""\
@njit(cache=True, nogil=True, pipeline_class=Flat)
def backtest_columns(market, time, kind, row, end, last, state, core, p, limits, venue, books, out, fills, cursor):
    {{core}} = borrow(core)
    work, count, venue_account = borrow(books)
    state, out, fills, at = borrow(state), borrow(out), borrow(fills), borrow(cursor)[0]
{{columns}}    most_decided = len(out) - 64 - 2 * len(account)
    most_filled = len(fills) - 64
    most_working = len(work) - 64
    busy = at.open != 0 or count[0] > 0
    for g in range(at.row, end + last):
        at.row = g
        if busy and at.open != 0:
{{mark}}            if g == end or {{ts}} > at.ts:
{{settle}}            elif {_FULL}:
                return
        if g == end:
            break
"""
_SETTLE = f"""\
while True:
    while at.told < at.tell:
{{tell}}    while at.submitted < at.decided:
        if {_FULL}:
            return
        j = at.submitted
        d = out[j]
{{plain}}        at.submitted = j + 1
        if d.denied != 0:
            continue
{{cancel}}{{parked}}{{refuse}}        begins = works_from(hours, at.ts)
        accept(work, count, begins, {{k}}, d.qty, d.limit, d.tif, j)
{{ack}}    if at.told == at.filled:
        break
    at.tell = at.filled
if {_FULL}:
    return
at.open = 0
busy = count[0] > 0
"""
_ROOM = f"if {_FULL}:\n    return\n"
_TELL = """\
f = fills[at.told]
at.told += 1
"""
_UPDATE = """\
take_update(f.ts, {k}, {seq}, {leg}, {status}, f.qty, f.px, {filled}, f.leaves, f.fee,
            at.row, state, account, risk, recent, hours, p, limits, out, at)
"""
_PLAIN = """\
        if d.denied == 0 and (d.verb == 3 or d.limit == d.limit or d.tif == 2):
            at.stopped = 1
            return
"""
_CANCEL = """\
        if d.verb == 3:
            at.filled = end_orders(work, count, at.ts, {k}, -1, -1, 6, fills, at.filled)
            continue
"""
_PARKED = """\
        if d.qty == 0.0:
            continue
"""
_REFUSE = """\
        refusal = refuse(work, count, venue_account, venue, {k}, d.qty, d.limit)
        if refusal != 0:
            at.filled = write_fill(fills, at.filled, at.ts, j, {k}, 0.0, 0.0, 0.0, d.qty, 7)
            fills[at.filled - 1].refusal = refusal
            take_update(at.ts, {k}, d.seq, d.leg, 7, 0.0, 0.0, 0.0, d.qty, 0.0,
                        at.row, state, account, risk, recent, hours, p, limits, out, at)
            continue
"""
_ACK = "        at.filled = write_fill(fills, at.filled, at.ts, j, {k}, 0.0, 0.0, 0.0, d.qty, 2)\n"
_ENTRY = "@njit(cache=True, nogil=True, pipeline_class=Flat)\n"
# What happens between events; see `mdslib.matching.end_session` for the end of a session.
_END_DAY = f"""\
{_ENTRY}def end_day(books, ts, fills, cursor):
    work, count, venue_account = borrow(books)
    fills, at = borrow(fills), borrow(cursor)[0]
    at.filled = end_orders(work, count, ts, -1, {int(TimeInForce.DAY)}, -1, {int(Status.EXPIRED)}, fills, at.filled)
    at.filled = end_orders(work, count, ts, -1, {int(TimeInForce.IOC)}, -1, {int(Status.CANCELED)}, fills, at.filled)
"""
_GO_FLAT = f"""\
{_ENTRY}def go_flat(core, limits, row, ts, out, cursor):
    {{core}} = borrow(core)
    out, at = borrow(out), borrow(cursor)[0]
    at.decided = flatten(account, risk, recent, hours, limits, row, ts, out, at.decided)


{_ENTRY}def go_on(core):
    {{core}} = borrow(core)
    resume(account, risk)
"""


def backtest(strategy: Strategy, shape: Shape) -> list[str]:
    """Write the loop with matching over columns, and what happens between events; what is not called costs nothing."""
    return [_loop(strategy, shape), _END_DAY, *([_GO_FLAT.format(core=core_names(shape))] if shape.flatten else [])]


def _loop(strategy: Strategy, shape: Shape) -> str:
    held = places(strategy, shape)
    rows = [(kind, _row(strategy, shape, kind, c, i)) for kind, c, i in held]
    ts = "ts_event_0[g]" if len(held) == 1 else "time[g]"
    head = _HEAD.format(
        core=core_names(shape),
        columns=indent(columns(held), 4),
        ts=ts,
        mark=indent(last_mark(shape, "g"), 12),
        settle=indent(_settle(strategy, shape), 16),
    )
    return head + dispatch(rows) + indent(last_mark(shape, "end"), 4) + "    at.row = end\n"


def _settle(strategy: Strategy, shape: Shape) -> str:
    """Write the end of an instant: submit what was decided, then tell the model what became of its orders.

    The order is the live one: refusals come with the answers, then fills, then endings and acknowledgements; what a
    model answers to those goes out in the next round of the same instant. Where room runs out, it returns with the
    instant still open, and goes on from its cursor where it was, so that the room that there was does not show. So does
    a driver that knows plain orders only, where it meets another one.
    """
    told = "0" if shape.single else "int(f.instrument)"
    k = "0" if shape.single else "int(d.instrument)"
    update = Kind.UPDATE in strategy.steps
    origin = {"seq": "0", "leg": "0", "filled": "0.0", "status": "f.status"}  # what nobody looks at
    if update:
        origin = {"seq": "d.seq", "leg": "d.leg", "filled": "d.qty - f.leaves", "status": "int(f.status)"}
    tell = ("d = out[f.tag]\n" if update else "") + _UPDATE.format(k=told, **origin)
    if shape.alpaca:  # what it refused was told at once
        tell = "if f.status != 7:\n" + indent(tell, 4)
    room = _ROOM if update or shape.split or shape.flatten else ""  # an update may answer, or release
    return _SETTLE.format(
        tell=indent(room + _TELL + tell, 8),
        k=k,
        plain=_PLAIN if shape.plain else "",
        cancel="" if shape.plain else _CANCEL.format(k=k),
        parked=_PARKED if shape.split else "",
        refuse=_REFUSE.format(k=k) if shape.alpaca else "",
        ack=_ACK.format(k=k) if update else "",
    )


def _row(strategy: Strategy, shape: Shape, kind: Kind, c: str, i: str) -> str:
    """Write what happens on one row: match, take, note what was decided."""
    match = _match(shape, kind, c, i) if kind is shape.match_on else ""
    after = f"busy = True\nat.open = 1\nat.ts = ts_event_{c}[{i}]\n"
    return row(strategy, kind, shape, c, i, after, match)


def _match(shape: Shape, kind: Kind, c: str, i: str) -> str:
    k = "0" if shape.single else f"int(instrument_{c}[{i}])"
    ask, bid, low, high, mark = (price.format(c=c, i=i, k=k) for price in PRICES[kind])
    text = f"""\
if busy and count[0] > 0:
    told = at.filled
    ts = ts_event_{c}[{i}]
    filled = match(work, count, venue_account, venue, {shape.alpaca}, {shape.alpaca}, {shape.plain},
                   ts, {k}, {ask}, {bid}, {low}, {high}, fills, told)
    if filled != told:
        at.filled = filled
        at.open = 1
        at.ts = ts
"""
    if shape.alpaca:
        text += f"mark = {mark}\nif mark == mark:\n    venue_account[{k}].last_px = mark\n"
    return text
