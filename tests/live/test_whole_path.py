"""`mds live` as a person or systemd runs it: a process, papermill, the live notebook, an exchange over real sockets."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

from mdslib.audit.report import Outcome
from mdslib.events import Kind
from mdslib.live.day_audit import audit_run
from mdslib.live.verdict import ExitCode, Verdict
from mdslib.sim import Exchange
from mdslib.store.tapereader import TapeReader

from .rehearsal import DATE, KEYS, exchange_for, made_trades, wait_until
from .test_session import FAST, MODELS, RESTING, SLOW, orders

PLOTLY = "application/vnd.plotly.v1+json"


class Run:
    """One `mds live` in a process of its own."""

    def __init__(self, exchange: Exchange, run_dir: Path, model: str | Path, *more: str, **environment: str) -> None:
        self.run_dir = run_dir
        address = exchange.url.replace("http", "ws", 1)
        command = [
            sys.executable, "-m", "mdslib.cli", "live", str(model), "--symbol", "SPY", "--date", DATE,
            "--data-stream-url", address, "--trade-url", exchange.trade_url, "--time-url", exchange.time_url,
            "--run-dir", str(run_dir), *more,
        ]  # fmt: skip
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("MDS_", "ALPACA_"))}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=run_dir.parent,
            env=plain | KEYS | {"MDS_DATA_URL": exchange.url} | environment,
        )  # fmt: skip
        self.out = self.err = ""

    def wait(self, seconds: float = 120.0) -> int:
        self.out, self.err = self.process.communicate(timeout=seconds)
        return self.process.returncode

    def orders_sent(self, count: int) -> None:
        """Wait until the log tells of the session, and the tape of so many orders."""
        tape = self.run_dir / "tape" / "00000001.tape"

        def there() -> bool:
            assert self.process.poll() is None, self.process.communicate()
            if not tape.exists() or not tape.stat().st_size:  # made, and its header not written yet
                return False
            with TapeReader(self.run_dir / "tape") as reader:
                return int((reader.records()["kind"] == int(Kind.INTENT)).sum()) >= count

        wait_until(there, 120)

    def kernel(self) -> int:
        """Return the process id of the notebook's kernel."""
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                words = (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == self.process.pid and b"ipykernel" in words:
                return int(entry.name)
        raise AssertionError("no kernel runs")

    def everything(self) -> str:
        """Return all that the run wrote, as text."""
        told = [self.out, self.err]
        told += [path.read_bytes().decode("latin-1") for path in self.run_dir.rglob("*") if path.is_file()]
        return "\n".join(told)

    @property
    def verdict(self) -> Verdict:
        found = Verdict.read(self.run_dir)
        assert found is not None
        return found


def code_cells(run_dir: Path, name: str = "live.ipynb") -> list[Any]:
    notebook = nbformat.read(run_dir / name, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def length(values: Any) -> int:
    """Return how many points a trace has; plotly writes arrays as base64 of their bytes."""
    if isinstance(values, dict):
        return len(base64.b64decode(values["bdata"])) // np.dtype(values["dtype"]).itemsize
    return len(values)


def figures(run_dir: Path) -> list[dict[str, Any]]:
    found = []
    for cell in code_cells(run_dir):
        found += [out["data"][PLOTLY] for out in cell.outputs if PLOTLY in out.get("data", {})]
    return found


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A whole day through the notebook, ended."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    key = {"key": "", "secret": ""}
    with exchange_for(made_trades(3_000), run_dir, **FAST, **key, in_process=False, rules="alpaca") as exchange:
        run = Run(exchange, run_dir, "volume_modulo", "--set", "shares=2", "--end-of-day", "keep")
        run.wait()
    assert run.process.returncode == 0, run.out + run.err
    return run  # type: ignore[return-value]


def test_the_day_ends_well_and_says_where_its_files_lie(done: Run) -> None:
    lines = done.out.splitlines()
    assert lines[0] == f"session of {DATE}: volume_modulo; files in {done.run_dir}"
    assert "OK (0): the session closed; audit passed" in lines
    assert lines[-2] == f"notebook: {done.run_dir / 'live.ipynb'}"
    assert lines[-1] == f"sealed: {hashlib.sha256((done.run_dir / 'manifest.json').read_bytes()).hexdigest()}"
    assert done.err == ""
    assert (done.verdict.code, done.verdict.by) == (ExitCode.OK, "session")
    assert done.verdict.details["events"] == 3_000
    names = {path.name for path in done.run_dir.iterdir()}
    assert {"tape", "sent", "log.jsonl", "verdict.json", "live.ipynb", "heartbeat"} <= names


def test_every_cell_of_the_notebook_ran(done: Run) -> None:
    cells = code_cells(done.run_dir)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [out for cell in cells for out in cell.outputs if out.output_type == "error"]
    injected = next(cell.source for cell in cells if "injected-parameters" in cell.metadata.tags)
    assert '"shares": 2.0' in injected
    assert 'model = "volume_modulo"' in injected


def test_the_plots_have_the_right_traces_and_points(done: Run) -> None:
    with TapeReader(done.run_dir / "tape") as tape:
        records = np.array(tape.records())
    fills = records[(records["kind"] == int(Kind.UPDATE)) & (records["f0"] != 0.0)]
    day, latency = figures(done.run_dir)
    traces = {trace["name"]: trace for trace in day["data"]}
    assert list(traces) == ["SPY price", "SPY buys", "SPY sells", "SPY position", "equity"]
    assert length(traces["SPY buys"]["x"]) == int((fills["f0"] > 0).sum()) > 5, "few on a busy machine"
    assert length(traces["SPY sells"]["x"]) == int((fills["f0"] < 0).sum()) > 5
    assert length(traces["SPY price"]["x"]) == length(traces["SPY price"]["y"]) > 1_000
    assert length(traces["SPY position"]["x"]) >= min(len(fills), 500)
    assert length(traces["equity"]["x"]) >= 500
    assert day["layout"]["title"]["text"] == f"volume_modulo on SPY, {DATE}"
    assert latency["data"], "the histogram of decision latency"


def test_the_session_s_line_is_one_output_under_one_display_id(done: Run) -> None:
    cell = next(cell for cell in code_cells(done.run_dir) if "session.run()" in cell.source)
    assert len(cell.outputs) == 1
    assert "3,000 events" in cell.outputs[0]["data"]["text/html"]


def test_the_log_says_where_it_stops_naming_denials(done: Run) -> None:
    lines = [json.loads(line) for line in (done.run_dir / "log.jsonl").read_text().splitlines()]
    named = Counter(line["limit"] for line in lines if line["event"] == "denied")
    more = {line["limit"] for line in lines if line["event"] == "denied-more"}
    counted = done.verdict.details["denied"]
    assert named == {name: min(count, 20) for name, count in counted.items()}
    assert more == {name for name, count in counted.items() if count > 20}


def test_the_audit_can_be_repeated_by_hand(done: Run) -> None:
    report = audit_run(done.run_dir)
    assert report.ok, str(report)
    assert all(finding.outcome is Outcome.PASSED for finding in report.findings)


def test_no_credential_is_in_anything_that_the_run_wrote(done: Run) -> None:
    told = done.everything()
    assert len(told) > 500_000
    assert "volume_modulo" in told
    for value in KEYS.values():
        assert value not in told
        assert base64.b64encode(value.encode()).decode().rstrip("=") not in told


def test_a_second_start_of_a_day_that_is_over_leaves_its_record_alone(done: Run) -> None:
    before = {p: p.read_bytes() for p in done.run_dir.rglob("*") if p.is_file()}
    with exchange_for(made_trades(50), done.run_dir.parent / "other", **FAST) as exchange:
        again = Run(exchange, done.run_dir, "volume_modulo")
        assert again.wait(120) == 2
    assert again.err.count("\n") == 1
    assert f"the session of {done.run_dir} is over and was judged" in again.err
    assert {p: p.read_bytes() for p in done.run_dir.rglob("*") if p.is_file()} == before


def test_a_killed_kernel_s_orders_are_canceled_and_a_second_start_goes_on_where_the_tape_ends(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with exchange_for(made_trades(24_000), run_dir, mode="fast", speed=40.0) as exchange:
        first = Run(exchange, run_dir, RESTING)
        first.orders_sent(2)
        assert {order["status"] for order in orders(exchange)} == {"new"}
        os.kill(first.kernel(), signal.SIGKILL)
        assert first.wait(120) == ExitCode.KERNEL == 5
        assert {order["status"] for order in orders(exchange)} == {"canceled"}
        assert "the kernel died; asked the broker to cancel" in first.verdict.reason
        assert first.verdict.by == "runner"
        notebook = (run_dir / "live.ipynb").read_bytes()
        sent = len(orders(exchange))
        second = Run(exchange, run_dir, RESTING)
        second.orders_sent(sent + 2)
        second.process.send_signal(signal.SIGTERM)
        assert second.wait() == 0, second.out + second.err
        there = orders(exchange)
    assert f"{run_dir} was cut short: going on where its tape ends" in second.out
    assert f"notebook: {run_dir / 'live.2.ipynb'}" in second.out
    assert (run_dir / "live.ipynb").read_bytes() == notebook, "the first life's notebook stays as it was"
    assert json.loads((run_dir / "verdict.1.json").read_text())["code"] == ExitCode.KERNEL
    assert second.verdict.reason == "a person or the supervisor asked for it; audit passed"
    assert {order["status"] for order in there} == {"canceled"}
    assert len({order["client_order_id"] for order in there}) == len(there)
    cells = code_cells(run_dir, "live.2.ipynb")
    assert all(cell.execution_count for cell in cells)
    assert "started again" in "".join(str(out) for cell in cells for out in cell.outputs)
    assert audit_run(run_dir).ok


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_session_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    with exchange_for(made_trades(4_000), tmp_path / "run", **SLOW) as exchange:
        run = Run(exchange, tmp_path / "run", RESTING)
        run.orders_sent(2)
        run.process.send_signal(number)
        assert run.wait(120) == 0, run.out + run.err
        assert {order["status"] for order in orders(exchange)} == {"canceled"}
    assert f"{number.name}: asking the session to stop" in run.out
    assert run.verdict.reason == "a person or the supervisor asked for it; audit passed"
    assert all(cell.execution_count for cell in code_cells(tmp_path / "run")), "the report's cells ran as well"


def test_a_model_that_raises_is_exit_code_3_and_the_notebook_is_whole(tmp_path: Path) -> None:
    with exchange_for(made_trades(600), tmp_path / "run", **FAST) as exchange:
        run = Run(exchange, tmp_path / "run", MODELS / "raises.py", "--set", "at=200")
        assert run.wait() == 3, run.out + run.err
    assert "MODEL_RAISED (3): model 'raises' raised ZeroDivisionError" in run.out
    assert all(cell.execution_count for cell in code_cells(tmp_path / "run"))
    assert run.verdict.details["events"] == 600


@pytest.mark.parametrize(
    ("model", "more", "gone", "said"),
    [
        ("volume_modulu", (), "", "unknown model 'volume_modulu'. Did you mean 'volume_modulo'?"),
        ("volume_modulo", ("--set", "share=1"), "", "has no parameter 'share'. Did you mean 'shares'?"),
        ("volume_modulo", (), "ALPACA_TRADE_SECRET_KEY", "ALPACA_TRADE_SECRET_KEY"),
        ("volume_modulo", ("--option", "worker=1"), "", "unknown option 'worker' of a live session."),
        ("volume_modulo", ("--limit", "max_order=1"), "", "max_order"),
        ("volume_modulo", ("--end-of-day", "flaten"), "", "'flaten'"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(
    model: str, more: tuple[str, ...], gone: str, said: str, tmp_path: Path
) -> None:
    with exchange_for(made_trades(10), tmp_path / "run", **FAST) as exchange:
        run = Run(exchange, tmp_path / "run", model, *more, **({gone: ""} if gone else {}))
        assert run.wait(120) == 2, run.out + run.err
    told = run.out + run.err
    assert said in told
    assert "Traceback" not in told
    assert not any(value in told for value in KEYS.values())


def test_a_holiday_is_exit_code_0_and_nothing_is_done(tmp_path: Path) -> None:
    with exchange_for(made_trades(10), tmp_path / "other", **FAST) as exchange:
        run = Run(exchange, tmp_path / "run", "volume_modulo", "--date", "2025-07-04")
        assert run.wait(120) == 0
    assert run.out == "no session on 2025-07-04: July 4th; nothing to do\n"
    assert not (tmp_path / "run").exists()


def test_the_log_is_json_lines_with_the_session_s_times(done: Run) -> None:
    lines = [json.loads(line) for line in (done.run_dir / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines[:2]] == ["venue-clock", "opened"]
    assert [line["event"] for line in lines[-2:]] == ["closed", "verdict"]
    assert lines[1]["others"] == []
    assert all(set(line) >= {"ts", "event"} for line in lines)
