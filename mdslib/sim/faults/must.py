"""What a session must do under a fault script, so that a program can judge a rehearsal: a script's table ``[must]``.

Nothing lost, nothing doubled, equal books and a passed audit go without saying; here is what differs from script to
script.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from mdslib.sim.faults.when import Duration

# Exit codes of a live run, by name; `mdslib.live.verdict.ExitCode` has their numbers and meanings.
Exit = Literal["OK", "AUDIT_FAILED", "CONFIG", "MODEL_RAISED", "VENUE", "LEFT_OPEN"]

# What can be seen of a session in what it leaves behind.
SEEN = {
    "gap": "the tape says that events were missed",
    "backfill": "what was missed was fetched",
    "reconnect": "the data socket was connected again",
    "orders-reconnect": "the order stream was connected again",
    "tries": "a connection was refused, and tried again",
    "left-out": "what came twice was left out",
    "held": "an order was held back, for it came of what was missed",
    "unknown": "the outcome of an order was not known at first",
    "looked-up": "a fill was learned by asking for the order",
    "rejected": "an order was refused, or never arrived",
    "halt": "trading was halted",
    "reduce": "trading was reduced to closing orders",
    "canceled": "an order was canceled",
    "partial": "an order was filled in parts",
    "status": "the venue's halts are on the tape",
    "correction": "the venue's corrections are on the tape",
    "trade-cancel": "trades that the venue canceled are on the tape",
    "foreign": "somebody else's order was noticed",
    "restart": "it was started again, for the venue had failed it",
}
Seen = Literal[
    "gap", "backfill", "reconnect", "orders-reconnect", "tries", "left-out", "held", "unknown", "looked-up", "rejected",
    "halt", "reduce", "canceled", "partial", "status", "correction", "trade-cancel", "foreign", "restart",
]  # fmt: skip


def _says(text: str) -> Meta:
    return Meta(description=text)


class Must(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a session must do under a script, beside losing and doubling nothing."""

    exit: Annotated[Exit, _says("how it ends: the name of its exit code")] = "OK"
    see: Annotated[list[Seen], _says("what must be seen of it, each at least once")] = []
    lost: Annotated[
        Literal["nothing", "told"],
        _says("`told`: events may be missing where the tape says so, since they can't be had any more"),
    ] = "nothing"
    books: Annotated[
        Literal["agree", "differ"], _says("`differ`: by what somebody else traded on the account, and it is told")
    ] = "agree"
    flat: Annotated[bool, _says("where it is to end flat: whether it must hold nothing at the end")] = True
    lasts: Annotated[Duration | None, _says("real time that the day takes at least, whatever the speed")] = None
