"""Fold a tape without the compiler, in a process of its own: the compiler is chosen when numba is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mdslib.errors import MdsError

if TYPE_CHECKING:
    from mdslib.check.case import Case, Outcome

TIMEOUT = 300.0  # seconds


def run_uncompiled(case: Case) -> Outcome | str:
    """Return what an uncompiled fold of a case's tape gives, or why it failed, in one line."""
    with tempfile.TemporaryDirectory(prefix="mds-check-") as name:
        folder = Path(name)
        np.save(folder / "tape.npy", case.tape)
        told = {
            "model": _source(case),
            "params": case.params._asdict(),
            "instruments": [[i.symbol, i.venue, i.tick, i.lot, i.currency, i.session] for i in case.data.instruments],
        }
        (folder / "case.json").write_text(json.dumps(told))
        environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        command = [sys.executable, "-W", "ignore", "-m", "mdslib.check.uncompiled", name]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            return f"uncompiled, it did not end within {TIMEOUT:.0f} s; check fewer events"
        if done.returncode:
            return (
                "uncompiled, " + ((done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1])
            )
        return _read(folder / "outcome.npz")


def _source(case: Case) -> str:
    """Return what finds the strategy again in another process."""
    strategy = case.strategy
    if strategy.module.startswith("mds_model_") or strategy.module == "__main__":
        return f"{strategy.file}:{strategy.name}"
    return f"{strategy.module}:{strategy.name}"


def _read(path: Path) -> Outcome:
    from mdslib.check.case import Outcome

    with np.load(path) as found:
        state = {name.removeprefix("state:"): found[name] for name in found.files if name.startswith("state:")}
        return Outcome(found["decisions"], state)


def _main(folder: Path) -> int:
    from mdslib.check.case import snapshot
    from mdslib.instruments import Instrument
    from mdslib.strategy import Fold, find_model

    told = json.loads((folder / "case.json").read_text())
    try:
        strategy = find_model(told["model"])
        instruments = [Instrument(*each) for each in told["instruments"]]
        fold = Fold(strategy, strategy.make_params(**told["params"]), instruments=instruments, cash=100_000.0)
        decisions = fold.feed(np.load(folder / "tape.npy"))
    except MdsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    state = {f"state:{name}": array for name, array in snapshot(fold).items()}
    np.savez(folder / "outcome.npz", decisions=np.array(decisions), **state)  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
