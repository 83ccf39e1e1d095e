"""The exchange's core: working orders, matching, the venue's own rules and its own books. No I/O.

The back-test inlines these kernels; the local exchange calls them through `MatchingEngine`. That they are the same
compiled code is why a rehearsal over real sockets and a back-test agree fill for fill.

An order sent at time S can match from the first event after S + latency on. A market order fills at that event's
price, whole. A limit order fills when an event's price reaches its limit: at the event's price on its first chance, at
its limit once it has rested. IOC orders get one chance.

An order sent outside the sessions waits, and works from the next open on. DAY orders expire at the close of the session
that they worked in; IOC orders are canceled there if no event came to give them their chance.

Rules PERMISSIVE let everything through. Rules ALPACA refuse what Alpaca refuses (buying power, wash trades, orders
that flip or oversell a position, fractional shorts), and fill a tenth of the fills in part, at random from a seed.
"""

from __future__ import annotations

from mdslib.matching.engine import MatchingEngine
from mdslib.matching.kernels import (
    FILL,
    NEVER,
    WORK,
    Books,
    accept,
    buying_power,
    end_orders,
    end_session,
    match,
    new_books,
    refuse,
    with_room,
    works_from,
    write_fill,
)
from mdslib.matching.rules import NO_FEES, Fees, Reject, Rules, Venue, make_venue, parse_rules

__all__ = [
    "FILL",
    "NEVER",
    "NO_FEES",
    "WORK",
    "Books",
    "Fees",
    "MatchingEngine",
    "Reject",
    "Rules",
    "Venue",
    "accept",
    "buying_power",
    "end_orders",
    "end_session",
    "make_venue",
    "match",
    "new_books",
    "parse_rules",
    "refuse",
    "with_room",
    "works_from",
    "write_fill",
]
