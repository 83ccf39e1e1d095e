"""One rehearsal: which script is played to which session, how fast, and where its files go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mdslib.sim import Exchange, Script
from mdslib.table import MarketData

MODEL = "mdslib.rehearsal.every_order"
SPEED = 1800.0  # a day of 6.5 hours in 13 s
RUN = "run"  # in a case's folder: the run's, alone in it, so that a failed audit blocks no other case
LATENCY = 1_000_000  # ns
NO_PARAMS: Mapping[str, Any] = MappingProxyType({})
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
        symbols = [instrument.symbol for instrument in self.data.instruments]
        told = local_parameters(exchange.url, symbols, self.end_of_day, {**HASTE, **self.options}, self.params)
        return {"model": self.model, **told}


def local_parameters(
    url: str, symbols: Sequence[str], end_of_day: str, options: Mapping[str, Any], params: Mapping[str, Any] = NO_PARAMS
) -> dict[str, Any]:
    """Return what a session at a local exchange is told, but for its model, as the live notebook takes it.

    Parameters
    ----------
    url : str
        The exchange's.
    symbols : sequence of str
    end_of_day : str
    options : mapping
        Of the session; the exchange's side channel is added.
    params : mapping
        Of the model.

    Examples
    --------
    >>> told = local_parameters("http://127.0.0.1:8765", ["SPY"], "keep", {})
    >>> told["data_stream_url"], told["options"]
    ('ws://127.0.0.1:8765', {'time_url': 'ws://127.0.0.1:8765/sim/time'})
    """
    stream = url.replace("http", "ws", 1)
    return {
        "params": dict(params),
        "symbols": list(symbols),
        "feed": "iex",
        "data_stream_url": stream,
        "data_url": url,
        "trade_url": url,
        "exchange": "NYSE",
        "limits": {},
        "end_of_day": end_of_day,
        "options": {**options, "time_url": f"{stream}/sim/time"},
    }
