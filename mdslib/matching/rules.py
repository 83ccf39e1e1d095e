"""What a venue allows and charges: rule profiles, refusals, fees, latency."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from mdslib.errors import ConfigError, did_you_mean


class Rules(IntEnum):
    """Rule profile of a venue."""

    PERMISSIVE = 0
    ALPACA = 1


def parse_rules(text: str | Rules) -> Rules:
    """Return the profile that a name like ``alpaca`` means."""
    if isinstance(text, Rules):
        return text
    known = {rule.name.lower(): rule for rule in Rules}
    if not isinstance(text, str) or text.lower() not in known:
        raise ConfigError(
            f"rules must be one of {', '.join(known)}, received {text!r}. {did_you_mean(str(text), known)}"
        )
    return known[text.lower()]


class Reject(IntEnum):
    """Why a venue refuses an order outright."""

    NONE = 0
    BUYING_POWER = 1
    WASH_TRADE = 2
    QTY_AVAILABLE = 3  # more than the position that is not yet held for other orders: a flip, or an oversell
    SHORT_FRACTION = 4
    NOT_SHORTABLE = 6  # a sale without a position, of what nobody lends
    NO_PRICE = 5  # no event yet to price the order by


class Fees(NamedTuple):
    """What a fill costs: `bps` of its notional plus `per_share` currency a unit; both may be 0."""

    bps: float = 0.0
    per_share: float = 0.0


NO_FEES = Fees()


class Venue(NamedTuple):
    """The numbers that matching depends on; compiled code takes it as one argument."""

    latency: int
    bps: float
    per_share: float
    multiplier: float
    partial: float
    seed: int


def make_venue(rules: Rules, latency: int, fees: Fees, seed: int, multiplier: float = 4.0) -> Venue:
    """Validate and return what the matching kernels take."""
    if latency < 0:
        raise ConfigError(f"latency must be >= 0 ns, received {latency}")
    for name, value in fees._asdict().items():
        if not isinstance(value, int | float | np.number) or not 0.0 <= value < 1e4:
            raise ConfigError(f"Fees.{name} must be >= 0, received {value!r}; rebates are not modelled")
    return Venue(
        int(latency),
        float(fees.bps),
        float(fees.per_share),
        float(multiplier),
        0.1 if rules is Rules.ALPACA else 0.0,
        seed,
    )
