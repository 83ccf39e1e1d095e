"""Measures of a running program: served to Prometheus on loopback, and shown as a table in a notebook, from one list.

A program says what it measures as plain `Measure` values, taken at the moment of asking; nothing on its hot path knows
of Prometheus. `serve` answers scrapes from a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from mdslib.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

HOST = "127.0.0.1"  # never another: a scraper on another machine comes through a tunnel or a proxy of the user's


class Measure(NamedTuple):
    """One number, or one for each value of a label.

    Attributes
    ----------
    name : str
        In Prometheus' form: lower case, the unit last, ``_total`` for what only grows.
    help : str
        One line for a person.
    value : float or mapping of str to float
        The number; by the label's value where there is a label.
    label : str
        Name of the label; empty for none.
    """

    name: str
    help: str
    value: float | Mapping[str, float]
    label: str = ""


class Histogram(NamedTuple):
    """A distribution of durations.

    Attributes
    ----------
    name, help : str
        As a `Measure`'s; the unit is seconds.
    bounds : sequence of float
        Upper bounds of the buckets, seconds, ascending.
    counts : sequence of int
        How many durations are at most as long as each bound: cumulative.
    entries : int
        How many there are in all.
    total : float
        Their sum, seconds.
    """

    name: str
    help: str
    bounds: Sequence[float]
    counts: Sequence[int]
    entries: int
    total: float


Measures = Sequence[Measure | Histogram]


def table(measures: Measures) -> pd.DataFrame:
    """Return measures as a table for a notebook: the same names and numbers that Prometheus is given.

    Examples
    --------
    >>> table([Measure("orders_total", "Orders sent.", 3), Measure("denials_total", "", {"SESSION": 2}, "limit")])
                                     value          what
    orders_total                         3  Orders sent.
    denials_total{limit="SESSION"}       2
    """
    import pandas as pd

    rows = [row for measure in measures for row in _rows(measure)]
    frame = pd.DataFrame(
        {"value": [f"{value:,g}" for _, value, _ in rows], "what": [what for _, _, what in rows]},
        index=[name for name, _, _ in rows],
    )
    return frame


def _rows(measure: Measure | Histogram) -> Iterator[tuple[str, float, str]]:
    if isinstance(measure, Histogram):
        yield f"{measure.name}_count", measure.entries, measure.help
        for q in (0.5, 0.99):
            yield f'{measure.name}{{quantile="{q:g}"}}', _quantile(measure, q), "upper bound of its bucket"
    elif isinstance(measure.value, Mapping):
        for key, value in measure.value.items():
            yield f'{measure.name}{{{measure.label}="{key}"}}', value, measure.help
    else:
        yield measure.name, measure.value, measure.help


def _quantile(measure: Histogram, q: float) -> float:
    """Return the bound of the bucket that a quantile lies in; nan where nothing was counted."""
    if not measure.entries:
        return float("nan")
    wanted = q * measure.entries
    return next((b for b, n in zip(measure.bounds, measure.counts, strict=True) if n >= wanted), float("inf"))


@contextmanager
def serve(port: int, take: Callable[[], Measures]) -> Iterator[int]:
    """Serve measures at ``http://127.0.0.1:PORT/metrics`` while the block runs; port 0 takes any free one.

    Parameters
    ----------
    port : int
        From 0 to 65535.
    take : callable
        Returns the measures as they are now; called from the server's thread at every scrape.

    Yields
    ------
    int
        The port.

    Raises
    ------
    ConfigError
        If the port is none, or is taken.

    Examples
    --------
    >>> from urllib.request import urlopen
    >>> with serve(0, lambda: [Measure("orders_total", "Orders sent.", 3)]) as port:
    ...     text = urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    >>> "orders_total 3.0" in text
    True
    """
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(take))
    try:
        server, thread = start_http_server(port, HOST, registry)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"metrics_port must be a free port, received {port} ({reason}); choose another, or 0 for none"
        ) from error
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5.0)


class _Collector:
    """What prometheus_client asks at a scrape."""

    def __init__(self, take: Callable[[], Measures]) -> None:
        self._take = take

    def collect(self) -> Iterator[Any]:
        for measure in self._take():
            yield _histogram(measure) if isinstance(measure, Histogram) else _family(measure)


def _family(measure: Measure) -> Any:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    family = CounterMetricFamily if measure.name.endswith("_total") else GaugeMetricFamily
    labels = [measure.label] if measure.label else []
    made = family(measure.name, measure.help, labels=labels)
    if isinstance(measure.value, Mapping):
        for key, value in dict(measure.value).items():
            made.add_metric([key], value)
    else:
        made.add_metric([], measure.value)
    return made


def _histogram(measure: Histogram) -> Any:
    from prometheus_client.core import HistogramMetricFamily

    made = HistogramMetricFamily(measure.name, measure.help)
    buckets = [(str(bound), count) for bound, count in zip(measure.bounds, measure.counts, strict=True)]
    made.add_metric([], [*buckets, ("+Inf", measure.entries)], measure.total)
    return made
