"""Memory stays flat under bursts: a short run here, 20 million events with `make soak`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .soak import RARE, WARM_UP

EVENTS = int(os.environ.get("MDSLIB_SOAK", "300000"))
TENTH = 9  # of the hundred looks at memory


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from Linux's /proc")
def test_resident_memory_is_flat_within_five_per_cent_after_the_first_tenth(tmp_path: Path) -> None:
    """In a process of its own, so that nothing else of this one counts."""
    command = [sys.executable, str(Path(__file__).with_name("soak.py")), str(EVENTS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120 + EVENTS / 10_000, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    memory = told.pop("memory")
    sys.stdout.write(f"{told}\nresident {memory[TENTH] / 1e6:.1f} MB at a tenth, {max(memory) / 1e6:.1f} MB at most\n")
    assert (told["events"], told["failure"], told["unread"]) == (EVENTS, None, 0), "nothing is lost on the way"
    assert told["orders"] == told["fills"] == (EVENTS + WARM_UP) // RARE
    assert max(memory[TENTH:]) <= 1.05 * memory[TENTH], [round(each / 1e6, 1) for each in memory]
