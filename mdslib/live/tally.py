"""Everything that a person wants counted in a session."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counters, kept by the deciding thread, read by the display and the report."""

    events: int = 0
    decisions: int = 0
    intents: int = 0
    fills: int = 0
    cancels: int = 0
    outside: Counter[str] = field(default_factory=Counter)  # market events outside the session, by early or late
    denied: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    expired: int = 0  # decisions that a restart found too old to send
    replaced: int = 0  # orders of ours that somebody has changed at the venue
    foreign: int = 0  # updates of orders that are not ours
    asked: int = 0  # orders that were asked for, since the stream was silent
    feed: Counter[str] = field(default_factory=Counter)  # connections lost, events filled in; kept by the keeper too
    unfolded: int = 0  # events recorded after the model failed
    longest_queue: int = 0
    batches: int = 0


def kind_of_rejection(text: str) -> str:
    """Return what the venue said of a rejection, without its numbers, so that equal ones count together.

    Examples
    --------
    >>> kind_of_rejection("order x (buy 5 SPY) was rejected: HTTP 403, code 40310000: insufficient buying power")
    'insufficient buying power'
    """
    said = text.partition(" was rejected: ")[2] or text
    said = said.partition(": ")[2] or said
    return " ".join(word for word in said.split() if not any(c.isdigit() for c in word))[:80]
