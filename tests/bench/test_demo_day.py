"""The demo's day: from a frame's receipt to the decision, and from an order's call to the venue's answer, on two cores.

Exchange and session are processes of their own, as for anybody who runs `mds demo`. There is no bound: the day is
played 300 times as fast as it was.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.bench


def test_the_demo_day_decides_and_is_answered_in_milliseconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "mdslib.cli", "demo", "--runs", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    (verdict,) = tmp_path.glob("demo/*/verdict.json")
    details = json.loads(verdict.read_text())["details"]
    assert details["audit"] == "passed"
    with capsys.disabled():
        for name, what in (("decision", "receipt to decision"), ("answer", "order to answer")):
            figures = details[name]
            told = f"{figures['p50_us']:,.0f} us median, {figures['p99_us']:,.0f} us p99, of {figures['count']:,}"
            sys.stdout.write(f"\nDemo, {what}: {told}\n")
