"""A session's measures: scraped over HTTP while it runs, and the same numbers in the day's notebook."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mdslib.errors import ConfigError
from mdslib.live import Session
from mdslib.live import session as session_module
from mdslib.live.conclude import books

from .rehearsal import KEYS, exchange_for, made_trades, parameters, rehearse


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def page(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return str(answer.read().decode())


def samples(text: str) -> dict[str, float]:
    return {
        sample.name + "".join(f'{{{k}="{v}"}}' for k, v in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_session_is_scraped_over_http_and_its_notebook_has_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, pages = free_port(), []

    def scraped_then_books(*given: Any) -> Any:  # the orders are over, the session is not: numbers stand still
        pages.append(page(port))
        return books(*given)

    monkeypatch.setattr(session_module, "books", scraped_then_books)
    run = tmp_path / "run"
    report = rehearse(
        made_trades(600), "volume_modulo", run, sim={"mode": "lockstep"}, metrics_port=port,
        limits={"max_position": 30.0}, requests_per_minute=100_000,
    )  # fmt: skip
    told, shown = samples(pages[0]), report.metrics()["value"]
    assert not [text for text in report.metrics()["what"] if len(text) > 50], "pandas shows no more of a text"
    assert told["mdslib_events_total"] == 600
    assert told["mdslib_fills_total"] == report.tally.fills > 0
    assert told['mdslib_denials_total{limit="POSITION"}'] > 0
    assert told['mdslib_position_units{symbol="SPY"}'] == 0
    assert told["mdslib_decision_seconds_count"] > 0
    assert told["mdslib_decision_seconds_sum"] > 0
    assert (told["mdslib_gaps_total"], told["mdslib_queue_depth"]) == (0, 0)
    assert 0 < told["mdslib_requests_left"] < 100_000
    assert told["mdslib_silence_seconds"] >= 0
    same = [name for name in told if name in shown.index and "silence" not in name and "requests" not in name]
    assert len(same) >= 12
    assert {name: f"{told[name]:,g}" for name in same} == shown[same].to_dict()
    with pytest.raises(OSError, match="refused"):
        page(port)
    log = (run / "log.jsonl").read_text()
    assert f"http://127.0.0.1:{port}/metrics" in [json.loads(line).get("at") for line in log.splitlines()]
    assert not [secret for secret in KEYS.values() if secret in pages[0] or secret in log]


def test_a_port_that_is_taken_stops_the_session_before_it_trades(tmp_path: Path) -> None:
    data, run = made_trades(20), tmp_path / "run"
    with socket.socket() as taken, exchange_for(data, run, mode="lockstep") as exchange:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        session = Session.from_parameters(**parameters(exchange, data, run, "volume_modulo", metrics_port=port))
        with pytest.raises(ConfigError, match=f"metrics_port must be a free port, received {port}"):
            session.run()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("orders-")]


def planned(monkeypatch: pytest.MonkeyPatch, setting: str, **options: Any) -> object:
    monkeypatch.setenv("MDS_METRICS_PORT", setting)
    session = Session.from_parameters(
        model="volume_modulo", symbols=["SPY"], data_stream_url="wss://stream.data.alpaca.markets",
        trade_url="https://paper-api.alpaca.markets", date="2025-06-12", **options,
    )  # fmt: skip
    return session.plan.options["metrics_port"]


def test_the_port_comes_from_the_option_else_from_the_settings_and_is_none_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert planned(monkeypatch, "0") == 0
    assert planned(monkeypatch, "9464") == 9464
    assert planned(monkeypatch, "9464", metrics_port=0) == 0
    assert planned(monkeypatch, "9464", time_url="ws://127.0.0.1:1/sim/time") == 0, "the live session's port"
    with pytest.raises(ConfigError, match="option metrics_port must be a whole number from 0 to 65,535"):
        planned(monkeypatch, "0", metrics_port=70_000)
