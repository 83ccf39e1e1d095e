"""Measures: what Prometheus scrapes and what a notebook shows are the same numbers."""

from __future__ import annotations

import socket
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mdslib.errors import ConfigError
from mdslib.live.latency import Latency
from mdslib.live.measures import BOUNDS, histogram
from mdslib.metrics import Histogram, Measure, serve, table

SAID = [
    Measure("orders_total", "Orders sent.", 3),
    Measure("queue_depth", "Waiting.", 2),
    Measure("denials_total", "Denied.", {"MAX_POSITION": 2, "SESSION": 1}, "limit"),
    Histogram("answer_seconds", "To the answer.", (0.001, 0.01), (1, 3), 4, 0.25),
]


def scraped(port: int) -> dict[str, float]:
    text = urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    return {
        sample.name + "".join(f"{{{k}={v}}}" for k, v in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_gives_every_measure() -> None:
    with serve(0, lambda: SAID) as port:
        assert scraped(port) == {
            "orders_total": 3,
            "queue_depth": 2,
            "denials_total{limit=MAX_POSITION}": 2,
            "denials_total{limit=SESSION}": 1,
            "answer_seconds_bucket{le=0.001}": 1,
            "answer_seconds_bucket{le=0.01}": 3,
            "answer_seconds_bucket{le=+Inf}": 4,
            "answer_seconds_count": 4,
            "answer_seconds_sum": 0.25,
        }


def test_each_scrape_asks_anew() -> None:
    seen = iter(range(1, 99))
    with serve(0, lambda: [Measure("turns_total", "", next(seen))]) as port:
        assert scraped(port)["turns_total"] < scraped(port)["turns_total"]


def test_it_listens_on_loopback_alone_and_only_while_it_serves() -> None:
    with serve(0, lambda: SAID) as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=2)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)


def test_a_port_that_is_taken_or_none_is_refused() -> None:
    with serve(0, lambda: SAID) as port, pytest.raises(ConfigError, match=f"must be a free port, received {port}"):
        serve(port, lambda: SAID).__enter__()
    with pytest.raises(ConfigError, match="received 99999"):
        serve(99999, lambda: SAID).__enter__()


def test_the_notebooks_table_has_the_same_names() -> None:
    frame = table(SAID)
    assert frame.loc["orders_total", "value"] == "3"
    assert frame.loc['denials_total{limit="SESSION"}', "value"] == "1"
    assert frame.loc['answer_seconds{quantile="0.5"}', "value"] == "0.01"
    assert frame.loc['answer_seconds{quantile="0.99"}', "value"] == "inf"


def test_a_latency_becomes_a_cumulative_histogram() -> None:
    latency = Latency()
    for ns in (10_000, 60_000, 60_000, 30_000_000, 9_000_000_000):
        latency.add(ns)
    made = histogram("x_seconds", "", latency)
    assert made.counts[BOUNDS.index(20e-6)] == 1
    assert made.counts[BOUNDS.index(100e-6)] == 3
    assert made.counts[BOUNDS.index(50e-3)] == 4
    assert (made.counts[-1], made.entries) == (4, 5)
    assert made.total == pytest.approx(9.03013)
