"""One rehearsal: which script is played to which session, how fast, and where its files go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mdslib.sim import Exchange, Script
from mdslib.table import MarketData

MODEL = "mdslib.rehearsal.every_order"
SPEED = 1800.0  # a day of 6.5 hours in 13 s
RUN = "run"  # in a case's folder: the run's, alone in it, so that a failed audit blocks no other case
LATENCY = 1_000_000  # ns
# A day that lasts seconds has no time for what a real one waits for; real lengths in the scripts are of this order.
HASTE: Mapping[str, Any] = {
    "mute_after": 2.5,
    "resolve_within": 8.0,
    "flatten_before": "1h",
    "check_history": "yes",
}


@dataclass(frozen=True)
class Case:
    """A rehearsal to be played.

    Parameters
    ----------
    script : Script
        What goes wrong.
    data : MarketData
        The day.
    folder : Path
        Its files; made where it is missing.
    model : str
        As `mds live` takes it.
    params : mapping
        Of the model.
    speed : float
        Seconds of the day in a second; less where the script's day must last longer.
    rules : str
        Of the exchange: ``permissive`` or ``alpaca``.
    end_of_day : str
        ``flatten`` or ``keep``.
    notebook : bool
        Run the live notebook, as `mds live` does; else the same session without one, which begins at once.
    options : mapping
        Of the session, over those of `HASTE`.
    """

    script: Script
    data: MarketData
    folder: Path
    model: str = MODEL
    params: Mapping[str, Any] = field(default_factory=dict)
    speed: float = SPEED
    rules: str = "alpaca"
    end_of_day: str = "flatten"
    notebook: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def run_dir(self) -> Path:
        """The run's folder."""
        return self.folder / RUN

    @property
    def seconds(self) -> float:
        """Real time that the day takes, s."""
        day = self.data.sessions[0]
        longest = self.script.must.lasts
        return max((day.close - day.open) / 1e9 / self.speed, 0.0 if longest is None else longest.seconds)

    def exchange(self, *, forked: bool) -> Exchange:
        """Return the exchange that plays it, not started yet."""
        day = self.data.sessions[0]
        return Exchange(
            self.data,
            forked=forked,
            mode="fast",
            speed=(day.close - day.open) / 1e9 / self.seconds,
            rules=self.rules,
            latency=LATENCY,
            log_dir=self.run_dir / "sent",
            faults=self.script,
        )

    def parameters(self, exchange: Exchange) -> dict[str, Any]:
        """Return what the session is told, as the live notebook takes it."""
        return {
            "model": self.model,
            "params": dict(self.params),
            "symbols": [instrument.symbol for instrument in self.data.instruments],
            "data_stream_url": exchange.url.replace("http", "ws", 1),
            "data_url": exchange.url,
            "trade_url": exchange.trade_url,
            "end_of_day": self.end_of_day,
            "options": {**HASTE, **self.options, "time_url": exchange.time_url},
        }
