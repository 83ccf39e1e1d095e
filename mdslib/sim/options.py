"""What a local exchange can be told: speed, batching, rules, keys, limits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from mdslib.arguments import number, whole
from mdslib.errors import ConfigError, did_you_mean
from mdslib.sim.faults.script import Script

FEEDS = ("iex", "sip", "delayed_sip", "test", "crypto/us")


class Mode(StrEnum):
    """How time passes on the exchange."""

    REAL = "real"  # as on the day itself
    FAST = "fast"  # N times faster
    FREE = "free"  # as fast as the client reads
    LOCKSTEP = "lockstep"  # an instant at a time, see lockstep.py


@dataclass(frozen=True)
class SimOptions:
    """Options of `Exchange`; every one has a default that suits a rehearsal.

    Parameters
    ----------
    mode : str
        ``real``, ``fast``, ``free`` or ``lockstep``.
    speed : float
        Seconds of the day per second, in mode ``fast``.
    batch : int
        Market messages in one frame, at most.
    rules : str
        ``permissive`` or ``alpaca``.
    latency : int
        Time from an order's submission to its first possible fill, in ns, > 0 in lock-step.
    cash : float
        Opening cash, USD.
    fee_bps, fee_per_share : float
        Costs of a fill.
    seed : int
        Of the random partial fills of rules ``alpaca``.
    key, secret : str
        The only key pair that is let in; empty lets in every pair that is not empty.
    feeds : tuple of str
        Feeds in the plan; another one is refused with 409.
    symbol_limit : int
        Most symbols of one subscription (405 beyond); 0 is no limit.
    history : str
        ``past`` shows what lies before the exchange's now; ``all`` shows the whole day.
    enforce_rate_limit : bool
        Answer 429 beyond 200 REST calls a minute.
    wait_for_client : bool
        Hold the day until a data client has subscribed.
    settle : float
        Seconds without a new subscription before the day begins.
    auth_timeout : float
        Seconds to authenticate on the data websocket (404 beyond).
    slow_client : float
        Seconds that a data client may block its socket in modes ``real`` and ``fast`` (407 beyond).
    from_ts, to_ts : int or None
        First and last instant to play, ns UTC.
    log_dir : Path or None
        Folder for the log of all that was sent and ordered; None keeps counts alone.
    port : int
        0 takes a free one.
    exit_after : float or None
        Seconds to stay up after the day's end; None stays until a signal.
    faults : Script or None
        What goes wrong: a script as `mdslib.sim.load_script` reads it.
    """

    mode: str = "free"
    speed: float = 1.0
    batch: int = 100
    rules: str = "permissive"
    latency: int = 1_000_000
    cash: float = 100_000.0
    fee_bps: float = 0.0
    fee_per_share: float = 0.0
    seed: int = 0
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    feeds: tuple[str, ...] = FEEDS
    symbol_limit: int = 0
    history: str = "past"
    enforce_rate_limit: bool = False
    wait_for_client: bool = True
    settle: float = 0.1
    auth_timeout: float = 10.0
    slow_client: float = 5.0
    from_ts: int | None = None
    to_ts: int | None = None
    log_dir: Path | None = None
    port: int = 0
    exit_after: float | None = None
    faults: Script | None = None

    def __post_init__(self) -> None:
        _one_of("mode", self.mode, [mode.value for mode in Mode])
        _one_of("rules", self.rules, ["permissive", "alpaca"])
        _one_of("history", self.history, ["past", "all"])
        for feed in self.feeds:
            _one_of("feeds", feed, FEEDS)
        for name in ("speed", "batch", "cash"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"sim option {name} must be > 0, received {value!r}; leave it out for the default")
        for name in ("fee_bps", "fee_per_share", "settle", "auth_timeout", "slow_client"):
            number(f"sim option {name}", getattr(self, name), least=0, most=1e6)
        whole("sim option seed", self.seed)
        whole("sim option symbol_limit", self.symbol_limit, least=0)
        whole("sim option port", self.port, least=0, most=65_535)
        if self.exit_after is not None:
            number("sim option exit_after", self.exit_after, least=0)
        if self.from_ts is not None and self.to_ts is not None and self.from_ts >= self.to_ts:
            raise ConfigError("sim option from_ts must lie before to_ts, and does not; swap them")
        if self.latency < 0 or (self.mode == Mode.LOCKSTEP and self.latency == 0):
            raise ConfigError(
                f"sim option latency must be >= 0 ns (> 0 in lock-step), received {self.latency}; 1000000 is 1 ms"
            )
        if bool(self.key) != bool(self.secret):
            raise ConfigError("sim options key and secret go together, received only one; set both or neither")


def _one_of(name: str, value: str, known: list[str] | tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(
            f"sim option {name} must be one of {', '.join(known)}; received {value!r}. {did_you_mean(value, known)}"
        )
