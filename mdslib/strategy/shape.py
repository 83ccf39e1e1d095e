"""What a driver is generated for, beside the model."""

from __future__ import annotations

from typing import NamedTuple

from mdslib.events import Kind


class Shape(NamedTuple):
    """What a driver is generated for, beside the model.

    Attributes
    ----------
    kinds : tuple of Kind
        Market kinds that its columns carry, in merge order.
    limited : bool
        Orders are checked against limits in the fold.
    single : bool
        One instrument, number 0, in all columns.
    backtest : bool
        With matching.
    split : bool
        Flips are split: the venue refuses them in one order.
    flatten : bool
        The run may be told to go flat.
    alpaca : bool
        With Alpaca's refusals, so with the venue's own books.
    late : bool
        Last prices are marked where somebody looks, not on every event: nothing that the model reaches reads them.
    bounded : bool
        Steps look at their indices: for the check of a model that no other process can find.
    match_on : Kind or None
        The kind that orders match against.
    marks : bool
        The columns begin with what keeps orders back: gaps and trading statuses.
    plain : bool
        Only market orders that wait until they are filled are known, and no cancels; at the first other one the loop
        returns, and a fuller driver goes on.
    """

    kinds: tuple[Kind, ...]
    limited: bool
    single: bool = False
    split: bool = False
    flatten: bool = False
    backtest: bool = False
    alpaca: bool = False
    match_on: Kind | None = None
    late: bool = False
    marks: bool = False
    bounded: bool = False
    plain: bool = False
